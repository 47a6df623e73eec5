"""Networks that learn from further rows."""

import math
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from sklearn_dgm._sklearn import fit_context
from sklearn_dgm._training.streams import EPOCH_ROWS
from sklearn_dgm._typing import MatrixLike
from sklearn_dgm.tags import SCORE_KINDS

# Passes over further rows: of 11 further parts of 400 rows, 1, 3 and 10 closed 0.13, 0.41 and 0.87 of the gap between a
# fit of the first part and one of all.
N_PASSES = 10


class PartialFitMixin:
    """Networks that learn from further rows by `partial_fit`.

    It stands before :class:`~sklearn_dgm._training.base.TrainingMixin`.
    """

    score_kind_: str

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self,
        X: MatrixLike,
        y: Any = None,
        sample_weight: ArrayLike | None = None,
        *,
        schema: Any = None,
    ) -> Self:
        """Learn from further rows, in ten passes from the weights as they are.

        The first call is a `fit`: it settles the kinds of the columns, their categories and their ranges, unless a
        schema is handed in, and trains until rows that validate are served no better. In later calls all rows train,
        at a learning rate that falls from `lr` to zero. A category that the first call has not seen is not counted, as
        if its cell were missing, and with ``handle_unknown="error"``, where there is such a parameter, it raises; so
        does every one of a density of tables that takes no missing cells. In a sequence it is not counted either, but
        as what comes before other steps. Where cells may be missing, a column may have no known one in these rows.
        Numbers beyond the range of the first call are learnt as tails, unless they are impossible.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows to learn from; sequences, if it is a density of these.
        y : None
            Ignored, present for API consistency by convention.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of the rows in the loss; their ratios within a call count.
        schema : ColumnSchema, default=None
            In the first call, what :meth:`learn_schema` has learnt from more rows than these.

        Returns
        -------
        self : estimator
            The fitted model. If a call fails, the estimator is as it was before, except that with `warm_start=True`
            what Ctrl-C interrupts is kept.

        Raises
        ------
        ValueError
            If a parameter would change the network or the columns, a row is impossible under the model so far (a number
            beyond its bounds, no whole number in an integer column), or a schema is handed in later than in the first
            call.
        TypeError
            If X is to be read a chunk at a time; this is what :meth:`fit` does.
        """
        is_first = not hasattr(self, "net_")
        self._check_part(X, schema, is_first=is_first)
        if is_first:
            return self.fit(X, y, sample_weight, schema=schema)
        self._is_partial = True
        try:
            self._fit_part(X, y, sample_weight)
        finally:
            vars(self).pop("_is_partial", None)
        return self

    def _fit_part(self, X, y, sample_weight):
        """Learn from the rows of a later call."""
        kind = getattr(self, "score_kind_", None)
        self._fit_or_restore(X, sample_weight, None, y)
        if kind is not None:
            self.score_kind_ = max(kind, self.score_kind_, key=SCORE_KINDS.index)

    def _is_further_part(self):
        """Tell whether it is a later call of `partial_fit` that learns."""
        return hasattr(self, "_is_partial")

    def _fits_chunks(self, X):
        # Further rows are in memory; a map of a file is an array as well.
        return not self._is_further_part() and super()._fits_chunks(X)

    def _continued_by(self):
        return "partial_fit" if self._is_further_part() else super()._continued_by()

    def _validation_share(self):
        return None if self._is_further_part() else super()._validation_share()

    def _checkpoint_and_others(self):
        checkpoint, others = super()._checkpoint_and_others()
        # Its file would stand in the way of the fit before, when a script is run again.
        return None if self._is_further_part() else checkpoint, others

    def _parameters_of_this_fit(self, splits):
        parameters = super()._parameters_of_this_fit(splits)
        if not self._is_further_part():
            return parameters
        n_epochs = N_PASSES * math.ceil(splits.n_train / EPOCH_ROWS)
        return {**parameters, "max_epochs": n_epochs, "lr_falls": True}

    def _start_fit(self, X, sample_weight, *, reset=True, schema=None):
        Z, sample_weight = super()._start_fit(X, sample_weight, reset=reset, schema=schema)
        if self._is_further_part() and self._density_tags.missing:
            is_category = [column.is_categorical for column in self.schema_.columns_]
            Z = np.where(is_category & (Z < 0), np.nan, Z)
        return Z, sample_weight
