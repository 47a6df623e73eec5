"""Containers of sequences as one table of all their steps, and back.

A 1-D container holds sequences, a 2-D table has steps in its columns, and a 3-D array has both. This is the one place
that looks into them: beyond, there are steps, and how many belong to each sequence.
"""

import re
from contextlib import contextmanager
from itertools import chain
from numbers import Number
from typing import Any, NamedTuple

import narwhals as nw
import numpy as np

from sklearn_dgm._state import Stateful
from sklearn_dgm.columns._building import fill, part_of, template_of
from sklearn_dgm.columns._frames import is_frame, stacked
from sklearn_dgm.columns._reading import is_missing, raw_columns

STEPS = (
    "the columns of a table are the steps of a sequence, all of one type. Steps of several columns are rows of frames: "
    "hand in a list of these."
)


class Sequences(Stateful):
    """Encoded sequences: the steps of all of them under each other, and how many belong to each.

    Parameters
    ----------
    steps : ndarray of shape (n_steps, n_columns)
        Encoded steps, sequence after sequence.
    lengths : ndarray of int of shape (n_sequences,)
        Numbers of steps.

    Attributes
    ----------
    starts : ndarray of int of shape (n_sequences,)
        Where the steps of each sequence begin.
    """

    def __init__(self, steps, lengths):
        self.steps, self.lengths = steps, lengths
        self.starts = np.cumsum(lengths) - lengths

    def __len__(self):
        return len(self.lengths)

    def __getitem__(self, rows):
        """Return some of the sequences, given a slice, indices or Booleans."""
        lengths, starts = self.lengths[rows], self.starts[rows]
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return Sequences(self.steps[np.repeat(starts, lengths) + within], lengths)

    @classmethod
    def joined(cls, parts):
        """Return the sequences of all parts, one part after the other."""
        steps, lengths = zip(*((part.steps, part.lengths) for part in parts), strict=True)
        return cls(np.concatenate(steps), np.concatenate(lengths))

    def of_steps(self, of_sequences):
        """Return for each step what there is one of for each sequence."""
        return np.repeat(of_sequences, self.lengths, axis=0)

    def sums(self, of_steps):
        """Sum up numbers of steps, of shape (n_steps,), by sequence."""
        rows = self.of_steps(np.arange(len(self)))
        return np.bincount(rows, of_steps, minlength=len(self))

    def split(self, of_steps):
        """Split what there is one of for each step into a list of arrays, one for each sequence."""
        return np.split(of_steps, self.starts[1:])


class SequenceForm(NamedTuple):
    """What is to be remembered of a container of sequences to make others like it.

    Attributes
    ----------
    container : {"list", "objects", "series", "table", "array"}
        A list, a 1-D array of objects, a series of a library of frames, a 2-D table, or a 3-D array.
    cell : {"string", "list", "tuple", "array", "nested", "rows", "frame"} or None
        What a sequence is in a 1-D container; the first three and 1-D arrays have one column.
    template : {TableSpec, dtype} or None
        Of a table that table, of a series the frame that has it alone.
    name : object
        The name of a series.
    """

    container: str
    cell: str | None = None
    template: Any = None
    name: Any = None

    @property
    def is_fixed(self):
        """Whether all sequences have one length by the form of the container."""
        if self.container == "series":  # polars has lists of one length
            return str(self.template.dtypes[0]).startswith("Array(")
        return self.container in ("table", "array")


def check_sequences(X):
    """Refuse what is one sequence, and no container of such.

    Parameters
    ----------
    X : object
        What a user hands in.

    Raises
    ------
    ValueError
        If it is a string, or numbers in a line.
    """
    if isinstance(X, str):
        raise ValueError("X is a string, which is one sequence; hand in a list of sequences, [X].")
    is_line = is_table(X) and (isinstance(X, list | tuple) or getattr(X, "ndim", 2) == 1)
    if is_line:
        raise ValueError(
            "Expected 2D array, got 1D array instead: X holds numbers, which are one sequence. Reshape your data: hand "
            "in a list of sequences, [X]."
        )


