"""Probabilities of documents by particle filters, whose expectation is the probability itself."""

import numpy as np

# Filters of a document, whose spread tells the error.
N_FILTERS = 10
# Numbers at once when the topics of earlier words are drawn anew.
NUMBERS_AT_ONCE = 2**18


def filtered_log_prob(tokens, topics, prior, n_particles, rng):
    """Estimate the log-probability of a sequence of words, whose topic shares are summed out.

    A particle is a topic for each word so far: the next one has its posterior given these and the word, which weights
    the particle by the probability of the word. Where the weights of a filter are worth less than half of its
    particles, these are resampled, and then moved by a step of Gibbs sampling: shares given all topics, and topics
    given the shares. Neither changes the expectation of the product of the mean weights, which is the probability.

    Parameters
    ----------
    tokens : ndarray of int of shape (n_tokens,)
        Words in the order in which they are read.
    topics : ndarray of shape (n_topics, n_words)
        Probabilities of the words of each topic.
    prior : ndarray of shape (n_topics,)
        Parameters of the Dirichlet distribution of the shares.
    n_particles : int
        Particles of a filter.
    rng : numpy.random.Generator
        The generator to draw from.

    Returns
    -------
    log_prob : ndarray of shape (N_FILTERS,)
        The estimate of each filter.
    """
    shape = (N_FILTERS, n_particles)
    of_tokens = topics[:, tokens]
    # What a topic is drawn in proportion to, but for the word: prior and number of words, of each particle.
    counts = np.empty((len(prior), *shape))
    counts[:] = prior[:, None, None]
    history = np.empty((len(tokens), *shape), dtype=np.int16)
    weight, log_prob = np.ones(shape), np.zeros(N_FILTERS)
    places = np.arange(N_FILTERS * n_particles)
    for t in range(len(tokens)):
        history[t], probability = _drawn(counts * of_tokens[:, t, None, None], rng)
        counts.reshape(len(prior), -1)[history[t].ravel(), places] += 1
        weight *= probability / (prior.sum() + t)
        mean = weight.mean(axis=1)
        log_prob += np.log(mean)
        weight /= mean[:, None]
        few = np.flatnonzero(np.square(weight).mean(axis=1) > 2)
        if len(few) and t + 1 < len(tokens):
            for f in few:
                chosen = _systematic(weight[f], rng)
                counts[:, f] = counts[:, f][:, chosen]
            weight[few] = 1
            shares = rng.standard_gamma(counts[:, few])
            history[: t + 1, few] = _moved(shares, of_tokens[:, : t + 1], rng)
            counts[:, few] = prior[:, None, None] + _tallies(history[: t + 1, few], len(prior))
    return log_prob


def _drawn(joint, rng):
    """Draw a topic in proportion to numbers along the first axis; return it, and their sums."""
    np.add.accumulate(joint, axis=0, out=joint)
    total = joint[-1]
    below = joint[:-1] <= rng.random(total.shape) * total
    return below.sum(axis=0, dtype=np.int16), total


def _systematic(weight, rng):
    """Return the places of resampled particles, of shape (n_particles,)."""
    n = len(weight)
    below = np.cumsum(weight)
    points = (np.arange(n) + rng.random()) * (below[-1] / n)
    return np.searchsorted(below, points).clip(0, n - 1)


def _moved(shares, of_tokens, rng):
    """Draw topics of words given shares, of shape (n_tokens, n_filters, n_particles)."""
    n_at_once = max(1, NUMBERS_AT_ONCE // shares.size)
    drawn = [
        _drawn(shares[:, None] * of_tokens[:, i : i + n_at_once, None, None], rng)[0]
        for i in range(0, of_tokens.shape[1], n_at_once)
    ]
    return np.concatenate(drawn)


def _tallies(history, n_topics):
    """Count the words of each topic, of shape (n_topics, n_filters, n_particles)."""
    shape = history.shape[1:]
    n = shape[0] * shape[1]
    places = history.reshape(len(history), n) * np.intp(n) + np.arange(n)
    return np.bincount(places.ravel(), minlength=n_topics * n).reshape(n_topics, *shape)


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
