"""Tables and sequences as models see them: kinds of columns, encodings with their Jacobians, and the way back."""

# Imported for what it does: it enters the dtypes of pandas and polars among what has a plain form.
from sklearn_dgm.columns import _library_kinds  # noqa: F401
from sklearn_dgm.columns._column import (
    CATEGORICAL,
    CONTINUOUS,
    INTEGER,
    MIXED,
    ROUNDED,
    Column,
)
from sklearn_dgm.columns._frames import check_container, is_frame, library_of, like_frame, stacked
from sklearn_dgm.columns._further import check_possible
from sklearn_dgm.columns._images import ImageSchema
from sklearn_dgm.columns._schema import ColumnSchema
from sklearn_dgm.columns._sequence_schema import SequenceSchema
from sklearn_dgm.columns._sequences import Sequences, is_table
from sklearn_dgm.columns._values import LARGEST_INTEGER

__all__ = [
    "CATEGORICAL",
    "CONTINUOUS",
    "INTEGER",
    "LARGEST_INTEGER",
    "MIXED",
    "ROUNDED",
    "Column",
    "ColumnSchema",
    "ImageSchema",
    "SequenceSchema",
    "Sequences",
    "check_container",
    "check_possible",
    "is_frame",
    "is_table",
    "library_of",
    "like_frame",
    "stacked",
]
