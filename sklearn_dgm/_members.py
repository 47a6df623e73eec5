"""A density inside another estimator: what it sees of a table, and how it is fitted and drawn from."""

import warnings
from contextlib import contextmanager

import numpy as np
from sklearn import get_config
from sklearn.base import clone
from sklearn.exceptions import DataConversionWarning
from sklearn.frozen import FrozenEstimator
from sklearn.utils import get_tags
from sklearn.utils.validation import has_fit_parameter

from sklearn_dgm._callbacks import UNTOLD
from sklearn_dgm._frames import fill, raw_columns
from sklearn_dgm.base import BaseGenerator, draw_rows
from sklearn_dgm.columns import CATEGORICAL, INTEGER, MIXED, ColumnSchema, is_frame, like_frame
from sklearn_dgm.tags import densities_within, last_step, takes_tables, unwrapped


def schema_of_numbers(densities, X, sample_weight=None):
    """The way from a table to the numbers that some of the densities want, None if all take it as it is."""
    if all(map(takes_tables, densities)):
        return None
    allow_nan = all(get_tags(unwrapped(density)).input_tags.allow_nan for density in densities)
    return ColumnSchema(None, None, standardize=False, missing=allow_nan).fit(X, sample_weight)


def check_cells(densities, X):
    """Refuse cells that not all densities take, by their row in the table and not in some part of it."""
    missing = all(get_tags(last_step(density)).input_tags.allow_nan for density in densities)
    fit_quietly(ColumnSchema(standardize=False, missing=missing), X)


def fit_quietly(schema, X, sample_weight=None):
    """Fit a schema without the warnings of columns, which densities give, each by its own parameters."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataConversionWarning)
        return schema.fit(X, sample_weight)


@contextmanager
def warning_once():
    """Let several densities, and fits to parts of a table, warn of each column once: what the last of them says."""
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


def as_taken(density, X, schema):
    """The rows in the form that a density wants: a matrix, if it knows neither categories nor others that ask for names.

    From whatever container, its last bits are the same.
    """
    if takes_tables(density):
        return X
    is_alone = len(list(densities_within(density))) == 1
    values = schema.encode(X)[0]
    return values if is_alone else like_frame(values, X)


def draw_table(density, n_samples, rng, schema, template):
    """Rows drawn from a density, in the form of a table.

    Parameters
    ----------
    density : estimator instance
        A fitted density, or a search over one.
    n_samples : int
        Number of rows.
    rng : numpy.random.Generator
        The generator to draw from.
    schema : ColumnSchema or None
        What :func:`schema_of_numbers` gave.
    template : {DataFrame, dtype}
        What :func:`~sklearn_dgm._frames.template_of` gives of the table.

    Returns
    -------
    X : {ndarray, DataFrame} of shape (n_samples, n_features)
        With its dtypes.
    """
    drawn = draw_rows(density, n_samples, rng)
    if not takes_tables(density):
        values = schema.encode(drawn)[0] if is_frame(drawn) else drawn
        return schema.decode(np.asarray(values, dtype=np.float64))
    if _has_dtypes(drawn, template):
        return drawn
    blocks = [_block_of(column) for column in raw_columns(drawn)]
    return fill(template, blocks, n_samples)


def _has_dtypes(X, template):
    if isinstance(template, np.dtype):
        return X.dtype == template
    return list(X.dtypes) == list(template.dtypes)


def _block_of(raw):
    missing = None if raw.observed is None else ~raw.observed
    values = raw.as_given
    if missing is not None:
        values = np.full(len(missing), values[0] if len(values) else 0, dtype=values.dtype)
        values[~missing] = raw.as_given
    return lambda rows: (values[rows], None if missing is None else missing[rows])


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
    if learns_columns(density) and not isinstance(density, BaseGenerator):
        inside = next(d for d in densities_within(density) if isinstance(d, BaseGenerator))
        name, inside = type(density).__name__, type(inside).__name__
        raise TypeError(
            f"{name} lets {inside} learn from a part of the rows alone, such as those of one class, what the columns are, "
            f"so that the parts would not compare; hand in {inside} itself, within TransformedDensity if it is to see "
            f"transformed rows, or put densities of numbers, such as KernelDensity, into {name}."
        )
    return None


def learns_columns(estimator):
    """Whether a density, or one within it, learns what the columns are; of numbers alone each is continuous."""
    return any(isinstance(density, BaseGenerator) for density in densities_within(estimator))


def takes_weights(estimator):
    """Whether a density takes weights, and hands them to the one that it is built on."""
    density = unwrapped(estimator)
    inside = getattr(density, "estimator", None)
    takes = has_fit_parameter(density, "sample_weight")
    return takes and (inside is None or takes_weights(last_step(inside)))


def fit_density(density, X, sample_weight=None, schema=None, task=UNTOLD):
    """Fit a density as a task, with the weights if it takes such, and under a schema if there is one."""
    given = {}
    if sample_weight is not None and takes_weights(density):
        given["sample_weight"] = sample_weight
    if schema is not None:
        given["schema"] = schema
    if get_config()["enable_metadata_routing"] and not isinstance(density, FrozenEstimator):
        _ask_for(density, given)
    return task.fit(density, X, **given)


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


def measures_of(density):
    """The measure that a fitted density has on each column: "counted", "continuous", or the atoms that have mass besides.

    None if it does not say.
    """
    fitted = last_step(density)
    if hasattr(fitted, "_measures"):
        return fitted._measures()
    if not takes_tables(fitted):
        return ["continuous"] * fitted.n_features_in_
    schema = getattr(fitted, "schema_", None)
    return schema and [_measure(column) for column in schema.columns_]


def _measure(column):
    if column.kind in (INTEGER, CATEGORICAL):
        return "counted"
    if column.kind == MIXED:
        return tuple(float(atom) for atom in column.atoms)
    return "continuous"
