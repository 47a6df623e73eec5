"""Outlier detection by densities: thresholds, p-values, shares of columns, and scikit-learn's conventions."""

import pickle

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from scipy import stats
from sklearn.base import BaseEstimator, DensityMixin, clone
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_dgm import (
    AutoregressiveDensity,
    BayesianNetworkDensity,
    DensityOutlierDetector,
    EnsembleDensity,
    HistogramDensity,
    OutlierDisplay,
    TransformedDensity,
)
from sklearn_dgm.outlier._smoothing import (
    amount_of_noise,
    continuous_columns,
    noise_scales,
    with_noise,
)
from sklearn_dgm.tags import DensityTags, with_density_tags

QUICK = {"hidden_layer_sizes": (16,), "n_orders": 2, "max_epochs": 5, "random_state": 0}


def detector(estimator=None, *args, **params):
    return DensityOutlierDetector(estimator or KernelDensity(), *args, random_state=0, **params)


@parametrize_with_checks(
    [
        DensityOutlierDetector(KernelDensity()),
        DensityOutlierDetector(GaussianMixture(), 0.1),
        DensityOutlierDetector(HistogramDensity(alpha=0.1), 0.1),
        DensityOutlierDetector(make_pipeline(StandardScaler(), KernelDensity()), 0.2),
        DensityOutlierDetector(KernelDensity(), score_type="typicality"),
        DensityOutlierDetector(AutoregressiveDensity(**QUICK)),
        DensityOutlierDetector(BayesianNetworkDensity(conditional="table"), 0.05),
        DensityOutlierDetector(
            KernelDensity(), calibration="holdout", calibration_fraction=0.5, alpha=0.2
        ),
        DensityOutlierDetector(KernelDensity(), 0.1, calibration="holdout"),
    ]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


class GivenScores(DensityMixin, BaseEstimator):
    """A density whose log-density is the first column, so that thresholds can be counted by hand."""

    def fit(self, X, y=None, sample_weight=None):
        self.n_rows_ = len(X)
        self.weight_ = sample_weight
        return self

    def score_samples(self, X):
        return np.asarray(X)[:, 0].astype(float)

    def sample(self, n_samples=1, random_state=None):
        return np.zeros((n_samples, 1))


@pytest.fixture
def X():
    return np.random.default_rng(0).normal([10, -3], [5, 0.1], (300, 2))


@pytest.mark.parametrize("density", [KernelDensity(), GaussianMixture(2), HistogramDensity(bins=5)])
def test_scores_are_log_densities(density, X):
    fitted = detector(density, 0.1).fit(X)
    expected = clone(density).fit(X).score_samples(X)
    np.testing.assert_array_equal(fitted.score_samples(X), expected)
    np.testing.assert_array_equal(fitted.decision_function(X), expected - fitted.offset_)
    np.testing.assert_array_equal(fitted.predict(X), np.where(expected < fitted.offset_, -1, 1))
    n_tied = (expected == fitted.offset_).sum()
    assert 30 - n_tied <= (fitted.predict(X) == -1).sum() <= 30
    np.testing.assert_array_equal(clone(fitted).fit_predict(X), fitted.predict(X))


def test_auto_is_the_fence_of_a_box_plot():
    scores = np.array([[-50.0], [0], [1], [2], [3], [4], [5], [6], [7]])
    fitted = detector(GivenScores()).fit(scores)
    assert fitted.offset_ == 1 - 1.5 * (5 - 1)
    np.testing.assert_array_equal(fitted.predict(scores), [-1] + 8 * [1])
    # An impossible row of the fit moves neither quartile.
    assert detector(GivenScores()).fit([*scores, [-np.inf]]).offset_ == fitted.offset_


@pytest.mark.parametrize("is_committee", [False, True])
def test_some_of_many_rows_tell_where_most_scores_are(is_committee, monkeypatch):
    n_scored = []

    def score_samples(self, X):
        n_scored.append(len(X))
        return np.asarray(X)[:, 0]

    monkeypatch.setattr(GivenScores, "score_samples", score_samples)
    scores = np.sort(np.random.default_rng(0).normal(size=(100_000, 1)), axis=0)[::-1]
    density = [("one", GivenScores())] if is_committee else GivenScores()
    fitted = detector(density).fit(scores)
    assert sum(n_scored) <= 20_000 + is_committee * 5000
    # A normal's lower fence, whether its spread is 1 or that of its quartiles.
    fence = stats.norm.ppf(0.25) * (1 + 1.5 * 2)
    spread = stats.norm.ppf(0.75) - stats.norm.ppf(0.25)
    assert fitted.offset_ == pytest.approx(fence / spread if is_committee else fence, abs=0.15)
    # A share that is asked for is one of all rows.
    n_scored.clear()
    fitted = detector(density, 0.01).fit(scores)
    assert sum(n_scored) >= len(scores)
    assert (fitted.predict(scores) == -1).sum() == 1000


@pytest.mark.parametrize("size", [0.1, 1300.0])
@pytest.mark.parametrize("score_type", ["log_density", "typicality"])
@pytest.mark.parametrize("is_committee", [False, True])
def test_scores_that_differ_by_last_bits_are_alike(size, score_type, is_committee):
    density = [("one", GivenScores()), ("two", GivenScores())] if is_committee else GivenScores()
    scores = np.full((40, 1), -size)
    # A log-density of 0.1 is the logarithm of a density, which has been rounded to bits of 1.
    scores[::4, 0] -= np.spacing(max(1.0, size)) * (np.arange(1, 11) % 4)
    fitted = detector(density, score_type=score_type).fit(scores)
    np.testing.assert_array_equal(fitted.predict(scores), np.ones(40))
    odd = [[-size - 1e-6], [-size + 1e-6]]
    assert fitted.predict(odd).tolist() == [-1, 1 if score_type == "log_density" else -1]


def test_impossible_rows_are_outliers():
    scores = np.array([[-np.inf], [-np.inf], [0.0], [1.0]])
    fitted = detector(GivenScores(), 0.4).fit(scores)
    np.testing.assert_array_equal(fitted.predict(scores), [-1, -1, 1, 1])
    assert np.isneginf(fitted.decision_function(scores)[:2]).all()
    with pytest.warns(UserWarning, match="No row can be below the threshold: too many"):
        nothing_possible = detector(GivenScores()).fit(scores[:2])
    np.testing.assert_array_equal(nothing_possible.decision_function(scores[:2]), [0, 0])
    np.testing.assert_array_equal(nothing_possible.predict(scores), [1, 1, 1, 1])
    half = np.where(np.arange(200) % 2, -np.inf, 1.0)[:, None]
    with pytest.warns(UserWarning, match="smooth the density"):
        detector(GivenScores(), calibration="holdout").fit(half)
    with pytest.raises(ValueError, match="nothing is known of what is typical"):
        detector(GivenScores(), score_type="typicality").fit(scores[:2])


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.123, 0.5, 0.9])
@pytest.mark.parametrize("n_rows", [95, 200])
def test_p_values_are_ranks_among_calibration_rows(alpha, n_rows):
    rng = np.random.default_rng(n_rows)
    X, new = rng.integers(0, 40, (n_rows, 1)), rng.integers(-5, 45, (60, 1))
    fitted = detector(GivenScores(), calibration="holdout", alpha=alpha).fit(X)
    kept = fitted.calibration_scores_
    assert len(kept) == np.ceil(0.2 * n_rows)
    assert fitted.estimator_.n_rows_ == n_rows - len(kept)
    expected = [(1 + sum(k <= x for k in kept)) / (1 + len(kept)) for x in new[:, 0]]
    np.testing.assert_allclose(fitted.p_values(new), expected)
    np.testing.assert_array_equal(fitted.predict(new) == -1, fitted.p_values(new) <= alpha)


