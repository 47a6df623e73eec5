"""EM over clones of densities: a mixture of normals in a dozen lines against scikit-learn's."""

import warnings

import numpy as np
import pytest
from scipy.special import logsumexp
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from sklearn_dgm import TransformedDensity
from sklearn_dgm._nested.em import (
    ComponentDensities,
    expectation_maximisation,
    fit_component,
    log_posterior,
    without_least_shares,
)
from tests.generative.densities import Normals


def mixture_by_em(X, responsibilities, max_iter, tol=0.0):
    """Fit a mixture of independent normals, from the responsibilities on."""
    n_components = responsibilities.shape[1]
    components = ComponentDensities(
        [Normals() for _ in range(n_components)], list(map(str, range(n_components))), "fit"
    )
    shares = None

    def maximise(responsibilities):
        nonlocal shares
        components.fit(X, responsibilities)
        shares = responsibilities.mean(axis=0)

    def expect():
        log_p = np.column_stack([d.score_samples(X) for d in components.estimators])
        log_joint = log_p + np.log(shares)
        proba = np.exp(log_posterior(log_joint, np.log(shares)))
        return proba, float(logsumexp(log_joint, axis=1).mean())

    maximise(responsibilities)
    log_likelihoods = expectation_maximisation(expect, maximise, max_iter=max_iter, tol=tol)
    return components, shares, log_likelihoods


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_mixture_of_normals_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(0, 1, (60, 2)), rng.normal(3, 0.5, (40, 2))])
    start = rng.dirichlet([1, 1], 100)
    components, shares, log_likelihoods = mixture_by_em(X, start, 15)
    assert (np.diff(log_likelihoods) > -1e-12).all()
    assert len(log_likelihoods) == 16
    # Scikit-learn begins with parameters rather than responsibilities.
    means = start.T @ X / start.sum(axis=0)[:, None]
    variances = [
        np.average((X - m) ** 2, axis=0, weights=w) for m, w in zip(means, start.T, strict=True)
    ]
    peer = GaussianMixture(
        2,
        covariance_type="diag",
        reg_covar=0,
        tol=0,
        max_iter=15,
        weights_init=start.mean(axis=0),
        means_init=means,
        precisions_init=1 / np.array(variances),
    ).fit(X)
    np.testing.assert_allclose(shares, peer.weights_, rtol=1e-6)
    log_p = np.column_stack([d.score_samples(X) for d in components.estimators]) + np.log(shares)
    np.testing.assert_allclose(logsumexp(log_p, axis=1), peer.score_samples(X), rtol=1e-6)


def steps_of(values, **options):
    values, seen = iter(values), []
    found = expectation_maximisation(lambda: (None, next(values)), seen.append, **options)
    return found, len(seen)


def test_it_stops():
    assert steps_of([-3.0, -2.0, -1.99, 0.0], max_iter=9, tol=0.1) == ([-3.0, -2.0, -1.99], 2)
    with pytest.warns(ConvergenceWarning, match="max_iter=2"):
        assert steps_of([-3.0, -2.0, -1.0, 0.0], max_iter=2, tol=0.1) == ([-3.0, -2.0, -1.0], 2)
    assert steps_of([-3.0, -2.0], max_iter=1, tol=0.1) == ([-3.0, -2.0], 1)


def test_it_prints(capsys):
    steps_of([-3.0, -3.0], max_iter=2, tol=0.1, verbose=True)
    assert capsys.readouterr().out.splitlines()[1] == "EM, step 1: -3 nats a row"


def test_impossible_rows_say_nothing():
    log_joint = np.array([[-np.inf, -np.inf], [0.0, -np.inf]])
    found = np.exp(log_posterior(log_joint, np.log([0.2, 0.8])))
    np.testing.assert_allclose(found, [[0.2, 0.8], [1, 0]])


def test_a_component_without_enough_rows_is_named():
    with pytest.raises(ValueError, match=r"density of state 3 cannot be fitted to its 1 row\(s\)"):
        fit_component(GaussianMixture(2), np.zeros((5, 1)), np.array([0, 0, 1.0, 0, 0]), "state 3")


class Trained(Normals):
    """A density with the parameters of a training, which is never to the end."""

    def __init__(self, warm_start=False, max_epochs=7):
        super().__init__()
        self.warm_start = warm_start
        self.max_epochs = max_epochs

    def _fit(self, Z, sample_weight):
        super()._fit(Z, sample_weight)
        self.epochs_ = self.max_epochs + self.warm_start * getattr(self, "epochs_", 0)
        warnings.warn("The training was not to the end.", ConvergenceWarning, stacklevel=1)


@pytest.mark.parametrize("is_inside", [False, True])
def test_networks_go_on_with_their_training_by_small_steps(is_inside):
    X = np.random.default_rng(0).normal(size=(60, 2))
    density = TransformedDensity(None, Trained()) if is_inside else Trained()
    components = ComponentDensities([density], ["a"], "fit")
    with pytest.warns(ConvergenceWarning):
        components.fit(X, np.ones((60, 1)))
    with components.small_steps(), warnings.catch_warnings():
        warnings.simplefilter("error")
        components.fit(X, np.ones((60, 1)))
        components.fit(X, np.ones((60, 1)))
    (fitted,) = components.estimators
    fitted = fitted.estimator_ if is_inside else fitted
    assert fitted.epochs_ == 7 + 5 + 5
    params = density.get_params()
    inside = {name.removeprefix("estimator__"): value for name, value in params.items()}
    assert (inside["warm_start"], inside["max_epochs"]) == (False, 7)
    with pytest.warns(ConvergenceWarning):
        components.fit(X, np.ones((60, 1)))


def test_rows_that_hardly_belong_are_left_out():
    responsibilities = np.array([[2.0, 1e-11], [1e-9, 3.0]])
    found = without_least_shares(responsibilities, np.array([2.0, 3.0]))
    np.testing.assert_array_equal(found, [[2, 0], [1e-9, 3]])
