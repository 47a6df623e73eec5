"""Steps of sequences in the order of time, so that all sequences take a step at once."""

from functools import cached_property

import numpy as np

# Sequences of so many steps are cut into pieces of so many, if there are few of them and few states.
LONG, LENGTH_OF_PIECES, FEW_SEQUENCES, FEW_STATES = 2048, 256, 8, 16


class StepOrder:
    """The steps of sequences in the order of time: a block of the first ones, a block of the second ones, and so on.

    Sequences are sorted by length, so that those of one block are the first ones of the block before. A few long ones
    are cut into pieces, which are sequences here.

    Parameters
    ----------
    lengths : ndarray of int of shape (n_sequences,)
        Numbers of steps.
    n_states : int or None, default=None
        How many states a chain has, by which it is settled whether to cut; None for no cut.

    Attributes
    ----------
    order : ndarray of int of shape (n_steps,)
        For each step in the order of time, which one it is.
    place : ndarray of int of shape (n_steps,)
        For each step, where it is in the order of time.
    blocks : list of slice
        The blocks.
    firsts, lasts : ndarray of int of shape (n_filled,)
        Where the first and the last steps of the sequences are that have some.
    pieces : list of tuple
        Of sequences that are cut: for each piece its place in the first block, the places of its steps, and whether a
        sequence begins with it.
    """

    def __init__(self, lengths, n_states=None):
        lengths = lengths[lengths > 0]
        starts, sizes = np.cumsum(lengths) - lengths, lengths
        self.firsts, self.lasts, self.pieces = starts, starts + lengths - 1, []
        is_cut = n_states is not None and _is_cut(lengths, n_states)
        if is_cut:
            starts, sizes = _cut(starts, lengths)
        by_size = np.argsort(-sizes, kind="stable")
        alive = np.searchsorted(-sizes[by_size], -np.arange(sizes.max(initial=0)))
        ends = np.cumsum(alive)
        self.blocks = [
            slice(end - n, end) for end, n in zip(ends.tolist(), alive.tolist(), strict=True)
        ]
        time = np.repeat(np.arange(len(alive)), alive)
        within = np.arange(len(time)) - (ends - alive)[time]
        self.order = starts[by_size][within] + time
        self.place = np.empty_like(self.order)
        self.place[self.order] = np.arange(len(time))
        if is_cut:
            parts = zip(
                np.argsort(by_size), starts, sizes, np.isin(starts, self.firsts), strict=True
            )
            self.pieces = [(i, self.place[start : start + n], new) for i, start, n, new in parts]
        self.firsts, self.lasts = self.place[self.firsts], self.place[self.lasts]

    @cached_property
    def pairs(self):
        """Places of steps that have one before, and of those before, both of shape (n_pairs,)."""
        has_before = np.ones(len(self.order), dtype=bool)
        has_before[self.firsts] = False
        (after,) = np.nonzero(has_before)
        return after, self.place[self.order[after] - 1]

    def back(self, in_time):
        """Return what there is one of for each step in the order of time in the order of the steps."""
        return in_time[self.place]


def _is_cut(lengths, n_states):
    longest = lengths.max(initial=0)
    is_long = longest >= LONG and lengths.sum() < FEW_SEQUENCES * longest
    return is_long and n_states <= FEW_STATES


def _cut(starts, lengths):
    """Return where the pieces of sequences begin, and how long they are."""
    n_pieces = -(-lengths // LENGTH_OF_PIECES)
    number = np.arange(n_pieces.sum()) - np.repeat(np.cumsum(n_pieces) - n_pieces, n_pieces)
    begins = LENGTH_OF_PIECES * number
    sizes = np.minimum(np.repeat(lengths, n_pieces) - begins, LENGTH_OF_PIECES)
    return np.repeat(starts, n_pieces) + begins, sizes
