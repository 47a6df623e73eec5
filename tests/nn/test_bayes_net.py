"""A masked network for the conditionals of some columns of any graph, and tables for the others."""

import numpy as np
import pytest
import torch

from sklearn_dgm.nn.bayes_net import BayesNet
from sklearn_dgm.nn.inputs import Variable
from sklearn_dgm.nn.made import MADE

VARIABLES = [
    Variable(None, False, knots=(-1.0, 0.0, 2.0)),
    Variable(None, False),
    Variable(5, True, 2.0, 1.5, knots=(-1.0, 1.0)),
    Variable(None, True, 50.0, 20.0, knots=(-2.0, 2.0)),
    Variable(None, False, knots=(-1.0, 1.0), atoms=(0.0,)),
    Variable(3, False),
]
TABLES = [1, 4]


class UniformTable:
    """Stands in for a table: even between 0 and 1, whatever the parents."""

    log_p = np.zeros((1, 1))

    def __init__(self, child):
        self.child = child

    def log_prob(self, Z):
        inside = (Z[:, self.child] >= 0) & (Z[:, self.child] <= 1)
        return np.where(inside, 0.0, -np.inf)

    def sample(self, Z, uniforms):
        assert not np.isnan(Z[:, :1]).any(), "a parent is not known yet"
        return uniforms


def random_dag(seed):
    """Any graph, with column 0 a parent of the tables."""
    rng = np.random.default_rng(seed)
    d = len(VARIABLES)
    order = np.r_[0, 1 + rng.permutation(d - 1)]
    position = np.argsort(order)
    adjacency = (position[:, None] < position) & (rng.random((d, d)) < 0.5)
    adjacency[0, TABLES] = True
    return adjacency


def build(adjacency):
    torch.manual_seed(0)
    targets = [j for j in range(len(VARIABLES)) if j not in TABLES]
    network = MADE(VARIABLES, adjacency, (64, 32), "silu", 3, "logistic", targets=targets)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.3)
    tables = {j: UniformTable(j) for j in TABLES}
    return BayesNet(VARIABLES, adjacency, network, tables).double().eval()


def rows(n=50):
    rng = np.random.default_rng(0)
    z = rng.normal(size=(n, len(VARIABLES)))
    z[:, 2], z[:, 3], z[:, 5] = (
        rng.integers(5, size=n),
        rng.integers(90, size=n),
        rng.integers(3, size=n),
    )
    z[:, TABLES] = rng.random((n, 2))
    return torch.from_numpy(z)


@pytest.mark.parametrize("seed", range(5))
def test_a_conditional_sees_its_parents_and_nothing_else(seed):
    adjacency = random_dag(seed)
    network = build(adjacency).network
    z = rows().requires_grad_()
    for j in network.targets:
        (gradient,) = torch.autograd.grad(
            network.params(z)[:, network.bank.param_label == j].sum(), z
        )
        sees = gradient.abs().amax(dim=0).numpy() > 0
        numeric = np.array([not variable.has_indicators for variable in VARIABLES])
        np.testing.assert_array_equal(sees[numeric], adjacency[numeric, j])
        # A category has no slope.
        other = z.detach().clone()
        other[:, 5] = (other[:, 5] + 1) % 3
        params = [network.params(x)[:, network.bank.param_label == j] for x in (z, other)]
        assert torch.equal(*params) == (not adjacency[5, j])


@pytest.mark.parametrize("seed", range(3))
def test_network_and_tables_share_the_columns(seed):
    module, z = build(random_dag(seed)), rows()
    scores = module.log_prob_features(z)
    alone = module.network.log_prob_features(z)
    assert (scores[:, TABLES] == 0).all()
    assert (alone[:, TABLES] == 0).all()
    assert torch.equal(scores, alone)
    assert torch.equal(module.log_prob(z), scores.sum(dim=1))
    z[0, TABLES[0]] = 2.0
    assert module.log_prob(z)[0] == -torch.inf
    kinds = dict(module.network.visit(z))
    assert [j for j in sorted(kinds) if kinds[j] is None] == TABLES


@pytest.mark.parametrize("seed", range(3))
def test_rows_are_drawn_in_topological_order(seed):
    module = build(random_dag(seed))
    drawn = module.sample(1000, torch.Generator().manual_seed(0))
    assert not drawn.isnan().any()
    assert (drawn[:, TABLES] >= 0).all()
    assert (drawn[:, TABLES] <= 1).all()
    assert torch.isfinite(module.log_prob(drawn)).all()
    # Complete rows stay, and their weight is their density.
    filled, log_weight = module.fill(drawn, torch.zeros_like(drawn))
    assert torch.equal(filled, drawn)
    torch.testing.assert_close(log_weight, module.log_prob(drawn))


def test_masked_connections_are_no_parameters():
    none, one = np.zeros((2, 6, 6), dtype=bool)
    one[0, 5] = True
    sizes = [MADE(VARIABLES, graph, (), "silu", 3, "logistic") for graph in (none, one)]
    assert sizes[0].n_params == len(sizes[0].bias)
    # Three logits, each from the number itself, from two pieces, from the residual, and bounded.
    assert sizes[1].n_params - sizes[0].n_params == 3 * (1 + 2 + 1 + 1)
