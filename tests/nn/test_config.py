"""A module is its class, its config and its state: built anew from these, it gives the same bits."""

import json
from functools import partial

import numpy as np
import pytest
import torch

from sklearn_dgm.nn.any_order import AnyOrderMADE, OrderMixture, Orders
from sklearn_dgm.nn.bayes_net import BayesNet
from sklearn_dgm.nn.causal import CELLS, CausalNetwork
from sklearn_dgm.nn.completion import log_marginal
from sklearn_dgm.nn.config import config_of, module_of
from sklearn_dgm.nn.continuous_mixture import ContinuousMixture
from sklearn_dgm.nn.heads import CategoricalHead, MixtureHead
from sklearn_dgm.nn.inputs import TableInputs, Variable
from sklearn_dgm.nn.made import MADE
from sklearn_dgm.nn.masks import complete_adjacency
from sklearn_dgm.nn.mixture import Mixture
from sklearn_dgm.nn.moments import empty_moments, mixtures, moments
from sklearn_dgm.nn.outputs import HeadBank
from sklearn_dgm.nn.pixelcnn import PixelCNN
from sklearn_dgm.nn.start import start_from

# Atoms, steps and bounds that single precision does not hold.
VARIABLES = [
    Variable(
        None, False, 0.1, 1.3, (-1.0, 0.0, 1.0), atoms=(0.1, 1 / 3), farthest=np.float64(40.0)
    ),
    Variable(3, False, unknown_share=0.1),
    Variable(None, True, 4.0, 2.0, (-1.0, 0.5), (3.0,), grid=(5.0, 0.0, 0.1)),
    Variable(300, False),
    Variable(5, True, 2.0, 1.5, support=(0.0, 0.0, 4.0, 9.0, 0.01)),
    Variable(None, False, support=(0.1, 0.2, 5.3, np.inf, 0.01)),
]
SETTINGS = ((12, 8), "silu", 3, "logistic")


def rows(n=60):
    rng = np.random.default_rng(0)
    columns = [
        rng.choice([0.1, 1 / 3, 0.7, -2.0], n),
        rng.integers(3, size=n),
        rng.integers(20, size=n),
        rng.integers(300, size=n),
        rng.integers(5, size=n),
        0.2 + rng.exponential(size=n),
    ]
    return torch.from_numpy(np.column_stack(columns).astype(float))


def trained(module):
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    # Training is in single precision.
    return module.float().double().eval()


def made(order=(2, 0, 5, 1, 4, 3)):
    torch.manual_seed(order[0])
    module = MADE(VARIABLES, complete_adjacency(order), *SETTINGS, 0.5, 0.2, 0.1)
    start_from(module, moments(module.inputs, rows(), np.ones(60)))
    return trained(module)


def of_any_order():
    torch.manual_seed(0)
    scored = np.array([np.random.default_rng(k).permutation(6) for k in range(2)])
    network = AnyOrderMADE(VARIABLES, complete_adjacency(scored[0]), *SETTINGS)
    known = network.inputs, rows(), np.ones(60)
    learnt = moments(*known)._replace(mixture=list(mixtures(*known))[1])
    return trained(OrderMixture(network, Orders(learnt, VARIABLES, SETTINGS, [4]), scored))


def bayes_net():
    graph = np.eye(6, k=1, dtype=bool)
    network = MADE(VARIABLES, graph, *SETTINGS, targets=[0, 1, 2, 3, 4, 5])
    return trained(BayesNet(VARIABLES, graph, network))


MODULES = {
    "made": made,
    "mixture": lambda: Mixture([made(), made((0, 1, 2, 3, 4, 5))]),
    "any order": lambda: Mixture([of_any_order()]),
    "Bayesian network": bayes_net,
}


def is_plain(value):
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_plain(v) for key, v in value.items())
    if isinstance(value, tuple):
        return all(map(is_plain, value))
    return value is None or type(value) in (bool, int, float, str)


def anew(module):
    """The same module, of nothing but its config and its arrays."""
    config, state = config_of(module), module.state_dict()
    assert is_plain(config)
    arrays = {name: tensor.numpy().copy() for name, tensor in state.items()}
    # As a file would bring it: tuples are lists.
    other = module_of(json.loads(json.dumps(config))).double().eval()
    other.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    return other


@pytest.mark.parametrize("name", MODULES)
def test_config_and_state_build_a_module_anew(name):
    module = MODULES[name]()
    other, z = anew(module), rows()
    gaps = z.clone()
    gaps[::2, 2], gaps[::3, 5] = torch.nan, torch.nan
    with torch.no_grad():
        assert torch.isfinite(module.log_prob(z)).all()
        assert torch.equal(other.log_prob(z), module.log_prob(z))
        assert torch.equal(other.log_prob_features(z), module.log_prob_features(z))
        assert torch.equal(log_marginal(other, gaps), log_marginal(module, gaps))
    generator = partial(torch.Generator().manual_seed, 1)
    assert torch.equal(other.sample(50, generator()), module.sample(50, generator()))
    losses = []
    for one in (module, other):
        torch.manual_seed(0)  # which draws what is dropped, and orders
        losses.append(one.train().loss(z))
    assert torch.equal(*losses)
    assert config_of(other) == config_of(module)
    assert other.variables == module.variables
    assert [type(v) for v in other.variables] == [Variable] * 6