GOOD = KernelDensity(bandwidth=0.4)
BAD = KernelDensity(bandwidth=1e-3)  # a needle on every row


@pytest.mark.parametrize("score_type", ["log_density", "typicality"])
@pytest.mark.parametrize("density", [GOOD, BAD], ids=["good", "bad"])
def test_rate_of_false_alarms(density, score_type):
    rng = np.random.default_rng(0)
    rates = []
    for _ in range(100):
        X, new = rng.standard_t(3, (2, 495, 2))
        fitted = DensityOutlierDetector(
            density,
            calibration="holdout",
            calibration_fraction=0.2 if score_type == "log_density" else 0.4,
            score_type=score_type,
            random_state=rng.integers(2**31),
        ).fit(X)
        rates.append((fitted.p_values(new) <= 0.05).mean())
    assert np.mean(rates) == pytest.approx(0.05, abs=0.01)
    # Without rows of its own for the threshold, the bad density would have called all of them outliers.
    if density is BAD and score_type == "log_density":
        assert (detector(density, 0.05).fit(X).predict(new) == -1).mean() > 0.9


def test_rows_that_calibrate_are_not_those_of_the_fit(X):
    fitted = detector(calibration="holdout", calibration_fraction=0.3).fit(X)
    kept = X[~np.isin(X[:, 0], np.asarray(fitted.estimator_.tree_.data)[:, 0])]
    assert len(kept) == 90
    np.testing.assert_allclose(np.sort(fitted.score_samples(kept)), fitted.calibration_scores_)
    other = DensityOutlierDetector(KernelDensity(), calibration="holdout", random_state=1).fit(X)
    assert not np.isin(other.calibration_scores_, fitted.calibration_scores_).any()


