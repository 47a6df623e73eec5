"""Families that suit a table, for estimators that are given no density."""

from importlib.util import find_spec

import numpy as np

from sklearn_dgm._nested.fitting import learn_schema, seeded
from sklearn_dgm._nested.held_out import held_out_log_densities, some_folds
from sklearn_dgm._nested.rows import TableView, fit_quietly
from sklearn_dgm._sklearn import num_samples
from sklearn_dgm._subsets import some_of
from sklearn_dgm.columns import CATEGORICAL, INTEGER, ColumnSchema

N_FOLDS = 5
# With so many discrete columns a continuous mixture is worth its training.
WIDE = 16
# Floats of no more values are taken for codes.
MOST_CODES = 10
# Rows that tell densities apart. With fewer rows, all of them are held out in turns.
ENOUGH_HELD_OUT = 500
# Rows that a single density is chosen by: of those that it is fitted to, and of those that are held out.
MOST_FITTED, MOST_HELD_OUT = 20_000, 5000


def folds_to_choose_by(X, rng):
    """Return pairs of training and test rows: of five folds as many as tell densities apart."""
    return some_folds(min(N_FOLDS, max(2, num_samples(X))), X, rng, ENOUGH_HELD_OUT)


def suitable_densities(X, sample_weight=None):
    """Choose densities by the kinds of the columns and by what is missing.

    All look for ties, so that they are on one measure.

    Parameters
    ----------
    X : {ndarray, DataFrame} of shape (n_samples, n_features)
        Rows.
    sample_weight : ndarray of shape (n_samples,), default=None
        Weights of the rows.

    Returns
    -------
    densities : list of tuple
        Names and unfitted densities: the one that is most likely to matter first, then by what they cost.
    """
    from sklearn_dgm.autoregressive import AutoregressiveDensity
    from sklearn_dgm.bayes_net import BayesianNetworkDensity
    from sklearn_dgm.flow import FlowDensity
    from sklearn_dgm.mixture import ContinuousMixtureDensity, MixtureDensity

    schema = fit_quietly(ColumnSchema(missing=True, detect_ties=True), X, sample_weight)
    Z, n_rows = schema.encode(X)[0], X.shape[0]
    if sample_weight is not None:
        Z, n_rows = Z[sample_weight > 0], sample_weight.sum()
    is_missing = np.isnan(Z).any() or any(column.empty for column in schema.columns_)
    is_discrete = [
        column.kind in (CATEGORICAL, INTEGER) or _has_few_values(z, n_rows)
        for column, z in zip(schema.columns_, Z.T, strict=True)
    ]
    n_discrete, n_numbers = sum(is_discrete), len(is_discrete) - sum(is_discrete)
    found = [("network", AutoregressiveDensity())]
    # Fitted in seconds.
    found.append(("tables", BayesianNetworkDensity(conditional="table")))
    found.append(("trees", MixtureDensity(component="tree")))
    if n_discrete > 1:
        found.append(("classes", MixtureDensity(30)))
    if n_numbers > 1:
        found.append(("gaussians", MixtureDensity(component="gaussian")))
    # Fitted in a part of the time of the network.
    if n_numbers > 1 and find_spec("zuko") and not is_missing:
        found.append(("flow", FlowDensity()))
    if n_discrete >= WIDE:
        found.append(("continuous_mixture", ContinuousMixtureDensity()))
    return found


def _has_few_values(z, n_rows):
    """Tell whether floats are codes, such as those of a matrix of zeros and ones."""
    return len(np.unique(z[~np.isnan(z)])) <= min(MOST_CODES, n_rows // 10)


def best_density(densities, X, rng, task):
    """Choose the density under which held-out rows are most likely, by fits to 20,000 rows at most.

    Parameters
    ----------
    densities : list of tuple
        Names and unfitted densities, on one measure.
    X : {ndarray, DataFrame} of shape (n_samples, n_features)
        Rows.
    rng : numpy.random.Generator
        Seeds densities and folds.
    task : FitTask
        The fit that this is a part of.

    Returns
    -------
    density : estimator instance
        The unfitted one, with a seed.
    """
    seeds = [(name, seeded(density, rng)) for name, density in densities]
    schemas = {name: learn_schema(density, X) for name, density in seeds}
    view = TableView.of([density for _, density in seeds], X)
    folds = [
        (train[some_of(len(train), MOST_FITTED)], test[some_of(len(test), MOST_HELD_OUT)])
        for train, test in folds_to_choose_by(X, rng)
    ]
    log_density, *_ = held_out_log_densities(seeds, X, view, folds, schemas, task=task)
    return seeds[np.argmax(log_density.mean(axis=0))][1]
