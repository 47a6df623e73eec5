"""Collapsed variational Bayes against a plain loop, and Minka's fixed point against an optimiser."""

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import minimize
from scipy.special import gammaln

from sklearn_dgm.topic._collapsed import _learnt_prior, allocate
from sklearn_dgm.topic._counts import Counts


def test_learnt_priors_are_the_most_probable_ones():
    rng = np.random.default_rng(0)
    prior, weight = np.array([0.1, 0.5, 1.5]), rng.integers(1, 4, 300).astype(float)
    counts = rng.multinomial(20, rng.dirichlet(prior, 300)).astype(float)

    def surprise(log_prior):
        a = np.exp(log_prior) * np.ones(3)
        each = gammaln(a.sum()) - gammaln(a.sum() + 20) + (gammaln(a + counts) - gammaln(a)).sum(1)
        return -weight @ each

    found, same = np.ones(3), 1.0
    for _ in range(200):
        found = _learnt_prior(found, counts, counts > 0, weight)
        same = _learnt_prior(same, counts, counts > 0, weight)
    np.testing.assert_allclose(np.log(found), minimize(surprise, np.zeros(3)).x, atol=1e-3)
    np.testing.assert_allclose(np.log(same), minimize(surprise, np.zeros(1)).x[0], atol=1e-3)


def test_numbers_that_may_be_zero_say_less_than_numbers():
    """Half a word expected in each document is one word in every other one."""
    half, never = np.full((100, 2), [0.5, 9.5]), np.full((100, 2), [0.5, 1.0])
    uncertain = drawn = np.ones(2)
    counts = np.tile([[1.0, 9.0], [0.0, 10.0]], (50, 1))
    for _ in range(200):
        uncertain = _learnt_prior(uncertain, half, never, np.ones(100))
        drawn = _learnt_prior(drawn, counts, counts > 0, np.ones(100))
    np.testing.assert_allclose(uncertain, drawn, rtol=0.1)


@pytest.mark.parametrize("eta", [0.1, 0.7])
def test_passes_are_those_of_a_plain_loop(eta):
    rng = np.random.default_rng(0)
    X = rng.poisson(0.7, (8, 5)).astype(float)
    X[:, 0] += 1
    Z, weight, alpha = Counts(sparse.csr_array(X)), rng.integers(1, 3, 8).astype(float), 0.3
    found = allocate(Z, weight, 3, alpha, eta, 4, 0.0, np.random.default_rng(1), lambda *_: None)
    start = np.random.default_rng(1).standard_gamma(1.0, (len(Z.matrix.data), 3), dtype=np.float32)
    cells = np.argwhere(X > 0)
    own = {tuple(at): g / g.sum() for at, g in zip(cells, start.astype(float), strict=True)}
    for _ in range(4):
        of_document, of_word = np.zeros((8, 3)), np.zeros((5, 3))
        for (d, w), g in own.items():
            of_document[d] += X[d, w] * g
            of_word[w] += weight[d] * X[d, w] * g
        for (d, w), g in own.items():
            new = (of_word[w] - g + eta) / (of_word.sum(axis=0) - g + 5 * eta)
            new = new * (of_document[d] - g + alpha)
            own[d, w] = new / new.sum()
    of_word = np.zeros((5, 3))
    for (d, w), g in own.items():
        of_word[w] += weight[d] * X[d, w] * g
    expected = (of_word + eta).T / (of_word + eta).sum(axis=0)[:, None]
    np.testing.assert_allclose(found.topics, expected, rtol=1e-4)
    assert found.n_iter == 4
