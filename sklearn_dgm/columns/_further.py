"""Rows that come after those that a schema was learnt from."""

import numpy as np


def check_possible(columns, Z, counted, place):
    """Refuse numbers that are impossible, whatever rows are counted.

    Categories that the schema does not know, and numbers beyond its range, are none.

    Parameters
    ----------
    columns : list of Column
        What the schema knows of the columns.
    Z : ndarray of shape (n, n_features)
        Encoded rows or steps, NaN where a cell is missing.
    counted : ndarray of bool of shape (n,)
        Which of them have weight.
    place : callable
        Says where one is, given its number.

    Raises
    ------
    ValueError
        If a number is beyond the bounds of its column, or not whole in a column of integers. The message names the
        first one.
    """
    for column, z in zip(columns, Z.T, strict=True):
        (found,) = np.nonzero(column.impossible(z) & counted)
        if len(found):
            raise ValueError(
                f"{place(found[0])} is impossible under the model that partial_fit continues: {column.where} holds a "
                "number beyond its bounds, or no whole number in an integer column. Leave it out, or call fit with all "
                "rows to start anew."
            )
