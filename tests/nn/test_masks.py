"""Masks are right when the Jacobian of the network is zero wherever there is no parent."""

import numpy as np
import pytest
import torch

from sklearn_dgm.nn.inputs import Variable
from sklearn_dgm.nn.made import MADE
from sklearn_dgm.nn.masks import (
    complete_adjacency,
    connections,
    hidden_labels,
    steps_until_seen,
    topological_order,
)


def random_dag(d, probability, rng):
    """Adjacency of a random directed acyclic graph."""
    upper = np.triu(rng.random((d, d)) < probability, 1)
    order = rng.permutation(d)
    return upper[np.ix_(order, order)]


GRAPHS = {
    "complete": complete_adjacency([0, 1, 2, 3, 4, 5]),
    "complete, shuffled": complete_adjacency([3, 0, 5, 1, 4, 2]),
    "empty": np.zeros((6, 6), dtype=bool),
    "chain": np.eye(6, k=1, dtype=bool),
    "star": np.arange(6)[:, None] * np.ones(6) < np.minimum(np.arange(6), 1),
    "sparse": random_dag(6, 0.3, np.random.default_rng(0)),
    "dense": random_dag(6, 0.7, np.random.default_rng(1)),
    "one column": np.zeros((1, 1), dtype=bool),
}
NUMBER = Variable(None, False, knots=(-9.0, 0.0, 9.0))
# Of every kind one, each with the values that it can take.
KINDS = [
    (Variable(2, False), [0, 1]),
    (Variable(3, False), [0, 1, 2]),
    (Variable(300, False), [0, 7, 299]),
    (Variable(None, False, knots=(-1.0, 1.0), atoms=(0.0, 0.5)), [0, 0.5, 0.7]),
    (Variable(5, True, 2.0, 1.5, knots=(-1.0, 1.0)), [0, 2, 4]),
    (Variable(None, True, 50.0, 20.0, atoms=(50.0,)), [50, 51]),
]


def build(adjacency, hidden_sizes=(40, 30), variables=None):
    torch.manual_seed(0)
    variables = variables or [NUMBER] * len(adjacency)
    module = MADE(variables, adjacency, hidden_sizes, "tanh", 3, "gaussian")
    # What training may change in the linear path counts, too.
    torch.nn.init.normal_(module.skip.weight)
    # Residuals, as they are once training has started: of a column and its parents.
    of_parents = adjacency[module.inputs.feature_label][:, module.residuals.label].T
    module.residuals.slopes += torch.from_numpy(of_parents)
    return module.double()


@pytest.mark.parametrize("hidden_sizes", [(), (40,), (40, 30), (30, 50, 20)])
@pytest.mark.parametrize("name", GRAPHS)
def test_a_conditional_depends_on_its_parents_and_on_nothing_else(name, hidden_sizes):
    adjacency = GRAPHS[name]
    module = build(adjacency, hidden_sizes)
    z = torch.randn(len(adjacency), dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda z: module.params(z[None])[0], z)
    sees = np.zeros_like(adjacency)
    for j in range(len(adjacency)):
        sees[:, j] = (jacobian[module.bank.param_label == j] != 0).any(dim=0).numpy()
    np.testing.assert_array_equal(sees, adjacency)


@pytest.mark.parametrize("hidden_sizes", [(), (40, 30)])
@pytest.mark.parametrize("shift", range(6))
@pytest.mark.parametrize("name", [name for name in GRAPHS if name != "one column"])
def test_so_do_conditionals_of_all_kinds(name, shift, hidden_sizes):
    """Codes have no derivative, so all values of a column are put in one after the other."""
    adjacency, kinds = GRAPHS[name], KINDS[shift:] + KINDS[:shift]
    module = build(adjacency, hidden_sizes, [variable for variable, _ in kinds])
    sees = np.zeros_like(adjacency)
    for i, (_, values) in enumerate(kinds):
        z = torch.tensor([own[0] for _, own in kinds]).double().repeat(len(values), 1)
        z[:, i] = torch.tensor(values)
        params = module.params(z).detach()
        # Equal rows of a product differ in their last bits on some processors.
        changed = ((params - params[0]).abs() > 1e-9).any(dim=0).numpy()
        sees[i] = [changed[module.bank.param_label == j].any() for j in range(6)]
    np.testing.assert_array_equal(sees, adjacency)


@pytest.mark.parametrize("name", GRAPHS)
def test_parents_come_first(name):
    adjacency = GRAPHS[name]
    position = np.argsort(topological_order(adjacency))
    parent, child = np.nonzero(adjacency)
    assert (position[parent] < position[child]).all()
    steps = steps_until_seen(adjacency)
    assert (steps <= position).all()


def test_complete_graph_follows_the_order():
    adjacency = complete_adjacency([2, 0, 1])
    expected = np.array([[0, 1, 0], [0, 0, 0], [1, 1, 0]], dtype=bool)
    np.testing.assert_array_equal(adjacency, expected)
    assert topological_order(adjacency) == [2, 0, 1]


def test_a_cycle_is_refused():
    with pytest.raises(ValueError, match="cycle"):
        topological_order(np.array([[0, 1], [1, 0]], dtype=bool))


def test_hidden_units_serve_every_column_that_has_parents():
    adjacency = complete_adjacency(range(5))
    labels = hidden_labels(adjacency, 12)
    assert set(labels) == {1, 2, 3, 4}
    assert (np.diff(steps_until_seen(adjacency)[labels]) >= 0).all()
    assert np.bincount(labels)[1:].tolist() == [3, 3, 3, 3]


def test_connections_are_made_of_subsets():
    adjacency = random_dag(7, 0.5, np.random.default_rng(3))
    mask = connections(adjacency, np.arange(7))
    for i in range(7):
        for j in range(7):
            subset = set(np.flatnonzero(adjacency[:, i])) <= set(np.flatnonzero(adjacency[:, j]))
            assert mask[i, j] == subset
