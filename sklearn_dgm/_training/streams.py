"""Rows of a table that is read a chunk at a time, as they come to train: shuffled, and those that validate left out."""

from typing import Any

import numpy as np
import torch

from sklearn_dgm._training.batches import WeightedRows
from sklearn_dgm.chunks import SAMPLE_ROWS
from sklearn_dgm.columns._bulk import REACH
from sklearn_dgm.nn.completion import redraw

# An epoch takes so many rows at most, or on a large table validation would come too seldom.
EPOCH_ROWS = 2**16
# Rows that are shuffled among each other at once, in wide tables as many as have so many cells.
BUFFER_ROWS, BUFFER_CELLS = SAMPLE_ROWS, 2**24


class StreamedChunksMixin:
    """Networks that learn from tables that are read a chunk at a time.

    It stands before :class:`~sklearn_dgm._training.base.TrainingMixin`. What is settled before training, and the rows
    that validate, are of a sample; others train, read anew in each pass.
    """

    def _start_chunks(self, X, sample_weight, *, schema=None):
        if self._continues():
            schema = self.schema_
        return super()._start_chunks(X, sample_weight, schema=schema)

    def _fit_chunks(self, rows):
        Z, weight = rows.sample
        if len(Z) < rows.n_rows:  # else the sample is the table
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


class StreamMixin:
    """Rows of which each pass takes the next of a stream; it stands before :class:`WeightedRows`."""

    is_fixed = False
    _form: Any = TableForm

    def _follow_stream(self, blocks):
        """Take what :func:`shuffled_blocks` yields."""
        self._blocks, self._held, self._n_passes = blocks, [], 0

    def training_state(self):
        """Return how far the stream has been read."""
        return {"n_passes": self._n_passes}

    def set_training_state(self, state):
        """Read as far again."""
        while self._n_passes < state["n_passes"]:
            self._next(len(self))

    def _next(self, n_rows):
        """Return Z and weight of the next rows."""
        while sum(len(weight) for _, weight in self._held) < n_rows:
            self._held.append(next(self._blocks))
        Z, weight = _joined(self._held, self._form)
        rest = np.arange(n_rows, len(weight))  # in memory of their own
        self._held = [(Z[rest], weight[rest])]
        self._n_passes += 1
        return Z[:n_rows], weight[:n_rows]


class StreamedRows(StreamMixin, WeightedRows):
    """Rows of a table of which each pass takes the next of a stream.

    Parameters
    ----------
    first : WeightedRows
        Rows of the same table, complete if missing cells are to be drawn: as many as a pass takes, or more.
    blocks : iterator of tuple of ndarray
        Z and weight of further rows, without end; see :func:`shuffled_blocks`.
    completes : bool
        Whether missing cells are drawn: each time a row comes, from what the first rows have in its place.
    """

    def __init__(self, first, blocks, completes):
        z = first.z
        n_rows = rows_of_pass(len(z), z.shape[1])
        super().__init__(z[:n_rows], first.weight[:n_rows])
        self.donors, self.completes = self.z, completes
        self._follow_stream(blocks)

    def follow(self, module):
        """Take the network that draws missing cells."""
        self.module = module

    def before_pass(self, index):
        """Take the next rows, as many as there were before."""
        z, weight = (torch.from_numpy(part).to(self.z) for part in self._next(len(self)))
        if self.completes and z.isnan().any():
            start = torch.where(z.isnan(), self.donors, z)
            z = redraw(self.module, z, start)
        self.z, self.weight = z, weight.to(self.weight)


def rows_of_pass(n_rows, n_cells):
    """Return how many rows a pass takes, of so many that there are at first, and so many cells each."""
    return min(n_rows, EPOCH_ROWS, max(BUFFER_CELLS // max(n_cells, 1), 1))


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
