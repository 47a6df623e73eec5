"""A variational autoencoder of the rows of a table: an encoder, a decoder, and estimates by importance sampling."""

import math
from functools import lru_cache

import torch
from torch.func import functional_call
from torch.nn import functional as F

from sklearn_dgm.nn.ancestral import FARTHEST
from sklearn_dgm.nn.common_numbers import common_normals, common_uniforms, normals_of
from sklearn_dgm.nn.config import plain
from sklearn_dgm.nn.density import RowDensity
from sklearn_dgm.nn.inputs import TableInputs
from sklearn_dgm.nn.layers import SkipPerceptron, squash
from sklearn_dgm.nn.outputs import HeadBank
from sklearn_dgm.nn.randomness import current_generator

# Samples with which validation estimates the objective, the same for all rows and epochs.
N_VALIDATION_SAMPLES = 4
# Samples of a score, unless the estimator says otherwise.
N_SAMPLES = 256
# Of one of so many training rows the encoder sees a second version, with cells hidden.
HIDDEN_EVERY = 4
# One of so many proposed latents comes from the prior.
PRIOR_EVERY = 4
# Lattices of a single latent, the points of each, how far they reach, and the difference between them, in nats, below
# which their mean is exact.
N_LATTICES, LATTICE_POINTS, LATTICE_REACH, LATTICE_TOLERANCE = 3, 256, 8.0, 1e-4
# Soft bound on the logarithms of the encoder's scales.
MAX_LOG_SCALE = 7.0
# Numbers that decoded latents of a chunk take up.
NUMBERS_AT_ONCE = 2**22


