"""The components of a mixture at points of a latent space: how many, and what rows say of them beside the decoder.

A decoder is as smooth as it has to be for the whole latent space. Once there are points, expectation and maximisation
fits their weights, and their components, which are drawn towards those of the decoder; so fewer points do.
"""

import operator
import warnings
from functools import partial, reduce
from typing import Any, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from sklearn_dgm._training.splits import as_counts
from sklearn_dgm.columns._bulk import REACH
from sklearn_dgm.mixture._decoded import NUMBERS_AT_ONCE, log_sums
from sklearn_dgm.mixture._fitting import PartCounts

# Rows that decoded components count as, of which "auto" chooses, and the one that it starts from.
ALPHAS, FIRST_ALPHA = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0), 30.0
# Numbers of points that "auto" chooses from; what twice as many have to gain, in nats, and what is worth a warning.
NUMBERS_OF_POINTS, LEAST_GAIN, LARGE_GAIN = (512, 1024, 2048, 4096), 0.01, 0.05
# Scores take about so much a row, of which the sum over points takes a part, and each cell beside frequent ones 1.
SCORING_TIME, TIME_OF_SUM = 1.5e5, 15.0
# Where there is nothing to choose by.
DEFAULT_POINTS = 1024
# Steps of EM at most, and what a step has to gain, in nats a row.
MAX_STEPS, LEAST_STEP = 8, 3e-3