def test_all_rows_calibrate_a_frozen_density(X):
    frozen = FrozenEstimator(KernelDensity().fit(X[:100]))
    fitted = detector(frozen, calibration="holdout").fit(X[100:])
    np.testing.assert_array_equal(
        fitted.calibration_scores_, np.sort(frozen.score_samples(X[100:]))
    )


def test_too_few_calibration_rows_for_alpha(X):
    few = detector(calibration="holdout", alpha=0.01)
    with pytest.warns(UserWarning, match="among 60 calibration row.* 0.0164, more than alpha=0.01"):
        few.fit(X)
    # The rate of false alarms is kept all the same.
    np.testing.assert_array_equal(few.predict(X * 100), np.ones(300))
    np.testing.assert_array_equal(few.p_values(X * 100) <= 0.01, np.zeros(300, dtype=bool))
    fitted = few.set_params(alpha=0.1).fit(X)
    offset = fitted.offset_
    for params, n_rows in (({}, 1), ({"score_type": "typicality"}, 4)):
        with pytest.raises(
            ValueError, match=f"{n_rows} sample.* too few to keep calibration_fraction"
        ):
            fitted.set_params(**params).fit(X[:n_rows])
    assert fitted.offset_ == offset  # the earlier fit is still there


def test_typicality_finds_rows_that_are_too_probable():
    """The centre of a normal in 100 dimensions is its most probable point, and nothing is ever near it."""
    X = np.random.default_rng(0).normal(size=(2000, 100))
    odd = np.array([np.zeros(100), np.full(100, 2.0), X[0]])
    density = GaussianMixture(covariance_type="spherical", random_state=0)
    np.testing.assert_array_equal(detector(density, 0.01).fit(X).predict(odd), [1, -1, 1])
    typical = detector(density, 0.01, score_type="typicality").fit(X)
    np.testing.assert_array_equal(typical.predict(odd), [-1, -1, 1])
    assert typical.mean_log_density_ == pytest.approx(-100 * stats.norm.entropy(), rel=0.01)
    log_density = typical.estimator_.score_samples(odd)
    expected = -np.abs(log_density - typical.mean_log_density_)
    np.testing.assert_allclose(typical.score_samples(odd), expected)


def test_typical_is_what_new_rows_are_not_those_of_the_fit(X):
    """A needle on every row of the fit is far too pleased with these."""
    Z, needles = StandardScaler().fit_transform(X), KernelDensity(bandwidth=0.05)
    fitted = detector(needles, score_type="typicality", calibration_fraction=0.5).fit(Z)
    half = needles.fit(Z[::2])
    of_fit, of_new = half.score_samples(Z[::2]).mean(), half.score_samples(Z[1::2]).mean()
    assert abs(fitted.mean_log_density_ - of_new) < abs(fitted.mean_log_density_ - of_fit) / 2
    both = detector(needles, score_type="typicality", calibration="holdout").fit(Z)
    assert len(both.calibration_scores_) == 30
    assert not hasattr(both.set_params(score_type="log_density").fit(Z), "mean_log_density_")


