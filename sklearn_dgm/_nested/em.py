"""Expectation and maximisation over clones of any density that takes weights (Dempster, Laird and Rubin, 1977)."""

import warnings
from contextlib import contextmanager

import numpy as np
from scipy.special import logsumexp
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.parallel import Parallel, delayed

from sklearn_dgm._callbacks import UNTOLD
from sklearn_dgm._nested.fitting import fit_density, weighted_rows
from sklearn_dgm._sklearn import safe_indexing
from sklearn_dgm.tags import get_density_tags

# Epochs of a step of EM, where a density is a network that goes on with its training: all it takes is some progress.
EPOCHS_OF_A_STEP = 5
# A row that belongs less to a component is none of its rows: it would take time and change nothing.
LEAST_SHARE = 1e-10
# Below it products become denormal numbers, with which processors are twenty times slower.
LEAST_RESPONSIBILITY = 1e-100
LOWEST = np.finfo(np.float64).min


def expectation_maximisation(expect, maximise, *, max_iter, tol, verbose=False):
    """Alternate between expectation and maximisation.

    Where it starts is up to the caller: `expect` is called first, under the parameters of the time.

    Parameters
    ----------
    expect : callable
        Returns responsibilities, in the form that `maximise` takes, and the log-likelihood in nats a row, both under
        the present parameters.
    maximise : callable
        Learns parameters from responsibilities.
    max_iter : int
        Steps at most. A single one tells nothing of convergence.
    tol : float
        Change in nats a row below which to stop.
    verbose : bool, default=False
        Whether to print a line for each step.

    Returns
    -------
    log_likelihoods : list of float
        In nats a row, at the beginning and after each step.

    Warns
    -----
    ConvergenceWarning
        If the likelihood still changed after `max_iter` steps.
    """
    log_likelihoods = []
    for n_steps in range(max_iter + 1):
        responsibilities, log_likelihood = expect()
        log_likelihoods.append(log_likelihood)
        if verbose:
            print(f"EM, step {n_steps}: {log_likelihood:.6g} nats a row", flush=True)
        # Where densities are smoothed the likelihood may fall, and yet rows still find their components.
        if n_steps and abs(log_likelihood - log_likelihoods[-2]) < tol:
            return log_likelihoods
        if n_steps < max_iter:
            maximise(responsibilities)
    if max_iter > 1:
        warnings.warn(
            f"The likelihood still changed after max_iter={max_iter} steps; raise max_iter, or tol.",
            ConvergenceWarning,
            stacklevel=4,
        )
    return log_likelihoods


def log_posterior(log_joint, log_prior):
    """Return the log-probabilities of the components, or classes, of rows, by Bayes' rule.

    Parameters
    ----------
    log_joint : ndarray of shape (n, n_components)
        Log-density of row and component, but for a factor of the row.
    log_prior : ndarray of shape (n_components,)
        What a row is that is impossible in every component.

    Returns
    -------
    log_proba : ndarray of shape (n, n_components)
        Of which the exponentials sum to one.
    """
    impossible = np.isneginf(log_joint).all(axis=1, keepdims=True)
    log_joint = np.where(impossible, log_prior, log_joint)
    return log_joint - logsumexp(log_joint, axis=1, keepdims=True)


def responsibilities_of(log_joint, weights):
    """Return responsibilities, the weights of components in impossible rows, and log-densities, by one exponential.

    Parameters
    ----------
    log_joint : ndarray of shape (n, n_components)
        Log-density of row and component.
    weights : ndarray of shape (n_components,)
        Shares of the components.

    Returns
    -------
    responsibilities : ndarray of shape (n, n_components)
        How much each row belongs to each component; least ones are 0.
    log_density : ndarray of shape (n,)
        The logarithms of the sums of the exponentials.
    """
    highest = log_joint.max(axis=1, keepdims=True).clip(LOWEST)
    shares = np.exp(log_joint - highest)
    total = shares.sum(axis=1, keepdims=True)
    possible = total > 0
    shares = np.divide(shares, total, out=np.tile(weights, (len(shares), 1)), where=possible)
    shares[shares < LEAST_RESPONSIBILITY] = 0.0
    with np.errstate(divide="ignore"):
        return shares, (np.log(total) + highest)[:, 0]


def without_least_shares(responsibilities, sample_weight):
    """Return responsibilities, of shape (n, n_components), with 0 where a row hardly belongs to a component."""
    is_part = responsibilities > LEAST_SHARE * sample_weight[:, None]
    return np.where(is_part, responsibilities, 0.0)


