"""Tables that come a chunk at a time, as one Parquet file."""

import numpy as np
from scipy.sparse import issparse

from sklearn_dgm.columns import is_frame, is_table
from sklearn_dgm.persistence import written_atomically


def write_parquet(path, tables, names=None):
    """Write tables under each other to a Parquet file, which is there only once it is complete.

    Parameters
    ----------
    path : str or Path
        Where the file will be.
    tables : iterable of {ndarray, DataFrame, list, Series}
        Tables with the same columns, or sequences, which make one column; each is a row group.
    names : array-like of str, default=None
        Names of the columns of arrays; by default "x0", "x1", ...

    Raises
    ------
    ImportError
        Without pyarrow.
    TypeError
        If a table is sparse.
    """
    try:
        import pyarrow as pa
        from pyarrow.parquet import ParquetWriter
    except ImportError as error:
        raise ImportError(
            "Parquet files are written by pyarrow; install it (pip install pyarrow)."
        ) from error

    def as_arrow(table):
        if issparse(table):
            raise TypeError(
                "rows that are drawn are sparse matrices, for which Parquet has no form; write what iter_samples gives by "
                "scipy.sparse.save_npz."
            )
        if not is_table(table):  # but sequences
            label = getattr(table, "name", None) or "x0"
            rows = [row.tolist() if hasattr(row, "tolist") else row for row in table]
            return pa.table({label: rows})
        if not is_frame(table):
            labels = [f"x{j}" for j in range(table.shape[1])] if names is None else names
            cells = [x.tolist() if x.dtype == object else np.ascontiguousarray(x) for x in table.T]
            return pa.table(dict(zip(labels, cells, strict=True)))
        if hasattr(table, "to_arrow"):  # of polars
            return table.to_arrow()
        return pa.Table.from_pandas(table, preserve_index=False)

    writer = None
    with written_atomically(path) as file:
        try:
            for table in map(as_arrow, tables):
                writer = writer or ParquetWriter(file, table.schema)
                writer.write_table(table.cast(writer.schema), row_group_size=len(table))
        finally:
            if writer is not None:
                writer.close()
