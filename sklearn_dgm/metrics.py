"""Scores that treat every density alike."""

import numpy as np
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from sklearn_dgm.base import is_density, last_step


def mean_log_likelihood(estimator, X, y=None, sample_weight=None):
    """Mean log-density per row: a scorer for any density.

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

    Returns
    -------
    log_likelihood : float
        Mean log-density in nats; higher is better. It is `-inf` if any row is impossible, and a search then ranks the
        candidate last.

    Raises
    ------
    TypeError
        If the estimator has no `score_samples`, or if it is not a density: that of an outlier detector such as
        :class:`~sklearn.ensemble.IsolationForest` is no log-density.
    ValueError
        If the weights are negative or all zero.

    Notes
    -----
    A density has the units of the rows that it sees. That of a Pipeline is in the units of the *transformed* X: behind
    a scaler it is per standard deviation, not per unit of X. Such numbers compare only under one and the same
    transformation, and a search over different scalers would choose by their Jacobians, unless
    :class:`~sklearn_dgm.TransformedDensity` adds these. For the same reason a density that counts integers (a
    probability mass) does not compare with one that takes them for continuous.

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
    name = type(estimator).__name__
    if not hasattr(estimator, "score_samples"):
        raise TypeError(f"mean_log_likelihood needs a density, but {name} has no score_samples.")
    check_is_fitted(estimator)
    last = last_step(estimator)
    if not is_density(last):
        inside = "" if last is estimator else f" with {type(last).__name__}"
        raise TypeError(
            f"mean_log_likelihood needs a density, which {name}{inside} is not: see "
            "sklearn_dgm.is_density."
        )
    log_density = np.asarray(estimator.score_samples(X))
    if sample_weight is None:
        return float(np.mean(log_density))
    sample_weight = _check_sample_weight(
        sample_weight, X, dtype=np.float64, ensure_non_negative=True
    )
    counted = sample_weight > 0
    if not counted.any():
        raise ValueError("sample_weight is zero for every row; at least one must be positive.")
    # 0 times -inf would be no number.
    return float(np.average(log_density[counted], weights=sample_weight[counted]))