class ComponentDensities:
    """Densities of one table, each fitted to the rows with weights of its own: the step of maximisation.

    Parameters
    ----------
    estimators : list of estimator instances
        Unfitted densities, one for each component.
    names : list of str
        What callbacks and errors call the components, such as "class 'a'".
    title : str
        What callbacks call the fit of all of them.
    schema : object, default=None
        What they are told of the columns, so that they compare.
    n_jobs : int, default=None
        Number of fits at the same time.

    Attributes
    ----------
    estimators : list of estimator instances
        The densities, fitted after :meth:`fit`.
    """

    def __init__(self, estimators, names, title, *, schema=None, n_jobs=None):
        self.estimators, self.names, self.title = estimators, names, title
        self.schema, self.n_jobs = schema, n_jobs
        self._quietly = False

    def fit(self, X, responsibilities, task=UNTOLD):
        """Fit each density to the rows that have weight in it; without any such row it stays as it is.

        Parameters
        ----------
        X : {ndarray, DataFrame} of shape (n_samples, n_features)
            Rows as the density takes them.
        responsibilities : ndarray of shape (n_samples, n_components)
            How much each row belongs to each component, in units of its weight; whole numbers, by which rows are
            repeated, where the density takes no weights.
        task : FitTask, default=UNTOLD
            The fit that this is a part of.

        Returns
        -------
        estimators : list of estimator instances
            The fitted densities.

        Raises
        ------
        ValueError
            If one cannot be fitted; the component is named.
        """
        with task.side_by_side(self.title, [f"fit {name}" for name in self.names], X) as parts:
            self.estimators = Parallel(n_jobs=self.n_jobs)(
                delayed(fit_component)(
                    estimator, X, weight, name, self.schema, part, quietly=self._quietly
                )
                for estimator, weight, name, part in zip(
                    self.estimators, responsibilities.T, self.names, parts, strict=True
                )
            )
        return self.estimators

    @contextmanager
    def small_steps(self):
        """Let densities with `warm_start` go on with their training in the fits of the block, by a few epochs each.

        That is generalised EM: each step makes some progress. Others are fitted anew.
        """
        before, in_steps = _warm_start(self.estimators[0])
        for estimator in self.estimators:
            estimator.set_params(**in_steps)
        # A training of few epochs warns that it has not converged.
        self._quietly = any("max_epochs" in name for name in in_steps)
        yield
        self._quietly = False
        for estimator in self.estimators:
            estimator.set_params(**before)


def _warm_start(density):
    """Return the parameters of a density that steps of EM change, as they are and as they are to be."""
    prefix = ""
    while get_density_tags(density).warm_start_within:
        density, prefix = density.estimator, f"{prefix}estimator__"
    params, in_steps = density.get_params(deep=False), {}
    if "warm_start" in params:
        in_steps["warm_start"] = True
        if "max_epochs" in params:
            in_steps["max_epochs"] = min(params["max_epochs"], EPOCHS_OF_A_STEP)
    before = {f"{prefix}{name}": params[name] for name in in_steps}
    return before, {f"{prefix}{name}": value for name, value in in_steps.items()}


def fit_component(estimator, X, sample_weight, name, schema=None, task=UNTOLD, *, quietly=False):
    """Fit the density of one component to the rows that have weight in it.

    Parameters
    ----------
    estimator : estimator instance
        An unfitted density, or one that goes on with its training.
    X : {ndarray, DataFrame} of shape (n_samples, n_features)
        Rows as the density takes them.
    sample_weight : ndarray of shape (n_samples,)
        Their weights. Where a density takes none, they are whole numbers, and rows are repeated.
    name : str
        The component, for errors.
    schema : object or None
        What the density is told of the columns.
    task : FitTask, default=UNTOLD
        The fit that this is a part of.
    quietly : bool, default=False
        Whether not to warn of a training that was not to the end.

    Returns
    -------
    estimator : estimator instance
        The same, fitted.

    Raises
    ------
    ValueError
        If it cannot be fitted; the component is named.
    """
    n_rows = np.count_nonzero(sample_weight)
    if not n_rows:
        return estimator
    rows, weight = weighted_rows([estimator], sample_weight)
    if weight is not None and (weight == 1).all():
        weight = None
    with warnings.catch_warnings():
        if quietly:
            warnings.simplefilter("ignore", ConvergenceWarning)
        try:
            return fit_density(estimator, safe_indexing(X, rows), weight, schema, task)
        except ValueError as error:
            raise ValueError(
                f"the density of {name} cannot be fitted to its {n_rows} row(s): {error}"
            ) from error
