"""Sequences that are read a chunk at a time, and what their schema has to know of all of them."""

import copy
from contextlib import nullcontext

import numpy as np

from sklearn_dgm._sklearn import safe_indexing
from sklearn_dgm.chunks._sources import reader_of_sequences
from sklearn_dgm.chunks._summary import RowsSummary, TableSummary
from sklearn_dgm.chunks._tables import Chunk, Chunks, columns_of
from sklearn_dgm.columns import is_table
from sklearn_dgm.columns._sequence_schema import check_lengths
from sklearn_dgm.columns._sequences import naming_steps, read_sequences

# A chunk has so many sequences at most, which may be long.
SEQUENCES_AT_ONCE = 8192


class SequenceChunks(Chunks):
    """Sequences that are read a chunk at a time: the table of a :class:`Chunk` is a container of such."""

    @classmethod
    def of(cls, X, rows_at_once=SEQUENCES_AT_ONCE, *, once=False):
        """Return the chunks of sequences; see :meth:`Chunks.of`."""
        return cls(reader_of_sequences(X, rows_at_once, once), rows_at_once)

    @staticmethod
    def _columns_of(table):
        has_columns = is_table(table) or getattr(table, "ndim", 1) == 3
        return columns_of(table) if has_columns else "sequences one by one"


class _Steps(Chunk):
    """Steps of sequences, which errors name in their own way."""

    def naming_rows(self):
        return nullcontext()


class SequenceSummary(RowsSummary):
    """What the schema of sequences needs to know of them, which may come in parts.

    The columns of a step are learnt as :class:`~sklearn_dgm.chunks.TableSummary` learns those of a table, of all steps
    under each other; lengths are counted, and whole sequences are sampled. Few enough are all in the sample.

    Parameters
    ----------
    schema : SequenceSchema
        One that is not fitted.
    n_rows : int, default=None
        Not used.
    numbers : int, default=1
        How many numbers a cell of a sequence takes up where the model starts; the more, the smaller is the sample.
    """

    def __init__(self, schema, n_rows=None, numbers=1):
        super().__init__(schema)  # the size of the sample depends on lengths that are to come
        self._numbers, self._steps, self._n_steps = numbers, TableSummary(schema.steps), 0
        self._weights: dict[int, float] = {}
        self._first = self._kind = None

    def add(self, chunk, weight=None):
        """Look at further sequences.

        Parameters
        ----------
        chunk : Chunk
            The sequences.
        weight : ndarray of shape (n,), default=None
            Their weights. Sequences of weight 0 are checked, and nothing else.

        Raises
        ------
        ValueError
            If a step has a value that :class:`TableSummary` refuses, or the sequences are others than those before: of
            another type or, where it is fixed, length.
        """
        positions, X = chunk
        weight = np.ones(len(positions)) if weight is None else weight
        with chunk.naming_rows():
            form, table, lengths = read_sequences(X)
            self._check_alike(form, table, lengths)
            kept = self._add_steps(X, table, lengths, weight)
        rows = np.flatnonzero(weight)
        cells = self._numbers * lengths * table.shape[1]
        kept = np.searchsorted(rows, np.unique(kept))
        own = X if len(rows) == len(weight) else safe_indexing(X, rows)
        self._add_rows(own, positions[rows], weight[rows], kept, cells[rows])
        distinct, place = np.unique(lengths[rows], return_inverse=True)
        for length, total in zip(distinct.tolist(), np.bincount(place, weight[rows]), strict=True):
            self._weights[length] = self._weights.get(length, 0.0) + float(total)

    def _check_alike(self, form, table, lengths):
        """Refuse sequences that are others than those before; of lists without steps that cannot be told."""
        if self._first is None:
            self._first = form, lengths[0]
        if form.is_fixed or self.schema.length == "fixed":
            check_lengths(lengths, self._first[1])
        if not lengths.any():
            return
        kind, columns = form.cell or form.container, columns_of(table)
        self._kind = self._kind or (kind, columns)
        if (kind, columns) != self._kind:
            of_first = "{} with {}".format(*self._kind)
            raise ValueError(
                f"X holds sequences of the form {kind} with {columns} from row 0 on, but of the form {of_first} before; "
                "all sequences should be of one type."
            )

    def _add_steps(self, X, table, lengths, weight):
        """Look at steps; return the sequences with what the sample is not to miss."""
        if not len(table):
            return np.empty(0, dtype=np.intp)
        steps = _Steps(np.arange(self._n_steps, self._n_steps + len(table)), table)
        with naming_steps(X, lengths):
            kept = self._steps.add(steps, np.repeat(weight, lengths))
        self._n_steps += len(table)
        return np.searchsorted(np.cumsum(lengths), kept, side="right")

    def fit_schema(self):
        """Fit the schema, and return it."""
        form = read_sequences(self.sample().table)[0]
        schema = copy.copy(self.schema)
        lengths = np.array([*self._weights], dtype=np.intp)
        schema.settle(form, lengths, np.array([*self._weights.values()]))
        schema.steps = self._steps.fit_schema()
        return schema
