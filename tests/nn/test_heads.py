"""Heads are valid distributions for any parameters, and draw from what they score."""

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from sklearn_dgm.nn.heads import CategoricalHead, Gaussian, Logistic, MixtureHead


def random_params(head, seed, size=2.0):
    generator = torch.Generator().manual_seed(seed)
    return size * torch.randn(1, 1, head.n_params, generator=generator, dtype=torch.float64)


def mixture(base, discrete=False, location=0.3, scale=2.0, n_components=4):
    location = torch.tensor([location], dtype=torch.float64)
    scale = torch.tensor([scale], dtype=torch.float64)
    return MixtureHead(location, scale, n_components, base, discrete).double()


def scores(head, params, z):
    z = torch.as_tensor(z, dtype=torch.float64)[:, None]
    return head.log_prob(params.expand(len(z), -1, -1), z)[:, 0].numpy()


@pytest.mark.parametrize("base", ["gaussian", "logistic"])
@pytest.mark.parametrize("seed", range(5))
def test_mixture_density_integrates_to_one(base, seed):
    head = mixture(base)
    params = random_params(head, seed, 1.0)
    total, _ = integrate.quad(
        lambda u: np.exp(scores(head, params, [np.sinh(u)])[0]) * np.cosh(u), -12, 12, limit=500
    )
    assert total == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("base", ["gaussian", "logistic"])
@pytest.mark.parametrize("seed", range(5))
def test_discrete_mixture_sums_to_one(base, seed):
    head = mixture(base, discrete=True, scale=5.0)
    params = random_params(head, seed, 1.0)
    total = np.exp(scores(head, params, np.arange(-30_000, 30_000))).sum()
    assert total == pytest.approx(1, abs=1e-6)
    assert scores(head, params, [0.5]) == -np.inf


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("tails", [False, True])
@pytest.mark.parametrize("n_levels", [1, 2, 7])
def test_softmax_sums_to_one(n_levels, tails, seed):
    head = CategoricalHead(n_levels, tails)
    params = random_params(head, seed)
    reach = 3000 if tails else 0
    assert np.exp(scores(head, params, np.arange(-reach, n_levels + reach))).sum() == pytest.approx(
        1
    )
    beyond = scores(head, params, [-1.0, n_levels, 0.5])
    assert np.isneginf(beyond).tolist() == [not tails, not tails, True]


@pytest.mark.parametrize(("base", "peer"), [(Gaussian, stats.norm), (Logistic, stats.logistic)])
def test_bases_agree_with_scipy(base, peer):
    scale = getattr(base, "scale", 1.0)
    peer = peer(scale=scale)
    u = torch.linspace(-30, 30, 301, dtype=torch.float64)
    np.testing.assert_allclose(base.log_density(u), peer.logpdf(u), rtol=1e-10, atol=1e-12)
    p = torch.linspace(0.01, 0.99, 50, dtype=torch.float64)
    np.testing.assert_allclose(base.draw(p), peer.ppf(p), rtol=1e-9, atol=1e-12)
    assert peer.std() == pytest.approx(1)
    for width in (1e-9, 1e-4, 0.002, 0.5, 3.0):
        # In the lower tail, where a difference of probabilities does not cancel.
        u = torch.linspace(-20, 0, 50, dtype=torch.float64)
        mass = base.log_mass(u, torch.full_like(u, width))
        if width < 0.01:
            expected = peer.logpdf(u) + np.log(width)
        else:
            expected = np.log(peer.cdf(u + width / 2) - peer.cdf(u - width / 2))
        np.testing.assert_allclose(mass, expected, atol=2e-3 * max(width, 1e-4) * 20 + 1e-7)
        np.testing.assert_allclose(mass, base.log_mass(-u, torch.full_like(u, width)), rtol=1e-9)


@pytest.mark.parametrize("base", ["gaussian", "logistic"])
def test_start_is_close_to_a_normal(base):
    head = mixture(base, n_components=8, location=0.0, scale=1.0)
    params = head.start(torch.tensor([2.5]), torch.tensor([2.5])).double()[:, None]
    z = np.linspace(-6, 6, 25)
    gap = scores(head, params, z) - stats.norm(scale=2.5).logpdf(z)
    assert np.abs(gap).max() < 0.15


@pytest.mark.parametrize("base", ["gaussian", "logistic"])
def test_mixture_draws_from_its_density(base):
    head = mixture(base)
    params = random_params(head, 1, 1.0)
    z = head.draw(params[0].expand(20_000, -1), 0, torch.Generator().manual_seed(0)).numpy()
    grid = np.sinh(np.linspace(-9, 9, 40_001))
    cdf = integrate.cumulative_trapezoid(np.exp(scores(head, params, grid)), grid, initial=0)
    assert stats.kstest(z, lambda x: np.interp(x, grid, cdf)).pvalue > 1e-3


@pytest.mark.parametrize(
    "head",
    [CategoricalHead(4), CategoricalHead(3, tails=True), mixture("logistic", True, scale=3.0)],
)
def test_discrete_heads_draw_from_their_masses(head):
    params = random_params(head, 2, 0.5)
    z = head.draw(params[0].expand(20_000, -1), 0, torch.Generator().manual_seed(0)).numpy()
    values, counts = np.unique(z, return_counts=True)
    expected = 20_000 * np.exp(scores(head, params, values))
    kept = expected > 5
    pvalue = stats.chisquare(
        np.append(counts[kept], 20_000 - counts[kept].sum() + 1e-9),
        np.append(expected[kept], 20_000 - expected[kept].sum() + 1e-9),
        sum_check=False,
    ).pvalue
    assert pvalue > 1e-3


@pytest.mark.parametrize("base", ["gaussian", "logistic"])
@pytest.mark.parametrize("discrete", [False, True])
def test_gradients_stay_finite_far_out(base, discrete):
    head = mixture(base, discrete, scale=1e6)
    params = random_params(head, 0, 5.0).requires_grad_()
    z = torch.tensor([[0.0], [1e3], [-1e7], [1e7]], dtype=torch.float64)
    head.log_prob(params.expand(4, -1, -1), z).sum().backward()
    assert torch.isfinite(params.grad).all()


@pytest.mark.parametrize("base", ["gaussian", "logistic"])
def test_start_reaches_far_out(base):
    head = mixture(base, n_components=8, location=0.0, scale=1.0)
    params = head.start(torch.tensor([1.0]), torch.tensor([1e6])).double()[:, None]
    far, near = scores(head, params, [1e6, 0.0])
    assert far > -20
    assert near > -5
