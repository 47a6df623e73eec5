"""What people have when a table does not fit into memory, as iterators of tables that can be started again."""

import mmap
import os
import re
import sys
from collections.abc import Iterable, Set
from itertools import chain
from pathlib import Path

import numpy as np
from scipy.sparse import issparse

from sklearn_dgm._sklearn import num_samples
from sklearn_dgm.chunks._sampling import SAMPLE_ROWS
from sklearn_dgm.columns import check_container, is_frame
from sklearn_dgm.columns._frames import names_parquet
from sklearn_dgm.columns._sequences import check_sequences, column_of_sequences

# Where joblib puts arrays that processes share.
OF_JOBLIB = "joblib_memmapping_folder"
# So many cells are read at once, of tables that have more columns than usual.
CELLS_AT_ONCE = 2**22


def is_chunked(X):
    """Tell whether a table is one to be read a chunk at a time.

    Parameters
    ----------
    X : object
        What a user hands in: a memmap of more than 131,072 rows; a path to a Parquet file or to a folder of such, or a
        list of these; a list or tuple of DataFrames, two-dimensional arrays or sparse matrices; a
        `pyarrow.dataset.Dataset`; a `polars.LazyFrame`; a DataFrame or an array of Dask; or an object that gives tables
        in a loop, as often as one likes. Of iterators, which can be read but once, it is true, too: `fit` refuses them.

    Returns
    -------
    bool
        False of arrays, lists of rows, DataFrames and what else lies in memory.
    """
    if isinstance(X, np.memmap):
        # What has been in memory is to be the same in each process.
        return X.ndim == 2 and len(X) > SAMPLE_ROWS and OF_JOBLIB not in str(X.filename)
    if _is_path(X) or _are_paths(X) or _is_dataset(X) or _is_lazy(X) or is_dask(X):
        return True
    return _are_tables(X) or _is_iterable(X)


def are_chunks_of_sequences(X):
    """Tell whether sequences are to be read a chunk at a time, as :func:`is_chunked` tells it of a table.

    Parameters
    ----------
    X : object
        What a user hands in. A list or a tuple holds sequences, whatever these look like, unless it holds paths of the
        class `Path`; a string is a path if it ends as those of Parquet files do, or names a folder.

    Returns
    -------
    bool
        False of containers of sequences, and of collections of Dask.
    """
    if isinstance(X, list | tuple):
        return len(X) > 0 and all(isinstance(one, Path) for one in X)
    if isinstance(X, str):
        return names_parquet(X)
    return is_chunked(X) and not is_dask(X)


def in_memory_alone(estimator):
    """Return the error of an estimator whose `fit` does not read rows a chunk at a time."""
    return TypeError(
        f"{type(estimator).__name__} learns from rows in memory alone, but X is to be read a chunk at a time. Hand in a "
        "sample of its rows, or take a density that reads them so; docs/larger_than_memory.md names these."
    )


def check_in_memory(estimator, X, *, reset, sequences=False):
    """Refuse rows that are to be read a chunk at a time, where they have to be in memory; a map of a file is an array.

    Parameters
    ----------
    estimator : estimator instance
        The one that errors name.
    X : object
        What a user hands in.
    reset : bool
        Whether it is `fit` that asks.
    sequences : bool, default=False
        Whether rows are sequences.

    Raises
    ------
    TypeError
        If it is one, or a collection of Dask where rows are sequences.
    """
    if isinstance(X, np.memmap):
        return
    if sequences and is_dask(X):
        raise no_dask(estimator)
    if not (are_chunks_of_sequences(X) if sequences else is_chunked(X)):
        return
    if reset:
        raise in_memory_alone(estimator)
    raise TypeError(
        f"X is to be read a chunk at a time, but this method of {type(estimator).__name__} takes rows in memory; ask it of "
        "one part after the other."
    )


def no_dask(estimator):
    """Return the error of an estimator that does not read collections of Dask."""
    return TypeError(
        f"{type(estimator).__name__} takes no collections of Dask; call X.compute(), if its rows fit into memory."
    )


def is_dask(X):
    """Tell whether a table is a DataFrame or a two-dimensional array of Dask."""
    frames, arrays = (sys.modules.get(f"dask.{name}") for name in ("dataframe", "array"))
    is_array = arrays is not None and isinstance(X, arrays.Array) and X.ndim == 2
    return is_array or (frames is not None and isinstance(X, frames.DataFrame))


