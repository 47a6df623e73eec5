"""Scorers for searches over outlier detectors, with labels and without."""

from typing import Any

import numpy as np
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score
from sklearn.utils.validation import check_consistent_length, column_or_1d

from sklearn_dgm._typing import MatrixLike, RandomState
from sklearn_dgm.columns import ColumnSchema, is_frame

MASSES = np.linspace(0.9, 0.999, 100)
MIN_DRAWS = 20_000


def outlier_roc_auc(estimator: Any, X: MatrixLike, y: Any = None) -> float:
    """Return the area under the ROC curve of an outlier detector: a scorer for rows with labels.

    It can be handed to a search or to cross-validation as it is: ``scoring=outlier_roc_auc``. The scorer "roc_auc" of
    scikit-learn takes the label 1 for what `decision_function` is high for, which is an inlier; with 1 for outliers it
    says one minus this.

    Parameters
    ----------
    estimator : estimator instance
        A fitted outlier detector or density with `score_samples`, low for outliers, or a pipeline or search that ends
        in one.
    X : {array-like, DataFrame} of shape (n_samples, n_features)
        Rows to score.
    y : array-like of shape (n_samples,)
        1 for inliers and -1 for outliers, as detectors predict; or 1 (True) for outliers and 0 (False) for all others.
        There have to be both.

    Returns
    -------
    area : float
        1 if all outliers score lower than all others, and 0.5 by chance. Impossible rows are the lowest.

    Raises
    ------
    TypeError
        If the estimator has no `score_samples`.
    ValueError
        If `y` is missing, or its values do not tell which rows are outliers.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sklearn.neighbors import KernelDensity
    >>> from sklearn_dgm import DensityOutlierDetector
    >>> from sklearn_dgm.metrics import outlier_roc_auc
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> X[::10] *= 4
    >>> y = np.where(np.arange(200) % 10, 1, -1)
    >>> detector = DensityOutlierDetector([("kernel", KernelDensity())])
    >>> search = GridSearchCV(detector, {"kernel__bandwidth": [0.01, 0.5]}, scoring=outlier_roc_auc)
    >>> search.fit(X, y).best_params_
    {'kernel__bandwidth': 0.5}
    """
    scores = _scores(estimator, X, "outlier_roc_auc")
    is_outlier = _is_outlier(y)
    check_consistent_length(scores, is_outlier)
    return float(roc_auc_score(is_outlier, rankdata(-scores)))


def neg_mass_volume(
    estimator: Any, X: MatrixLike, y: Any = None, *, random_state: RandomState = 0
) -> float:
    """Return minus the mean of an outlier detector's mass-volume curve, in nats: a scorer for rows without labels.

    A detector is good if few of the places that rows could be in score as high as the rows do. At each of the masses
    from 0.9 to 0.999 the curve has the volume of the set that holds so much of the rows and has the highest scores [1]_
    [2]_, here as a share of the box around X, in nats: minus the mean of its logarithm is returned.

    Parameters
    ----------
    estimator : estimator instance
        A fitted outlier detector or density with `score_samples`, low for outliers, or a pipeline or search that ends
        in one.
    X : {array-like, DataFrame} of shape (n_samples, n_features)
        Rows of numbers, held out from the fit, of which few are outliers.
    y : None
        Ignored, present for API consistency by convention.
    random_state : int, default=0
        Seed of the rows that are drawn evenly from the box. The same for all candidates, lest the draws decide.

    Returns
    -------
    score : float
        Greater is better, and about 0.05 is chance. Values compare on the same rows alone.

    Raises
    ------
    TypeError
        If the estimator has no `score_samples`.
    ValueError
        If X has categories or gaps, or so many columns that no row drawn from the box scores as high as the rows of X:
        with more than about eight, search over the density with :func:`mean_log_likelihood`, and detect with the best
        one.

    References
    ----------
    .. [1] S. Clémençon, J. Jakubowicz, "Scoring anomalies: a M-estimation formulation", AISTATS 2013,
       https://proceedings.mlr.press/v31/clemencon13a.html
    .. [2] N. Goix, "How to evaluate the quality of unsupervised anomaly detection algorithms?", 2016,
       https://arxiv.org/abs/1607.01152

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.neighbors import KernelDensity
    >>> from sklearn_dgm.metrics import neg_mass_volume
    >>> X, new = np.random.default_rng(0).normal(size=(2, 500, 2))
    >>> good, bad = KernelDensity(bandwidth=0.4).fit(X), KernelDensity(bandwidth=0.01).fit(X)
    >>> neg_mass_volume(good, new) > neg_mass_volume(bad, new)
    True
    """
    scores = _scores(estimator, X, "neg_mass_volume")
    thresholds = np.quantile(scores, 1 - MASSES, method="lower")
    drawn = np.asarray(estimator.score_samples(_rows_of_box(X, random_state)))
    volume = 1 - np.searchsorted(np.sort(drawn), thresholds, side="left") / len(drawn)
    if not volume.any():
        raise ValueError(
            f"neg_mass_volume finds no volume: none of {len(drawn)} rows drawn from the box around X scores as high "
            "as its rows. X has too many columns for it; search over the density with scoring=mean_log_likelihood, "
            "and detect with the best."
        )
    return float(-np.mean(np.log(np.maximum(volume, 0.5 / len(drawn)))))


def _scores(estimator, X, metric):
    if not hasattr(estimator, "score_samples"):
        name = type(estimator).__name__
        raise TypeError(f"{metric} needs an outlier detector, but {name} has no score_samples.")
    return np.asarray(estimator.score_samples(X))


def _is_outlier(y):
    """Flag the rows that are outliers, by either convention."""
    if y is None:
        raise ValueError(
            "outlier_roc_auc needs y: -1 for outliers and 1 for others, or 1 and 0. Score rows without labels with "
            "neg_mass_volume."
        )
    y = column_or_1d(y)
    labels = set(np.unique(y).tolist()) if y.dtype.kind in "biuf" else set(y.tolist())
    if labels == {-1, 1}:
        return y == -1
    if labels == {0, 1}:
        return y == 1
    raise ValueError(
        "outlier_roc_auc needs y with -1 for outliers and 1 for others, or with 1 (True) for outliers and 0 (False) "
        f"for others, and both among the rows; got {sorted(labels, key=str)[:5]}."
    )


def _rows_of_box(X, random_state):
    """Return a table like X with rows drawn evenly from the box around it."""
    X = X if is_frame(X) else np.asarray(X)
    schema = ColumnSchema(standardize=False).fit(X)
    for column in schema.columns_:
        if column.is_categorical:
            raise ValueError(
                f"neg_mass_volume needs numbers; column {column.label!r} has categories."
            )
    values = schema.encode(X)[0]
    low, high = values.min(axis=0), values.max(axis=0)
    is_whole = (values == np.rint(values)).all(axis=0)
    n_draws = len(values) * -(-MIN_DRAWS // len(values))
    drawn = np.random.default_rng(random_state).uniform(low, high, (n_draws, len(low)))
    return schema.decode(np.where(is_whole, np.rint(drawn), drawn))
