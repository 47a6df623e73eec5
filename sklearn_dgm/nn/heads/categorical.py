"""Softmax over codes, with tails for whole numbers."""

import math

import numpy as np
import torch
from torch.nn import functional as F

from sklearn_dgm.nn.heads.head import Head, LinearStart, broadcast
from sklearn_dgm.nn.heads.outcomes import choose, is_whole, limited, log_softmax


class CategoricalHead(Head):
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
    support : ndarray of shape (m, 5) or None
        With tails, the bounds of these and how much lies there at most; see :class:`~sklearn_dgm.nn.inputs.Variable`.
    """

    def __init__(self, n_levels, tails=False, unknown_share=None, support=None):
        super().__init__()
        self.max_levels = max(n_levels)
        self.tails = tails
        self.register_exact("support", support)
        self._has_ends = support is not None and not np.isinf(support[:, [0, 3]]).all()
        self.register_buffer("n_levels", torch.tensor(n_levels, dtype=torch.float64))
        outcome = torch.arange(self.max_levels)
        is_unused = outcome[:, None] >= torch.tensor(n_levels)
        is_unused = F.pad(is_unused.T, (0, 2 * tails))
        if support is not None:
            lower, low, high, upper, _ = support.T
            is_unused[:, self.max_levels :] = torch.tensor(
                np.stack([lower == low, high == upper], axis=1)
            )
        self.register_buffer("is_unused", is_unused if is_unused.any() else None)
        if unknown_share is not None and unknown_share.any():
            self.register_buffer("unknown_share", unknown_share)
        else:
            self.unknown_share = None

    @classmethod
    def takes(cls, variable, family):
        """Tell whether a variable has codes, whatever the family."""
        return variable.n_levels is not None

    @classmethod
    def of(cls, variables, n_components, family, is_linear):
        """Return a head for some columns; see :meth:`Head.of`."""
        unknown_share = torch.tensor([v.unknown_share for v in variables])
        support = np.array([v.support for v in variables]) if variables[0].support else None
        n_levels = [v.n_levels for v in variables]
        return cls(n_levels, variables[0].whole, unknown_share, support)

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

    def start_from(self, columns, simple):
        """Start from the logits of the simple density; see :meth:`Head.start_from`."""
        for j in columns:
            features, weights, logits = simple.logits(j)
            rows = np.arange(len(logits))
            if self.is_binary:
                rows, weights, logits = rows[:1], weights[1:] - weights[:1], logits[1:] - logits[:1]
            elif self.tails:
                rows[-2:] = self.max_levels, self.max_levels + 1
            bias = np.zeros(self.n_params)
            bias[rows] = logits
            yield LinearStart(bias, rows, features, weights)

    def _logits(self, params, columns):
        """Return a logit for each outcome."""
        if self.is_binary:
            return F.pad(params, (1, 0))
        if self.is_unused is None:
            return params
        return params.masked_fill(self.is_unused[columns], -math.inf)

    def _log_ratio(self, n_levels):
        """Return the log-ratio of a geometric tail, whose mean excess over the fitted range is a quarter of it."""
        return -torch.log1p(4.0 / n_levels)

    def log_prob(self, params, z, columns=slice(None)):
        """Return log-masses; see :meth:`Head.log_prob`."""
        if not self.is_binary:
            params, z = broadcast(params, z)
        n_levels = self.n_levels[columns].to(z.dtype)
        inside = is_whole(z, 0, n_levels - 1)
        if self.is_binary:
            log_p = F.logsigmoid(torch.where(z > 0.5, 1, -1) * params[..., 0])
        else:
            log_p = log_softmax(self._logits(params, columns))
            log_p, inside = self._of_outcome(log_p, z, inside, columns)
        if self.unknown_share is not None:
            unknown_share = self.unknown_share[columns]
            log_p = log_p + torch.log1p(-unknown_share)
            log_p = torch.where(z == -1, torch.log(unknown_share), log_p)
            inside = inside | ((z == -1) & (unknown_share > 0))
        return torch.where(inside, log_p, -math.inf)

    def _limits(self, log_p, columns):
        """Return the terms that, added to log-probabilities of levels and tails, hold these to their shares."""
        share = self.support[columns][..., 4].to(log_p)
        log_levels = torch.logsumexp(log_p[..., : self.max_levels], dim=-1)
        return limited(torch.zeros_like(log_levels), log_levels, share)

    def _shares(self, params, column):
        """Return the probabilities of the outcomes of one column."""
        logits = self._logits(params, column)
        if self.support is None:
            return torch.exp(log_softmax(logits))
        log_p = log_softmax(logits)
        inside, beyond = self._limits(log_p, column)
        is_tail = torch.arange(log_p.shape[-1], device=log_p.device) >= self.max_levels
        return torch.exp(log_p + torch.where(is_tail, beyond[:, None], inside[:, None]))

    def _n_beyond(self, columns, like):
        """Count the whole numbers in each tail, of shape (..., 2); None where no tail ends."""
        if not self._has_ends:
            return None
        lower, low, high, upper, _ = self.support[columns].unbind(dim=-1)
        return torch.stack([low - lower, upper - high], dim=-1).to(like)

    def _of_outcome(self, log_p, z, inside, columns):
        n_levels = self.n_levels[columns].to(z.dtype)
        code = torch.where(inside, z, 0).long()
        if self.tails:
            below, above = z < 0, z > n_levels - 1
            code = torch.where(below, self.max_levels, code)
            code = torch.where(above, self.max_levels + 1, code)
        # Training goes without the limit, as that of mixtures does.
        is_limited = self.support is not None and not self.training
        limits = self._limits(log_p, columns) if is_limited else None
        log_p = log_p.gather(-1, code[..., None])[..., 0]
        if limits is not None:
            log_p = log_p + torch.where(below | above, limits[1], limits[0])
        if self.tails:
            excess = torch.where(below, -z, torch.where(above, z - n_levels + 1, 1))
            log_ratio = self._log_ratio(n_levels)
            tail = (excess - 1) * log_ratio + torch.log(-torch.expm1(log_ratio))
            inside = is_whole(z, -math.inf, math.inf)
            n_beyond = self._n_beyond(columns, z)
            if n_beyond is not None:
                n_beyond = torch.where(below, n_beyond[..., 0], n_beyond[..., 1])
                # A tail without numbers is no outcome.
                tail = tail - torch.log(-torch.expm1(log_ratio * n_beyond.clamp_min(1)))
                inside = inside & ~((below | above) & (excess > n_beyond))
            log_p = log_p + torch.where(below | above, tail, 0)
        return log_p, inside

    def sample(self, params, column, uniform):
        """Draw values of one column, never an unknown one; see :meth:`Head.sample`."""
        share = self._shares(params, column)
        code, uniform = choose(share, uniform)
        z, uniform = code[:, 0].to(params.dtype), uniform[:, 0]
        if self.tails:
            n_levels, log_ratio = self.n_levels[column], self._log_ratio(self.n_levels[column])
            n_beyond = self._n_beyond(column, uniform)
            if n_beyond is not None:
                n_beyond = torch.where(code[:, 0] == self.max_levels, n_beyond[0], n_beyond[1])
                uniform = -uniform * torch.expm1(log_ratio * n_beyond)
            excess = torch.floor(torch.log1p(-uniform) / log_ratio)
            if n_beyond is not None:
                excess = torch.minimum(excess, n_beyond - 1)
            excess = 1 + excess.to(z.dtype)
            z = torch.where(code[:, 0] == self.max_levels, -excess, z)
            z = torch.where(code[:, 0] == self.max_levels + 1, n_levels.to(z.dtype) - 1 + excess, z)
        return z

    def cdf(self, params, column, z):
        """Return the probabilities below values midway between codes, of known ones; see :meth:`Head.cdf`."""
        p = self._shares(params, column)
        n_levels = self.n_levels[column]
        count = (z + 0.5).round()
        inside = count.clamp(torch.zeros_like(n_levels), n_levels).long()
        below = F.pad(p[:, : self.max_levels].cumsum(dim=-1), (1, 0)).gather(-1, inside)
        if not self.tails:
            return below
        lower, upper = p[:, self.max_levels, None], p[:, self.max_levels + 1, None]
        log_ratio = self._log_ratio(n_levels)
        down, up = (-count).clamp_min(0), (count - n_levels).clamp_min(0)
        n_beyond = self._n_beyond(column, z)
        if n_beyond is None:
            below = below + lower * torch.exp(log_ratio * down)
            return below - upper * torch.expm1(log_ratio * up)
        # Of all that a tail holds: beyond a number in the lower one, up to a number in the upper one.
        whole = torch.expm1(log_ratio * n_beyond.clamp_min(1))
        down, up = (
            torch.expm1(log_ratio * torch.minimum(x, n))
            for x, n in zip((down, up), n_beyond, strict=True)
        )
        return below + lower * (1 - down / whole[0]) + upper * up / whole[1]
