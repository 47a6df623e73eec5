"""One network for all orders: each order is a MADE of its own, and any conditional is at hand."""

import copy
import pickle

import numpy as np
import pytest
import torch

from sklearn_dgm.nn.any_order import AnyOrderMADE, OrderMixture, Orders
from sklearn_dgm.nn.completion import completions, log_marginal
from sklearn_dgm.nn.inputs import Variable
from sklearn_dgm.nn.made import MADE
from sklearn_dgm.nn.masks import complete_adjacency
from sklearn_dgm.nn.mixture import Mixture
from sklearn_dgm.nn.moments import moments
from sklearn_dgm.nn.start import start_from

SETTINGS = ((24, 16), "silu", 3, "logistic")
CATEGORIES = [Variable(3, False), Variable(2, False), Variable(4, False)]
MIXED = [
    *CATEGORIES,
    Variable(None, False, 0.0, 1.0, (-1.0, 0.0, 1.0)),
    Variable(5, True, 2.0, 1.5),
]


def rows_of(variables, n=500):
    rng = np.random.default_rng(0)
    columns = [
        rng.normal(size=n) if v.n_levels is None else rng.integers(0, v.n_levels, n)
        for v in variables
    ]
    return torch.from_numpy(np.column_stack(columns).astype(np.float64))


def build(variables=CATEGORIES, n_orders=3, trained=True):
    torch.manual_seed(0)
    d = len(variables)
    scored = np.array([np.random.default_rng(k).permutation(d) for k in range(n_orders)])
    network = AnyOrderMADE(variables, complete_adjacency(scored[0]), *SETTINGS)
    start = moments(network.inputs, rows_of(variables), np.ones(500))
    module = OrderMixture(network, Orders(start, variables, SETTINGS), scored)
    if trained:
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.5 * torch.randn_like(parameter))
    return module.double().eval()


def every_cell():
    return torch.cartesian_prod(*(torch.arange(float(v.n_levels)) for v in CATEGORIES)).double()


def test_without_connectivity_an_order_is_a_made():
    module = build(MIXED)
    z = rows_of(MIXED, 50)
    with torch.no_grad():
        for layer in (*module.network.hidden, module.network.out, module.network.skip):
            layer.connectivity.zero_()
    for member in module.members:
        made = MADE(MIXED, complete_adjacency(member.order), *SETTINGS).double().eval()
        of_order = module.orders(member.order)
        made.load_state_dict(module.network.state_dict(), strict=False)
        made.load_state_dict({k: v.double() for k, v in of_order.buffers.items()}, strict=False)
        for i, labels in enumerate(made.hidden_labels):
            assert np.array_equal(labels, of_order.hidden_labels[i])
        with torch.no_grad():
            made.bias += of_order.bias
        torch.testing.assert_close(member.log_prob_features(z), made.log_prob_features(z))


def test_training_starts_from_the_start_of_each_order():
    module = build(MIXED, trained=False)
    z = rows_of(MIXED, 50)
    starts = [module.orders(member.order) for member in module.members]
    assert not torch.equal(starts[0].bias, starts[1].bias)
    scores = torch.stack([member.log_prob(z) for member in module.members])
    variables, start = module.orders.variables, module.orders.moments
    for member in module.members:
        made = MADE(variables, complete_adjacency(member.order), *SETTINGS)
        start_from(made, start)
        member.log_prob(z)
        torch.testing.assert_close(module.network.residuals.slopes, made.residuals.slopes.double())
        torch.testing.assert_close(
            module.network.residuals.intercepts, made.residuals.intercepts.double()
        )
    # Rows of independent columns are as likely in one order as in another.
    assert scores.std(dim=0).mean() < 0.1


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_every_order_is_a_distribution_and_sees_no_later_column(order):
    module = build()
    module.scored = [order]
    cells = every_cell()
    assert module.log_prob(cells).exp().sum().item() == pytest.approx(1)
    (member,) = module.members
    before = member.log_prob_features(cells)
    for place, j in enumerate(order):
        changed = cells.clone()
        changed[:, j] = (changed[:, j] + 1) % CATEGORIES[j].n_levels
        after = member.log_prob_features(changed)
        earlier = list(order[:place])
        assert torch.equal(before[:, earlier], after[:, earlier])


def test_units_know_what_they_see():
    module = build()
    z = every_cell()
    before = module.log_prob(z)
    with torch.no_grad():
        module.network.hidden[0].connectivity.add_(1.0)
    assert (module.log_prob(z) - before).abs().max() > 1e-3


@pytest.mark.parametrize("columns", [[0], [2], [0, 1], [1, 2]])
def test_observed_cells_have_a_density_without_particles(monkeypatch, columns):
    monkeypatch.setattr("sklearn_dgm.nn.completion.OUTCOMES_PER_PARTICLE", 0)
    module = build()
    cells = every_cell()
    rows = cells.clone()
    rows[:, columns] = torch.nan
    missing = [j in columns for j in range(3)]
    members = module.members_given(missing)
    p = torch.zeros(len(rows)).double()
    agrees = ((rows[:, None] == cells) | rows[:, None].isnan()).all(dim=2).double()
    for member in members:
        assert set(member.order[-len(columns) :]) == set(columns)
        p += agrees @ member.log_prob(cells).exp().detach() / len(members)
    np.testing.assert_allclose(log_marginal(Mixture([module]), rows).exp(), p)


def test_completions_are_draws_of_equal_weight():
    module = build(MIXED, n_orders=1)
    z = rows_of(MIXED, 20)
    z[:, 3] = torch.nan
    z[::2, 0] = torch.nan
    n = 0
    for part in completions(Mixture([module]), z, 30, torch.Generator().manual_seed(0)):
        assert np.ptp(part.log_weight.numpy(), axis=1).max() < 1e-9
        np.testing.assert_allclose(part.log_marginal(), log_marginal(module, z[part.rows]))
        n += len(part.rows)
    assert n == 20


def test_copies_score_alike_whatever_order_was_used_last():
    module = Mixture([build(MIXED)])
    z = rows_of(MIXED, 10)
    expected = module.log_prob(z)
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(other.log_prob(z), expected)
    state = {name: x.clone() for name, x in module.state_dict().items()}
    list(module.members[0].members)[1].log_prob(z)
    module.load_state_dict(state)
    assert torch.equal(module.log_prob(z), expected)


def test_loading_weights_leaves_the_starts_of_orders():
    module = build(MIXED).float()  # as it is trained
    z = rows_of(MIXED, 10).float()
    first, second = module.members[:2]
    expected, _ = first.log_prob(z), second.log_prob(z)
    state = {name: x.clone() for name, x in module.state_dict().items()}  # in the second order
    first.log_prob(z)
    module.load_state_dict(state)
    assert torch.equal(first.log_prob(z), expected)


def test_making_an_order_leaves_the_global_generator_alone():
    module = build()
    before = torch.get_rng_state()
    module.orders((1, 0, 2))
    assert torch.equal(torch.get_rng_state(), before)
