"""Fits of several densities of one table, and what they say of rows held out by shared folds."""

from numbers import Integral

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import KFold, check_cv
from sklearn.utils.parallel import Parallel, delayed

from sklearn_dgm._callbacks import UNTOLD
from sklearn_dgm._nested.fitting import fit_density, weights_for
from sklearn_dgm._nested.measures import check_same_measure, measures_of
from sklearn_dgm._nested.scores import scored_rows, shared_std
from sklearn_dgm._sklearn import num_samples, safe_indexing
from sklearn_dgm.tags import SCORE_KINDS


def fit_densities(estimators, X, view, schemas=None, sample_weight=None, n_jobs=None, task=UNTOLD):
    """Fit named densities side by side, and check that they are on one measure; see `held_out_log_densities`."""
    schemas = schemas or {}
    with task.side_by_side("fit", [name for name, _ in estimators], X) as parts:
        fitted = Parallel(n_jobs=n_jobs)(
            delayed(fit_density)(
                density,
                view.rows_for(density, X),
                weights_for(density, sample_weight),
                schemas.get(name),
                part,
            )
            for (name, density), part in zip(estimators, parts, strict=True)
        )
    check_same_measure([name for name, _ in estimators], list(map(measures_of, fitted)), X)
    return fitted


def folds_of(cv, X, rng):
    """Split rows into pairs of training and test rows, so that each row is held out once.

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
    if not np.array_equal(held_out, np.arange(num_samples(X))):
        raise ValueError(
            f"cv should hold out each row exactly once, as KFold does; {type(cv).__name__} does not."
        )
    return folds


def some_folds(n_folds, X, rng, enough):
    """Split rows into pairs of training and test rows, no more of them than hold out enough rows.

    Parameters
    ----------
    n_folds : int
        Number of folds of which these are some.
    X : {ndarray, DataFrame} of shape (n_samples, n_features)
        Rows.
    rng : numpy.random.Generator
        Shuffles them.
    enough : int
        Number of rows to hold out; all of them where they are fewer.

    Returns
    -------
    folds : list of tuple
        Indices of training and of test rows.
    """
    return folds_of(n_folds, X, rng)[: int(np.ceil(enough * n_folds / num_samples(X)))]


def held_out_log_densities(
    estimators, X, view, folds, schemas=None, sample_weight=None, n_jobs=None, task=UNTOLD
):
    """Score rows by densities that were not fitted to them.

    Parameters
    ----------
    estimators : list of tuple
        Names and densities, which are cloned.
    X : {ndarray, DataFrame} of shape (n_samples, n_features)
        Rows.
    view : TableView
        How they see the table.
    folds : list of tuple
        Indices of training and of test rows, the same for all densities; a row is held out once at most.
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
    log_density : ndarray of shape (n_held_out, n_estimators)
        Log-densities, each by a fit without the fold of the row, in the order of the table.
    score_kinds : list of str
        What these are, for each estimator.
    stds : list of float
        For each estimator the standard error that all its scores share, on average over the rows: as if the fits to all
        folds erred on the same side.
    """
    schemas = schemas or {}
    fits = [(fold, name, density) for fold in folds for name, density in estimators]
    with task.side_by_side("hold out", [name for _, name, _ in fits], X) as parts:
        found = Parallel(n_jobs=n_jobs)(
            delayed(_fit_and_score)(
                density, view.rows_for(density, X), fold, sample_weight, schemas.get(name), part
            )
            for (fold, name, density), part in zip(fits, parts, strict=True)
        )
    names = [name for name, _ in estimators]
    held_out = np.sort(np.concatenate([test for _, test in folds]))
    log_density, stds = np.empty((len(held_out), len(names))), np.zeros(len(names))
    kinds = [[kind for _, kind, *_ in found[k :: len(names)]] for k in range(len(names))]
    for i, (_, test) in enumerate(folds):
        of_fold = found[i * len(names) : (i + 1) * len(names)]
        check_same_measure(names, [measures for *_, measures in of_fold], X)
        of_rows = np.searchsorted(held_out, test)
        log_density[of_rows] = np.column_stack([scores for scores, *_ in of_fold])
        stds += np.multiply([std for _, _, std, _ in of_fold], len(test) / len(held_out))
    for name, scores in zip(names, log_density.T, strict=True):
        if not (scores < np.inf).all():
            raise ValueError(f"{name!r} gives a held-out row a log-density of NaN or infinity.")
    return log_density, [max(of, key=SCORE_KINDS.index) for of in kinds], stds.tolist()


def _fit_and_score(density, X, fold, sample_weight, schema, task):
    train, test = fold
    weight = None if sample_weight is None else weights_for(density, sample_weight[train])
    fitted = fit_density(clone(density), safe_indexing(X, train), weight, schema, task)
    scored = scored_rows(fitted, safe_indexing(X, test))
    return *scored, shared_std(fitted), measures_of(fitted)
