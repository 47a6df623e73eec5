"""Probabilities of long documents by importance sampling of their topic shares."""

import numpy as np
from scipy.special import gammaln, logsumexp

from sklearn_dgm.topic._particles import N_FILTERS

# Parts of the words of a document that the proposal goes by, and how soon it believes that a topic has any.
PARTS, BELIEVED = np.array([0.002, 0.02, 0.2]), 0.5
# Draws times words whose probabilities are held at once.
NUMBERS_AT_ONCE = 2**22


def sampled_log_prob(words, counts, topics, prior, posterior, n_draws, rng):
    """Estimate the log-probability of a sequence of words by importance sampling of the topic shares.

    Shares are drawn about where variational Bayes finds them, and weighted. Its posterior is too narrow, and has no
    mass where a topic is absent. So the proposal goes by a part of the words only, which is drawn first, and each topic
    k may be absent, in which case only the prior is left of it::

        part is 0.002, 0.02 or 0.2
        topic k is absent with probability exp(-0.5 * part * n_k)
        shares ~ Dirichlet(a),  a_k = prior_k if k is absent, else prior_k + part * n_k

    with n_k words expected of topic k. The part and what is absent are further variables of the target, too, which is
    the joint density of words and shares times any probability of these given the shares; here that of the proposal, as
    if the shares were independent gamma variates. So the expectation of the mean weight is the probability of the words
    [1]_. A draw costs as much as there are distinct words, however often they occur.

    Parameters
    ----------
    words : ndarray of int of shape (n_distinct,)
        Distinct words.
    counts : ndarray of shape (n_distinct,)
        How often each occurs.
    topics : ndarray of shape (n_topics, n_words)
        Probabilities of the words of each topic.
    prior : ndarray of shape (n_topics,)
        Parameters of the Dirichlet distribution of the shares.
    posterior : ndarray of shape (n_topics,)
        Those of the posterior by variational Bayes.
    n_draws : int
        Draws of each of the estimates.
    rng : numpy.random.Generator
        The generator to draw from.

    Returns
    -------
    log_prob : ndarray of shape (N_FILTERS,)
        Independent estimates.

    References
    ----------
    .. [1] A. B. Owen, "Monte Carlo theory, methods and examples", 2013, chapter 9, https://artowen.su.domains/mc/
    """
    n_at_once = max(1, NUMBERS_AT_ONCE // len(words))
    of_words, proposal = topics[:, words], _Proposal(prior, posterior)
    log_prob = np.empty(N_FILTERS)
    for i in range(N_FILTERS):
        log_weight = []
        for start in range(0, n_draws, n_at_once):
            log_shares, log_ratio = proposal.draw(min(n_at_once, n_draws - start), rng)
            with np.errstate(divide="ignore"):
                log_weight.append(log_ratio + np.log(np.exp(log_shares) @ of_words) @ counts)
        log_prob[i] = logsumexp(np.concatenate(log_weight)) - np.log(n_draws)
    return log_prob


class _Proposal:
    """Where shares are drawn from, and what draws are worth under the prior."""

    def __init__(self, prior, posterior):
        self.prior = prior
        # In rows for each part.
        expected = PARTS[:, None] * (posterior - prior)
        self.present = prior + expected
        self.log_absent = np.minimum(-BELIEVED * expected, -1e-9)
        self.log_present = np.log(-np.expm1(self.log_absent))

    def draw(self, n, rng):
        """Return logarithms of shares, of shape (n, n_topics), and of their prior over the proposal."""
        prior, part = self.prior, rng.integers(len(PARTS), size=n)
        absent = np.log(rng.random((n, len(prior)))) < self.log_absent[part]
        parameter = np.where(absent, prior, self.present[part])
        # A gamma variate of a small parameter might be zero, its logarithm is not.
        log_shares = np.log(rng.standard_gamma(parameter + 1))
        log_shares -= rng.standard_exponential(absent.shape) / parameter
        log_shares -= logsumexp(log_shares, axis=1, keepdims=True)
        log_ratio = _log_dirichlet(log_shares, prior) - _log_dirichlet(log_shares, parameter)
        log_ratio -= np.where(absent, self.log_absent[part], self.log_present[part]).sum(axis=1)
        # What else is drawn, given the shares, as if these were independent gamma variates.
        log_joint, log_marginal = np.empty((2, len(PARTS), n))
        for i, present in enumerate(self.present):
            size = present.sum()
            log_sizes = log_shares + np.log(size)
            of_absent = self.log_absent[i] + _log_gamma(log_sizes, prior)
            of_present = self.log_present[i] + _log_gamma(log_sizes, present)
            of_sum = _log_gamma(np.log(size), size)
            log_joint[i] = np.where(absent, of_absent, of_present).sum(axis=1) - of_sum
            log_marginal[i] = np.logaddexp(of_absent, of_present).sum(axis=1) - of_sum
        log_ratio += log_joint[part, np.arange(n)] - np.logaddexp.reduce(log_marginal)
        return log_shares, log_ratio + np.log(len(PARTS))


def _log_gamma(log_x, parameter):
    """Return the log-densities of logarithms of gamma variates."""
    return parameter * log_x - np.exp(log_x) - gammaln(parameter)


def _log_dirichlet(log_shares, parameter):
    """Return the log-densities of shares under Dirichlet distributions, of shape (n,)."""
    constant = gammaln(parameter.sum(axis=-1)) - gammaln(parameter).sum(axis=-1)
    return constant + ((parameter - 1) * log_shares).sum(axis=-1)
