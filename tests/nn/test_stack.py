"""Networks in a stack: each computes what it computes alone."""

import copy

import numpy as np
import pytest
import torch

from sklearn_dgm.nn.heads.closed_form import Components, LogisticMixture
from sklearn_dgm.nn.heads.components import Component, Logistic
from sklearn_dgm.nn.inputs import Variable
from sklearn_dgm.nn.made import MADE
from sklearn_dgm.nn.masks import complete_adjacency
from sklearn_dgm.nn.randomness import drawing_from

ORDERS = [[3, 1, 5, 0, 4, 6, 2], [0, 1, 2, 3, 4, 5, 6], [6, 2, 5, 4, 3, 1, 0]]
BOUNDS = (0.0, 0.0, 90.0, np.inf, 0.01)


def variables(member):
    """Describe a table, as seen from different rows: knots, units and shares differ."""
    shift = 0.1 * member
    return [
        Variable(None, False, shift, 1 + shift, knots=(-1.0, *[0.0] * (member == 1), 0.5)),
        Variable(3, False, unknown_share=0.01 * (1 + member)),
        Variable(5, True, 2.0 + shift, 1.5, knots=(-1.0, 1.0), support=(0, 0, 4, np.inf, 0.02)),
        Variable(None, True, 50.0, 20.0 + shift, knots=(-2.0, 0.0, 2.0), grid=(10.0, 0.0, 0.7)),
        Variable(None, False, 20.0, 9.0, knots=(-1.0, 1.0), atoms=(0.0, 5.0), support=BOUNDS),
        Variable(2, False),
        Variable(None, True, 40.0, 30.0, atoms=(0.0,), support=(0.0, 0.0, 99.0, 99.0, 0.0)),
    ]


