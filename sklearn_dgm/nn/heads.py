"""Heads: one-dimensional conditional distributions, given their parameters.

A head serves a group of columns of one kind. Any finite parameters are a valid distribution: a density that integrates
to one, or a mass function that sums to one.
"""

import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

# Numbers of which the logits of very many categories are made.
EMBEDDING_SIZE = 16
# Halvings that leave nothing of an interval but rounding.
N_BISECTIONS = 60
# Bounds on the logarithm of a component's scale, relative to the column's conditional scale.
MAX_LOG_SCALE = 5.0


def _whole(z, low, high):
    """Whether values are whole numbers from low to high."""
    return (z == z.round()) & (z >= low) & (z <= high)


def _choose(share, uniform):
    """Choose an outcome by a uniform number, and stretch what decided nothing to a uniform number again.

    Parameters
    ----------
    share : Tensor of shape (n, k)
        Probabilities of the outcomes.
    uniform : Tensor of shape (n,)
        Float64 numbers between 0 and 1.

    Returns
    -------
    chosen : Tensor of shape (n, 1)
        Numbers of the outcomes.
    rest : Tensor of shape (n, 1)
        Uniform numbers that are independent of the outcomes, neither 0 nor 1.
    """
    bounds = F.pad(share.double().cumsum(dim=-1), (1, 0))
    bounds = bounds / bounds[:, -1:]
    uniform = uniform.contiguous()[:, None]
    chosen = torch.searchsorted(bounds[:, 1:].contiguous(), uniform, right=True)
    low, high = bounds.gather(-1, chosen), bounds.gather(-1, chosen + 1)
    return chosen, ((uniform - low) / (high - low)).clamp(2.0**-54, 1 - 2.0**-53)


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

    @staticmethod
    def below(u):
        """Probability below u, where torch's `ndtr` would lose its digits far down."""
        return torch.exp(torch.special.log_ndtr(u))

    @staticmethod
    def of_normal(normal):
        """The value as far up in the distribution as a number is in the standard normal one."""
        return normal


