"""Mixtures of location-scale components."""

import math
from itertools import pairwise, zip_longest

import numpy as np
import torch
from scipy import special
from torch.nn import functional as F

from sklearn_dgm.nn.heads.closed_form import Components
from sklearn_dgm.nn.heads.components import BASES
from sklearn_dgm.nn.heads.head import Head, LinearStart
from sklearn_dgm.nn.heads.outcomes import choose, is_whole, limited, log_softmax

# Halvings that leave nothing of an interval but rounding.
N_BISECTIONS = 60
# Standard deviations from the mean within which bounds play a part in training.
NEAR = 3.0
# Standard deviations beyond which a value is so far out that some components start wide enough to reach it.
FAR_OUT = 10.0
# Components that start as a normal lie at its quantiles, times this: nearest to it with the first, for logistic ones.
# A single normal is bent by training, which ends no higher from there.
APART, APART_OF_ONE = 0.77, 0.6
# Bounds on the logarithm of a component's scale, relative to the column's conditional scale.
MAX_LOG_SCALE = 5.0


class MixtureHead(Head):
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

    def log_prob(self, params, z, columns=slice(None), shift=None):
        """Return log-densities or log-masses; see :meth:`Head.log_prob`.

        A shift, of shape (..., m), is a part of the location that is not among the parameters, and may be of a higher
        precision than these: where parents all but determine a column, it is large beside what it leaves of a value.
        """
        scale, components = self.scale[columns], self._mixture(params, columns)
        if shift is not None:
            shift = self.spread[columns][..., -1] * shift
        x = self._units(z, columns, shift).to(params.dtype)
        if self.discrete:
            width = torch.reciprocal(scale).to(params.dtype)
            log_p = self.base.log_mixture(components, x, width)
            if self.grid is not None:
                step, offset = self._grid(columns, z)
                on_grid = self.base.log_mixture(components, x, (step / scale).to(x.dtype))
                # Large numbers in single precision are not exact.
                distance = (z - self._nearest(z, step, offset)).abs()
                is_on = distance <= z.abs() * torch.finfo(z.dtype).eps
                logit = params[..., self.n_shared - 1]
                on_grid = torch.where(is_on, F.logsigmoid(logit) + on_grid, -math.inf)
                log_p = torch.logaddexp(on_grid, F.logsigmoid(-logit) + log_p)
            log_p = torch.where(is_whole(z, -math.inf, math.inf), log_p, -math.inf)
        else:
            log_p = self.base.log_mixture(components, x) - torch.log(scale).to(x.dtype)
        if self.support is not None and (not self.training or self.is_near):
            log_p = self._within_support(log_p, params, components, z, columns, shift)
        return self._beside_atoms(log_p, params, z, columns) if self.atoms.shape[-1] else log_p

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

    def _within_support(self, log_p, params, components, z, columns, shift=None):
        """Return the log-density or log-mass of the components between the bounds."""
        lower, low, high, upper, share = self._support(columns, z)
        share = share.to(params.dtype)
        log_ways, bounds = (
            self._log_ways(params),
            self._points(components, columns, 0, 3, shift=shift),
        )
        outside = self._outside(log_ways, components, *bounds)
        is_little = ~(outside < 0.5)
        log_total = torch.log1p(-outside.masked_fill(is_little, 0))
        if is_little.any():
            exact = self._log_between(log_ways, components, *bounds, is_little)
            log_total = log_total.masked_scatter(is_little, exact)
        change = -log_total
        # Training goes without the limit: fitted rows are within the range, and can only gain by it.
        if not self.training and (share > 0).any():
            range_ends = self._points(components, columns, 1, 2, shift=shift)
            beyond = self._outside(log_ways, components, *range_ends) - outside
            is_more = is_little | ~(beyond < share * (1 - outside))
            if is_more.any():
                log_inside = self._log_between(log_ways, components, *range_ends, is_more)
                limits = limited(log_total[is_more], log_inside, share.expand_as(z)[is_more])
                is_within = ((z >= low) & (z <= high))[is_more]
                change = change.masked_scatter(is_more, torch.where(is_within, *limits))
        return torch.where((z >= lower) & (z <= upper), log_p + change, -math.inf)

    def _points(self, components, columns, *ends, shift=None):
        """Return the ends of the support in units of the components, for each way to make a value; None if infinite."""
        _, means, rate = components
        cuts = self.cuts[columns]

        def of_end(end):
            if self._is_open[end]:
                return [None] * cuts.shape[-2]
            of_ways = (self._units(cut, columns, shift) for cut in cuts[..., end].unbind(dim=-1))
            return [(cut[..., None].to(means) - means) * rate for cut in of_ways]

        return [of_end(end) for end in ends]

    def _outside(self, log_ways, components, lows, highs):
        """Return the probability that is not between points, of shape (...)."""
        (share, _), *_ = components
        outside = torch.zeros_like(share[..., 0])
        for log_way, low, high in zip(log_ways, lows, highs, strict=True):
            points = [
                point for point in (low, None if high is None else -high) if point is not None
            ]
            if points:
                below = sum(map(self.base.cdf, points[1:]), self.base.cdf(points[0]))
                outside = outside + torch.exp(log_way) * (share * below).sum(dim=-1)
        return outside

    def _log_between(self, log_ways, components, lows, highs, where):
        """Return the log-probability between points in single places, of shape (n_places,)."""
        ((_, log_share), *_), of_ways = components, []
        for log_way, low, high in zip(log_ways, lows, highs, strict=True):
            log_way = log_way.expand_as(where)[where]
            if low is not None or high is not None:
                # From the middle of a wide interval, single precision could not tell its ends.
                ends = (None if x is None else x[where].double() for x in (low, high))
                log_mass = log_share[where] + self.base.log_prob_between(*ends).to(log_share.dtype)
                log_way = log_way + torch.logsumexp(log_mass, dim=-1)
            of_ways.append(log_way)
        return of_ways[0] if len(of_ways) == 1 else torch.logaddexp(*of_ways)

    def _support(self, columns, like):
        """Return the parts of the support, as tensors."""
        return self.support[columns].to(like).unbind(dim=-1)

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

    def _pieces(self, params, column):
        """Split the mixture of one column into pieces below, within and above the range, made in each way.

        Returns
        -------
        log_weight : Tensor of shape (n, n_ways, 3, n_components)
            Logarithms of the factors of their densities.
        log_mass : Tensor of shape (n, n_ways, 3, n_components)
            Log-probabilities, without these factors.
        points : Tensor of shape (n, n_ways, 4, n_components)
            Where they end, in units of the components.
        """
        logits, means, scales = self._components(params, column)
        cuts = self._units(self.cuts[column], column).to(means)
        rate = torch.reciprocal(scales)
        # Each end and each piece is made in memory of its own, where functions of it are quick.
        points = [[(cut - means) * rate for cut in of_way] for of_way in cuts]
        nothing, all_of_it = torch.full_like(means, -math.inf), torch.zeros_like(means)
        log_mass = [[nothing] * 3 for _ in points]
        for way, region, low, high in self._regions(column):
            first = None if math.isinf(low) else points[way][region]
            last = None if math.isinf(high) else points[way][region + 1]
            is_all = first is None and last is None
            log_mass[way][region] = all_of_it if is_all else self.base.log_prob_between(first, last)
        points, log_mass = (
            torch.stack([torch.stack(of_way, dim=1) for of_way in parts], dim=1)
            for parts in (points, log_mass)
        )
        log_way = torch.stack(self._log_ways(params), dim=-1)
        log_weight = log_way[..., None] + log_softmax(logits)[:, None]
        log_p = log_weight[:, :, None] + log_mass
        log_total = torch.logsumexp(log_p.flatten(1), dim=1)
        log_inside = torch.logsumexp(log_p[:, :, 1].flatten(1), dim=1)
        share = self._support(column, means)[-1]
        inside, beyond = limited(log_total, log_inside, share)
        limits = torch.stack([beyond, inside, beyond], dim=1)[:, None, :, None]
        return log_weight[:, :, None] + limits, log_mass, points

    def _regions(self, column):
        """Yield way, number and ends of each part of the support of a column that is not empty."""
        for way, cuts in enumerate(self.cuts[column].tolist()):
            for region, (low, high) in enumerate(pairwise(cuts)):
                if low < high:
                    yield way, region, low, high

    def _sample_within_support(self, params, column, uniform):
        """Draw values between the bounds, none of them an atom; see :meth:`sample`."""
        log_weight, log_mass, points = self._pieces(params, column)
        piece, uniform = choose(torch.exp(log_weight + log_mass).flatten(1), uniform)
        # Which of the components, in which way, and from which cut to which.
        component, region = piece % self.n_components, piece // self.n_components % 3
        way = piece // (3 * self.n_components)
        end = (way * 4 + region) * self.n_components + component
        first, last = (
            points.flatten(1).gather(-1, e).double() for e in (end, end + self.n_components)
        )
        log_below, log_above = torch.log(uniform), torch.log1p(-uniform)
        v = self.base.icdf_between(log_below, log_above, first, last).to(params.dtype)
        _, means, scales = self._components(params, column)
        u = means.gather(-1, component) + scales.gather(-1, component) * v
        z = u[:, 0] * self.scale[column] + self.location[column]
        if self.grid is not None:
            z = torch.where(way[:, 0] == 1, self._nearest(z, *self._grid(column, z)), z)
        lower, _, _, upper, _ = self._support(column, z)
        return torch.clamp(z.round() if self.discrete else z, lower, upper)

    def _cdf_within_support(self, params, column, z):
        """Return the probabilities below values of what is no atom; see :meth:`cdf`."""
        log_weight, _, points = self._pieces(params, column)
        _, means, scales = self._components(params, column)
        below = torch.zeros_like(z)
        for way, region, low, high in self._regions(column):
            end = z if way == 0 else self._end_on_grid(column, z)
            u = (end.clamp(low, high) - self.location[column]) / self.scale[column]
            last = (u[..., None] - means[:, None]) / scales[:, None]
            first = None if math.isinf(low) else points[:, None, way, region]
            log_p = self.base.log_prob_between(first, last) + log_weight[:, None, way, region]
            below = below + torch.exp(log_p).sum(dim=-1)
        return below

    def _end_on_grid(self, column, z):
        """Return the upper end of the mass of grid numbers below values: half a step lies on either side of each."""
        step, offset = self._grid(column, z)
        return torch.floor((z - offset) / step) * step + offset + step / 2

    def _grid(self, columns, like):
        """Step and offset of the grids, as tensors."""
        return self.grid[columns].to(like).unbind(dim=-1)

    @staticmethod
    def _nearest(z, step, offset):
        """Return the nearest number on a grid."""
        return torch.round((z - offset) / step) * step + offset

    def _atom_logits(self, params, columns):
        """Return a logit for each atom, and one for all else."""
        logits = params[..., 1 : 2 + self.atoms.shape[-1]]
        if self.is_unused is None:
            return logits
        return logits.masked_fill(F.pad(self.is_unused[columns], (0, 1)), -math.inf)

    def _beside_atoms(self, log_of_rest, params, z, columns):
        """Mix the probability of atoms with the density or mass of the components."""
        logits = self._atom_logits(params, columns)
        log_total = torch.logsumexp(logits, dim=-1)
        atoms = self.atoms[columns].to(z)
        at = z[..., None] == atoms
        # The one atom that a value is, if any; a masked sum would turn -inf of the others into NaN.
        atom = at.to(torch.int8).argmax(dim=-1)
        log_mass = logits.gather(-1, atom[..., None])[..., 0] - log_total
        log_of_rest = (logits[..., -1] - log_total) + log_of_rest
        # A point has no part of a density, but one of a mass.
        at_atom = torch.logaddexp(log_mass, log_of_rest) if self.discrete else log_mass
        return torch.where(at.any(dim=-1), at_atom, log_of_rest)

    def sample(self, params, column, uniform):
        """Draw values of one column; see :meth:`Head.sample`."""
        n_atoms = self.atoms.shape[-1]
        if n_atoms:
            share = torch.exp(log_softmax(self._atom_logits(params, column)))
            atom, uniform = choose(share, uniform)
            uniform = uniform[:, 0]
        if self.support is not None:
            z = self._sample_within_support(params, column, uniform)
            return self._or_atom(z, atom, column) if n_atoms else z
        if self.grid is not None:
            logit = params[..., self.n_shared - 1]
            is_off, uniform = choose(torch.stack([logit, -logit], dim=-1).sigmoid(), uniform)
            uniform = uniform[:, 0]
        logits, means, scales = self._components(params, column)
        component, uniform = choose(torch.exp(log_softmax(logits)), uniform)
        noise = self.base.icdf(uniform).to(params.dtype)
        u = (means.gather(-1, component) + scales.gather(-1, component) * noise)[:, 0]
        z = u * self.scale[column] + self.location[column]
        if self.grid is not None:
            z = torch.where(is_off[:, 0] == 0, self._nearest(z, *self._grid(column, z)), z)
        z = z.round() if self.discrete else z
        return self._or_atom(z, atom, column) if n_atoms else z

    def _or_atom(self, z, atom, column):
        """Return values, or the atoms that were chosen in their place."""
        atoms = self.atoms[column].to(z)
        return torch.where(atom[:, 0] < len(atoms), atoms[atom[:, 0].clamp_max(len(atoms) - 1)], z)

    def cdf(self, params, column, z):
        """Return probabilities below values of one column; see :meth:`Head.cdf`."""
        of_rest = self._cdf if self.support is None else self._cdf_within_support
        below = of_rest(params, column, z)
        if not self.atoms.shape[-1]:
            return below
        p = torch.exp(log_softmax(self._atom_logits(params, column)))
        atoms = self.atoms[column].to(z)
        of_atoms = ((atoms < z[..., None]) * p[:, None, :-1]).sum(dim=-1)
        return of_atoms + p[:, -1:] * below

    def _cdf(self, params, column, z):
        """Return the probabilities below values of what is no atom, without bounds."""
        logits, means, scales = self._components(params, column)
        share = torch.exp(log_softmax(logits))

        def of_components(z):
            u = (z - self.location[column]) / self.scale[column]
            u = (u[..., None] - means[:, None]) / scales[:, None]
            return (share[:, None] * self.base.cdf(u)).sum(dim=-1)

        below = of_components(z)
        if self.grid is None:
            return below
        on_grid = torch.sigmoid(params[:, self.n_shared - 1 : self.n_shared])
        return on_grid * of_components(self._end_on_grid(column, z)) + (1 - on_grid) * below

    def normal_score(self, params, z, columns=slice(None)):
        """Return normal scores: standard normal quantiles of the cdf, of heads without atoms on continuous columns.

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
        components = self._components(params, columns)
        return self._normal_score(*components, u, self._ends(components, columns))

    def _ends(self, components, columns):
        """Return the bounds of continuous columns in units of their components; None for infinity."""
        if self.support is None:
            return None, None
        logits, means, scales = components
        lower, upper = self._points((logits, means, torch.reciprocal(scales)), columns, 0, 3)
        return lower[0], upper[0]

    def _normal_score(self, logits, means, scales, u, ends):
        v = (u[..., None] - means) / scales
        lower, upper = ends
        if self.support is None:
            share = torch.exp(log_softmax(logits))
            below = (share * self.base.cdf(v)).sum(dim=-1)
            above = (share * self.base.cdf(-v)).sum(dim=-1)
        else:
            log_p = log_softmax(logits)
            log_below = torch.logsumexp(log_p + self.base.log_prob_between(lower, v), dim=-1)
            log_above = torch.logsumexp(log_p + self.base.log_prob_between(v, upper), dim=-1)
            below, above = torch.stack([log_below, log_above]).softmax(dim=0)
        # The smaller of the two tails has not lost its digits.
        tail = torch.minimum(below, above).clamp_min(torch.finfo(u.dtype).tiny)
        return torch.where(below < above, 1, -1) * torch.special.ndtri(tail)

    def icdf_of_normal(self, params, column, normal):
        """Return the values of one column at normal scores, by bisection; the inverse of :meth:`normal_score`.

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
        ends = self._ends(components, column)
        # The quantile of a mixture lies between those of its components.
        quantiles = means + scales * self._quantiles(normal[:, None], ends)
        low, high = quantiles.amin(dim=-1), quantiles.amax(dim=-1)
        for _ in range(N_BISECTIONS):
            middle = (low + high) / 2
            is_below = self._normal_score(*components, middle, ends) < normal
            low, high = torch.where(is_below, middle, low), torch.where(is_below, high, middle)
        return (low + high) / 2 * self.scale[column] + self.location[column]

    def _quantiles(self, normal, ends):
        """Return the values of the components at normal scores."""
        if self.support is None:
            return self.base.icdf_of_normal(normal)
        lower, upper = ends
        one = lower if lower is not None else upper
        lower = torch.full_like(one, -math.inf) if lower is None else lower
        upper = torch.full_like(one, math.inf) if upper is None else upper
        tails = torch.special.log_ndtr(normal), torch.special.log_ndtr(-normal)
        return self.base.icdf_between(*tails, lower, upper)
