"""Splines against those of zuko, automatic derivatives and their own inverses."""

import pytest
import torch

from sklearn_dgm.nn.splines import RationalQuadraticSpline

zuko = pytest.importorskip("zuko")
BOUND = 3.0


def example(scale, n_bins=8):
    """Wild parameters, and numbers within and beyond the bound."""
    generator = torch.Generator().manual_seed(0)
    shape = (400, 3)
    parameters = scale * torch.randn(*shape, 3 * n_bins - 1, generator=generator).double()
    x = 2 * torch.randn(*shape, generator=generator).double()
    return parameters.requires_grad_(), x.requires_grad_()


@pytest.mark.parametrize("scale", [0.0, 0.3, 3.0])
@pytest.mark.parametrize("n_bins", [2, 8])
def test_values_and_gradients_are_those_of_zuko(scale, n_bins):
    parameters, x = example(scale, n_bins)
    parts = parameters.split([n_bins, n_bins, n_bins - 1], dim=-1)
    theirs = zuko.transforms.MonotonicRQSTransform(*parts, bound=BOUND).call_and_ladj(x)
    ours = RationalQuadraticSpline(parameters, BOUND).call_and_ladj(x)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
        gradients = (
            torch.autograd.grad(part.sum(), (parameters, x), retain_graph=True) for part in (a, b)
        )
        for gradient, expected in zip(*gradients, strict=True):
            torch.testing.assert_close(gradient, expected, rtol=1e-7, atol=1e-7)


def test_log_derivatives_are_those_of_autograd():
    parameters, x = example(1.0)
    y, log_derivative = RationalQuadraticSpline(parameters, BOUND).call_and_ladj(x)
    (derivative,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(derivative.log(), log_derivative)


def test_the_inverse_is_one_and_beyond_the_bound_nothing_changes():
    parameters, x = example(2.0)
    spline = RationalQuadraticSpline(parameters, BOUND)
    y = spline(x)
    torch.testing.assert_close(spline.inv(y), x, rtol=1e-7, atol=1e-7)
    beyond = x.abs() > BOUND
    assert beyond.any()
    torch.testing.assert_close(y[beyond], x[beyond], rtol=0, atol=1e-12)
    assert (spline.log_abs_det_jacobian(x, y)[beyond].abs() < 1e-12).all()


def test_one_spline_may_be_that_of_many_numbers():
    parameters, x = example(1.0)
    one, many = parameters[:1], parameters[:1].expand(len(x), -1, -1)
    torch.testing.assert_close(
        RationalQuadraticSpline(one, BOUND).call_and_ladj(x),
        RationalQuadraticSpline(many, BOUND).call_and_ladj(x),
    )


def test_at_the_ends_of_the_bound_all_is_finite():
    parameters, _ = example(10.0)
    x = torch.tensor([-BOUND, BOUND, 0.0], dtype=torch.float64).expand(400, 3)
    y, log_derivative = RationalQuadraticSpline(parameters, BOUND).call_and_ladj(x)
    torch.testing.assert_close(y[:, :2], x[:, :2])
    (gradient,) = torch.autograd.grad((y + log_derivative).sum(), parameters)
    assert gradient.isfinite().all()
