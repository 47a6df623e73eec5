"""Several densities of one table: on which measures they are, and what they say of held-out rows."""

from inspect import isclass
from numbers import Integral

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import KFold, check_cv
from sklearn.pipeline import Pipeline
from sklearn.utils.parallel import Parallel, delayed

from sklearn_dgm._callbacks import UNTOLD
from sklearn_dgm._members import as_taken, fit_density, measures_of
from sklearn_dgm._sklearn import safe_indexing
from sklearn_dgm.base import scored_rows
from sklearn_dgm.columns import is_frame
from sklearn_dgm.tags import SCORE_KINDS, is_density, require_normalised, unwrapped


def check_pairs(estimators, parameter="estimators"):
    """Refuse what is no list of pairs of a name and something else."""
    if not all(
        isinstance(pair, list | tuple) and len(pair) == 2 and isinstance(pair[0], str)
        for pair in estimators
    ):
        raise ValueError(f"{parameter} should be a list of tuples of a name and a density.")


def is_dropped(member):
    """Whether the word that leaves a member out stands in place of it."""
    return isinstance(member, str) and member == "drop"


def check_densities(estimators, who):
    """Refuse what is no list of names and densities of the same rows.

    Parameters
    ----------
    estimators : list of tuple
        Names and unfitted densities.
    who : str
        Name of the function or estimator that asks.

    Raises
    ------
    TypeError
        If an estimator is no density.
    ValueError
        If two have the same name, one is a Pipeline, whose density is one of other rows, or its scores are unnormalised.
    """
    check_pairs(estimators)
    names = [name for name, _ in estimators]
    if len(set(names)) < len(names):
        raise ValueError(f"estimators have to have different names, got {names}.")
    for name, estimator in estimators:
        if isclass(estimator):
            raise TypeError(f"{name!r} is the class {estimator.__name__}; hand in an instance.")
        if not hasattr(estimator, "fit"):
            raise TypeError(f"{name!r} should be a density, got {estimator!r}.")
        if isinstance(unwrapped(estimator), Pipeline):
            raise ValueError(
                f"{name!r} is a Pipeline, whose density is one of the transformed rows, in their units, and no match for "
                "those of X; use TransformedDensity(transformer, estimator), which has that of X."
            )
        if not is_density(estimator):
            raise TypeError(f"{name!r} should be a density, {type(estimator).__name__} is none.")
    require_normalised([estimator for _, estimator in estimators], who)


def fit_densities(
    estimators, X, numbers, schemas=None, sample_weight=None, n_jobs=None, task=UNTOLD
):
    """Fit named densities side by side, and check that they are on one measure; see `held_out_log_densities`."""
    schemas = schemas or {}
    with task.side_by_side("fit", [name for name, _ in estimators], X) as parts:
        fitted = Parallel(n_jobs=n_jobs)(
            delayed(fit_density)(
                density, as_taken(density, X, numbers), sample_weight, schemas.get(name), part
            )
            for (name, density), part in zip(estimators, parts, strict=True)
        )
    _check_same_measure([name for name, _ in estimators], list(map(measures_of, fitted)), X)
    return fitted


def folds_of(cv, X, rng):
    """Pairs of training and test rows, in which each row is held out once.

    Parameters
    ----------
    cv : int, cross-validation generator, iterable or None
        As scikit-learn has it, but that rows are shuffled if it is a number of folds.
    X : {ndarray, DataFrame} of shape (n_samples, n_features)
        Rows.
    rng : numpy.random.Generator
        Shuffles them.

    Returns
    -------
    folds : list of tuple
        Indices of training and of test rows.
    """
    if cv is None or isinstance(cv, Integral):
        # Many tables are sorted, and a fold of them would be like no other.
        cv = KFold(5 if cv is None else cv, shuffle=True, random_state=int(rng.integers(2**31)))
    folds = list(check_cv(cv).split(X))
    held_out = np.sort(np.concatenate([test for _, test in folds]))
    if not np.array_equal(held_out, np.arange(X.shape[0])):
        raise ValueError(
            f"cv should hold out each row exactly once, as KFold does; {type(cv).__name__} does not."
        )
    return folds


def held_out_log_densities(
    estimators, X, numbers, folds, schemas=None, sample_weight=None, n_jobs=None, task=UNTOLD
):
    """What densities say of rows that they were not fitted to.

    Parameters
    ----------
    estimators : list of tuple
        Names and densities, which are cloned.
    X : {ndarray, DataFrame} of shape (n_samples, n_features)
        Rows.
    numbers : ColumnSchema or None
        What `schema_of_numbers` gave.
    folds : list of tuple
        Indices of training and of test rows, the same for all densities.
    schemas : dict, default=None
        By name what densities are to be told of the columns, rather than to learn it.
    sample_weight : ndarray of shape (n_samples,), default=None
        Weights for those that take such.
    n_jobs : int, default=None
        Number of fits at the same time.
    task : FitTask, default=UNTOLD
        The fit that this is a part of.

    Returns
    -------
    log_density : ndarray of shape (n_samples, n_estimators)
        Log-densities, each by a fit without the fold of the row.
    score_kinds : list of str
        What these are, for each estimator.
    """
    schemas = schemas or {}
    fits = [(fold, name, density) for fold in folds for name, density in estimators]
    with task.side_by_side("hold out", [name for _, name, _ in fits], X) as parts:
        found = Parallel(n_jobs=n_jobs)(
            delayed(_fit_and_score)(
                density, as_taken(density, X, numbers), fold, sample_weight, schemas.get(name), part
            )
            for (fold, name, density), part in zip(fits, parts, strict=True)
        )
    names = [name for name, _ in estimators]
    log_density = np.empty((X.shape[0], len(names)))
    kinds = [[kind for _, kind, _ in found[k :: len(names)]] for k in range(len(names))]
    for i, (_, test) in enumerate(folds):
        of_fold = found[i * len(names) : (i + 1) * len(names)]
        _check_same_measure(names, [measures for *_, measures in of_fold], X)
        log_density[test] = np.column_stack([scores for scores, *_ in of_fold])
    for name, scores in zip(names, log_density.T, strict=True):
        if not (scores < np.inf).all():
            raise ValueError(f"{name!r} gives a held-out row a log-density of NaN or infinity.")
    return log_density, [max(of, key=SCORE_KINDS.index) for of in kinds]


def _fit_and_score(density, X, fold, sample_weight, schema, task):
    train, test = fold
    weight = None if sample_weight is None else sample_weight[train]
    fitted = fit_density(clone(density), safe_indexing(X, train), weight, schema, task)
    return *scored_rows(fitted, safe_indexing(X, test)), measures_of(fitted)


def _check_same_measure(names, measures, X):
    """A probability is no match for a density, neither in a sum nor in a comparison."""
    labels = X.columns if is_frame(X) else range(X.shape[1])
    known = [(name, of) for name, of in zip(names, measures, strict=True) if of is not None]
    for name, of in known[1:]:
        first_name, first = known[0]
        for label, theirs, own in zip(labels, first, of, strict=True):
            if _named(own) != _named(theirs):
                raise ValueError(
                    f"column {label!r} is {_named(theirs)} for {first_name!r} and {_named(own)} for {name!r}, so that their "
                    "densities are not on one measure; let column_kinds, integer_features or categorical_features "
                    "of one of them say what the other does."
                )


def _named(measure):
    """A measure as messages have it; atoms that were transformed differ in their last bits."""
    if isinstance(measure, str):
        return measure
    return f"continuous with mass at {', '.join(f'{atom:.6g}' for atom in measure)}"