def reader_of_sequences(X, rows_at_once, once=False):
    """Return a function that starts to read sequences; see :func:`reader_of`.

    Files of a single column that holds lists or strings hold a sequence in each cell.
    """
    read = reader_of(X, rows_at_once, once, check_sequences)
    if isinstance(X, np.memmap) or _is_iterable(X):
        # As lists, which can be stacked.
        return lambda: (list(one) if isinstance(one, tuple) else one for one in read())
    return lambda: map(column_of_sequences, read())


def reader_of(X, rows_at_once, once=False, check=check_container):
    """Return a function that starts to read a table.

    Parameters
    ----------
    X : {array-like, DataFrame, memmap, path, list of path, Dataset, LazyFrame, iterable}
        The table.
    rows_at_once : int
        Rows that are wanted at once; what is read may have more or fewer.
    once : bool, default=False
        Whether the function will be called but once, so that X may be an iterator.
    check : callable, default=check_container
        Refuses what is no table, in the chunks of an iterable.

    Returns
    -------
    read : callable
        Returns an iterator of tables.

    Raises
    ------
    TypeError
        If X can be read but once, and that is not enough.
    ImportError
        If a library is missing that reads X.
    """
    if hasattr(X, "__next__") and not once:
        raise TypeError(
            f"X is a {type(X).__name__}, which can be read but once, and fit reads all rows several times; hand in an "
            "object whose __iter__ begins anew with each loop, such as a list of files or a class of your own."
        )
    if _is_path(X) or _are_paths(X):
        return lambda: chain.from_iterable(
            _read_dataset(dataset, rows_at_once) for dataset in _datasets_of(X)
        )
    if _is_dataset(X):
        return lambda: _read_dataset(X, rows_at_once)
    if _is_lazy(X):
        return lambda: _read_lazy(X, rows_at_once)
    if isinstance(X, np.memmap):
        return lambda: _read_memmap(X, rows_at_once)
    if _are_tables(X) or _is_iterable(X):
        return lambda: _read_iterable(X, check)
    return lambda: iter([X])


