"""Rows of a table that is read a chunk at a time, as they come to train: shuffled, and those that validate left out."""

from typing import Any

import torch

from sklearn_dgm._training.batches import WeightedRows
from sklearn_dgm.chunks import BUFFER_CELLS, BlockReader, StreamedFitMixin, TableForm
from sklearn_dgm.nn.completion import redraw

# An epoch takes so many rows at most, or on a large table validation would come too seldom.
EPOCH_ROWS = 2**16


class StreamedChunksMixin(StreamedFitMixin):
    """Networks that learn from tables that are read a chunk at a time.

    It stands before :class:`~sklearn_dgm._training.base.TrainingMixin`. What is settled before training, and the rows
    that validate, are of a sample; others train, read anew in each pass.
    """

    def _start_chunks(self, X, sample_weight, *, schema=None):
        if self._continues():
            self._check_shape()
            schema = self.schema_
        return super()._start_chunks(X, sample_weight, schema=schema)


class StreamMixin:
    """Rows of which each pass takes the next of a stream; it stands before :class:`WeightedRows`."""

    is_fixed = False
    _form: Any = TableForm

    def _follow_stream(self, blocks):
        """Take what :func:`~sklearn_dgm.chunks.shuffled_blocks` yields."""
        self._stream, self._n_passes = BlockReader(blocks, self._form), 0

    def training_state(self):
        """Return how far the stream has been read."""
        return {"n_passes": self._n_passes}

    def set_training_state(self, state):
        """Read as far again."""
        while self._n_passes < state["n_passes"]:
            self._next()

    def _next(self):
        """Return Z and weight of the next rows."""
        self._n_passes += 1
        return self._stream.next_rows(len(self))


class StreamedRows(StreamMixin, WeightedRows):
    """Rows of a table of which each pass takes the next of a stream.

    Parameters
    ----------
    first : WeightedRows
        Rows of the same table, complete if missing cells are to be drawn, but for columns without observed cells: as
        many as a pass takes, or more.
    blocks : iterator of tuple of ndarray
        Z and weight of further rows, without end; see
        :func:`~sklearn_dgm.chunks.shuffled_blocks`.
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
        z, weight = (torch.from_numpy(part).to(self.z) for part in self._next())
        if self.completes and z.isnan().any():
            start = torch.where(z.isnan(), self.donors, z)
            z = redraw(self.module, z, start)
        self.z, self.weight = z, weight.to(self.weight)


def rows_of_pass(n_rows, n_cells):
    """Return how many rows a pass takes, of so many that there are at first, and so many cells each."""
    return min(n_rows, EPOCH_ROWS, max(BUFFER_CELLS // max(n_cells, 1), 1))
