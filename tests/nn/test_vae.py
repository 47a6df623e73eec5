"""The autoencoder's module beside closed forms, sums and quadrature."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.decomposition import PCA, FactorAnalysis

from sklearn_dgm.nn import vae
from sklearn_dgm.nn.common_numbers import common_normals
from sklearn_dgm.nn.inputs import Variable
from sklearn_dgm.nn.randomness import drawing_from
from sklearn_dgm.nn.vae import VariationalAutoencoder, mean_of_weights

NUMBER = Variable(None, whole=False)


def network(variables, n_latents, sizes=(8,), seed=0, stretch=1.0, **params):
    """An untrained network in double precision, whose decoder says something of the latents."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = VariationalAutoencoder(variables, n_latents, sizes, sizes, **params)
    with torch.no_grad():
        for parameter in module.decoder.parameters():
            parameter.mul_(stretch)
        for (
            parameter
        ) in module.encoder.parameters():  # close to the prior, so that weights are bounded
            parameter.mul_(0.3)
    return module.double().eval()


def linear_gaussian(loadings, noise, mean):
    """The linear model of these loadings and noise deviations, with the exact posterior for an encoder."""
    d, q = loadings.shape
    module = VariationalAutoencoder([NUMBER] * d, q, (), (), family="gaussian").double().eval()
    loadings, noise, mean = (torch.from_numpy(of) for of in (loadings, noise, mean))
    precision = torch.eye(q, dtype=torch.float64) + (loadings.T / noise**2) @ loadings
    assert (precision - torch.diag(precision.diagonal())).abs().max() < 1e-8
    gain = torch.linalg.solve(precision, loadings.T / noise**2)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        for j in range(d):
            rows = module.bank.place(j)[2]
            module.decoder.skip.weight[rows.start] = loadings[j]
            module.decoder.skip.bias[rows.start] = mean[j]
            # Scales have soft bounds.
            module.decoder.skip.bias[rows.stop - 1] = 5 * torch.atanh(torch.log(noise[j]) / 5)
        module.encoder.skip.weight[:q, :d] = gain
        module.encoder.skip.bias[:q] = -gain @ mean
        log_scale = -torch.log(precision.diagonal()) / 2
        module.encoder.skip.bias[q:] = 7 * torch.atanh(log_scale / 7)
    return module


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    return rng.normal(size=(300, 3)) @ rng.normal(size=(3, 6)) + 0.5 * rng.normal(size=(300, 6))


def principal_components(rows, n):
    pca = PCA(n).fit(rows)
    noise = np.full(rows.shape[1], np.sqrt(pca.noise_variance_))
    loadings = pca.components_.T * np.sqrt(pca.explained_variance_ - pca.noise_variance_)
    return pca, loadings, noise


def factor_analysis(rows, n):
    factors = FactorAnalysis(n, tol=1e-6, max_iter=5000).fit(rows)
    noise = np.sqrt(factors.noise_variance_)
    loadings = factors.components_.T
    # Turned so that the latents are independent given a row.
    _, axes = np.linalg.eigh((loadings.T / noise**2) @ loadings)
    return factors, loadings @ axes, noise


@pytest.mark.parametrize("model", [principal_components, factor_analysis])
def test_a_linear_decoder_is_a_factor_analysis(rows, model):
    peer, loadings, noise = model(rows, 3)
    module = linear_gaussian(loadings, noise, rows.mean(axis=0))
    z = torch.from_numpy(rows)
    with torch.no_grad():
        log_w = module.log_weights(z, 50, defensive=False)[1]
        log_p = mean_of_weights(log_w)[0]
        # With the exact posterior all weights are equal, and the bound is no bound but the density.
        assert (log_w - log_w[:, :1]).abs().max() < 1e-8
        torch.testing.assert_close(-module.loss(z), log_p)
        torch.testing.assert_close(module.importance_diagnostics(z, 50)[:, 0], log_p)
        estimate, std = module.log_prob_and_std(z, 2000)
    assert ((estimate - log_p).abs() < 5 * std).all()
    assert abs((estimate - log_p).mean()) < 0.01
    np.testing.assert_allclose(log_p, peer.score_samples(rows), rtol=0, atol=1e-7)


