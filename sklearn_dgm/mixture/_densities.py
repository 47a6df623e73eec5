"""Mixtures of any densities that take weights, by generalised expectation and maximisation.

Densities that read encoded rows share the schema of the mixture. Any other one encodes rows itself: it is given tables.
"""

from inspect import isclass, signature

import numpy as np
from scipy.special import logsumexp
from sklearn.base import clone

from sklearn_dgm._nested.checks import check_density_of_parts
from sklearn_dgm._nested.em import (
    ComponentDensities,
    expectation_maximisation,
    log_posterior,
    responsibilities_of,
    without_least_shares,
)
from sklearn_dgm._nested.fitting import learn_schema, takes_weights
from sklearn_dgm._nested.rows import TableView, check_cells, fit_quietly
from sklearn_dgm._nested.scores import scores_and_std, scores_of_mixture
from sklearn_dgm._queries.conditioning import Completions
from sklearn_dgm._sklearn import safe_indexing
from sklearn_dgm._state import Stateful
from sklearn_dgm.base import COLUMN_PARAMS, BaseDensity, BaseEstimatedDensity
from sklearn_dgm.columns import ColumnSchema, stacked
from sklearn_dgm.tags import last_step, require_normalised

# Numbers that a block of completed rows takes up.
NUMBERS_AT_ONCE = 2**22


def check_component(component, who="MixtureDensity", name="component", part="component"):
    """Refuse what can be no component: no density of all columns, or one that takes no weights.

    Parameters
    ----------
    component : estimator instance
        What was given as such.
    who, name : str, default="MixtureDensity", "component"
        The estimator that asks, and its parameter.
    part : str, default="component"
        What each clone is fitted to.
    """
    if isclass(component):
        raise TypeError(f"{name} is the class {component.__name__}; hand in an instance.")
    check_density_of_parts(component, who, parameter=name, part=part)
    require_normalised([component], who)
    if not takes_weights(component):
        raise ValueError(
            f"{name}={type(last_step(component)).__name__} takes no sample_weight, which a {part} needs, since "
            "rows belong to several; use a density that does, such as KernelDensity or those of this package."
        )


def check_columns_untold(estimator, name):
    """Refuse parameters of columns that are not as by default, where a density, a parameter, says what they are."""
    for parameter, of_signature in signature(type(estimator)).parameters.items():
        value, default = getattr(estimator, parameter), of_signature.default
        is_default = value is default or (isinstance(value, str) and value == default)
        if parameter in COLUMN_PARAMS and not is_default:
            raise ValueError(
                f"{parameter} should stay {default!r}, since {name}={getattr(estimator, name)!r} says what the columns "
                "are; set its own parameters."
            )


def schema_for(component):
    """Return the unfitted schema of the columns as a density reads them, or else that of tables for it."""
    own = clone(component)._make_schema() if isinstance(component, BaseDensity) else None
    return own if isinstance(own, ColumnSchema) else TableSchema(component)


class TableRows:
    """Rows of a table, as a density takes them that encodes them itself.

    Parameters
    ----------
    X : {ndarray, DataFrame} of shape (n, n_features)
        The rows.
    """

    def __init__(self, X):
        self.X = X

    def __len__(self):
        return self.X.shape[0]

    def __getitem__(self, rows):
        return TableRows(safe_indexing(self.X, np.arange(len(self))[rows]))


class TableSchema(Stateful):
    """What is told of the columns to densities that encode rows themselves; it answers the verbs of a schema.

    Parameters
    ----------
    density : estimator instance
        An unfitted density.

    Attributes
    ----------
    view : TableView
        How the density sees a table.
    of_density : object or None
        What its `learn_schema` learnt.
    """

    def __init__(self, density):
        self.density = density

    def fit(self, X, sample_weight=None):
        """Learn the columns of a table."""
        check_cells([self.density], X)
        self.view = TableView.of([self.density], X, sample_weight)
        rows = self.view.rows_for(self.density, X)
        self.of_density = learn_schema(self.density, rows, sample_weight)
        return self

    def encode(self, X):
        """Return rows as the density takes them, and log-Jacobians of shape (n,), which are zero."""
        return TableRows(self.view.rows_for(self.density, X)), np.zeros(X.shape[0])

    def decode(self, Z):
        """Return drawn rows, which are a table."""
        return Z

    def check_alike(self, schema, X, sample_weight):
        """Return another schema that stands in for this one; refuse one of another kind."""
        if not isinstance(schema, TableSchema):
            raise ValueError(
                "schema should be what learn_schema of a mixture with the same parameters returns."
            )
        return schema


