"""Conditional distributions by smoothed counts."""

from dataclasses import dataclass

import numpy as np
from scipy.special import xlogy

from sklearn_dgm._state import Stateful
from sklearn_dgm.counts.cells import CellCounts

# Keys of joint cells are integers of 64 bits.
MAX_CELLS = 2**62


def smoothed(counts, alpha):
    """Return smoothed log-probabilities of counts, with a pseudo-count that is spread evenly.

    Parameters
    ----------
    counts : ndarray of shape (..., n_levels)
        Rows, or weights.
    alpha : float
        Pseudo-count, in rows. Without any count, all levels are equally likely.

    Returns
    -------
    log_p : ndarray of shape (..., n_levels)
        Log-probabilities, `-inf` of what has no count if `alpha` is 0.
    """
    empty = counts.sum(axis=-1, keepdims=True) == 0
    alpha = np.where(empty & (alpha == 0), 1.0, alpha)
    p = counts + alpha / counts.shape[-1]
    p /= p.sum(axis=-1, keepdims=True)  # in place: tables may be large
    with np.errstate(divide="ignore"):
        return np.log(p, out=p)


@dataclass(frozen=True)
class TableCounts:
    """Weights of the cells of a column beside those of its parents; those of parts of the rows add up.

    Rows of which a needed cell is missing are left out.

    Attributes
    ----------
    joint : CellCounts
        Weights of the joint cells of the parents and the column, in the order of :func:`strides`.
    alone : ndarray of shape (n_levels,)
        Weights of the cells of the column in all rows.
    """

    joint: CellCounts
    alone: np.ndarray

    @classmethod
    def of(cls, axes, child, parents, codes, sample_weight):
        """Count the cells of rows.

        Parameters
        ----------
        axes : list of {CategoryAxis, NumberAxis}
            Cells of all columns.
        child : int
            The column.
        parents : list of int
            Its parents.
        codes : ndarray of int of shape (n_samples, n_features)
            Cells of the rows, -1 where missing.
        sample_weight : ndarray of shape (n_samples,)
            Their weights.
        """
        family, code = [*parents, child], codes[:, child]
        its_strides = strides([axes[i].n_levels for i in family])
        seen = (codes[:, family] >= 0).all(axis=1)
        keys, place = _distinct(codes[np.ix_(seen, family)] @ its_strides)
        joint = CellCounts(keys, np.bincount(place, sample_weight[seen], len(keys)))
        return cls(
            joint, np.bincount(code[code >= 0], sample_weight[code >= 0], axes[child].n_levels)
        )

    def __add__(self, other):
        return TableCounts(self.joint + other.joint, self.alone + other.alone)

    def by_parents(self):
        """Return the joint cells of parents that have been seen, and the weights of the column's cells beside them.

        Returns
        -------
        keys : ndarray of int of shape (n_keys,)
            Keys of the parents' cells, increasing.
        weights : ndarray of shape (n_keys + 1, n_levels)
            Weights; the last row is of all rows.
        """
        key, cell = np.divmod(self.joint.keys, len(self.alone))
        is_first = np.diff(key, prepend=-1) > 0
        weights = np.zeros((np.count_nonzero(is_first) + 1, len(self.alone)))
        weights[np.cumsum(is_first) - 1, cell] = self.joint.counts
        weights[-1] = self.alone
        return key[is_first], weights

    def merged(self, of_cells):
        """Return a row for each joint cell of parents and column that has been seen, once cells are merged.

        Parameters
        ----------
        of_cells : list of ndarray of int of shape (n_levels,)
            The merged cell of each cell, of the parents and of the column.

        Returns
        -------
        codes : ndarray of int of shape (n_rows, n_parents + 1)
            Merged cells.
        weight : ndarray of shape (n_rows,)
            Weights.
        """
        n_levels = [int(of_cell.max()) + 1 for of_cell in of_cells]
        keys, merged = self.joint.keys, np.zeros(len(self.joint.keys), dtype=np.intp)
        its_strides = strides([len(of_cell) for of_cell in of_cells])
        for of_cell, stride, n in zip(of_cells, its_strides, n_levels, strict=True):
            merged *= n
            merged += of_cell[keys // stride % len(of_cell)]
        rows, place = _distinct(merged)
        codes = rows[:, None] // strides(n_levels) % n_levels
        return codes, np.bincount(place, self.joint.counts, len(rows))


@dataclass(frozen=True)
class CountsOfTables:
    """What tables of several columns have counted; those of parts of the rows add up.

    Attributes
    ----------
    tables : dict of int to TableCounts
        By column.
    """

    tables: dict

    def __add__(self, other):
        return CountsOfTables({j: own + other.tables[j] for j, own in self.tables.items()})


class Table(Stateful):
    """Conditional distribution of the cells of a column, given those of its parents.

    What has not been seen together with any parents' cells is as likely as it is in all rows.

    Parameters
    ----------
    axes : list of {CategoryAxis, NumberAxis}
        Cells of all columns.
    child : int
        The column.
    parents : list of int
        Its parents.
    counts : TableCounts
        What has been counted.
    alpha : float
        Pseudo-count of each distribution.
    """

    def __init__(self, axes, child, parents, counts, alpha):
        self.child, self.parents, self.axes = child, list(parents), axes
        self._strides = strides([axes[i].n_levels for i in self.parents])
        # The last row is for what has not been seen.
        self.keys, weights = counts.by_parents()
        self.log_p = smoothed(weights, alpha)

    def _row(self, parents):
        """Return the distribution that the parents' cells choose."""
        key, known = np.intp(0), True
        for stride, code in zip(self._strides, parents, strict=True):
            key, known = key + stride * code, known & (code >= 0)
        position = np.searchsorted(self.keys, key)
        found = (np.append(self.keys, -1)[position] == key) & known
        return np.where(found, position, len(self.keys))

    def log_mass(self, child, *parents):
        """Return the log-probability of cells.

        Parameters
        ----------
        child, *parents : ndarrays of int, of shapes that go together
            Cells of the column and of its parents; -1 for an unknown category.

        Returns
        -------
        log_mass : ndarray
            In nats, 0 of an unknown category, whose probability no parent changes.
        """
        return np.where(child < 0, 0.0, self.log_p[self._row(parents), child])

    def log_prob(self, Z):
        """Return the log-density of the column given its parents.

        Parameters
        ----------
        Z : ndarray of shape (n, n_features)
            Encoded rows.

        Returns
        -------
        log_prob : ndarray of shape (n,)
            In nats.
        """
        code, log_within = self.axes[self.child].encode(Z[:, self.child])
        return self.log_mass(code, *self._parents_of(Z)) + log_within

    def _parents_of(self, Z):
        return [self.axes[i].encode(Z[:, i])[0] for i in self.parents]

    def sample(self, Z, uniforms):
        """Draw values of the column given its parents.

        Parameters
        ----------
        Z : ndarray of shape (n, n_features)
            Encoded rows; what they hold in the column itself is not looked at.
        uniforms : ndarray of shape (n,)
            Numbers between 0 and 1.

        Returns
        -------
        z : ndarray of shape (n,)
            Encoded values; no unknown categories.
        """
        row = np.broadcast_to(self._row(self._parents_of(Z)), len(Z))
        return self.axes[self.child].icdf_within(*choose(self.log_p[row], uniforms))

    def cdf(self, Z, points):
        """Return the probabilities below values of the column, given its parents.

        Parameters
        ----------
        Z : ndarray of shape (n, n_features)
            Encoded rows; what they hold in the column itself is not looked at.
        points : ndarray of shape (n, m)
            For each row several values; midway between whole numbers and codes.

        Returns
        -------
        cdf : ndarray of shape (n, m)
            Probabilities of smaller values, among known ones.
        """
        row = np.broadcast_to(self._row(self._parents_of(Z)), len(Z))
        return self.axes[self.child].cdf(np.exp(self.log_p[row]), points)

    @property
    def n_params(self):
        """Number of free probabilities, also of parents' cells that no row has."""
        n_cells = np.prod([float(self.axes[i].n_levels) for i in self.parents])
        return int(n_cells * (self.axes[self.child].n_levels - 1))


def _distinct(keys):
    """Return the distinct keys, sorted, and the position of each key among them."""
    highest = keys.max(initial=0)
    if highest > 2 * len(keys) + 1024:
        return np.unique(keys, return_inverse=True)
    # Without sorting, where they are few.
    occurs = np.zeros(highest + 1, dtype=bool)
    occurs[keys] = True
    return np.flatnonzero(occurs), (np.cumsum(occurs) - 1)[keys]


def choose(log_p, uniforms):
    """Choose one of the outcomes of each row, and return what is left of the random number, between 0 and 1 again."""
    p = np.exp(log_p - log_p.max(axis=1, keepdims=True))
    upper = np.cumsum(p, axis=1)
    target = uniforms * upper[:, -1]
    # The last outcome that is possible, where rounding would go beyond.
    last = p.shape[1] - 1 - np.argmax(p[:, ::-1] > 0, axis=1)
    code = np.minimum((upper <= target[:, None]).sum(axis=1), last)
    rows = np.arange(len(p))
    rest = (target - upper[rows, code] + p[rows, code]) / p[rows, code]
    return code, rest.clip(0, np.nextafter(1, 0))


def strides(n_levels):
    """Return the stride of each coordinate in the number of a joint cell.

    Parameters
    ----------
    n_levels : list of int
        Cells of each column.

    Returns
    -------
    strides : ndarray of int of shape (n,)
        The last one is 1.

    Raises
    ------
    ValueError
        If there are more cells than numbers of 64 bits.
    """
    if np.prod(np.asarray(n_levels, dtype=np.float64)) > MAX_CELLS:
        raise ValueError(
            f"tables of {len(n_levels)} parents with {max(n_levels)} cells are too large"
        )
    return np.append(np.cumprod(n_levels[:0:-1], dtype=np.int64)[::-1], 1)[: len(n_levels)]


def edge_strength(codes, n_levels, sample_weight, parent, child, others):
    """Return the conditional mutual information of a parent and a column given its other parents.

    Parameters
    ----------
    codes : ndarray of int of shape (n_samples, n_features)
        Cells of the rows, -1 where missing; rows are left out where a cell is that plays a part.
    n_levels : list of int
        Cells of each column.
    sample_weight : ndarray of shape (n_samples,)
        Weights of the rows.
    parent, child : int
        The columns.
    others : list of int
        The other parents.

    Returns
    -------
    strength : float
        Conditional mutual information in nats, less what independent columns would have by chance; 0 at least. By
        chance each free cell of a table that is seen has half a row of it, for each joint cell of the other parents.
    """
    family = [parent, child, *others]
    codes = codes[:, family].T  # of the family alone: there may be many columns
    seen = (codes >= 0).all(axis=0)
    (parent, child, *others), weight = codes[:, seen], sample_weight[seen]
    n_parent, n_child, *n_others = np.asarray(n_levels)[family]
    given = np.zeros(len(weight), dtype=np.intp)
    for code, n in zip(others, n_others, strict=True):
        given = _distinct(given * n + code)[1]

    def weighted_log(*columns):
        """Sum over cells of the weight times its logarithm, which is all that entropies are made of."""
        key = given
        for code, n in columns:
            key = _distinct(key * n + code)[1]
        counts = np.bincount(key, weight)
        return xlogy(counts, counts).sum()

    def n_seen(code, n):
        """Count the cells of a column that are seen in each joint cell of the other parents."""
        return np.bincount(_distinct(given * n + code)[0] // n)

    one, other = (parent, n_parent), (child, n_child)
    gain = weighted_log(one, other) - weighted_log(one) - weighted_log(other) + weighted_log()
    n_free = np.sum((n_seen(*one) - 1) * (n_seen(*other) - 1))
    return float(max(gain - n_free / 2, 0.0) / max(weight.sum(), np.finfo(np.float64).tiny))