def test_many_samples_make_up_for_a_poor_encoder(rows):
    peer, loadings, noise = principal_components(rows, 3)
    module = linear_gaussian(loadings, noise, rows.mean(axis=0))
    with torch.no_grad():
        module.encoder.skip.bias[:3] += 0.1
        module.encoder.skip.bias[3:] += 0.3
        z = torch.from_numpy(rows)
        noise = torch.randn(300, 4096, 3, generator=torch.Generator().manual_seed(0)).double()
        h, log_ratio = module.propose(z, noise)
        log_w = log_ratio + module.log_prob_of_latents(z, h)
        bounds = [mean_of_weights(log_w.reshape(-1, k))[0].mean().item() for k in (1, 4, 16, 64)]
        log_p, std = module.log_prob_and_std(z, 2000)
        more, _ = module.log_prob_and_std(z, 4000)
    expected = torch.from_numpy(peer.score_samples(rows))
    assert bounds == sorted(bounds)
    assert bounds[0] < expected.mean() - 0.1
    assert abs(log_p.mean() - expected.mean()) < 0.01
    assert ((log_p - expected).abs() < 5 * std).all()
    assert (more - log_p).mean().abs() < 3 * std.mean()


@pytest.mark.parametrize("seed", range(3))
def test_estimates_converge_to_the_marginal(seed):
    """Of an encoder that knows little, in three latents, whose proposals are spread evenly on both sides of it."""
    rng = np.random.default_rng(seed)
    loadings = np.linalg.qr(rng.normal(size=(4, 3)))[0] * [1.5, 1.0, 0.7]
    noise, mean = np.full(4, 0.5), rng.normal(size=4)
    covariance = loadings @ loadings.T + np.diag(noise**2)
    x = rng.multivariate_normal(mean, covariance, size=20)
    module = linear_gaussian(loadings, noise, mean)
    with torch.no_grad():
        module.encoder.skip.bias[:3] += torch.tensor([0.4, -0.4, 0.4])
        module.encoder.skip.bias[3:] += 0.5
        log_p, std = module.log_prob_and_std(torch.from_numpy(x), 2**14)
    error = log_p.numpy() - stats.multivariate_normal(mean, covariance).logpdf(x)
    assert (std < 0.03).all()
    assert (abs(error) < 4 * std.numpy()).all()


MIXED = [
    Variable(3, whole=False),
    Variable(2, whole=False),
    Variable(None, whole=False, location=1.0, scale=2.0, farthest=4.0),
    Variable(None, whole=True, location=5.0, scale=3.0),
]
TABLE = torch.tensor([[0.0, 1, 1.5, 4], [2, 0, -3, 9], [1, 1, 2, 0], [2, 1, 0.3, 6]]).double()


def by_quadrature(module, z):
    """Log-densities of rows by Gauss and Legendre's rule over the only latent, in pieces."""
    nodes, weights = np.polynomial.legendre.leggauss(50)
    h = (np.arange(-9, 9, 0.25)[:, None] + (nodes + 1) / 8).ravel()
    log_weight = np.log(np.tile(weights / 8, 72)) + stats.norm.logpdf(h)
    with torch.no_grad():
        log_p = module.log_prob_given(torch.from_numpy(h)[:, None], z[:, None])
    return np.logaddexp.reduce(log_p.numpy() + log_weight, axis=1)


@pytest.mark.parametrize("missing", [[], [2], [0, 3], [0, 1, 3]])
def test_one_latent_beside_quadrature(missing, monkeypatch):
    module = network(MIXED, 1)
    z = TABLE.clone()
    z[:, missing] = torch.nan
    expected = torch.from_numpy(by_quadrature(module, z))
    with torch.no_grad():
        log_p, std = module.log_prob_and_std(z)
        assert (std == 0).all()
        torch.testing.assert_close(log_p, expected, rtol=0, atol=1e-6)
        # And without the lattice.
        monkeypatch.setattr(vae, "LATTICE_TOLERANCE", 0.0)
        log_p, std = module.log_prob_and_std(z, 4000)
    assert (std > 0).all()
    assert ((log_p - expected).abs() < 4 * std + 1e-4).all()
    assert (std < 0.2).all()


@pytest.mark.parametrize("sigma", [0.01, 0.007])
def test_a_lattice_that_is_too_coarse_is_not_taken(sigma):
    loadings, noise = np.array([[1.0], [1.0]]), np.array([sigma, sigma])
    module = linear_gaussian(loadings, noise, np.zeros(2))
    spacing = 1 / 16
    z = torch.tensor([[0.3, 0.31], [9.0, 9.0], [0.0, 0.0]], dtype=torch.float64)
    # A posterior in the middle between points, at points, and everywhere between.
    z = torch.cat([z, torch.linspace(0, spacing, 61, dtype=torch.float64)[:, None].expand(-1, 2)])
    with torch.no_grad():
        assert not module.log_prob_by_lattice(z)[1].any()
        log_p, std = module.log_prob_and_std(z)
    covariance = loadings @ loadings.T + np.diag(noise**2)
    expected = stats.multivariate_normal(np.zeros(2), covariance).logpdf(z)
    assert (abs(log_p.numpy() - expected) < 5 * std.numpy()).all()
    assert (std < 0.05).all()


