"""Estimators within estimators: what stands before a density, and fits in which weights reach all that take them."""

from contextlib import contextmanager

import numpy as np
from sklearn import config_context
from sklearn.compose import ColumnTransformer
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter

from sklearn_dgm._callbacks import UNTOLD
from sklearn_dgm.compose._jacobians import NO_JACOBIAN, has_jacobian
from sklearn_dgm.tags import last_step, unwrapped


def split_steps(estimator):
    """The transformers of pipelines at the end of which a density stands, and the density."""
    estimator = unwrapped(estimator)
    if not isinstance(estimator, Pipeline):
        return [], estimator
    steps, density = split_steps(estimator.steps[-1][1])
    return [step for _, step in estimator.steps[:-1]] + steps, density


def leaves_of(transformer):
    """Transformers within pipelines and column transformers that are fitted or not, but no words such as "drop"."""
    if isinstance(transformer, FrozenEstimator):
        return leaves_of(transformer.estimator)
    if isinstance(transformer, Pipeline):
        return [leaf for _, step in transformer.steps for leaf in leaves_of(step)]
    if isinstance(transformer, ColumnTransformer):
        steps = [step for _, step, *_ in transformer.transformers] + [transformer.remainder]
        return [leaf for step in steps for leaf in leaves_of(step)]
    return [] if transformer is None or isinstance(transformer, str) else [transformer]


@contextmanager
def naming_what_has_no_jacobian(transformers):
    """Raise that a transformer has no Jacobian in place of what comes of it, such as strings that are no numbers."""
    try:
        yield
    except (TypeError, ValueError) as error:
        for leaf in (leaf for transformer in transformers for leaf in leaves_of(transformer)):
            if not has_jacobian(leaf):
                raise TypeError(NO_JACOBIAN.format(type(leaf).__name__)) from error
        raise


def weighted_rows(estimator, sample_weight):
    """Rows of positive weight and their weights, or each as often as it weighs, where a density takes no weights."""
    last = last_step(estimator)
    if has_fit_parameter(last, "sample_weight"):
        rows = np.flatnonzero(sample_weight > 0)
        return rows, sample_weight[rows]
    if (sample_weight % 1).any():
        raise ValueError(
            f"{type(last).__name__} takes no sample_weight, so that it must hold whole numbers, by which rows are repeated."
        )
    return np.repeat(np.arange(len(sample_weight)), sample_weight.astype(np.intp)), None


def fit_with(estimator, X, sample_weight, schema=None, task=UNTOLD):
    """Fit an estimator as a task, with weights and the schema wherever something within it takes them."""
    given = {"sample_weight": sample_weight, "schema": schema}
    given = {name: value for name, value in given.items() if value is not None}
    if not given:
        return task.fit(estimator, X)
    with config_context(enable_metadata_routing=True):
        for name in list(given):
            if not any([_asks_for(part, name) for part in _parts(estimator)]):
                del given[name]
        return task.fit(estimator, X, **given)


def _parts(estimator):
    """An estimator and those within, but none that are frozen."""
    if isinstance(estimator, FrozenEstimator):
        return []
    within = [part for part in estimator.get_params().values() if hasattr(part, "get_params")]
    frozen = [part.estimator for part in within if isinstance(part, FrozenEstimator)]
    return [estimator, *(p for p in within if not any(p is f for f in frozen))]


def _asks_for(part, name):
    """Whether an estimator takes weights, say, which only reach those within others that ask for them: it is made to."""
    if not has_fit_parameter(part, name):
        return False

    def request_of(method):
        return getattr(getattr(part.get_metadata_routing(), method, None), "requests", {})

    for method in ("fit", "score"):
        if request_of(method).get(name, True) is None:  # or the user has settled it
            getattr(part, f"set_{method}_request")(**{name: True})
    return request_of("fit").get(name, True) is not False
