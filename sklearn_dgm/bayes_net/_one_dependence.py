"""A class-conditional graph over the columns, and Bayes' rule: what naive Bayes, TAN and AODE have in common.

In all of them a column depends on the class and on one other column at most, so that the counts of the cells of each
two columns in each class are all there is to learn.
"""

from abc import abstractmethod
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d

from sklearn_dgm._callbacks import fit_task
from sklearn_dgm._classes.bayes_rule import BayesRuleMixin, expect_classes
from sklearn_dgm._classes.labels import as_labels, check_labels, classes_of, place_of
from sklearn_dgm._nested.em import expectation_maximisation
from sklearn_dgm._sklearn import Interval, StrOptions, fit_context
from sklearn_dgm._typing import MatrixLike
from sklearn_dgm._validation import restored_on_failure
from sklearn_dgm.base import BaseDensity
from sklearn_dgm.chunks import Sums
from sklearn_dgm.columns import check_container
from sklearn_dgm.counts.axes import axes_of
from sklearn_dgm.counts.forests import roots_first
from sklearn_dgm.counts.pairs import (
    MAX_PAIRS,
    PairCounter,
    blocks_of,
    check_number_of_pairs,
    compact,
    starts_of,
)
from sklearn_dgm.counts.sufficient import CountsMixin
from sklearn_dgm.counts.tables import choose, smoothed
from sklearn_dgm.tags import DensityTags

# What a column is given its class counts as so many rows for what it is given its other parent, too; as in the paper of
# Friedman, Geiger and Goldszmidt.
PRIOR_ROWS = 5.0
# Numbers that a chunk of rows takes up.
NUMBERS_AT_ONCE = 2**22
LOWEST = np.finfo(np.float64).min


