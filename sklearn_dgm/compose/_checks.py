"""Whether a transformer's inverse and Jacobian are what they should be, tried on a handful of rows."""

import numpy as np

from sklearn_dgm._sklearn import safe_indexing
from sklearn_dgm.columns._frames import like_frame
from sklearn_dgm.columns._reading import raw_columns

N_ROWS = 10
# Of the range of a column, and of its size: what may be lost on the way there and back.
OF_RANGE, OF_SIZE = 1e-4, 1e-7
# Steps of finite differences, of the range of a column; their log-determinants may be off by so many nats a column.
STEP, TOLERANCE = 1e-5, 1e-3


def check_inverse(bijection, X):
    """Raise a ValueError unless the inverse undoes the transformation.

    Parameters
    ----------
    bijection : Leaf
        The change of variables.
    X : {ndarray, DataFrame} of shape (n_samples, n_features)
        The rows of a fit, of which some are tried.
    """
    X = _some(X)
    Z = bijection.forward(X, np.zeros(X.shape))[0]
    given = [column.values for column in raw_columns(X)]
    back = bijection.inverse([column.spread(column.values) for column in raw_columns(Z)])
    for column, x, x_back in zip(raw_columns(X), given, back, strict=True):
        x_back = column.observed_of(np.asarray(x_back))
        if x.dtype.kind not in "iufb":
            continue
        x = x.astype(np.float64)
        error = np.abs(x_back.astype(np.float64) - x)
        size = np.abs(x).max(initial=0)
        allowed = OF_RANGE * (np.ptp(x) if len(x) else 0) + OF_SIZE * size + np.finfo(float).tiny
        if not (error <= allowed).all():
            worst = int(np.argmax(np.nan_to_num(error, nan=np.inf)))
            raise ValueError(
                f"inverse_transform of {bijection.name} does not undo its transform: in {column.where} it makes "
                f"{float(x_back[worst]):.6g} of {x[worst]:.6g}, which is off by {error[worst]:.3g}."
            )


def check_jacobian(bijection, X):
    """Raise a ValueError unless the Jacobian agrees with finite differences.

    Parameters
    ----------
    bijection : Leaf
        The change of variables.
    X : {ndarray, DataFrame} of shape (n_samples, n_features)
        The rows of a fit, of which some without missing cells are tried. Nothing is checked if columns are not numbers.
    """
    X = _some(X)
    columns = raw_columns(X)
    if any(column.values.dtype.kind not in "iuf" for column in columns):
        return
    x = np.column_stack([column.spread(column.values.astype(np.float64)) for column in columns])
    is_complete = ~np.isnan(x).any(axis=1)
    if not is_complete.any():
        return
    x, X = x[is_complete], safe_indexing(X, np.flatnonzero(is_complete))
    log_det = bijection.forward(like_frame(x, X), np.zeros(x.shape))[1]
    for k, (row, shares) in enumerate(zip(x, log_det, strict=True)):
        slopes = _differences(bijection, row, safe_indexing(X, [k]), np.ptp(x, axis=0))
        if slopes is not None:
            _compare(bijection, row, shares, slopes)


def _differences(bijection, row, table, spread):
    """Estimate the slopes of all outputs along each column, (n_features, n_features); None at a kink or an end."""
    d = len(row)
    step = STEP * np.where(spread > 0, spread, np.maximum(np.abs(row), 1))
    points = np.concatenate([row[None], row + np.diag(step), row - np.diag(step)])
    table = like_frame(points, safe_indexing(table, np.zeros(len(points), dtype=int)))
    Z, log_det = bijection.forward(table, np.zeros(points.shape))
    z = np.asarray(Z, dtype=np.float64)
    ahead, behind = (z[1 : d + 1] - z[0]) / step[:, None], (z[0] - z[d + 1 :]) / step[:, None]
    if np.isneginf(log_det).any():
        return None
    kink = np.abs(np.linalg.slogdet(ahead)[1] - np.linalg.slogdet(behind)[1])
    return None if kink > TOLERANCE * d else (ahead + behind) / 2


def _compare(bijection, row, shares, slopes):
    d = len(row)
    where = f"at {np.array2string(row, threshold=6, precision=6)}"
    if not bijection.mixes:
        own = np.abs(np.diag(slopes))
        others = np.abs(slopes - np.diag(np.diag(slopes))).max(axis=0)
        if (others > TOLERANCE * own).any():
            raise ValueError(
                f"log_abs_det_jacobian of {bijection.name} gives a share for each column, but column "
                f"{int(np.argmax(others / own))} of the output depends on several; return one number for each row."
            )
    found = np.linalg.slogdet(slopes)[1]
    if not abs(found - shares.sum()) <= TOLERANCE * d:
        raise ValueError(
            f"The log-Jacobian of {bijection.name} is {shares.sum():.6g} {where}, but finite differences give "
            f"{found:.6g}: it is off by {abs(found - shares.sum()):.3g}."
        )


def reaches_all_numbers(bijection, X):
    """Tell whether numbers beyond the images of rows are images, too, so that no part of the line is out of reach.

    Parameters
    ----------
    bijection : Leaf
        The change of variables.
    X : {ndarray, DataFrame} of shape (n_samples, n_features)
        The rows of a fit, of which some are tried.

    Returns
    -------
    bool
        False also for what cannot be tried because columns are not numbers.
    """
    X = _some(X)
    z = np.asarray(bijection.forward(X, np.zeros(X.shape))[0])
    if z.dtype.kind != "f":
        return False
    low, high = np.nanmin(z, axis=0), np.nanmax(z, axis=0)
    reach = np.where(high > low, high - low, 1.0)
    beyond = np.vstack([low - reach, high + reach])
    x = np.column_stack(bijection.inverse(list(beyond.T)))
    table = like_frame(x, safe_indexing(X, [0, 0]))
    again, log_det = bijection.forward(table, np.zeros(x.shape))
    error = np.abs(np.asarray(again, dtype=np.float64) - beyond)
    return bool((error <= TOLERANCE * reach).all() and not np.isneginf(log_det).any())


def _some(X):
    return safe_indexing(X, np.unique(np.linspace(0, X.shape[0] - 1, N_ROWS).astype(int)))
