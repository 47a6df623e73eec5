"""The posterior of topic shares by variational Bayes."""

import numpy as np
from scipy import sparse

from sklearn_dgm.topic import _documents
from sklearn_dgm.topic._counts import Counts
from sklearn_dgm.topic._documents import Documents


def test_settled_documents_are_passed_through_no_more(monkeypatch):
    rng = np.random.default_rng(0)
    topics, prior = rng.dirichlet(np.full(30, 0.2), 4), np.array([0.1, 0.2, 0.4, 0.8])
    shares = rng.dirichlet(prior, 50)
    X = np.array([rng.multinomial(n, p @ topics) for n, p in enumerate(shares)])
    n_moving = []

    def counted_joint(of_words, posterior, of_document, joint=_documents._joint):
        n_moving.append(len(posterior))
        return joint(of_words, posterior, of_document)

    monkeypatch.setattr(_documents, "_joint", counted_joint)
    together = Documents(Counts(sparse.csr_array(X.astype(float))), topics, prior)
    assert (np.diff(n_moving) <= 0).all()
    assert n_moving[-1] <= 2
    assert sum(n_moving) < 0.7 * n_moving[0] * len(n_moving)
    for i, x in enumerate(X):
        alone = Documents(Counts(sparse.csr_array(x[None].astype(float))), topics, prior)
        np.testing.assert_array_equal(alone.posterior[0], together.posterior[i])