class TestExplain:
    def frame(self, n=400):
        rng = np.random.default_rng(0)
        height = rng.normal(170, 10, n)
        return pd.DataFrame(
            {
                "weight_g": (height - 100 + rng.normal(0, 5, n)) * 1000,
                "height_km": height / 1e5,
                "smokes": pd.Categorical(rng.choice(["no", "yes"], n, p=[0.9, 0.1])),
            }
        )

    def odd_frame(self):
        odd = self.frame(4)
        odd.loc[1, "weight_g"] = 300_000.0
        odd.loc[2, "height_km"] = 0.01
        odd.loc[3, "smokes"] = "yes"
        return odd

    @pytest.mark.parametrize(
        "density",
        [
            AutoregressiveDensity((16,), n_orders=2, max_epochs=20, random_state=0),
            BayesianNetworkDensity("empty", conditional="table"),
        ],
        ids=lambda density: type(density).__name__,
    )
    def test_shares(self, density):
        odd = self.odd_frame()
        odd.index = list("abcd")
        fitted = detector(density).fit(self.frame())
        shares = fitted.explain(odd)
        assert list(shares.columns) == list(odd.columns)
        assert list(shares.index) == list("abcd")
        np.testing.assert_allclose(shares.sum(axis=1), fitted.score_samples(odd), rtol=1e-9)
        assert list(shares.idxmin(axis=1))[1:] == ["weight_g", "height_km", "smokes"]
        # Units shift all log-densities; of a usual row the shares stay alike.
        usual = fitted.explain(self.frame())
        assert np.ptp(usual.mean()) == pytest.approx(0, abs=1e-9)
        alone = fitted.estimator_.score_features(odd)
        np.testing.assert_allclose(shares - shares.iloc[0], alone - alone.iloc[0], atol=1e-3 * 400)

    def test_impossible_and_missing_cells(self):
        odd = self.frame(3)
        odd["smokes"] = ["no", "pipe", None]
        density = AutoregressiveDensity(**QUICK)
        fitted = detector(density).fit(self.frame())
        shares = fitted.explain(odd)
        assert np.isneginf(shares.loc[1, "smokes"])
        assert np.isfinite(shares.loc[1, "weight_g"])
        np.testing.assert_allclose(shares.sum(axis=1), fitted.score_samples(odd), rtol=1e-6)

    def test_containers(self):
        X = self.frame()[["weight_g", "height_km"]]
        of_pandas = detector(AutoregressiveDensity(**QUICK)).fit(X).explain(X)
        of_polars = detector(AutoregressiveDensity(**QUICK)).fit(pl.from_pandas(X))
        assert of_polars.explain(pl.from_pandas(X)).columns == list(X)
        of_arrays = detector(AutoregressiveDensity(**QUICK)).fit(X.to_numpy()).explain(X.to_numpy())
        assert type(of_arrays) is np.ndarray
        np.testing.assert_allclose(of_arrays, of_pandas.to_numpy())

    def test_through_a_search(self):
        X = self.frame()
        search = GridSearchCV(
            BayesianNetworkDensity("empty", conditional="table"), {"alpha": [0.5]}
        )
        assert detector(search).fit(X).explain(X).shape == X.shape

    def test_where_no_row_of_the_fit_was_possible(self):
        known = pd.DataFrame({"c": ["a", "b"] * 20, "x": np.arange(40.0)})
        frozen = FrozenEstimator(BayesianNetworkDensity(conditional="table").fit(known))
        with pytest.warns(UserWarning, match="No row can be below"):
            fitted = detector(frozen).fit(known.assign(c=["q", "r"] * 20))
        row = known.iloc[[3]]
        np.testing.assert_allclose(fitted.explain(row).sum(axis=1), fitted.score_samples(row))

    def test_only_where_there_are_shares(self, X):
        assert not hasattr(detector(KernelDensity()).fit(X), "explain")
        assert not hasattr(detector(make_pipeline(StandardScaler(), HistogramDensity())), "explain")
        assert not hasattr(detector(AutoregressiveDensity(), score_type="typicality"), "explain")
        assert hasattr(detector(AutoregressiveDensity()), "explain")


