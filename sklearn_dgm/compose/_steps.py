"""Steps of pipelines: the transformers that stand before a density."""

from contextlib import contextmanager

from sklearn.compose import ColumnTransformer
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from sklearn_dgm.compose._jacobians import NO_JACOBIAN, has_jacobian
from sklearn_dgm.tags import unwrapped


def split_steps(estimator):
    """Split pipelines that end in a density into their transformers and the density."""
    estimator = unwrapped(estimator)
    if not isinstance(estimator, Pipeline):
        return [], estimator
    steps, density = split_steps(estimator.steps[-1][1])
    return [step for _, step in estimator.steps[:-1]] + steps, density


def leaves_of(transformer):
    """List the transformers within pipelines and column transformers, fitted or not, but no words such as "drop"."""
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