class VariationalAutoencoder(RowDensity):
    """Density ``p(x) = E p(x | h)`` of independent normal latents h, with an encoder that proposes them.

    Given its latents, the columns of a row are independent, each with a head of its kind. Missing cells are left out of
    the product, and the encoder sees that they are missing (Mattei and Frellsen, "MIWAE", 2019).

    Parameters
    ----------
    variables : list of Variable, or of tuples
        The columns.
    n_latents : int
        Number of latents.
    encoder_sizes, decoder_sizes : tuple of int
        Units of the hidden layers.
    n_components : int
        Components of the heads of numbers.
    family : {"gaussian", "logistic"}
        Their family.
    n_samples_fit : int
        Samples of the training objective.

    Attributes
    ----------
    n_warmup_steps : int
        Steps of training until the divergence from the prior counts in full; from 0 to that it grows evenly.
    """

    def __init__(
        self,
        variables,
        n_latents,
        encoder_sizes,
        decoder_sizes,
        n_components=1,
        family="logistic",
        n_samples_fit=1,
    ):
        super().__init__()
        self.inputs = TableInputs(variables)
        self.variables = self.inputs.variables
        self._varying = [j for j, of in enumerate(self.variables) if of.n_levels != 1]
        self.n_latents = n_latents
        self.n_samples_fit = n_samples_fit
        self._sizes = tuple(encoder_sizes), tuple(decoder_sizes)
        self.bank = HeadBank(self.variables, n_components=n_components, family=family)
        d = len(self.variables)
        n_features, n_inputs = self.inputs.n_features + d, self.inputs.n_inputs + d
        self.encoder = SkipPerceptron(n_features, n_inputs, encoder_sizes, 2 * n_latents)
        self.decoder = SkipPerceptron(n_latents, n_latents, decoder_sizes, self.bank.n_params)
        self.n_warmup_steps = self._n_steps = 0
        self.progress = ("_n_steps",)  # what training changes beside the weights

    @property
    def config(self):
        """Plain values that build it anew; see :class:`~sklearn_dgm.nn.density.RowDensity`."""
        encoder_sizes, decoder_sizes = self._sizes
        return plain(
            {
                "variables": tuple(map(tuple, self.variables)),
                "n_latents": self.n_latents,
                "encoder_sizes": encoder_sizes,
                "decoder_sizes": decoder_sizes,
                "n_components": self.bank.n_components,
                "family": self.bank.family,
                "n_samples_fit": self.n_samples_fit,
            }
        )

    @property
    def width(self):
        """Memory of a row in numbers, at most, for each point at which it is decoded."""
        sizes = (size for part in self._sizes for size in part)
        return max(self.bank.width, self.inputs.n_inputs, self.n_latents, *sizes)

    def encode(self, z):
        """Return the means and scales of the proposals for the latents, of shape (n, n_latents), of encoded rows."""
        features = self.inputs.features(z.nan_to_num(0.0))
        linear, x = squash(features), self.inputs.inputs(features)
        missing = z.isnan()
        if missing.any():
            linear = linear.masked_fill(missing[:, self.inputs.feature_label], 0.0)
            x = x.masked_fill(missing[:, self.inputs.label], 0.0)
        flags = missing.to(x)
        linear, x = torch.cat([linear, flags], dim=1), torch.cat([x, flags], dim=1)
        mean, log_scale = self.encoder(linear, x).chunk(2, dim=1)
        return mean, torch.exp(MAX_LOG_SCALE * torch.tanh(log_scale / MAX_LOG_SCALE))

    def decode(self, h):
        """Return the parameters of the columns' distributions, of shape (..., n_params), given latents."""
        return self.decoder(h, h)

    def log_prob_given(self, h, z):
        """Return the log-density of the observed cells of rows given latents.

        Parameters
        ----------
        h : Tensor of shape (..., n_latents)
            Latents.
        z : Tensor of shape (..., d)
            Encoded rows, NaN where a cell is missing; leading axes of both may be broadcast against each other.

        Returns
        -------
        log_prob : Tensor of shape (...)
            In nats.
        """
        return self.bank.log_prob_of_observed(self.decode(h), z)

    def loss(self, z):
        """Return minus the evidence lower bound of each row, (n,): that of several samples, if there are more than one.

        In training, the divergence grows to its weight of one, and gradients are doubly reparametrised (Tucker et al.,
        2019), so that the encoder's do not vanish with many samples; else samples are the same for all rows.

        So that the encoder knows what to make of missing cells, of which a table may have none before it is scored, it
        also learns from some rows with cells hidden. The decoder does not, nor do these count in the bound.
        """
        weight = self._divergence_weight()
        bound = self._bound(z, self.decoder, weight)
        n_hidden = len(z) // HIDDEN_EVERY if self.training else 0
        if n_hidden == 0:
            return -bound
        of_hidden = self._bound(hide_cells(z[:n_hidden]), self._fixed_decoder, weight)
        return -bound - F.pad(of_hidden - of_hidden.detach(), (0, len(z) - n_hidden))

    def _fixed_decoder(self, *inputs):
        """Decode by weights that are not learnt."""
        weights = {name: weight.detach() for name, weight in self.decoder.named_parameters()}
        return functional_call(self.decoder, weights, inputs)

    def _bound(self, z, decoder, divergence_weight):
        """Return the evidence lower bound of each row, (n,)."""
        mean, scale = self.encode(z)
        k = self.n_samples_fit if self.training else max(self.n_samples_fit, N_VALIDATION_SAMPLES)
        if self.training:
            generator = current_generator()
            noise = torch.randn(
                k, *mean.shape, generator=generator, device=z.device, dtype=mean.dtype
            )
        else:
            noise = common_normals(k, self.n_latents).to(mean)[:, None]
        h = mean + scale * noise
        log_p = self.bank.log_prob_of_observed(decoder(h, h), z)
        # The encoder is reached through the latents alone.
        ratio = _log_normal(h) - _log_normal(h, mean.detach(), scale.detach())
        log_w = log_p + divergence_weight * ratio
        if self.n_samples_fit == 1:
            return log_w.mean(dim=0)
        bound = log_w.logsumexp(dim=0) - math.log(k)
        if not self.training:
            return bound
        share = log_w.softmax(dim=0).detach()
        h.register_hook(lambda gradient: gradient * share[..., None])
        surrogate = (share * log_w).sum(dim=0)
        return surrogate + (bound - surrogate).detach()

    def _divergence_weight(self):
        """Return the weight of the divergence, and count the steps of training."""
        if not self.training or self._n_steps >= self.n_warmup_steps:
            return 1.0
        self._n_steps += 1
        return self._n_steps / self.n_warmup_steps

    def log_prob(self, z):
        """Return the log-density of each row; see :class:`~sklearn_dgm.nn.density.RowDensity`."""
        return self.log_prob_and_std(z)[0]

    def log_prob_and_std(self, z, n_samples=N_SAMPLES):
        """Return the log-density of each row's observed cells, and its standard error.

        Parameters
        ----------
        z : Tensor of shape (n, d)
            Encoded rows, NaN where a cell is missing.
        n_samples : int
            Latents that are proposed for a row, by the same numbers for all rows.

        Returns
        -------
        log_prob, std : Tensor of shape (n,)
            In nats. Of one latent it is the integral, with an error of 0, where lattices are fine enough for a row.
        """
        is_far = z.abs() >= FARTHEST
        z = z.masked_fill(is_far, 0.0)
        # Of constant columns any latents say the same.
        log_p, std = self.log_prob_given(z.new_zeros(self.n_latents), z), z.new_zeros(len(z))
        rest = ~z[:, self._varying].isnan().all(dim=1) & ~is_far.any(dim=1)
        if self.n_latents == 1:
            by_lattice, is_exact = self.log_prob_by_lattice(z)
            log_p = torch.where(rest, by_lattice, log_p)
            rest = rest & ~is_exact
        if rest.any():
            log_w = self.log_weights(z[rest], n_samples)[1]
            log_p[rest], std[rest] = mean_of_weights(log_w)
        return log_p.masked_fill(is_far.any(dim=1), -torch.inf), std

    def log_prob_by_lattice(self, z):
        """Return log-densities by sums over lattices of the only latent, and where these agree.

        Such sums converge faster than any power of the spacing (Trefethen and Weideman, "The Exponentially Convergent
        Trapezoidal Rule", 2014), so that where lattices agree that are shifted by a third of it, their mean is far
        closer than they are. Two might agree by symmetry.
        """
        nodes, log_mass = (part.to(z) for part in lattices())
        params = self.decode(nodes.reshape(-1, 1))
        step = max(NUMBERS_AT_ONCE // params.numel(), 1)
        log_p = torch.cat(
            [self.bank.log_prob_of_observed(params, rows[:, None]) for rows in z.split(step)]
        )
        log_p = torch.logsumexp(log_p.reshape(len(z), *nodes.shape) + log_mass, dim=2)
        mean = log_p.logsumexp(dim=1) - math.log(N_LATTICES)
        spread = log_p.amax(dim=1) - log_p.amin(dim=1)
        return mean, spread < LATTICE_TOLERANCE

    def propose(self, z, normals, defensive=True):
        """Propose latents for rows.

        Of what an encoder that is too sure of itself leaves out, no number of samples would tell. So the last quarter
        comes from the prior, and weights are bounded (Hesterberg, "Weighted Average Importance Sampling and Defensive
        Mixture Distributions", 1995).

        Parameters
        ----------
        z : Tensor of shape (n, d)
            Encoded rows, NaN where a cell is missing.
        normals : Tensor of shape (m, n_latents) or (n, m, n_latents)
            Standard normals.
        defensive : bool
            Whether to take the last quarter from the prior.

        Returns
        -------
        h : Tensor of shape (n, m, n_latents)
            Latents.
        log_ratio : Tensor of shape (n, m)
            Their log-density under the prior less that under the proposal.
        """
        mean, scale = (part[:, None] for part in self.encode(z))
        h = mean + scale * normals
        log_q = _log_normal(h, mean, scale)
        m = log_q.shape[1]
        n_prior = m // PRIOR_EVERY if defensive else 0
        if n_prior == 0:
            return h, _log_normal(h) - log_q
        # A block of a Sobol sequence is spread evenly; what every fourth point leaves is not.
        of_prior = torch.arange(m, device=z.device) >= m - n_prior
        h = torch.where(of_prior[:, None], normals, h)
        log_q, log_prior = _log_normal(h, mean, scale), _log_normal(h)
        share = n_prior / m
        mixed = torch.logaddexp(log_q + math.log1p(-share), log_prior + math.log(share))
        return h, log_prior - mixed

    def log_weights(self, z, n_samples, defensive=True):
        """Return proposed latents, of shape (n, m, n_latents), and their log-weights, (n, m).

        The mean of the weights is the density of the observed cells, in expectation; see :meth:`propose`.
        """
        normals = common_normals(n_samples, self.n_latents).to(z)
        h, log_ratio = self.propose(z, normals, defensive)
        return h, log_ratio + self.log_prob_of_latents(z, h)

    def log_prob_of_latents(self, z, h):
        """Return the log-densities of rows (n, d) given each of their latents (n, m, n_latents), of shape (n, m)."""
        step = max(NUMBERS_AT_ONCE // (len(z) * self.width), 1)
        parts = [self.log_prob_given(of, z[:, None]) for of in h.split(step, dim=1)]
        return torch.cat(parts, dim=1)

    def importance_diagnostics(self, z, n_samples):
        """Return of each row the evidence lower bound, the effective sample size and the divergence, of shape (n, 3).

        Parameters
        ----------
        z : Tensor of shape (n, d)
            Encoded rows, NaN where a cell is missing.
        n_samples : int
            Latents for each row.
        """
        log_w = self.log_weights(z, n_samples)[1]
        of_encoder = self.log_weights(z, n_samples, defensive=False)[1]
        ess = 1 / log_w.softmax(dim=1).square().sum(dim=1)
        mean, scale = self.encode(z)
        divergence = (mean.square() + scale.square() - 1).sum(dim=1) / 2 - scale.log().sum(dim=1)
        return torch.stack([of_encoder.mean(dim=1), ess, divergence], dim=1)

    def complete(self, z, n_particles, generator=None):
        """Complete rows given proposed latents.

        Parameters
        ----------
        z : Tensor of shape (n, d)
            Encoded rows, NaN where a cell is missing.
        n_particles : int
            Number of completions of a row.
        generator : torch.Generator or None
            Source of randomness, on the module's device. With None all rows share fixed numbers.

        Returns
        -------
        filled : Tensor of shape (n, n_particles, d)
            The completions.
        log_weight : Tensor of shape (n, n_particles)
            Their log-weights, whose mean weight is the density of the observed cells.
        """
        n, d = z.shape
        if generator is None:
            # The latents come first, of which points of the sequence are spread best.
            numbers = common_uniforms(n_particles, self.n_latents + d).to(z).expand(n, -1, -1)
        else:
            shape = n, n_particles, self.n_latents + d
            numbers = torch.rand(shape, generator=generator, device=z.device, dtype=z.dtype)
        of_latents, of_cells = numbers.split([self.n_latents, d], dim=2)
        h, log_ratio = self.propose(z, normals_of(of_latents))
        log_w = log_ratio + self.log_prob_of_latents(z, h)
        drawn = self.rows_of(h.flatten(0, 1), of_cells.flatten(0, 1)).reshape(n, n_particles, d)
        return torch.where(z.isnan()[:, None], drawn, z[:, None]), log_w

    def log_prob_at(self, z, j, x, n_samples):
        """Return the log-density of rows together with each of several values in a column.

        All of these share the latents, which are proposed without a look at the column.

        Parameters
        ----------
        z : Tensor of shape (n, d)
            Encoded rows, NaN where a cell is missing. What they hold in the column plays no part.
        j : int
            The column.
        x : Tensor of shape (n, m)
            Encoded values of the column.
        n_samples : int
            Latents for each row.

        Returns
        -------
        log_prob : Tensor of shape (n, m)
            In nats.
        """
        z = z.clone()
        z[:, j] = torch.nan
        h, log_w = self.log_weights(z, n_samples)
        head, place, rows = self.bank.place(j)
        params = self.decode(h)[..., rows]
        column = slice(place, place + 1)
        log_p = head.log_prob(params[:, None, :, None], x[:, :, None, None], column)[..., 0]
        return torch.logsumexp(log_p + log_w[:, None], dim=-1) - math.log(n_samples)

    @torch.no_grad()
    def sample(self, n_samples, generator):
        """Draw rows; see :class:`~sklearn_dgm.nn.density.RowDensity`."""
        like = self.decoder.skip.weight
        h = torch.randn(
            n_samples, self.n_latents, generator=generator, device=like.device, dtype=like.dtype
        )
        return self.sample_given(h, generator)

    def sample_given(self, h, generator):
        """Draw rows, of shape (n, d), each given its latents."""
        size = len(h), len(self.variables)
        uniforms = torch.rand(size, generator=generator, device=h.device, dtype=torch.float64)
        return self.rows_of(h, uniforms)

    @torch.no_grad()
    def rows_of(self, h, uniforms):
        """Return rows, of shape (n, d), each given its latents and a uniform number for each cell."""
        params, uniforms = self.decode(h), uniforms.double()
        z = torch.empty_like(uniforms)
        for j in range(len(self.variables)):
            conditional = self.bank.conditional(j, params[:, self.bank.place(j)[2]])
            z[:, j] = conditional.sample(uniforms[:, j])
        return z


def hide_cells(z):
    """Return rows in which cells are missing at random, of each a share that is as likely small as large."""
    generator = current_generator()
    numbers = torch.rand(len(z), 1 + z.shape[1], generator=generator, device=z.device)
    return z.masked_fill(numbers[:, 1:] < numbers[:, :1], torch.nan)


def mean_of_weights(log_w):
    """Return the logarithms of the mean weights of rows, (n, m), and their standard errors by the delta method.

    That of a single weight is infinite.
    """
    m = log_w.shape[1]
    log_mean = log_w.logsumexp(dim=1) - math.log(m)
    if m == 1:
        return log_mean, torch.where(log_mean.isneginf(), 0.0, torch.inf).to(log_mean)
    relative = (log_w - log_mean[:, None]).exp().nan_to_num()
    return log_mean, relative.std(dim=1) / math.sqrt(m)


@lru_cache(maxsize=1)
def lattices():
    """Return lattices of a single latent, each shifted against the others, and logarithms of their masses.

    Returns
    -------
    nodes : Tensor of shape (N_LATTICES, LATTICE_POINTS)
        Latents.
    log_mass : Tensor of shape (N_LATTICES, LATTICE_POINTS)
        Logarithms of their shares of the prior, which sum to one in each lattice.
    """
    spacing = 2 * LATTICE_REACH / LATTICE_POINTS
    shifts = torch.arange(N_LATTICES, dtype=torch.float64) / N_LATTICES
    nodes = (torch.arange(LATTICE_POINTS) + shifts[:, None]) * spacing - LATTICE_REACH
    return nodes, _log_normal(nodes[..., None]).log_softmax(dim=1)


def _log_normal(h, mean=0.0, scale=None):
    """Return log-densities of independent normals, standard ones by default, of shape (...) for h (..., q)."""
    constant = h.shape[-1] / 2 * math.log(2 * math.pi)
    if scale is None:
        return -(h - mean).square().sum(dim=-1) / 2 - constant
    u = (h - mean) / scale
    return -u.square().sum(dim=-1) / 2 - torch.log(scale).sum(dim=-1) - constant
