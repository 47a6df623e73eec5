"""Mixtures of tables that are read a chunk at a time, beside those in memory and scikit-learn's."""

import copy
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from sklearn_dgm import HistogramDensity, MixtureDensity
from sklearn_dgm.chunks import sum_of
from sklearn_dgm.mixture._fitting import fit_mixture
from sklearn_dgm.mixture._rows import WeightedRows
from tests.bayes_net.test_counting_on import InParts
from tests.mixture.test_gaussian import clusters, holes
from tests.mixture.test_tables import mixed_table, small_table


@pytest.fixture(autouse=True)
def sample(monkeypatch):
    """Let a sample be smaller than the tables here."""
    monkeypatch.setattr("sklearn_dgm.chunks._sampling.SAMPLE_ROWS", 200)


@pytest.fixture
def start(monkeypatch):
    """The mixture that a fit to the sample gives, once a table is read."""
    found, go_on = {}, MixtureDensity._fit_in_passes

    def fit_in_passes(self, count_all):
        found["mixture"], found["density"] = copy.deepcopy(self._mixture), copy.deepcopy(self)
        go_on(self, count_all)

    monkeypatch.setattr(MixtureDensity, "_fit_in_passes", fit_in_passes)
    return found


def read(density, X, **params):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return clone(density).fit(InParts(X, 130), **params)


DENSITIES = [
    MixtureDensity(3, "independent", alpha=2.0, random_state=0),
    MixtureDensity(3, "tree", alpha=2.0, random_state=0),
    MixtureDensity(3, "gaussian", random_state=0),
    *(MixtureDensity(3, "gaussian", covariance_type=of) for of in ("tied", "diag", "factor")),
]


@pytest.mark.parametrize("density", DENSITIES, ids=str)
@pytest.mark.parametrize("weighted", [False, True])
def test_passes_over_chunks_are_steps_of_em_over_all_rows(density, weighted, start):
    X = mixed_table(600)
    X = X.mask(np.random.default_rng(1).random(X.shape) < 0.05)
    weight = np.random.default_rng(2).integers(0, 3, len(X)) if weighted else None
    density = clone(density).set_params(max_iter=6, tol=0.0, random_state=0)
    mine = read(density, X, sample_weight=weight)
    Z = mine.schema_.encode(X)[0]
    kept = np.arange(len(X)) if weight is None else np.flatnonzero(weight)
    weight = None if weight is None else weight[kept].astype(float)
    shares = np.exp(start["mixture"].log_posterior_of(Z[kept]))
    rows = WeightedRows.of(Z[kept], weight, shares)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture, objectives = fit_mixture(start["mixture"], rows, 5, 0.0)
    np.testing.assert_allclose(mine.lower_bounds_[0][1:], objectives, rtol=1e-9)
    np.testing.assert_allclose(mine._mixture.log_prob(Z), mixture.log_prob(Z), rtol=1e-9)
    np.testing.assert_allclose(mine.weights_, mixture.weights, rtol=1e-9)


def test_a_table_no_larger_than_a_sample_is_fitted_as_in_memory(monkeypatch):
    monkeypatch.setattr("sklearn_dgm.chunks._sampling.SAMPLE_ROWS", 600)
    X = mixed_table(600)
    density = MixtureDensity(3, random_state=0, max_iter=7, tol=0.0)
    mine = read(density, X)
    with pytest.warns(ConvergenceWarning):
        whole = clone(density).fit(X)
    assert mine.n_iter_ == whole.n_iter_ == 7
    np.testing.assert_allclose(mine.score_samples(X), whole.score_samples(X), rtol=1e-9)


