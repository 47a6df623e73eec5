"""Outlier detection by a density: which rows are improbable, how improbable, and by which of their cells."""

import warnings
from numbers import Real

import narwhals as nw
import numpy as np
from sklearn import get_config
from sklearn.base import BaseEstimator, MetaEstimatorMixin, OutlierMixin, _fit_context, clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils import _safe_indexing, get_tags
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    process_routing,
)
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import _check_method_params, _num_samples, check_is_fitted

from sklearn_dgm._frames import raw_columns, with_added
from sklearn_dgm.base import (
    BaseDensity,
    check_generator,
    densities_within,
    detects_ties,
    last_step,
    restored_on_failure,
    unwrapped,
    validate_table,
)
from sklearn_dgm.columns import CONTINUOUS, ColumnSchema, is_frame, like_frame


def _is_calibrated(detector):
    if detector.calibration is None:
        raise AttributeError(
            "There are no p-values without calibration rows: set calibration='holdout'."
        )
    return True


def _has_shares(detector):
    """Whether the score is a sum over columns."""
    if detector.score_type != "log_density":
        raise AttributeError(
            "Columns have shares of a log-density only: set score_type='log_density'."
        )
    density = unwrapped(getattr(detector, "estimator_", detector.estimator))
    if not hasattr(density, "score_features"):
        raise AttributeError(
            f"{type(density).__name__} has no score by column (score_features), so that columns have no shares to explain."
        )
    return True


# In units of the bandwidth of Scott's rule, chosen on tables that are in no benchmark.
AUTO_SMOOTHING = 0.25
# Attributes that only some fits have.
OF_SOME_FITS = ("calibration_scores_", "mean_log_density_", "_mean_shares")


