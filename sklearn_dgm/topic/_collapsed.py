"""Topics by collapsed variational Bayes, and both Dirichlet priors with them."""

from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.special import psi

# Where priors start that are learnt, after how many iterations they are, and every so many of them.
FIRST_PRIOR, FIRST_LEARNT, LEARNT_EVERY = 0.1, 10, 5
# Steps of Minka's fixed point each time, and iterations before those that are learnt may be the last ones.
N_STEPS, LEAST_PASSES = 5, 30
# Neither priors nor responsibilities are smaller.
LEAST_PRIOR, LEAST = 1e-4, 1e-10


class Allocation(NamedTuple):
    """What is learnt of documents.

    Attributes
    ----------
    counts : ndarray of shape (n_topics, n_words)
        Expected numbers of words.
    doc_topic_prior : ndarray of shape (n_topics,)
        Parameters of the Dirichlet distribution of topic shares.
    topic_word_prior : float
        That of the words of a topic, the same for all words.
    n_iter : int
        Number of iterations.
    change : float
        Share of the words that the last one has given to other topics.
    """

    counts: np.ndarray
    doc_topic_prior: np.ndarray
    topic_word_prior: float
    n_iter: int
    change: float

    @property
    def topics(self):
        """Probabilities of words, of shape (n_topics, n_words)."""
        return topics_of(self.counts, self.topic_word_prior)


def topics_of(counts, prior):
    """Return the expected probabilities of words in each topic, given expected counts and a prior of all words."""
    topics = counts + prior
    return topics / topics.sum(axis=1, keepdims=True)


class _Expected:
    """Expected numbers of words by topic, summed over the words of a document, or over documents.

    Parameters
    ----------
    sums : csr_array of shape (n, n_cells)
        What multiplies the responsibilities of each cell of the matrix of counts.
    """

    def __init__(self, sums):
        self.sums = sums

    def of(self, responsibilities):
        return self.sums @ responsibilities

    def used(self, responsibilities):
        """Return the probabilities that numbers are not zero, of shape (n, n_topics)."""
        unused = np.log1p(-np.minimum(responsibilities, 1 - 1e-6))
        return -np.expm1((self.sums @ unused).astype(np.float64))


def allocate(Z, weight, n_topics, doc_topic_prior, topic_word_prior, max_iter, tol, rng, tell):
    """Learn topics.

    Parameters
    ----------
    Z : Counts
        Documents, none of them empty; where there is none, all words are as probable.
    weight : ndarray of shape (n_documents,)
        Their weights.
    n_topics : int
        Number of topics.
    doc_topic_prior, topic_word_prior : float or None
        Parameters of symmetric priors; None for one that is learnt, that of documents asymmetric.
    max_iter : int
        Number of iterations at most.
    tol : float
        Share of the words that change their topics in an iteration, below which there is no other.
    rng : numpy.random.Generator
        The generator of the first responsibilities.
    tell : callable
        ``tell(iteration, change)`` is told of each iteration.

    Returns
    -------
    allocation : Allocation
        What is learnt.
    """
    (n_documents, n_words), counts = Z.matrix.shape, Z.matrix.data.astype(np.float32)
    document = np.repeat(np.arange(n_documents), np.diff(Z.matrix.indptr))
    word, cells = Z.matrix.indices, np.arange(len(counts))
    weighted = counts * weight[document].astype(np.float32)
    by_document = _Expected(_sums(counts, document, n_documents))
    by_word = _Expected(_sums(weighted, word, n_words))
    alpha = np.full(n_topics, FIRST_PRIOR if doc_topic_prior is None else doc_topic_prior)
    eta = FIRST_PRIOR if topic_word_prior is None else topic_word_prior
    if not len(Z):  # of which all that is known are the priors
        return Allocation(np.full((n_topics, n_words), 1 / n_words), alpha, float(eta), 0, 0.0)
    share = np.minimum(weight, 1)[document, None].astype(np.float32) if weight.min() < 1 else None
    # Of a word of a document, the posterior of its topic.
    own = rng.standard_gamma(1.0, (len(cells), n_topics), dtype=np.float32) + np.float32(LEAST)
    own /= own.sum(axis=1, keepdims=True)
    in_document, in_word = by_document.of(own), by_word.of(own)
    change, other = np.inf, np.empty_like(own)
    least_passes = LEAST_PASSES if None in (doc_topic_prior, topic_word_prior) else 1
    for i in range(1, max_iter + 1):
        in_topic = in_word.sum(axis=0)
        # A word does not count for itself.
        itself = own if share is None else own * share
        new = np.take(in_word + np.float32(eta), word, axis=0) - itself
        np.subtract(in_topic + np.float32(n_words * eta), itself, out=other)
        new /= other
        np.subtract(
            np.take(in_document + alpha.astype(np.float32), document, axis=0), own, out=other
        )
        new *= other
        np.maximum(new, np.float32(LEAST), out=new)
        new /= new.sum(axis=1, keepdims=True)
        np.abs(np.subtract(new, own, out=own), out=own)
        change = float(weighted @ own.sum(axis=1)) / 2 / weighted.sum()
        own = new
        in_document, in_word = by_document.of(own), by_word.of(own)
        tell(i, change)
        if change < tol and i >= least_passes:
            break
        if i >= FIRST_LEARNT and i % LEARNT_EVERY == 0:
            if doc_topic_prior is None:
                alpha = _learnt_prior(alpha, in_document, by_document.used(own), weight)
            if topic_word_prior is None:
                of_topics = np.ones(n_topics)
                eta = _learnt_prior(eta, in_word.T, by_word.used(own).T, of_topics)
    return Allocation(in_word.T.astype(np.float64), alpha, float(eta), i, change)


def _sums(values, of, n):
    """Return the matrix that multiplies cells by values, and sums up those of the same row, of shape (n, n_cells)."""
    return sparse.csr_array((values, (of, np.arange(len(of)))), shape=(n, len(of)))


def _learnt_prior(prior, expected, used, weight):
    """Return the parameters of a Dirichlet distribution of which numbers of draws are expected, by Minka's fixed point.

    Parameters
    ----------
    prior : ndarray of shape (n_outcomes,) or float
        Where to start; a float is that of all outcomes.
    expected : ndarray of shape (n, n_outcomes)
        Expected numbers of draws.
    used : ndarray of shape (n, n_outcomes)
        Probabilities that the numbers are not zero: expected where they are not, numbers say what many small ones
        hide, that most outcomes are not drawn at all.
    weight : ndarray of shape (n,)
        Weights.

    Returns
    -------
    prior : ndarray of shape (n_outcomes,) or float
        Parameters that are nearer to the most probable ones.
    """
    n_outcomes = expected.shape[1]
    where_used = expected / np.maximum(used, 1e-12)
    draws = expected.sum(axis=1, dtype=np.float64)
    for _ in range(N_STEPS):
        gain = weight @ (used * (psi(where_used + prior) - psi(prior)))
        total = np.sum(prior) if np.ndim(prior) else n_outcomes * prior
        gain = gain if np.ndim(prior) else gain.mean()
        prior = prior * gain / (weight @ (psi(draws + total) - psi(total)))
        prior = np.maximum(prior, LEAST_PRIOR)
    return prior
