"""The probability integral transform: rows to independent standard normals, and back."""

from typing import Any

import numpy as np
from sklearn.utils.validation import check_array, check_is_fitted

from sklearn_dgm._typing import MatrixLike
from sklearn_dgm.columns import CONTINUOUS, like_frame


class NormalScoresMixin:
    """Mixin of densities that turn rows of continuous columns into independent standard normals, and back.

    A family writes `_to_normal(Z)` and `_from_normal(scores)`, over encoded rows, float64 arrays of shape
    (n_samples, n_features), which are the inverse of each other. Its methods are not called `transform`: what has a
    `transform` is a transformer to scikit-learn, for any table.
    """

    def normal_scores(self, X: MatrixLike) -> MatrixLike:
        """Transform rows so that, if they come from the density, they become independent standard normals.

        Along the order of the columns, each value becomes the standard normal quantile of the probability below it,
        given the columns before (Rosenblatt [1]_). Only with a single order of columns, as ``order="given"`` has it.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows of continuous columns.

        Returns
        -------
        scores : {ndarray, DataFrame} of shape (n_samples, n_features)
            Normal scores, a DataFrame if X is one; no larger than 38 in size. A cell that reaches this bound is so far
            out, given those before it, that float64 holds no smaller probability, and does not come back the same.

        Raises
        ------
        ValueError
            If the density has several orders, a column is not continuous, so that its values would have to be spread at
            random, or a cell is missing.

        References
        ----------
        .. [1] M. Rosenblatt, "Remarks on a multivariate transformation", Annals of Mathematical Statistics 23 (1952),
           https://doi.org/10.1214/aoms/1177729394

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn_dgm import AutoregressiveDensity
        >>> X = np.random.default_rng(0).exponential(size=(300, 2))
        >>> density = AutoregressiveDensity((16,), order="given", max_epochs=3, random_state=0).fit(X)
        >>> bool(np.allclose(density.from_normal_scores(density.normal_scores(X)), X))
        True
        """
        self._check_continuous()
        X = self._validate(X, reset=False)
        Z = self.schema_.encode(X)[0]
        missing = np.isnan(Z)
        if missing.any():
            row, j = np.argwhere(missing)[0]
            raise ValueError(f"{self.schema_.columns_[j].where}, row {row} is missing; fill it in.")
        return like_frame(self._to_normal(Z), X)

    def from_normal_scores(self, scores: Any) -> MatrixLike:
        """Return the rows that have given normal scores; the inverse of :meth:`normal_scores`.

        Parameters
        ----------
        scores : array-like of shape (n_samples, n_features)
            Normal scores. Independent standard normals become rows that come from the density.

        Returns
        -------
        X : {ndarray, DataFrame} of shape (n_samples, n_features)
            Rows in the container, with the column names and dtypes seen in `fit`.

        Raises
        ------
        ValueError
            If the density has several orders, a column is not continuous, a score is missing or infinite, or there are
            not as many as columns.
        """
        self._check_continuous()
        scores = check_array(scores, dtype=np.float64, input_name="scores")
        if scores.shape[1] != self.n_features_in_:
            raise ValueError(f"scores has {scores.shape[1]} columns, not {self.n_features_in_}.")
        return self.schema_.decode(self._from_normal(scores))

    def _check_continuous(self):
        check_is_fitted(self)
        for column in self.schema_.columns_:
            if column.kind != CONTINUOUS:
                raise ValueError(
                    f"{column.where} is {column.kind}, but only continuous columns have normal scores; if it holds "
                    "measurements, say so in column_kinds, or leave it out."
                )