class DensityOutlierDetector(OutlierMixin, MetaEstimatorMixin, BaseEstimator):
    """Detect outliers as the rows to which a density gives a low probability.

    It stands where :class:`sklearn.ensemble.IsolationForest` stands, for outliers among the rows of `fit` and for new
    ones. Rows that were kept from the fit turn scores into p-values, and a density that factorises over columns says
    which cells are odd.

    Parameters
    ----------
    estimator : estimator
        A density: one of this package, :class:`~sklearn.neighbors.KernelDensity`,
        :class:`~sklearn.mixture.GaussianMixture`, or a pipeline or search that ends in one.
    contamination : "auto" or float, default="auto"
        Where the threshold lies. A float between 0 and 0.5 is the share of the rows of `fit` to be below it. "auto" takes
        no share for granted: with calibration rows, rows with a p-value of at most `alpha` are outliers; without,
        those whose score is below the lower fence of a box plot of the rows of `fit` (the lower quartile less 1.5 times
        the distance of the quartiles).
    calibration : {"holdout"} or None, default=None
        With "holdout" a part of the rows is kept from the fit of the density. It is what scores of new rows are compared
        with, in :meth:`p_values`. A frozen estimator is not fitted, and all rows are kept.
    calibration_fraction : float, default=0.2
        Share of the rows that are kept, for calibration and for typicality. Where they serve for both, each gets half of
        them.
    alpha : float, default=0.05
        Rate of false alarms, with ``calibration="holdout"`` and ``contamination="auto"``: share of the rows like those of
        `fit` that may be called outliers.
    score_type : {"log_density", "typicality"}, default="log_density"
        What is low for outliers: the log-density; or minus its distance to the mean log-density of rows that were kept
        from the fit [2]_, so that rows which are too probable are outliers, too.
    smoothing : "auto" or float, default="auto"
        Standard deviation of the normal noise that is added to columns of floats before the fit, but not to those that the
        density is told to be of another kind than continuous. It is in units of the bandwidth of Scott's rule, the spread
        of the column times ``n_samples ** (-1 / (n_features + 4))``; 0 is for none. "auto" is 0.25 where there is a density
        that looks for values which repeat, such as :class:`~sklearn_dgm.AutoregressiveDensity`, and 0 elsewhere.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the choice of the rows that are kept and of the noise; the density has its own.

    Attributes
    ----------
    estimator_ : estimator
        The fitted density.
    offset_ : float
        The threshold; ``decision_function(X) = score_samples(X) - offset_``.
    calibration_scores_ : ndarray of shape (n_calibration,)
        Sorted scores of the calibration rows, if there are such.
    mean_log_density_ : float
        Mean log-density of rows that were kept from the fit, impossible ones left out, in nats; for typicality.
    n_features_in_ : int
        Number of columns seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has string column names.

    See Also
    --------
    sklearn.ensemble.IsolationForest : Outliers are what random splits isolate early.
    OutlierDisplay : Draws scores and threshold.

    Notes
    -----
    **False alarms.** A p-value is the rank of a row among the calibration rows, ``(1 + number of these that score no
    higher) / (1 + number of these)`` [1]_. If a new row and the calibration rows are exchangeable, the probability of a
    p-value of at most `alpha` is at most `alpha`, and at least ``alpha - 1 / (1 + number of calibration rows)`` where scores
    do not tie. That holds for any density, good or bad; a good one finds more of the outliers. It is a statement on
    average over the choice of calibration rows, and for one row: among many rows, expect a share of `alpha`.

    **Log-density or typicality.** Where columns are many, nearly all rows of a distribution lie far from where its density
    is highest: of a standard normal in d dimensions, at a distance of about the root of d. A row at the centre is more
    probable than any that was ever seen, and still odd. The log-density takes it for the most normal row of all;
    typicality does not. Choose typicality where odd rows may be plainer than others: blank images, constant or
    averaged rows, many zeros. Otherwise choose the log-density: it does not spend false alarms on the most probable rows.

    **Smoothing.** A density that finds the grid on which numbers were recorded gives a low probability to a row that was
    recorded on another one, and this is not what an outlier is. With a little noise in the rows of the fit [3]_ it learns
    where rows are, and not how they were rounded. Counts and categories are left as they are.

    References
    ----------
    .. [1] R. Laxhammar, G. Falkman, "Conformal prediction for distribution-independent anomaly detection in streaming
       vessel data", StreamKDD 2010, https://doi.org/10.1145/1833280.1833287
    .. [2] E. Nalisnick, A. Matsukawa, Y. W. Teh, B. Lakshminarayanan, "Detecting out-of-distribution inputs to deep
       generative models using typicality", 2019, https://arxiv.org/abs/1906.02994
    .. [3] J. Rothfuss, F. Ferreira, S. Boehm, S. Walther, M. Ulrich, T. Asfour, A. Krause, "Noise regularization for
       conditional density estimation", 2019, https://arxiv.org/abs/1907.08982

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.neighbors import KernelDensity
    >>> from sklearn_dgm import DensityOutlierDetector
    >>> X = np.random.default_rng(0).normal(size=(500, 2))
    >>> detector = DensityOutlierDetector(KernelDensity(), calibration="holdout", random_state=0)
    >>> detector.fit(X).predict([[0, 0], [4, -4]])
    array([ 1, -1])
    >>> detector.p_values([[0, 0], [4, -4]]).round(2)
    array([0.99, 0.01])
    """

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit", "score_samples"])],
        "contamination": [StrOptions({"auto"}), Interval(Real, 0, 0.5, closed="right")],
        "calibration": [StrOptions({"holdout"}), None],
        "calibration_fraction": [Interval(Real, 0, 1, closed="neither")],
        "alpha": [Interval(Real, 0, 1, closed="neither")],
        "score_type": [StrOptions({"log_density", "typicality"})],
        "smoothing": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "random_state": ["random_state", np.random.Generator],
    }

    def __init__(
        self,
        estimator,
        contamination="auto",
        *,
        calibration=None,
        calibration_fraction=0.2,
        alpha=0.05,
        score_type="log_density",
        smoothing="auto",
        random_state=None,
    ):
        self.estimator = estimator
        self.contamination = contamination
        self.calibration = calibration
        self.calibration_fraction = calibration_fraction
        self.alpha = alpha
        self.score_type = score_type
        self.smoothing = smoothing
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y=None, **fit_params):
        """Fit the density, and set the threshold.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows to learn from, a few of which may be outliers.
        y : None
            Ignored, present for API consistency by convention.
        **fit_params : dict
            What the density's `fit` takes, such as `sample_weight`; of what has an entry for each row, those of the
            rows that it is fitted to. The threshold is the same whatever the weights.

        Returns
        -------
        self : estimator
            The fitted detector.

        Raises
        ------
        ValueError
            If a parameter is invalid, there are too few rows to keep some, none of the rows that tell what is typical is
            possible, or the density cannot be fitted to X.

        Warns
        -----
        UserWarning
            If the calibration rows are too few for a p-value of `alpha`, or so many rows are impossible that none can be
            below the threshold.
        """
        with restored_on_failure(self):
            self._fit(X, fit_params)
        return self

    def _fit(self, X, fit_params):
        X = validate_table(self, X, reset=True)
        if any(isinstance(density, BaseDensity) for density in densities_within(self.estimator)):
            # Its errors name a row, which is to be that of X, not that among those which the density gets.
            missing = get_tags(last_step(self.estimator)).input_tags.allow_nan
            ColumnSchema(standardize=False, missing=missing).fit(X)
        if get_config()["enable_metadata_routing"]:
            fit_params = process_routing(self, "fit", **fit_params).estimator.fit
        rng = check_generator(self.random_state)
        rows, typical, calibration = self._split(_num_samples(X), rng)
        part = _safe_indexing(X, rows)
        params = _check_method_params(X, fit_params, indices=rows)
        self.estimator_ = clone(self.estimator).fit(self._noisy(part, rng), None, **params)
        for name in OF_SOME_FITS:
            vars(self).pop(name, None)
        if len(typical):
            log_density = self._log_density(_safe_indexing(X, typical))
            if np.isneginf(log_density).all():
                raise ValueError(
                    "none of the rows that were kept from the fit is possible under the density, so that nothing is known of "
                    "what is typical; smooth the density, or set score_type='log_density'."
                )
            self.mean_log_density_ = float(mean_of_possible(log_density))
        if len(calibration):
            self.calibration_scores_ = np.sort(self.score_samples(_safe_indexing(X, calibration)))
        if hasattr(self, "explain"):
            self._mean_shares = mean_of_possible(self._shares(part))
        self.offset_ = self._threshold(X)
        if np.isneginf(self.offset_):
            self._warn_of_no_outliers()

    def _noisy(self, X, rng):
        smoothing = self._smoothing()
        if smoothing == 0 or isinstance(self.estimator, FrozenEstimator):
            return X
        return with_noise(X, smoothing, continuous_columns(self.estimator, X), rng)

    def _smoothing(self):
        if self.smoothing != "auto":
            return self.smoothing
        return AUTO_SMOOTHING if detects_ties(self.estimator) else 0.0

    def _split(self, n_rows, rng):
        """Indices of the rows that the density is fitted to, of those that tell what is typical, and that calibrate."""
        rows = np.arange(n_rows)
        is_typicality, is_calibrated = self.score_type == "typicality", self.calibration is not None
        if not (is_typicality or is_calibrated):
            return rows, rows[:0], rows[:0]
        shuffled = rng.permutation(n_rows)
        n_kept = int(np.ceil(self.calibration_fraction * n_rows))
        is_frozen = isinstance(self.estimator, FrozenEstimator)  # and has been fitted to other rows
        if is_frozen:
            n_kept = n_rows
        else:
            rows = np.sort(shuffled[n_kept:])
        if len(rows) == 0 or n_kept < is_typicality + is_calibrated:
            raise ValueError(
                f"{n_rows} sample(s) are too few to keep calibration_fraction={self.calibration_fraction} of them and to fit "
                "the density to the others; give more, or keep none, with calibration=None and score_type='log_density'."
            )
        n_typical = is_typicality * (-(-n_kept // 2) if is_calibrated else n_kept)
        return rows, shuffled[:n_typical], shuffled[n_typical:n_kept]

    def _threshold(self, X):
        if self.contamination != "auto":
            return quantile_below(self.score_samples(X), self.contamination)
        if self.calibration is None:
            return lower_fence(self.score_samples(X))
        return conformal_threshold(self.calibration_scores_, self.alpha)

    def _warn_of_no_outliers(self):
        n_kept = len(getattr(self, "calibration_scores_", ()))
        if self.contamination == "auto" and 0 < n_kept < 1 / self.alpha - 1:
            why = (
                f"the smallest p-value among {n_kept} calibration row(s) is {1 / (n_kept + 1):.3g}, more than "
                f"alpha={self.alpha}; give more rows, or raise calibration_fraction or alpha"
            )
        else:
            why = "too many of the rows that set it are impossible under the density; smooth the density"
        warnings.warn(f"No row can be below the threshold: {why}.", UserWarning, stacklevel=5)

    def _log_density(self, X):
        return np.asarray(self.estimator_.score_samples(X))

    def score_samples(self, X):
        """Score rows; the lower, the odder.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows to score.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            Log-densities in nats, or minus their distances to `mean_log_density_`.
        """
        check_is_fitted(self)
        X = validate_table(self, X, reset=False)
        log_density = self._log_density(X)
        if self.score_type == "log_density":
            return log_density
        return -np.abs(log_density - self.mean_log_density_)

    def decision_function(self, X):
        """Scores less the threshold; negative for outliers.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows to score.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            ``score_samples(X) - offset_``, in nats.
        """
        scores = self.score_samples(X)
        # Minus infinity less itself would be no number.
        return np.subtract(
            scores, self.offset_, out=np.zeros_like(scores), where=scores != self.offset_
        )

    def predict(self, X):
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
    def p_values(self, X):
        """Conformal p-values: how rare a score as low as this is among rows like those of `fit`.

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
        scores = self.score_samples(X)
        n_as_low = np.searchsorted(self.calibration_scores_, scores, side="right")
        return (1 + n_as_low) / (1 + len(self.calibration_scores_))

    @available_if(_has_shares)
    def explain(self, X):
        """Share of each column in the scores: the lowest are the odd cells.

        Available where the score is a log-density and the density has `score_features`.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        shares : {ndarray, DataFrame} of shape (n_samples, n_features)
            Shares in nats, with column names and index if X is a DataFrame. The sums of the rows are `score_samples(X)`. A
            share is the log-density of the cell given those that the density conditions it on, less its mean over the
            rows that the density was fitted to; what all columns have in common, the sum of these means, is spread evenly. So
            the shares of a usual row are about equal, whatever the units of its columns.
        """
        scores = self.score_samples(X)
        shares = self._shares(X) - self._mean_shares
        possible = np.isfinite(scores)
        in_common = scores[possible] - shares[possible].sum(axis=1)
        shares[possible] += in_common[:, None] / shares.shape[1]
        return like_frame(shares, X)

    def _shares(self, X):
        return np.array(unwrapped(self.estimator_).score_features(X))

    def get_metadata_routing(self):
        """How metadata is passed on.

        Returns
        -------
        routing : MetadataRouter
            What `fit` is given goes to that of the density.
        """
        return MetadataRouter(owner=self).add(
            estimator=self.estimator,
            method_mapping=MethodMapping().add(caller="fit", callee="fit"),
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags = get_tags(self.estimator).input_tags
        return tags


def continuous_columns(estimator, X):
    """Columns of floats that the density is not told to take for something else, of shape (n_features,)."""
    density = last_step(estimator)
    declared = {
        name: getattr(density, name, default)
        for name, default in (("categorical_features", "from_dtype"), ("integer_features", None))
    }
    kinds = getattr(density, "column_kinds", None)
    schema = ColumnSchema(**declared, column_kinds=kinds, missing=True, standardize=False).fit(X)
    if is_frame(X):
        frame = nw.from_native(X, eager_only=True)
        is_float = [column.dtype.is_float() for column in frame.iter_columns()]
    else:
        is_float = [np.asarray(X).dtype.kind == "f"] * X.shape[1]
    return np.array(is_float) & (schema.kinds_ == CONTINUOUS)


def with_noise(X, smoothing, columns, rng):
    """Rows with normal noise in some of their columns.

    Parameters
    ----------
    X : {ndarray, DataFrame} of shape (n_samples, n_features)
        Rows.
    smoothing : float
        Standard deviation of the noise, in units of the bandwidth of Scott's rule.
    columns : ndarray of bool of shape (n_features,)
        Which columns get noise.
    rng : numpy.random.Generator
        The generator to draw from.

    Returns
    -------
    X : {ndarray, DataFrame} of shape (n_samples, n_features)
        The same container.
    """
    n_samples, n_features = X.shape
    bandwidth = smoothing * n_samples ** (-1 / (n_features + 4))

    def noise(values):
        # Outliers among the rows would set a standard deviation; of a normal the middle nine tenths are as wide as this.
        low, high = np.nanquantile(values, [0.05, 0.95]) if np.isfinite(values).any() else (0, 0)
        return bandwidth * (high - low) / 3.29 * rng.normal(size=n_samples)

    raw = raw_columns(X)
    return with_added(X, {j: noise(raw[j].values) for j in np.flatnonzero(columns).tolist()})


def mean_of_possible(values):
    """Mean over the rows, of what is finite; 0 where nothing is."""
    finite = np.isfinite(values)
    return np.where(finite, values, 0.0).sum(axis=0) / np.maximum(finite.sum(axis=0), 1)


def quantile_below(scores, share):
    """A threshold below which there is a share of the scores."""
    with np.errstate(invalid="ignore"):
        threshold = np.quantile(scores, share)
    # Between minus infinity and a number there is none.
    return np.quantile(scores, share, method="higher") if np.isnan(threshold) else threshold


def lower_fence(scores):
    """Lower fence of the box plot of the scores that are finite (J. W. Tukey, "Exploratory Data Analysis", 1977)."""
    finite = scores[np.isfinite(scores)]
    if not len(finite):
        return -np.inf
    lower, upper = np.quantile(finite, [0.25, 0.75])
    return lower - 1.5 * (upper - lower)


def conformal_threshold(calibration_scores, alpha):
    """The threshold below which p-values are at most `alpha`.

    Parameters
    ----------
    calibration_scores : ndarray of shape (n_calibration,)
        Sorted scores.
    alpha : float
        Rate of false alarms.

    Returns
    -------
    threshold : float
        One of the scores, or minus infinity where they are too few for a p-value of `alpha`.
    """
    # (1 + k) / (1 + n) <= alpha, where k scores are no higher; rounding must not lose the bound itself.
    most = int(np.floor(alpha * (len(calibration_scores) + 1) * (1 + 1e-12))) - 1
    return calibration_scores[most] if most >= 0 else -np.inf