class Blocks(NamedTuple):
    """Encoded rows as a mixture takes them, in blocks of which each has all components at once.

    Attributes
    ----------
    prepared : list
        What :meth:`FiniteMixture.prepare` returns.
    weights : list of ndarray
        Weights of the rows.
    """

    prepared: list[Any]
    weights: list[Any]

    @classmethod
    def of(cls, mixture, Z, weight):
        """Prepare encoded rows for a mixture."""
        step = max(NUMBERS_AT_ONCE // len(mixture.weights), 1)
        starts = range(0, len(Z), step)
        prepared = [mixture.prepare(Z[start : start + step]) for start in starts]
        return cls(prepared, [weight[start : start + step] for start in starts])

    def score(self, mixture):
        """Return the mean log-density, in nats a row."""
        log_p = [log_sums(mixture.log_joint(rows))[0] for rows in self.prepared]
        return float(np.average(np.concatenate(log_p), weights=np.concatenate(self.weights)))

    def count(self, mixture):
        """Return what a mixture expects of the rows, :class:`PartCounts`."""
        return reduce(operator.add, map(partial(_count, mixture), self.prepared, self.weights))


class StreamedBlocks(NamedTuple):
    """All rows of a table that is read a chunk at a time, with the :meth:`Blocks.count` of all blocks.

    Attributes
    ----------
    rows : EncodedChunks
        The table.
    """

    rows: Any

    def count(self, mixture):
        """Return what a mixture expects of the rows, by a pass over them."""
        of_all = self.rows.mean_weight, self.rows.largest_weight
        return self.rows.total(partial(_count_chunk, mixture=mixture, of_all=of_all))


def _count(mixture, prepared, weight):
    """Return what a mixture expects of prepared rows."""
    log_p, shares = log_sums(mixture.log_joint(prepared))
    shares *= weight[:, None].astype(shares.dtype)
    return PartCounts(mixture.count(prepared, shares), float(weight @ log_p), float(weight.sum()))


def _count_chunk(Z, weight, mixture, of_all):
    """Return what a mixture expects of encoded rows, given the mean and the largest weight of all."""
    weight = np.ones(len(Z)) if weight is None else as_counts(weight, *of_all)
    return Blocks.of(mixture, Z.clip(-REACH, REACH), weight).count(mixture)


class Refined(NamedTuple):
    """A mixture, fitted by EM from decoded components.

    Attributes
    ----------
    mixture : PointMixture
        The mixture.
    score : float
        Its mean log-density of validation rows, in nats; NaN without any.
    alpha : float
        How many rows of a component the decoded one counts as.
    n_steps : int
        Steps of EM.
    """

    mixture: Any
    score: float
    alpha: float
    n_steps: int


def refined(decoded, rows, valid, alpha, n_steps=MAX_STEPS, before=None):
    """Fit a mixture to rows by EM, with components that are drawn towards decoded ones.

    Parameters
    ----------
    decoded : PointMixture
        The decoded components, of equal weights.
    rows : Blocks or StreamedBlocks
        Rows to learn from.
    valid : Blocks or None
        Rows that say when to stop.
    alpha : float or None
        How many rows of a component the decoded one counts as; None for a mixture of the decoded ones as they are.
    n_steps : int
        Steps at most.
    before : Counts, default=None
        What was expected of rows that came before, to which the counts of these are added.

    Returns
    -------
    refined : Refined
        The mixture after the last step that made it better.
    """
    mixture = decoded if before is None else decoded.shrunk(before, alpha)
    score = np.nan if valid is None else valid.score(mixture)
    for step in range(0 if alpha is None else n_steps):
        counts = rows.count(mixture).counts
        after = decoded.shrunk(counts if before is None else before.plus(counts), alpha)
        if valid is not None:
            score_after = valid.score(after)
            if not score_after > score + LEAST_STEP:
                return Refined(mixture, score, alpha, step)
            score = score_after
        mixture = after
    return Refined(mixture, score, alpha, 0 if alpha is None else n_steps)


def most_points(n_cells):
    """Return how many points a mixture may have, given how many cells rows have beside the most frequent ones."""
    return SCORING_TIME / (TIME_OF_SUM + n_cells)


def choose(decode, blocks_of, n_points, alpha, most):
    """Choose how many points a mixture has and how many rows decoded components count as, by validation rows.

    Parameters
    ----------
    decode : callable
        Given a number of points, the mixture of the decoded components there.
    blocks_of : callable
        Given a mixture, the training and the validation rows as blocks.
    n_points : int or "auto"
        The number, if it is settled.
    alpha : float, "auto" or None
        How many rows, if that is settled; None for no refinement.
    most : float
        How many points may be chosen.

    Returns
    -------
    n_points : int
        The number of points.
    refined : Refined
        The mixture that was best.

    Warns
    -----
    ConvergenceWarning
        If twice the points raise the score much.
    """
    first, *others = NUMBERS_OF_POINTS if n_points == "auto" else [n_points]
    numbers = [first, *(n for n in others if n <= most)]

    def at(n, alpha):
        decoded = decode(n)
        return refined(decoded, *blocks_of(decoded), alpha)

    best = at(numbers[0], FIRST_ALPHA if alpha == "auto" else alpha)
    if alpha == "auto":
        best = _climb(partial(at, numbers[0]), best)
    n = numbers[0]
    for more in numbers[1:]:
        after = at(more, best.alpha)
        if after.score - best.score < LEAST_GAIN:
            return n, best
        n, best = more, after
    warn_of_few(n, best.alpha, decode, blocks_of, best.score)
    return n, best


def warn_of_few(n_points, alpha, decode, blocks_of, score=None):
    """Warn if twice the points raise the score of held-out rows much, of decoded components and of refined ones.

    Parameters
    ----------
    n_points : int
        The number of points.
    alpha : float or None
        How many rows decoded components count as.
    decode, blocks_of : callable
        See :func:`choose`.
    score : float, default=None
        That of the refined components, where it is known.

    Warns
    -----
    ConvergenceWarning
        If they do.
    """
    before, after = decode(n_points), decode(2 * n_points)
    rows, held_out = blocks_of(after)
    part = Blocks(held_out.prepared[:1], held_out.weights[:1])
    if part.score(after) - part.score(before) <= LARGE_GAIN:
        return
    if score is None:
        score = refined(before, *blocks_of(before), alpha).score
    gain = refined(after, rows, held_out, alpha).score - score
    if gain > LARGE_GAIN:
        warnings.warn(
            f"{2 * n_points} points in place of {n_points} raise the mean log-density of held-out rows by {gain:.2f} "
            "nats; raise n_points, or take fewer latents.",
            ConvergenceWarning,
            stacklevel=2,
        )


def _climb(fit, first):
    """Return the best of fits with more rows than the first, or with fewer, as long as they are better and better."""
    place = ALPHAS.index(FIRST_ALPHA)
    for alphas in (ALPHAS[place + 1 :], ALPHAS[:place][::-1]):
        best = first
        for alpha in alphas:
            other = fit(alpha)
            if not other.score > best.score:
                break
            best = other
        if best is not first:
            return best
    return first
