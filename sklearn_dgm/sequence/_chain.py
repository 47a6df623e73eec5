"""Markov chains of hidden states: the forward and backward passes, the most probable path, and draws.

All sequences take a step at once; see :class:`~sklearn_dgm.sequence._step_order.StepOrder`. Probabilities are scaled in
each step. Pieces of long sequences take their steps at the same time, from each state; a scan over their ends says then
how probable the states are where each begins (Särkkä and García-Fernández, 2021). The backward pass divides smoothed by
predicted probabilities, as Kitagawa (1987) does, so that nothing overflows.
"""

from typing import NamedTuple

import numpy as np

from sklearn_dgm._state import Stateful

# Smaller numbers have lost digits.
LEAST = 1e-290
# Numbers that a block of pairs of states takes up.
NUMBERS_AT_ONCE = 2**22


class Filtered(NamedTuple):
    """What the forward pass says of steps, in the order of time.

    Attributes
    ----------
    predicted : ndarray of shape (n_steps, n_states)
        Probabilities of the states given the steps before, and that the sequence goes on.
    filtered : ndarray of shape (n_steps, n_states)
        Probabilities of the states given this step, too.
    log_prob : ndarray of shape (n_steps,)
        Log-density of each step given those before it, with the log-probability that there is one.
    log_end : ndarray of shape (n_filled,)
        Log-probability of the end of each sequence that has steps.
    """

    predicted: np.ndarray
    filtered: np.ndarray
    log_prob: np.ndarray
    log_end: np.ndarray


class ChainCounts(NamedTuple):
    """Expected sufficient statistics of a chain.

    Attributes
    ----------
    start, stop : ndarray of shape (n_states,)
        Weights of the first states, and of the last ones.
    pairs : ndarray of shape (n_states, n_states)
        Weights of states and the ones after them.
    empty : float
        Weight of the sequences without any step.
    """

    start: np.ndarray
    stop: np.ndarray
    pairs: np.ndarray
    empty: float

    @property
    def n_sequences(self):
        """Weight of all sequences."""
        return self.stop.sum() + self.empty

    def plus(self, other):
        """Return the counts of the sequences of both."""
        return ChainCounts(*(own + its for own, its in zip(self, other, strict=True)))