def _rows_at_once(most, n_columns):
    return min(most, max(CELLS_AT_ONCE // max(n_columns, 1), 1))


def _is_path(X):
    """Tell whether X is a path, of strings by their looks: they may be sequences, too."""
    if isinstance(X, str):
        return names_parquet(X) or os.sep in X
    return isinstance(X, Path)


def _are_paths(X):
    # A list of other strings is one of sequences.
    return (
        isinstance(X, list | tuple)
        and len(X) > 0
        and all(isinstance(one, Path) or (isinstance(one, str) and names_parquet(one)) for one in X)
    )


def _are_tables(X):
    """Tell whether X is a list of tables; rows may be arrays, but not two-dimensional ones."""
    is_list = isinstance(X, list | tuple) and len(X) > 0
    return is_list and all(
        is_frame(one) or issparse(one) or (isinstance(one, np.ndarray) and one.ndim == 2)
        for one in X
    )


def _is_dataset(X):
    dataset = sys.modules.get("pyarrow.dataset")
    return dataset is not None and isinstance(X, dataset.Dataset)


def _is_lazy(X):
    polars = sys.modules.get("polars")
    return polars is not None and isinstance(X, polars.LazyFrame)


def _is_iterable(X):
    in_memory = any(hasattr(X, name) for name in ("__getitem__", "__array__", "shape"))
    return isinstance(X, Iterable) and not (in_memory or issparse(X) or isinstance(X, Set))


def _datasets_of(paths):
    """Return the datasets of the Parquet files at a path, or at several, one for each file."""
    try:
        import pyarrow.dataset  # noqa: F401, to tell whether it is there
    except ImportError as error:
        raise ImportError(
            "X names Parquet files, which pyarrow reads; install it (pip install pyarrow)."
        ) from error
    paths = [Path(path) for path in ([paths] if _is_path(paths) else paths)]
    for path in paths:
        if not path.exists():
            message = f"X names {str(path)!r}, where there is no file or folder."
            if re.match(r"\w{2,}:/", str(path)):  # a class of paths takes a slash of two away
                message += " Of other places than disks hand in a pyarrow.dataset.Dataset."
            raise FileNotFoundError(message)
    datasets = [dataset for path in paths for dataset in _datasets_at(path)]
    _check_same_columns(datasets)
    return datasets


def _datasets_at(path):
    """Return a dataset for each Parquet file at a path; of all, Arrow would cast to the types of the first."""
    from pyarrow.dataset import FileSystemDataset, dataset, get_partition_keys

    files, base = [str(path)], None
    if path.is_dir():
        files, base = _files_in(path), str(path)
    if not files:
        raise ValueError(f"X names the folder {str(path)!r}, in which there are no Parquet files.")
    try:
        whole = dataset(files, format="parquet", partitioning="hive", partition_base_dir=base)
    except ValueError as error:
        raise ValueError(
            f"X is the path {files[0]!r}, which is no Parquet file nor folder: {error}"
        ) from error
    datasets = []
    for file in whole.get_fragments():
        schema = file.physical_schema
        for name in get_partition_keys(file.partition_expression):  # as of a folder "month=3"
            schema = schema if name in schema.names else schema.append(whole.schema.field(name))
        datasets.append(FileSystemDataset([file], schema, file.format, file.filesystem))
    return datasets


def _files_in(folder):
    """Return the Parquet files in a folder and those within, in order; hidden ones are none of the table."""
    files = (
        file.relative_to(folder)
        for file in folder.rglob("*")
        if file.is_file() and names_parquet(file)
    )
    shown = (file for file in files if not any(part[0] in "._" for part in file.parts))
    return sorted(str(folder / file) for file in shown)


def _check_same_columns(datasets):
    """Refuse files with different columns, in one line that names them."""
    first = datasets[0]
    for dataset in datasets:
        if dataset.schema.names != first.schema.names:
            raise ValueError(
                f"{dataset.files[0]} has the columns {dataset.schema.names}, but {first.files[0]} has "
                f"{first.schema.names}."
            )


def _read_dataset(dataset, rows_at_once):
    """Read batches in order, and no more of a file at once than they need, whatever its row groups are."""
    from pyarrow.dataset import ParquetFileFormat, ParquetFragmentScanOptions

    as_frame, options = _frames_of_arrow(), {}
    rows_at_once = _rows_at_once(rows_at_once, len(dataset.schema.names))
    if isinstance(getattr(dataset, "format", None), ParquetFileFormat):
        pieces = ParquetFragmentScanOptions(pre_buffer=False, use_buffered_stream=True)
        options["fragment_scan_options"] = pieces
    for batch in dataset.to_batches(
        batch_size=rows_at_once,
        batch_readahead=0,
        fragment_readahead=0,
        use_threads=False,
        **options,
    ):
        yield as_frame(batch)


def _frames_of_arrow():
    """Return what makes a DataFrame of pandas, or else of polars, of a batch of Arrow."""
    try:
        import pandas  # noqa: F401, which Arrow needs
    except ImportError:
        try:
            from polars import from_arrow
        except ImportError as error:
            raise ImportError(
                "What pyarrow reads becomes a DataFrame of pandas or of polars; install one of them (pip install pandas)."
            ) from error
        return from_arrow
    return lambda batch: batch.to_pandas()


def _read_lazy(X, rows_at_once):
    rows_at_once = _rows_at_once(rows_at_once, len(X.collect_schema()))
    if hasattr(X, "collect_batches"):
        return X.collect_batches(chunk_size=rows_at_once, maintain_order=True)
    return _slices_of(X, rows_at_once)  # polars before 1.34


def _slices_of(X, rows_at_once):
    start, part = 0, None
    while part is None or len(part):
        part = X.slice(start, rows_at_once).collect()
        start += rows_at_once
        yield part


def _read_memmap(X, rows_at_once):
    """Read rows of a file, and give back the memory of those that have been read, which else counts as in use."""
    mapped = X
    while isinstance(mapped, np.ndarray):
        mapped = mapped.base
    # Of what was changed in memory alone, that would be the end.
    gives_back = isinstance(mapped, mmap.mmap) and X.mode != "c" and hasattr(mmap, "MADV_DONTNEED")
    rows_at_once = _rows_at_once(rows_at_once, X.shape[1])
    for start in range(0, len(X), rows_at_once):
        yield np.array(X[start : start + rows_at_once])
        if gives_back:
            mapped.madvise(mmap.MADV_DONTNEED)


def _read_iterable(X, check):
    n_rows = 0
    for table in X:
        try:
            check(table)
        except (TypeError, ValueError) as error:
            error.args = (f"In the chunk of X from row {n_rows} on: {error}",)
            raise
        yield table.tocsr() if issparse(table) else table
        n_rows += num_samples(table)
