"""The scorer, over densities whose own `score` means different things."""

import numpy as np
import pytest
import sklearn
from scipy import stats
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score, cross_validate
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_dgm import HistogramDensity
from sklearn_dgm.metrics import mean_log_likelihood


@pytest.fixture
def X():
    return np.random.default_rng(0).normal([10, -3], [5, 0.1], (60, 2))


def test_a_sum_and_a_mean_become_the_same(X):
    """One Gaussian, as a mixture of one component and as a kernel over one row."""
    mixture = GaussianMixture(covariance_type="spherical", reg_covar=0).fit(X)
    std = np.sqrt(mixture.covariances_[0])
    kernel = KernelDensity(bandwidth=std).fit(mixture.means_)
    expected = stats.norm(X.mean(axis=0), std).logpdf(X).sum(axis=1).mean()
    assert mean_log_likelihood(mixture, X) == pytest.approx(expected)
    assert mean_log_likelihood(kernel, X) == pytest.approx(expected)
    assert isinstance(mean_log_likelihood(kernel, X), float)


def test_one_impossible_row_makes_the_mean_impossible():
    density = HistogramDensity(bins=2).fit([[0.0], [1.0]])
    assert mean_log_likelihood(density, [[0.1], [0.2]]) == pytest.approx(0)
    assert mean_log_likelihood(density, [[0.1], [5.0]]) == -np.inf


def test_pipeline_is_scored_behind_its_transformers(X):
    pipeline = make_pipeline(StandardScaler(), KernelDensity()).fit(X)
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    expected = KernelDensity().fit(Z).score(Z) / len(Z)
    assert mean_log_likelihood(pipeline, X) == pytest.approx(expected)
    assert mean_log_likelihood(FrozenEstimator(pipeline), X) == pytest.approx(expected)


def test_search_and_cross_validation_take_it(X):
    grid = {"kerneldensity__bandwidth": [0.01, 0.5, 100.0]}
    pipeline = make_pipeline(StandardScaler(), KernelDensity())
    search = GridSearchCV(pipeline, grid, scoring=mean_log_likelihood, error_score="raise").fit(X)
    assert search.best_params_ == {"kerneldensity__bandwidth": 0.5}
    scores = cross_val_score(
        search, X, scoring=mean_log_likelihood, cv=KFold(3), error_score="raise"
    )
    for score, (train, test) in zip(scores, KFold(3).split(X), strict=True):
        refitted = search.best_estimator_.fit(X[train])
        assert score == pytest.approx(refitted.score_samples(X[test]).mean())


def test_metadata_routing_is_no_obstacle(X):
    with sklearn.config_context(enable_metadata_routing=True):
        scores = cross_validate(
            KernelDensity().set_fit_request(sample_weight=True),
            X,
            scoring=mean_log_likelihood,
            params={"sample_weight": np.ones(len(X))},
            error_score="raise",
        )
    assert np.isfinite(scores["test_score"]).all()


def test_weights_count_as_repeats(X):
    density = KernelDensity().fit(X)
    weight = np.arange(len(X)) % 3
    assert mean_log_likelihood(density, X, sample_weight=weight) == pytest.approx(
        mean_log_likelihood(density, np.repeat(X, weight, axis=0))
    )
    with pytest.raises(ValueError, match="zero"):
        mean_log_likelihood(density, X, sample_weight=np.zeros(len(X)))
    with pytest.raises(ValueError, match="[Nn]egative"):
        mean_log_likelihood(density, X, sample_weight=-np.ones(len(X)))


def test_an_impossible_row_of_weight_zero_is_left_out():
    density = HistogramDensity(bins=2).fit([[0.0], [1.0]])
    assert mean_log_likelihood(density, [[0.1], [5.0]], sample_weight=[1, 0]) == pytest.approx(0)


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (LinearRegression(), "LinearRegression has no score_samples"),
        (make_pipeline(StandardScaler()), "Pipeline has no score_samples"),
        (IsolationForest(), "IsolationForest is not"),
        (make_pipeline(PCA(), IsolationForest()), "Pipeline with IsolationForest is not"),
        (
            GridSearchCV(IsolationForest(), {}, scoring=lambda *args: 0.0),
            "GridSearchCV with IsolationForest is not",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_density_is_refused(X, estimator, message):
    with pytest.raises(TypeError, match=message):
        mean_log_likelihood(estimator.fit(X, X[:, 0]), X)


@pytest.mark.parametrize("estimator", [KernelDensity(), GridSearchCV(KernelDensity(), {})])
def test_unfitted(X, estimator):
    with pytest.raises(NotFittedError):
        mean_log_likelihood(estimator, X)