def test_the_same_as_scikit_learn_from_the_same_start(start):
    X = clusters(900)
    density = MixtureDensity(3, "gaussian", reg_covar=0.0, max_iter=4, tol=0.0, random_state=0)
    mine = read(density, X)
    first = start["density"]
    peer = GaussianMixture(
        3,
        weights_init=first.weights_,
        means_init=first.means_,
        precisions_init=first.precisions_,
        reg_covar=0.0,
        max_iter=4,
        tol=0.0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        peer.fit(X)
    np.testing.assert_allclose(mine.weights_, peer.weights_, rtol=1e-9)
    np.testing.assert_allclose(mine.means_, peer.means_, rtol=1e-9)
    np.testing.assert_allclose(mine.covariances_, peer.covariances_, rtol=1e-9)
    np.testing.assert_allclose(mine.score_samples(X), peer.score_samples(X), rtol=1e-9)


def test_all_rows_are_learnt_from_until_nothing_changes(start):
    X = small_table(2000)
    density = MixtureDensity(3, alpha=2.0, random_state=0).fit(InParts(X, 300))
    (objectives,) = density.lower_bounds_
    assert density.converged_
    assert density.n_iter_ == len(objectives) - 1 > 1
    assert (np.diff(objectives) > -1e-9).all()
    assert density.lower_bound_ == objectives[-1]
    assert density._mixture.counts.weight.sum() == pytest.approx(2000)
    whole = MixtureDensity(3, alpha=2.0, random_state=0).fit(X)
    assert density.score(X) / 2000 == pytest.approx(whole.score(X) / 2000, abs=0.01)
    assert density.score(X) > start["density"].score(X)


def test_what_is_chosen_is_chosen_by_the_sample(start):
    X = mixed_table(1000)
    density = MixtureDensity(2, "gaussian", random_state=0, n_init=3).fit(InParts(X))
    assert density.alpha_ == start["mixture"].tables.alpha
    assert len(start["density"].lower_bounds_) == 3
    assert len(density.lower_bounds_) == 1


def test_how_chunks_are_cut_changes_nothing(monkeypatch):
    monkeypatch.setattr("sklearn_dgm.chunks._sampling.SAMPLE_ROWS", 700)
    X = holes(clusters(700))
    density = MixtureDensity(3, "gaussian", random_state=0)
    scores = [clone(density).fit(InParts(X, n)).score_samples(X) for n in (50, 700)]
    np.testing.assert_allclose(*scores, rtol=1e-9, atol=1e-12)


def test_a_round_is_a_tree_of_sums():
    X = mixed_table(500)
    density = MixtureDensity(2, "gaussian", random_state=0).fit(X)
    Z = density.schema_.encode(X)[0]
    every = density._count(Z, None)
    for ends in ([100, 450], range(10, 500, 10)):
        parts = [density._count(part, np.ones(len(part))) for part in np.split(Z, ends)]
        total = sum_of(parts)
        assert total.log_likelihood == pytest.approx(every.log_likelihood)
        assert total.weight == 500
        np.testing.assert_allclose(total.counts.cells, every.counts.cells, atol=1e-9)
        for mine, theirs in zip(total.counts.moments, every.counts.moments, strict=True):
            np.testing.assert_allclose(mine, theirs, atol=1e-9)


def test_a_fit_that_did_not_converge_warns():
    with pytest.warns(ConvergenceWarning, match="max_iter=2"):
        density = MixtureDensity(3, max_iter=2, tol=0.0).fit(InParts(small_table(600)))
    assert not density.converged_


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({"component": HistogramDensity()}, TypeError, "fitted to tables in memory"),
        ({"warm_start": True}, ValueError, "set warm_start=False"),
        ({"init": np.ones((600, 1)), "n_components": 1}, ValueError, "init to 'k-means"),
    ],
)
def test_what_asks_for_all_rows_in_memory_is_refused(params, error, message):
    density = MixtureDensity(**params)
    with pytest.raises(error, match=message):
        density.fit(InParts(small_table(600)))
    assert not hasattr(density, "schema_")


def test_a_row_that_no_schema_allows_is_named():
    X = small_table(600).assign(flag=np.arange(600) % 2)
    schema = MixtureDensity().learn_schema(X)
    with pytest.raises(ValueError, match="'flag'"):
        MixtureDensity().fit(InParts(X.assign(flag=2 * (np.arange(600) % 2))), schema=schema)
