"""Fit estimators inside another one: weights and schemas reach all that take them, and callbacks are told."""

import warnings
from contextlib import contextmanager, nullcontext
from inspect import signature

import numpy as np
from sklearn import config_context
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import MetadataRouter, get_routing_for_object
from sklearn.utils.validation import has_fit_parameter

from sklearn_dgm._callbacks import UNTOLD, fit_task
from sklearn_dgm._validation import restored_on_failure
from sklearn_dgm.base import BaseGenerator
from sklearn_dgm.tags import densities_within, is_density, last_step, unwrapped


@contextmanager
def meta_fit_task(estimator, X, y=None, sample_weight=None, *, n_subtasks=None):
    """Run a block as the fit of a meta-estimator: callbacks are told, and a failure leaves it as it was.

    Columns that densities inside warn of are warned of once.

    Parameters
    ----------
    estimator : estimator instance
        The meta-estimator.
    X, y, sample_weight
        What its `fit` was given.
    n_subtasks : int, default=None
        See :func:`fit_task`.

    Yields
    ------
    task : FitTask
        What :func:`fit_task` yields.
    """
    with (
        fit_task(estimator, X, y, sample_weight, n_subtasks=n_subtasks) as task,
        restored_on_failure(estimator),
        warning_once(),
    ):
        yield task


@contextmanager
def warning_once():
    """Warn of each column once, by the last of several densities, or fits to parts of a table, that warn of it."""
    show, last = warnings.showwarning, {}

    def keep(message, category, filename, lineno, *others, **named):
        if hasattr(message, "about"):
            last[message.about] = (message, category, filename, lineno)
        else:
            show(message, category, filename, lineno, *others, **named)

    try:
        with warnings.catch_warnings():
            warnings.showwarning = keep
            yield
    finally:
        for warning in last.values():
            warnings.warn_explicit(*warning)


def fit_density(estimator, X, sample_weight=None, schema=None, task=UNTOLD, **fit_params):
    """Fit a density, or a transformer before one, and pass weights and a schema on to whatever takes them.

    What a pipeline, a search or the like hands on has to be asked for by those inside it. Unless the user has settled
    that, by `set_fit_request` or `set_score_request`, those that take it are made to ask, whether metadata routing is
    on or off.

    Parameters
    ----------
    estimator : estimator instance
        What is fitted; a clone, since those inside are made to ask for weights.
    X : {ndarray, DataFrame} of shape (n_samples, n_features)
        Rows as it takes them.
    sample_weight : ndarray of shape (n_samples,), default=None
        Their weights.
    schema : object, default=None
        What :func:`learn_schema` gave.
    task : FitTask, default=UNTOLD
        The part of a fit that this is.
    **fit_params : dict
        What else its `fit` is given, as it is.

    Returns
    -------
    estimator : estimator instance
        The fitted estimator.

    Raises
    ------
    ValueError
        If there are weights and it is a density that takes none; :func:`weights_for` leaves them out instead, and
        :func:`weighted_rows` repeats rows.
    """
    given = {"sample_weight": sample_weight, "schema": schema}
    given = {name: value for name, value in given.items() if value is not None}
    if not given:
        return task.fit(estimator, X, **fit_params)
    if "sample_weight" in given and is_density(estimator) and not _end_takes_weights(estimator):
        raise ValueError(f"{type(last_step(estimator)).__name__} takes no sample_weight.")
    parts = list(_receivers(estimator))
    hands_on = _hands_on(estimator)
    with config_context(enable_metadata_routing=True) if hands_on else nullcontext():
        for name in list(given):
            takers = [part for part in parts if has_fit_parameter(part, name)]
            for part in takers if hands_on else []:
                _ask_for(part, name)
            if not any(_request(part, "fit", name) is not False for part in takers):
                del given[name]
        return task.fit(estimator, X, **given, **fit_params)


def _hands_on(estimator):
    """Tell whether an estimator hands on what its `fit` is given to those inside it that ask for it."""
    return isinstance(get_routing_for_object(estimator), MetadataRouter)


def _receivers(estimator):
    """Yield the estimator, and those to which a pipeline, a search or the like hands on what its `fit` is given."""
    yield estimator
    if _hands_on(estimator):
        for name, part in estimator.get_params().items():
            if "__" not in name and hasattr(part, "get_params"):
                yield from _receivers(part)


def _request(part, method, name):
    """Return whether an estimator asks for weights, say; None if nobody has settled it."""
    of_method = getattr(get_routing_for_object(part), method, None)
    return getattr(of_method, "requests", {}).get(name, True)


