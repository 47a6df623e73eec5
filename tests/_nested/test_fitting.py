"""Weights reach all that take them, with metadata routing on and off, and a schema goes with them."""

import numpy as np
import pytest
import sklearn
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import make_column_transformer
from sklearn.frozen import FrozenEstimator
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from sklearn_dgm import (
    DensityOutlierDetector,
    HistogramDensity,
    TransformedDensity,
    mean_log_likelihood,
)
from sklearn_dgm._nested.fitting import (
    fit_density,
    learn_schema,
    takes_weights,
    weighted_rows,
    weights_for,
)

X = np.random.default_rng(0).normal(size=(40, 2))
WEIGHT = np.arange(40) % 3 + 0.5


class Recording(KernelDensity):
    """A density that tells the weights that it was fitted and scored with."""

    def fit(self, X, y=None, sample_weight=None):
        self.weight_ = sample_weight
        return super().fit(X, y, sample_weight)

    def score(self, X, y=None, sample_weight=None):
        self.seen.append(sample_weight is not None)
        return super().score(X)

    seen: list = []


class Scaler(TransformerMixin, BaseEstimator):
    """A transformer that tells the weights that it was fitted with."""

    def fit(self, X, y=None, sample_weight=None):
        self.weight_ = sample_weight
        return self

    def transform(self, X):
        return X


def last(estimator):
    while hasattr(estimator, "best_estimator_") or hasattr(estimator, "steps"):
        estimator = getattr(estimator, "best_estimator_", None) or estimator.steps[-1][1]
    return estimator


AROUND = {
    "alone": lambda density: density,
    "pipeline": lambda density: make_pipeline(MinMaxScaler(), density),
    "nested": lambda density: make_pipeline(make_pipeline(StandardScaler()), density),
    "search": lambda density: GridSearchCV(density, {}, cv=2),
    "search of a pipeline": lambda density: GridSearchCV(
        make_pipeline(StandardScaler(), density), {}, cv=2
    ),
}


@pytest.mark.parametrize("routing", [False, True])
@pytest.mark.parametrize("around", AROUND)
def test_weights_reach_the_density(around, routing):
    Recording.seen = []
    with sklearn.config_context(enable_metadata_routing=routing):
        fitted = fit_density(AROUND[around](Recording()), X, WEIGHT)
    np.testing.assert_array_equal(last(fitted).weight_, WEIGHT)
    assert Recording.seen == [True] * 2 * around.startswith("search")


def test_weights_reach_transformers_that_take_them():
    steps = make_pipeline(make_column_transformer((Scaler(), [0]), (MinMaxScaler(), [1])), Scaler())
    fitted = fit_density(clone(steps), X, WEIGHT)
    np.testing.assert_array_equal(fitted[0].transformers_[0][1].weight_, WEIGHT)
    np.testing.assert_array_equal(fitted[1].weight_, WEIGHT)
    assert fit_density(MinMaxScaler(), X, WEIGHT).data_min_.shape == (2,)


@pytest.mark.parametrize("around", AROUND)
def test_what_the_user_has_settled_stays(around):
    with sklearn.config_context(enable_metadata_routing=True):
        density = Recording().set_fit_request(sample_weight=False)
    assert last(fit_density(AROUND[around](density), X, WEIGHT)).weight_ is None


def test_frozen_ones_are_left_alone():
    frozen = FrozenEstimator(Recording().fit(X))
    for around in ("alone", "pipeline"):
        fit_density(AROUND[around](frozen), X, WEIGHT)
        assert frozen.estimator.weight_ is None
        assert not hasattr(frozen.estimator, "_metadata_request")


@pytest.mark.parametrize("around", AROUND)
def test_weights_that_no_density_takes(around):
    density = AROUND[around](GaussianMixture())
    with pytest.raises(ValueError, match=r"^GaussianMixture takes no sample_weight\.$"):
        fit_density(density, X, WEIGHT)
    assert weights_for(density, WEIGHT) is None
    assert weights_for(AROUND[around](Recording()), WEIGHT) is WEIGHT
    within = AROUND[around](TransformedDensity(StandardScaler(), GaussianMixture()))
    assert not takes_weights(within)
    with pytest.raises(ValueError, match="GaussianMixture takes no sample_weight, so that"):
        weighted_rows([within], WEIGHT)


@pytest.mark.filterwarnings("error")
def test_weights_that_no_search_can_hand_on():
    """Scikit-learn fails to score a pipeline, with routing on, whose last step scores without weights."""
    search = GridSearchCV(make_pipeline(StandardScaler(), KernelDensity()), {}, cv=2)
    assert not takes_weights(search)
    assert takes_weights(clone(search).set_params(scoring=mean_log_likelihood))
    assert takes_weights(clone(search).set_params(estimator=KernelDensity()))
    whole = np.arange(40) % 3
    weighted = TransformedDensity(None, search).fit(X, sample_weight=whole)
    repeated = TransformedDensity(None, search).fit(np.repeat(X, whole, axis=0))
    np.testing.assert_allclose(weighted.score_samples(X), repeated.score_samples(X))


def test_rows_are_chosen_by_their_weights():
    weight = np.array([2.0, 0.0, 1.0])
    rows, found = weighted_rows([KernelDensity()], weight)
    assert (rows.tolist(), found.tolist()) == ([0, 2], [2, 1])
    for densities in ([GaussianMixture()], [KernelDensity(), GaussianMixture()]):
        rows, found = weighted_rows(densities, weight)
        assert (rows.tolist(), found) == ([0, 0, 2], None)


@pytest.mark.parametrize("routing", [False, True])
def test_a_schema_reaches_a_density_in_a_search(routing):
    search = GridSearchCV(HistogramDensity(alpha=1), {"bins": [2, 3]}, cv=2)
    schema = learn_schema(search, X)
    with sklearn.config_context(enable_metadata_routing=routing):
        fitted = fit_density(search, X[:20], schema=schema)
    column = fitted.best_estimator_.schema_.columns_[0]
    assert (column.low, column.high) == (X[:, 0].min(), X[:, 0].max())


@pytest.mark.parametrize("routing", [False, True])
def test_weights_reach_pipelines_of_a_committee(routing):
    """Where each member of one has rows of its own, and weights with them."""
    members = [
        ("pipeline", make_pipeline(StandardScaler(), Recording())),
        ("none", GaussianMixture()),
    ]
    with sklearn.config_context(enable_metadata_routing=routing):
        if routing:
            members = [("pipeline", members[0][1])]
            for step in members[0][1]:
                step.set_fit_request(sample_weight=True)
        detector = DensityOutlierDetector(members, random_state=0).fit(X, sample_weight=WEIGHT)
    np.testing.assert_array_equal(detector.estimator_.estimators_[0][-1].weight_, WEIGHT)


def test_weights_of_a_detector_reach_the_density_in_a_pipeline():
    detector = DensityOutlierDetector(make_pipeline(StandardScaler(), Recording()))
    fitted = detector.fit(X, sample_weight=WEIGHT)
    np.testing.assert_array_equal(fitted.estimator_[-1].weight_, WEIGHT)
    fitted = detector.fit(X, recording__sample_weight=2 * WEIGHT)
    np.testing.assert_array_equal(fitted.estimator_[-1].weight_, 2 * WEIGHT)
    with pytest.raises(ValueError, match="GaussianMixture takes no sample_weight"):
        DensityOutlierDetector(make_pipeline(StandardScaler(), GaussianMixture())).fit(
            X, sample_weight=WEIGHT
        )
