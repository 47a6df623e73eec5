"""Parameters of mixtures of location-scale components, and where these start."""

from itertools import zip_longest

import numpy as np
import torch
from scipy import special
from torch.nn import functional as F

from sklearn_dgm.nn.heads.closed_form import Components
from sklearn_dgm.nn.heads.components import BASES
from sklearn_dgm.nn.heads.head import Head, LinearStart
from sklearn_dgm.nn.heads.outcomes import log_softmax

# Standard deviations from the mean within which bounds play a part in training.
NEAR = 3.0
# Standard deviations beyond which a value is so far out that some components start wide enough to reach it.
FAR_OUT = 10.0
# Components that start as a normal lie at its quantiles, times this: nearest to it with the first, for logistic ones.
# A single normal is bent by training, which ends no higher from there.
APART, APART_OF_ONE = 0.77, 0.6
# Bounds on the logarithm of a component's scale, relative to the column's conditional scale.
MAX_LOG_SCALE = 5.0


class MixtureParams(Head):
    """Base class of mixture heads, which knows what their parameters are.

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
        Step and offset of a coarse grid in each column of whole numbers, for numbers that are mostly multiples of ten
        or the like: with some probability the interval is as wide as a step, and all of it counts for the number on the
        grid.
    support : ndarray of shape (m, 5) or None
        For each column a lower bound, the ends of a range within the bounds, an upper bound, and how much of what is no
        atom lies beyond that range at most; see :class:`~sklearn_dgm.nn.inputs.Variable`. The same ends are infinite in
        all columns.
    """

    of_numbers = True

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
        support=None,
    ):
        super().__init__()
        atoms = np.zeros((len(scale), 0)) if atoms is None else atoms
        self.register_exact("atoms", atoms)
        self.register_exact("grid", grid)
        self.register_exact("support", support)
        is_unused = np.isnan(atoms)
        self.register_buffer("is_unused", torch.tensor(is_unused) if is_unused.any() else None)
        self.register_buffer("location", location)
        self.register_buffer("scale", scale)
        self.register_buffer("spread", torch.ones(len(scale), n_components))
        self.base = BASES[base]
        self.n_components = n_components
        self.discrete = discrete
        self.linear = linear
        if support is not None:
            cuts = np.stack(self._cuts(support, grid), axis=1)
            self.register_exact("cuts", cuts, persistent=False)  # follow from the support
            self._is_open = np.isinf(cuts).all(axis=(0, 1)).tolist()
            # Training goes without bounds that are so far from the mean that hardly anything is beyond them.
            gap = np.abs(support[:, [0, 3]] - location.numpy()[:, None]) / scale.numpy()[:, None]
            self.is_near = bool((gap < NEAR).any())

    @classmethod
    def takes(cls, variable, family):
        """Tell whether a variable is a number without codes, and the family has components."""
        return variable.n_levels is None and family in BASES

    @classmethod
    def of(cls, variables, n_components, family, is_linear):
        """Return a head for some columns; see :meth:`Head.of`."""
        location = torch.tensor([v.location for v in variables])
        scale = torch.tensor([v.scale for v in variables])
        atoms = np.array(list(zip_longest(*[v.atoms for v in variables], fillvalue=np.nan)))
        atoms = atoms.reshape(-1, len(variables)).T
        grid = np.array([v.grid[:2] for v in variables]) if variables[0].grid else None
        support = np.array([v.support for v in variables]) if variables[0].support else None
        whole = variables[0].whole
        return cls(location, scale, n_components, family, whole, atoms, is_linear, grid, support)

    def _cuts(self, support, grid):
        """Return the cuts below, within and above the range, of shape (m, 4); also those of the coarse grid."""
        lower, low, high, upper = support[:, :4].T
        if not self.discrete:
            return [np.stack([lower, low, high, upper], axis=1)]
        cuts = np.stack([lower - 0.5, low - 0.5, high + 0.5, upper + 0.5], axis=1)
        if grid is None:
            return [cuts]
        step, offset = grid[:, :1], grid[:, 1:]
        # The first number on the grid after each end has the mass of half a step before it, too.
        return [cuts, np.ceil((cuts - offset) / step) * step + offset - step / 2]

    @property
    def n_shared(self):
        """Number of parameters of no component: location, logits of the atoms, of all else, and of the grid."""
        n_atoms = self.atoms.shape[-1]
        return 1 + (n_atoms + 1 if n_atoms else 0) + (self.grid is not None)

    @property
    def n_params(self):
        """Parameters of a column: what is shared, then logits, offsets and log-scales of the components."""
        return self.n_shared + 3 * self.n_components

    @property
    def n_linear(self):
        """Number of parameters, from the first, that have a linear path from the parents."""
        return self.n_params if self.linear else self.n_shared

    @property
    def loses_digits(self):
        """Whether log-probabilities are small differences: those of intervals under a normal distribution are."""
        return self.discrete and self.base is BASES["gaussian"]

    @property
    def stack_key(self):
        """See :attr:`Head.stack_key`."""
        is_near = self.support is not None and self.is_near
        return *super().stack_key, self.discrete, self.base, is_near

    def start_from(self, columns, simple):
        """Start from the gated regressions of the simple density; see :meth:`Head.start_from`."""
        fits = [simple.gated_regression(j) for j in columns]
        variables = [simple.variables[j] for j in columns]
        spread = np.array([fit.spread for fit in fits])
        farthest = np.array([variable.farthest for variable in variables])
        widest = np.maximum(np.where(farthest > FAR_OUT, farthest / FAR_OUT, 0.0), spread)
        n_normals = len(fits[0].gate_bias)
        biases = self.normal_bias(spread, widest, n_normals)
        normal, size = self._normals(n_normals)
        logits = slice(self.n_shared, self.n_shared + self.n_components)
        offsets = slice(logits.stop, logits.stop + self.n_components)
        units = self.spread.double().numpy()
        for j, variable, fit, bias, unit in zip(
            columns, variables, fits, biases, units, strict=True
        ):
            middle = fit.intercepts.mean()
            bias[0] = middle / unit[-1]
            gate_bias = fit.gate_bias[normal] - np.log(size)
            bias[logits] = gate_bias - gate_bias.mean()  # which no share sees
            bias[offsets] += (fit.intercepts[normal] - middle) / unit
            if variable.atoms:
                log_p = np.log(simple.marginals[j])
                bias[1 : len(log_p)] = log_p[:-1]
                bias[1 + self.atoms.shape[-1]] = log_p[-1]
            if variable.grid:
                bias[self.n_shared - 1] = special.logit(variable.grid[2])
            rows, weights = [0], fit.slopes[None] / unit[-1]
            if n_normals > 1:
                rows = [0, *range(logits.start, logits.stop)]
                weights = np.concatenate([weights, fit.gate_slopes[normal]])
            yield LinearStart(bias, rows, fit.features, weights)

    def _normals(self, n_normals):
        """Return the normal that each component is a part of, and how many components that has."""
        normal = np.arange(self.n_components) * n_normals // self.n_components
        return normal, np.bincount(normal)[normal]

    def normal_bias(self, spread, reach, n_normals=1):
        """Return a bias with which the mixture is close to normals, with wider components where values reach far out.

        Parameters
        ----------
        spread : ndarray of shape (m,)
            Standard deviations of the normals.
        reach : ndarray of shape (m,)
            Spread of the widest components; the others lie between on a logarithmic scale.
        n_normals : int, default=1
            Number of normals of a column, which are all in the same place and share the components evenly.

        Returns
        -------
        bias : ndarray of shape (m, n_params)
            Parameters of the columns.
        """
        normal, size = self._normals(n_normals)
        rank = np.arange(self.n_components) - np.searchsorted(normal, normal)
        ladder = 1 - rank / np.maximum(size - 1, 1)
        self.spread.copy_(torch.from_numpy(spread[:, None] * (reach / spread)[:, None] ** ladder))
        apart = APART_OF_ONE if n_normals == 1 else APART
        offsets = apart * special.ndtri((rank + 0.5) / size)
        variance = 1 - (np.bincount(normal, offsets**2) / np.bincount(normal))[normal]
        zeros = np.zeros(self.n_shared + self.n_components)
        bias = np.concatenate([zeros, offsets, np.log(variance) / 2])
        return np.tile(bias, (len(spread), 1))

    def _components(self, params, column):
        k = self.n_components
        shared = params[..., : self.n_shared]
        # Functions of what lies side by side in memory take a fraction of the time.
        logits, offsets, log_scales = (
            part.contiguous() for part in params[..., self.n_shared :].split(k, dim=-1)
        )
        location = shared[..., :1]
        spread = self.spread[column].to(params.dtype)
        # A soft bound, so that no component collapses onto a row or flattens out.
        log_scales = MAX_LOG_SCALE * torch.tanh(log_scales / MAX_LOG_SCALE)
        means = spread[..., -1:] * location + spread * offsets
        return logits, means, spread * torch.exp(log_scales)

    def _mixture(self, params, columns):
        """Return shares and their logarithms, means and rates of the components."""
        # In double precision it is as it was when codecs began to rest on its bits.
        if params.requires_grad or params.dtype != torch.float64:
            spread = self.spread[columns].to(params.dtype)
            log_share, share, means, rate = Components.apply(
                params, spread, self.n_shared, MAX_LOG_SCALE
            )
            return (share, log_share), means, rate
        logits, means, scales = self._components(params, columns)
        log_share = log_softmax(logits)
        return (torch.exp(log_share), log_share), means, torch.reciprocal(scales)

    def _units(self, z, columns, shift=None):
        """Return values of shape (..., m) in the units of the network, with what locations are shifted by taken off."""
        x = (z - self.location[columns]) / self.scale[columns]
        return x if shift is None else x - shift

    def _log_ways(self, params):
        """Return log-probabilities of the ways to make a value of a component: as it is, and on the coarse grid."""
        if self.grid is None:
            return [params.new_zeros(())]
        logit = params[..., self.n_shared - 1]
        return [F.logsigmoid(-logit), F.logsigmoid(logit)]

    def _grid(self, columns, like):
        """Step and offset of the grids, as tensors."""
        return self.grid[columns].to(like).unbind(dim=-1)

    @staticmethod
    def _nearest(z, step, offset):
        """Return the nearest number on a grid."""
        return torch.round((z - offset) / step) * step + offset
