"""Whether a model has memorised its training rows."""

from typing import Any, NamedTuple

import numpy as np
from sklearn.neighbors import NearestNeighbors

from sklearn_dgm._typing import MatrixLike
from sklearn_dgm.metrics._tables import as_points


class NearestRecords(NamedTuple):
    """Distances of sampled rows to rows that the model has seen, and to rows that it has not.

    Attributes
    ----------
    to_train : ndarray of shape (n_sampled,)
        Distance of each sampled row to the nearest training row.
    to_holdout : ndarray of shape (n_sampled,) or None
        Distance to the nearest row that was held out.
    closer_to_train : float or None
        Share of the sampled rows that are closer to a training row than to a held-out one. Of those that are as close
        to both, the expected share counts.
    expected_share : float or None
        What that share is on average for fresh rows of the same distribution: the share of the training rows among all.
    train_copies, holdout_copies : int or None
        Number of sampled rows that equal a training row, and a held-out one.
    """

    to_train: np.ndarray
    to_holdout: np.ndarray | None
    closer_to_train: float | None
    expected_share: float | None
    train_copies: int
    holdout_copies: int | None


def nearest_record_distances(
    train: MatrixLike, sampled: MatrixLike, holdout: MatrixLike = None
) -> Any:
    """Return the distances from sampled rows to the nearest real ones, which tell of memorised training rows.

    A model that has learnt the distribution draws rows that are no nearer to its training rows than to others of the
    same kind. If as many rows were held out as it was fitted to, half of its draws are closer to a training row; if it
    copies, more of them are.

    Parameters
    ----------
    train : {array-like, DataFrame} of shape (n_train, n_features)
        Rows that the model was fitted to.
    sampled : {array-like, DataFrame} of shape (n_sampled, n_features)
        Rows drawn from it.
    holdout : {array-like, DataFrame} of shape (n_holdout, n_features), default=None
        Rows of the same distribution that it has not seen.

    Returns
    -------
    result : NearestRecords
        With `to_train`, `to_holdout`, `closer_to_train`, `expected_share`, `train_copies` and `holdout_copies`.

    Raises
    ------
    TypeError
        If some of the tables are DataFrames and some are not.
    ValueError
        If the tables have different columns, or a cell is missing.

    Notes
    -----
    Distances are Euclidean, of numbers that are standardised over the rows of all tables; two different categories are
    at distance 1. Among few categories, or rounded numbers, copies come about by chance: compare `train_copies` with
    `holdout_copies`, in proportion to the numbers of rows.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.neighbors import KernelDensity
    >>> from sklearn_dgm.metrics import nearest_record_distances
    >>> X = np.random.default_rng(0).normal(size=(400, 3))
    >>> train, holdout = X[:200], X[200:]
    >>> narrow = KernelDensity(bandwidth=0.05).fit(train).sample(200, random_state=0)
    >>> result = nearest_record_distances(train, narrow, holdout)
    >>> result.expected_share, result.closer_to_train > 0.9, result.train_copies
    (0.5, True, 0)
    """
    named = {"train": train, "sampled": sampled}
    if holdout is not None:
        named["holdout"] = holdout
    train, sampled, *rest = as_points(named)
    to_train = _nearest(train, sampled)
    copies = int((to_train == 0).sum())
    if holdout is None:
        return NearestRecords(to_train, None, None, None, copies, None)
    to_holdout = _nearest(rest[0], sampled)
    expected = len(train) / (len(train) + len(rest[0]))
    closer = np.where(to_train == to_holdout, expected, to_train < to_holdout)
    return NearestRecords(
        to_train, to_holdout, float(closer.mean()), expected, copies, int((to_holdout == 0).sum())
    )


def _nearest(rows, points):
    # Brute force would take differences of squares, after which equal rows are not at distance 0.
    neighbors = NearestNeighbors(n_neighbors=1, algorithm="kd_tree").fit(rows)
    return neighbors.kneighbors(points)[0][:, 0]
