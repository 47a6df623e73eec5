"""Boltzmann machines that learn from tables which are read a chunk at a time, and belief nets from further rows."""

import numpy as np
import pytest

from sklearn_dgm import DeepBeliefDensity, RestrictedBoltzmannDensity
from sklearn_dgm.chunks import _sampling, _shuffling
from tests.chunks.tables import Parts

SETTINGS = {"max_iter": 80, "batch_size": 20, "random_state": 0, "handle_unknown": "rare"}
MACHINES = {
    "machine": RestrictedBoltzmannDensity(4, **SETTINGS),
    "belief net": DeepBeliefDensity((6, 4), n_importance_samples=50, **SETTINGS),
}


@pytest.fixture
def small_samples(monkeypatch):
    """Let small tables be larger than a sample."""
    monkeypatch.setattr(_sampling, "SAMPLE_ROWS", 400)
    monkeypatch.setattr(_shuffling, "BUFFER_ROWS", 500)


def bits(n_rows, seed=0):
    """Two groups of bits, all on or all off but for some."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(rng.random((n_rows, 2)) < [0.3, 0.6], 3, axis=1)
    return groups ^ (rng.random((n_rows, 6)) < 0.1)


def true_log_prob(X):
    on, p = np.stack([X[:, :3], X[:, 3:]]).sum(axis=2), np.array([0.3, 0.6])[:, None]
    terms = p * 0.9**on * 0.1 ** (3 - on) + (1 - p) * 0.1**on * 0.9 ** (3 - on)
    return np.log(terms).sum(axis=0)


@pytest.mark.usefixtures("small_samples")
@pytest.mark.parametrize("name", MACHINES)
def test_as_good_as_from_memory(name):
    density, X, held_out = MACHINES[name], bits(3000), bits(2000, seed=1)
    streamed = type(density)(**density.get_params()).fit(Parts(X, 700)).score(held_out)
    whole = type(density)(**density.get_params()).fit(X).score(held_out)
    true = true_log_prob(held_out).sum()
    assert abs(streamed - whole) < 0.02 * len(held_out)
    assert true - streamed < 0.06 * len(held_out)


@pytest.mark.usefixtures("small_samples")
@pytest.mark.parametrize("name", MACHINES)
def test_all_rows_come_and_weights_count(name):
    density = type(MACHINES[name])(**MACHINES[name].get_params())
    X, weight = np.concatenate([bits(1500), ~bits(1500)]), np.repeat([1.0, 0.0], 1500)
    density.fit(Parts(X, 700), sample_weight=weight)
    assert not hasattr(density, "_streamed")
    share = density.sample(4000, random_state=0).mean(axis=0)
    np.testing.assert_allclose(share, bits(1500).mean(axis=0), atol=0.06)


@pytest.mark.usefixtures("small_samples")
@pytest.mark.parametrize("name", MACHINES)
def test_a_table_of_no_more_rows_than_a_sample_is_fitted_as_one_in_memory(name):
    X = bits(400)
    streamed, whole = (
        type(MACHINES[name])(**MACHINES[name].get_params()).fit(of) for of in (Parts(X, 90), X)
    )
    np.testing.assert_array_equal(streamed.score_samples(X), whole.score_samples(X))


@pytest.mark.usefixtures("small_samples")
def test_missing_cells_are_drawn_as_rows_come():
    X = bits(3000).astype(float)
    X[np.random.default_rng(2).random(X.shape) < 0.2] = np.nan
    density = RestrictedBoltzmannDensity(4, categorical_features=range(6), **SETTINGS)
    held_out = bits(2000, seed=1).astype(float)
    scores = density.fit(Parts(X, 700)).score_samples(held_out)
    assert true_log_prob(held_out > 0).mean() - scores.mean() < 0.1


def test_belief_nets_learn_from_further_rows():
    density = DeepBeliefDensity((6, 4), n_importance_samples=50, **SETTINGS)
    held_out = bits(2000, seed=1)
    scores = [
        density.partial_fit(bits(500, seed=seed)).score(held_out) / len(held_out)
        for seed in range(2, 14)
    ]
    assert scores[-1] > scores[0] + 0.2
    assert true_log_prob(held_out).mean() - scores[-1] < 0.25
    assert density.n_iter_ == 12 * 2
    assert [len(gaps) for gaps in density.free_energy_gaps_] == [12, 12]
    state = vars(density).copy()
    with pytest.raises(ValueError, match="hidden_layer_sizes=\\(6, 4\\), .* become \\(6, 3\\)"):
        density.set_params(hidden_layer_sizes=(6, 3)).partial_fit(held_out)
    assert vars(density.set_params(hidden_layer_sizes=(6, 4))) == state
    del density._trainings
    with pytest.raises(ValueError, match="this model was saved without"):
        density.partial_fit(held_out)