def column_of_sequences(frame):
    """Return the only column of a frame if its cells are sequences, lists or strings; else the frame."""
    if frame.shape[1] != 1:
        return frame
    column = nw.from_native(frame, eager_only=True)[:, 0]
    first = next((cell for cell in column.to_list() if not is_missing(cell)), None)
    holds_sequences = isinstance(first, str | list | np.ndarray)
    if first is None:  # all are missing, and of objects of pandas nothing is known
        is_known = str(column.to_native().dtype) != "object"
        holds_sequences = is_known and column.dtype in (nw.String, nw.List, nw.Array)
    return column.to_native() if holds_sequences else frame


def is_table(X):
    """Tell whether X is a 2-D table, or nothing that could hold sequences, rather than a container of these."""
    if isinstance(X, list | tuple):
        return len(X) > 0 and all(isinstance(row, Number) for row in X)
    if isinstance(X, np.ndarray):
        return X.ndim in (0, 2) or (X.ndim == 1 and X.dtype.kind not in "OUST")
    return isinstance(X, str) or not (_is_series(X) or _is_array_of_pandas(X))


def _is_series(X):
    return nw.dependencies.is_into_series(X)


def _is_array_of_pandas(X):
    """Tell whether X is the values of a series, or an index."""
    is_of_pandas = type(X).__module__.partition(".")[0] == "pandas"
    return is_of_pandas and getattr(X, "ndim", 0) == 1 and hasattr(X, "to_numpy")


def read_sequences(X):
    """Read a container of sequences.

    Parameters
    ----------
    X : {list, tuple, ndarray, Series, DataFrame}
        Sequences: a 1-D container of strings, lists, tuples, arrays or frames, a 2-D table or a 3-D array.

    Returns
    -------
    form : SequenceForm
        What the container was.
    table : {ndarray, DataFrame} of shape (n_steps, n_columns)
        The steps of all sequences.
    lengths : ndarray of int of shape (n_sequences,)
        Numbers of steps.

    Raises
    ------
    TypeError, ValueError
        If a row is no sequence, or another kind of sequence than the first one; the message names it.
    """
    if is_frame(X) or (isinstance(X, np.ndarray) and X.ndim == 2):
        n, length = X.shape
        return (
            SequenceForm("table", template=template_of(X)),
            as_one_column(X, STEPS),
            np.full(n, length),
        )
    if isinstance(X, np.ndarray) and X.ndim == 3:
        n, length, width = X.shape
        for size, what in zip(X.shape, ("sequence(s)", "step(s)", "column(s)"), strict=True):
            if size == 0:
                raise ValueError(f"X has 0 {what} (shape={X.shape}), but needs one at least.")
        return SequenceForm("array"), X.reshape(-1, width), np.full(n, length)
    if isinstance(X, np.ndarray) and X.ndim > 3:
        raise ValueError(
            f"X has {X.ndim} dimensions; sequences have 3 at most: (n_sequences, n_steps, n_columns)."
        )
    rows = nw.from_native(X, series_only=True).to_list() if _is_series(X) else list(X)
    cells = [_kind_of_cell(row, i) for i, row in enumerate(rows)]
    if "nested" in cells:  # of which an empty one looks like any list
        cells = ["nested" if len(row) == 0 else c for row, c in zip(rows, cells, strict=True)]
    if odd := next((i for i, cell in enumerate(cells) if cell != cells[0]), 0):
        raise ValueError(
            f"row {odd} of X is a {cells[odd]}, row 0 a {cells[0]}; all sequences should be of one type."
        )
    cell = cells[0]
    table, lengths = _JOIN[cell](rows)
    if _is_series(X):
        frame = X.to_frame()
        return SequenceForm("series", cell, template_of(frame), X.name), table, lengths
    container = "list" if isinstance(X, list | tuple) else "objects"
    return SequenceForm(container, cell), table, lengths


def as_one_column(X, meaning):
    """Return the cells of a table, row after row, as a table of one column.

    Parameters
    ----------
    X : {ndarray, DataFrame} of shape (n_samples, n_features)
        The table.
    meaning : str
        What its columns are, for an error.

    Returns
    -------
    cells : {ndarray, DataFrame} of shape (n_samples * n_features, 1)
        The cells.

    Raises
    ------
    ValueError
        If some columns hold values of another type than others.
    """
    if not is_frame(X):
        if X.dtype.kind == "O":
            _check_alike_columns(X, meaning)
        return X.reshape(-1, 1)
    frame = nw.from_native(X, eager_only=True)
    columns = [nw.col(name).alias("step") for name in frame.columns]
    dtypes = set(frame.schema.values())
    if len(dtypes) > 1 or nw.Object in dtypes:
        _check_alike_columns(X, meaning)
    if len(dtypes) > 1:
        is_text = all(dtype in (nw.String, nw.Categorical, nw.Enum) for dtype in dtypes)
        common = nw.String if is_text else nw.Float64
        if is_text or all(dtype.is_numeric() for dtype in dtypes):
            columns = [column.cast(common) for column in columns]
    parts = [frame.select(column).to_native() for column in columns]
    n, length = X.shape
    return stacked(parts, np.arange(n * length).reshape(length, n).T.ravel())


