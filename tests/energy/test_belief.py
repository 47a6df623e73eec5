"""The deep belief net beside enumeration, and beside the machine that it starts from."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import log_expit, logsumexp
from sklearn.base import clone

from sklearn_dgm import DeepBeliefDensity, RestrictedBoltzmannDensity
from sklearn_dgm.energy._belief import upside_down
from sklearn_dgm.energy._contrastive import ContrastiveDivergence
from sklearn_dgm.energy._importance import latin_hypercube, log_importance
from sklearn_dgm.energy._machine import binary_states
from sklearn_dgm.energy._partition import exact_partition
from tests.energy.machines import binary_machine, mixed_table
from tests.energy.test_boltzmann import binary_rows

NONE_MISSING = np.zeros((256, 8), dtype=bool)


def test_a_machine_upside_down_on_top_leaves_the_density():
    machine = binary_machine(8, 6)
    F = binary_states(np.arange(256), 8)
    log_p, std = log_importance([machine, upside_down(machine)], F, NONE_MISSING, 3)
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
    log_p, std = log_importance([lower, top], F, NONE_MISSING, 3000)
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


def test_a_machine_on_top_learns_what_few_units_below_do_not():
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 2, (2, 600))
    X = np.repeat([first, second, first ^ second], 3, axis=0).T.astype(bool)
    one, two = (
        DeepBeliefDensity(sizes, max_iter=300, random_state=0, n_importance_samples=200).fit(X)
        for sizes in [(4,), (4, 8)]
    )
    assert two.score(X) / len(X) > one.score(X) / len(X) + 0.1


def test_columns_of_all_kinds_have_a_density():
    X = mixed_table()[:, [0, 1, 2]]
    net = DeepBeliefDensity((4, 3), max_iter=100, random_state=0, n_importance_samples=500).fit(X)
    x = np.linspace(-15, 20, 60)
    rows = [
        (flag, color, u) for flag in (False, True) for color in ("red", "green", "blue") for u in x
    ]
    table = np.empty((len(rows), 3), dtype=object)
    table[:] = rows
    p = np.exp(net.score_samples(table)).reshape(2, 3, -1) * (x[1] - x[0])
    assert p.sum() == pytest.approx(1, abs=0.03)
    drawn = net.sample(5000, random_state=0)
    assert np.mean(drawn[:, 0].astype(bool)) == pytest.approx(p[1].sum(), abs=0.03)
    assert np.mean(drawn[:, 1] == "red") == pytest.approx(p[:, 0].sum(), abs=0.03)
    assert np.mean(drawn[:, 2].astype(float)) == pytest.approx(p.sum(axis=(0, 1)) @ x, abs=0.2)


@pytest.mark.parametrize("sizes", [(4,), (6, 6)])
def test_rare_categories_are_scored_as_missing_ones(sizes):
    rng = np.random.default_rng(0)
    a = rng.choice(list("xyz"), 600)
    frame = pd.DataFrame(
        {"a": a, "b": np.where(a == "x", "p", "q"), "c": np.where(a == "y", "u", "v")}
    )
    net = DeepBeliefDensity(
        sizes, max_iter=100, random_state=0, handle_unknown="rare", n_importance_samples=2000
    ).fit(frame)
    share = net.schema_.columns_[0].unknown_share
    for b, c in (("p", "v"), ("q", "v"), ("q", "u")):
        rows = pd.DataFrame({"a": [*"xyz", "new"], "b": b, "c": c})
        log_p, std = net.score_samples(rows, return_std=True)
        expected = logsumexp(log_p[:3]) + np.log(share) - np.log1p(-share)
        assert log_p[3] == pytest.approx(expected, abs=1e-8 + 4 * np.hypot(std[3], std[:3].max()))
        assert std[3] < 0.2
    assert net.transform(rows).shape == (4, sizes[-1])


def test_twice_the_samples_move_the_mean_by_less_than_three_errors(nets):
    X, fits = nets
    net = fits[4, 5]
    log_p, std = net.score_samples(X, return_std=True)
    twice = clone(net).set_params(n_importance_samples=400).fit(X).score_samples(X)
    assert abs(np.mean(twice - log_p)) < 3 * np.mean(std)


def test_impossible_rows_have_no_error(nets):
    _, fits = nets
    log_p, std = fits[4, 3].score_samples([[2.0, 0, 0, 0, 0]], return_std=True)
    assert (log_p[0], std[0]) == (-np.inf, 0.0)


def test_too_many_states_on_top_are_refused_before_training(monkeypatch):
    monkeypatch.setattr(ContrastiveDivergence, "step", None)
    with pytest.raises(ValueError, match=r"2\*\*40 of the hidden ones and 2\*\*30 of the visible"):
        DeepBeliefDensity((30, 40), log_partition="exact").fit(binary_rows())


def test_numbers_of_proposals_are_a_latin_hypercube():
    u = latin_hypercube(50, 7)
    np.testing.assert_array_equal(
        np.sort(np.floor(50 * u), axis=0), np.tile(np.arange(50), (7, 1)).T
    )
    assert np.abs(np.corrcoef(u.T) - np.eye(7)).max() < 0.5


@pytest.mark.parametrize("sizes", [(), (4, 0), 3, (2.5,), [["a"]]])
def test_sizes_that_are_none(sizes):
    with pytest.raises(ValueError, match="hidden_layer_sizes"):
        DeepBeliefDensity(sizes, max_iter=1).fit(binary_rows())