class Chain(Stateful):
    """A Markov chain of states, which may stop after each step.

    Parameters
    ----------
    n_states : int
        Number of states.
    share_of_ends : float or None
        How many of all steps, the one before the first included, are followed by the end; None of a chain that does not
        say when a sequence ends.

    Attributes
    ----------
    start : ndarray of shape (n_states,)
        Probabilities of the first state of a sequence that has steps.
    transition : ndarray of shape (n_states, n_states)
        Probabilities of the next state given the one before, of a sequence that goes on.
    stop : ndarray of shape (n_states,)
        Probabilities to end after a step.
    empty : float
        Probability to have no step.
    counts : ChainCounts
        What they were learnt from.
    """

    counts: ChainCounts

    def __init__(self, n_states, share_of_ends):
        self.share_of_ends = share_of_ends
        self.start = np.full(n_states, 1 / n_states)
        self.transition = np.full((n_states, n_states), 1 / n_states)
        self.stop, self.empty = np.zeros(n_states), 0.0

    @property
    def stops(self):
        """Whether it says when a sequence ends."""
        return self.share_of_ends is not None

    def learn(self, counts, alpha):
        """Learn from counts, and pseudo-counts for the start and for each state.

        Those of next states are spread evenly, those of ends as the share of ends among all steps is.
        """
        self.counts, even = counts, 1 / len(self.start)
        total = counts.pairs.sum(axis=1)
        self.start = _share(counts.start, counts.start.sum(), alpha, even)
        self.transition = _share(counts.pairs, total[:, None], alpha, even)
        if self.stops:
            share = self.share_of_ends
            self.stop = _share(counts.stop, total + counts.stop, alpha, share)
            self.empty = float(_share(counts.empty, counts.n_sequences, alpha, share))

    def log_prior(self, alpha):
        """Return the log-density of the prior, up to a constant."""
        if not alpha:
            return 0.0
        log_p = (np.log(self.start).sum() + np.log(self.transition).sum()) / len(self.start)
        if self.stops:
            stop, share = np.append(self.stop, self.empty), self.share_of_ends
            log_p += np.sum(share * np.log(stop) + (1 - share) * np.log1p(-stop))
        return alpha * log_p

    @property
    def n_parameters(self):
        """Number of free probabilities."""
        n = len(self.start)
        return (n - 1) * (n + 1) + (n + 1 if self.stops else 0)

    @property
    def log_empty(self):
        """Log-probability of no step at all."""
        with np.errstate(divide="ignore"):
            return float(np.log(self.empty)) if self.stops else 0.0

    @property
    def _first(self):
        """Probabilities of the first state, and that there is one."""
        return (1 - self.empty) * self.start

    @property
    def _onward(self):
        """Probabilities of the next state given the one before, and that there is one."""
        return (1 - self.stop)[:, None] * self.transition

    def _ended(self, filtered):
        """Return the probabilities of last states together with the end."""
        return filtered * self.stop if self.stops else filtered

    def forward(self, steps, log_b, rows):
        """Pass forward over all sequences.

        Parameters
        ----------
        steps : StepOrder
            Their steps.
        log_b : ndarray of shape (n_rows, n_states)
            Log-densities of distinct steps in each state.
        rows : ndarray of int of shape (n_steps,)
            Which of them each step is, in the order of time.

        Returns
        -------
        passed : Filtered
            What is known from the left. After an impossible step, states are as if it had been missing.
        """
        highest = log_b.max(axis=1)
        highest[np.isneginf(highest)] = 0.0
        filtered = np.exp(log_b - highest[:, None])[rows]  # the densities, at first
        predicted, scale, shift = np.empty_like(filtered), np.empty(len(rows)), highest[rows]
        onward, before = self._onward, None
        first, ones = self._first, np.ones(len(self.start))
        if steps.pieces:
            first = self._first_of_pieces(steps, filtered, log_b, rows)
        for block in steps.blocks:
            p, f = predicted[block], filtered[block]
            if before is None:
                p[:] = first
            else:
                np.matmul(before[: len(f)], onward, out=p)
            f *= p
            total = np.matmul(f, ones, out=scale[block])
            if total.min() < LEAST:
                low = np.flatnonzero(total < LEAST)
                joint, total[low], shift[block][low] = _in_logs(p[low], log_b[rows[block][low]])
                f[low] = joint
                f /= np.where(total > 0, total, 1.0)[:, None]
            else:
                f /= total[:, None]
            before = f
        with np.errstate(divide="ignore"):
            log_prob = np.log(scale) + shift
            log_end = np.log(self._ended(filtered[steps.lasts]).sum(axis=1))
        return Filtered(predicted, filtered, log_prob, log_end if self.stops else 0 * log_end)

    def _first_of_pieces(self, steps, b, log_b, rows):
        """Return how probable the states are at the first step of each piece, given those before it."""
        n, n_states, onward = len(b[steps.blocks[0]]), len(self.start), self._onward
        # From each state at the first step of a piece: how probable the states at its end are, and the steps.
        ends, logs = np.tile(np.eye(n_states), (n, 1, 1)), np.zeros((n, n_states))
        first, end, ones = np.empty((n, n_states)), self._first, np.ones(n_states)
        with np.errstate(divide="ignore"):
            for t, block in enumerate(steps.blocks):
                b_of = b[block]
                moved = _times(ends[: len(b_of)], onward) if t else ends.copy()
                moved *= b_of[:, None]
                total = moved @ ones  # which sums short axes faster than a sum
                least = np.maximum(total, LEAST)
                ends[: len(b_of)] = moved / least[:, :, None]
                logs[: len(b_of)] += np.where(total > 0, np.log(least), -np.inf)
            for i, places, begins in steps.pieces:
                first[i] = self._first if begins else end @ onward
                log_p = np.log(first[i]) + logs[i]
                highest = log_p.max()
                if np.isneginf(highest):
                    end = self._end_of_piece(first[i], log_b[rows[places]])
                else:
                    end = np.exp(log_p - highest) @ ends[i]
                    end /= end.sum()
        return first

    def _end_of_piece(self, p, log_b):
        """Return how probable the states are at the end of a piece, step by step."""
        for log_b_of in log_b:
            joint, total, _ = _in_logs(p[None], log_b_of[None])
            end = joint[0] / (total[0] or 1.0)
            p = end @ self._onward
        return end

    def backward(self, steps, passed):
        """Pass backward over all sequences.

        Parameters
        ----------
        steps : StepOrder
            Their steps.
        passed : Filtered
            What :meth:`forward` has found.

        Returns
        -------
        posterior : ndarray of shape (n_steps, n_states)
            Probabilities of the states given the whole sequence, in the order of time.
        ratio : ndarray of shape (n_steps, n_states)
            Those over the predicted ones.
        """
        predicted, filtered = passed.predicted, passed.filtered
        posterior, back = np.empty_like(filtered), self._onward.T.copy()
        posterior[steps.lasts] = _normalised(
            self._ended(filtered[steps.lasts]), filtered[steps.lasts]
        )
        if steps.pieces:
            self._last_of_pieces(steps, passed, posterior)
        ratio = np.maximum(predicted, LEAST)
        n_after, r_after = 0, ratio
        for block in reversed(steps.blocks):
            q, r = posterior[block], ratio[block]
            if n_after:
                np.matmul(r_after, back, out=q[:n_after])
                q[:n_after] *= filtered[block][:n_after]
            np.divide(q, r, out=r)
            n_after, r_after = len(q), r
        return _normalised(posterior, filtered), ratio

    def _last_of_pieces(self, steps, passed, posterior):
        """Fill in how probable the states are at the last step of each piece, given all steps."""
        predicted = np.maximum(passed.predicted, LEAST)
        n, n_states, onward = len(predicted[steps.blocks[0]]), len(self.start), self._onward
        # From each state at the last step of a piece: how probable the states at its first one are.
        first, back = np.tile(np.eye(n_states), (n, 1, 1)), onward.T.copy()
        for block, after in zip(steps.blocks[-2::-1], steps.blocks[:0:-1], strict=True):
            p = predicted[after]
            moved = _times(first[: len(p)] / p[:, None], back)
            first[: len(p)] = moved * passed.filtered[block][: len(p), None]
        after = None
        for i, places, begins in reversed(steps.pieces):
            if after is not None:
                posterior[places[-1]] = passed.filtered[places[-1]] * (onward @ after)
            after = None if begins else posterior[places[-1]] @ first[i] / predicted[places[0]]

    def count(self, steps, passed, posterior, ratio, weight, empty):
        """Return the expected counts.

        Parameters
        ----------
        steps : StepOrder
            Steps of the sequences.
        passed : Filtered
            What :meth:`forward` has found.
        posterior, ratio : ndarray of shape (n_steps, n_states)
            What :meth:`backward` returns.
        weight : ndarray of shape (n_steps,)
            Weights of the steps, in the order of time.
        empty : float
            Weight of the sequences without any step.
        """
        after, before = steps.pairs
        pairs = passed.filtered[before].T @ (ratio[after] * weight[after, None])
        return ChainCounts(
            weight[steps.firsts] @ posterior[steps.firsts],
            weight[steps.lasts] @ posterior[steps.lasts],
            self._onward * pairs,
            empty,
        )

    def most_probable(self, steps, log_b):
        """Return the most probable states of all steps together (Viterbi, 1967).

        Parameters
        ----------
        steps : StepOrder
            Steps of the sequences, none of which is cut.
        log_b : ndarray of shape (n_steps, n_states)
            Log-densities of the steps in each state, in the order of time.

        Returns
        -------
        states : ndarray of int of shape (n_steps,)
            In the order of time.
        """
        with np.errstate(divide="ignore"):
            first, onward = np.log(self._first), np.log(self._onward)
            last = np.log(self._ended(np.ones(len(self.start))))
        best, came_from = log_b.copy(), np.zeros(log_b.shape, dtype=np.int32)
        before = None
        step = max(NUMBERS_AT_ONCE // onward.size, 1)
        for block in steps.blocks:
            own = best[block]
            if before is None:
                own += first
            for start in range(0, len(own) if before is not None else 0, step):
                part = slice(start, start + step)
                joint = before[: len(own)][part, None] + onward.T
                came_from[block][part] = joint.argmax(axis=2)
                own[part] += joint.max(axis=2)
            before = own
        states, n_after, after = np.empty(len(log_b), dtype=np.intp), 0, slice(0)
        for block in reversed(steps.blocks):
            own = states[block]
            own[n_after:] = (best[block][n_after:] + last).argmax(axis=1)
            if n_after:
                own[:n_after] = came_from[after][np.arange(n_after), states[after]]
            n_after, after = len(own), block
        return states

    def draw_given(self, steps, passed, rng):
        """Draw states from their joint distribution given all steps: forward filtering, backward sampling.

        Parameters
        ----------
        steps : StepOrder
            Steps of the sequences, none of which is cut.
        passed : Filtered
            What :meth:`forward` has found.
        rng : Generator
            Where random numbers come from.

        Returns
        -------
        states : ndarray of int of shape (n_steps,)
            In the order of time.
        """
        states, onward = np.empty(len(passed.filtered), dtype=np.intp), self._onward
        n_after, after = 0, slice(0)
        for block in reversed(steps.blocks):
            own, p = states[block], passed.filtered[block].copy()
            p[n_after:] = _normalised(self._ended(p[n_after:]), p[n_after:])
            if n_after:
                p[:n_after] = _normalised(p[:n_after] * onward[:, states[after]].T, p[:n_after])
            own[:] = _chosen(p, rng)
            n_after, after = len(own), block
        return states

    def draw(self, n_samples, lengths, rng):
        """Draw states.

        Parameters
        ----------
        n_samples : int
            Number of sequences.
        lengths : ndarray of int of shape (n_samples,) or None
            Their lengths, None if the chain stops.
        rng : Generator
            Where random numbers come from.

        Returns
        -------
        states : ndarray of int of shape (n_steps,)
            Sequence after sequence.
        lengths : ndarray of int of shape (n_samples,)
            How many states each has.
        """
        alive, states, found = np.arange(n_samples), np.empty(0, dtype=np.intp), []
        while True:
            if lengths is not None:
                goes_on = lengths[alive] > len(found)
            else:
                stop = self.stop[states] if found else np.full(n_samples, self.empty)
                goes_on = rng.random(len(alive)) >= stop
            p = (
                self.transition[states[goes_on]]
                if found
                else np.tile(self.start, (goes_on.sum(), 1))
            )
            alive = alive[goes_on]
            if not len(alive):
                break
            states = _chosen(p, rng)
            found.append((alive, states))
        if not found:
            return states, np.zeros(n_samples, dtype=np.intp)
        sequence, states = (np.concatenate(part) for part in zip(*found, strict=True))
        return states[np.argsort(sequence, kind="stable")], np.bincount(
            sequence, minlength=n_samples
        )


def _share(counts, total, alpha, prior):
    """Return shares with pseudo-counts; those of the prior where there is nothing to count."""
    total = np.asarray(total + alpha, dtype=np.float64)
    drawn = np.asarray(counts + alpha * prior, dtype=np.float64)
    return np.divide(drawn, total, out=np.full(drawn.shape, prior), where=total > 0)


def _times(vectors, matrix):
    """Return products of vectors on the last axis with a matrix, all of them in one product."""
    return (vectors.reshape(-1, len(matrix)) @ matrix).reshape(vectors.shape)


def _in_logs(p, log_b):
    """Return predicted probabilities times densities that are too small for products, by their logarithms.

    Returns
    -------
    joint : ndarray of shape (n, n_states)
        The products over the highest of a step; for an impossible one the predicted probabilities, which sum to one.
    total : ndarray of shape (n,)
        Their sums, 0 for an impossible step.
    highest : ndarray of shape (n,)
        Logarithms of the highest ones.
    """
    with np.errstate(divide="ignore"):
        log_joint = np.log(p) + log_b
    highest = log_joint.max(axis=1)
    possible = highest > -np.inf
    highest = np.where(possible, highest, 0.0)
    joint = np.exp(log_joint - highest[:, None])
    joint = np.where(possible[:, None], joint, _normalised(p, np.ones_like(p)))
    return joint, np.where(possible, joint.sum(axis=1), 0.0), highest


def _normalised(p, otherwise):
    """Return rows that sum to one, made of other ones where the sum is 0."""
    total = p.sum(axis=1, keepdims=True)
    p = np.where(total > 0, p, otherwise)
    return p / p.sum(axis=1, keepdims=True)


def _chosen(p, rng):
    """Draw a place of each row of probabilities."""
    upper = np.cumsum(p, axis=1)
    chosen = (upper <= rng.random((len(p), 1)) * upper[:, -1:]).sum(axis=1)
    return chosen.clip(max=p.shape[1] - 1)