def _check_alike_columns(X, meaning):
    """Refuse a table of which some columns hold values of another type than the first ones."""
    columns = [column for column in raw_columns(X) if column.content is not None]
    for column in columns:
        if column.content != columns[0].content:
            raise ValueError(
                f"{column.where} holds {column.content}, {columns[0].where} {columns[0].content}; {meaning}"
            )


def _kind_of_cell(row, i):
    """Name the kind of a sequence."""
    if isinstance(row, np.ma.MaskedArray):
        raise ValueError(f"row {i} of X is a masked array; put NaN where it is masked.")
    if isinstance(row, str):
        return "string"
    if is_frame(row):
        return "frame"
    if isinstance(row, list | tuple):
        is_nested = len(row) > 0 and isinstance(row[0], list | tuple | np.ndarray)
        return (
            "nested" if is_nested else type(row).__name__ if type(row) in (list, tuple) else "list"
        )
    if isinstance(row, np.ndarray) and row.ndim in (1, 2):
        return "array" if row.ndim == 1 else "rows"
    if _is_series(row):
        return "array"
    if is_missing(row):
        raise ValueError(
            f"row {i} of X is missing ({row}); each row should be a sequence, if of no step at all."
        )
    is_bytes = isinstance(row, bytes)
    what = "bytes, which decode() makes a string" if is_bytes else f"of type {type(row).__name__}"
    if isinstance(row, np.ndarray):
        what = f"an array of {row.ndim} dimensions"
    raise TypeError(
        f"row {i} of X is {what}; each row should be a sequence: a string, a list, an array or a DataFrame."
    )


def _lengths(rows):
    return np.fromiter(map(len, rows), dtype=np.intp, count=len(rows))


def _column_of(values):
    """Return a list of cells as a table of one column: numbers of one type, or objects as they are."""
    types = set(map(type, values))
    if len(types) == 1 and issubclass(*types, Number | np.generic):
        column = np.array(values)
        if column.dtype.kind in "fiubmM":
            return column.reshape(-1, 1)
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column.reshape(-1, 1)


def _join_strings(rows):
    text = "".join(rows)
    if "\0" in text:  # which NumPy takes for the end of a string
        return _column_of(list(text)), _lengths(rows)
    characters = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<U1")
    return characters.reshape(-1, 1), _lengths(rows)


def _join_lists(rows):
    return _column_of(list(chain.from_iterable(rows))), _lengths(rows)


def _concatenated(arrays):
    """Concatenate arrays; strings become objects, of which each has its length."""
    filled = [array for array in arrays if len(array)] or arrays[:1]
    if any(array.dtype.kind in "OUST" for array in filled):
        filled = [array.astype(object) for array in filled]
    return np.concatenate(filled)


def _join_arrays(rows):
    return _concatenated([np.asarray(row) for row in rows]).reshape(-1, 1), _lengths(rows)


def _join_nested(rows):
    arrays = []
    for i, row in enumerate(rows):
        widths = {len(step) for step in row}
        if len(widths) > 1:
            raise ValueError(f"steps of row {i} of X have {min(widths)} to {max(widths)} values.")
        flat = _column_of(list(chain.from_iterable(row)))
        arrays.append(flat.reshape(len(row), -1) if row else None)
    width = next(array.shape[1] for array in arrays if array is not None)
    empty = np.empty((0, width))
    return _join_rows([empty if array is None else array for array in arrays])


def _join_rows(rows):
    width = rows[0].shape[1]
    for i, row in enumerate(rows):
        if row.shape[1] != width:
            raise ValueError(
                f"row {i} of X has {row.shape[1]} columns a step, row 0 has {width}; all should have the same."
            )
    return _concatenated(rows), _lengths(rows)


