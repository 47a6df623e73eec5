"""Contrastive divergence has the gradient of the log-likelihood, where its chains are all states."""

import numpy as np
import pytest
import torch

from sklearn_dgm.energy._contrastive import Rows, gradient
from sklearn_dgm.energy._machine import BoltzmannMachine, binary_states
from tests.energy.machines import binary_machine, units_of


def log_likelihood(F, states, a, c, W, of_visible=0.0, of_hidden=0.0):
    """Mean log-probability of binary rows, by all states; energies are those of centred units."""
    h = torch.tensor(binary_states(np.arange(2 ** len(c)), len(c))) - of_hidden

    def log_p(v):
        v = torch.tensor(v) - of_visible
        return torch.logsumexp((v @ a)[:, None] + h @ c + v @ W @ h.T, dim=1)

    return (log_p(F) - torch.logsumexp(log_p(states), dim=0)).mean()


@pytest.mark.parametrize("centred", [False, True])
def test_gradient_is_that_of_the_log_likelihood(centred):
    rng = np.random.default_rng(0)
    machine, states = binary_machine(4, 3), binary_states(np.arange(16), 4)
    F = states[rng.integers(0, 16, 7)]
    centres = (rng.random(4), rng.random(3)) if centred else (np.zeros(4), np.zeros(3))
    log_p = machine.log_unnormalised(states)
    p = np.exp(log_p - log_p.max())
    weights, visible, hidden, _, _ = gradient(
        machine, F, np.full(7, 1 / 7), states, p / p.sum(), centres
    )
    of_visible, of_hidden = map(torch.tensor, centres)
    W = torch.tensor(machine.weights, requires_grad=True)
    # Biases of centred units.
    a = (torch.tensor(machine.visible) + W.detach() @ of_hidden).requires_grad_()
    c = (torch.tensor(machine.hidden) + of_visible @ W.detach()).requires_grad_()
    expected = torch.autograd.grad(
        log_likelihood(F, states, a, c, W, of_visible, of_hidden), (W, a, c)
    )
    np.testing.assert_allclose(weights, expected[0], atol=1e-12)
    np.testing.assert_allclose(visible, expected[1] - expected[0] @ of_hidden, atol=1e-12)
    np.testing.assert_allclose(hidden, expected[2] - of_visible @ expected[0], atol=1e-12)


def test_gradient_of_widths_leaves_means():
    rng = np.random.default_rng(0)
    units, _ = units_of(rng.normal(size=(60, 1)))
    W, a, c, width = rng.normal(size=(1, 2)), rng.normal(size=1), rng.normal(size=2), 0.6
    u = rng.normal(size=(9, 1))
    h = torch.tensor(binary_states(np.arange(4), 2))

    def mean_log_p(log_width):
        """Of a mixture of four normals, whose means are width**2 times natural parameters, and stay."""
        means = torch.tensor((h.numpy() @ W.T + a)[:, 0] * width**2)
        spread = torch.exp(log_width)
        log_weights = h @ torch.tensor(c) + means**2 / (2 * spread**2) + torch.log(spread)
        log_weights = log_weights - torch.logsumexp(log_weights, 0)
        log_p = torch.distributions.Normal(means, spread).log_prob(torch.tensor(u))
        return torch.logsumexp(log_p + log_weights, dim=1).mean()

    log_width = torch.tensor(np.log(width), requires_grad=True)
    (expected,) = torch.autograd.grad(mean_log_p(log_width), log_width)
    machine = BoltzmannMachine(units, W, a, c, np.array([width**-2.0]))
    grid = np.linspace(-8, 8, 4001)[:, None]
    p = np.exp(machine.log_unnormalised(grid))
    got = gradient(machine, u, np.full(9, 1 / 9), grid, p / p.sum(), (np.zeros(1), np.zeros(2)))[3]
    assert got[0] == pytest.approx(float(expected), rel=1e-8)


def test_rows_come_up_by_their_weights():
    F, weight = np.arange(5.0)[:, None], np.array([1.0, 2.0, 0.5, 4.5, 2.0])
    seen = np.concatenate(list(Rows(F, None, weight).batches(1000, np.random.default_rng(0))))
    np.testing.assert_allclose(np.bincount(seen) / 1000, weight / 10, atol=0.0011)
    in_one_pass = np.concatenate(
        list(Rows(F, None, np.ones(5)).batches(5, np.random.default_rng(0)))
    )
    assert sorted(in_one_pass) == [0, 1, 2, 3, 4]
