"""Whether sampled rows come from the distribution that real ones come from."""

from numbers import Integral, Real
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy import stats
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import balanced_accuracy_score, pairwise_distances, pairwise_distances_chunked
from sklearn.model_selection import StratifiedKFold, check_cv

from sklearn_dgm._sklearn import HasMethods, Interval, StrOptions, validate_params
from sklearn_dgm._typing import MatrixLike, RandomState
from sklearn_dgm._validation import check_generator
from sklearn_dgm.metrics._tables import as_points

# Rows whose distances the median heuristic looks at.
MEDIAN_ROWS = 1000


class TwoSampleResult(NamedTuple):
    """Result of a two-sample test.

    Attributes
    ----------
    statistic : float
        How different the samples are.
    pvalue : float
        Probability of a statistic as large or larger if both come from one distribution; NaN without permutations.
    """

    statistic: float
    pvalue: float


class ClassifierTwoSampleResult(NamedTuple):
    """Result of a two-sample test by a classifier: how well it tells real rows from sampled ones.

    Attributes
    ----------
    accuracy : float
        Mean of the shares of real and of sampled held-out rows that are recognised; 0.5 is chance. A mean over folds.
    auc : float
        Probability that of a real and a sampled held-out row the sampled one looks more like a sampled one; 0.5 is
        chance. A mean over folds.
    pvalue : float
        If both samples come from one distribution, it is below any level with that probability at most.
    """

    accuracy: float
    auc: float
    pvalue: float


