"""Heads: one-dimensional conditional distributions, given their parameters.

A head serves a group of columns of one kind. Any finite parameters are a valid distribution: a density that integrates
to one, or a mass function that sums to one.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

# Logits of more levels than these have no linear path: its weights would be the square of their number.
MAX_LINEAR_LEVELS = 256
# Bounds on the logarithm of a component's scale, relative to the column's conditional scale.
MAX_LOG_SCALE = 5.0


def _whole(z, low, high):
    """Whether values are whole numbers from low to high."""
    return (z == z.round()) & (z >= low) & (z <= high)


class Gaussian:
    """The standard normal distribution."""

    @staticmethod
    def log_density(u):
        """Log-density, elementwise."""
        return -0.5 * u.square() - 0.5 * math.log(2 * math.pi)

    @staticmethod
    def log_mass(u, width):
        """Log-probability of the interval of some width around u, without cancellation in the tails."""
        u = -u.abs()
        wide = width.clamp_min(1e-3)
        log_low = torch.special.log_ndtr(u - wide / 2)
        log_high = torch.special.log_ndtr(u + wide / 2)
        log_mass = log_high + torch.log(-torch.expm1(log_low - log_high))
        # On a narrow interval the density is constant to within 1e-7, where a difference would cancel.
        narrow = Gaussian.log_density(u) + torch.log(width)
        return torch.where(width < 1e-3, narrow, log_mass)

    @staticmethod
    def draw(uniform):
        """Quantile function."""
        return torch.special.ndtri(uniform)


class Logistic:
    """The logistic distribution, scaled to unit variance."""

    scale = math.sqrt(3) / math.pi

    @classmethod
    def log_density(cls, u):
        """Log-density, elementwise."""
        u = u / cls.scale
        return F.logsigmoid(u) + F.logsigmoid(-u) - math.log(cls.scale)

    @classmethod
    def log_mass(cls, u, width):
        """Log-probability of the interval of some width around u, without cancellation in the tails."""
        u, width = u / cls.scale, width / cls.scale
        within = F.logsigmoid(u + width / 2) + F.logsigmoid(width / 2 - u)
        return within + torch.log(-torch.expm1(-width))

    @classmethod
    def draw(cls, uniform):
        """Quantile function."""
        return torch.logit(uniform) * cls.scale


BASES = {"gaussian": Gaussian, "logistic": Logistic}


class MixtureHead(nn.Module):
    """Mixture of location-scale components, as a density or as a mass function on whole numbers.

    Locations and scales are in units of the column's conditional spread, so that a step of training means the same
    for a column that its parents all but determine as for one that they do not.

    Parameters
    ----------
    location, scale : Tensor of shape (m,)
        Affine map from the values to the units of the network, ``u = (z - location) / scale``.
    n_components : int
        Number of components.
    base : {"gaussian", "logistic"}
        The family of the components.
    discrete : bool
        Whether z are whole numbers. Their probability is that of the interval from z - 1/2 to z + 1/2.
    """

    n_linear = 1

    def __init__(self, location, scale, n_components, base, discrete=False):
        super().__init__()
        self.register_buffer("location", location)
        self.register_buffer("scale", scale)
        self.register_buffer("spread", torch.ones(len(scale), n_components))
        self.base = BASES[base]
        self.n_components = n_components
        self.discrete = discrete

    @property
    def n_params(self):
        """Parameters of a column: a location, then logits, offsets and log-scales of the components."""
        return 1 + 3 * self.n_components

    def start(self, spread, reach):
        """Bias with which the mixture is close to a normal, with wider components where values reach far out.

        Parameters
        ----------
        spread : Tensor of shape (m,)
            Standard deviations of the normals.
        reach : Tensor of shape (m,)
            Spread of the widest component; the others lie between on a logarithmic scale.

        Returns
        -------
        bias : Tensor of shape (m, n_params)
            Parameters of the columns.
        """
        k = self.n_components
        ladder = torch.linspace(1, 0, k)
        self.spread.copy_(spread[:, None] * (reach / spread)[:, None] ** ladder)
        quantiles = torch.special.ndtri((torch.arange(k, dtype=torch.float64) + 0.5) / k)
        offsets = 0.6 * quantiles
        log_scale = 0.5 * torch.log(1 - offsets.square().mean())
        bias = torch.cat([torch.zeros(k + 1), offsets.float(), torch.full((k,), float(log_scale))])
        return bias.expand(len(spread), -1)

    def _components(self, params, column):
        k = self.n_components
        location, logits, offsets, log_scales = params.split([1, k, k, k], dim=-1)
        spread = self.spread[column]
        # A soft bound, so that no component collapses onto a row or flattens out.
        log_scales = MAX_LOG_SCALE * torch.tanh(log_scales / MAX_LOG_SCALE)
        means = spread[..., -1:] * location + spread * offsets
        return logits, means, spread * torch.exp(log_scales)

    def log_prob(self, params, z):
        """Log-density or log-mass.

        Parameters
        ----------
        params : Tensor of shape (n, m, n_params)
            Parameters of every column and row.
        z : Tensor of shape (n, m)
            Encoded values.

        Returns
        -------
        log_prob : Tensor of shape (n, m)
            In nats.
        """
        logits, means, scales = self._components(params, slice(None))
        u = ((z - self.location) / self.scale)[..., None]
        if self.discrete:
            log_p = self.base.log_mass((u - means) / scales, 1 / (self.scale[:, None] * scales))
        else:
            log_p = self.base.log_density((u - means) / scales) - torch.log(scales)
        log_p = torch.logsumexp(log_p + F.log_softmax(logits, dim=-1), dim=-1)
        if self.discrete:
            return torch.where(_whole(z, -math.inf, math.inf), log_p, -math.inf)
        return log_p - torch.log(self.scale)

    def draw(self, params, column, generator):
        """Draw values of one column.

        Parameters
        ----------
        params : Tensor of shape (n, n_params)
            Parameters of the column.
        column : int
            Which of the m columns.
        generator : torch.Generator
            Source of randomness.

        Returns
        -------
        z : Tensor of shape (n,)
            Encoded values.
        """
        logits, means, scales = self._components(params, column)
        component = torch.multinomial(logits.softmax(dim=-1), 1, generator=generator)
        uniform = torch.rand(
            component.shape, generator=generator, device=params.device, dtype=params.dtype
        )
        noise = self.base.draw(uniform.clamp_min(torch.finfo(params.dtype).tiny))
        u = (means.gather(-1, component) + scales.gather(-1, component) * noise)[:, 0]
        z = u * self.scale[column] + self.location[column]
        return z.round() if self.discrete else z


class CategoricalHead(nn.Module):
    """Softmax over the codes 0 to n_levels - 1, with geometric tails beyond them for whole numbers.

    Parameters
    ----------
    n_levels : int
        Number of codes.
    tails : bool
        Whether smaller and larger whole numbers are possible, as the two last outcomes of the softmax.
    """

    def __init__(self, n_levels, tails=False):
        super().__init__()
        self.n_levels = n_levels
        self.tails = tails
        # The mean of the excess over the fitted range is a quarter of that range.
        self.log_ratio = -math.log1p(4.0 / n_levels)

    @property
    def n_params(self):
        """Parameters of a column: one logit for each outcome."""
        return self.n_levels + 2 * self.tails

    @property
    def n_linear(self):
        """Logits with a linear path from the parents."""
        return self.n_params if self.n_levels <= MAX_LINEAR_LEVELS else 0

    def log_prob(self, params, z):
        """Log-mass; see :meth:`MixtureHead.log_prob`."""
        log_p = F.log_softmax(params, dim=-1)
        inside = _whole(z, 0, self.n_levels - 1)
        code = torch.where(inside, z, 0).long()
        if self.tails:
            below, above = z < 0, z > self.n_levels - 1
            code = torch.where(below, self.n_levels, torch.where(above, self.n_levels + 1, code))
        log_p = log_p.gather(-1, code[..., None])[..., 0]
        if self.tails:
            excess = torch.where(below, -z, torch.where(above, z - self.n_levels + 1, 1))
            tail = (excess - 1) * self.log_ratio + math.log(-math.expm1(self.log_ratio))
            log_p = log_p + torch.where(below | above, tail, 0)
            inside = _whole(z, -math.inf, math.inf)
        return torch.where(inside, log_p, -math.inf)

    def draw(self, params, column, generator):
        """Draw values of one column; see :meth:`MixtureHead.draw`."""
        code = torch.multinomial(params.softmax(dim=-1), 1, generator=generator)[:, 0]
        z = code.to(params.dtype)
        if self.tails:
            uniform = torch.rand(z.shape, generator=generator, device=z.device, dtype=z.dtype)
            excess = 1 + torch.floor(torch.log1p(-uniform) / self.log_ratio)
            z = torch.where(code == self.n_levels, -excess, z)
            z = torch.where(code == self.n_levels + 1, self.n_levels - 1 + excess, z)
        return z
