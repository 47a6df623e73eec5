"""Distinct rows with their weights, and the components that they start in."""

from typing import NamedTuple, Self

import numpy as np
from scipy import sparse
from sklearn.cluster import kmeans_plusplus
from sklearn.metrics import pairwise_distances_argmin
from sklearn.utils.validation import check_array

# Numbers that lie farther out, in standard deviations, are no start of a component.
FARTHEST = 4.0
# How much of the weight of all rows validates; of rows with more units of it, exactly so much.
VALIDATION_SHARE, MANY = 0.2, 1e6
LOWEST = np.finfo(np.float64).min


class WeightedRows(NamedTuple):
    """Distinct rows in a fixed order, so that a fit knows neither the order of rows nor weights from repeats.

    Attributes
    ----------
    Z : ndarray of shape (n, n_features)
        Encoded rows, NaN where a cell is missing.
    weight : ndarray of shape (n,)
        Their weights.
    start : ndarray of shape (n, n_components) or None
        Responsibilities to start from, where there are some.
    first : ndarray of int of shape (n,) or None
        Which rows of all these are, each the first of those that are equal.
    place : ndarray of int of shape (n_samples,) or None
        Which of the distinct rows each of all rows is.
    """

    Z: np.ndarray
    weight: np.ndarray
    start: np.ndarray | None = None
    first: np.ndarray | None = None
    place: np.ndarray | None = None

    @classmethod
    def of(cls, Z, sample_weight, start=None) -> Self:
        """Take equal rows together."""
        weight = np.ones(len(Z)) if sample_weight is None else sample_weight
        keys = np.where(np.isnan(Z), LOWEST, Z) + 0.0  # one zero of two
        _, first, place = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        total = np.bincount(place, weight)
        if start is not None:
            shares = sparse.csr_array((weight / total[place], (place, np.arange(len(Z)))))
            start = shares @ start
        return cls(Z[first], total, start, first, place)

    def split(self):
        """Split the weight of the rows into that of training and of validation, each unit of weight at random.

        Were it every fifth unit in order, equal rows would be as frequent in both parts, and would call fits good that
        are too close to the rows.

        Returns
        -------
        train, valid : WeightedRows
            Rows with weights; a row may be in both. They are the same in every call.
        """
        rng = np.random.default_rng(0)
        units = np.floor(self.weight)
        of_units = rng.binomial(units.clip(max=MANY).astype(np.int64), VALIDATION_SHARE)
        valid = np.where(units < MANY, of_units, VALIDATION_SHARE * units)
        valid = valid + (self.weight - units) * (rng.random(len(units)) < VALIDATION_SHARE)
        return self._weighted(self.weight - valid), self._weighted(valid)

    def split_rows(self):
        """Split the rows as :meth:`split` does, but so that none is in both parts, however often it is repeated."""
        is_valid = np.random.default_rng(0).random(len(self.weight)) < VALIDATION_SHARE
        return self._weighted(self.weight * ~is_valid), self._weighted(self.weight * is_valid)

    def _weighted(self, weight):
        rows = weight > 0
        start = None if self.start is None else self.start[rows]
        return WeightedRows(self.Z[rows], weight[rows], start)

    def started(self, columns, how, n_components, rng) -> Self:
        """Return the rows with responsibilities to start from.

        Parameters
        ----------
        columns : list of Column
            What the schema knows of the columns.
        how : {"k-means++", "random"}
            Each row in the component of the nearest of some rows, chosen far from each other; or random shares.
        n_components : int
            Number of components.
        rng : Generator
            Where random numbers come from.
        """
        n = len(self.Z)
        if how == "random":
            shares = rng.random((n, n_components))
            return self._replace(start=shares / shares.sum(axis=1, keepdims=True))
        points, n_seeds = _points(columns, self.Z, self.weight), min(n_components, n)
        seed = int(rng.integers(2**31))
        seeds, _ = kmeans_plusplus(points, n_seeds, sample_weight=self.weight, random_state=seed)
        nearest = pairwise_distances_argmin(points, seeds)
        return self._replace(start=(nearest[:, None] == np.arange(n_components)).astype(np.float64))


def without_unknown(columns, Z):
    """Return encoded rows in which cells are missing that hold what no row of the first fit has held.

    Parameters
    ----------
    columns : list of Column
        What the schema knows of the columns.
    Z : ndarray of shape (n, n_features)
        Encoded rows, NaN where a cell is missing.

    Returns
    -------
    Z : ndarray of shape (n, n_features)
        The rows without unknown categories, and other numbers in columns of two values.
    """
    Z = Z.copy()
    for column, z in zip(columns, Z.T, strict=True):
        if column.is_categorical:
            z[z < 0] = np.nan
        elif column.is_flag:
            z[(z != 0) & (z != 1)] = np.nan
    return Z


def given_start(init, X, n_components):
    """Return given responsibilities to start from, of shape (n_samples, n_components); refuse what is none."""
    start = check_array(init, dtype=np.float64, ensure_2d=False, allow_nd=True, input_name="init")
    expected = (*np.shape(X)[:1], n_components)
    if start.shape != expected or (start < 0).any() or not np.allclose(start.sum(axis=1), 1):
        raise ValueError(
            f"init should hold responsibilities, of shape (n_samples, n_components)={expected}, that are not negative "
            f"and sum to one in each row; got shape {start.shape}."
        )
    return start


def _points(columns, Z, weight):
    """Return rows as points: numbers in standard deviations, and one-hot categories, sparse if there are some."""
    is_category = np.array([column.is_categorical or column.is_flag for column in columns])
    numbers = Z[:, ~is_category]
    seen = weight[:, None] * ~np.isnan(numbers)
    total = np.maximum(seen.sum(axis=0), np.finfo(np.float64).tiny)
    with np.errstate(over="ignore"):
        numbers = numbers.clip(-1e150, 1e150)
        numbers = numbers - np.sum(seen * np.nan_to_num(numbers), axis=0) / total
        std = np.sqrt(np.sum(seen * np.nan_to_num(numbers) ** 2, axis=0) / total)
        numbers = np.nan_to_num(numbers / np.where(std > 0, std, 1.0)).clip(-FARTHEST, FARTHEST)
    if not is_category.any():
        return numbers
    rows, place = np.nonzero(Z[:, is_category] >= 0)
    sizes = [
        2 if column.is_flag else len(column.categories)
        for column, is_one in zip(columns, is_category, strict=True)
        if is_one
    ]
    starts = np.cumsum([0, *sizes])
    cells = starts[place] + Z[:, is_category][rows, place].astype(np.intp)
    one_hot = sparse.csr_array((np.ones(len(rows)), (rows, cells)), shape=(len(Z), starts[-1]))
    return sparse.csr_array(sparse.hstack([numbers, one_hot])) if numbers.shape[1] else one_hot
