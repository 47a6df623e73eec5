"""Densities of some columns given others, which have no density themselves."""

from abc import abstractmethod
from copy import copy
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklearn_dgm._queries.completed_rows import with_given_cells
from sklearn_dgm._typing import MatrixLike, RandomState
from sklearn_dgm._validation import check_count, check_generator
from sklearn_dgm.base import BaseDensity


class GivenMixin(BaseDensity):
    """Mixin of densities with a parameter `given`: columns, by name or index, that scores and draws are conditional on.

    With ``given=None`` it is a density like any other. Else `score_samples` is the log-density of the other columns
    given these, `sample` raises, and `conditional_sample` draws the other columns. A family writes one more hook:
    `_draw_given(Z, rng)` returns encoded rows like those of Z, with the columns that are not in `self.schema_.given_`
    drawn; what Z holds there plays no part.
    """

    given: Any

    @abstractmethod
    def _draw_given(self, Z, rng):
        """Return encoded rows with the given columns of Z, and the others drawn."""

    def sample(self, n_samples: int = 1, random_state: RandomState = None) -> MatrixLike:
        """Draw new rows.

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
            If `n_samples` is not a positive integer, or there are columns that have to be given.
        """
        check_is_fitted(self)
        if self.schema_.given_.any():
            names = [
                column.label for column in np.compress(self.schema_.given_, self.schema_.columns_)
            ]
            raise ValueError(
                f"{type(self).__name__} has no density of the columns {names}, which have to be given; use "
                "conditional_sample(X), with rows of which the other cells are missing."
            )
        return super().sample(n_samples, random_state)

    def conditional_sample(
        self, X: MatrixLike, n_samples: int = 1, random_state: RandomState = None
    ) -> MatrixLike:
        """Draw the columns that are not given, given the others.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_rows, n_features)
            Rows. Of the columns that are not given, all cells are missing (NaN, None, NA, NaT, null).
        n_samples : int, default=1
            Number of draws of each row.
        random_state : int, RandomState, Generator or None, default=None
            Seed for reproducible rows. With None two calls differ, and no global generator is touched.

        Returns
        -------
        completed : {ndarray, DataFrame} of shape (n_rows * n_samples, n_features)
            The draws of the first row, then those of the second, ..., in the container, with the column names and
            dtypes seen in `fit`. Given cells are as given.

        Raises
        ------
        ValueError
            If `n_samples` is not a positive integer, a cell is missing that has to be given, or one is there that is to
            be drawn.
        """
        check_is_fitted(self)
        check_count(n_samples, "n_samples")
        X = self._validate(X, reset=False)
        schema = copy(self.schema_)
        schema.missing = True
        Z = schema.encode(X)[0]
        has_values = np.array([not column.empty for column in schema.columns_])
        wrong = np.argwhere((np.isnan(Z) == schema.given_) & has_values)
        if len(wrong):
            row, j = wrong[0]
            where, is_given = schema.columns_[j].where, schema.given_[j]
            raise ValueError(
                f"{where} has to be given, but is missing in row {row}."
                if is_given
                else f"{where} is to be drawn, so that its cell should be missing in row {row}."
            )
        drawn = self._draw_given(np.repeat(Z, n_samples, axis=0), check_generator(random_state))
        return with_given_cells(schema, drawn, X)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.density_tags.conditional = self.given is not None
        return tags