def test_config_and_state_build_a_continuous_mixture_anew():
    torch.manual_seed(0)
    # As NumPy brings them.
    levels, parents, reference = np.array([3, 2, 4]), np.array([-1, 0, 1]), np.array([1, 0, 3])
    least = np.array([0.0, 1 / 3])
    module = trained(ContinuousMixture(levels, parents, reference, least, 2, (7, 5), 32, 0.1))
    other = anew(module)
    assert config_of(other) == config_of(module)
    rng = np.random.default_rng(0)
    z = np.column_stack([rng.integers([3, 2, 4], size=(20, 3)), rng.normal(size=(20, 3))])
    z = torch.from_numpy(z)
    z[::3, 1], z[::4, 3] = torch.nan, torch.nan
    assert torch.equal(other.log_prob(z), module.log_prob(z))


@pytest.mark.parametrize("cell", CELLS)
def test_config_and_state_build_a_causal_network_anew(cell):
    torch.manual_seed(0)
    module = trained(CausalNetwork(VARIABLES, cell, 8, 2, (7,), 0.2, True, True))
    other = anew(module)
    assert config_of(other) == config_of(module)
    n = torch.tensor([5, 3, 5])
    batch = rows(15).reshape(3, 5, 6), n, torch.full((3, 5), -2.0), torch.full((3,), -1.0)
    assert torch.isfinite(module.log_prob(batch)).all()
    assert torch.equal(other.log_prob(batch), module.log_prob(batch))


@pytest.mark.parametrize("variable", VARIABLES[:3])
def test_config_and_state_build_a_density_of_images_anew(variable):
    torch.manual_seed(0)
    network = PixelCNN(variable, (3, 2, 1), 4, 1, 0.2, 3, (0.3, 0.7))
    module, z = trained(network), torch.tensor([[1.0, 2.0, 0.0, 1.0, 1.0, 2.0, 1.0]] * 3)
    for one in (module, module.by_class().members[1]):
        one, z = one.double(), z[:, : len(one.variables)].double()
        other = anew(one)
        assert torch.isfinite(one.log_prob(z)).all()
        assert torch.equal(other.log_prob(z), one.log_prob(z))
        assert config_of(other) == config_of(one)


@pytest.mark.parametrize("kind", [TableInputs, HeadBank])
def test_parts_are_built_anew(kind):
    part = kind(VARIABLES).double()
    other = kind(**json.loads(json.dumps(part.config))).double()
    other.load_state_dict(part.state_dict())
    assert other.state_dict().keys() == part.state_dict().keys()
    with torch.no_grad():
        if kind is TableInputs:
            assert torch.equal(other(rows()), part(rows()))
        else:
            params = torch.randn(60, part.n_params, dtype=torch.float64)
            assert torch.equal(other.log_prob(params, rows()), part.log_prob(params, rows()))


def test_what_equality_asks_of_stays_in_double_precision():
    head = MixtureHead(
        torch.zeros(1), torch.ones(1), 2, "logistic", atoms=np.array([[0.1]])
    ).float()
    assert head.atoms.dtype == torch.float64
    assert head.half().double().atoms.item() == 0.1
    assert {"atoms", "location", "spread"} <= head.state_dict().keys()
    support = np.array([[0.1, 0.1, 4.0, 9.0, 0.01]])
    limited = CategoricalHead([5], True, support=support).float().double()
    assert np.array_equal(limited.support, support)


def test_what_orders_start_from_stays_in_double_precision():
    torch.manual_seed(0)
    network = AnyOrderMADE(VARIABLES, complete_adjacency(range(6)), *SETTINGS)
    learnt = moments(network.inputs, rows(), np.ones(60))
    expected = learnt.covariance.copy()
    module = OrderMixture(network, Orders(learnt, VARIABLES, SETTINGS), np.arange(6)[None])
    module.float().double()
    assert np.array_equal(module.orders.moments.covariance, expected)


def test_empty_moments_have_the_shapes_of_those_of_rows():
    inputs = TableInputs(VARIABLES)
    full, empty = moments(inputs, rows(), np.ones(60)), empty_moments(inputs)
    assert np.array_equal(full.used, empty.used)
    assert full.block == empty.block
    for name in ("mean", "covariance", "counts", "sums"):
        assert getattr(full, name).shape == getattr(empty, name).shape
        assert not getattr(empty, name).any()
    for one in mixtures(inputs, rows(), np.ones(60)):
        other = empty_moments(inputs, one.n_components).mixture
        assert [array.shape for array in other] == [array.shape for array in one]
    shapes = {j: shares.shape for j, shares in full.marginals.items()}
    assert shapes == {j: shares.shape for j, shares in empty.marginals.items()}
