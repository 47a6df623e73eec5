"""What topics say of a document without random numbers: its shares of them, and a bound of its probability."""

import numpy as np
from scipy import sparse
from scipy.special import gammaln, psi

# Words of documents times topics at once.
NUMBERS_AT_ONCE = 2**22
MAX_ITER = 1000


def parts(Z, n_topics):
    """Yield slices of documents, of about as much work each."""
    part = Z.matrix.indptr[:-1] * np.int64(n_topics) // NUMBERS_AT_ONCE
    edges = np.flatnonzero(np.diff(part, prepend=-1))
    yield from map(slice, edges, [*edges[1:], len(Z)])


class Documents:
    """The posterior of the topic shares of documents, given the topics, by variational Bayes [1]_.

    Parameters
    ----------
    Z : Counts
        Documents.
    topics : ndarray of shape (n_topics, n_words)
        Probabilities of words.
    prior : ndarray of shape (n_topics,)
        Parameters of the Dirichlet distribution of topic shares.
    tol : float, default=1e-7
        Share of its words by which a document changes in the last iteration.

    Attributes
    ----------
    posterior : ndarray of shape (n_documents, n_topics)
        Parameters of the Dirichlet distribution of the shares of each.

    References
    ----------
    .. [1] D. M. Blei, A. Y. Ng, M. I. Jordan, "Latent Dirichlet Allocation", Journal of Machine Learning Research 3
       (2003), https://jmlr.org/papers/v3/blei03a.html
    """

    def __init__(self, Z, topics, prior, tol=1e-7):
        cells = np.arange(len(Z.matrix.data))
        self.Z, self.prior = Z, prior
        self.sums = sparse.csr_array(
            (Z.matrix.data, cells, Z.matrix.indptr), shape=(len(Z), len(cells))
        )
        self.of_document = np.repeat(np.arange(len(Z)), np.diff(Z.matrix.indptr))
        self.of_words = topics.T[Z.matrix.indices]
        self.posterior = prior + Z.lengths[:, None] / len(prior)
        # A document that has settled stays as it is, or it would depend on those beside it.
        moving = np.arange(len(Z))
        sums, of_words, of_document = self.sums, self.of_words, self.of_document
        for _ in range(MAX_ITER):
            before = self.posterior[moving]
            after = prior + sums @ _shares_of(_joint(of_words, before, of_document))
            self.posterior[moving] = after
            still = np.abs(after - before).max(axis=1) > tol * (1 + Z.lengths[moving])
            if not still.any():
                break
            if not still.all():
                cells = still[of_document]
                moving, of_words = moving[still], of_words[cells]
                sums, of_document = (
                    sums[still][:, cells],
                    (np.cumsum(still) - 1)[of_document[cells]],
                )

    def _joint(self):
        """Return the weights of topics of each word of each document, but for a constant."""
        return _joint(self.of_words, self.posterior, self.of_document)

    def responsibilities(self):
        """Return the probabilities of the topics of each word of each document, of shape (n_cells, n_topics)."""
        return _shares_of(self._joint())

    def word_counts(self, weight):
        """Return the expected numbers of words in each topic, of shape (n_topics, n_words), given weights of documents.

        Parameters
        ----------
        weight : ndarray of shape (n_documents,)
            Weights.
        """
        matrix, cells = self.Z.matrix, np.arange(len(self.of_document))
        weighted = matrix.data * weight[self.of_document]
        shape = (matrix.shape[1], len(cells))
        by_word = sparse.csr_array((weighted, (matrix.indices, cells)), shape=shape)
        return (by_word @ self.responsibilities()).T

    def shares(self):
        """Return expected topic shares, of shape (n_documents, n_topics)."""
        return self.posterior / self.posterior.sum(axis=1, keepdims=True)

    def lower_bounds(self):
        """Return lower bounds of the log-probabilities of sequences of these words, of shape (n_documents,)."""
        prior, posterior = self.prior, self.posterior
        log_shares = psi(posterior) - psi(posterior.sum(axis=1, keepdims=True))
        bound = ((prior - posterior) * log_shares).sum(axis=1)
        bound += (gammaln(posterior) - gammaln(prior)).sum(axis=1)
        bound += gammaln(prior.sum()) - gammaln(posterior.sum(axis=1))
        return bound + self.sums @ np.log(self._joint().sum(axis=1))


def _joint(of_words, posterior, of_document):
    power = np.exp(psi(posterior) - psi(posterior.sum(axis=1, keepdims=True)))
    return of_words * power[of_document]


def _shares_of(joint):
    return joint / joint.sum(axis=1, keepdims=True)