@pytest.mark.parametrize("n_latents", [1, 2, 3])
def test_the_cells_of_a_table_sum_to_one(n_latents):
    variables = [Variable(2, whole=False), Variable(4, whole=False)]
    module = network(variables, n_latents)
    cells = torch.cartesian_prod(torch.arange(2.0), torch.arange(4.0)).double()
    with torch.no_grad():
        log_p, std = module.log_prob_and_std(cells, 8000)
    p = log_p.exp()
    assert abs(p.sum() - 1) < (1e-9 if n_latents == 1 else 4 * (p * std).norm() + 1e-3)


def test_a_row_without_any_cell_has_the_density_one():
    for n_latents in (1, 3):
        z = torch.full((2, 4), torch.nan, dtype=torch.float64)
        with torch.no_grad():
            log_p, std = network(MIXED, n_latents).log_prob_and_std(z)
        np.testing.assert_allclose(log_p, 0, atol=1e-12)
        assert (std == 0).all()


def test_values_of_a_column_share_the_latents():
    module = network(MIXED, 3)
    x = torch.arange(3.0).expand(4, 3).double()
    gap = TABLE.clone()
    gap[:, 0] = torch.nan
    with torch.no_grad():
        at = module.log_prob_at(TABLE, 0, x, 512)
        marginal = module.log_prob_and_std(gap, 512)[0]
        each = [
            module.log_prob_and_std(torch.cat([x[:, k, None], TABLE[:, 1:]], 1), 8000)[0]
            for k in range(3)
        ]
    torch.testing.assert_close(at.logsumexp(dim=1), marginal)
    assert (at - torch.stack(each, dim=1)).abs().max() < 0.15


def test_completions_have_the_weights_of_their_latents():
    module = network(MIXED, 1)
    z = TABLE.clone()
    z[:, [0, 2]] = torch.nan
    with torch.no_grad():
        exact = module.log_prob_and_std(z)[0]
        for generator in (None, torch.Generator().manual_seed(0)):
            filled, log_w = module.complete(z, 4000, generator)
            assert (filled[..., [1, 3]] == z[:, None, [1, 3]]).all()
            assert not filled.isnan().any()
            estimate, std = mean_of_weights(log_w)
            assert ((estimate - exact).abs() < 4 * std).all()
        # The share of a category, given the other cells.
        share = (log_w.softmax(dim=1) * (filled[..., 0] == 1)).sum(dim=1)
        with_category = z.clone()
        with_category[:, 0] = 1
        expected = (module.log_prob_and_std(with_category)[0] - exact).exp()
    assert (share - expected).abs().max() < 0.05


def test_draws_follow_the_density():
    variables = [Variable(2, whole=False), Variable(3, whole=False)]
    module = network(variables, 1, stretch=4.0)
    n = 40_000
    z = module.sample(n, torch.Generator().manual_seed(0))
    cells = torch.cartesian_prod(torch.arange(2.0), torch.arange(3.0)).double()
    counts = (z[:, None] == cells).all(dim=2).sum(dim=0)
    with torch.no_grad():
        p = module.log_prob(cells).exp()
    assert stats.chisquare(counts, n * p / p.sum()).pvalue > 1e-3


def bound_by_hand(module, z, noise):
    """The importance-weighted bound of each row, with given noise."""
    mean, scale = module.encode(z)
    h = mean + scale * noise
    normal = torch.distributions.Normal
    log_w = module.log_prob_given(h, z) + normal(0.0, 1.0).log_prob(h).sum(dim=-1)
    log_w = log_w - normal(mean, scale).log_prob(h).sum(dim=-1)
    return log_w.logsumexp(dim=0) - math.log(len(noise))