def test_no_p_values_without_calibration(X):
    fitted = detector().fit(X)
    with pytest.raises(AttributeError, match="p_values") as raised:
        fitted.p_values(X)
    assert "calibration='holdout'" in str(raised.value.__cause__)
    fitted.set_params(calibration="holdout").fit(X).p_values(X)
    fitted.set_params(calibration=None).fit(X)
    assert not hasattr(fitted, "calibration_scores_")


class Rows(GivenScores):
    """Keeps the rows of the fit."""

    def __sklearn_tags__(self):
        tags = DensityTags(column_kinds=("continuous", "integer"), ties=True)
        return with_density_tags(super().__sklearn_tags__(), tags)

    def fit(self, X, y=None):
        self.X_ = X
        return self


class TestSmoothing:
    def test_noise_has_the_bandwidth_of_scott(self):
        X = np.random.default_rng(0).normal(5, [1, 100, 0], (4000, 3))
        noise = detector(Rows(), smoothing=0.5).fit(X).estimator_.X_ - X
        expected = 0.5 * X.std(axis=0) * 4000 ** (-1 / 7)
        np.testing.assert_allclose(noise.std(axis=0), expected, rtol=0.05, atol=1e-9)
        assert abs(np.corrcoef(noise[:, :2].T)[0, 1]) < 0.05

    def test_one_corrupt_row_does_not_set_it(self):
        X = np.random.default_rng(0).normal(size=(1000, 2))
        X[0] = [1e6, -1e6]
        noise = detector(Rows(), smoothing=0.5).fit(X).estimator_.X_ - X
        assert (noise.std(axis=0) < 0.5).all()
        tree = BayesianNetworkDensity("chow-liu", conditional="table")
        fitted = detector(tree, 0.02).fit(X)
        np.testing.assert_array_equal(fitted.predict([[0, 0], [30, 30]]), [1, -1])

    def test_where_it_is_automatic(self, X):
        assert (detector(Rows()).fit(X).estimator_.X_ != X).all()
        np.testing.assert_array_equal(detector(Rows(), smoothing=0).fit(X).estimator_.X_, X)
        kernel = detector(KernelDensity()).fit(X)
        expected = KernelDensity().fit(X).score_samples(X)
        np.testing.assert_array_equal(kernel.score_samples(X), expected)

    @pytest.mark.parametrize("density", [AutoregressiveDensity(), BayesianNetworkDensity()])
    def test_it_is_automatic_also_inside_of_other_estimators(self, density):
        for outer in (
            density,
            GridSearchCV(density, {}),
            make_pipeline(StandardScaler(), density),
            TransformedDensity(StandardScaler(), density),
            EnsembleDensity([("kernel", KernelDensity()), ("ours", density)]),
        ):
            assert amount_of_noise(outer, "auto") == 0.25
        assert amount_of_noise(EnsembleDensity([("kernel", KernelDensity())]), "auto") == 0

    def test_columns_that_are_declared_are_left_as_they_are(self):
        rng = np.random.default_rng(0)
        X = np.column_stack([rng.normal(size=300), rng.integers(0, 3, 300)]).astype(float)
        tables = {"conditional": "table", "structure": "empty"}
        for declared in (
            {"categorical_features": [1]},
            {"integer_features": [1]},
            {"column_kinds": {1: "mixed"}},
            {"column_kinds": {1: "rounded"}},
        ):
            density = BayesianNetworkDensity(**tables, **declared)
            np.testing.assert_array_equal(continuous_columns(density, X), [True, False])
            assert np.isfinite(detector(density).fit(X).score_samples(X)).all()

    @pytest.mark.parametrize("nullable", [True, False])
    def test_frames_keep_their_dtypes_and_other_columns(self, nullable):
        data = {"x": [1.5, 2.5, 4.0], "n": [1, 2, 3], "c": ["a", "b", "a"], "gap": [1.0, None, 3.0]}
        pandas = pd.DataFrame(data, index=[5, 7, 9]).astype({"x": "float32"})
        if nullable:
            pandas = pandas.astype({"gap": "Float64"})
        columns = np.array([True, False, False, True])
        for X in (pandas, pl.DataFrame(data)):
            seen = with_noise(X, noise_scales(X, 0.5, columns, len(X)), np.random.default_rng(0))
            assert type(seen) is type(X)
            assert list(seen.dtypes) == list(X.dtypes)
            assert list(seen["n"]) == [1, 2, 3]
            assert list(seen["c"]) == ["a", "b", "a"]
            assert (np.asarray(seen["x"]) != np.asarray(X["x"])).all()
            first, missing, last = list(seen["gap"])
            assert missing is None or pd.isna(missing)
            assert 0 < abs(first - 1) < 2
            assert 0 < abs(last - 3) < 2
        scales = noise_scales(pandas, 0.5, columns, len(pandas))
        assert list(with_noise(pandas, scales, np.random.default_rng(0)).index) == [5, 7, 9]
        unnamed = pd.DataFrame({0: [1.0, 2.0], 1: [3.0, 5.0]})
        scales = noise_scales(unnamed, 1.0, columns[[0, 1]], len(unnamed))
        unnamed = with_noise(unnamed, scales, np.random.default_rng(0))
        assert list(unnamed[1]) == [3, 5]
        assert (unnamed[0] != [1, 2]).all()

    def test_a_finer_record_is_no_outlier(self):
        """The rows of the fit were rounded, new ones are not."""
        rng = np.random.default_rng(0)
        X, new = rng.normal(size=(600, 2)).round(1), rng.normal(size=(300, 2))
        density = AutoregressiveDensity((16,), n_orders=2, max_epochs=30, random_state=0)
        flagged = detector(density, 0.05).fit(X).predict(new) == -1
        assert flagged.mean() < 0.1


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"smoothing": -1.0}, "smoothing"),
        ({"contamination": 0.7}, "contamination"),
        ({"contamination": "atuo"}, "contamination"),
        ({"calibration": "hold-out"}, "calibration"),
        ({"calibration_fraction": 1.0}, "calibration_fraction"),
        ({"alpha": 0}, "alpha"),
        ({"score_type": "log-density"}, "score_type"),
        ({"estimator": StandardScaler()}, "estimator"),
    ],
)
def test_bad_parameters_are_named(params, message, X):
    with pytest.raises(ValueError, match=f"'{message}' parameter"):
        DensityOutlierDetector(KernelDensity()).set_params(**params).fit(X)