def _join_frames(rows):
    labels = list(rows[0].columns)
    for i, row in enumerate(rows):
        if type(row) is not type(rows[0]) or list(row.columns) != labels:
            raise ValueError(
                f"row {i} of X is a {type(row).__name__} of columns {list(row.columns)}, row 0 a "
                f"{type(rows[0]).__name__} of columns {labels}; all should have the same."
            )
    filled = [row for row in rows if len(row)] or rows[:1]
    return stacked(filled), _lengths(rows)


_JOIN = {
    "string": _join_strings,
    "list": _join_lists,
    "tuple": _join_lists,
    "array": _join_arrays,
    "nested": _join_nested,
    "rows": _join_rows,
    "frame": _join_frames,
}


@contextmanager
def naming_steps(X, lengths):
    """Let errors of the table of all steps name the sequence and the step, or the row and the column of a table.

    Parameters
    ----------
    X : {list, ndarray, Series, DataFrame}
        The container of sequences.
    lengths : ndarray of int of shape (n_sequences,)
        Their lengths.
    """
    try:
        yield
    except (TypeError, ValueError) as error:
        message = _renamed(str(error), X, lengths)
        if message == str(error):
            raise
        raise type(error)(message) from None


def _renamed(message, X, lengths):
    """Return a message about a row of the table of all steps as one about a sequence."""
    message = message.replace(
        "No missing values are taken; DensityImputer fills them in.",
        "No missing steps are taken; HiddenMarkovDensity takes them, and fills them in by conditional_sample.",
    )
    # What a cell holds may say "row", too, but stands before the place where it is.
    all_found = list(re.finditer(r"(?:in|,) row (\d+)", message))
    if not all_found:
        return message
    found = all_found[-1]
    step = int(found[1])
    row = int(np.searchsorted(np.cumsum(lengths), step, side="right"))
    step -= int(lengths[:row].sum())
    if not hasattr(X, "shape") or len(X.shape) != 2:
        return _with(message, found, f"sequence {row}, step {step}")
    label = X.columns[step] if is_frame(X) else step
    message = _with(message, found, f"row {row}")
    return re.sub(r"\bcolumn ('step'|0)", f"column {label!r}", message, count=1)


def _with(message, found, place):
    """Return a message with a row, where it was found, told as another place."""
    start, end = found.span()
    return f"{message[:start]}{found[0].partition(' row ')[0]} {place}{message[end:]}"


def build_sequences(form, table, lengths):
    """Make a container of sequences of decoded steps.

    Parameters
    ----------
    form : SequenceForm
        Of a container that is no table.
    table : {ndarray, DataFrame} of shape (n_steps, n_columns)
        The steps of all sequences.
    lengths : ndarray of int of shape (n_sequences,)
        Numbers of steps.

    Returns
    -------
    X : {list, ndarray, Series}
        The container.
    """
    if form.container == "array":
        return table.reshape(len(lengths), -1, table.shape[1])
    ends = np.cumsum(lengths).tolist()
    slices = [slice(end - n, end) for end, n in zip(ends, lengths.tolist(), strict=True)]
    rows = _cut(form.cell, table, slices)
    if form.container == "list":
        return rows
    objects = np.empty(len(rows), dtype=object)
    for i, row in enumerate(rows):
        objects[i] = row
    if form.container == "objects":
        return objects
    # Of categories, most sequences that are drawn are none.
    parts = [lambda block: part_of(objects, None, block)]
    frame = fill(form.template, parts, len(rows), clip=False)
    series = nw.from_native(frame, eager_only=True)[:, 0].to_native()
    return series if form.name is not None else series.rename(None)


def _cut(cell, table, slices):
    """Cut decoded steps into a list of sequences of a kind."""
    if cell == "frame":
        frame = nw.from_native(table, eager_only=True)
        return [nw.maybe_reset_index(frame[part]).to_native() for part in slices]
    if cell == "rows":
        return [table[part].copy() for part in slices]
    if cell == "nested":
        return [table[part].tolist() for part in slices]
    column = table[:, 0]
    if cell == "array":
        return [column[part].copy() for part in slices]
    values = column.tolist()
    make = {"string": "".join, "list": list, "tuple": tuple}[cell]
    return [make(values[part]) for part in slices]
