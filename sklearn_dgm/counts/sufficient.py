"""Counts that add up: what models share of which counts are all that they learn from rows."""

import copy
from abc import abstractmethod
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from sklearn_dgm._sklearn import fit_context
from sklearn_dgm._typing import MatrixLike
from sklearn_dgm._validation import restored_on_failure


class CountsMixin:
    """Models whose sufficient statistics are counts, so that those of parts of the rows add up to those of all.

    Notes
    -----
    A family writes these hooks, and keeps its counts as `_counts`, an object with `+`.

    - `_settle(Z, sample_weight)` settles, on the first rows, what is counted, such as the cells of a grid.
    - `_count(Z, weight)` returns the counts of rows, in whatever form these are counted. A weight may be expected, such
      as how much a row belongs to a class: a step of expectation and maximisation is `_set_counts` of such counts.
    - `_set_counts(counts)` takes over counts, and what queries need of them.
    - `_cells()` returns something for each column that is equal where two models count the same cells.

    From them follow `fit`, through `_fit`, `partial_fit` and `merge`.
    """

    # What makes the cells of two models the same.
    _same_cells_by = "fit them with the same edges, range or category dtype in that column"

    @abstractmethod
    def _settle(self, Z, sample_weight):
        """Settle what is counted."""

    @abstractmethod
    def _count(self, Z, weight):
        """Count rows."""

    @abstractmethod
    def _set_counts(self, counts):
        """Take over counts, and what queries need of them."""

    @abstractmethod
    def _cells(self):
        """Return a list that says of each column in which cells it is counted."""

    def _check_cells_are_given(self):
        """Refuse parameters under which what is counted would depend on rows to come."""

    def _fit(self, Z, sample_weight):
        self._settle(Z, sample_weight)
        self._set_counts(self._count(Z, sample_weight))

    def _fit_chunks(self, rows):
        self._settle(*rows.sample)
        self._set_counts(rows.total(self._count))

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self,
        X: MatrixLike,
        y: Any = None,
        sample_weight: ArrayLike | None = None,
        *,
        schema: Any = None,
    ) -> Self:
        """Count further rows.

        The first call settles what is counted, as the notes of the class say. Categories that it has not seen are not
        counted, as if their cells were missing, and with ``handle_unknown="error"`` they raise; numbers beyond its
        range are counted in the outer cells. A histogram has neither missing cells nor outer ones, and refuses both.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows to count.
        y : None
            Ignored, present for API consistency by convention.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights.
        schema : ColumnSchema, default=None
            In the first call, what :meth:`learn_schema` has learnt from more rows than these, so that categories and
            ranges to come are known.

        Returns
        -------
        self : estimator
            The model of all rows so far.

        Raises
        ------
        ValueError
            If what is counted would depend on rows to come, a parameter that the first call settles has changed, a row
            is impossible under the model so far (a number beyond its bounds, no whole number in an integer column), or
            a schema is handed in later than in the first call; nothing is counted then.
        TypeError
            If X is to be read a chunk at a time; this is what :meth:`fit` does.
        """
        with restored_on_failure(self):
            self._learn_part(X, sample_weight, schema)
        return self

    def _learn_part(self, X, sample_weight, schema):
        is_first = not hasattr(self, "schema_")
        self._check_part(X, schema, is_first=is_first)
        Z, sample_weight = self._start_fit(X, sample_weight, reset=is_first, schema=schema)
        if is_first:
            self._check_cells_are_given()
            self._fit(Z, sample_weight)
        else:
            self._add(self._count(Z, sample_weight))

    def _add(self, counts):
        self._set_counts(self._counts + counts)

    def merge(self, other: Self) -> Self:
        """Merge the counts of two models that count the same cells.

        Parameters
        ----------
        other : estimator of the same class
            A fitted model.

        Returns
        -------
        merged : estimator
            Equal to one with the parameters of `self`, such as how it is smoothed, fit on all rows; `self` and `other`
            stay as they are.

        Raises
        ------
        TypeError
            If `other` is of another class.
        ValueError
            If the cells differ; the message names the column.
        """
        check_is_fitted(self)
        if not isinstance(other, type(self)):
            name = type(self).__name__
            raise TypeError(f"other should be a {name}, got a {type(other).__name__}.")
        check_is_fitted(other)
        self._check_same_cells(other)
        return self._with_counts_of(other)

    def _with_counts_of(self, other):
        merged = copy.deepcopy(self)
        merged._add(other._counts)
        return merged

    def _check_same_cells(self, other):
        columns, its_columns = self.schema_.columns_, other.schema_.columns_
        if len(columns) != len(its_columns):
            raise ValueError(
                f"models of {len(columns)} and of {len(its_columns)} columns have no common grid."
            )
        pairs = zip(columns, its_columns, strict=True)
        for (mine, its), cells, its_cells in zip(pairs, self._cells(), other._cells(), strict=True):
            same = mine.label == its.label and mine.kind == its.kind and cells == its_cells
            if mine.is_categorical:
                same = same and np.array_equal(mine.categories, its.categories)
            if not same:
                raise ValueError(
                    f"the models have different grids in {mine.where}; {self._same_cells_by}."
                )