def rows(n, seed=0):
    rng = np.random.default_rng(seed)
    whole = rng.integers(0, 90, n)
    z = [
        rng.normal(size=n),
        rng.integers(-1, 3, n),
        rng.integers(0, 7, n),
        np.where(rng.random(n) < 0.5, 10 * (whole // 10), whole),
        rng.choice([0.0, 5.0, 7.3, 88.1], n),
        rng.integers(0, 2, n),
        rng.integers(0, 99, n),
    ]
    return torch.from_numpy(np.stack(z, axis=1)).float()


def members(base="logistic", activation="relu", dropouts=(0.2, 0.0, 0.5)):
    """Return networks that have been trained for a while."""
    built = []
    for k, (order, dropout) in enumerate(zip(ORDERS, dropouts, strict=True)):
        torch.manual_seed(k)
        graph, of_inputs = complete_adjacency(np.array(order)), max(dropout - 0.3, 0.0)
        settings = (16, 12), activation, 3, base, dropout, of_inputs, 0.01
        module = MADE(variables(k), graph, *settings)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
            module.skip.start += 0.1 * module.skip.mask
            module.residuals.slopes += 0.1
            for head in module.bank.heads:
                if hasattr(head, "spread"):
                    head.spread.mul_(1 + 0.2 * k)
        built.append(module)
    return built


def alone(modules, z, generators):
    """Return losses and gradients of each network by itself."""
    losses = []
    for module, of_member, generator in zip(modules, z, generators, strict=True):
        with drawing_from(generator):
            losses.append(module.loss(of_member))
        losses[-1].mean().backward()
    return torch.stack(losses)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("activation", ["relu", "silu"])
@pytest.mark.parametrize("base", ["logistic", "gaussian"])
def test_losses_and_gradients_are_those_of_the_networks_alone(base, activation, training):
    modules = members(base, activation)
    stack = modules[0].stacked(copy.deepcopy(modules))
    assert len({module.stack_key for module in modules}) == 1
    assert len({module.n_inputs for module in modules}) == 2
    z = [rows(50, seed) for seed in range(3)]
    twice = [[torch.Generator().manual_seed(k) for k in range(3)] for _ in range(2)]
    for module in [stack, *modules]:
        module.train(training)
    expected = alone(modules, z, twice[0])
    with drawing_from(twice[1]):
        losses = stack(stack.encode(z))
    losses.mean(dim=1).sum().backward()
    stack.mask_gradients()
    torch.testing.assert_close(losses, expected, rtol=1e-5, atol=1e-4)
    for k, module in enumerate(modules):
        torch.testing.assert_close(stack.bias.grad[k, 0], module.bias.grad, rtol=1e-4, atol=1e-5)
        for layer, own in zip(
            stack.layers(), [*module.hidden, module.out, module.skip], strict=True
        ):
            n_in = own.weight.shape[1]
            torch.testing.assert_close(
                layer.weight.grad[k, :n_in].T, own.weight.grad, rtol=1e-4, atol=1e-5
            )
            assert not layer.weight.grad[k, n_in:].any()


def test_networks_are_as_far_as_their_stack():
    modules = members()
    stack = modules[0].stacked(modules)
    with torch.no_grad():
        for parameter in stack.parameters():
            parameter.mul_(1.5)
    z = [rows(20, seed) for seed in range(3)]
    stack.eval()
    losses = stack(stack.encode(z))
    own = torch.stack([module.loss(of) for module, of in zip(modules, z, strict=True)])
    torch.testing.assert_close(losses, own, rtol=1e-5, atol=1e-4)


def test_those_that_are_done_leave():
    modules = members()
    stack = modules[0].stacked(modules).eval()
    z = [rows(20, seed) for seed in range(3)]
    before = stack(stack.encode(z)).detach()
    stack.keep([2, 0])
    with torch.no_grad():
        torch.testing.assert_close(stack(stack.encode([z[2], z[0]])), before[[2, 0]])
        for parameter in stack.parameters():
            parameter.mul_(1.1)
        still = torch.stack([module.loss(of) for module, of in zip(modules, z, strict=True)])
    torch.testing.assert_close(still[1], before[1], rtol=1e-5, atol=1e-4)
    assert not torch.isclose(still[0], before[0]).all()


def test_networks_of_other_shapes_are_no_stack():
    first, *_ = members()
    order = complete_adjacency(np.arange(7))
    settings = "relu", 3, "logistic"
    others = [
        MADE(variables(0), order, (16, 13), *settings),
        MADE(variables(0), order, (16, 12), "relu", 4, "logistic"),
        MADE(variables(0), order, (16, 12), "relu", 3, "gaussian"),
        MADE([*variables(0)[:6], Variable(None, True, 40.0, 30.0)], order, (16, 12), *settings),
    ]
    assert first.stack_key not in {other.stack_key for other in others}
    assert MADE([Variable(300, False)], complete_adjacency([0]), (4,), *settings).stack_key is None


# Gradients that are written out


def mixture(seed=0, n=6, m=2, k=3):
    generator = torch.Generator().manual_seed(seed)
    params = torch.randn(n, m, 2 + 3 * k, generator=generator, dtype=torch.float64)
    spread = torch.rand(m, k, generator=generator, dtype=torch.float64) + 0.5
    x = 3 * torch.randn(n, m, generator=generator, dtype=torch.float64)
    return params.requires_grad_(), spread, x


@pytest.mark.parametrize("width", [None, 0.3, 40.0])
@pytest.mark.parametrize("far", [1.0, 400.0])
def test_gradients_of_mixtures(width, far):
    params, spread, x = mixture()
    width = None if width is None else torch.full_like(x, width)

    def log_p(params):
        log_share, share, means, rates = Components.apply(params, spread, 2, 5.0)
        return LogisticMixture.apply(log_share, share, means, rates, far * x, width)

    assert torch.autograd.gradcheck(log_p, params)
    parts = Components.apply(params.detach(), spread, 2, 5.0)
    log_share, share, means, rates = parts
    found = LogisticMixture.apply(log_share, share, means, rates, far * x, width)
    general = Component.log_mixture.__func__(
        Logistic, ((share, log_share), means, rates), far * x, width
    )
    torch.testing.assert_close(found, general)


def test_gradients_of_all_that_components_give():
    params, spread, _ = mixture(1)
    assert torch.autograd.gradcheck(lambda p: Components.apply(p, spread, 2, 5.0), params)
