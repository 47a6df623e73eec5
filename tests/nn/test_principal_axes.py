"""Principal axes of pieces: their spreads, and that folding changes nothing but coordinates."""

import numpy as np
import pytest
import torch

from sklearn_dgm.nn.inputs import TableInputs, Variable
from sklearn_dgm.nn.made import MADE
from sklearn_dgm.nn.masks import complete_adjacency
from sklearn_dgm.nn.principal_axes import FIRST_SPREAD, LEAST_SHARE, POWER, PrincipalAxes

VARIABLES = [
    Variable(None, False, knots=(-2.0, -0.5, 0.0, 0.4, 2.0)),
    Variable(2, False),
    Variable(None, False, 1.0, 2.0, knots=(-1.0, 1.0)),
    Variable(None, False, knots=(0.0,)),  # no piece
    Variable(None, True, 5.0, 3.0, knots=(-1.5, 0.0, 1.5)),
]


def rows(n, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    z = [x, x > 0, 1 + 2 * x + rng.normal(size=n), x**2, rng.poisson(5, n)]
    return torch.tensor(np.stack(z, axis=1)).float()


def spreads_by_hand(pieces):
    """Spreads of the coordinates along the axes, by singular values."""
    variances = np.linalg.svd(pieces - pieces.mean(axis=0), compute_uv=False) ** 2 / len(pieces)
    shares = np.maximum(variances / variances[0], LEAST_SHARE)
    return FIRST_SPREAD * shares ** (POWER - 0.5) * np.sqrt(variances / variances[0])


def test_coordinates_are_uncorrelated_and_have_their_spreads():
    inputs, z = TableInputs(VARIABLES), rows(500)
    axes = PrincipalAxes(inputs, z, torch.ones(500))
    seen = inputs(z)
    along = axes(seen).numpy()
    first = inputs.pieces_at[0].start + len(inputs.feature_label)
    assert np.array_equal(along[:, :first], seen[:, :first])
    for which in inputs.pieces_at.values():
        own = slice(which.start + first, which.stop + first)
        n_pieces = which.stop - which.start
        found = np.cov(along[:, own].T, bias=True).reshape(n_pieces, n_pieces)
        expected = (
            np.diag(spreads_by_hand(seen[:, own].numpy().astype(float)) ** 2) if n_pieces else 0
        )
        np.testing.assert_allclose(found, expected, atol=1e-4)
        np.testing.assert_allclose(along[:, own].mean(axis=0), 0, atol=1e-4)


def test_a_weight_of_two_is_a_row_twice():
    inputs, z = TableInputs(VARIABLES), rows(50)
    weight = torch.tensor([1.0, 2.0]).repeat(25)
    twice = PrincipalAxes(inputs, z.repeat_interleave(weight.long(), dim=0), torch.ones(75))
    weighted = PrincipalAxes(inputs, z, weight)
    np.testing.assert_allclose(weighted.center, twice.center, atol=1e-6)
    np.testing.assert_allclose(weighted(inputs(z)).abs(), twice(inputs(z)).abs(), atol=1e-4)


@pytest.mark.parametrize("weight", [0.0, 1e-9, 1e-3, 1.0])
def test_what_hardly_any_row_has_is_not_far_out(weight):
    inputs = TableInputs([Variable(None, False, knots=(-1.0, 0.0, 1.0))])
    z, weights = torch.full((1000, 1), 0.3), torch.ones(1000)
    z[:3], weights[:3] = 0.9, weight
    along = PrincipalAxes(inputs, z, weights)(inputs(z))[:, 1:]
    np.testing.assert_allclose(along[3:], 0, atol=0.02)
    assert along.abs().max() < 30


def test_asked_column_by_column_a_network_in_training_says_the_same():
    torch.manual_seed(0)
    module = MADE(VARIABLES, complete_adjacency(np.arange(5)), (16, 8), "relu", 3, "logistic")
    z = rows(20)
    module.see_along(PrincipalAxes(module.inputs, z, torch.ones(20)))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    module.double().eval()
    z = z.double()
    with torch.no_grad():
        expected = module.log_prob_features(z)
        for j, conditional in module.visit(z):
            np.testing.assert_allclose(conditional.log_prob(z[:, j]), expected[:, j], atol=1e-4)
        found = module.log_prob_at(z, 2, z[:, 2:3])[:, 0]
    np.testing.assert_allclose(found, expected.sum(dim=1), atol=1e-4)
    assert module.axes is not None


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [4, 2, 0, 3, 1]])
def test_settling_leaves_the_conditionals_as_they_are(order):
    torch.manual_seed(0)
    module = MADE(VARIABLES, complete_adjacency(np.array(order)), (16, 8), "relu", 3, "logistic")
    z = rows(40)
    module.see_along(PrincipalAxes(module.inputs, z, torch.ones(40)))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    module.double().eval()
    pieces = module.params(z.double()).detach()
    module.settle()
    assert not [name for name in module.state_dict() if name.startswith("axes")]
    np.testing.assert_allclose(module.params(z.double()).detach(), pieces, atol=1e-5)
    # Where training stands is not what the pieces themselves would say with the same weights.
    module.see_along(PrincipalAxes(module.inputs, z, torch.ones(40)).double())
    assert (module.params(z.double()) - pieces).abs().max() > 0.1
