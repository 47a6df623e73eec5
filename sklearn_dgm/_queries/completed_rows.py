"""Completed rows as a table, in which the cells that were given are as they were given."""

from functools import partial

import numpy as np

from sklearn_dgm.columns._building import fill, part_of
from sklearn_dgm.columns._objects import NUMBERS
from sklearn_dgm.columns._reading import raw_columns


def with_given_cells(schema, Z, X):
    """Decode completed rows, a multiple of those of X, with the observed cells exactly as X has them."""
    n_times = len(Z) // X.shape[0]
    drawn = schema.decode(Z)
    columns = [
        partial(part_of, *_given_or_drawn(column, raw, of, n_times))
        for column, raw, of in zip(
            schema.columns_, schema._raw_columns(X), raw_columns(drawn), strict=True
        )
    ]
    completed = fill(schema._template, columns, len(Z), clip=False)
    if hasattr(X, "index") and hasattr(completed, "index"):
        completed.index = X.index.repeat(n_times)
    return completed


def _given_or_drawn(column, raw, drawn, n_times):
    """Return a column's observed cells with draws in place of the others, and flags of those still missing."""
    given, made = raw.values, drawn.values
    if column.maker and column.content != NUMBERS:  # those that are given are not to be rounded
        given, made = (
            of.as_given if of.as_given.dtype.kind == "O" else column.as_fitted(of.values)
            for of in (raw, drawn)
        )
    given, observed = given.repeat(n_times), raw.observed_or_all.repeat(n_times)
    try:
        # Times have the unit of the fitted ones.
        dtype = made.dtype if made.dtype.kind in "mM" else np.result_type(made, given)
    except TypeError:  # of Python objects and others
        dtype = np.dtype(object)
    # NumPy would make strings of numbers beside them.
    is_object = "O" in (made.dtype.kind, given.dtype.kind)
    values = np.full(len(observed), None) if is_object else np.zeros(len(observed), dtype=dtype)
    values[drawn.observed_or_all] = made
    values[observed] = given
    return values, ~(observed | drawn.observed_or_all)
