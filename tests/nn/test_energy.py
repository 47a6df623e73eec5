"""The tilt and its losses: exact gradients, closed forms, and nothing but config and arrays."""

import json

import numpy as np
import pytest
import torch
from scipy import stats

from sklearn_dgm.nn.config import config_of, module_of
from sklearn_dgm.nn.energy import LOSSES, MAX_TILT, Tilt
from sklearn_dgm.nn.inputs import Variable

VARIABLES = [Variable(3, False), Variable(4, False)]


def tilt(objective="self-normalised", variables=VARIABLES, scale=0.5):
    torch.manual_seed(0)
    module = Tilt(variables, (8,), objective).double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return module


def outcomes():
    return torch.cartesian_prod(torch.arange(3.0), torch.arange(4.0)).double()


def gradient(loss, module):
    return torch.autograd.grad(
        loss, [p for name, p in module.named_parameters() if name != "log_partition"]
    )


def test_at_log_z_the_self_normalised_gradient_is_that_of_the_log_likelihood():
    module, z = tilt(), outcomes()
    rows = z[[0, 3, 3, 7]]
    exact = -module.tilt(rows).mean() + module.tilt(z).logsumexp(0) - np.log(12)
    with torch.no_grad():
        module.log_partition.copy_(module.tilt(z).logsumexp(0) - np.log(12))
    beside = torch.cat([rows[:, None], z.expand(4, 12, 2)], dim=1)
    loss = module(beside).mean()
    assert loss.item() == pytest.approx(exact.item())
    for found, expected in zip(gradient(loss, module), gradient(exact, module), strict=True):
        torch.testing.assert_close(found, expected)
    (of_constant,) = torch.autograd.grad(module(beside).mean(), module.log_partition)
    assert abs(of_constant) < 1e-12


def test_the_self_normalised_loss_is_a_bound():
    module, z = tilt(), outcomes()
    exact = (-module.tilt(z).mean() + module.tilt(z).logsumexp(0) - np.log(12)).item()
    for constant in (-1.0, 0.0, 0.3, 2.0):
        of_noise = module.tilt(z).expand(12, 12)
        loss = LOSSES["self-normalised"](module.tilt(z), of_noise, torch.tensor(constant))
        assert loss.mean().item() > exact


def test_the_contrastive_loss_is_that_of_a_classifier():
    tilts, of_noise, constant = torch.randn(5), torch.randn(5, 3), torch.tensor(0.4)
    found = LOSSES["nce"](tilts, of_noise, constant)
    # The odds of a row are exp(f - b) to three draws of noise.
    share = torch.exp(tilts - constant) / (torch.exp(tilts - constant) + 3)
    of_noise = 3 / (torch.exp(of_noise - constant) + 3)
    torch.testing.assert_close(found, -share.log() - of_noise.log().sum(dim=1))


def test_the_sliced_loss_is_that_of_derivatives():
    """Second differences along directions stand in for those of autograd."""
    numbers = [Variable(None, False, 0.2, 1.5), Variable(None, False, -1.0, 0.5)]
    module = tilt("score-matching", numbers)
    z, gradients = torch.randn(2, 4, 1, 2).double().unbind()
    directions = torch.randn(4, 3, 2).double()
    found = module(torch.cat([z, gradients, directions], dim=1))
    h = 1e-4
    with torch.no_grad():
        up, at, down = (module.tilt(z + step * directions) for step in (h, 0, -h))
        assert not module(torch.cat([z, gradients, directions], dim=1)).requires_grad
    first, second = (up - down) / (2 * h), (up - 2 * at + down) / h**2
    along = (gradients * directions).sum(dim=2)
    # Half the square of the sum of both gradients, less what the tilt cannot change.
    expected = (second + (first + along) ** 2 / 2 - along**2 / 2).mean(dim=1)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_it_starts_as_zero_and_is_bounded():
    numbers = [Variable(None, False, knots=(-1.0, 0.0, 1.0))]
    z = torch.tensor([[0.3], [-1e15], [1e15]])
    assert not Tilt(numbers, (8, 8), "nce").tilt(z).any()
    far = tilt(variables=numbers, scale=50.0).tilt(z.double())
    assert (far.abs() <= MAX_TILT).all()
    assert far.isfinite().all()
    assert not Tilt(numbers, (), "nce").tilt(z).any()


@pytest.mark.parametrize("objective", [*LOSSES, "score-matching"])
def test_config_and_state_build_it_anew(objective):
    numbers = [Variable(None, False, 0.1, 1.3, (-1.0, 0.0, 1.0)), Variable(300, False)]
    module = tilt(objective, numbers)
    other = module_of(json.loads(json.dumps(config_of(module)))).double()
    other.load_state_dict(module.state_dict())
    z = torch.tensor(np.column_stack([stats.norm.rvs(size=5, random_state=0), np.arange(5.0)]))
    assert torch.equal(other.tilt(z), module.tilt(z))
    rows = z.expand(5, 5, 2)
    assert torch.equal(other(rows), module(rows))
