"""The outlier detector: any density, or several, fitted to rows, and a threshold for their scores."""

import warnings
from inspect import Parameter, signature
from numbers import Real
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from sklearn import get_config
from sklearn.base import MetaEstimatorMixin, OutlierMixin, clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing

from sklearn_dgm._callbacks import CallbackSupportMixin
from sklearn_dgm._nested.checks import check_pairs, is_dropped
from sklearn_dgm._nested.fitting import fit_density, meta_fit_task
from sklearn_dgm._nested.rows import check_cells, validate_rows
from sklearn_dgm._sklearn import (
    HasMethods,
    Interval,
    NamedEstimatorsMixin,
    StrOptions,
    check_method_params,
    fit_context,
    num_samples,
    safe_indexing,
)
from sklearn_dgm._subsets import some_of
from sklearn_dgm._typing import MatrixLike, RandomState
from sklearn_dgm._validation import (
    check_generator,
    check_weights,
)
from sklearn_dgm.base import BaseDensity
from sklearn_dgm.chunks import Chunks, TableSample, with_progress
from sklearn_dgm.columns import is_table
from sklearn_dgm.outlier._committee import (
    DEFAULT_WEIGHTS,
    Committee,
    common_input_tags,
    default_members,
    is_committee,
)
from sklearn_dgm.outlier._scores import OutlierScoresMixin, explains_steps
from sklearn_dgm.outlier._smoothing import noisy_chunks_for, noisy_for
from sklearn_dgm.outlier._thresholds import (
    conformal_threshold,
    lower_fence,
    magnitude_of,
    mean_of_possible,
    quantile_below,
)
from sklearn_dgm.outlier._trimming import are_apart
from sklearn_dgm.persistence import SaveMixin
from sklearn_dgm.tags import densities_within

# Rows of the fit that tell what share of a committee's score is usual for a column.
ENOUGH_FOR_MEANS = 500
# Rows of the fit that tell where most scores are; scores of more take longer than the fit of a committee.
ENOUGH_FOR_FENCE = 20_000
# Attributes that only some fits have.
OF_SOME_FITS = ("calibration_scores_", "mean_log_density_", "_mean_shares", "is_trimmed_")


class _Stream(NamedTuple):
    """A table that is read a chunk at a time, and a sample of it."""

    chunks: Chunks
    sample: TableSample


