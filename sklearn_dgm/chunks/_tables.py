"""A table that is read a chunk at a time, as often as one likes."""

import re
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from sklearn_dgm._sklearn import num_samples, safe_indexing
from sklearn_dgm.chunks._sources import is_dask, reader_of
from sklearn_dgm.columns import library_of
from sklearn_dgm.columns._values import distinct

# A chunk has so many rows at most.
ROWS_AT_ONCE = 65_536


@contextmanager
def naming_rows(positions):
    """Name rows, or sequences, by their positions in the whole table, in what errors say of some of its rows.

    Parameters
    ----------
    positions : ndarray of int of shape (n,)
        Where these rows stand.
    """

    def in_whole(found):
        if not found[1] or int(found[2]) >= len(positions):
            return found[0]
        return f"{found[1]} {positions[int(found[2])]}"

    def named(message):
        if not isinstance(message, str):
            return message
        # Labels of columns, which are quoted, stay as they are.
        return re.sub(r"(?<!\w)'[^']*'|\b([Rr]ow|[Ss]equence) (\d+)", in_whole, message)

    try:
        yield
    except (ValueError, TypeError) as error:
        error.args = tuple(map(named, error.args))
        raise


class Chunk(NamedTuple):
    """Some rows of a table.

    Attributes
    ----------
    positions : ndarray of int of shape (n,)
        Where they stand in the whole table.
    table : {ndarray, DataFrame} of shape (n, n_features)
        The rows.
    """

    positions: np.ndarray
    table: Any

    def naming_rows(self):
        """Name rows by their positions in the whole table, in what errors say of rows of the chunk."""
        return naming_rows(self.positions)


class Chunks:
    """A table that is read a chunk at a time: :class:`Chunk` by chunk, from the first one in each loop.

    Parameters
    ----------
    read : callable
        Returns an iterator of tables, the same ones each time.
    rows_at_once : int, default=65_536
        Rows that a chunk has at most.
    start : int, default=0
        Position of the first row, where these are some rows of a larger table.
    columns : str, default=None
        What its columns are, as :func:`columns_of` says; by default those of the first rows.

    Attributes
    ----------
    n_rows : int or None
        Their number, once all have been read.
    """

    def __init__(self, read, rows_at_once=ROWS_AT_ONCE, start=0, columns=None):
        self._read, self._rows_at_once = read, rows_at_once
        self._start, self._columns, self._n_rows = start, columns, None

    @property
    def n_rows(self):
        """Number of rows, once all have been read."""
        return self._n_rows

    @classmethod
    def of(cls, X, rows_at_once=ROWS_AT_ONCE, *, once=False):
        """Return the chunks of a table of any kind, which may lie in memory, too.

        Parameters
        ----------
        X : {array-like, DataFrame, memmap, path, list of path, Dataset, LazyFrame, iterable, Dask collection, Chunks}
            See :func:`is_chunked`.
        rows_at_once : int, default=65_536
            Rows that a chunk has at most.
        once : bool, default=False
            Whether there will be but one loop over the chunks, so that X may be an iterator.

        Returns
        -------
        chunks : Chunks
            The table.

        Raises
        ------
        TypeError
            If X can be read but once, and that is not enough.
        ImportError
            If a library is missing that reads X.
        """
        if isinstance(X, Chunks):
            return X
        if is_dask(X):
            from sklearn_dgm.chunks._dask import DaskChunks

            return DaskChunks.of(X, rows_at_once)
        return cls(reader_of(X, rows_at_once, once), rows_at_once)

    def through(self, function):
        """Return the chunks that a function makes of these; its errors name rows of the whole table."""
        return _ChunksThrough(self, function)

    def map(self, function):
        """Return the chunks whose tables a function makes of these tables."""
        return self.through(lambda chunk: Chunk(chunk.positions, function(chunk.table)))

    def without(self, positions):
        """Return the chunks without some rows, given by their increasing positions."""

        def rest(chunk):
            rows = np.flatnonzero(~np.isin(chunk.positions, positions, assume_unique=True))
            return Chunk(chunk.positions[rows], safe_indexing(chunk.table, rows))

        return self.through(rest)

    def total(self, function, *beside):
        """Sum up what a function says of the parts of the table, each where it lies; here there is but one.

        Parameters
        ----------
        function : callable
            Of :class:`Chunks`, and of the values beside them.
        *beside : object
            What :meth:`beside` has returned.

        Returns
        -------
        total : object
            Of what has a `+`.
        """
        return function(self, *beside)

    def beside(self, values, name, check):
        """Return values of all rows for :meth:`total`, in a form that positions of rows index.

        Parameters
        ----------
        values : array-like of shape (n_samples,) or None
            The values; None stays None.
        name : str
            What errors call them.
        check : callable
            Returns values of some rows as an array.

        Raises
        ------
        ValueError
            If it is known that there are more or fewer rows.
        """
        if values is None:
            return None
        values = check(values)
        if self.n_rows not in (None, len(values)):
            raise ValueError(f"{name} has {len(values)} entries, but X has {self.n_rows} rows.")
        return values

    def distinct(self, values):
        """Return the distinct ones among what :meth:`beside` has returned."""
        return distinct(values)

    def results(self, function):
        """Yield what a function returns for each table; its errors name rows of the whole table."""
        return (result for _, result in self.map(function))

    def __iter__(self):
        start, of_first, library = self._start, self._columns, None
        for table in self._read():
            n_rows = num_samples(table)
            if n_rows == 0:
                continue
            columns = self._columns_of(table)
            of_first = of_first or columns
            if columns != of_first:
                raise ValueError(
                    f"X has {columns} from row {start} on, but {of_first} before; all chunks of a table have the same "
                    "columns in the same order."
                )
            of_table = library_of(table)
            library = library or of_table
            if of_table != library:
                raise ValueError(
                    f"X is a DataFrame of {of_table} from row {start} on, but of {library} before; all chunks of a table are "
                    "of one library."
                )
            for first in range(0, n_rows, self._rows_at_once):
                rows = slice(first, min(first + self._rows_at_once, n_rows))
                positions = np.arange(start + rows.start, start + rows.stop)
                yield Chunk(positions, safe_indexing(table, rows))
            start += n_rows
        self._check_same_number(start - self._start)

    @staticmethod
    def _columns_of(table):
        return columns_of(table)

    def _check_same_number(self, n_rows):
        if self._n_rows not in (None, n_rows):
            raise ValueError(
                f"X had {self._n_rows} rows when it was read before, and {n_rows} now; each loop over it should give all "
                "chunks, from the first one on."
            )
        if n_rows == 0:
            raise ValueError("X holds 0 sample(s), while a minimum of 1 is required.")
        self._n_rows = n_rows


class _ChunksThrough(Chunks):
    """Chunks of others, through a function."""

    def __init__(self, chunks, function):
        self._chunks, self._function = chunks, function

    @property
    def n_rows(self):
        """Number of rows of the whole table, once all have been read."""
        return self._chunks.n_rows

    def __iter__(self):
        for chunk in self._chunks:
            with chunk.naming_rows():
                made = self._function(chunk)
            if len(made.positions):
                yield made


def columns_of(table):
    """Describe the columns of a table."""
    if hasattr(table, "columns"):
        return f"the columns {list(table.columns)}"
    n_columns = np.shape(table[0])[-1:] if isinstance(table, list | tuple) else table.shape[1:]
    n_columns = n_columns[0] if n_columns else "no"
    return f"{n_columns} {'column' if n_columns == 1 else 'columns'} without names"