class Logistic:
    """The logistic distribution, scaled to unit variance."""

    scale = math.sqrt(3) / math.pi

    @classmethod
    def log_density(cls, u):
        """Log-density, elementwise."""
        u = u / cls.scale
        # Beyond the threshold softplus(u) is u, to double precision.
        return u - 2 * F.softplus(u, threshold=40) - math.log(cls.scale)

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

    @classmethod
    def below(cls, u):
        """Probability below u."""
        return torch.sigmoid(u / cls.scale)

    @classmethod
    def of_normal(cls, normal):
        """The value as far up in the distribution as a number is in the standard normal one."""
        return (torch.special.log_ndtr(normal) - torch.special.log_ndtr(-normal)) * cls.scale


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
    atoms : ndarray of shape (m, n_atoms)
        Values that have a probability of their own, beside the density of all others; NaN where a column has fewer.
    linear : bool
        Whether the components' parameters have a linear path from the parents, too.
    grid : ndarray of shape (m, 2) or None
        Step and offset of a coarse grid in each column of whole numbers, for numbers that are mostly multiples of ten or
        the like: with some probability the interval is as wide as a step, and all of it counts for the number on the grid.
    """

    def __init__(
        self,
        location,
        scale,
        n_components,
        base,
        discrete=False,
        atoms=None,
        linear=True,
        grid=None,
    ):
        super().__init__()
        # No buffer: a pass through float32 would cost the equality with the values.
        self.atoms = np.zeros((len(scale), 0)) if atoms is None else atoms
        self.register_buffer("location", location)
        self.register_buffer("scale", scale)
        self.register_buffer("spread", torch.ones(len(scale), n_components))
        self.base = BASES[base]
        self.n_components = n_components
        self.discrete = discrete
        self.linear = linear
        self.grid = grid

    @property
    def n_shared(self):
        """Parameters that are of no component: location, logits of the atoms and of all that is none, and of the grid."""
        n_atoms = self.atoms.shape[1]
        return 1 + (n_atoms + 1 if n_atoms else 0) + (self.grid is not None)

    @property
    def n_params(self):
        """Parameters of a column: what is shared, then logits, offsets and log-scales of the components."""
        return self.n_shared + 3 * self.n_components

    @property
    def n_linear(self):
        """How many of them, from the first, have a linear path from the parents."""
        return self.n_params if self.linear else self.n_shared

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
        zeros = torch.zeros(self.n_shared + k)
        bias = torch.cat([zeros, offsets.float(), torch.full((k,), float(log_scale))])
        return bias.repeat(len(spread), 1)

    def _components(self, params, column):
        k = self.n_components
        shared, logits, offsets, log_scales = params.split([self.n_shared, k, k, k], dim=-1)
        location = shared[..., :1]
        spread = self.spread[column]
        # A soft bound, so that no component collapses onto a row or flattens out.
        log_scales = MAX_LOG_SCALE * torch.tanh(log_scales / MAX_LOG_SCALE)
        means = spread[..., -1:] * location + spread * offsets
        return logits, means, spread * torch.exp(log_scales)

    def log_prob(self, params, z, columns=slice(None)):
        """Log-density or log-mass.

        Parameters
        ----------
        params : Tensor of shape (n, m, n_params)
            Parameters of every column and row.
        z : Tensor of shape (n, m)
            Encoded values.
        columns : slice
            Which of the head's columns these are.

        Returns
        -------
        log_prob : Tensor of shape (n, m)
            In nats.
        """
        logits, means, scales = self._components(params, columns)
        location, scale = self.location[columns], self.scale[columns]
        u = (((z - location) / scale)[..., None] - means) / scales
        log_share = F.log_softmax(logits, dim=-1)
        if self.discrete:
            unit = scale[:, None] * scales
            log_p = torch.logsumexp(self.base.log_mass(u, 1 / unit) + log_share, dim=-1)
            if self.grid is not None:
                step, offset = self._grid(columns, z)
                log_mass = self.base.log_mass(u, step[:, None] / unit)
                on_grid = torch.logsumexp(log_mass + log_share, dim=-1)
                # Large numbers in single precision are not exact.
                distance = (z - self._nearest(z, step, offset)).abs()
                is_on = distance <= z.abs() * torch.finfo(z.dtype).eps
                logit = params[..., self.n_shared - 1]
                on_grid = torch.where(is_on, F.logsigmoid(logit) + on_grid, -math.inf)
                log_p = torch.logaddexp(on_grid, F.logsigmoid(-logit) + log_p)
            log_p = torch.where(_whole(z, -math.inf, math.inf), log_p, -math.inf)
        else:
            log_p = self.base.log_density(u) - torch.log(scales) + log_share
            log_p = torch.logsumexp(log_p, dim=-1) - torch.log(scale)
        return self._beside_atoms(log_p, params, z, columns) if self.atoms.shape[1] else log_p

    def _grid(self, columns, like):
        """Step and offset of the grids, as tensors."""
        grid = torch.as_tensor(self.grid[columns], dtype=like.dtype, device=like.device)
        return grid[..., 0], grid[..., 1]

    @staticmethod
    def _nearest(z, step, offset):
        """The nearest number on a grid."""
        return torch.round((z - offset) / step) * step + offset

    def _atom_logits(self, params, columns):
        """A logit for each atom, and one for all that is none."""
        logits = params[..., 1 : 2 + self.atoms.shape[1]]
        if not np.isnan(self.atoms).any():
            return logits
        is_unused = torch.from_numpy(np.isnan(self.atoms[columns])).to(logits.device)
        return logits.masked_fill(F.pad(is_unused, (0, 1)), -math.inf)

    def _beside_atoms(self, log_of_rest, params, z, columns):
        """Log-probability of atoms, mixed with the density or mass of what is drawn from the components."""
        log_p = F.log_softmax(self._atom_logits(params, columns), dim=-1)
        atoms = torch.as_tensor(self.atoms[columns], dtype=z.dtype, device=z.device)
        at = z[..., None] == atoms
        # The one atom that a value is, if any; a masked sum would turn -inf of the others into NaN.
        atom = at.to(torch.int8).argmax(dim=-1)
        log_mass = log_p.gather(-1, atom[..., None])[..., 0]
        log_of_rest = log_p[..., -1] + log_of_rest
        # A point has no part of a density, but one of a mass.
        at_atom = torch.logaddexp(log_mass, log_of_rest) if self.discrete else log_mass
        return torch.where(at.any(dim=-1), at_atom, log_of_rest)

    def draw(self, params, column, uniform):
        """Draw values of one column, each by a single number that chooses, is stretched, and chooses again.

        Parameters
        ----------
        params : Tensor of shape (n, n_params)
            Parameters of the column.
        column : int
            Which of the m columns.
        uniform : Tensor of shape (n,)
            Float64 numbers between 0 and 1, independent of each other for independent draws.

        Returns
        -------
        z : Tensor of shape (n,)
            Encoded values.
        """
        n_atoms = self.atoms.shape[1]
        if n_atoms:
            share = self._atom_logits(params, column).softmax(dim=-1)
            atom, uniform = _choose(share, uniform)
            uniform = uniform[:, 0]
        if self.grid is not None:
            logit = params[..., self.n_shared - 1]
            is_off, uniform = _choose(torch.stack([logit, -logit], dim=-1).sigmoid(), uniform)
            uniform = uniform[:, 0]
        logits, means, scales = self._components(params, column)
        component, uniform = _choose(logits.softmax(dim=-1), uniform)
        noise = self.base.draw(uniform).to(params.dtype)
        u = (means.gather(-1, component) + scales.gather(-1, component) * noise)[:, 0]
        z = u * self.scale[column] + self.location[column]
        if self.grid is not None:
            z = torch.where(is_off[:, 0] == 0, self._nearest(z, *self._grid(column, z)), z)
        if n_atoms:
            atoms = torch.as_tensor(self.atoms[column], dtype=z.dtype, device=z.device)
            z = torch.where(atom[:, 0] < n_atoms, atoms[atom[:, 0].clamp_max(n_atoms - 1)], z)
        return z.round() if self.discrete else z

    def below(self, params, column, z):
        """Probabilities below values of one column.

        Parameters
        ----------
        params : Tensor of shape (n, n_params)
            Parameters of the column.
        column : int
            Which of the m columns.
        z : Tensor of shape (n, m)
            For each row several values; midway between whole numbers, where values are whole.

        Returns
        -------
        below : Tensor of shape (n, m)
            Probabilities of smaller values.
        """
        logits, means, scales = self._components(params, column)
        share = logits.softmax(dim=-1)

        def of_components(z):
            u = (z - self.location[column]) / self.scale[column]
            u = (u[..., None] - means[:, None]) / scales[:, None]
            return (share[:, None] * self.base.below(u)).sum(dim=-1)

        below = of_components(z)
        if self.grid is not None:
            step, offset = self._grid(column, z)
            # Numbers on the grid have the mass of half a step to either side.
            last = torch.floor((z - offset) / step) * step + offset
            on_grid = torch.sigmoid(params[:, self.n_shared - 1 : self.n_shared])
            below = on_grid * of_components(last + step / 2) + (1 - on_grid) * below
        if not self.atoms.shape[1]:
            return below
        p = self._atom_logits(params, column).softmax(dim=-1)
        atoms = torch.as_tensor(self.atoms[column], dtype=z.dtype, device=z.device)
        of_atoms = ((atoms < z[..., None]) * p[:, None, :-1]).sum(dim=-1)
        return of_atoms + p[:, -1:] * below

    def normal_score(self, params, z, columns=slice(None)):
        """Standard normal quantiles of the probabilities below values, of heads without atoms on continuous columns.

        Parameters
        ----------
        params : Tensor of shape (n, m, n_params)
            Parameters of every column and row.
        z : Tensor of shape (n, m)
            Encoded values.
        columns : slice
            Which of the head's columns these are.

        Returns
        -------
        normal : Tensor of shape (n, m)
            Increasing in z; standard normal if z is drawn from the head.
        """
        u = (z - self.location[columns]) / self.scale[columns]
        return self._normal_score(*self._components(params, columns), u)

    def _normal_score(self, logits, means, scales, u):
        v = (u[..., None] - means) / scales
        share = logits.softmax(dim=-1)
        below = (share * self.base.below(v)).sum(dim=-1)
        above = (share * self.base.below(-v)).sum(dim=-1)
        # The smaller of the two tails has not lost its digits.
        tail = torch.minimum(below, above).clamp_min(torch.finfo(u.dtype).tiny)
        return torch.where(below < above, 1, -1) * torch.special.ndtri(tail)

    def from_normal_score(self, params, column, normal):
        """Values of one column that have given normal scores, by bisection; the inverse of :meth:`normal_score`.

        Parameters
        ----------
        params : Tensor of shape (n, n_params)
            Parameters of the column.
        column : int
            Which of the m columns.
        normal : Tensor of shape (n,)
            Normal scores.

        Returns
        -------
        z : Tensor of shape (n,)
            Encoded values.
        """
        components = self._components(params, column)
        _, means, scales = components
        # The quantile of a mixture lies between those of its components.
        quantiles = means + scales * self.base.of_normal(normal)[:, None]
        low, high = quantiles.amin(dim=-1), quantiles.amax(dim=-1)
        for _ in range(N_BISECTIONS):
            middle = (low + high) / 2
            is_below = self._normal_score(*components, middle) < normal
            low, high = torch.where(is_below, middle, low), torch.where(is_below, high, middle)
        return (low + high) / 2 * self.scale[column] + self.location[column]


class CategoricalHead(nn.Module):
    """Softmax over the codes 0 to n_levels - 1, with geometric tails beyond them for whole numbers.

    Columns that have fewer codes than others of the head leave some of its outcomes unused.

    Parameters
    ----------
    n_levels : list of int
        Number of codes of each of the m columns.
    tails : bool
        Whether smaller and larger whole numbers are possible, as the two last outcomes of the softmax.
    unknown_share : Tensor of shape (m,)
        Probability that a column's code is none of them (-1), whatever the parents are.
    """

    def __init__(self, n_levels, tails=False, unknown_share=None):
        super().__init__()
        self.max_levels = max(n_levels)
        self.tails = tails
        self.register_buffer("n_levels", torch.tensor(n_levels, dtype=torch.float64))
        outcome = torch.arange(self.max_levels)
        is_unused = outcome[:, None] >= torch.tensor(n_levels)
        is_unused = F.pad(is_unused.T, (0, 2 * tails)) if is_unused.any() else None
        self.register_buffer("is_unused", is_unused)
        if unknown_share is not None and unknown_share.any():
            self.register_buffer("unknown_share", unknown_share)
        else:
            self.unknown_share = None

    @property
    def is_binary(self):
        """Whether one logit says all."""
        return self.max_levels == 2 and not self.tails

    @property
    def n_params(self):
        """Parameters of a column: one logit for each outcome, or for the second of two."""
        return 1 if self.is_binary else self.max_levels + 2 * self.tails

    @property
    def n_linear(self):
        """All have a linear path from the parents."""
        return self.n_params

    def _logits(self, params, columns):
        """A logit for each outcome."""
        if self.is_binary:
            return F.pad(params, (1, 0))
        if self.is_unused is None:
            return params
        return params.masked_fill(self.is_unused[columns], -math.inf)

    def _log_ratio(self, n_levels):
        """Logarithm of the ratio of a tail; the mean excess over the fitted range is a quarter of that range."""
        return -torch.log1p(4.0 / n_levels)

    def log_prob(self, params, z, columns=slice(None)):
        """Log-mass; see :meth:`MixtureHead.log_prob`."""
        n_levels = self.n_levels[columns].to(z.dtype)
        inside = _whole(z, 0, n_levels - 1)
        if self.is_binary:
            log_p = F.logsigmoid(torch.where(z > 0.5, 1, -1) * params[..., 0])
        else:
            log_p = F.log_softmax(self._logits(params, columns), dim=-1)
            log_p, inside = self._of_outcome(log_p, z, inside, n_levels)
        if self.unknown_share is not None:
            unknown_share = self.unknown_share[columns]
            log_p = log_p + torch.log1p(-unknown_share)
            log_p = torch.where(z == -1, torch.log(unknown_share), log_p)
            inside = inside | ((z == -1) & (unknown_share > 0))
        return torch.where(inside, log_p, -math.inf)

    def _of_outcome(self, log_p, z, inside, n_levels):
        code = torch.where(inside, z, 0).long()
        if self.tails:
            below, above = z < 0, z > n_levels - 1
            code = torch.where(below, self.max_levels, code)
            code = torch.where(above, self.max_levels + 1, code)
        log_p = log_p.gather(-1, code[..., None])[..., 0]
        if self.tails:
            excess = torch.where(below, -z, torch.where(above, z - n_levels + 1, 1))
            log_ratio = self._log_ratio(n_levels)
            tail = (excess - 1) * log_ratio + torch.log(-torch.expm1(log_ratio))
            log_p = log_p + torch.where(below | above, tail, 0)
            inside = _whole(z, -math.inf, math.inf)
        return log_p, inside

    def draw(self, params, column, uniform):
        """Draw values of one column, never an unknown one; see :meth:`MixtureHead.draw`."""
        code, uniform = _choose(self._logits(params, column).softmax(dim=-1), uniform)
        z = code[:, 0].to(params.dtype)
        if self.tails:
            n_levels = self.n_levels[column]
            excess = torch.floor(torch.log1p(-uniform[:, 0]) / self._log_ratio(n_levels))
            excess = 1 + excess.to(z.dtype)
            z = torch.where(code[:, 0] == self.max_levels, -excess, z)
            z = torch.where(code[:, 0] == self.max_levels + 1, n_levels.to(z.dtype) - 1 + excess, z)
        return z

    def below(self, params, column, z):
        """Probabilities below values midway between codes, of known ones; see :meth:`MixtureHead.below`."""
        p = self._logits(params, column).softmax(dim=-1)
        n_levels = self.n_levels[column]
        count = (z + 0.5).round()
        inside = count.clamp(torch.zeros_like(n_levels), n_levels).long()
        below = F.pad(p[:, : self.max_levels].cumsum(dim=-1), (1, 0)).gather(-1, inside)
        if not self.tails:
            return below
        lower, upper = p[:, self.max_levels, None], p[:, self.max_levels + 1, None]
        log_ratio = self._log_ratio(n_levels)
        below = below + lower * torch.exp(log_ratio * (-count).clamp_min(0))
        return below - upper * torch.expm1(log_ratio * (count - n_levels).clamp_min(0))


class EmbeddedHead(CategoricalHead):
    """Softmax over very many codes, whose logits are the products of a short vector with one of each code.

    A logit for each code would be a parameter of the network, with weights from every hidden unit.

    Parameters
    ----------
    n_levels : list of int
        Number of codes of each of the m columns.
    unknown_share : Tensor of shape (m,)
        Probability that a column's code is none of them (-1), whatever the parents are.

    Attributes
    ----------
    start : Tensor of shape (m, max(n_levels))
        Logits where training starts; as in the linear path, no parameter.
    """

    n_params = EMBEDDING_SIZE
    is_binary = False

    def __init__(self, n_levels, unknown_share=None):
        super().__init__(n_levels, unknown_share=unknown_share)
        shape = len(n_levels), self.max_levels
        self.level_weight = nn.Parameter(torch.randn(*shape, EMBEDDING_SIZE) / EMBEDDING_SIZE**0.5)
        self.level_bias = nn.Parameter(torch.zeros(shape))
        self.register_buffer("start", torch.zeros(shape))

    def _logits(self, params, columns):
        weight = self.level_weight[columns]
        bias = self.start[columns] + self.level_bias[columns]
        if weight.ndim == 2:  # of one column
            return super()._logits(params @ weight.T + bias, columns)
        return super()._logits(torch.einsum("nmk,mlk->nml", params, weight) + bias, columns)
