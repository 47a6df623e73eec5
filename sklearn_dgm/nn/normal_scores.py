"""Numbers of a table as normal scores, whatever their distributions, and back."""

import numpy as np
import torch

from sklearn_dgm.nn.common_numbers import normals_of
from sklearn_dgm.nn.config import plain
from sklearn_dgm.nn.layers import ExactBuffers

# Scores stay within the quantiles of this and its complement.
SMALLEST_SHARE = 1e-6
# A value of fewer rows does not repeat.
SINGLE = 1.5
# Scores at which smooth values are what numbers are, and straight lines between.
GRID = torch.linspace(-4, 4, 33, dtype=torch.float64)


def knots_of(z, weight, whole, n_knots):
    """Return the knots of the distribution function of a column.

    It rises at once at a value that repeats, and in between, and through values that are single, along straight lines.

    Parameters
    ----------
    z : ndarray of shape (n,)
        Encoded values.
    weight : ndarray of shape (n,)
        How many rows each stands for.
    whole : bool
        Whether values are whole numbers, of which also a single one has a probability.
    n_knots : int
        How many there may be.

    Returns
    -------
    knots : ndarray of shape (3, n_knots or less)
        Values, increasing; the shares of the weight below each, and up to it.
    """
    values, place = np.unique(z, return_inverse=True)
    counts = np.bincount(place, weight)
    upto = (np.cumsum(counts) / counts.sum()).clip(0, 1)
    below = np.append(0.0, upto[:-1])
    if not whole:
        single = counts < SINGLE
        below[single] = upto[single] = (below + upto)[single] / 2
    if len(values) > n_knots:
        chosen = _most_telling(counts, upto, n_knots)
        values, below, upto = values[chosen], below[chosen], upto[chosen]
    return np.stack([values, below, upto])


def _most_telling(counts, upto, n_knots):
    """Return the indices of both ends, of the heaviest values that repeat, and of evenly spread quantiles."""
    heaviest = np.argsort(-counts, kind="stable")[: n_knots // 2]
    heaviest = heaviest[counts[heaviest] >= SINGLE]
    shares = np.linspace(0, 1, n_knots - len(heaviest))
    quantiles = np.searchsorted(upto, shares).clip(max=len(counts) - 1)
    return np.unique(np.concatenate([heaviest, quantiles]))


class NormalScores(ExactBuffers):
    """Distribution functions of columns, by which numbers become standard normals and these numbers.

    A value that has a probability becomes a random score among those that it stands for, so that the scores of a column
    are normal also where its values repeat.

    Parameters
    ----------
    whole : tuple of bool
        For each column whether its values are whole numbers.
    n_knots : int
        Distinct values that a distribution function goes through, at most; one of fewer repeats the last.
    """

    def __init__(self, whole, n_knots):
        super().__init__()
        self.whole, self.n_knots = plain(tuple(whole)), n_knots
        self.register_exact("knots", np.zeros((3, len(self.whole), n_knots)))
        self.register_exact("smooth", np.zeros((len(self.whole), len(GRID))))

    def learn(self, z, weight):
        """Learn the distribution functions of numbers.

        Parameters
        ----------
        z : ndarray of shape (n, n_columns)
            Encoded numbers.
        weight : ndarray of shape (n,)
            Their weights.
        """
        for j, (of_column, is_whole) in enumerate(zip(z.T, self.whole, strict=True)):
            knots = knots_of(of_column, weight, is_whole, self.n_knots)
            padded = np.pad(knots, ((0, 0), (0, self.n_knots - knots.shape[1])), mode="edge")
            self.knots[:, j] = torch.from_numpy(padded)
        values = self.values(GRID[:, None].expand(-1, len(self.whole))).T
        self.smooth.copy_(_standardised(values))

    def shares(self, z):
        """Return the shares of the rows below numbers and up to them, two tensors of shape (n, n_columns)."""
        values, below, upto = self.knots
        z = z.double().T.contiguous()
        last = values.shape[1] - 1
        at = torch.searchsorted(values, z).clamp(max=last)
        before = (at - 1).clamp(min=0)
        low, high = values.gather(1, before), values.gather(1, at)
        start, stop = upto.gather(1, before), below.gather(1, at)
        along = ((z - low) / (high - low).clamp(min=torch.finfo(z.dtype).tiny)).clamp(0, 1)
        between = start + along * (stop - start)
        is_knot = z == high
        lower = torch.where(is_knot, stop, between)
        upper = torch.where(is_knot, upto.gather(1, at), between)
        for beyond, end in ((z < values[:, :1], below[:, :1]), (z > values[:, -1:], upto[:, -1:])):
            lower, upper = (torch.where(beyond, end, share) for share in (lower, upper))
        return lower.T, upper.T

    def scores(self, z, uniforms):
        """Return the normal scores of numbers, of shape (n, n_columns).

        Parameters
        ----------
        z : Tensor of shape (n, n_columns)
            Encoded numbers.
        uniforms : Tensor of shape (n, n_columns)
            Numbers between 0 and 1, which say where among the scores of its value each is.
        """
        lower, upper = self.shares(z)
        share = lower + uniforms * (upper - lower)
        return normals_of(share.clamp(SMALLEST_SHARE, 1 - SMALLEST_SHARE))

    def values(self, scores):
        """Return encoded numbers, of shape (n, n_columns), that normal scores stand for; none beyond those seen."""
        values, below, upto = self.knots
        share = torch.special.ndtr(scores.double()).T.contiguous()
        last = values.shape[1] - 1
        at = torch.searchsorted(upto.contiguous(), share).clamp(max=last)
        before = (at - 1).clamp(min=0)
        low, high = values.gather(1, before), values.gather(1, at)
        start, stop = upto.gather(1, before), below.gather(1, at)
        along = ((share - start) / (stop - start).clamp(min=1e-12)).clamp(0, 1)
        z = torch.where(at > 0, torch.lerp(low, high, along), high)
        whole = torch.tensor(self.whole, dtype=torch.bool, device=z.device)[:, None]
        return torch.where(whole, z.round(), z).T

    def smooth_values(self, scores):
        """Return standardised numbers that scores stand for, on straight lines between those of a grid.

        What scores do not tell, they do: how far apart numbers are.
        """
        place = ((scores - GRID[0]) / (GRID[1] - GRID[0])).clamp(0, len(GRID) - 1.001)
        at = place.detach().floor().long()
        table = self.smooth.to(scores).T
        low, high = table.gather(0, at), table.gather(0, at + 1)
        return low + (place - at) * (high - low)


def _standardised(values):
    """Return values on a grid in units of their spread over standard normal scores, bounded, of shape (d, n)."""
    weight = torch.exp(-(GRID**2) / 2)
    weight = weight / weight.sum()
    mean = values @ weight
    spread = ((values - mean[:, None]) ** 2 @ weight).sqrt().clamp(min=1e-12)
    return torch.asinh((values - mean[:, None]) / spread[:, None])