@pytest.mark.parametrize("n_samples", [1, 5])
def test_gradients_are_those_of_the_bound(n_samples, monkeypatch):
    """Over many draws, they are the derivatives by finite differences of the mean bound."""
    monkeypatch.setattr(vae, "HIDDEN_EVERY", 10**9)
    module = network(MIXED, 2, sizes=(4,), n_samples_fit=n_samples).train()
    z = TABLE[:2].repeat(20_000, 1)
    with drawing_from(torch.Generator().manual_seed(1)):
        loss = module.loss(z)
        loss.mean().backward()
    noise = (
        common_normals(2**13, 2 * n_samples).reshape(-1, n_samples, 2).transpose(0, 1)[:, :, None]
    )
    for parameter in (
        module.encoder.skip.bias,
        module.encoder.hidden[0].weight,
        module.decoder.skip.bias,
        module.decoder.out.weight,
    ):
        flat, gradient = parameter.data.view(-1), parameter.grad.view(-1)
        for i in range(0, len(flat), max(len(flat) // 3, 1)):
            values = []
            with torch.no_grad():
                for step in (1e-3, -2e-3):
                    flat[i] += step
                    values.append(bound_by_hand(module, TABLE[:2], noise).mean().item())
                flat[i] += 1e-3
            derivative = (values[1] - values[0]) / 2e-3
            assert gradient[i] == pytest.approx(derivative, rel=0.03, abs=0.01)
    with torch.no_grad():
        expected = -bound_by_hand(module, TABLE[:2], noise).mean()
    assert loss.mean().item() == pytest.approx(expected.item(), abs=0.05)


def test_the_divergence_comes_to_count_in_full():
    module = network(MIXED, 2).train()
    module.n_warmup_steps = 4
    weights = [module._divergence_weight() for _ in range(6)]
    assert weights == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    module.n_warmup_steps, module._n_steps = 4, 0
    assert module.eval()._divergence_weight() == 1.0
    first, second = module.loss(TABLE), module.loss(TABLE)
    assert (first == second).all()


def gradients(module, z):
    """The loss of rows, and its gradients in the encoder and in the decoder, with the same numbers each time."""
    module.zero_grad()
    with drawing_from(torch.Generator().manual_seed(0)):
        loss = module.loss(z).mean()
    loss.backward()
    parts = module.encoder, module.decoder
    return loss.detach(), *(
        torch.cat([p.grad.flatten() for p in part.parameters()]) for part in parts
    )


@pytest.mark.parametrize("n_samples", [1, 5])
def test_hidden_cells_are_a_matter_of_the_encoder_alone(n_samples, monkeypatch):
    module = network(MIXED, 2, n_samples_fit=n_samples).train()
    z = TABLE.repeat(100, 1)
    loss, encoder, decoder = gradients(module, z)
    monkeypatch.setattr(vae, "HIDDEN_EVERY", 10**9)
    without, encoder_without, decoder_without = gradients(module, z)
    assert loss == without
    assert torch.equal(decoder, decoder_without)
    d = len(MIXED)
    of_flags = module.encoder.skip.weight.grad[:, -d:]
    assert not of_flags.any()  # as there was nothing missing
    assert not torch.equal(encoder, encoder_without)


def test_cells_are_hidden_in_all_shares():
    with drawing_from(torch.Generator().manual_seed(0)):
        hidden = vae.hide_cells(torch.zeros(20_000, 4)).isnan()
    n_hidden = torch.bincount(hidden.sum(dim=1), minlength=5)
    # With a share that is uniform, each number of cells is as likely.
    assert stats.chisquare(n_hidden).pvalue > 1e-3
    assert stats.chisquare(hidden.sum(dim=0)).pvalue > 1e-3


@pytest.mark.parametrize("n_latents", [1, 3])
def test_constant_columns_say_nothing(n_latents):
    constant = Variable(1, whole=False)
    module = network([constant, Variable(3, whole=False), constant], n_latents)
    z = torch.tensor([[0, torch.nan, 0], [0, torch.nan, torch.nan], [1, torch.nan, 0]]).double()
    with torch.no_grad():
        log_p, std = module.log_prob_and_std(z)
    assert log_p.tolist() == [0, 0, -math.inf]
    assert (std == 0).all()


@pytest.mark.parametrize("n_latents", [1, 3])
def test_a_row_that_is_impossible_has_no_error(n_latents):
    z = TABLE.clone()
    z[0, 2], z[1, 0], z[2, 2] = 1e300, 7.0, -1e300
    with torch.no_grad():
        log_p, std = network(MIXED, n_latents).log_prob_and_std(z)
    assert torch.isneginf(log_p).tolist() == [True, True, True, False]
    assert (std[:3] == 0).all()
