"""Rows of a table that is read a chunk at a time in random order, for models that learn in batches."""

import numpy as np

from sklearn_dgm.chunks._sampling import SAMPLE_ROWS
from sklearn_dgm.columns._bulk import REACH

# Rows that are shuffled among each other at once, in wide tables as many as have so many cells.
BUFFER_ROWS, BUFFER_CELLS = SAMPLE_ROWS, 2**24


class StreamedFitMixin:
    """Models that learn in batches of a table that is read a chunk at a time.

    What is settled before, in `_fit`, is of a sample; `_streamed` is the table then, of which further rows come, unless
    the sample is the table.
    """

    def _fit_chunks(self, rows):
        Z, weight = rows.sample
        if len(Z) < rows.n_rows:
            self._streamed = rows
        try:
            self._fit(Z, weight)
        finally:
            vars(self).pop("_streamed", None)


class TableForm:
    """What a stream asks of encoded rows: that of tables.

    Parameters
    ----------
    prepare : callable, default=numpy.float32
        Returns encoded rows, no farther out than training can see, as they train.
    """

    def __init__(self, prepare=np.float32):
        self.prepare = prepare

    def seen(self, Z):
        """Return rows as training sees them."""
        return self.prepare(Z.clip(-REACH, REACH))

    @staticmethod
    def joined(parts):
        """Return the rows of all parts."""
        return np.concatenate(parts)

    @staticmethod
    def n_cells(Z):
        """Return how many cells a row has."""
        return Z.shape[1]


class BlockReader:
    """Read as many rows at once as are asked for.

    Parameters
    ----------
    blocks : iterator of tuple
        Rows and their weights, without end; see :func:`shuffled_blocks`.
    form : TableForm, or another one of its methods
        What the rows are.
    """

    def __init__(self, blocks, form=TableForm):
        self._blocks, self._form, self._held = blocks, form, []

    def next_rows(self, n_rows):
        """Return the next rows, and their weights."""
        while sum(len(weight) for _, weight in self._held) < n_rows:
            self._held.append(next(self._blocks))
        Z, weight = _joined(self._held, self._form)
        rest = np.arange(n_rows, len(weight))  # in memory of their own
        self._held = [(Z[rest], weight[rest])]
        return Z[:n_rows], weight[:n_rows]


def shuffled_blocks(rows, held_out, mean_weight, rng, form):
    """Yield rows in random order, from the first one again when all have been read, without end.

    Parameters
    ----------
    rows : EncodedChunks
        The table.
    held_out : ndarray of int
        Positions of rows that are left out, increasing.
    mean_weight : float
        What weights are divided by.
    rng : numpy.random.Generator
        Source of the order.
    form : TableForm, or another one of its methods
        What Z is, and how it trains.

    Yields
    ------
    Z, weight : tuple of ndarray of shape (n, d) and (n,)
        Rows as they train.
    """
    while True:
        parts, n_held = [], 0
        for Z, weight, positions in rows.with_positions():
            kept = np.flatnonzero(~np.isin(positions, held_out, assume_unique=True))
            weight = np.ones(len(kept)) if weight is None else weight[kept] / mean_weight
            seen = form.seen(Z[kept])
            parts.append((seen, weight))
            n_held += len(kept)
            capacity = max(min(BUFFER_ROWS, BUFFER_CELLS // form.n_cells(seen)), 2)
            while n_held >= capacity:
                block, held = _drawn(parts, capacity // 2, rng, form)
                yield block
                parts, n_held = [held], len(held[1])
        if n_held:
            yield _drawn(parts, n_held, rng, form)[0]


def _joined(parts, form):
    """Return the rows of all parts, and their weights."""
    Z, weight = zip(*parts, strict=True)
    return form.joined(Z), np.concatenate(weight)


def _drawn(parts, n_rows, rng, form):
    """Return some of the rows that parts hold, drawn at random, and the others."""
    Z, weight = _joined(parts, form)
    order = rng.permutation(len(weight))
    return tuple((Z[of], weight[of]) for of in (order[:n_rows], order[n_rows:]))