def test_bad_rows(X):
    fitted = detector(AutoregressiveDensity(**QUICK)).fit(pd.DataFrame(X, columns=["a", "b"]))
    before = pickle.dumps(vars(fitted)["offset_"])
    with pytest.raises(ValueError, match="feature names"):
        fitted.predict(pd.DataFrame(X, columns=["a", "c"]))
    with pytest.raises(ValueError, match="0 sample"):
        fitted.fit(pd.DataFrame({"a": [], "b": []}))
    with pytest.raises(ValueError, match="infinity .* column 'a', row 1"):
        fitted.fit(pd.DataFrame({"a": [1.0, np.inf], "b": [1.0, 2.0]}))
    with pytest.raises(ValueError, match="NaN"):
        detector(KernelDensity()).fit([[np.nan], [1.0]])
    assert pickle.dumps(fitted.offset_) == before
    assert list(fitted.feature_names_in_) == ["a", "b"]
    with pytest.raises(NotFittedError):
        detector().predict(X)


def test_weights_reach_the_density_and_are_split_with_the_rows(X):
    weight = 1 + X[:, 0] - X[:, 0].min()
    fitted = detector(GivenScores(), calibration="holdout").fit(X, sample_weight=weight)
    assert len(fitted.estimator_.weight_) == 240
    assert np.isin(fitted.estimator_.weight_, weight).all()
    weighted = detector(KernelDensity()).fit(X, sample_weight=weight)
    expected = KernelDensity().fit(X, sample_weight=weight).score_samples(X)
    np.testing.assert_allclose(weighted.score_samples(X), expected)
    with pytest.raises(TypeError, match="sample_weight"):
        detector(GaussianMixture()).fit(X, sample_weight=weight)


