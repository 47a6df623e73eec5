"""Densities of some columns given others, which have no density themselves."""

from abc import abstractmethod
from typing import Any

import numpy as np
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sklearn_dgm._queries.completed_rows import with_given_cells
from sklearn_dgm._typing import MatrixLike, RandomState
from sklearn_dgm._validation import check_count, check_generator
from sklearn_dgm.base import BaseDensity
from sklearn_dgm.columns import INTEGER
from sklearn_dgm.columns._names import names_any


def _is_conditional(density):
    """Tell whether columns have to be given; of a fitted density, whether they had to in `fit`."""
    schema = getattr(density, "schema_", None)
    return names_any(density.given) if schema is None else schema.given_.any()


def _is_joint(density):
    if _is_conditional(density):
        raise AttributeError(
            "Columns that have to be given have no density; draw the others with conditional_sample(X), of rows in which they "
            "are missing."
        )
    return True


class GivenMixin(BaseDensity):
    """Mixin of densities with a parameter `given`: columns, by name or index, that scores and draws are conditional on.

    With ``given=None`` it is a density like any other. Else `score_samples` is the log-density of the other columns
    given these, and in place of `sample` there is `conditional_sample`, which draws the other columns. A family writes
    one more hook: `_draw_given(Z, rng)` returns encoded rows like those of Z, with the columns that are not in
    `self.schema_.given_` drawn; what Z holds there plays no part. In given columns `score_samples` takes all cells that
    it takes in others; given a category that `fit` has not seen, or a fraction in an integer column, scores are what
    the model extrapolates, but nothing is drawn.
    """

    given: Any

    @abstractmethod
    def _draw_given(self, Z, rng):
        """Return encoded rows with the given columns of Z, and the others drawn."""

    @available_if(_is_joint)
    def sample(self, n_samples: int = 1, random_state: RandomState = None) -> MatrixLike:
        """Draw new rows.

        Only there if no column has to be given.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.
        random_state : int, RandomState, Generator or None, default=None
            Seed for reproducible rows. With None two calls differ, and no global generator is touched.

        Returns
        -------
        X : {ndarray, DataFrame} of shape (n_samples, n_features)
            Rows in the container, with the column names and dtypes seen in `fit`.

        Raises
        ------
        ValueError
            If `n_samples` is not a positive integer.
        """
        return super().sample(n_samples, random_state)

    @available_if(_is_conditional)
    def conditional_sample(
        self,
        X: MatrixLike,
        n_samples: int = 1,
        random_state: RandomState = None,
        *,
        return_ess: bool = False,
    ) -> Any:
        """Draw the columns that are not given, given the others.

        Only there if columns have to be given.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_rows, n_features)
            Rows. Of the columns that are not given, all cells are missing (NaN, None, NA, NaT, null).
        n_samples : int, default=1
            Number of draws of each row.
        random_state : int, RandomState, Generator or None, default=None
            Seed for reproducible rows. With None two calls differ, and no global generator is touched.
        return_ess : bool, default=False
            Whether to return effective sample sizes, too, as :class:`~sklearn_dgm.AutoregressiveDensity` does.

        Returns
        -------
        completed : {ndarray, DataFrame} of shape (n_rows * n_samples, n_features)
            The draws of the first row, then those of the second, ..., in the container, with the column names and
            dtypes seen in `fit`. Given cells are as given.
        ess : ndarray of shape (n_rows,)
            Only with ``return_ess=True``: infinity, since the distribution is exact.

        Raises
        ------
        ValueError
            If `n_samples` is not a positive integer, a cell is missing that has to be given, one is there that is to be
            drawn, or a given cell holds a category that `fit` has not seen, or no whole number in an integer column.
        """
        check_is_fitted(self)
        check_count(n_samples, "n_samples")
        X = self._validate(X, reset=False)
        schema = self.schema_.with_missing()
        Z = schema.encode(X)[0]
        _check_cells(schema, Z)
        drawn = self._draw_given(np.repeat(Z, n_samples, axis=0), check_generator(random_state))
        completed = with_given_cells(schema, drawn, X)
        return (completed, np.full(len(Z), np.inf)) if return_ess else completed

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.density_tags.conditional = names_any(self.given)
        return tags


def _check_cells(schema, Z):
    """Refuse encoded rows in which another cell is given than has to be, or that `fit` could not have seen."""
    has_values = np.array([not column.empty for column in schema.columns_])
    wrong = np.argwhere((np.isnan(Z) == schema.given_) & has_values)
    if len(wrong):
        row, j = wrong[0]
        where = schema.columns_[j].where
        raise ValueError(
            f"{where} has to be given, but is missing in row {row}."
            if schema.given_[j]
            else f"{where} is to be drawn, so that its cell should be missing in row {row}."
        )
    for j in np.flatnonzero(schema.given_ & has_values):
        column, z = schema.columns_[j], Z[:, j]
        wrong = (z < 0) & column.is_categorical | (z % 1 != 0) & (column.kind == INTEGER)
        if wrong.any():
            found = (
                "a category that fit has not seen" if column.is_categorical else "no whole number"
            )
            raise ValueError(f"{column.where} holds {found} in row {np.argmax(wrong)}.")