# Of two scores the classifier's, accuracy, is the one meant, and of two ways to sample its own, which takes a class:
# the first in the order of bases.
class OneDependenceClassifier(BayesRuleMixin, CountsMixin, BaseDensity):  # type: ignore[misc]
    """Base class of classifiers in whose graphs a column has the class and at most one other column as parents.

    A subclass says which graphs these are: `_forests()` returns the other parent of each column, -1 for none, in an
    array of shape (n_graphs, n_features). The joint density of row and class is the mean of those of the graphs.

    All tables stand behind each other in `_log_tables`, of shape (n_classes, n_entries): first those of the columns
    given the class alone, then those given another parent, too. In graph g, cell k of column j with parent cell m is
    entry ``_starts[g, j] + m * _strides[g, j] + k``; the stride of a root is 0.
    """

    _parameter_constraints: dict = {
        **BaseDensity._parameter_constraints,
        "bins": [Interval(Integral, 1, None, closed="left"), str, "array-like", dict],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "handle_unknown": [StrOptions({"impossible", "error", "rare"})],
        "bounds": [dict, StrOptions({"observed"}), None],
    }
    _density_tags = DensityTags(missing=True, ties=True)
    _same_cells_by = (
        "columns of one category dtype have the same; those of numbers are learnt from the first rows, so that further "
        "rows need partial_fit"
    )
    _shape_params = ("bins",)
    _counts_pairs = True
    _max_pairs = MAX_PAIRS
    _min_frequency = 0

    def __init__(
        self,
        *,
        bins: Any = "quantiles",
        alpha: float = 0.5,
        max_iter: int = 100,
        tol: float = 1e-4,
        categorical_features: Any = "from_dtype",
        integer_features: Any = "from_dtype",
        column_kinds: dict[Any, Any] | None = None,
        handle_unknown: Literal["impossible", "error", "rare"] = "impossible",
        bounds: Any = None,
    ) -> None:
        super().__init__(
            categorical_features=categorical_features,
            integer_features=integer_features,
            column_kinds=column_kinds,
        )
        self.bins = bins
        self.alpha = alpha
        self.max_iter = max_iter
        self.tol = tol
        self.handle_unknown = handle_unknown
        self.bounds = bounds

    @abstractmethod
    def _forests(self):
        """Return the other parent of each column in each graph, -1 for none, of shape (n_graphs, n_features)."""

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: MatrixLike, y: Any, sample_weight: ArrayLike | None = None) -> Self:
        """Count the cells of rows of each class.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows. Missing cells (NaN, None, NA, NaT, null) are left out of the counts. A table larger than memory is
            read a chunk at a time, as :meth:`~sklearn_dgm.BaseGenerator.fit` says.
        y : array-like of shape (n_samples,)
            Classes, beside a table of Dask also a column of Dask; -1 stands for an unlabelled row, unless there is only
            one other class, a number. Unlabelled rows count for each class by how probable it is for them, which is
            found by expectation and maximisation, in a pass over a table larger than memory for each step.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights: a weight of 2 counts as the row twice, 0 as its absence, though its class stays one of
            `classes_`.

        Returns
        -------
        self : estimator
            The fitted classifier. If anything fails, the estimator is as it was before.

        Raises
        ------
        ValueError
            If a parameter is invalid, a value is infinite, no row has a label, or the weights are negative or all zero.

        Warns
        -----
        ConvergenceWarning
            If the likelihood still changed after `max_iter` steps.
        """
        with fit_task(self, X, y, sample_weight), restored_on_failure(self):
            if self._fits_chunks(X):
                self._learn_chunks(X, y, sample_weight)
            else:
                self._learn(X, y, None, sample_weight, is_first=True)
        return self

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self,
        X: MatrixLike,
        y: Any,
        classes: Any = None,
        sample_weight: ArrayLike | None = None,
        *,
        schema: Any = None,
    ) -> Self:
        """Count further rows.

        The first call settles the classes, the categories and the bins. Categories that it has not seen are not
        counted, as if their cells were missing, and with ``handle_unknown="error"`` they raise; numbers beyond its
        range are counted in the outer cells. Another number in a column that had one value alone is as such a category.
        A category dtype brings all categories. Unlabelled rows count by how probable each class is for them after the
        labelled ones of the call are counted; those of the first call as in :meth:`fit`.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows to count.
        y : array-like of shape (n_samples,)
            Their classes; -1 stands for an unlabelled row.
        classes : array-like of shape (n_classes,), default=None
            All classes that will come, in the first call; by default those in `y`.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights.
        schema : ColumnSchema, default=None
            In the first call, what :meth:`learn_schema` has learnt from more rows than these, so that categories and
            ranges to come are known.

        Returns
        -------
        self : estimator
            The classifier of all rows so far.

        Raises
        ------
        ValueError
            If `y` holds a class that is none of the first call, a parameter that it settles has changed (`bins`, those
            of the columns), a row is impossible under the model so far (a number beyond its bounds, no whole number in
            an integer column), or a schema is handed in later than in the first call; nothing is counted then.
        TypeError
            If X is to be read a chunk at a time; this is what :meth:`fit` does.
        """
        is_first = not hasattr(self, "classes_")
        self._check_part(X, schema, is_first=is_first)
        with restored_on_failure(self):
            self._learn(X, y, classes, sample_weight, schema, is_first=is_first)
        return self

    def _learn(self, X, y, classes, sample_weight, schema=None, *, is_first):
        check_container(X)
        y = column_or_1d(as_labels(y), warn=True)
        check_consistent_length(X, y)
        Z, weight = self._start_fit(X, sample_weight, reset=is_first, schema=schema)
        check_labels(y)
        if is_first:
            self.classes_ = classes_of(y, classes)
        place = place_of(y, self.classes_)
        if is_first and (place < 0).all():
            raise ValueError("y holds no class in the first rows: all of them are unlabelled (-1).")
        if len(Z) < len(place):  # rows of weight 0 are gone
            place = place[np.asarray(sample_weight) > 0]
        self._fit(Z, weight, place, is_first)

    def _learn_chunks(self, X, y, sample_weight):
        """Learn from a table that is read a chunk at a time, a pass over it for each step."""
        y = as_labels(y)
        rows = self._start_chunks(X, sample_weight)
        y = rows.chunks.beside(y, "y", _labels_in)
        labels = rows.chunks.distinct(y)
        self.classes_ = classes_of(np.tile(labels, 2), None)  # each once, they seem to be numbers
        self._settle(rows.sample[0], _weights_of(*rows.sample))
        known = rows.total(self._count_labelled, y)
        self._set_counts(known)
        self.n_iter_ = 1
        if (place_of(labels, self.classes_) >= 0).all():
            return

        def expect():
            counts, log_likelihood, n_rows = rows.total(self._expect, y)
            return counts, log_likelihood / n_rows

        self._maximise(known, expect, self.max_iter)

    def _count_labelled(self, Z, weight, y):
        """Count the labelled ones among some rows."""
        place = place_of(y, self.classes_)
        return self._count(self._codes(Z)[0], self._of_class(_weights_of(Z, weight), place))

    def _expect(self, Z, weight, y):
        """Return the expected counts of unlabelled rows; of all rows, the log-likelihood and the weight."""
        weight, codes, place = _weights_of(Z, weight), self._codes(Z)[0], place_of(y, self.classes_)
        of_class, rest = self._of_class(weight, place)[place >= 0], weight[place < 0]
        joints = self._log_joint(codes[place >= 0]), self._log_joint(codes[place < 0])
        expected, log_likelihood = expect_classes(joints, self._log_prior, of_class, rest)
        n = weight.sum()
        return Sums((self._count(codes[place < 0], expected), log_likelihood * n, n))

    def _of_class(self, weight, place):
        """Return how much each row belongs to each class."""
        return weight[:, None] * (place[:, None] == np.arange(len(self.classes_)))

    def _fit(self, Z, sample_weight, place, is_first):
        """Learn from encoded rows and the places of their classes, -1 of unlabelled ones."""
        weight = _weights_of(Z, sample_weight)
        if is_first:
            self._settle(Z, weight)
        codes = self._codes(Z)[0]
        of_class = self._of_class(weight, place)
        known = self._count(codes, of_class)
        if not is_first:
            known = known + self._counts
        self._set_counts(known)
        self.n_iter_ = 1
        if (place < 0).any():
            unlabelled = codes[place < 0], weight[place < 0]
            labelled = codes[place >= 0], of_class[place >= 0]
            self._classify_unlabelled(known, unlabelled, labelled, self.max_iter if is_first else 1)

    def _settle(self, Z, sample_weight):
        columns = self.schema_.columns_
        self._axes = axes_of(columns, Z, sample_weight, self.bins)
        if self._counts_pairs:
            check_number_of_pairs(columns, self._n_levels, len(self.classes_), self._max_pairs)

    def _classify_unlabelled(self, known, unlabelled, labelled, max_iter):
        """Count unlabelled rows by how probable each class is for them."""
        codes, weight = unlabelled

        def expect():
            joints = self._log_joint(labelled[0]), self._log_joint(codes)
            of_class, log_likelihood = expect_classes(joints, self._log_prior, labelled[1], weight)
            return self._count(codes, of_class), log_likelihood

        self._maximise(known, expect, max_iter)

    def _maximise(self, known, expect, max_iter):
        """Add expected counts to known ones, by expectation and maximisation.

        Parameters
        ----------
        known : Counts
            Of labelled rows.
        expect : callable
            Returns the expected counts of the others, and the log-likelihood of all, in nats a row.
        max_iter : int
            Steps at most.
        """
        log_likelihoods = expectation_maximisation(
            expect,
            lambda counts: self._set_counts(known + counts),
            max_iter=max_iter,
            tol=self.tol,
        )
        self.n_iter_ = len(log_likelihoods) - 1

    @property
    def _log_prior(self):
        return self.class_log_prior_

    @property
    def _n_levels(self):
        return [axis.n_levels for axis in self._axes]

    def _codes(self, Z):
        """Return the cells of rows, -1 if missing or unknown, and the log-density within these, of shape (n,)."""
        pairs = [axis.encode(z) for axis, z in zip(self._axes, Z.T, strict=True)]
        codes, log_within = zip(*pairs, strict=True)
        return np.stack(codes, axis=1), np.sum(log_within, axis=0)

    def _cells(self):
        columns = self.schema_.columns_
        return [(axis, c.location, c.scale) for axis, c in zip(self._axes, columns, strict=True)]

    def _check_same_cells(self, other):
        if not np.array_equal(self.classes_, other.classes_):
            raise ValueError(
                f"the models have different classes, {self.classes_.tolist()} and {other.classes_.tolist()}."
            )
        super()._check_same_cells(other)

    def _count(self, codes, of_class):
        """Count cells, given how much each row belongs to each class."""
        n_levels, starts = self._n_levels, starts_of(self._n_levels)
        cells = np.zeros((of_class.shape[1], starts[-1]))
        for c, weight in enumerate(of_class.T):
            for j, code in enumerate(codes.T):
                seen = (weight > 0) & (code >= 0)
                cells[c, starts[j] : starts[j + 1]] = np.bincount(
                    code[seen], weight[seen], n_levels[j]
                )
        pairs = self._count_pairs(codes, of_class) if self._counts_pairs else []
        return Counts(of_class.sum(axis=0), cells, pairs)

    def _count_pairs(self, codes, of_class):
        """Count pairs of cells in each class, block by block."""
        counters = [
            PairCounter(codes[weight > 0], self._n_levels, weight[weight > 0])
            for weight in of_class.T
        ]
        return [
            compact(np.stack([counter.counts(block) for counter in counters]))
            for block in blocks_of(self._n_levels)
        ]

    def _set_counts(self, counts):
        """Take over counts, and what queries need of them."""
        self._counts = counts
        self.class_count_ = counts.classes
        self.class_log_prior_ = smoothed(counts.classes, self.alpha)
        self._log_cells = self._per_column(counts.cells)
        self._parents = self._forests()
        self._log_tables, self._starts, self._strides = self._lay_out_tables()

    def _lay_out_tables(self):
        """Lay out the tables of a single graph in one array; return it, and where each table stands."""
        (parents,), n_levels, starts = self._parents, self._n_levels, starts_of(self._n_levels)
        tables, first, strides = [self._log_cells], starts[:-1].copy(), np.zeros_like(starts[:-1])
        size = starts[-1]
        for j in np.flatnonzero(parents >= 0):
            i = parents[j]
            rows, own = slice(starts[i], starts[i + 1]), slice(starts[j], starts[j + 1])
            table = self._log_given(self._pairs_of(i, j), rows, own)
            tables.append(table.reshape(len(table), -1))
            first[j], strides[j] = size, n_levels[j]
            size += tables[-1].shape[1]
        return np.concatenate(tables, axis=1), first[None], strides[None]

    def _pairs_of(self, i, j):
        """Return the counts of the cells of two columns, of shape (n_classes, cells of i, cells of j)."""
        starts = starts_of(self._n_levels)
        for block, pairs in zip(blocks_of(self._n_levels), self._counts.pairs, strict=True):
            if min(i, j) < block.stop:
                one, other = (
                    slice(*(starts[k : k + 2] - starts[block.start]))
                    for k in (min(i, j), max(i, j))
                )
                counts = pairs[:, one, other]
                return counts if i < j else np.swapaxes(counts, 1, 2)
        raise IndexError(j)

    def _log_given(self, counts, parents, children):
        """Return the log-probabilities of cells given those of another column and the class.

        `parents` and `children` say which cells the counts, of shape (n_classes, n_parents, n_children), are of; those
        of the children make up whole columns.
        """
        alone = self._log_cells[:, None, children]
        column = np.repeat(np.arange(len(self._n_levels)), self._n_levels)[children]
        first = np.flatnonzero(np.diff(column, prepend=-1))
        sums = np.add.reduceat(counts, first, axis=-1, dtype=np.float64)
        sums = np.repeat(sums, np.diff(np.append(first, len(column))), axis=-1)
        with np.errstate(divide="ignore"):
            given = np.log((counts + PRIOR_ROWS * np.exp(alone)) / (sums + PRIOR_ROWS))
        # A cell of the parent that is too rare says nothing beyond the class.
        is_rare = self._counts.cells[:, parents].sum(axis=0) < self._min_frequency
        return np.where(is_rare[:, None], alone, given)

    def _per_column(self, counts):
        """Return the smoothed log-probabilities within each column, on the last axis."""
        parts = np.split(counts, starts_of(self._n_levels)[1:-1], axis=-1)
        return np.concatenate([smoothed(part, self.alpha) for part in parts], axis=-1)

    def _log_joint(self, codes):
        """Return the log-probability of the cells of rows together with each class, of shape (n, n_classes)."""
        n_classes, result = len(self.classes_), np.empty((len(codes), len(self.classes_)))
        step = max(NUMBERS_AT_ONCE // (n_classes * max(*self._n_levels, codes.shape[1])), 1)
        incomplete = (codes < 0).any(axis=1)
        for of_rows, chosen in (
            (self._log_prob_complete, ~incomplete),
            (self._log_prob_incomplete, incomplete),
        ):
            (rows,) = np.nonzero(chosen)
            for start in range(0, len(rows), step):
                part = rows[start : start + step]
                log_p = np.stack([of_rows(g, codes[part]) for g in range(len(self._parents))])
                result[part] = logsumexp(log_p, axis=0).T - np.log(len(log_p))
        return result + self.class_log_prior_

    def _log_prob_complete(self, graph, codes):
        """Return the log-probability of complete rows in each class under one graph, of shape (n_classes, n)."""
        of_parents = self._strides[graph] * codes[:, self._parents[graph]]
        entries = self._starts[graph] + of_parents + codes
        return self._log_tables[:, entries].sum(axis=2)

    def _log_prob_incomplete(self, graph, codes):
        """Return the same log-probability of rows with missing cells, which are summed out from leaves to roots."""
        parents = self._parents[graph]
        total, incoming = np.zeros((len(self.classes_), len(codes))), {}
        for j in reversed(roots_first(parents)):
            table, code, below = self._table(graph, j), codes[:, j], incoming.get(j)
            message = np.zeros((len(total), len(codes), table.shape[1]))
            (seen,), (unseen,) = np.nonzero(code >= 0), np.nonzero(code < 0)
            message[:, seen] = np.moveaxis(table[:, :, code[seen]], 1, 2)
            if below is not None:
                message[:, seen] += below[:, seen, code[seen], None]
                # Without smoothing all cells may be impossible.
                highest = below[:, unseen].max(axis=2, keepdims=True).clip(LOWEST)
                summed = np.exp(below[:, unseen] - highest) @ np.exp(np.moveaxis(table, 1, 2))
                with np.errstate(divide="ignore"):
                    message[:, unseen] = np.log(summed) + highest
            if parents[j] < 0:
                total += message[..., 0]
            else:
                incoming[parents[j]] = incoming.get(parents[j], 0) + message
        return total

    def _table(self, graph, j):
        """Return a column's log-probabilities given its other parent: (n_classes, the parent's cells or 1, cells)."""
        n_levels, parent = self._n_levels, self._parents[graph, j]
        rows = np.arange(n_levels[parent] if parent >= 0 else 1)[:, None]
        entries = self._starts[graph, j] + rows * self._strides[graph, j] + np.arange(n_levels[j])
        return self._log_tables[:, entries]

    def predict_joint_log_proba(self, X: MatrixLike) -> NDArray[np.float64]:
        """Return the log-density of each row together with each class.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows; missing cells are summed out. A table larger than memory is read a chunk at a time, one of Dask by
            partition once its result is asked for.

        Returns
        -------
        log_joint : ndarray of shape (n_samples, n_classes)
            In nats, in the units of X, in the order of `classes_`; `-inf` for an impossible row.
        """
        check_is_fitted(self)
        if self._is_chunked(X):
            joint = self.predict_joint_log_proba
            return self._by_chunk(X, joint, of_none=self._no_probabilities())
        Z, log_det = self._encode(X)
        codes, log_within = self._codes(Z)
        return self._log_joint(codes) + (log_within + log_det)[:, None]

    def _unnormalised_log_posterior(self, X):
        # Neither a category that fit has not seen nor the place of a number within its cell says anything of the class.
        return self._log_joint(self._codes(self._encode(X)[0])[0])

    def _sample_of_classes(self, place, rng):
        return self.schema_.decode(self._draw_of_classes(place, rng))

    def _draw(self, n_samples, rng):
        return self._draw_of_classes(self._places_to_draw(n_samples, None, rng), rng)

    def _draw_of_classes(self, place, rng):
        n_samples = len(place)
        graph = rng.integers(len(self._parents), size=n_samples)
        parents, codes = self._parents[graph], np.full((n_samples, self.n_features_in_), -1)
        Z, rows = np.empty(codes.shape), np.arange(n_samples)
        # In the order of the first graph, or of a single one, its columns are known in one round.
        order = roots_first(self._parents[0])
        while (codes < 0).any():
            for j in order:
                is_root, given = parents[:, j] < 0, codes[rows, parents[:, j]]
                (ready,) = np.nonzero((codes[:, j] < 0) & (is_root | (given >= 0)))
                if len(ready):
                    of = graph[ready]
                    first = self._starts[of, j] + self._strides[of, j] * given[ready]
                    entries = first[:, None] + np.arange(self._n_levels[j])
                    log_p = self._log_tables[place[ready, None], entries]
                    codes[ready, j], rest = choose(log_p, rng.random(len(ready)))
                    Z[ready, j] = self._axes[j].icdf_within(codes[ready, j], rest)
        return Z

    def _log_density(self, Z):
        codes, log_within = self._codes(Z)
        return logsumexp(self._log_joint(codes), axis=1) + log_within


def _weights_of(Z, sample_weight):
    return np.ones(len(Z)) if sample_weight is None else sample_weight


def _labels_in(y):
    """Return labels of some rows, checked, as an array."""
    y = column_or_1d(as_labels(y), warn=True)
    check_labels(y)
    return y


@dataclass(frozen=True)
class Counts:
    """Weights of the classes, of each cell within a class, and of each two cells within a class.

    Attributes
    ----------
    classes : ndarray of shape (n_classes,)
        Weight of the classes.
    cells : ndarray of shape (n_classes, n_cells)
        Weight of the cells; those of a column stand side by side.
    pairs : list of ndarray of shape (n_classes, n_cells_of_block, n_cells_from_block_on)
        Weight of pairs of cells, for each block of columns; empty where these are not counted.
    """

    classes: np.ndarray
    cells: np.ndarray
    pairs: list

    def __add__(self, other):
        pairs = [
            compact(np.add(mine, its, dtype=np.float64))
            for mine, its in zip(self.pairs, other.pairs, strict=True)
        ]
        return Counts(self.classes + other.classes, self.cells + other.cells, pairs)