def test_metadata_routing(X):
    weight = np.ones(len(X))
    with sklearn.config_context(enable_metadata_routing=True):
        asked = detector(GivenScores().set_fit_request(sample_weight=True))
        assert asked.fit(X, sample_weight=weight).estimator_.weight_ is not None
        refuses = detector(GivenScores().set_fit_request(sample_weight=False))
        with pytest.raises(TypeError, match="not routed"):
            refuses.fit(X, sample_weight=weight)


def mean_score(estimator, X, y=None):
    return estimator.score_samples(X).mean()


def test_nests(X):
    inside = GridSearchCV(KernelDensity(), {"kernel": ["gaussian", "exponential"]})
    search = GridSearchCV(
        make_pipeline(StandardScaler(), detector(inside, 0.1)),
        {"densityoutlierdetector__estimator__estimator__bandwidth": [0.3, 100.0]},
        scoring=mean_score,
        error_score="raise",
    ).fit(X)
    best = search.best_estimator_[-1].estimator_.best_estimator_
    assert best.bandwidth == 0.3
    again = pickle.loads(pickle.dumps(search))
    np.testing.assert_array_equal(again.predict(X), search.predict(X))
    assert (again.predict(X) == -1).sum() == 30


class TestDisplay:
    @pytest.fixture(autouse=True)
    def _close_figures(self):
        yield
        plt.close("all")

    def test_bars_count_rows(self, X):
        fitted = detector(contamination=0.1).fit(X)
        display = OutlierDisplay.from_estimator(fitted, X)
        (bars,) = display.bars_
        assert sum(bar.get_height() for bar in bars) == 300
        assert display.threshold_line_.get_xdata()[0] == fitted.offset_
        texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
        assert texts == ["rows (300): 10.0% below", "threshold"]
        assert display.ax_.get_xlabel() == "log-density (nats)"

    def test_labels_and_rows_beyond_the_axis(self, X):
        fitted = detector(HistogramDensity(bins=5), 0.05).fit(X)
        far = np.vstack([X, X[:7] + 1e6])
        y = np.repeat([1, -1], [300, 7])
        display = OutlierDisplay.from_estimator(fitted, far, y=y)
        outliers, inliers = display.bars_
        assert outliers[0].get_height() == 7  # impossible, but drawn
        shares = [f"{(fitted.predict(far[y == k]) == -1).mean():.1%} below" for k in (-1, 1)]
        texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
        assert texts == [f"-1 (7): {shares[0]}", f"1 (300): {shares[1]}", "threshold"]
        display.figure_.canvas.draw()
        box = display.ax_.get_legend().get_window_extent()
        assert box.y1 <= display.ax_.get_window_extent().y0  # it covers nothing
        assert sum(bar.get_height() for bar in inliers) == 300
        assert any("below" in text.get_text() for text in display.ax_.texts)

    def test_other_detectors(self, X):
        forest = IsolationForest(random_state=0).fit(X)
        _, ax = plt.subplots()
        display = OutlierDisplay.from_estimator(forest, X, ax=ax)
        assert display.ax_ is ax
        assert display.ax_.get_xlabel() == "score"
        with pytest.raises(TypeError, match="KernelDensity is none"):
            OutlierDisplay.from_estimator(KernelDensity().fit(X), X)
        with pytest.raises(NotFittedError):
            OutlierDisplay.from_estimator(detector(), X)
        pipeline = make_pipeline(StandardScaler(), detector()).fit(X)
        display = OutlierDisplay.from_estimator(pipeline, X)
        assert display.threshold == pipeline[-1].offset_
        np.testing.assert_array_equal(display.scores, pipeline.score_samples(X))
        with pytest.raises(ValueError, match="inconsistent"):
            OutlierDisplay.from_estimator(forest, X, y=[1])
