"""Log-likelihoods, in nats or in bits, of every density alike."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import is_outlier_detector
from sklearn.utils.validation import check_is_fitted

from sklearn_dgm._nested.measures import scored_cells
from sklearn_dgm._nested.scores import shared_std
from sklearn_dgm._typing import MatrixLike
from sklearn_dgm._validation import check_flag, check_weights
from sklearn_dgm.tags import is_density, last_step, require_normalised


def mean_log_likelihood(
    estimator: Any,
    X: MatrixLike,
    y: Any = None,
    sample_weight: ArrayLike | None = None,
    *,
    return_std_error: bool = False,
) -> float | tuple[float, float]:
    """Return the mean log-density per row: a scorer for any density.

    `KernelDensity.score` is a sum and `GaussianMixture.score` a mean; this is the mean of `score_samples` for all of
    them. It has the signature of a scorer, so it can be handed to a search or to cross-validation as it is:
    ``scoring=mean_log_likelihood``.

    Parameters
    ----------
    estimator : estimator instance
        A fitted density, or a :class:`~sklearn.pipeline.Pipeline` or a search that ends in one.
    X : {array-like, DataFrame} of shape (n_samples, n_features)
        Rows to score.
    y : None
        Ignored, present for API consistency by convention.
    sample_weight : array-like of shape (n_samples,), default=None
        Non-negative weights of the rows; one of weight 0 is left out. Metadata routing does not reach a plain function;
        for weights in a search use the densities' own `score`.
    return_std_error : bool, default=False
        Whether to return the standard error, too.

    Returns
    -------
    log_likelihood : float
        Mean log-density in nats; higher is better. It is `-inf` if any row is impossible, and a search then ranks the
        candidate last.
    std_error : float
        Only with ``return_std_error=True``: the standard error of the mean over rows, as if these were independent and
        the density were given. Weights are what rows are worth, not numbers of independent copies. The error of an
        estimated partition function (`log_partition_std_error_`), which all rows share, is added in quadrature. NaN if
        there are fewer than two rows, or one is impossible.

    See Also
    --------
    compare_densities : The standard errors of differences, which are what tells densities apart.
    bits_per_dim : The same in bits per column.

    Raises
    ------
    TypeError
        If the estimator has no `score_samples`, or if it is not a density: that of an outlier detector such as
        :class:`~sklearn.ensemble.IsolationForest` is no log-density.
    ValueError
        If the weights are negative or all zero, or the scores are unnormalised.

    Notes
    -----
    A density has the units of the rows that it sees. That of a Pipeline is in the units of the *transformed* X: behind
    a scaler it is per standard deviation, not per unit of X. Such numbers compare only under one and the same
    transformation, and a search over different scalers would choose by their Jacobians, unless
    :class:`~sklearn_dgm.TransformedDensity` adds these. For the same reason a density that counts integers (a
    probability mass) does not compare with one that takes them for continuous, nor one that is given some columns with
    one that is not.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.mixture import GaussianMixture
    >>> from sklearn.model_selection import GridSearchCV, cross_val_score
    >>> from sklearn.neighbors import KernelDensity
    >>> from sklearn_dgm import mean_log_likelihood
    >>> X = load_iris().data
    >>> search = GridSearchCV(
    ...     KernelDensity(), {"bandwidth": [0.1, 0.3, 1.0]}, scoring=mean_log_likelihood
    ... ).fit(X)
    >>> search.best_params_
    {'bandwidth': 0.3}
    >>> mixture = GaussianMixture(3, random_state=0)
    >>> cross_val_score(mixture, X, scoring=mean_log_likelihood).shape
    (5,)
    """
    check_flag(return_std_error, "return_std_error")
    log_density = _log_density(estimator, X, "mean_log_likelihood")
    mean, std_error = mean_and_std_error(log_density, sample_weight, shared_std(estimator))
    return (mean, std_error) if return_std_error else mean


def bits_per_dim(
    estimator: Any,
    X: MatrixLike,
    y: Any = None,
    sample_weight: ArrayLike | None = None,
    *,
    return_std_error: bool = False,
) -> float | tuple[float, float]:
    """Return the bits per row and column that a density needs to describe rows; lower is better.

    It is minus the mean log-density, over the number of columns and in bits [1]_. Where all columns are counted, it is
    the code length of a cell; a continuous column has one in its own units, to which log2 of a resolution adds. Columns
    that a conditional density is given do not count.

    Parameters
    ----------
    estimator : estimator instance
        A fitted density, or a search that ends in one. Of a :class:`~sklearn.pipeline.Pipeline` the columns are counted
        that its last step sees.
    X : {array-like, DataFrame} of shape (n_samples, n_features)
        Rows to score.
    y : None
        Ignored, present for API consistency by convention.
    sample_weight : array-like of shape (n_samples,), default=None
        Non-negative weights of the rows; one of weight 0 is left out.
    return_std_error : bool, default=False
        Whether to return the standard error, too; see :func:`mean_log_likelihood`.

    Returns
    -------
    bits : float
        Bits per row and column; infinity if any row is impossible.
    std_error : float
        Only with ``return_std_error=True``.

    Raises
    ------
    TypeError
        If the estimator is not a density.
    ValueError
        If the weights are negative or all zero, or the scores are unnormalised.

    See Also
    --------
    neg_bits_per_dim : The same as a scorer, greater is better.

    References
    ----------
    .. [1] L. Theis, A. van den Oord, M. Bethge, "A note on the evaluation of generative models", ICLR 2016,
       https://arxiv.org/abs/1511.01844

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_dgm import HistogramDensity
    >>> from sklearn_dgm.metrics import bits_per_dim
    >>> X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    >>> bits_per_dim(HistogramDensity().fit(X), X)
    1.0
    """
    check_flag(return_std_error, "return_std_error")
    mean, std_error = _bits_per_dim(estimator, X, sample_weight)
    return (mean, std_error) if return_std_error else mean


def neg_bits_per_dim(
    estimator: Any, X: MatrixLike, y: Any = None, sample_weight: ArrayLike | None = None
) -> float:
    """Return minus the bits per row and column: a scorer for any density.

    It can be handed to a search or to cross-validation as it is: ``scoring=neg_bits_per_dim``. All else is said of
    :func:`bits_per_dim`.

    Parameters
    ----------
    estimator : estimator instance
        A fitted density, or a :class:`~sklearn.pipeline.Pipeline` or a search that ends in one.
    X : {array-like, DataFrame} of shape (n_samples, n_features)
        Rows to score.
    y : None
        Ignored, present for API consistency by convention.
    sample_weight : array-like of shape (n_samples,), default=None
        Non-negative weights of the rows; one of weight 0 is left out.

    Returns
    -------
    score : float
        Higher is better; `-inf` if any row is impossible.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import cross_val_score
    >>> from sklearn.neighbors import KernelDensity
    >>> from sklearn_dgm.metrics import neg_bits_per_dim
    >>> X = load_iris().data
    >>> cross_val_score(KernelDensity(bandwidth=0.3), X, scoring=neg_bits_per_dim).shape
    (5,)
    """
    return -_bits_per_dim(estimator, X, sample_weight)[0]


def mean_and_std_error(values, sample_weight=None, shared=0.0):
    """Return the mean of a number for each row, and its standard error over the rows, beside one that all share."""
    if sample_weight is None:
        weight = np.ones(len(values))
    else:
        weight = check_weights(values, sample_weight)
        # 0 times infinity would be no number.
        values, weight = values[weight > 0], weight[weight > 0]
    mean, n = np.average(values, weights=weight), len(values)
    if n < 2 or not np.isfinite(mean):
        return float(mean), np.nan
    # Of a ratio of sums, to first order; for equal weights it is the usual one.
    error = np.sqrt(np.sum((weight * (values - mean)) ** 2) * n / (n - 1)) / weight.sum()
    return float(mean), float(np.hypot(error, shared))


def _bits_per_dim(estimator, X, sample_weight):
    """Return the bits per row and column, and their standard error."""
    if hasattr(X, "__next__") and not hasattr(last_step(estimator), "n_features_in_"):
        raise TypeError(
            f"X is a {type(X).__name__}, which can be read but once, and bits_per_dim reads sequences twice, to score them and "
            "to count their steps; hand in an object whose __iter__ begins anew with each loop."
        )
    log_density = _log_density(estimator, X, "bits_per_dim")
    cells = scored_cells(estimator, X, len(log_density))
    unit, weight = cells.mean() * np.log(2), cells / cells.mean()
    if sample_weight is not None:
        weight = weight * check_weights(log_density, sample_weight)
    bits = -log_density / (np.maximum(cells, 1) * np.log(2))  # a row without any cell has no weight
    return mean_and_std_error(bits, weight, shared_std(estimator) / unit)


def _log_density(estimator, X, metric):
    """Return the log-densities of rows; refuse what is no density."""
    name = type(estimator).__name__
    if not hasattr(estimator, "score_samples"):
        raise TypeError(f"{metric} needs a density, but {name} has no score_samples.")
    check_is_fitted(estimator)
    last = last_step(estimator)
    if not is_density(last):
        advice = ""
        if is_outlier_detector(last):
            advice = (
                " Score an outlier detector with outlier_roc_auc where rows are labelled and with neg_mass_volume "
                "where they are not, or search over the density itself."
            )
        inside = "" if last is estimator else f" with {type(last).__name__}"
        raise TypeError(
            f"{metric} needs a density, which {name}{inside} is not: see sklearn_dgm.is_density.{advice}"
        )
    require_normalised([estimator], metric)
    return np.asarray(estimator.score_samples(X))
