"""What a fitted detector says of rows: scores, predictions, p-values and shares of columns."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sklearn_dgm._nested.rows import validate_rows
from sklearn_dgm._typing import MatrixLike
from sklearn_dgm.chunks import ChunkedScoresMixin
from sklearn_dgm.columns import like_frame
from sklearn_dgm.outlier._committee import is_committee
from sklearn_dgm.tags import unwrapped


def _is_calibrated(detector):
    if detector.calibration is None:
        raise AttributeError(
            "There are no p-values without calibration rows: set calibration='holdout'."
        )
    return True


def explains_steps(estimator):
    """Tell whether the parameter of a detector is a density of sequences that knows the log-density of each step."""
    return not is_committee(estimator) and hasattr(unwrapped(estimator), "score_steps")


def _has_shares(detector):
    """Tell whether the score is a sum over columns, or over steps."""
    if detector.score_type != "log_density":
        raise AttributeError(
            "Columns have shares of a log-density only: set score_type='log_density'."
        )
    if explains_steps(detector.estimator):
        return True
    without = [
        name
        for name, member in detector._members()
        if not hasattr(unwrapped(member), "score_features")
    ]
    if without:
        raise AttributeError(
            f"The score is no sum over columns: {', '.join(without)} has no score_features. The densities of this package "
            "have, but for EnsembleDensity, and so has the committee of DensityOutlierDetector()."
        )
    return True


def _has_members(detector):
    if not is_committee(detector.estimator):
        raise AttributeError("There are no scores of members: estimator is a single density.")
    return True


def _cannot_score(detector):
    raise AttributeError(
        "DensityOutlierDetector has no score, since which detector is good depends on the outliers; search with "
        "scoring=sklearn_dgm.metrics.outlier_roc_auc where rows are labelled, and "
        "scoring=sklearn_dgm.metrics.neg_mass_volume where they are not."
    )


class OutlierScoresMixin(ChunkedScoresMixin):
    """What a detector that is fitted to a density, or to a committee of several, says of rows.

    It reads the parameters `estimator`, `score_type` and `calibration` of the detector, and what its `fit` has set:
    `estimator_`, `offset_`, and, with the options that ask for them, `calibration_scores_`, `mean_log_density_` and
    `_mean_shares`.
    """

    estimator: Any
    score_type: str
    estimator_: Any
    offset_: float
    calibration_scores_: NDArray[np.float64]
    mean_log_density_: float
    _mean_shares: NDArray[np.float64]

    def _log_density(self, X):
        return np.asarray(self.estimator_.score_samples(X))

    def _scores_of(self, log_density):
        """Return the scores of rows with these log-densities."""
        if self.score_type == "log_density":
            return log_density
        return -np.abs(log_density - self.mean_log_density_)

    def score_samples(self, X: MatrixLike) -> NDArray[np.float64]:
        """Score rows; the lower, the odder.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows to score.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            Log-densities in nats, of a committee the means of the standardised ones, in distances of quartiles; or
            minus their distances to `mean_log_density_`.
        """
        check_is_fitted(self)
        if self._is_chunked(X):
            return self._by_chunk(X, self.score_samples)
        return self._scores_of(self._log_density(self._check(X)))

    def _check(self, X):
        """Check rows that something is asked about."""
        densities = [density for _, density in self._members()]
        return validate_rows(self, densities, X, reset=False)

    @available_if(_has_members)
    def score_members(self, X: MatrixLike) -> NDArray[Any]:
        """Score rows by each member of the committee.

        Available where `estimator` is a list or None.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows to score.

        Returns
        -------
        scores : ndarray of shape (n_samples, n_members)
            Log-densities less their median, over the distance of their quartiles, both of held-out rows of `fit`. The
            score of the committee is their mean; of the default one, neighbours, correlated and columns count for 0.4,
            0.4 and 0.2.
        """
        check_is_fitted(self)
        return self.estimator_.score_members(self._check(X))

    @available_if(_cannot_score)
    def score(self, X: MatrixLike, y: Any = None) -> None:
        """Raise an error that names the scorers there are."""

    def decision_function(self, X: MatrixLike) -> NDArray[np.float64]:
        """Return scores less the threshold; negative for outliers.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows to score.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            ``score_samples(X) - offset_``, in the units of the scores.
        """
        if self._is_chunked(X):
            return self._by_chunk(X, self.decision_function)
        scores = self.score_samples(X)
        # Minus infinity less itself would be no number.
        return np.subtract(
            scores, self.offset_, out=np.zeros_like(scores), where=scores != self.offset_
        )

    def predict(self, X: MatrixLike) -> NDArray[Any]:
        """Tell outliers from inliers.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        is_inlier : ndarray of shape (n_samples,)
            -1 for outliers, and 1 for all others.
        """
        return np.where(self.decision_function(X) < 0, -1, 1)

    @available_if(_is_calibrated)
    def p_values(self, X: MatrixLike) -> NDArray[np.float64]:
        """Return conformal p-values: how rare a score as low as this is among rows like those of `fit`.

        Available with ``calibration="holdout"``.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        p_values : ndarray of shape (n_samples,)
            Between ``1 / (1 + number of calibration rows)`` and 1; small for outliers.
        """
        if self._is_chunked(X):
            return self._by_chunk(X, self.p_values)
        scores = self.score_samples(X)
        n_as_low = np.searchsorted(self.calibration_scores_, scores, side="right")
        return (1 + n_as_low) / (1 + len(self.calibration_scores_))

    @available_if(_has_shares)
    def explain(self, X: MatrixLike) -> MatrixLike:
        """Return the share of each column, or step, in the scores: the lowest are the odd cells.

        Available where the score is a log-density and the density, or each member of the committee, has
        `score_features`; or a density alone has `score_steps`, as those of sequences have.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows; or sequences.

        Returns
        -------
        shares : {ndarray, DataFrame} of shape (n_samples, n_features)
            Shares in the units of the score, with column names and index if X is a DataFrame. The sums of the rows are
            `score_samples(X)`. A share is the log-density of the cell given those that the density conditions it on,
            less its mean over the rows that the density was fitted to; what all columns have in common, the sum of
            these means, is spread evenly. So the shares of a usual row are about equal, whatever the units of its
            columns.

            Of sequences the log-density of each step given those before it, as `score_steps` has it: for a table of the
            shape of X, for others an array of objects, which holds an ndarray of shape (n_steps,) for each sequence, or
            (n_steps + 1,) where the length is modelled; the last number is that of the end.
        """
        scores = self.score_samples(X)
        if explains_steps(self.estimator):
            return like_frame(unwrapped(self.estimator_).score_steps(X), X)
        shares = self._shares(X) - self._mean_shares
        possible = np.isfinite(scores)
        in_common = scores[possible] - shares[possible].sum(axis=1)
        shares[possible] += in_common[:, None] / shares.shape[1]
        return like_frame(shares, X)

    def _shares(self, X):
        return np.array(unwrapped(self.estimator_).score_features(X))
