"""The deep belief net beside enumeration, and beside the machine that it starts from."""

import numpy as np
import pytest
from scipy.special import log_expit, logsumexp

from sklearn_dgm import DeepBeliefDensity, RestrictedBoltzmannDensity
from sklearn_dgm.energy._belief import upside_down
from sklearn_dgm.energy._importance import log_importance
from sklearn_dgm.energy._machine import binary_states
from sklearn_dgm.energy._partition import exact_partition
from tests.energy.machines import binary_machine, mixed_table
from tests.energy.test_boltzmann import binary_rows


def test_a_machine_upside_down_on_top_leaves_the_density():
    machine = binary_machine(8, 6)
    F = binary_states(np.arange(256), 8)
    log_p, std = log_importance([machine, upside_down(machine)], F, 3)
    np.testing.assert_allclose(log_p, machine.log_unnormalised(F), atol=1e-8)
    np.testing.assert_allclose(std, 0, atol=1e-8)
    log_z = [exact_partition(of, "hidden").log_z for of in (machine, upside_down(machine))]
    assert log_z[0] == pytest.approx(log_z[1], abs=1e-10)


def test_estimates_are_sums_over_hidden_units():
    lower, top = binary_machine(8, 8, 0.6), binary_machine(8, 8, 0.3, seed=1)
    F = binary_states(np.arange(256), 8)
    H = binary_states(np.arange(256), 8)
    eta = lower.visible + H @ lower.weights.T
    log_given = F @ eta.T + log_expit(-eta).sum(axis=1)
    log_z = exact_partition(top, "visible").log_z
    truth = logsumexp(log_given + top.log_unnormalised(H), axis=1) - log_z
    assert np.exp(truth).sum() == pytest.approx(1)
    log_p, std = log_importance([lower, top], F, 3000)
    error = (log_p - log_z - truth) / std
    assert np.abs(error).max() < 5
    assert 0.5 < np.std(error) < 1.5
    assert np.abs(log_p - log_z - truth).max() < 0.3


@pytest.fixture(scope="module")
def nets():
    X = binary_rows()
    shared = {"max_iter": 60, "random_state": 0, "n_importance_samples": 200}
    return X, {
        sizes: DeepBeliefDensity(sizes, **shared).fit(X)
        for sizes in [(4,), (4, 3), (4, 5), (4, 3, 2)]
    }


def test_one_machine_is_a_restricted_boltzmann_machine(nets):
    X, fits = nets
    machine = RestrictedBoltzmannDensity(4, max_iter=60, random_state=0).fit(X)
    assert fits[(4,)].score_kind_ == "exact"
    np.testing.assert_allclose(fits[(4,)].score_samples(X), machine.score_samples(X), atol=1e-10)


@pytest.mark.parametrize("sizes", [(4, 3), (4, 5), (4, 3, 2)])
def test_probabilities_sum_to_one_and_draws_have_them(nets, sizes):
    _, fits = nets
    net, every = fits[sizes], binary_states(np.arange(32), 5)
    log_p, std = net.score_samples(every, return_std=True)
    p = np.exp(log_p)
    assert net.score_kind_ == "estimate"
    assert p.sum() == pytest.approx(1, abs=0.02 + 3 * np.sum(p * std))
    drawn = net.sample(20_000, random_state=0)
    shares = np.bincount((drawn @ 2 ** np.arange(5)).astype(int), minlength=32) / len(drawn)
    np.testing.assert_allclose(shares, p, atol=0.02)
    assert net.transform(every).shape == (32, sizes[-1])
    assert [w.shape for w in net.components_] == [
        (above, below) for below, above in zip((5, *sizes[:-1]), sizes, strict=True)
    ]


def test_no_worse_than_the_machine_it_starts_from(nets):
    X, fits = nets
    assert fits[4, 5].score(X) > fits[(4,)].score(X) - 0.01 * len(X)


def test_columns_of_all_kinds():
    X = mixed_table()
    net = DeepBeliefDensity((6, 4), max_iter=20, random_state=0).fit(X)
    drawn = net.sample(50, random_state=0)
    assert np.isfinite(net.score_samples(drawn)).all()


@pytest.mark.parametrize("sizes", [(), (4, 0), 3, (2.5,), [["a"]]])
def test_sizes_that_are_none(sizes):
    with pytest.raises(ValueError, match="hidden_layer_sizes"):
        DeepBeliefDensity(sizes, max_iter=1).fit(binary_rows())
