"""The template of meta-estimators: a toy written from its manual alone keeps both contracts."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.ensemble import IsolationForest
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_dgm import (
    BayesianNetworkDensity,
    EnsembleDensity,
    GenerativeClassifier,
    HistogramDensity,
    TransformedDensity,
)
from sklearn_dgm._nested.fitting import fit_density, learn_schema
from sklearn_dgm._nested.meta import BaseMetaDensity
from sklearn_dgm._nested.rows import TableView, draw_rows
from sklearn_dgm._nested.scores import scores_and_std, scores_of_mixture
from sklearn_dgm.columns import stacked
from sklearn_dgm.utils.estimator_checks import parametrize_with_density_checks


class ContaminatedDensity(BaseMetaDensity):
    """A density, and a share of rows from a background: Huber's model of contamination."""

    def __init__(self, estimator, background, share=0.1):
        self.estimator = estimator
        self.background = background
        self.share = share

    def _members(self):
        return [("estimator", self.estimator), ("background", self.background)]

    def _learn_schema(self, X, sample_weight):
        densities = [density for _, density in self._members()]
        view = TableView.of(densities, X, sample_weight)
        return [learn_schema(d, view.rows_for(d, X), sample_weight) for d in densities]

    def _fit_within(self, X, sample_weight, schema, task):
        self._view = TableView.of([density for _, density in self._members()], X, sample_weight)
        schemas = [None, None] if schema is None else schema
        self.estimators_ = [
            fit_density(
                clone(density),
                self._view.rows_for(density, X),
                sample_weight,
                schema,
                task.subtask(name),
            )
            for (name, density), schema in zip(self._members(), schemas, strict=True)
        ]

    def _score_rows(self, X):
        found = [scores_and_std(d, self._view.rows_for(d, X)) for d in self.estimators_]
        log_p, std = zip(*found, strict=True)
        return scores_of_mixture(log_p + np.log([[1 - self.share], [self.share]]), std)

    def _sample_rows(self, n_samples, rng):
        n_strange = rng.binomial(n_samples, self.share)
        counts = n_samples - n_strange, n_strange
        drawn = [
            self._view.draw(density, count, rng)
            for density, count in zip(self.estimators_, counts, strict=True)
            if count
        ]
        return stacked(drawn, rng.permutation(n_samples))


class Copycat(BaseMetaDensity):
    """The density inside, as it is."""

    def __init__(self, estimator):
        self.estimator = estimator

    def _fit_within(self, X, sample_weight, schema, task):
        part = task.subtask("fit density")
        self.estimator_ = fit_density(clone(self.estimator), X, sample_weight, schema, part)

    def _score_rows(self, X):
        return scores_and_std(self.estimator_, X)

    def _sample_rows(self, n_samples, rng):
        return draw_rows(self.estimator_, n_samples, rng)


TOYS = [
    ContaminatedDensity(
        HistogramDensity(alpha=0.01), BayesianNetworkDensity("chow-liu", conditional="table")
    ),
    Copycat(HistogramDensity(alpha=0.5)),
]


@parametrize_with_checks(TOYS)
def test_a_toy_keeps_the_contract_of_scikit_learn(estimator, check):
    check(estimator)


@parametrize_with_density_checks(TOYS)
def test_a_toy_keeps_the_contract_of_densities(estimator, check):
    check(estimator)


class WithoutSample(KernelDensity):
    sample = property()


@pytest.fixture
def X():
    return np.random.default_rng(0).normal(loc=[0, 3], size=(200, 2))


def test_what_is_inside_says_what_is_taken_and_can_be_drawn(X):
    table = pd.DataFrame({"tea": ["green", "black"] * 20, "cups": np.arange(40.0)})
    drawn = Copycat(HistogramDensity()).fit(table).sample(3, random_state=0)
    assert list(drawn.dtypes) == list(table.dtypes)
    with_numbers = ContaminatedDensity(KernelDensity(), HistogramDensity(integer_features=None))
    frame = pd.DataFrame(X, columns=["a", "b"]).astype({"a": "float32"})
    assert list(with_numbers.fit(frame).sample(3).dtypes) == list(frame.dtypes)
    assert hasattr(Copycat(HistogramDensity()), "sample")
    assert not hasattr(Copycat(WithoutSample()), "sample")
    assert Copycat(HistogramDensity()).fit(X).score_kind_ == "exact"


def test_weights_are_repeats_also_where_a_density_takes_none(X):
    weight = np.arange(200) % 3
    for inside in (GaussianMixture(2, random_state=0), HistogramDensity(alpha=0.1)):
        weighted = Copycat(inside).fit(X, sample_weight=weight)
        repeated = Copycat(inside).fit(np.repeat(X, weight, axis=0))
        np.testing.assert_allclose(weighted.score_samples(X), repeated.score_samples(X))
    with pytest.raises(ValueError, match="GaussianMixture takes no sample_weight, so that it must"):
        Copycat(GaussianMixture()).fit(X, sample_weight=weight + 0.5)
    total = weighted.score(X, sample_weight=weight)
    assert total == pytest.approx(weighted.score(np.repeat(X, weight, axis=0)))


def test_errors_leave_it_as_it_was(X):
    density = Copycat(HistogramDensity()).fit(X)
    before = vars(density).copy()
    density.set_params(estimator=GaussianMixture(300))
    with pytest.raises(ValueError, match="n_samples"):
        density.fit(X[:, :1])
    assert vars(density) == before | {"estimator": density.estimator}
    with pytest.raises(TypeError, match="background should be a density, which IsolationForest"):
        ContaminatedDensity(HistogramDensity(), IsolationForest()).fit(X)
    with pytest.raises(ValueError, match="n_samples should be a positive integer"):
        density.sample(0)


def test_it_nests(X):
    """Parts compare by one schema, also behind a toy, and its measure is that of what is inside."""
    y = (X[:, 0] > 0).astype(int)
    of_toys = GenerativeClassifier(Copycat(HistogramDensity(5, alpha=0.1))).fit(X, y)
    plain = GenerativeClassifier(HistogramDensity(5, alpha=0.1)).fit(X, y)
    np.testing.assert_array_equal(of_toys.predict_proba(X), plain.predict_proba(X))
    counts = np.random.default_rng(0).poisson(3, (80, 1))
    members = [("toy", Copycat(HistogramDensity(alpha=1))), ("kernel", KernelDensity())]
    with pytest.raises(
        ValueError,
        match="column 0 is continuous for 'kernel' and counted for 'toy'|counted for 'toy'",
    ):
        EnsembleDensity(members, weights="equal").fit(counts)
    scaled = TransformedDensity(None, Copycat(HistogramDensity(alpha=1))).fit(X)
    np.testing.assert_allclose(
        scaled.score_samples(X), HistogramDensity(alpha=1).fit(X).score_samples(X)
    )


def test_densities_on_different_measures_are_refused():
    counts = np.random.default_rng(0).poisson(3, size=(200, 2))
    toy = ContaminatedDensity(HistogramDensity(alpha=0.5), GaussianMixture())
    with pytest.raises(ValueError, match="column 0"):
        toy.fit(counts)


def test_several_densities_need_a_schema_each(X):
    class Forgetful(ContaminatedDensity):
        _learn_schema = BaseMetaDensity._learn_schema

    toy = Forgetful(HistogramDensity(alpha=0.5), HistogramDensity(alpha=0.5, bins=5))
    with pytest.raises(NotImplementedError, match="Forgetful should write _learn_schema"):
        toy.learn_schema(X)
