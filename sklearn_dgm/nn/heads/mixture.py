"""Mixtures of location-scale components."""

import math

import torch
from torch.nn import functional as F

from sklearn_dgm.nn.heads.head import broadcast
from sklearn_dgm.nn.heads.mixture_bounds import BoundedMixture
from sklearn_dgm.nn.heads.outcomes import choose, is_whole, log_softmax

# Halvings that leave nothing of an interval but rounding.
N_BISECTIONS = 60


class MixtureHead(BoundedMixture):
    """Mixture of location-scale components, as a density or as a mass function on whole numbers.

    Parameters
    ----------
    location, scale, n_components, base, discrete, atoms, linear, grid, support
        See :class:`~sklearn_dgm.nn.heads.mixture_params.MixtureParams`.
    """

    def log_prob(self, params, z, columns=slice(None), shift=None):
        """Return log-densities or log-masses; see :meth:`Head.log_prob`.

        A shift, of shape (..., m), is a part of the location that is not among the parameters, and may be of a higher
        precision than these: where parents all but determine a column, it is large beside what it leaves of a value.
        """
        params, z = broadcast(params, z)
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
