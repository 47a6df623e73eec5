"""A density inside another estimator: what it sees of a table, and how it is fitted and drawn from."""

import numpy as np
from sklearn import get_config
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils import get_tags
from sklearn.utils.validation import has_fit_parameter

from sklearn_dgm.base import BaseDensity, densities_within, draw_rows, takes_tables, unwrapped
from sklearn_dgm.columns import ColumnSchema, is_frame, like_frame


def schema_of_numbers(densities, X, sample_weight=None):
    """The way from a table to the numbers that some of the densities want, None if all take it as it is."""
    if all(map(takes_tables, densities)):
        return None
    allow_nan = all(get_tags(unwrapped(density)).input_tags.allow_nan for density in densities)
    return ColumnSchema(None, None, standardize=False, missing=allow_nan).fit(X, sample_weight)


def as_taken(density, X, schema):
    """The rows in the form that a density wants: a matrix, if it knows neither categories nor others that ask for names.

    From whatever container, its last bits are the same.
    """
    if takes_tables(density):
        return X
    is_alone = len(list(densities_within(density))) == 1
    values = schema.encode(X)[0]
    return values if is_alone else like_frame(values, X)


def draw_table(density, n_samples, rng, schema):
    """Rows drawn from a density, in the form that the table has of which `schema` was learnt."""
    drawn = draw_rows(density, n_samples, rng)
    if takes_tables(density):
        return drawn
    values = schema.encode(drawn)[0] if is_frame(drawn) else drawn
    return schema.decode(np.asarray(values, dtype=np.float64))


def learn_schema(estimator, X, sample_weight=None):
    """What a density would learn of the columns, for `fit` of densities of several parts of these rows.

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
    learners = [d for d in densities_within(density) if isinstance(d, BaseDensity)]
    if learners and learners[0] is not density:
        name, inside = type(density).__name__, type(learners[0]).__name__
        raise TypeError(
            f"{name} lets {inside} learn from a part of the rows alone, such as those of one class, what the columns are, "
            f"so that the parts would not compare; hand in {inside} itself, within TransformedDensity if it is to see "
            f"transformed rows, or put densities of numbers, such as KernelDensity, into {name}."
        )
    return None


def fit_density(density, X, sample_weight=None, schema=None):
    """Fit a density, with the weights if it takes such, and under a schema if there is one."""
    given = {"sample_weight": sample_weight, "schema": schema}
    given = {
        name: value
        for name, value in given.items()
        if value is not None and has_fit_parameter(unwrapped(density), name)
    }
    if get_config()["enable_metadata_routing"] and not isinstance(density, FrozenEstimator):
        _ask_for(density, given)
    return density.fit(X, None, **given)  # a frozen one insists on y


def _ask_for(density, names):
    """Let a search pass on to its density what it gets, which routed metadata has to be asked for."""
    if unwrapped(density) is density:
        return
    while unwrapped(density) is not density:
        density = density.estimator
    density.set_fit_request(**dict.fromkeys(names, True))
    if "sample_weight" in names and hasattr(density, "set_score_request"):
        density.set_score_request(sample_weight=True)


def seeded(density, rng):
    """A clone in which each `random_state` that is None is a seed."""
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
