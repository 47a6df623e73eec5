"""Mixtures of location-scale components between bounds."""

import math
from itertools import pairwise

import torch

from sklearn_dgm.nn.heads.mixture_params import MixtureParams
from sklearn_dgm.nn.heads.outcomes import choose, limited, log_softmax


class BoundedMixture(MixtureParams):
    """Base class of mixture heads, which knows what of them lies below, within and above a range, up to the bounds.

    Parameters
    ----------
    location, scale, n_components, base, discrete, atoms, linear, grid, support
        See :class:`~sklearn_dgm.nn.heads.mixture_params.MixtureParams`.
    """

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
