"""Detectors over several densities, and the kernels of the default committee."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from scipy import stats
from sklearn.base import clone
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import sklearn_dgm.outlier._kernels as kernels
from sklearn_dgm import BayesianNetworkDensity, DensityOutlierDetector, HistogramDensity
from sklearn_dgm.outlier._committee import location_and_scale
from sklearn_dgm.outlier._kernels import ColumnKernelDensity, TableKernelDensity

PAIRS = [("kernel", KernelDensity()), ("mixture", GaussianMixture(2))]


@parametrize_with_checks(
    [
        DensityOutlierDetector(),
        DensityOutlierDetector(None, 0.1, trim=0.1),
        DensityOutlierDetector(PAIRS, 0.1, random_state=0),
    ]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.fixture
def X():
    rng = np.random.default_rng(0)
    return rng.normal(size=(300, 3)) @ rng.normal(size=(3, 3)) + 5


def mixed_table(n=200, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    return pd.DataFrame(
        {
            "x": x,
            "y": x + 0.1 * rng.normal(size=n),
            "colour": rng.choice(["red", "green", "blue"], n, p=[0.6, 0.39, 0.01]),
            "count": rng.poisson(3, n),
            "constant": 1.0,
        }
    )


class TestMembers:
    def test_score_is_the_mean_of_standardised_log_densities(self, X):
        detector = DensityOutlierDetector(PAIRS, random_state=0).fit(X)
        scores = detector.score_members(X)
        np.testing.assert_allclose(detector.score_samples(X), scores.mean(axis=1))
        # Each is the log-density of the member, but for units.
        for (_, density), score in zip(PAIRS, scores.T, strict=True):
            fitted = clone(density).set_params(**seed_of(density, detector)).fit(X)
            assert np.corrcoef(fitted.score_samples(X), score)[0, 1] == pytest.approx(1, abs=0.01)

    def test_units_do_not_matter(self, X):
        """Behind a scaler a log-density is another by a constant; of new rows the quartiles are -0.5 and 0.5."""
        rng = np.random.default_rng(1)
        X, new = rng.normal(size=(2, 2000, 2)) * [1, 1000]
        scaled = [("kernel", make_pipeline(StandardScaler(), KernelDensity(bandwidth="scott")))]
        detector = DensityOutlierDetector(scaled, random_state=0).fit(X)
        quartiles = np.quantile(detector.score_samples(new), [0.25, 0.5, 0.75])
        assert quartiles[1] == pytest.approx(0, abs=0.15)
        assert quartiles[2] - quartiles[0] == pytest.approx(1, abs=0.15)

    def test_needles_have_no_louder_voice(self):
        """Scores of the rows of the fit would give a member that overfits a spread of nothing."""
        rng = np.random.default_rng(0)
        X, new = rng.normal(size=(2, 400, 10))
        needles = [("needles", KernelDensity(bandwidth=0.05)), ("normal", GaussianMixture())]
        detector = DensityOutlierDetector(needles, random_state=0).fit(X)
        spread = np.subtract(*np.quantile(detector.score_members(new), [0.75, 0.25], axis=0))
        np.testing.assert_allclose(spread, 1, atol=0.35)

    def test_nested_parameters(self, X):
        detector = DensityOutlierDetector(PAIRS)
        assert detector.get_params()["kernel__bandwidth"] == 1.0
        assert detector.get_params(deep=False)["estimator"] is PAIRS
        detector = clone(detector).set_params(kernel__bandwidth=0.3, mixture="drop", alpha=0.1)
        assert detector.alpha == 0.1
        fitted = detector.fit(X)
        assert fitted.score_members(X).shape == (300, 1)
        assert fitted.estimator_.estimators_[0].bandwidth == 0.3
        single = DensityOutlierDetector(KernelDensity()).set_params(estimator__bandwidth=0.2)
        assert single.estimator.bandwidth == 0.2
        assert DensityOutlierDetector().set_params(estimator=PAIRS).estimator is PAIRS

    def test_seeds(self, X):
        make = DensityOutlierDetector
        members = [("mixture", GaussianMixture(4, max_iter=5, tol=1.0, init_params="random"))]
        a, b, c = (make(members, random_state=seed).fit(X).score_samples(X) for seed in (0, 0, 1))
        np.testing.assert_array_equal(a, b)
        assert (a != c).any()

    def test_bad_members(self, X):
        for estimator, error, message in (
            ([("a", StandardScaler())], TypeError, "'a' should be a density"),
            (
                [("a", KernelDensity()), ("a", KernelDensity())],
                ValueError,
                "not unique|different names",
            ),
            ([KernelDensity()], ValueError, "list of tuples"),
            ([("a", "drop")], ValueError, "at least one"),
            ([], ValueError, "at least one"),
        ):
            with pytest.raises(error, match=message):
                DensityOutlierDetector(estimator).fit(X)

    def test_a_single_density_has_no_members(self, X):
        assert not hasattr(DensityOutlierDetector(KernelDensity()), "score_members")

    def test_explain_names_those_that_have_no_shares(self, X):
        detector = DensityOutlierDetector(PAIRS).fit(X)
        with pytest.raises(AttributeError) as raised:
            detector.explain(X)
        assert "kernel, mixture has no score_features" in str(raised.value.__cause__)

    def test_explain_adds_up(self):
        table = mixed_table()
        tables = {"conditional": "table"}
        members = [
            ("tree", BayesianNetworkDensity("chow-liu", **tables)),
            ("columns", BayesianNetworkDensity("empty", **tables)),
        ]
        detector = DensityOutlierDetector(members, random_state=0).fit(table)
        shares = detector.explain(table.head())
        np.testing.assert_allclose(shares.sum(axis=1), detector.score_samples(table.head()))

    def test_densities_of_numbers_are_given_numbers(self):
        table = mixed_table().drop(columns="colour")
        members = [("kernel", KernelDensity()), ("columns", BayesianNetworkDensity("empty"))]
        members[1][1].set_params(conditional="table")
        detector = DensityOutlierDetector(members, random_state=0).fit(table)
        assert np.isfinite(detector.score_samples(table)).all()

    def test_weights_and_routing(self, X):
        weight = np.repeat([1.0, 0.0], 150)
        detector = DensityOutlierDetector([("kernel", KernelDensity())]).fit(
            X, sample_weight=weight
        )
        kernel = KernelDensity().fit(X[:150])
        difference = detector.estimator_.estimators_[0].score_samples(X) - kernel.score_samples(X)
        np.testing.assert_allclose(difference, 0, atol=1e-9)
        with sklearn.config_context(enable_metadata_routing=True):
            asked = [("kernel", KernelDensity().set_fit_request(sample_weight=True))]
            DensityOutlierDetector(asked).fit(X, sample_weight=weight)

    def test_weights_are_routed_to_those_that_ask(self, X):
        weight = np.where(X[:, 0] > 0, 1.0, 0.1)
        members = [("asks", KernelDensity()), ("refuses", KernelDensity())]
        plain = DensityOutlierDetector(members, random_state=0).fit(X).score_members(X)
        weighted = DensityOutlierDetector(members, random_state=0).fit(X, sample_weight=weight)
        with sklearn.config_context(enable_metadata_routing=True):
            for (_, kernel), asked in zip(members, [True, False], strict=True):
                kernel.set_fit_request(sample_weight=asked)
            routed = DensityOutlierDetector(members, random_state=0).fit(X, sample_weight=weight)
        scores = [weighted.score_members(X)[:, 0], plain[:, 1]]
        np.testing.assert_allclose(routed.score_members(X).T, scores)

    @pytest.mark.parametrize("estimator", [None, KernelDensity(), [("kernel", KernelDensity())]])
    def test_routing_without_weights(self, X, estimator):
        detector = DensityOutlierDetector(estimator, random_state=0)
        scores = detector.fit(X).score_samples(X)
        with sklearn.config_context(enable_metadata_routing=True):
            np.testing.assert_allclose(detector.fit(X).score_samples(X), scores)

    def test_the_default_takes_routed_weights(self, X):
        weight = np.where(X[:, 0] > 0, 1.0, 0.1)
        detector = DensityOutlierDetector(random_state=0)
        scores = detector.fit(X, sample_weight=weight).score_samples(X)
        with sklearn.config_context(enable_metadata_routing=True):
            routed = detector.fit(X, sample_weight=weight).score_samples(X)
        np.testing.assert_allclose(routed, scores)

    @pytest.mark.parametrize(
        ("scores", "expected"),
        [
            ([0, 1, 2, 3, 4], (2, 2)),
            ([-np.inf, 0, 1, 2, 3, 4], (2, 2)),
            ([5, 5, 5, 5, 5], (5, 1)),
            ([-np.inf], (0, 1)),
            ([0, 0, 0, 0, 0, 0, 0, 0, 0, -10], (0, 3)),
            ([20, 20 + 4e-15, 20 - 4e-15, 20], (20, 1)),  # equal, but for rounding
        ],
    )
    def test_location_and_scale(self, scores, expected):
        np.testing.assert_allclose(location_and_scale(np.array(scores, float)), expected)


def seed_of(density, detector):
    if not hasattr(density, "random_state"):
        return {}
    return {"random_state": detector.estimator_.estimators_[1].random_state}


class TestKernels:
    @pytest.mark.parametrize("covariance", ["diagonal", "full"])
    def test_against_kernels_of_scipy(self, X, covariance):
        new = X[:20] + 0.1
        density = TableKernelDensity(covariance).fit(X)
        scale = density.scale_
        matrix = density.covariance_ * density.bandwidth_**2 * np.outer(scale, scale)
        each = [stats.multivariate_normal(row, matrix).pdf(new) for row in X]
        expected = np.log(np.mean(each, axis=0)) + np.log(scale).sum()
        np.testing.assert_allclose(density.score_samples(new), expected)
        assert density.bandwidth_ == pytest.approx(300 ** (-1 / 7))

    def test_a_fitted_row_is_scored_by_the_others(self, X):
        density = TableKernelDensity().fit(X)
        others = TableKernelDensity().fit(X)
        others.points_, others.weight_ = others.points_[1:], others.weight_[1:]
        others._own = {}
        np.testing.assert_allclose(density.score_samples(X[:1]), others.score_samples(X[:1]))

    def test_few_odd_rows_do_not_vouch_for_each_other(self, X):
        odd = X.mean(axis=0) + np.array([20, -20, 20])
        scores = {}
        for n_odd in (0, 2):
            rows = np.vstack([X, odd + 0.01 * np.arange(n_odd)[:, None]])
            detector = DensityOutlierDetector(random_state=0).fit(rows)
            scores[n_odd] = detector.score_members(odd[None] + 0.005)[0, 0]
            assert detector.predict(odd[None])[0] == -1
        assert scores[2] < -10

    @pytest.mark.parametrize("covariance", ["diagonal", "full"])
    def test_shares_add_up(self, covariance):
        table = mixed_table()
        table.loc[3, "x"] = np.nan
        table.loc[4, ["colour", "y"]] = None
        density = TableKernelDensity(covariance, random_state=0).fit(table)
        shares = density.score_features(table)
        np.testing.assert_allclose(shares.sum(axis=1), density.score_samples(table))

    def test_a_gap_is_a_usual_cell(self):
        table = mixed_table()
        for density in (TableKernelDensity(), TableKernelDensity("full"), ColumnKernelDensity()):
            usual = density.fit(table).score_samples(table)
            gap = density.score_samples(table.assign(x=np.nan, y=np.nan))
            assert abs(np.median(gap) - np.median(usual)) < np.ptp(np.quantile(usual, [0.25, 0.75]))
            nothing = table.head(2).assign(**dict.fromkeys(table.columns))
            nothing = nothing.astype(table.dtypes.drop("count"))
            assert np.isfinite(density.score_samples(nothing.astype({"count": float}))).all()

    def test_columns_are_independent(self, X):
        density = ColumnKernelDensity().fit(X)
        new = X[:50] + 0.05
        expected = np.zeros(50)
        for j in range(3):
            z = (X[:, j] - density.location_[j]) / density.scale_[j]
            kernel = KernelDensity(bandwidth=300 ** (-1 / 5)).fit(z[:, None])
            expected += kernel.score_samples(
                ((new[:, j] - density.location_[j]) / density.scale_[j])[:, None]
            )
        # Many values are told by quantiles.
        np.testing.assert_allclose(density.score_samples(new), expected, atol=0.05)

    def test_more_rows_than_are_kept(self, monkeypatch):
        monkeypatch.setattr(kernels, "MOST_ROWS", 100)
        X = np.random.default_rng(0).normal(size=(1000, 2))
        a, b = (DensityOutlierDetector(random_state=0).fit(X).score_samples(X) for _ in range(2))
        np.testing.assert_array_equal(a, b)
        assert np.corrcoef(a, -np.sum(X**2, axis=1))[0, 1] > 0.9


class TestDefault:
    def test_finds_what_is_odd_in_each_way(self, X):
        rng = np.random.default_rng(0)
        x = rng.normal(size=500)
        X = np.column_stack([x, x + 0.05 * rng.normal(size=500), rng.normal(size=500)])
        detector = DensityOutlierDetector(random_state=0).fit(X)
        odd = [[8, 8, 0], [1, -1, 0], [0, 0, 9]]
        np.testing.assert_array_equal(detector.predict(odd), [-1, -1, -1])
        np.testing.assert_array_equal(detector.explain(odd).argmin(axis=1) == 2, [0, 0, 1])
        # The fence is one of rows that were not fitted, so that it is no surprise for new ones.
        new = rng.normal(size=(500, 1)) * [1, 1, 0] + np.column_stack(
            [np.zeros(500), 0.05 * rng.normal(size=500), rng.normal(size=500)]
        )
        assert (detector.predict(new) == -1).mean() < 0.1

    @pytest.mark.parametrize("container", ["pandas", "polars", "gaps", "array"])
    def test_any_table(self, container):
        table = mixed_table()
        odd = table.head(4).copy()
        odd.loc[1, "x"] += 9
        odd.loc[2, "colour"] = "mauve"
        if container == "gaps":
            table.loc[::7, "x"] = np.nan
            table.loc[::5, "colour"] = None
        if container == "array":
            table, odd = table.to_numpy(dtype=object), odd.to_numpy(dtype=object)
        if container == "polars":
            table, odd = pl.from_pandas(table), pl.from_pandas(odd)
        detector = DensityOutlierDetector(random_state=0).fit(table)
        assert list(detector.predict(odd)[1:3]) == [-1, -1]
        shares = np.asarray(detector.explain(odd))
        assert list(shares.argmin(axis=1)[1:3]) in ([0, 2], [1, 2])
        np.testing.assert_allclose(shares.sum(axis=1), detector.score_samples(odd))

    def test_huge_and_few_cells(self):
        X = np.random.default_rng(0).normal(size=(100, 2))
        X[0] = [1e308, -1e308]
        detector = DensityOutlierDetector(random_state=0).fit(X)
        np.testing.assert_array_equal(detector.predict([[0, 0], [1e308, 1e308]]), [1, -1])
        for n_rows in (1, 2, 5, 11):
            few = DensityOutlierDetector(random_state=0).fit(X[1 : n_rows + 1])
            assert np.isfinite(few.score_samples(X[:20])).all()

    @pytest.mark.parametrize("density", [TableKernelDensity(), ColumnKernelDensity()])
    def test_unused_levels_change_nothing(self, density):
        table = mixed_table()
        table["colour"] = table["colour"].astype("category")
        more = table.copy()
        more["colour"] = more["colour"].cat.add_categories(["mauve", "teal"])
        scores = clone(density).fit(table).score_samples(table)
        np.testing.assert_allclose(clone(density).fit(more).score_samples(more), scores)
        assert np.isfinite(density.fit(more).score_samples(more.assign(colour="mauve"))).all()

    def test_a_column_of_gaps(self):
        gaps = pd.Categorical([None] * 60, categories=["a", "b"])
        table = pd.DataFrame({"x": np.random.default_rng(0).normal(size=60), "gaps": gaps})
        detector = DensityOutlierDetector(random_state=0).fit(table)
        plain = DensityOutlierDetector(random_state=0).fit(table[["x"]])
        correlation = np.corrcoef(detector.score_samples(table), plain.score_samples(table[["x"]]))
        assert correlation[0, 1] > 0.95

    @pytest.mark.parametrize("value", [1.0, np.nan])
    def test_rows_that_are_all_alike(self, value):
        X = np.full((50, 3), value)
        detector = DensityOutlierDetector(random_state=0).fit(X)
        assert np.abs(detector.score_samples(X)).max() < 10
        np.testing.assert_array_equal(detector.predict(np.vstack([X, [7.0] * 3])), [1] * 50 + [-1])

    def test_infinity_is_named_by_its_row(self):
        X = pd.DataFrame({"a": [1.0, np.inf, 2.0]})
        with pytest.raises(ValueError, match="column 'a', row 1"):
            DensityOutlierDetector().fit(X)

    def test_p_values(self, X):
        detector = DensityOutlierDetector(calibration="holdout", random_state=0).fit(X)
        assert detector.p_values(X[:1] + 100)[0] == pytest.approx(1 / 61)


class TestTrim:
    def contaminated(self):
        """A cluster of outliers that a flexible density takes for one more component."""
        rng = np.random.default_rng(0)
        X = np.vstack([rng.normal(size=(180, 2)), rng.normal([9, 9], 0.3, (20, 2))])
        return X[rng.permutation(200)]

    def test_outliers_of_a_kind_are_left_out(self):
        X = self.contaminated()
        is_odd = X[:, 0] > 5
        density = KernelDensity(bandwidth=1.0)
        plain = DensityOutlierDetector(density, random_state=0).fit(X)
        trimmed = DensityOutlierDetector(density, trim=0.2, random_state=0).fit(X)
        new = [[9.0, 9.0]]
        assert plain.predict(new)[0] == 1
        assert trimmed.predict(new)[0] == -1
        assert trimmed.is_trimmed_[is_odd].all()
        assert trimmed.is_trimmed_.sum() == pytest.approx(40, abs=1)
        kept = KernelDensity(bandwidth=1.0).fit(X[~trimmed.is_trimmed_])
        np.testing.assert_allclose(trimmed.score_samples(X), kept.score_samples(X))
        assert not hasattr(trimmed.set_params(trim=None).fit(X), "is_trimmed_")

    def test_auto(self):
        X = self.contaminated()
        known = DensityOutlierDetector(KernelDensity(), 0.1, trim="auto", random_state=0).fit(X)
        assert known.is_trimmed_.sum() == pytest.approx(20, abs=1)
        X = np.random.default_rng(0).normal(size=(500, 2))
        unknown = DensityOutlierDetector(KernelDensity(), trim="auto", random_state=0).fit(X)
        assert unknown.is_trimmed_.mean() < 0.12

    def test_rows_without_weight_vouch_for_none(self):
        """A crowd of weight 0 around the outliers is as if it were not there."""
        rng = np.random.default_rng(0)
        X = np.vstack([rng.normal(size=(180, 2)), rng.normal([9, 9], 0.3, (60, 2))])
        weight = np.repeat([1.0, 0.0], [180, 60])
        weight[-5:] = 1
        detector = DensityOutlierDetector(trim=0.05, random_state=0)
        trimmed = detector.fit(X, sample_weight=weight).is_trimmed_
        assert trimmed[-5:].all()
        assert not trimmed[180:-5].any()
        without = detector.fit(X[weight > 0]).is_trimmed_
        np.testing.assert_array_equal(trimmed[weight > 0], without)


class Listener:
    """Count the tasks of which callbacks are told."""

    max_propagation_depth = None

    def __init__(self):
        self.begun, self.ended = [], []

    def setup(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        self.begun.append((context.estimator_name, context.task_name))

    def on_fit_task_end(self, estimator, context):
        self.ended.append((context.estimator_name, context.task_name))

    def teardown(self, estimator, context):
        pass


@pytest.mark.parametrize(
    "estimator", [None, HistogramDensity(alpha=1), [("h", HistogramDensity(alpha=1))]]
)
def test_callbacks(estimator, X):
    pytest.importorskip("sklearn.callback")
    listener = Listener()
    DensityOutlierDetector(estimator, random_state=0).set_callbacks(listener).fit(X)
    assert sorted(listener.begun) == sorted(listener.ended)
    assert ("DensityOutlierDetector", "fit") in listener.begun
    told = {name for name, _ in listener.begun}
    assert ("HistogramDensity" in told) == (estimator is not None)


@pytest.mark.parametrize(
    ("estimator", "name"),
    [(None, "a committee"), ([("k", KernelDensity())], "a committee"), (GaussianMixture(), "Gaus")],
)
def test_a_fit_parameter_that_nobody_takes_is_named(estimator, name):
    X = np.random.default_rng(0).normal(size=(30, 2))
    for given in ("weights", "task", "schema"):
        with pytest.raises(
            TypeError, match=rf"DensityOutlierDetector.fit\(\) got '{given}', .* {name}"
        ):
            DensityOutlierDetector(estimator).fit(X, **{given: np.ones(30)})
