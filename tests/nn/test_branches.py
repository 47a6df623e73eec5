"""What completions of a row share is computed once: the same numbers as one network pass for each of them."""

import itertools
import math

import numpy as np
import pytest
import torch

from sklearn_dgm.nn import completion
from sklearn_dgm.nn.ancestral import AncestralDensity
from sklearn_dgm.nn.completion import log_marginal_at
from sklearn_dgm.nn.inputs import Variable
from sklearn_dgm.nn.made import MADE
from sklearn_dgm.nn.masks import complete_adjacency
from sklearn_dgm.nn.mixture import Mixture

NUMBER = Variable(None, False, 0.0, 1.0, (-1.0, 0.0, 1.0))
VARIABLES = [
    NUMBER,
    Variable(3, False),
    Variable(None, True, 4.0, 2.0, (-1.0, 0.5, 2.0), (3.0,), grid=(5.0, 0.0, 0.1)),
    Variable(2, False, unknown_share=0.1),
    Variable(300, False),
    Variable(None, False, 0.0, 1.0, (), (0.0,)),
    Variable(5, True),
]
CHAIN = np.eye(7, k=1, dtype=bool)
FORK = np.zeros((7, 7), dtype=bool)
FORK[[0, 0, 2, 3, 5], [2, 3, 1, 1, 6]] = True


def network(variables, adjacency, hidden=(24, 16), seed=0):
    torch.manual_seed(seed)
    module = MADE(variables, adjacency, hidden, "silu", 3, "logistic")
    with torch.no_grad():
        module.bias.normal_(0, 0.7)
        module.out.weight.mul_(3)
        module.skip.weight.normal_(0, 0.5)
        module.residuals.slopes += 0.3 * torch.randn(module.residuals.slopes.shape)
        # A regression looks at the parents of its column alone.
        sees = adjacency.T[module.residuals.label][:, module.inputs.feature_label]
        own = module.residuals.label[:, None] == module.inputs.feature_label
        module.residuals.slopes *= torch.from_numpy(sees | own)
    return module.double().eval()


@pytest.fixture(params=["first to last", "shuffled", "chain", "fork", "no hidden units"])
def module(request):
    orders = {"first to last": range(7), "no hidden units": range(7)}
    if request.param in ("chain", "fork"):
        return network(VARIABLES, CHAIN if request.param == "chain" else FORK)
    order = list(orders.get(request.param, [3, 5, 0, 6, 1, 4, 2]))
    hidden = () if request.param == "no hidden units" else (24, 16)
    return network(VARIABLES, complete_adjacency(order), hidden)


def rows_of(module, n=6):
    return module.sample(n, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("missing", [(0,), (4,), (1, 2), (3, 5, 6), (0, 1, 2, 3, 4, 5)])
def test_completions_are_those_of_one_pass_for_each(module, missing):
    z = rows_of(module)
    z[:, list(missing)] = torch.nan
    if 0 not in missing:
        z[0, 0] = 1e300  # impossible
    uniforms = torch.rand(5, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for numbers in (uniforms, torch.stack([uniforms] * len(z))):
        filled, shares = module.complete(z, numbers)
        expected = AncestralDensity.complete(module, z, uniforms)
        np.testing.assert_allclose(filled, expected[0], rtol=1e-10)
        np.testing.assert_allclose(shares, expected[1], atol=1e-10)
        assert (shares[..., list(missing)] == 0).all()


@pytest.mark.parametrize("j", range(7))
def test_log_densities_at_values_are_those_of_one_pass_for_each(module, j):
    z, x = rows_of(module), rows_of(module, 60)[:, j].reshape(6, 10)
    x = torch.cat([x, x.new_tensor([[-1.0, 1e300]] * 6)], dim=1)
    z[:, j] = torch.nan
    rows = z[:, None].repeat(1, 12, 1)
    rows[..., j] = x
    with torch.no_grad():
        expected = module.log_prob(rows.flatten(0, 1)).reshape(x.shape)
    np.testing.assert_allclose(module.log_prob_at(z, j, x), expected, atol=1e-10)


SMALL = [Variable(3, False), NUMBER, Variable(6, True), Variable(4, False)]


@pytest.fixture(scope="module")
def mixture():
    orders = [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]]
    members = [network(SMALL, complete_adjacency(o), seed=k) for k, o in enumerate(orders)]
    return Mixture(members).eval()


def test_outcomes_of_other_columns_are_summed_exactly(mixture):
    z = rows_of(mixture)
    z[:, [0, 3]] = torch.nan
    x = torch.arange(6.0).double().repeat(6, 1)
    cells = list(itertools.product(range(3), range(4)))
    rows = z[:, None, None].repeat(1, 6, 12, 1)
    rows[..., 2] = x[:, :, None]
    rows[..., [0, 3]] = torch.tensor(cells, dtype=torch.float64)
    with torch.no_grad():
        expected = mixture.log_prob(rows.flatten(0, 2)).reshape(6, 6, 12).logsumexp(dim=2)
    np.testing.assert_allclose(log_marginal_at(mixture, z, 2, x), expected, atol=1e-10)


def test_numbers_of_another_column_are_integrated(mixture):
    z = rows_of(mixture, 4)
    z[:, 1] = torch.nan
    x = torch.arange(-12.0, 18.0).double().repeat(4, 1)  # beyond which hardly any is
    grid = torch.sinh(torch.linspace(-8, 8, 401)).double()
    rows = z[:, None, None].repeat(1, 30, len(grid), 1)
    rows[..., 2], rows[..., 1] = x[..., None], grid
    with torch.no_grad():
        p = mixture.log_prob(rows.flatten(0, 2)).exp().reshape(4, 30, -1)
    expected = torch.trapezoid(p, grid, dim=2)
    found = log_marginal_at(mixture, z, 2, x)
    np.testing.assert_allclose(found.logsumexp(dim=1), expected.sum(dim=1).log(), atol=0.03)
    gap = found.softmax(dim=1) - expected / expected.sum(dim=1, keepdim=True)
    assert gap.abs().sum(dim=1).max() / 2 < 0.03
    alone = [log_marginal_at(mixture, z[i : i + 1], 2, x[i : i + 1]) for i in range(4)]
    np.testing.assert_allclose(torch.cat(alone), found, atol=1e-10)


def test_values_share_completions(mixture, monkeypatch):
    """What a prediction costs must not be the product of values and completions."""
    z = rows_of(mixture, 3)
    z[:, 1] = torch.nan
    x = torch.arange(-100.0, 200.0).double().repeat(3, 1)
    n_rows = []
    for name in ("complete", "log_prob_at", "log_prob_features"):
        original = getattr(MADE, name)

        def counted(self, z, *args, original=original, name=name):
            numbers = {"complete": 0, "log_prob_at": 1}.get(name)
            n_rows.append(len(z) * (1 if numbers is None else args[numbers].shape[-2 + numbers]))
            return original(self, z, *args)

        monkeypatch.setattr(MADE, name, counted)
    log_marginal_at(mixture, z, 2, x)
    per_row = sum(n_rows) / 3
    assert per_row < 2 * (completion.N_PREDICTION_PARTICLES + completion.MIN_CHOSEN * 300)


def test_rows_that_are_impossible(mixture):
    z = rows_of(mixture, 2)
    z[:, 1] = torch.nan
    z[0, 0] = -1.0
    found = log_marginal_at(mixture, z, 2, torch.arange(6.0).double().repeat(2, 1))
    assert (found[0] == -math.inf).all()
    assert torch.isfinite(found[1]).all()