class DensityMixture(Stateful):
    """A finite mixture of fitted densities.

    Parameters
    ----------
    weights : ndarray of shape (n_components,)
        Shares of the components.
    densities : list of estimator instances
        Those of a positive weight are fitted.
    schema : {ColumnSchema, TableSchema}
        The fitted schema of the rows that they score.
    """

    tables = normals = None

    def __init__(self, weights, densities, schema):
        self.weights, self.densities, self.schema = weights, densities, schema

    @property
    def log_weights(self):
        """Logarithms of the weights."""
        with np.errstate(divide="ignore"):
            return np.log(self.weights)

    @property
    def fitted(self):
        """The densities of a positive weight, with their numbers."""
        return [(k, d) for k, d in enumerate(self.densities) if self.weights[k] > 0]

    def log_joint_and_std(self, Z):
        """Return the log-density of rows and components, and standard errors, both of shape (n, n_components)."""
        log_joint = np.full((len(Z), len(self.weights)), -np.inf)
        std = np.zeros_like(log_joint)
        with np.errstate(over="ignore", divide="ignore"):  # of a point far away: it is impossible
            for k, density in self.fitted:
                log_joint[:, k], std[:, k] = _scores(density, Z)
        return log_joint + self.log_weights, std

    def log_joint_of(self, Z):
        """Return the log-density of rows and components, of shape (n, n_components)."""
        return self.log_joint_and_std(Z)[0]

    def log_prob_and_std(self, Z):
        """Return the log-density of rows, and standard errors, both of shape (n,)."""
        log_joint, std = self.log_joint_and_std(Z)
        return scores_of_mixture(log_joint.T, std.T)

    def is_estimated(self, Z):
        """Flag the rows whose scores are estimates, of shape (n,)."""
        return np.any([density._is_estimated(Z) for _, density in self.fitted], axis=0)

    def draw(self, n_samples, rng):
        """Return drawn rows, encoded or a table, as the schema decodes them."""
        counts = rng.multinomial(n_samples, self.weights)
        chosen = [(self.densities[k], count) for k, count in enumerate(counts) if count]
        order = rng.permutation(n_samples)
        if isinstance(self.schema, TableSchema):
            view = self.schema.view
            return stacked([view.draw(last_step(d), count, rng) for d, count in chosen], order)
        return np.concatenate([d._draw(count, rng) for d, count in chosen])[order]

    def completions(self, Z, n_particles, rng=None):
        """Yield weighted completions of encoded rows, those of all components side by side.

        See :class:`~sklearn_dgm._queries.conditioning.ConditionalMixin`.
        """
        gaps = np.isnan(Z).any(axis=1)
        (complete,) = np.nonzero(~gaps)
        if len(complete):
            log_p = self.log_prob_and_std(Z[complete])[0][:, None]
            yield Completions(complete, Z[complete][:, None], log_p, np.full(len(complete), np.inf))
        (rows,) = np.nonzero(gaps)
        step = max(NUMBERS_AT_ONCE // (n_particles * len(self.weights) * Z.shape[1]), 1)
        for start in range(0, len(rows), step):
            block = rows[start : start + step]
            yield self._completed(Z[block], n_particles, rng)._replace(rows=block)

    def _completed(self, Z, n_particles, rng):
        """Return completions of rows, all of which lack cells."""
        parts = []
        for k, density in self.fitted:
            part = _as_one(density._completions(Z, n_particles, rng), len(Z))
            parts.append(part._replace(log_weight=part.log_weight + self.log_weights[k]))
        log_weight = np.concatenate([part.log_weight for part in parts], axis=1)
        of_component = [logsumexp(part.log_weight, axis=1) for part in parts]
        share = np.exp(log_posterior(np.column_stack(of_component), np.zeros(len(parts))))
        sizes = np.column_stack([part.effective_sample_size for part in parts])
        with np.errstate(divide="ignore"):
            ess = 1 / np.sum(share**2 / sizes, axis=1)
        z = np.concatenate([part.z for part in parts], axis=1)
        return Completions(np.arange(len(Z)), z, log_weight, ess)

    @property
    def n_parameters(self):
        """Number of free parameters, where the densities count theirs."""
        return len(self.weights) - 1 + sum(density.n_parameters_ for _, density in self.fitted)


def _scores(density, Z):
    """Return the log-densities of rows under a density, and standard errors, both of shape (n,)."""
    if isinstance(Z, TableRows):
        return scores_and_std(density, Z.X)
    if isinstance(density, BaseEstimatedDensity):
        return density._log_density_and_std(Z)
    return density._log_density(Z), np.zeros(len(Z))


def _as_one(parts, n):
    """Return completions of parts of n rows as those of all, with no weight where a row has fewer than others."""
    parts = list(parts)
    most = max(part.z.shape[1] for part in parts)
    z = np.empty((n, most, parts[0].z.shape[2]))
    log_weight, ess = np.full((n, most), -np.inf), np.empty(n)
    for part in parts:
        more = most - part.z.shape[1]
        z[part.rows] = np.pad(part.z, ((0, 0), (0, more), (0, 0)), "edge")
        log_weight[part.rows, : part.z.shape[1]] = part.log_weight
        ess[part.rows] = part.effective_sample_size
    return Completions(np.arange(n), z, log_weight, ess)


def rows_to_start_from(schema, X, Z):
    """Return columns and encoded rows that say where components may start."""
    if isinstance(schema, TableSchema):
        schema = fit_quietly(ColumnSchema(missing=True), X)
        Z = schema.encode(X)[0]
    return schema.columns_, Z


def _fill_up(parts, rows):
    """Give components whose rows have no value of some column a row's weight of all rows, in place."""
    observed = ~np.isnan(rows.Z)
    n_values = ((parts > 0).T.astype(np.float64) @ observed)[:, observed.any(axis=0)]
    lacks = (n_values == 0).any(axis=1) & parts.any(axis=0)
    parts[:, lacks] += (rows.weight / rows.weight.sum())[:, None]


def fit_densities(densities, schema, X, rows, max_iter, tol, task):
    """Fit a mixture of densities to rows, from the responsibilities that these start with.

    A component that loses all rows is left out.

    Parameters
    ----------
    densities : list of estimator instances
        An unfitted one for each component.
    schema : {ColumnSchema, TableSchema}
        The fitted schema.
    X : {ndarray, DataFrame} of shape (n, n_features)
        Distinct rows of the table.
    rows : WeightedRows
        Their weights and responsibilities.
    max_iter : int
        Steps at most.
    tol : float
        Change of the log-likelihood in nats a row below which to stop.
    task : FitTask
        The fit that these are parts of.

    Returns
    -------
    mixture : DensityMixture
        The fitted mixture.
    log_likelihoods : ndarray of shape (n_steps + 1,)
        In nats a row.

    Warns
    -----
    ConvergenceWarning
        If the log-likelihood still changed after `max_iter` steps.
    """
    Z = schema.encode(X)[0]
    of_tables = isinstance(schema, TableSchema)
    names = [f"component {k}" for k in range(len(densities))]
    components = ComponentDensities(
        densities, names, "fit components", schema=schema.of_density if of_tables else schema
    )
    table = Z.X if of_tables else X
    mixture = DensityMixture(np.zeros(len(densities)), densities, schema)

    def expect():
        shares, log_p = responsibilities_of(mixture.log_joint_of(Z), mixture.weights)
        possible = log_p > -np.inf
        log_likelihood = rows.weight[possible] @ log_p[possible] / rows.weight.sum()
        return shares * rows.weight[:, None], log_likelihood if possible.all() else -np.inf

    def maximise(responsibilities):
        parts = without_least_shares(responsibilities, rows.weight)
        mixture.weights = parts.sum(axis=0) / parts.sum()
        _fill_up(parts, rows)
        mixture.densities = components.fit(table, parts, task)

    maximise(rows.start * rows.weight[:, None])
    with components.small_steps():
        log_likelihoods = expectation_maximisation(expect, maximise, max_iter=max_iter, tol=tol)
    return mixture, np.array(log_likelihoods)
