"""Heads are valid distributions for any parameters, and draw from what they score."""

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from sklearn_dgm.nn.heads import CategoricalHead, EmbeddedHead, MixtureHead
from sklearn_dgm.nn.heads.components import Gaussian, Logistic


def random_params(head, seed, size=2.0):
    generator = torch.Generator().manual_seed(seed)
    return size * torch.randn(1, 1, head.n_params, generator=generator, dtype=torch.float64)


def mixture(base, discrete=False, location=0.3, scale=2.0, n_components=4, atoms=None, grid=None):
    location = torch.tensor([location], dtype=torch.float64)
    scale = torch.tensor([scale], dtype=torch.float64)
    atoms = None if atoms is None else np.array([atoms])
    grid = None if grid is None else np.array([grid])
    return MixtureHead(location, scale, n_components, base, discrete, atoms, grid=grid).double()


def uniforms(n, seed=0):
    return torch.rand(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


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


ATOMS = [-1.0, 0.0, 2.5]


@pytest.mark.parametrize("base", ["gaussian", "logistic"])
@pytest.mark.parametrize("seed", range(3))
def test_atoms_and_the_density_beside_them_add_up_to_one(base, seed):
    head = mixture(base, atoms=ATOMS)
    params = random_params(head, seed, 1.0)
    masses = np.exp(scores(head, params, ATOMS))
    # What is integrated over has no atom among its points.
    rest, _ = integrate.quad(
        lambda u: np.exp(scores(head, params, [np.sinh(u) + 1e-9])[0]) * np.cosh(u),
        -12,
        12,
        limit=500,
    )
    np.testing.assert_allclose(masses, params[0, 0, 1:5].softmax(0)[:3])
    assert masses.sum() + rest == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_whole_numbers_with_atoms_sum_to_one(seed):
    head = mixture("logistic", discrete=True, scale=5.0, atoms=[-3.0, 0.0, 700.0])
    params = random_params(head, seed, 1.0)
    total = np.exp(scores(head, params, np.arange(-30_000, 30_000))).sum()
    assert total == pytest.approx(1, abs=1e-6)
    plain = mixture("logistic", discrete=True, scale=5.0)
    without = scores(plain, torch.cat([params[..., :1], params[..., 5:]], dim=-1), [0.0, 1.0])
    of_atoms = params[0, 0, 1:5].softmax(0).numpy()
    expected = of_atoms[3] * np.exp(without) + [of_atoms[1], 0]
    np.testing.assert_allclose(np.exp(scores(head, params, [0.0, 1.0])), expected)


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
    head = CategoricalHead([n_levels], tails)
    params = random_params(head, seed)
    reach = 3000 if tails else 0
    assert np.exp(scores(head, params, np.arange(-reach, n_levels + reach))).sum() == pytest.approx(
        1
    )
    beyond = scores(head, params, [-1.0, n_levels, 0.5])
    assert np.isneginf(beyond).tolist() == [not tails, not tails, True]


def test_one_logit_says_all_of_two_codes():
    head = CategoricalHead([2])
    assert head.n_params == head.n_linear == 1
    logits = torch.tensor([-800.0, -1.5, 0.0, 3.0, 800.0], dtype=torch.float64)
    z = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    for logit in logits:
        found = head.log_prob(logit.expand(2, 1, 1), z)[:, 0]
        expected = torch.stack([torch.zeros(()).double(), logit]).log_softmax(0)
        torch.testing.assert_close(found, expected)
    p = stats.logistic.cdf(1.5)
    drawn = head.sample(torch.full((20_000, 1), 1.5).double(), 0, uniforms(20_000))
    assert drawn.mean() == pytest.approx(p, abs=4 * np.sqrt(p * (1 - p) / 20_000))


@pytest.mark.parametrize("n_levels", [1, 2, 5])
def test_an_unknown_code_has_its_share(n_levels):
    shares = torch.tensor([0.1, 0.0], dtype=torch.float64)
    head = CategoricalHead([n_levels] * len(shares), unknown_share=shares)
    params = 2 * torch.randn(1, 2, head.n_params, dtype=torch.float64)
    codes = torch.arange(-1.0, n_levels, dtype=torch.float64)[:, None].expand(-1, 2)
    p = head.log_prob(params.expand(len(codes), -1, -1), codes).exp()
    torch.testing.assert_close(p[0], shares)
    torch.testing.assert_close(p.sum(dim=0), torch.ones(2).double())
    known = (
        CategoricalHead([n_levels] * len(shares))
        .log_prob(params.expand(len(codes), -1, -1), codes)
        .exp()
    )
    torch.testing.assert_close(p[1:], known[1:] * (1 - shares))
    drawn = head.sample(params[0, :1].expand(999, -1), 0, uniforms(999))
    assert drawn.min() >= 0


@pytest.mark.parametrize(("base", "peer"), [(Gaussian, stats.norm), (Logistic, stats.logistic)])
def test_bases_agree_with_scipy(base, peer):
    scale = getattr(base, "scale", 1.0)
    peer = peer(scale=scale)
    u = torch.linspace(-30, 30, 301, dtype=torch.float64)
    np.testing.assert_allclose(base.log_prob(u), peer.logpdf(u), rtol=1e-10, atol=1e-12)
    p = torch.linspace(0.01, 0.99, 50, dtype=torch.float64)
    np.testing.assert_allclose(base.icdf(p), peer.ppf(p), rtol=1e-9, atol=1e-12)
    assert peer.std() == pytest.approx(1)
    for width in (1e-9, 1e-4, 0.002, 0.5, 3.0):
        # In the lower tail, where a difference of probabilities does not cancel.
        u = torch.linspace(-20, 0, 50, dtype=torch.float64)
        mass = base.log_prob_of_interval(u, torch.full_like(u, width))
        if width < 0.01:
            expected = peer.logpdf(u) + np.log(width)
        else:
            expected = np.log(peer.cdf(u + width / 2) - peer.cdf(u - width / 2))
        np.testing.assert_allclose(mass, expected, atol=2e-3 * max(width, 1e-4) * 20 + 1e-7)
        np.testing.assert_allclose(
            mass, base.log_prob_of_interval(-u, torch.full_like(u, width)), rtol=1e-9
        )


@pytest.mark.parametrize("base", ["gaussian", "logistic"])
def test_start_is_close_to_a_normal(base):
    head = mixture(base, n_components=8, location=0.0, scale=1.0)
    params = torch.from_numpy(head.normal_bias(np.array([2.5]), np.array([2.5])))[:, None]
    z = np.linspace(-6, 6, 25)
    gap = scores(head, params, z) - stats.norm(scale=2.5).logpdf(z)
    assert np.abs(gap).max() < 0.15


@pytest.mark.parametrize("base", ["gaussian", "logistic"])
def test_mixture_draws_from_its_density(base):
    head = mixture(base)
    params = random_params(head, 1, 1.0)
    z = head.sample(params[0].expand(20_000, -1), 0, uniforms(20_000)).numpy()
    grid = np.sinh(np.linspace(-9, 9, 40_001))
    cdf = integrate.cumulative_trapezoid(np.exp(scores(head, params, grid)), grid, initial=0)
    assert stats.kstest(z, lambda x: np.interp(x, grid, cdf)).pvalue > 1e-3


@pytest.mark.parametrize("base", ["gaussian", "logistic"])
def test_atoms_are_drawn_as_often_as_they_weigh(base):
    head = mixture(base, atoms=ATOMS)
    params = random_params(head, 3, 1.0)
    z = head.sample(params[0].expand(20_000, -1), 0, uniforms(20_000)).numpy()
    counts = [np.sum(z == atom) for atom in ATOMS]
    expected = 20_000 * np.exp(scores(head, params, ATOMS))
    counts, expected = (np.append(c, 20_000 - np.sum(c)) for c in (counts, expected))
    assert stats.chisquare(counts, expected).pvalue > 1e-3
    # What is no atom follows the components, as if there were none.
    plain = random_params(mixture(base), 0)
    plain[..., 0], plain[..., 1:] = params[..., 0], params[..., 5:]
    rest = mixture(base).sample(plain[0].expand(20_000, -1), 0, uniforms(20_000, 1)).numpy()
    assert stats.ks_2samp(z[~np.isin(z, ATOMS)], rest).pvalue > 1e-3


@pytest.mark.parametrize(
    "head",
    [
        CategoricalHead([4]),
        CategoricalHead([3], tails=True),
        mixture("logistic", True, scale=3.0),
        mixture("logistic", True, scale=3.0, atoms=[0.0, 4.0]),
        mixture("gaussian", True, scale=9.0, grid=[5.0, 2.0]),
        mixture("logistic", True, scale=9.0, atoms=[0.0, 4.0], grid=[5.0, -1.0]),
    ],
)
def test_discrete_heads_draw_from_their_masses(head):
    params = random_params(head, 2, 0.5)
    z = head.sample(params[0].expand(20_000, -1), 0, uniforms(20_000)).numpy()
    values, counts = np.unique(z, return_counts=True)
    expected = 20_000 * np.exp(scores(head, params, values))
    kept = expected > 5
    pvalue = stats.chisquare(
        np.append(counts[kept], 20_000 - counts[kept].sum() + 1e-9),
        np.append(expected[kept], 20_000 - expected[kept].sum() + 1e-9),
        sum_check=False,
    ).pvalue
    assert pvalue > 1e-3


@pytest.mark.parametrize("atoms", [None, [0.0, 7.0]])
@pytest.mark.parametrize("base", ["gaussian", "logistic"])
def test_whole_numbers_with_a_grid_sum_to_one(base, atoms):
    head = mixture(base, True, scale=20.0, atoms=atoms, grid=[10.0, 7.0])
    params = random_params(head, 0, 1.0)
    z = np.arange(-30_000, 30_000)
    p = np.exp(scores(head, params, z))
    assert p.sum() == pytest.approx(1, abs=1e-6)
    # What lies on the grid is as much as the logit says, besides a tenth of the others.
    if atoms is None:
        share = torch.sigmoid(params[0, 0, head.n_shared - 1]).item()
        assert p[z % 10 == 7].sum() == pytest.approx(share + (1 - share) / 10, abs=0.01)


def test_large_numbers_on_a_grid_are_there_in_single_precision():
    head = mixture("logistic", True, location=5e8, scale=1e8, grid=[1000.0, 0.0]).float()
    params = torch.zeros(1, 1, head.n_params)
    on, off = torch.tensor([[5.00001e8]]), torch.tensor([[500_000_512.0]])
    assert head.log_prob(params, on) - head.log_prob(params, off) > 5


@pytest.mark.parametrize("grid", [None, [10.0, 0.0]])
@pytest.mark.parametrize("base", ["gaussian", "logistic"])
@pytest.mark.parametrize("discrete", [False, True])
def test_gradients_stay_finite_far_out(base, discrete, grid):
    head = mixture(base, discrete, scale=1e6, grid=grid if discrete else None)
    params = random_params(head, 0, 5.0).requires_grad_()
    z = torch.tensor([[0.0], [1e3], [-1e7], [1e7]], dtype=torch.float64)
    head.log_prob(params.expand(4, -1, -1), z).sum().backward()
    assert torch.isfinite(params.grad).all()


@pytest.mark.parametrize("base", ["gaussian", "logistic"])
def test_start_reaches_far_out(base):
    head = mixture(base, n_components=8, location=0.0, scale=1.0)
    params = torch.from_numpy(head.normal_bias(np.array([1.0]), np.array([1e6])))[:, None]
    far, near = scores(head, params, [1e6, 0.0])
    assert far > -20
    assert near > -5


@pytest.mark.parametrize("tails", [False, True])
def test_columns_of_one_head_may_have_unequal_numbers_of_levels(tails):
    n_levels = [2, 5, 3]
    together = CategoricalHead(n_levels, tails)
    params = torch.randn(1, 3, together.n_params, dtype=torch.float64)
    z = torch.arange(-4.0, 9.0, dtype=torch.float64)
    found = together.log_prob(params.expand(len(z), -1, -1), z[:, None].expand(-1, 3))
    for i, n in enumerate(n_levels):
        alone = CategoricalHead([n, n + 1], tails)  # two, lest it be a binary one
        used = [*range(n), *range(together.max_levels, together.n_params)]
        own = torch.zeros(1, 2, alone.n_params, dtype=torch.float64)
        own[0, 0, [*range(n), *range(n + 1, alone.n_params)]] = params[0, i, used]
        expected = alone.log_prob(own.expand(len(z), -1, -1), z[:, None].expand(-1, 2))[:, 0]
        torch.testing.assert_close(found[:, i], expected)
        drawn = together.sample(params[0, i].expand(5_000, -1), i, uniforms(5_000))
        inside = (drawn >= 0) & (drawn < n)
        assert tails or inside.all()
        share = found[:, i].exp()[(z >= 0) & (z < n)]
        counts = torch.bincount(drawn[inside].long(), minlength=n)
        assert torch.allclose(counts / 5_000, share.float(), atol=0.035)


def test_logits_of_very_many_codes_are_products():
    torch.manual_seed(0)
    n_levels, unknown_share = [300, 400], torch.tensor([0.1, 0.0])
    head = EmbeddedHead(n_levels, unknown_share).double()
    with torch.no_grad():
        head.start.normal_()
        head.level_bias.normal_()
        params = 2 * torch.randn(1, 2, head.n_params, dtype=torch.float64)
        z = torch.arange(-1.0, 402.0, dtype=torch.float64)
        found = head.log_prob(params.expand(len(z), -1, -1), z[:, None].expand(-1, 2)).exp()
        for i, n in enumerate(n_levels):
            logits = [
                head.level_weight[i, k] @ params[0, i] + head.start[i, k] + head.level_bias[i, k]
                for k in range(n)
            ]
            share = torch.stack(logits).softmax(dim=0) * (1 - unknown_share[i])
            expected = torch.cat([unknown_share[i, None].double(), share, torch.zeros(402 - n)])
            torch.testing.assert_close(found[:, i], expected, atol=1e-7, rtol=1e-6)
            drawn = head.sample(params[0, i].expand(50_000, -1), i, uniforms(50_000))
            counts = torch.bincount(drawn.long(), minlength=n)
            error = (counts / 50_000 - share / (1 - unknown_share[i])).abs()
            assert (error < 5 * (share / 50_000).sqrt() + 1e-3).all()


@pytest.mark.parametrize("discrete", [False, True])
def test_columns_of_one_head_may_have_unequal_numbers_of_atoms(discrete):
    atoms = np.array([[0.0, 4.0], [1.0, np.nan]])
    together = MixtureHead(torch.zeros(2), torch.ones(2), 3, "logistic", discrete, atoms).double()
    alone = MixtureHead(
        torch.zeros(1), torch.ones(1), 3, "logistic", discrete, atoms[1:, :1]
    ).double()
    params = torch.randn(1, 2, together.n_params, dtype=torch.float64)
    own = params[:, 1:, [i for i in range(together.n_params) if i != 2]]  # the unused logit
    z = torch.arange(-3.0, 7.0, dtype=torch.float64)[:, None]
    found = together.log_prob(params.expand(len(z), -1, -1), z.expand(-1, 2))[:, 1:]
    torch.testing.assert_close(found, alone.log_prob(own.expand(len(z), -1, -1), z))
    numbers = uniforms(500)
    drawn = together.sample(params[0, 1].expand(500, -1), 1, numbers)
    torch.testing.assert_close(drawn, alone.sample(own[0, 0].expand(500, -1), 0, numbers))


@pytest.mark.parametrize(("base", "peer"), [("gaussian", stats.norm), ("logistic", None)])
@pytest.mark.parametrize("bounds", [(0.0, np.inf), (-np.inf, 7.0), (0.0, 7.0)])
def test_densities_between_bounds_are_those_of_scipy(base, peer, bounds):
    # From components that are within the bounds to ones of which less than any number is there.
    locations = np.concatenate([np.linspace(-4, 11, 16), [-1e5, -300.0, 300.0, 1e5]])
    peer = peer or stats.logistic(scale=Logistic.scale)
    support = np.array([[bounds[0], *bounds, bounds[1], 0.0]])
    location, scale = torch.zeros(1).double(), torch.ones(1).double()
    head = MixtureHead(location, scale, 1, base, support=support).double().eval()
    params = torch.zeros(len(locations), 1, head.n_params, dtype=torch.float64)
    params[:, 0, 0] = torch.as_tensor(locations)
    found = head.log_prob(params, torch.full((len(locations), 1), 2.5).double())[:, 0].numpy()
    # Differences in the lower tail, where probabilities keep their digits.
    low, high = bounds[0] - locations, bounds[1] - locations
    flips = low > -high
    low, high = np.where(flips, -high, low), np.where(flips, -low, high)
    log_total = peer.logcdf(high) + np.log1p(-np.exp(peer.logcdf(low) - peer.logcdf(high)))
    expected = peer.logpdf(2.5 - locations) - log_total
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("discrete", [False, True])
def test_what_is_too_small_for_numbers_keeps_its_logarithm(discrete):
    head = mixture("logistic", discrete, location=0.0, scale=1.0, n_components=2).eval()
    params = torch.zeros(1, 1, head.n_params, dtype=torch.float64)
    params[..., -2:] = -3.0
    scale = Logistic.scale * np.exp(5 * np.tanh(-3 / 5))
    peer = stats.logistic(scale=scale)
    z = np.array([0.0, 60.0, 70.0, 80.0, 90.0, 500.0])
    expected = peer.logpdf(z)
    if discrete:
        expected = peer.logsf(z - 0.5) + np.log(
            -np.expm1(peer.logsf(z + 0.5) - peer.logsf(z - 0.5))
        )
    np.testing.assert_allclose(scores(head, params, z), expected, rtol=1e-10)
    params.requires_grad_()
    points = torch.as_tensor(z)[:, None]
    head.log_prob(params.expand(len(z), -1, -1), points).sum().backward()
    assert torch.isfinite(params.grad).all()


def test_training_goes_without_what_does_not_bind():
    def head(lower, share):
        support = np.array([[lower, 2.0, 9.0, np.inf, share]])
        location, scale = torch.tensor([5.0]).double(), torch.tensor([2.0]).double()
        return MixtureHead(location, scale, 3, "logistic", True, support=support).double()

    near, far = head(0.0, 0.01), head(-100.0, 0.01)
    params, z = random_params(near, 0, 1.0), np.arange(-3.0, 15.0)
    within = (z >= 2) & (z <= 9)
    trained, scored = scores(near.train(), params, z), scores(near.eval(), params, z)
    # The density that is trained is one, too: that without a limit.
    assert np.exp(scores(near.train(), params, np.arange(0.0, 5000.0))).sum() == pytest.approx(1)
    assert np.isneginf(trained[z < 0]).all()
    assert (trained[within] < scored[within]).all()
    plain = MixtureHead(torch.tensor([5.0]), torch.tensor([2.0]), 3, "logistic", True).double()
    np.testing.assert_allclose(scores(far.train(), params, z), scores(plain, params, z))


@pytest.mark.parametrize("component", [Gaussian, Logistic])
def test_wide_intervals_have_the_mass_beyond_their_nearer_end(component):
    """As an interval widens, its mass comes to that of a half-line, and never beyond."""
    low = torch.tensor([-1e6, -30.0, 0.0, 5.0, 30.0, 4e4, 1e6]).double()
    half_line = component.log_cdf(-low)
    for width in (2e3, 1e6, 1e12, 1e20, 1e300):
        high = low + width
        wide = high > 40  # beyond which there is nothing beside what is nearer
        for found in (
            component.log_prob_between(low, high),
            component.log_prob_between(-high, -low),
        ):
            torch.testing.assert_close(found[wide], half_line[wide], rtol=1e-12, atol=1e-12)
            assert (found <= half_line + 1e-12 * half_line.abs()).all()