@validate_params(
    {
        "classifier": [HasMethods(["fit", "predict"]), None],
        "cv": ["cv_object"],
        "random_state": ["random_state", np.random.Generator],
    },
    prefer_skip_nested_validation=False,
)
def classifier_two_sample_test(
    real: MatrixLike,
    sampled: MatrixLike,
    *,
    classifier: Any = None,
    cv: Any = 2,
    random_state: RandomState = None,
) -> Any:
    """Let a classifier tell real rows from sampled ones [1]_; it cannot if they come from one distribution.

    Parameters
    ----------
    real : {array-like, DataFrame} of shape (n_real, n_features)
        Rows that the density was not fitted to. Cells may be missing if the classifier takes that, as the default does.
    sampled : {array-like, DataFrame} of shape (n_sampled, n_features)
        Rows drawn from it, best as many as there are real ones.
    classifier : estimator, default=None
        An unfitted classifier with `predict_proba` or `decision_function`; by default a
        :class:`~sklearn.ensemble.HistGradientBoostingClassifier` with balanced classes, and smaller leaves where rows
        are few. It is given standardised numbers, and indicators of categories.
    cv : int, cross-validation generator or iterable, default=2
        How rows are held out. With an int, they are shuffled into so many stratified folds. The more rows a fold holds
        out, the more its p-value can tell; the fewer, the better the classifier is trained.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the folds and of the default classifier.

    Returns
    -------
    result : ClassifierTwoSampleResult
        With `accuracy`, `auc` and `pvalue`.

    Raises
    ------
    TypeError
        If the tables are DataFrames of two libraries, or one is a tuple.
    ValueError
        If the tables have different columns, a sample has fewer rows than there are folds, or a fold holds rows of one
        of them alone.

    Notes
    -----
    Each fold has a p-value, of the rank sum of the classifier's scores, which is valid because the classifier has not
    seen the fold. The folds together are no independent tests, for each is part of the training rows of the others: as
    if they were, 100 real and 100 sampled rows of one distribution would come out below a level of 0.05 in 9 to 14 of
    100 cases, as measured for five folds and three classifiers. So twice the mean of the p-values is taken, which is
    valid however these depend on each other [2]_.

    References
    ----------
    .. [1] D. Lopez-Paz, M. Oquab, "Revisiting classifier two-sample tests", ICLR 2017, https://arxiv.org/abs/1610.06545
    .. [2] V. Vovk, R. Wang, "Combining p-values via averaging", Biometrika 107 (2020), https://arxiv.org/abs/1212.4966

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_dgm.metrics import classifier_two_sample_test
    >>> rng = np.random.default_rng(0)
    >>> real, far = rng.normal(size=(200, 2)), rng.normal(1, 1, size=(200, 2))
    >>> result = classifier_two_sample_test(real, far, random_state=0)
    >>> result.auc > 0.7, result.pvalue < 0.001
    (True, True)
    """
    rng = check_generator(random_state)
    seeds = rng.integers(2**31, size=2).tolist()
    points = as_points({"real": real, "sampled": sampled}, missing=True)
    if isinstance(cv, int | np.integer):
        for name, rows in zip(("real", "sampled"), points, strict=True):
            if len(rows) < cv:
                raise ValueError(
                    f"{name} has {len(rows)} row(s), fewer than there are folds: {cv}."
                )
        cv = StratifiedKFold(cv, shuffle=True, random_state=seeds[1])
    Z, is_sampled = np.concatenate(points), np.repeat([0, 1], list(map(len, points)))
    if classifier is None:
        # With the 20 rows a leaf that are its default, few rows would have a single leaf.
        n_leaf = int(np.clip(len(Z) // 20, 1, 20))
        classifier = HistGradientBoostingClassifier(
            class_weight="balanced", min_samples_leaf=n_leaf, random_state=seeds[0]
        )
    found = []
    for train, test in check_cv(cv).split(Z, is_sampled):
        if any(len(np.unique(is_sampled[part])) < 2 for part in (train, test)):
            raise ValueError(
                "cv gives a fold that has real rows alone, or sampled ones; StratifiedKFold has both in each."
            )
        fitted = clone(classifier).fit(Z[train], is_sampled[train])
        accuracy = balanced_accuracy_score(is_sampled[test], fitted.predict(Z[test]))
        found.append((accuracy, *_rank_sum_test(is_sampled[test], _scores(fitted, Z[test]))))
    accuracy, auc, pvalue = np.mean(found, axis=0).tolist()
    return ClassifierTwoSampleResult(
        accuracy, auc, min(1.0, 2 * pvalue) if len(found) > 1 else pvalue
    )


def _scores(classifier, Z):
    """Score how much rows look like those of class 1."""
    if hasattr(classifier, "predict_proba"):
        return classifier.predict_proba(Z)[:, 1]
    return classifier.decision_function(Z)


def _rank_sum_test(is_sampled, scores):
    """Return the area under the curve of one fold, and the p-value of its rank sum (Mann and Whitney)."""
    if np.ptp(scores) == 0:
        return 0.5, 1.0
    of_sampled, of_real = scores[is_sampled == 1], scores[is_sampled == 0]
    found = stats.mannwhitneyu(of_sampled, of_real, alternative="greater")
    return found.statistic / (len(of_sampled) * len(of_real)), found.pvalue


PERMUTED = {
    "n_permutations": [Interval(Integral, 0, None, closed="left")],
    "random_state": ["random_state", np.random.Generator],
}


@validate_params(PERMUTED, prefer_skip_nested_validation=False)
def energy_distance(
    real: MatrixLike,
    sampled: MatrixLike,
    *,
    n_permutations: int = 200,
    random_state: RandomState = None,
) -> Any:
    """Return the energy distance [1]_ between real and sampled rows, zero only for equal distributions.

    It is the square root of ``2 E|X - Y| - E|X - X'| - E|Y - Y'|``, as :func:`scipy.stats.energy_distance` has it for
    one column, in standardised columns.

    Parameters
    ----------
    real : {array-like, DataFrame} of shape (n_real, n_features)
        Rows that the density was not fitted to.
    sampled : {array-like, DataFrame} of shape (n_sampled, n_features)
        Rows drawn from it.
    n_permutations : int, default=200
        Number of random divisions of all rows that the p-value is found by.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the permutations.

    Returns
    -------
    result : TwoSampleResult
        With `statistic`, the distance, and `pvalue`.

    Raises
    ------
    TypeError
        If the tables are DataFrames of two libraries, or one is a tuple.
    ValueError
        If the tables have different columns, or a cell is missing.

    Notes
    -----
    Numbers are standardised over the rows of both tables; two different categories are at distance 1, as far as numbers
    one standard deviation apart. Time grows with the square of the number of rows; memory does not.

    References
    ----------
    .. [1] G. J. Székely, M. L. Rizzo, "Energy statistics: a class of statistics based on distances", Journal of
       Statistical Planning and Inference 143 (2013), https://doi.org/10.1016/j.jspi.2013.03.018

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_dgm.metrics import energy_distance
    >>> rng = np.random.default_rng(0)
    >>> real, far = rng.normal(size=(200, 2)), rng.normal(1, 1, size=(200, 2))
    >>> energy_distance(real[:100], real[100:], random_state=0).pvalue > 0.05
    True
    >>> energy_distance(real, far, random_state=0).pvalue < 0.01
    True
    """
    x, y = as_points({"real": real, "sampled": sampled})
    n, m = len(x), len(y)
    xx, xy, yy = _sums(x, y, n_permutations, random_state, lambda distances: distances)
    squared = 2 * xy / (n * m) - xx / n**2 - yy / m**2
    return _result(np.sqrt(squared.clip(0)))


@validate_params(
    {"bandwidth": [StrOptions({"median"}), Interval(Real, 0, None, closed="neither")], **PERMUTED},
    prefer_skip_nested_validation=False,
)
def maximum_mean_discrepancy(
    real: MatrixLike,
    sampled: MatrixLike,
    *,
    bandwidth: Literal["median"] | float = "median",
    n_permutations: int = 200,
    random_state: RandomState = None,
) -> Any:
    """Estimate the squared maximum mean discrepancy [1]_ between real and sampled rows, without bias.

    The kernel is ``exp(-|x - y|**2 / (2 * bandwidth**2))``, in standardised columns. The estimate is zero on average
    for equal distributions, so that it may be negative.

    Parameters
    ----------
    real : {array-like, DataFrame} of shape (n_real, n_features)
        Rows that the density was not fitted to, two at least.
    sampled : {array-like, DataFrame} of shape (n_sampled, n_features)
        Rows drawn from it, two at least.
    bandwidth : "median" or float, default="median"
        Width of the kernel, in standard deviations; "median" is the median distance of the rows of both tables, or of a
        thousand of them.
    n_permutations : int, default=200
        Number of random divisions of all rows that the p-value is found by.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the permutations.

    Returns
    -------
    result : TwoSampleResult
        With `statistic`, the estimate, and `pvalue`.

    Raises
    ------
    TypeError
        If the tables are DataFrames of two libraries, or one is a tuple.
    ValueError
        If the tables have different columns, a cell is missing, or there are not two rows.

    Notes
    -----
    Numbers are standardised over the rows of both tables; two different categories are at distance 1. Time grows with
    the square of the number of rows; memory does not.

    References
    ----------
    .. [1] A. Gretton, K. M. Borgwardt, M. J. Rasch, B. Schölkopf, A. Smola, "A kernel two-sample test", Journal of
       Machine Learning Research 13 (2012), https://www.jmlr.org/papers/v13/gretton12a.html

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_dgm.metrics import maximum_mean_discrepancy
    >>> rng = np.random.default_rng(0)
    >>> real, far = rng.normal(size=(200, 2)), rng.normal(1, 1, size=(200, 2))
    >>> maximum_mean_discrepancy(real, far, random_state=0).pvalue < 0.01
    True
    """
    x, y = as_points({"real": real, "sampled": sampled})
    n, m = len(x), len(y)
    if min(n, m) < 2:
        raise ValueError(f"real and sampled should have two rows at least, got {n} and {m}.")
    if bandwidth == "median":
        bandwidth = _median_distance(np.concatenate([x, y]))
    xx, xy, yy = _sums(
        x, y, n_permutations, random_state, lambda d: np.exp(-((d / bandwidth) ** 2) / 2)
    )
    # Without the rows' kernels with themselves, which are 1.
    within = (xx - n) / (n * (n - 1)) + (yy - m) / (m * (m - 1))
    return _result(within - 2 * xy / (n * m))


def _median_distance(Z):
    """Return the median distance between rows, or the mean one if most of them are the same."""
    Z = Z[:: -(-len(Z) // MEDIAN_ROWS)] if len(Z) > MEDIAN_ROWS else Z
    distances = pairwise_distances(Z)[np.triu_indices(len(Z), k=1)]
    return np.median(distances) or distances.mean() or 1.0


def _sums(x, y, n_permutations, random_state, kernel):
    """Sum a kernel of distances within and between two samples, and within and between random divisions.

    Returns
    -------
    xx, xy, yy : ndarray of shape (1 + n_permutations,)
        The first is that of the samples themselves.
    """
    rng, first = check_generator(random_state), np.repeat([1.0, 0.0], [len(x), len(y)])
    groups = np.column_stack([first, *(rng.permutation(first) for _ in range(n_permutations))])
    xx, x_all, total = 0.0, 0.0, 0.0

    def reduce(distances, start):
        nonlocal xx, x_all, total
        values = kernel(distances)
        of_rows, rows = values.sum(axis=1), groups[start : start + len(values)]
        xx = xx + np.sum(rows * (values @ groups), axis=0)
        x_all = x_all + of_rows @ rows
        total += of_rows.sum()

    # The matrix of all distances may be too large to hold.
    for _ in pairwise_distances_chunked(np.concatenate([x, y]), reduce_func=reduce):
        pass
    return xx, x_all - xx, total - 2 * x_all + xx


def _result(statistics):
    """Return the statistic of the samples, and the p-value: the share of the random divisions that reach it."""
    own, others = statistics[0], statistics[1:]
    # Sums in another order differ in the last bits.
    reached = np.sum(others >= own - 1e-12 * max(abs(own), 1e-3))
    pvalue = (1 + reached) / (1 + len(others)) if len(others) else np.nan
    return TwoSampleResult(float(own), float(pvalue))
