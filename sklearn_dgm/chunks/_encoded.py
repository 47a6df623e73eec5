"""The rows of a table that is read a chunk at a time, as models see them."""

from functools import partial

import numpy as np

from sklearn_dgm._validation import check_weights
from sklearn_dgm.chunks._summary import TableSummary
from sklearn_dgm.chunks._sums import sum_of
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
    summary : TableSummary, or another one of its methods
        Of all rows.

    Attributes
    ----------
    chunks : Chunks
        The table.
    n_rows : int
        Number of rows, those of weight 0 left out.
    mean_weight, largest_weight : float
        Of these rows.
    sample : tuple of ndarray
        Z and weight of some rows: a uniform sample, and rows with the extremes, the categories and a missing cell of
        each column, which are what a sample might lack; so small tables are there as they are. Rules that weigh what
        they see, such as those that choose a number of cells, are to take it for the rows that it is: rows that stand
        for many would seem to prove what is noise.
    sample_table : {ndarray, DataFrame} of shape (n_sample, n_features)
        These rows as they were read.
    sample_positions : ndarray of int
        Where the rows of the sample stand in the whole table, increasing.
    stands_for : ndarray of shape (n_sample,)
        For how many rows each of them was drawn: whole numbers, 1 for those with what a sample might lack. Means and
        the like of all rows take them as further weights.
    """

    def __init__(self, chunks, schema, sample_weight, summary):
        self.chunks, self._schema, self._weight = chunks, schema, sample_weight
        self.n_rows = summary.n_rows
        self.mean_weight = summary.total_weight / max(summary.n_rows, 1)
        self.largest_weight = summary.largest_weight
        rows = summary.sample()
        self.sample = schema.encode(rows.table)[0], None if sample_weight is None else rows.weight
        self.sample_table = rows.table
        self.sample_positions, self.stands_for = rows.positions, rows.stands_for

    @classmethod
    def of(cls, chunks, own, sample_weight=None, schema=None, summarise=TableSummary):
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
        summarise : callable, default=TableSummary
            Makes a summary of rows, given such a schema and the number of rows, if it is known.

        Returns
        -------
        rows : EncodedChunks
            The rows.
        schema : ColumnSchema
            Their schema.
        """
        weight = chunks.beside(sample_weight, "sample_weight", _checked)
        n_rows = chunks.n_rows if weight is None else None  # of which some may weigh nothing
        of_part = partial(_summary_of, own=own, schema=schema, n_rows=n_rows, summarise=summarise)
        summary = chunks.total(of_part, weight)
        if weight is not None and len(weight) != chunks.n_rows:
            raise _wrong_number(len(weight), f"{chunks.n_rows}")
        schema = summary.fit_schema() if schema is None else schema
        return cls(chunks, schema, weight, summary), schema

    def __iter__(self):
        return ((Z, weight) for Z, weight, _ in self.with_positions())

    def with_positions(self):
        """Yield Z, weight and the positions of the rows in the whole table, for :func:`row_keys`."""
        return _encoded(self.chunks, self._weight, self._schema)

    def total(self, function, *beside):
        """Sum up what a function returns of the rows, a chunk at a time, each where it lies.

        Parameters
        ----------
        function : callable
            Of Z and weight, and of the values of these rows in each of `beside`; its errors name rows of the whole
            table.
        *beside : object
            What :meth:`Chunks.beside` has returned.

        Returns
        -------
        total : object
            Of what has a `+`, and does not depend on their order but for the last bits of floats.
        """
        of_part = partial(_total_of, function=function, schema=self._schema)
        return self.chunks.total(of_part, self._weight, *beside)


def _summary_of(chunks, sample_weight, own, schema, n_rows, summarise):
    """Summarise some chunks; a schema that is given should be able to stand in for their own."""
    summary = summarise(own, n_rows)
    for chunk in chunks:
        weight = _weights_of(chunk, sample_weight)
        summary.add(chunk, weight)
        if schema is not None:
            with chunk.naming_rows():
                own.check_alike(schema, chunk.table, weight)
    return summary


def _total_of(chunks, sample_weight, *beside, function, schema):
    """Sum up what a function returns of some chunks; None if no row has weight."""

    def results():
        for Z, weight, positions in _encoded(chunks, sample_weight, schema):
            with naming_rows(positions):
                yield function(Z, weight, *(values[positions] for values in beside))

    return sum_of(results())


def _encoded(chunks, sample_weight, schema):
    """Yield Z, weight and positions of the rows that have weight."""
    for chunk in chunks:
        weight = _weights_of(chunk, sample_weight)
        with chunk.naming_rows():
            Z = schema.encode(chunk.table)[0]
        positions = chunk.positions
        if weight is not None and not weight.all():
            rows = np.flatnonzero(weight)
            Z, weight, positions = Z[rows], weight[rows], positions[rows]
        if len(Z):
            yield Z, weight, positions


def _checked(sample_weight):
    """Check weights of some rows, which may all be zero."""
    if np.ndim(sample_weight) != 1:
        raise ValueError(
            f"sample_weight should have one weight for each row of X, got {np.ndim(sample_weight)} dimensions."
        )
    weight = np.append(sample_weight, 1.0)
    return check_weights(np.empty(len(weight)), weight)[:-1]


def _weights_of(chunk, sample_weight):
    """Return the weights of the rows of a chunk."""
    if sample_weight is None:
        return None
    if chunk.positions[-1] >= len(sample_weight):
        raise _wrong_number(len(sample_weight), f"at least {chunk.positions[-1] + 1}")
    return sample_weight[chunk.positions]


def _wrong_number(n_weights, n_rows):
    return ValueError(f"sample_weight has {n_weights} entries, but X has {n_rows} rows.")
