"""Some of very many rows, where all would say the same in a longer time."""

import numpy as np


def some_of(n_rows, at_most):
    """Return the indices of rows that are drawn without replacement, the same ones in each call, in increasing order.

    Every second or third row would not do: rows often come in turns, such as months, or the pixels of an image.

    Parameters
    ----------
    n_rows : int
        Number of rows.
    at_most : int
        Number of indices that are wanted.

    Returns
    -------
    some : {slice, ndarray of int of shape (at_most,)}
        A slice of all rows, if they are no more than that.
    """
    if n_rows <= at_most:
        return slice(None)
    return np.sort(np.random.default_rng(0).choice(n_rows, at_most, replace=False))
