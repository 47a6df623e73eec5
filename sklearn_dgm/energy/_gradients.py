"""Gradients of the log-density of any fitted density, which score matching asks for."""

import numpy as np

from sklearn_dgm.columns import like_frame

# Differences are taken over such steps, in standard deviations of the columns.
STEP = 1e-3


def gradients_of(log_density, Z):
    """Return the gradients of a log-density at rows, by central differences.

    Parameters
    ----------
    log_density : callable
        Given rows of shape (n, d), returns their log-densities, of shape (n,).
    Z : ndarray of shape (n, d)
        Rows of numbers.

    Returns
    -------
    gradients : ndarray of shape (n, d)
        Their gradients; NaN or infinite where the density is zero close by.
    """
    gradients = np.empty_like(Z)
    for j, spread in enumerate(Z.std(axis=0)):
        step = np.zeros(Z.shape[1])
        step[j] = STEP * (spread or 1.0)
        with np.errstate(invalid="ignore"):
            gradients[:, j] = (log_density(Z + step) - log_density(Z - step)) / (2 * step[j])
    return gradients


def decode_unrounded(schema, Z):
    """Turn encoded rows of numbers into a table of float64 numbers, whatever the dtypes that the fitted one has.

    Parameters
    ----------
    schema : ColumnSchema
        The fitted schema.
    Z : ndarray of shape (n, d)
        Encoded rows of columns without categories.

    Returns
    -------
    X : {ndarray, DataFrame} of shape (n, d)
        In the container of the fitted table; if this has times, they are as fine as theirs.
    """
    X, columns = schema.decode(Z), schema.columns_
    if any(column.clock for column in columns):
        return X
    location, scale = np.array([(column.location, column.scale) for column in columns]).T
    lower, upper = np.array([(column.lower, column.upper) for column in columns]).T
    return like_frame((location + scale * Z).clip(lower, upper), X)


def check_rounding(schema, Z):
    """Refuse columns that are too coarse for differences: dates, or numbers that the density rounds.

    Parameters
    ----------
    schema : ColumnSchema
        The fitted schema.
    Z : ndarray of shape (n, d)
        Encoded rows.

    Raises
    ------
    ValueError
        If a step of :func:`gradients_of` is lost; the column is named.
    """
    step = STEP * np.where(Z.std(axis=0) > 0, Z.std(axis=0), 1.0)
    moved = Z[:100] + step
    error = np.abs(schema.encode(decode_unrounded(schema, moved))[0] - moved).max(axis=0)
    for column, off in zip(schema.columns_, error > step / 100, strict=True):
        if off:
            raise ValueError(
                f"{column.where} is too coarse for the differences that score matching takes; hand it in as float64 "
                "numbers, and let column_kinds of the density say that it is continuous."
            )
