"""Densities side by side, on the same held-out rows."""

from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from sklearn_dgm._nested.checks import check_densities
from sklearn_dgm._nested.fitting import seeded, warning_once
from sklearn_dgm._nested.held_out import folds_of, held_out_log_densities
from sklearn_dgm._nested.rows import TableView, check_cells, validate_rows
from sklearn_dgm._sklearn import check_pandas_support, validate_parameter_constraints
from sklearn_dgm._typing import MatrixLike, RandomState
from sklearn_dgm._validation import check_generator
from sklearn_dgm.metrics._likelihood import mean_and_std_error

# By a decorator, messages of the densities' own checks would speak of this function.
CONSTRAINTS = {
    "estimators": [list, dict],
    "cv": ["cv_object"],
    "baseline": [str, None],
    "n_jobs": [Integral, None],
    "random_state": ["random_state", np.random.Generator],
}


def compare_densities(
    estimators: dict[Any, Any] | list[Any],
    X: MatrixLike,
    cv: Any = 5,
    *,
    baseline: str | None = None,
    n_jobs: int | None = None,
    random_state: RandomState = None,
) -> MatrixLike:
    """Compare densities by held-out log-likelihood, with the standard errors of their differences.

    Rows differ far more from each other than densities do on one row. So the standard error of a mean says little about
    which density is better; that of the mean of differences on the same rows does.

    Parameters
    ----------
    estimators : dict or list of tuple
        Unfitted densities by name, all of them on one reference measure; see :class:`~sklearn_dgm.EnsembleDensity`.
    X : {array-like, DataFrame} of shape (n_samples, n_features)
        Rows, each of which is held out once.
    cv : int, cross-validation generator or iterable, default=5
        How rows are held out, the same for all. With an int, they are shuffled into so many folds.
    baseline : str, default=None
        Name of the density that the others are compared with; by default the best one.
    n_jobs : int, default=None
        Number of densities fitted at the same time; None is 1, -1 all processors. The result does not depend on it.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the folds, and of those densities whose own `random_state` is None.

    Returns
    -------
    comparison : pandas.DataFrame
        The densities by name, the best first. Its columns are

        - `log_likelihood`: mean log-density of held-out rows, in nats per row; `-inf` if a row is impossible;
        - `std_error`: its standard error over the rows, and with it that of constants that are estimated (see Notes);
        - `difference`: the mean of the log-density less that of the baseline;
        - `difference_std_error`: the standard error of this mean of paired differences. A difference of less than two
          of them is not to be relied on;
        - `n_impossible`: number of rows of density 0;
        - `score_kind`: what these log-densities are, "exact", "lower bound" or "estimate".

    Raises
    ------
    ImportError
        If pandas is not installed.
    TypeError
        If an estimator is no density.
    ValueError
        If an estimator is a pipeline, whose density is one of other rows, the scores of one are unnormalised, the
        densities are on different measures, or `cv` does not hold out each row once.

    Notes
    -----
    Standard errors are over rows, as if the fits were given. That other training rows would have given other fits, and
    that the fits of two folds share most of theirs, is not in them; there is no unbiased estimate of that [1]_. Where a
    density estimates the logarithm of its partition function, such as :class:`~sklearn_dgm.EnergyDensity`, the error of
    that, which all rows of a fold share, is added in quadrature (`log_partition_std_error_`; of folds its mean, as if
    they all erred on the same side).

    References
    ----------
    .. [1] Y. Bengio, Y. Grandvalet, "No unbiased estimator of the variance of K-fold cross-validation", Journal of
       Machine Learning Research 5 (2004), https://www.jmlr.org/papers/v5/grandvalet04a.html

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.mixture import GaussianMixture
    >>> from sklearn.neighbors import KernelDensity
    >>> from sklearn_dgm.metrics import compare_densities
    >>> densities = {
    ...     "kernel": KernelDensity(bandwidth=0.3),
    ...     "normal": GaussianMixture(1),
    ...     "mixture": GaussianMixture(3),
    ... }
    >>> comparison = compare_densities(densities, load_iris().data, random_state=0)
    >>> list(comparison.index)
    ['mixture', 'kernel', 'normal']
    """
    given = {
        "estimators": estimators,
        "cv": cv,
        "baseline": baseline,
        "n_jobs": n_jobs,
        "random_state": random_state,
    }
    validate_parameter_constraints(CONSTRAINTS, given, "compare_densities")
    pandas = check_pandas_support("compare_densities")
    named = list(estimators.items() if isinstance(estimators, dict) else estimators)
    if not named:
        raise ValueError("estimators is empty; it should hold a density at least.")
    check_densities(named, "compare_densities")
    names = [name for name, _ in named]
    if baseline is not None and baseline not in names:
        raise ValueError(f"baseline is {baseline!r}, which is none of {names}.")
    densities = [density for _, density in named]
    named_so = type("compare_densities", (BaseEstimator,), {})()  # in errors
    X = validate_rows(named_so, densities, X, reset=True)
    check_cells(densities, X)
    rng = check_generator(random_state)
    named = [(name, seeded(density, rng)) for name, density in named]
    view, folds = TableView.of([d for _, d in named], X), folds_of(cv, X, rng)
    with warning_once():
        log_density, kinds, stds = held_out_log_densities(named, X, view, folds, n_jobs=n_jobs)
    frame = _frame(pandas, names, log_density, stds, baseline)
    return frame.assign(score_kind=dict(zip(names, kinds, strict=True)))


def _frame(pandas, names, log_density, stds, baseline):
    means = log_density.mean(axis=0)
    at_base = means.argmax() if baseline is None else names.index(baseline)
    base = log_density[:, at_base]
    rows = {}
    for k, (name, scores) in enumerate(zip(names, log_density.T, strict=True)):
        of_both = 0.0 if k == at_base else np.hypot(stds[k], stds[at_base])
        # What is impossible under both makes no difference.
        with np.errstate(invalid="ignore"):
            difference = np.where(scores == base, 0.0, scores - base)
        rows[name] = [
            *mean_and_std_error(scores, shared=stds[k]),
            *mean_and_std_error(difference, shared=of_both),
            int((scores == -np.inf).sum()),
        ]
    columns = [
        "log_likelihood",
        "std_error",
        "difference",
        "difference_std_error",
        "n_impossible",
    ]
    frame = pandas.DataFrame.from_dict(rows, orient="index", columns=columns)
    return frame.sort_values(
        ["log_likelihood", "n_impossible"], ascending=[False, True], kind="stable"
    )
