"""Scores and draws of more rows than memory holds: methods of all densities and generators."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from sklearn_dgm._typing import MatrixLike, RandomState
from sklearn_dgm._validation import check_count, check_generator
from sklearn_dgm.chunks._parquet import write_parquet
from sklearn_dgm.chunks._progress import with_progress
from sklearn_dgm.chunks._sources import is_chunked, is_dask
from sklearn_dgm.chunks._tables import ROWS_AT_ONCE, Chunks
from sklearn_dgm.tags import densities_within, get_density_tags

NO_SCORES = np.empty(0)


class ChunkedMixin:
    """What estimators have in common that take tables a chunk at a time, or give such."""

    def _is_chunked(self, X):
        """Tell whether X is a table to be read a chunk at a time; sequences come in containers of their own."""
        return is_chunked(X) and not self._takes_sequences()

    def _takes_sequences(self):
        return any(get_density_tags(density).sequences for density in densities_within(self))

    def _chunks_of(self, X, chunk_rows=ROWS_AT_ONCE, *, once=False):
        """Return the chunks of a table that is to be read so."""
        return Chunks.of(X, chunk_rows, once=once)

    def _check_part(self, X, schema, *, is_first):
        """Refuse what `partial_fit` does not take, before it looks at the rows."""
        if schema is not None and not is_first:
            raise ValueError("schema is for the first call of partial_fit, which settles it.")
        if self._is_chunked(X) and not isinstance(X, np.memmap):  # which is an array as well
            raise TypeError(
                "partial_fit takes rows in memory, but X is to be read a chunk at a time. Call fit, which reads it "
                "itself, or partial_fit for each of its parts."
            )

    def _by_chunk(self, X, function, n_results=1, of_none=NO_SCORES):
        """Return what a function says of each row of a table that is read in chunks; lazily, if it is Dask's.

        Parameters
        ----------
        X : object
            The table.
        function : callable
            Returns an array of shape (n, ...) of n rows, or several of them in a tuple.
        n_results : int, default=1
            Number of arrays that it returns.
        of_none : ndarray of shape (0, ...)
            What such an array is of no rows; by default those are scores.

        Returns
        -------
        results : array of shape (n_samples, ...), or tuple of such
            Of all rows.
        """
        check_is_fitted(self)
        if is_dask(X):
            from sklearn_dgm.chunks._dask import by_partition

            return by_partition(X, function, of_none, n_results)
        scored = self._chunks_of(X, once=True).map(function)
        told = with_progress(scored, "scored", verbose=getattr(self, "verbose", 0))
        return _concatenated([scores for _, scores in told])


class ChunkedScoresMixin(ChunkedMixin):
    """Scores of tables that are read a chunk at a time."""

    def iter_scores(
        self, X: MatrixLike, chunk_rows: int = ROWS_AT_ONCE
    ) -> Iterator[NDArray[np.float64]]:
        """Score rows a chunk at a time, so that memory holds neither all of them nor all scores.

        Parameters
        ----------
        X : {array-like, DataFrame, memmap, path, list of path, Dataset, LazyFrame, iterable}
            Rows to score: what `score_samples` takes, such as an iterator of tables, which is read once.
        chunk_rows : int, default=65_536
            Rows that are scored at once, at most.

        Returns
        -------
        scores : iterator of ndarray of shape (n_chunk,)
            What `score_samples` returns for the rows of each chunk, in the order of the rows.
        """
        check_is_fitted(self)
        check_count(chunk_rows, "chunk_rows")
        if self._is_chunked(X):
            chunks = self._chunks_of(X, chunk_rows, once=True)
        else:  # of which nothing is asked but its rows: those of a list of sequences may look like tables
            chunks = Chunks(lambda: iter([X]), chunk_rows)
        return chunks.results(self.score_samples)


def _concatenated(parts):
    if isinstance(parts[0], tuple):
        return tuple(map(np.concatenate, zip(*parts, strict=True)))
    return np.concatenate(parts)


class ChunkedDrawsMixin(ChunkedMixin):
    """Draws of more rows than memory holds."""

    def iter_samples(
        self, n_samples: int, chunk_rows: int = ROWS_AT_ONCE, random_state: RandomState = None
    ) -> Iterator[MatrixLike]:
        """Draw new rows a chunk at a time.

        Parameters
        ----------
        n_samples : int
            Number of rows in all.
        chunk_rows : int, default=65_536
            Rows that are drawn at once, at most.
        random_state : int, RandomState, Generator or None, default=None
            Seed for reproducible rows, which depend on `chunk_rows`, too.

        Returns
        -------
        tables : iterator of {ndarray, DataFrame} of shape (n_chunk, n_features)
            What `sample` returns.

        Raises
        ------
        ValueError
            If `n_samples` or `chunk_rows` is not a positive integer.
        """
        check_is_fitted(self)
        check_count(n_samples, "n_samples")
        check_count(chunk_rows, "chunk_rows")
        rng, starts = check_generator(random_state), range(0, n_samples, chunk_rows)
        sizes = (min(chunk_rows, n_samples - start) for start in starts)
        return (self.sample(size, random_state=rng) for size in sizes)

    def sample_to_parquet(
        self,
        path: str | Path,
        n_samples: int,
        chunk_rows: int = ROWS_AT_ONCE,
        random_state: RandomState = None,
    ) -> None:
        """Draw new rows, and write them to a Parquet file, a chunk at a time.

        Parameters
        ----------
        path : str or Path
            Where the file will be, once it is complete; one that is there is replaced then.
        n_samples : int
            Number of rows in all.
        chunk_rows : int, default=65_536
            Rows that are drawn at once, at most; a row group of the file.
        random_state : int, RandomState, Generator or None, default=None
            Seed for reproducible rows, which depend on `chunk_rows`, too. They are those of :meth:`iter_samples`.

        Raises
        ------
        ImportError
            Without pyarrow.
        ValueError
            If `n_samples` or `chunk_rows` is not a positive integer.
        """
        tables = self.iter_samples(n_samples, chunk_rows, random_state)
        names: Any = getattr(self, "feature_names_in_", None)
        write_parquet(path, tables, names)
