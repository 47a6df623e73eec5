"""Probabilities of documents by particle filters, whose expectation is the probability itself."""

import numpy as np
from scipy.special import gammaln

# Filters of a document, whose spread tells the error.
N_FILTERS = 10
# How much of what is expected of later words the particles go by, and the least of a word that they look ahead to.
AHEAD, LEAST_AHEAD = 0.2, 0.02
# Below, probabilities of words might vanish in single precision.
LEAST_PROBABILITY = 1e-20


def filtered_log_prob(tokens, topics, prior, expected, n_particles, rng):
    """Estimate the log-probability of a sequence of words, whose topic shares are summed out.

    A particle is a topic for each word so far. With n words of each topic k among these, the particles of a filter
    stand for topics in proportion to ``prod_k gamma(prior_k + n_k + ahead_k)``, times the probabilities of the words:
    as if `ahead` further words were known to be of each topic. So the next topic is drawn in proportion to
    ``(prior_k + n_k + ahead_k) * p(word | k)``, and what it would be without those words ahead is in the weight of the
    particle. After the last word nothing is ahead, and the mean weight has the expectation that it should have,
    whatever `ahead` has been. Particles are resampled where their weights are worth less than half of them.

    Parameters
    ----------
    tokens : ndarray of int of shape (n_tokens,)
        Words in the order in which they are read.
    topics : ndarray of shape (n_topics, n_words)
        Probabilities of the words of each topic.
    prior : ndarray of shape (n_topics,)
        Parameters of the Dirichlet distribution of the shares.
    expected : ndarray of shape (n_tokens, n_topics)
        About how probable the topics of each word are, given all of them.
    n_particles : int
        Particles of a filter.
    rng : numpy.random.Generator
        The generator to draw from.

    Returns
    -------
    log_prob : ndarray of shape (N_FILTERS,)
        The estimate of each filter.
    """
    n_tokens, n_topics, shape = len(tokens), len(prior), (N_FILTERS, n_particles)
    # Single precision is enough but for the weights.
    of_tokens = topics[:, tokens]
    largest = of_tokens.max(axis=0)
    scale = np.where(largest < LEAST_PROBABILITY, largest, 1.0)
    of_tokens = (of_tokens / scale).astype(np.float32)
    ahead = np.where(AHEAD * expected < LEAST_AHEAD, 0.0, AHEAD * expected)
    # Ahead of each word, and of the end: there nothing, to the last bit.
    ahead = np.append(np.cumsum(ahead[::-1], axis=0)[::-1], np.zeros((1, n_topics)), axis=0)
    n_of_topics = np.zeros((n_topics, *shape), dtype=np.int32)
    # The same, with the prior and what is ahead, and in proportion to what topics are drawn.
    drawn_by, joint = np.empty((2, n_topics, *shape), dtype=np.float32)
    drawn_by[:] = (prior + ahead[0])[:, None, None]
    log_prob = np.full(
        N_FILTERS,
        gammaln(prior.sum())
        - gammaln(prior.sum() + n_tokens)
        + (gammaln(prior + ahead[0]) - gammaln(prior)).sum()
        + np.log(scale).sum(),
    )
    weight, places = np.ones(shape), np.arange(N_FILTERS * n_particles)
    for t in range(n_tokens):
        numbers = np.arange(t + 1)
        for k in np.flatnonzero(ahead[t] != ahead[t + 1]):
            now, then = prior[k] + ahead[t + 1, k], prior[k] + ahead[t, k]
            ratio = np.exp(gammaln(now + numbers) - gammaln(then + numbers))
            weight *= ratio[n_of_topics[k]]
            drawn_by[k] = n_of_topics[k] + now
        np.multiply(drawn_by, of_tokens[:, t, None, None], out=joint)
        np.add.accumulate(joint, axis=0, out=joint)
        total = joint[-1]
        below = joint[:-1] <= rng.random(shape, dtype=np.float32) * total
        drawn = below.sum(axis=0, dtype=np.int16).ravel()
        for of in (n_of_topics, drawn_by):
            of.reshape(n_topics, -1)[drawn, places] += 1
        weight *= total
        mean = weight.sum(axis=1) / n_particles
        log_prob += np.log(mean)
        weight /= mean[:, None]
        for f in np.flatnonzero(np.square(weight).sum(axis=1) > 2 * n_particles):
            chosen = _systematic(weight[f], rng)
            n_of_topics[:, f] = n_of_topics[:, f][:, chosen]
            drawn_by[:, f] = drawn_by[:, f][:, chosen]
            weight[f] = 1
    return log_prob


def _systematic(weight, rng):
    """Return the places of resampled particles, of shape (n_particles,)."""
    n = len(weight)
    below = np.cumsum(weight)
    points = (np.arange(n) + rng.random()) * (below[-1] / n)
    return np.searchsorted(below, points).clip(0, n - 1)


def log_mean_and_std(log_prob):
    """Return the logarithm of the mean of independent estimates, and its standard error.

    Estimates of small probabilities are about log-normal. The variance of their mean, relative to its square, follows
    from that of their logarithms, even where the largest of them is most of the mean.

    Parameters
    ----------
    log_prob : ndarray of shape (n_filters,)
        Logarithms of the estimates.

    Returns
    -------
    log_mean, std : float
        In nats.
    """
    n = len(log_prob)
    relative = np.expm1(min(log_prob.var(ddof=1), 100.0)) / n
    return np.logaddexp.reduce(log_prob) - np.log(n), np.sqrt(np.log1p(relative))