class DensityOutlierDetector(
    CallbackSupportMixin,
    OutlierScoresMixin,
    OutlierMixin,
    SaveMixin,
    MetaEstimatorMixin,
    NamedEstimatorsMixin,
):
    """Detect outliers as the rows to which a density, or a committee of several, gives a low probability.

    It stands where :class:`sklearn.ensemble.IsolationForest` stands, for outliers among the rows of `fit` and for new
    ones. Without a density it is a committee of kernel densities, for tables of any kind. Rows that were kept from the
    fit turn scores into p-values, and densities that factorise over columns say which cells are odd.

    Parameters
    ----------
    estimator : estimator, list of tuple or None, default=None
        A density: one of this package, :class:`~sklearn.neighbors.KernelDensity`,
        :class:`~sklearn.mixture.GaussianMixture`, or a pipeline or search that ends in one. Or a committee, of names
        and densities, as in :class:`~sklearn_dgm.EnsembleDensity`; one that is "drop" is left out. None is a committee
        of kernels on standardised columns, of kernels that follow their covariance, and of columns taken alone.
    contamination : "auto" or float, default="auto"
        Where the threshold lies. A float between 0 and 0.5 is the share of the rows of `fit` to be below it. "auto"
        takes no share for granted: with calibration rows, rows with a p-value of at most `alpha` are outliers; without,
        those whose score is below the lower fence of a box plot of the rows of `fit` (the lower quartile less 1.5 times
        the distance of the quartiles), or of 20,000 of these where they are more.
    calibration : {"holdout"} or None, default=None
        With "holdout" a part of the rows is kept from the fit of the density. It is what scores of new rows are
        compared with, in :meth:`p_values`. A frozen estimator is not fitted, and all rows are kept.
    calibration_fraction : float, default=0.2
        Share of the rows that are kept, for calibration and for typicality. Where they serve for both, each gets half
        of them.
    alpha : float, default=0.05
        Rate of false alarms, with ``calibration="holdout"`` and ``contamination="auto"``: share of the rows like those
        of `fit` that may be called outliers.
    score_type : {"log_density", "typicality"}, default="log_density"
        What is low for outliers: the log-density; or minus its distance to the mean log-density of rows that were kept
        from the fit [2]_, so that rows which are too probable are outliers, too.
    smoothing : "auto" or float, default="auto"
        Standard deviation of the normal noise that is added to columns of floats before the fit, but not to those that
        the density is told to be of another kind than continuous. It is in units of the bandwidth of Scott's rule, the
        spread of the column times ``n_samples ** (-1 / (n_features + 4))``; 0 is for none. "auto" is 0.25 where there
        is a density that looks for values which repeat, such as :class:`~sklearn_dgm.AutoregressiveDensity`, and 0
        elsewhere.
    trim : "auto", float or None, default=None
        Which rows of `fit` the density is not to learn from, since they may be outliers: the share of rows that are
        least likely under a kernel density of the others, in which as many of the nearest rows do not count, so that
        outliers of a kind do not vouch for each other. "auto" is `contamination` where that is a number, and else the
        rows below the lower fence of a box plot, at most a fifth.
    verbose : int, default=0
        Whether to tell now and then how many rows are done, where they are read a chunk at a time.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the choice of the rows that are kept, of the folds and of the noise, and of the members of a committee
        whose own is None; a density alone has its own.

    Attributes
    ----------
    estimator_ : estimator
        The fitted density, or the committee.
    offset_ : float
        The threshold; ``decision_function(X) = score_samples(X) - offset_``.
    calibration_scores_ : ndarray of shape (n_calibration,)
        Sorted scores of the calibration rows, if there are such.
    is_trimmed_ : ndarray of bool of shape (n_samples,)
        Which rows of `fit` were trimmed, with `trim`.
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
    p-value of at most `alpha` is at most `alpha`, and at least ``alpha - 1 / (1 + number of calibration rows)`` where
    scores do not tie. That holds for any density, good or bad; a good one finds more of the outliers. It is a statement
    on average over the choice of calibration rows, and for one row: among many rows, expect a share of `alpha`.

    **Log-density or typicality.** Where columns are many, nearly all rows of a distribution lie far from where its
    density is highest: of a standard normal in d dimensions, at a distance of about the root of d. A row at the centre
    is more probable than any that was ever seen, and still odd. The log-density takes it for the most normal row of
    all; typicality does not. Choose typicality where odd rows may be plainer than others: blank images, constant or
    averaged rows, many zeros. Otherwise choose the log-density: it does not spend false alarms on the most probable
    rows.

    **Committees.** Each member's log-density less its median, over the distance of its quartiles, is a score without
    units; median and quartiles are those of rows held out from a fit of the member, so that one that overfits has no
    louder voice. The score of the committee is the mean of these, in the default one weighted, which is about 0 for a
    usual row. So members may be of any units and on any measure, also behind a scaler. The default takes half a second
    on 1,000 rows of 10 columns, ten on 10,000 of 20 and 15 on 200,000 of 10, and was chosen on tables that are in no
    benchmark. Of more rows it keeps 10,000, and it scores all of them only where a share is asked for. It scores a
    fitted row as if it had not been fitted. One of its members leaves out the four rows that are nearest, so that a few
    outliers of a kind among the rows of `fit` do not hide each other.

    **Outliers among the rows of the fit.** A density that is flexible learns them, too, and takes new ones of their
    kind for normal. `trim` fits it to the others: a robust first estimate, and one step of maximum trimmed likelihood
    [4]_. Where there are none, it costs a little, for rare rows are normal, too.

    **Smoothing.** A density that finds the grid on which numbers were recorded gives a low probability to a row that
    was recorded on another one, and this is not what an outlier is. With a little noise in the rows of the fit [3]_ it
    learns where rows are, and not how they were rounded. Counts and categories are left as they are.

    **More rows than memory holds.** What :class:`~sklearn_dgm.HistogramDensity` and others read a chunk at a time,
    their detector does, too, in `fit` and in all questions but :meth:`explain` and :meth:`score_members`. Of these
    rows 131,072 at most are a sample, which says what is not for the density: the threshold, and which rows are kept
    from the fit, `calibration_fraction` of the sample. A committee is fitted to the sample.

    References
    ----------
    .. [1] R. Laxhammar, G. Falkman, "Conformal prediction for distribution-independent anomaly detection in streaming
       vessel data", StreamKDD 2010, https://doi.org/10.1145/1833280.1833287
    .. [2] E. Nalisnick, A. Matsukawa, Y. W. Teh, B. Lakshminarayanan, "Detecting out-of-distribution inputs to deep
       generative models using typicality", 2019, https://arxiv.org/abs/1906.02994
    .. [3] J. Rothfuss, F. Ferreira, S. Boehm, S. Walther, M. Ulrich, T. Asfour, A. Krause, "Noise regularization for
       conditional density estimation", 2019, https://arxiv.org/abs/1907.08982
    .. [4] A. S. Hadi, A. Luceño, "Maximum trimmed likelihood estimators: a unified approach, examples, and algorithms",
       Computational Statistics & Data Analysis 25 (1997), https://doi.org/10.1016/S0167-9473(97)00011-X

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_dgm import DensityOutlierDetector
    >>> X = np.random.default_rng(0).normal(size=(500, 2))
    >>> detector = DensityOutlierDetector(calibration="holdout", random_state=0)
    >>> detector.fit(X).predict([[0, 0], [4, -4]])
    array([ 1, -1])
    >>> detector.p_values([[4, -4]]).round(2)
    array([0.01])
    >>> detector.explain([[0, 4]]).argmin(axis=1)  # the odd column
    array([1])
    """

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit", "score_samples"]), list, None],
        "contamination": [StrOptions({"auto"}), Interval(Real, 0, 0.5, closed="right")],
        "calibration": [StrOptions({"holdout"}), None],
        "calibration_fraction": [Interval(Real, 0, 1, closed="neither")],
        "alpha": [Interval(Real, 0, 1, closed="neither")],
        "score_type": [StrOptions({"log_density", "typicality"})],
        "smoothing": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "trim": [StrOptions({"auto"}), Interval(Real, 0, 0.5, closed="left"), None],
        "verbose": ["verbose"],
        "random_state": ["random_state", np.random.Generator],
    }

    def __init__(
        self,
        estimator: Any = None,
        contamination: Literal["auto"] | float = "auto",
        *,
        calibration: Literal["holdout"] | None = None,
        calibration_fraction: float = 0.2,
        alpha: float = 0.05,
        score_type: Literal["log_density", "typicality"] = "log_density",
        smoothing: Literal["auto"] | float = "auto",
        trim: Literal["auto"] | float | None = None,
        verbose: int = 0,
        random_state: RandomState = None,
    ) -> None:
        self.estimator = estimator
        self.contamination = contamination
        self.calibration = calibration
        self.calibration_fraction = calibration_fraction
        self.alpha = alpha
        self.score_type = score_type
        self.smoothing = smoothing
        self.trim = trim
        self.verbose = verbose
        self.random_state = random_state

    def get_params(self, deep: bool = True) -> dict[Any, Any]:
        """Return the parameters of the detector and of its densities.

        Parameters
        ----------
        deep : bool, default=True
            Whether parameters of a density (``estimator__bandwidth``) and members of a committee, with theirs
            (``kernel__bandwidth``), are among them.

        Returns
        -------
        params : dict
            Values by name.
        """
        if isinstance(self.estimator, list):
            return self._params_with_named("estimator", deep)
        return super().get_params(deep=deep)

    def set_params(self, **params: Any) -> Self:
        """Set parameters of the detector, of its density or of members, or whole members (``kernel="drop"``).

        Parameters
        ----------
        **params : dict
            Values by name.

        Returns
        -------
        self : estimator
            The detector.
        """
        if isinstance(params.get("estimator", self.estimator), list):
            self._set_params_of_named("estimator", params)
            return self
        return super().set_params(**params)

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: MatrixLike, y: Any = None, **fit_params: Any) -> Self:
        """Fit the density, and set the threshold.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows to learn from, a few of which may be outliers. A table that is larger than memory, such as a path to
            Parquet files, is read a chunk at a time, as the notes of the class say.
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
        TypeError
            If the density's `fit`, or that of a committee, does not take one of `fit_params`.
        ValueError
            If a parameter is invalid, there are too few rows to keep some, none of the rows that tell what is typical
            is possible, or the density cannot be fitted to X.

        Warns
        -----
        UserWarning
            If the calibration rows are too few for a p-value of `alpha`, or so many rows are impossible that none can
            be below the threshold.
        """
        with meta_fit_task(self, X, y, fit_params.get("sample_weight")) as task:
            stream = self._stream_of(X) if self._fits_chunks(X) else None
            self._fit(X if stream is None else stream.sample.table, fit_params, task, stream)
        return self

    def _fits_chunks(self, X):
        """Tell whether X is read a chunk at a time; see :class:`~sklearn_dgm.BaseGenerator`."""
        if hasattr(self.estimator, "_fits_chunks"):
            return not self._takes_sequences() and self.estimator._fits_chunks(X)
        if not self._is_chunked(X):
            return False
        if is_committee(self.estimator) or isinstance(self.estimator, FrozenEstimator):
            return True
        if isinstance(X, np.memmap):
            return False
        raise TypeError(
            f"{type(self.estimator).__name__} learns from rows in memory alone, but X is to be read a chunk at a time. Hand "
            "in a sample of its rows, or set estimator=None, which takes one itself."
        )

    def _stream_of(self, X):
        """Return a table that is read a chunk at a time, and a sample of it."""
        self._check_members()
        if self.trim is not None:
            raise ValueError(
                "trim looks for neighbours among all rows, but X is to be read a chunk at a time; set trim=None."
            )
        densities = [density for _, density in self._members()]

        def checked(rows):
            rows = validate_rows(self, densities, rows, reset=True)
            if is_committee(self.estimator):  # no member of which sees all rows
                self._check_cells(rows)
            return rows

        chunks = Chunks.of(X).map(checked)
        told = with_progress(chunks, "read", verbose=self.verbose)
        return _Stream(chunks, TableSample.of(told))

    def _fit(self, X, fit_params, task, stream):
        """Fit to rows in memory; of a stream these are a sample, which tells all but the density."""
        self._check_members()
        X = validate_rows(self, [density for _, density in self._members()], X, reset=True)
        self._check_cells(X)
        fit_params = self._routed(fit_params)
        rng = check_generator(self.random_state)
        rows, typical, calibration = self._split(num_samples(X), rng)
        params = check_method_params(X, fit_params)
        for name in OF_SOME_FITS:
            vars(self).pop(name, None)
        if self.trim is not None and not isinstance(self.estimator, FrozenEstimator):
            rows = self._trim(X, rows, params.get("sample_weight"), rng)
        if stream is None:
            self.estimator_ = self._fit_density(X, rows, params, rng, task)
        else:
            self.estimator_ = self._fit_to_stream(stream, rows, params, rng, task)
        if len(typical):
            log_density = self._log_density(safe_indexing(X, typical))
            if np.isneginf(log_density).all():
                raise ValueError(
                    "none of the rows that were kept from the fit is possible under the density, so that nothing is known of "
                    "what is typical; smooth the density, or set score_type='log_density'."
                )
            self.mean_log_density_ = float(mean_of_possible(log_density))
        if len(calibration):
            self.calibration_scores_ = np.sort(self.score_samples(safe_indexing(X, calibration)))
        self.offset_ = self._threshold(X, rng)
        if np.isneginf(self.offset_):
            self._warn_of_no_outliers()
        if hasattr(self, "explain") and not explains_steps(self.estimator):
            if isinstance(self.estimator_, Committee):
                rows = rows[some_of(len(rows), ENOUGH_FOR_MEANS)]
            self._mean_shares = mean_of_possible(self._shares(safe_indexing(X, rows)))

    def _check_members(self):
        if isinstance(self.estimator, list):
            check_pairs(self.estimator, "estimator")
            self._check_names([name for name, _ in self.estimator])
        if not self._members():
            raise ValueError("estimator should hold at least one density that is not dropped.")
        for name, density in self._members():
            if not hasattr(density, "fit") or not hasattr(density, "score_samples"):
                raise TypeError(f"{name!r} should be a density, got {density!r}.")

    def _check_cells(self, X):
        """Refuse what no density takes: its errors would name a row among those that it gets, not among those of X."""
        members = [density for _, density in self._members()]
        if self.estimator is None or any(
            isinstance(inside, BaseDensity)
            for density in members
            for inside in densities_within(density)
        ):
            check_cells(members, X)

    def _members(self):
        """Return names and densities: of the committee, or of the density alone."""
        if self.estimator is None:
            return default_members()
        if isinstance(self.estimator, list):
            return [pair for pair in self.estimator if not is_dropped(pair[1])]
        return [(type(self.estimator).__name__, getattr(self, "estimator_", self.estimator))]

    def _check_takes(self, fit_params):
        """Refuse arguments that `fit` of the density does not take; a committee's takes weights alone."""
        if is_committee(self.estimator):
            name, takes = "a committee", {"sample_weight"}
        else:
            name, takes = type(self.estimator).__name__, signature(self.estimator.fit).parameters
            if any(of.kind == Parameter.VAR_KEYWORD for of in takes.values()):
                return
        for given in fit_params:
            if given not in takes:
                raise TypeError(
                    f"DensityOutlierDetector.fit() got {given!r}, which the fit of {name} does not take."
                )

    def _routed(self, fit_params):
        if not fit_params or not get_config()["enable_metadata_routing"]:
            self._check_takes(fit_params)
            return fit_params
        routed = process_routing(self, "fit", **fit_params)
        return {key: value for to in routed.values() for key, value in to.fit.items()}

    def _fit_density(self, X, rows, params, rng, task):
        """Fit the density, or the committee, to some of the rows."""
        part, params = safe_indexing(X, rows), check_method_params(X, params, indices=rows)
        if is_committee(self.estimator):
            weights = DEFAULT_WEIGHTS if self.estimator is None else None
            committee = Committee(self._members(), weights, self.smoothing, rng)
            return committee.fit(part, task=task, **params)
        noisy = noisy_for(self.estimator, part, self.smoothing, rng)
        part = task.subtask("fit density")
        return fit_density(clone(self.estimator), noisy, task=part, **params)

    def _fit_to_stream(self, stream, rows, params, rng, task):
        """Fit the density to all rows but those that are kept; a committee to the sample."""
        chunks, sample = stream
        if is_committee(self.estimator):
            if "sample_weight" in params:
                params = {"sample_weight": np.asarray(params["sample_weight"])[sample.positions]}
            return self._fit_density(sample.table, rows, params, rng, task)
        if len(rows) < len(sample.positions):
            chunks = chunks.without(np.delete(sample.positions, rows))
        noisy = noisy_chunks_for(self.estimator, chunks, sample.table, self.smoothing, rng)
        part = task.subtask("fit density")
        return fit_density(clone(self.estimator), noisy, task=part, **params)

    def _trim(self, X, rows, sample_weight, rng):
        """Return the rows without those that few others are near to, and flag these, whatever their own kind says."""
        if not is_table(X):
            raise ValueError(
                "trim looks for neighbours in a table, but the rows of X are sequences; set trim=None."
            )
        share = self.contamination if self.trim == "auto" else self.trim
        counted, weight = rows, None
        if sample_weight is not None:
            weight = check_weights(X, sample_weight)
            counted = rows[weight[rows] > 0]
            weight = weight[counted]
        is_apart = are_apart(safe_indexing(X, counted), share, weight, rng)
        self.is_trimmed_ = np.zeros(num_samples(X), dtype=bool)
        self.is_trimmed_[counted[is_apart]] = True
        return rows[~self.is_trimmed_[rows]]

    def _split(self, n_rows, rng):
        """Return the indices of rows for the fit of the density, for typicality, and for calibration."""
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

    def _threshold(self, X, rng):
        if self.contamination == "auto" and self.calibration is not None:
            return conformal_threshold(self.calibration_scores_, self.alpha)
        if self.contamination == "auto" and num_samples(X) > ENOUGH_FOR_FENCE:
            X = safe_indexing(X, rng.permutation(num_samples(X))[:ENOUGH_FOR_FENCE])
        log_density = self._log_density(X)
        scores = self._scores_of(log_density)
        if self.contamination != "auto":
            return quantile_below(scores, self.contamination)
        if isinstance(self.estimator_, Committee):
            return lower_fence(scores, self.estimator_.magnitude_)
        return lower_fence(scores, magnitude_of(log_density))

    def _warn_of_no_outliers(self):
        n_kept = len(getattr(self, "calibration_scores_", ()))
        if self.contamination == "auto" and 0 < n_kept < 1 / self.alpha - 1:
            why = (
                f"the smallest p-value among {n_kept} calibration row(s) is {1 / (n_kept + 1):.3g}, more than "
                f"alpha={self.alpha}; give more rows, or raise calibration_fraction or alpha"
            )
        else:
            why = "too many of the rows that set it are impossible under the density; smooth the density"
        warnings.warn(f"No row can be below the threshold: {why}.", UserWarning, stacklevel=6)

    def get_metadata_routing(self) -> Any:
        """Return how metadata is passed on.

        Returns
        -------
        routing : MetadataRouter
            What `fit` is given goes to that of the density.
        """
        densities = (
            dict(self._members()) if is_committee(self.estimator) else {"estimator": self.estimator}
        )
        return MetadataRouter(owner=self).add(
            method_mapping=MethodMapping().add(caller="fit", callee="fit"), **densities
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags = common_input_tags([density for _, density in self._members()])
        return tags
