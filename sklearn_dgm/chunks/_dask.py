"""Tables of Dask: their partitions are the parts of a table, which are read and summed up where they lie."""

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from sklearn_dgm.chunks._sums import sum_of
from sklearn_dgm.chunks._tables import ROWS_AT_ONCE, Chunks, columns_of
from sklearn_dgm.columns._values import distinct

try:
    import dask.array as da
    from dask import compute, delayed
except ImportError as error:
    raise ImportError(
        "Tables of Dask need dask and distributed; install them (pip install 'sklearn-dgm[dask]')."
    ) from error

# So many sums of parts are summed up at once.
SUMMED_AT_ONCE = 8


class DaskChunks(Chunks):
    """A table of Dask, a chunk of a partition at a time.

    Parameters
    ----------
    partitions : list of Delayed
        Tables with the rows of each partition.
    lengths : sequence of int
        Their numbers of rows, some of which may be 0.
    columns : str
        What their columns are.
    rows_at_once : int
        Rows that a chunk has at most.
    functions : tuple of callable, default=()
        Of chunks, through which these go one after the other.
    """

    def __init__(self, partitions, lengths, columns, rows_at_once, functions=()):
        self._partitions, self._lengths, self._columns = partitions, lengths, columns
        self._rows_at_once, self._functions = rows_at_once, functions

    @classmethod
    def of(cls, X, rows_at_once=ROWS_AT_ONCE):
        """Return the chunks of a DataFrame or an array of Dask, of which the rows are counted."""
        lengths = _lengths_of(X)
        if not sum(lengths):
            raise ValueError("X holds 0 sample(s), while a minimum of 1 is required.")
        return cls(_partitions_of(X), lengths, columns_of(X), rows_at_once)

    @property
    def n_rows(self):
        """Number of rows of the whole table."""
        return sum(self._lengths)

    def through(self, function):
        """Return the chunks that a function makes of these; its errors name rows of the whole table."""
        functions = (*self._functions, function)
        return DaskChunks(
            self._partitions, self._lengths, self._columns, self._rows_at_once, functions
        )

    def __iter__(self):
        for table, start in self._with_starts():
            yield from self._settings.chunks_of(compute(table)[0], start)

    def total(self, function, *beside):
        """Sum up what a function says of the partitions; it is shipped to each process once."""
        function = _as_node(partial(_total_of_partition, function, self._settings))
        of_parts = [None if values is None else values.parts for values in beside]
        sums = [
            function(table, start, *(parts and parts[i] for parts in of_parts))
            for i, (table, start) in enumerate(self._with_starts())
        ]
        while len(sums) > 1:
            groups = range(0, len(sums), SUMMED_AT_ONCE)
            sums = [delayed(sum_of)(sums[i : i + SUMMED_AT_ONCE]) for i in groups]
        return compute(sums[0])[0]

    def beside(self, values, name, check):
        """Return values of all rows, or None, for :meth:`total`: those of Dask stay where they are."""
        if values is None:
            return None
        if not hasattr(values, "dask"):
            values = da.from_array(check(values), chunks=-1)
        lengths = _lengths_of(values)
        if sum(lengths) != self.n_rows:
            raise ValueError(f"{name} has {sum(lengths)} entries, but X has {self.n_rows} rows.")
        parts = [delayed(check)(part) for part in _partitions_of(values)]
        if lengths != self._lengths:
            whole = _joined(parts, lengths, np.empty(0, values.dtype))
            parts = whole.rechunk((self._lengths,)).to_delayed().tolist()
        return _Beside(parts, self.n_rows)

    def distinct(self, values):
        """Return the distinct ones among what :meth:`beside` has returned."""
        return distinct(np.concatenate(compute(*map(delayed(distinct), values.parts))))

    @property
    def _settings(self):
        return _Settings(self._columns, self._rows_at_once, self._functions)

    def _with_starts(self):
        starts = np.cumsum([0, *self._lengths]).tolist()
        return zip(self._partitions, starts, strict=False)


class _Settings(NamedTuple):
    """How a partition is read."""

    columns: str
    rows_at_once: int
    functions: tuple

    def chunks_of(self, table, start):
        """Yield the chunks of a partition."""
        return self.part(table, start) if len(table) else ()

    def part(self, table, start):
        """Return a partition that has rows as chunks."""
        chunks = Chunks(lambda: iter([table]), self.rows_at_once, start, self.columns)
        for function in self.functions:
            chunks = chunks.through(function)
        return chunks


class _Beside(NamedTuple):
    """Values beside the rows, by partition."""

    parts: list
    n_rows: int

    def __len__(self):
        return self.n_rows


class _At(NamedTuple):
    """Values of the rows of a partition, by positions in the whole table."""

    values: Any
    start: int

    def __getitem__(self, positions):
        return self.values[positions - self.start]

    def __len__(self):
        return self.start + len(self.values)


def _total_of_partition(function, settings, table, start, *beside):
    """Return what a function says of a partition, None if it has no rows."""
    if len(table) == 0:
        return None
    at = (None if values is None else _At(values, start) for values in beside)
    return function(settings.part(table, start), *at)


def by_partition(X, function, of_none, n_results=1):
    """Apply a function to the rows of each partition, once somebody asks for the results.

    Parameters
    ----------
    X : {dask DataFrame, dask Array}
        The table.
    function : callable
        Returns an array of shape (n, ...) of a table of n rows, or several of them in a tuple; it is shipped to
        each process once.
    of_none : ndarray of shape (0, ...)
        What such an array is of no rows.
    n_results : int, default=1
        Number of arrays that it returns.

    Returns
    -------
    results : dask Array of shape (n_samples, ...), or tuple of such
        In chunks as X is; their sizes are unknown where those of X are.
    """
    function = _as_node(partial(_rows_of_partition, function, of_none, n_results))
    lengths = X.chunks[0] if hasattr(X, "chunks") else [np.nan] * X.npartitions
    parts = [function(table) for table in _partitions_of(X)]
    results = [_joined([part[i] for part in parts], lengths, of_none) for i in range(n_results)]
    return results[0] if n_results == 1 else tuple(results)


def _rows_of_partition(function, of_none, n_results, table):
    if len(table) == 0:
        return (of_none,) * n_results
    results = function(table)
    return (results,) if n_results == 1 else results


def _joined(parts, lengths, of_none):
    """Return delayed arrays as one array of Dask; `of_none` is what they are without rows."""
    arrays = [
        da.from_delayed(part, (n, *of_none.shape[1:]), meta=of_none)
        for part, n in zip(parts, lengths, strict=True)
    ]
    return da.concatenate(arrays, allow_unknown_chunksizes=True)


def _as_node(function):
    """Return a function as the result of a task: what tasks depend on comes to each process once."""
    return delayed(_itself)(function)


def _itself(function):
    return function


def _partitions_of(X):
    """Return the partitions of a table, or of a column, as delayed objects."""
    if hasattr(X, "to_dask_array"):
        return X.to_delayed()
    return X.rechunk({1: -1}).to_delayed()[:, 0].tolist() if X.ndim > 1 else X.to_delayed().tolist()


def _lengths_of(X):
    """Return the number of rows of each partition, which are counted where they are not known."""
    if hasattr(X, "chunks") and not np.isnan(X.chunks[0]).any():
        return X.chunks[0]
    if hasattr(X, "iloc"):
        X = X.iloc[:, :1]  # all that is read of a file by columns
    return compute(*map(delayed(len), _partitions_of(X)))
