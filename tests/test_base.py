"""The template: validation, encoding, the Jacobian, failures and generators, on the smallest possible density."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy import stats
from sklearn import config_context
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.fixes import parse_version

from sklearn_dgm._validation import check_generator
from sklearn_dgm.base import BaseDensity
from sklearn_dgm.tags import DensityTags, is_density


class StandardNormals(BaseDensity):
    """Independent standard normals in the encoded columns."""

    def _fit(self, Z, sample_weight):
        self.seen_ = Z.copy()
        self.weight_ = sample_weight

    def _log_density(self, Z):
        return stats.norm.logpdf(Z).sum(axis=1)

    def _draw(self, n_samples, rng):
        return rng.standard_normal((n_samples, self.n_features_in_))


@pytest.fixture
def X():
    return np.random.default_rng(0).normal([10, -3], [5, 0.1], (50, 2))


def test_density_is_in_the_units_of_the_rows(X):
    expected = stats.norm(X.mean(axis=0), X.std(axis=0)).logpdf(X).sum(axis=1)
    density = StandardNormals().fit(X)
    np.testing.assert_allclose(density.score_samples(X), expected)
    assert density.score(X) == pytest.approx(expected.sum())
    assert density.score_kind_ == "exact"


def test_samples_are_decoded(X):
    drawn = StandardNormals().fit(X).sample(5000, random_state=0)
    np.testing.assert_allclose(drawn.mean(axis=0), X.mean(axis=0), rtol=0.05)
    np.testing.assert_allclose(drawn.std(axis=0), X.std(axis=0), rtol=0.05)


def test_rows_without_weight_are_not_there(X):
    weight = np.arange(50) % 3
    density = StandardNormals().fit(X, sample_weight=weight)
    assert len(density.seen_) == (weight > 0).sum()
    np.testing.assert_array_equal(density.weight_, weight[weight > 0])
    frame = pd.DataFrame(X, columns=["a", "b"])
    np.testing.assert_array_equal(
        StandardNormals().fit(frame, sample_weight=weight).seen_, density.seen_
    )


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.zeros(50), "zero"),
        (-np.ones(50), "[Nn]egative"),
        (np.full(50, 1e308), "more than float64 can hold"),
    ],
)
def test_wrong_weights(X, weight, message):
    with pytest.raises(ValueError, match=message):
        StandardNormals().fit(X, sample_weight=weight)


def test_a_failed_fit_leaves_the_estimator_as_it_was(X):
    class Fails(StandardNormals):
        fails = True

        def _fit(self, Z, sample_weight):
            super()._fit(Z, sample_weight)
            if self.fails:
                raise RuntimeError

    density = Fails()
    with pytest.raises(RuntimeError):
        density.fit(X)
    assert not [name for name in vars(density) if name.endswith("_")]
    with pytest.raises(NotFittedError):
        density.sample()
    density.fails = False
    expected = density.fit(X).score_samples(X)
    density.fails = True
    with pytest.raises(RuntimeError):
        density.fit(X[:, :1])
    np.testing.assert_array_equal(density.score_samples(X), expected)


@pytest.mark.parametrize("n_samples", [0, -1, 2.0, "three", None])
def test_wrong_n_samples(X, n_samples):
    with pytest.raises(ValueError, match="n_samples should be a positive integer"):
        StandardNormals().fit(X).sample(n_samples)


def test_wrong_frames():
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 5.0]})
    density = StandardNormals().fit(frame)
    with pytest.raises(ValueError, match="0 sample"):
        density.fit(frame.head(0))
    with pytest.raises(ValueError, match="0 sample"):
        density.score_samples(frame.head(0))
    with pytest.raises(ValueError, match="0 feature"):
        density.fit(pd.DataFrame(index=range(5)))
    with pytest.raises(ValueError, match="feature names"):
        density.score_samples(frame.rename(columns={"a": "typo"}))
    with pytest.raises(ValueError, match="column 'b'"):
        density.score_samples(frame.assign(b=["x", "y"]))


def test_a_mask_is_not_lost():
    X = np.ma.masked_equal(np.array([[1.0, 2.0], [3.0, -99.0]]), -99)
    with pytest.raises(ValueError, match="NaN in column 1, row 1 .a missing value"):
        StandardNormals().fit(X)
    assert StandardNormals().fit(X[:1]).n_features_in_ == 2


class TakesHoles(StandardNormals):
    """The marginal of what is there."""

    _density_tags = DensityTags(missing=True, ties=True)

    def __init__(self, column_kinds=None, handle_unknown="impossible"):
        super().__init__(column_kinds=column_kinds)
        self.handle_unknown = handle_unknown

    def _log_density(self, Z):
        return np.nansum(stats.norm.logpdf(Z), axis=1)


def test_missing_cells_are_left_out(X):
    holes = X.copy()
    holes[::3, 0] = holes[3:9, 1] = np.nan
    seen = ~np.isnan(holes)
    mean, std = np.nanmean(holes, axis=0), np.nanstd(holes, axis=0)
    expected = np.where(seen, stats.norm(mean, std).logpdf(X), 0).sum(axis=1)
    masked = np.ma.masked_array(np.where(seen, X, -99), ~seen)
    for table in (holes, masked, holes.tolist(), pd.DataFrame(holes), holes.astype(object)):
        density = TakesHoles().fit(table)
        np.testing.assert_allclose(density.score_samples(table), expected)
        assert not pd.isna(np.asarray(density.sample(9))).any()
    assert density.score_samples([[None, None]]) == [0]
    assert get_tags(TakesHoles()).input_tags.allow_nan
    assert not get_tags(StandardNormals()).input_tags.allow_nan
    with pytest.raises(ValueError, match="NaN in column 0, row 0"):
        StandardNormals().fit(holes)
    with pytest.raises(ValueError, match=r"infinity \(inf\) in column 1, row 4"):
        TakesHoles().fit(np.where(np.arange(100).reshape(50, 2) == 9, np.inf, holes))


def test_atoms_have_no_jacobian():
    rng = np.random.default_rng(0)
    X = np.column_stack(
        [np.where(rng.random(200) < 0.3, 0, rng.normal(5, 3, 200)), rng.random(200)]
    )
    density = TakesHoles().fit(X)
    assert density.schema_.kinds_.tolist() == ["mixed", "continuous"]
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    expected = stats.norm.logpdf(Z) - np.where(X == 0, 0, np.log(X.std(axis=0)))
    np.testing.assert_allclose(density.score_samples(X), expected.sum(axis=1))
    assert StandardNormals().fit(X).schema_.kinds_.tolist() == ["continuous"] * 2


def test_kinds_and_unknown_categories_are_passed_on(X):
    assert TakesHoles({0: "mixed"}).get_params()["column_kinds"] == {0: "mixed"}
    with pytest.raises(ValueError, match="column 0 cannot be mixed"):
        TakesHoles({0: "mixed"}).fit(X)
    with pytest.raises(ValueError, match="'column_kinds' parameter"):
        TakesHoles(["mixed"]).fit(X)
    assert (
        StandardNormals(column_kinds={1: "categorical"}).fit(X).schema_.kinds_[1] == "categorical"
    )
    cities = [["Oslo"], ["Rome"]]
    with pytest.raises(ValueError, match="column 0 holds 'Lima' in row 0"):
        TakesHoles(handle_unknown="error").fit(cities).score_samples([["Lima"]])
    rare = TakesHoles(handle_unknown="rare").fit(cities)
    assert rare.schema_.columns_[0].unknown_share == 0.5
    assert TakesHoles().fit(cities).schema_.columns_[0].unknown_share == 0


def test_times_are_in_seconds_or_days():
    times = np.array([["2020-01-01T00:00:01"], ["2020-01-01T00:00:05"]], dtype="M8[s]")
    for table in (times, pd.DataFrame(times, columns=["when"])):
        density = StandardNormals().fit(table)
        np.testing.assert_allclose(density.score_samples(table), stats.norm.logpdf(1) - np.log(2))
    assert np.asarray(density.sample(3)).dtype.kind == "M"


def test_weighted_score(X):
    density = StandardNormals().fit(X)
    weight = np.arange(50) % 3
    expected = density.score(np.repeat(X, weight, axis=0))
    assert density.score(X, sample_weight=weight) == pytest.approx(expected)


@pytest.mark.skipif(
    parse_version(sklearn.__version__) < parse_version("1.7"),
    reason="a Pipeline of scikit-learn 1.6 does not hand the weights of its score on",
)
def test_metadata_routing(X):
    weight = np.arange(50) % 3
    with config_context(enable_metadata_routing=True):
        density = StandardNormals().set_fit_request(sample_weight=True)
        density.set_score_request(sample_weight=True)
        search = GridSearchCV(make_pipeline(StandardScaler(), density), {}, cv=2)
        search.set_params(
            estimator__standardscaler=StandardScaler().set_fit_request(sample_weight=False)
        )
        search.fit(X, sample_weight=weight)
        inner = search.best_estimator_[-1]
        np.testing.assert_array_equal(inner.weight_, weight[weight > 0])
        assert np.isfinite(search.best_score_)
        plain = make_pipeline(StandardScaler(), StandardNormals()).fit(X)
        assert np.isfinite(plain.score(X))


def test_lists_of_mixed_values_keep_their_numbers():
    density = StandardNormals().fit([[1.5, "a"], [2.5, "b"], [1.0, "a"]])
    assert density.schema_.kinds_.tolist() == ["continuous", "categorical"]


def test_generators():
    assert check_generator(3).random() == check_generator(3).random()
    assert check_generator(None).random() != check_generator(None).random()
    shared = np.random.RandomState(0)
    assert check_generator(shared).random() != check_generator(shared).random()
    generator = np.random.default_rng(0)
    assert check_generator(generator) is generator
    with pytest.raises(ValueError, match="random_state should be"):
        check_generator("seed")


def test_is_density():
    assert all(is_density(e) for e in (StandardNormals(), KernelDensity(), GaussianMixture()))
    assert not is_density(IsolationForest())
    for wrap in (
        lambda e: make_pipeline(StandardScaler(), e),
        lambda e: GridSearchCV(e, {}),
        lambda e: GridSearchCV(make_pipeline(StandardScaler(), e), {}),
        FrozenEstimator,
    ):
        assert is_density(wrap(KernelDensity()))
        assert is_density(wrap(GaussianMixture()))
        assert not is_density(wrap(IsolationForest()))
    assert not is_density(make_pipeline(StandardScaler(), "passthrough"))
