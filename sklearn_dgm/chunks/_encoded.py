"""The rows of a table that is read a chunk at a time, as models see them."""

import numpy as np

from sklearn_dgm._sklearn import num_samples
from sklearn_dgm._validation import check_weights
from sklearn_dgm.chunks._summary import TableSummary
from sklearn_dgm.chunks._tables import naming_rows


class EncodedChunks:
    """Encoded rows of a table that is read a chunk at a time, in loops that give pairs of Z and weight.

    Z is of shape (n, n_features), as :meth:`~sklearn_dgm.columns.ColumnSchema.encode` returns it; weight is of shape
    (n,), or None where no weights were given. Rows of weight 0 are left out.

    Parameters
    ----------
    chunks : Chunks
        The table, checked.
    schema : ColumnSchema
        How it is encoded.
    sample_weight : ndarray or None
        Weights of all rows.
    summary : TableSummary
        Of all rows.

    Attributes
    ----------
    n_rows : int
        Number of rows, those of weight 0 left out.
    n_read : int
        Number of all rows.
    sample : tuple of ndarray
        Z and weight of some rows: a uniform sample, and rows with the extremes, the categories and a missing cell of
        each column, which are what a sample might lack; so small tables are there as they are. Rules that weigh what
        they see, such as those that choose a number of cells, are to take it for the rows that it is: rows that stand
        for many would seem to prove what is noise.
    sample_positions : ndarray of int
        Where the rows of the sample stand in the whole table, increasing.
    stands_for : ndarray of shape (n_sample,)
        For how many rows each of them was drawn: whole numbers, 1 for those with what a sample might lack. Means and
        the like of all rows take them as further weights.
    """

    def __init__(self, chunks, schema, sample_weight, summary):
        self._chunks, self._schema, self._weight = chunks, schema, sample_weight
        self.n_rows, self.n_read = summary.n_rows, chunks.n_rows
        rows = summary.sample()
        self.sample = schema.encode(rows.table)[0], None if sample_weight is None else rows.weight
        self.sample_positions, self.stands_for = rows.positions, rows.stands_for

    @classmethod
    def of(cls, chunks, own, sample_weight=None, schema=None):
        """Read a table once, for its schema and a sample.

        Parameters
        ----------
        chunks : Chunks
            The table, checked.
        own : ColumnSchema
            One that is not fitted: how the columns are to be read.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of all rows.
        schema : ColumnSchema, default=None
            A fitted one to be taken in place of what the rows say.

        Returns
        -------
        rows : EncodedChunks
            The rows.
        schema : ColumnSchema
            Their schema.
        """
        if sample_weight is not None:
            sample_weight = check_weights(np.empty(num_samples(sample_weight)), sample_weight)
        summary = TableSummary(own)
        for chunk in chunks:
            weight = _weights_of(chunk, sample_weight)
            summary.add(chunk, weight)
            if schema is not None:
                with chunk.naming_rows():
                    own.check_alike(schema, chunk.table, weight)
        if sample_weight is not None and len(sample_weight) != chunks.n_rows:
            raise _wrong_number(len(sample_weight), f"{chunks.n_rows}")
        schema = summary.fit_schema() if schema is None else schema
        return cls(chunks, schema, sample_weight, summary), schema

    def __iter__(self):
        return ((Z, weight) for Z, weight, _ in self.with_positions())

    def map(self, function):
        """Yield what a function of Z and weight returns of each chunk; its errors name rows of the whole table."""
        for Z, weight, positions in self.with_positions():
            with naming_rows(positions):
                result = function(Z, weight)
            yield result

    def with_positions(self):
        """Yield Z, weight and the positions of the rows in the whole table, for :func:`row_keys`."""
        for chunk in self._chunks:
            weight = _weights_of(chunk, self._weight)
            with chunk.naming_rows():
                Z = self._schema.encode(chunk.table)[0]
            positions = chunk.positions
            if weight is not None and not weight.all():
                rows = np.flatnonzero(weight)
                Z, weight, positions = Z[rows], weight[rows], positions[rows]
            if len(Z):
                yield Z, weight, positions


def _weights_of(chunk, sample_weight):
    """Return the weights of the rows of a chunk."""
    if sample_weight is None:
        return None
    if chunk.positions[-1] >= len(sample_weight):
        raise _wrong_number(len(sample_weight), f"more than {chunk.positions[-1]}")
    return sample_weight[chunk.positions]


def _wrong_number(n_weights, n_rows):
    return ValueError(f"sample_weight has {n_weights} entries, but X has {n_rows} rows.")