def _ask_for(part, name):
    """Make an estimator ask for weights, say, in `fit` and `score`, unless the user has settled it."""
    for method in ("fit", "score"):
        if _request(part, method, name) is None:
            getattr(part, f"set_{method}_request")(**{name: True})


def takes_weights(estimator):
    """Tell whether a density takes weights, and so does the one that it is built on."""
    return next(_without_weights(estimator), None) is None


def _without_weights(estimator):
    """Yield what takes no weights of the density at the end of pipelines and searches, and the one it is built on."""
    density = last_step(estimator)
    if not _end_takes_weights(estimator):
        yield density
    inside = getattr(density, "estimator", None)
    if inside is not None:
        yield from _without_weights(inside)


def _end_takes_weights(estimator):
    """Tell whether weights can reach the density at the end of pipelines and searches."""
    density = last_step(estimator)
    if not has_fit_parameter(density, "sample_weight"):
        return False
    # Pipeline.score fails where metadata is routed and the `score` of its last step takes no weights.
    is_scored = getattr(estimator, "scoring", "not at all") is None
    in_pipeline = isinstance(getattr(estimator, "estimator", None), Pipeline)
    return not (is_scored and in_pipeline) or "sample_weight" in signature(density.score).parameters


def weights_for(estimator, sample_weight):
    """Return the weights of rows for a density that takes such, None for one to which all rows are alike."""
    return sample_weight if takes_weights(estimator) else None


def weighted_rows(densities, sample_weight):
    """Choose rows by their weights: those that have some, or each as often as it weighs.

    Parameters
    ----------
    densities : list of estimator instances
        Those that are fitted to the rows.
    sample_weight : ndarray of shape (n_samples,)
        Weights of the rows.

    Returns
    -------
    rows : ndarray of int
        Indices of rows, repeated where one of the densities takes no weights.
    sample_weight : ndarray or None
        The weights of these rows, None where they are repeated.

    Raises
    ------
    ValueError
        If a density takes no weights, and these are no whole numbers.
    """
    without = next((d for density in densities for d in _without_weights(density)), None)
    if without is None:
        rows = np.flatnonzero(sample_weight > 0)
        return rows, sample_weight[rows]
    if (sample_weight % 1).any():
        raise ValueError(
            f"{type(without).__name__} takes no sample_weight, so that it must hold whole numbers, by which rows are "
            "repeated."
        )
    return np.repeat(np.arange(len(sample_weight)), sample_weight.astype(np.intp)), None


def learn_schema(estimator, X, sample_weight=None):
    """Learn what a density would learn of the columns, for `fit` of densities of several parts of these rows.

    Parameters
    ----------
    estimator : estimator instance
        An unfitted density, or a search over one.
    X : {ndarray, DataFrame} of shape (n_samples, n_features)
        Rows of all parts, as the density takes them.
    sample_weight : ndarray of shape (n_samples,), default=None
        Their weights.

    Returns
    -------
    schema : object or None
        None if nothing of the kind is learnt: of numbers alone each is continuous.

    Raises
    ------
    TypeError
        If a density within learns what the columns are, and what is around it cannot hand it a schema.
    """
    density = unwrapped(estimator)
    if isinstance(estimator, FrozenEstimator):
        return None
    if has_fit_parameter(density, "schema"):
        return density.learn_schema(X, sample_weight)
    if learns_columns(density) and not isinstance(density, BaseGenerator):
        inside = next(d for d in densities_within(density) if isinstance(d, BaseGenerator))
        name, inside = type(density).__name__, type(inside).__name__
        raise TypeError(
            f"{name} lets {inside} learn from a part of the rows alone, such as those of one class, what the columns "
            f"are, so that the parts would not compare; hand in {inside} itself, within TransformedDensity if it is "
            f"to see transformed rows, or put densities of numbers, such as KernelDensity, into {name}."
        )
    return None


def learns_columns(estimator):
    """Tell whether a density, or one within it, learns what the columns are; of numbers alone each is continuous."""
    return any(isinstance(density, BaseGenerator) for density in densities_within(estimator))


def seeded(density, rng):
    """Clone a density, and replace each `random_state` in it that is None by a seed."""
    density = clone(density)
    parameters = density.get_params()
    seeds = {
        name: int(rng.integers(2**31))
        for name in sorted(parameters)
        if name.split("__")[-1] == "random_state" and parameters[name] is None
    }
    if seeds:  # a frozen one has no parameters to set
        density.set_params(**seeds)
    return density
