"""Distributions that are known exactly, each with a rule to sum or integrate any density over its space.

They are the oracles of :mod:`sklearn_dgm.utils.estimator_checks`.
"""

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from scipy import stats
from scipy.special import logsumexp


@dataclass(frozen=True)
class KnownDistribution:
    """A distribution to draw from and to compare with.

    Attributes
    ----------
    draw : callable
        ``draw(n, rng)`` gives n rows, of the form that `fit` takes.
    log_prob : callable
        ``log_prob(X)`` gives their true log-densities.
    points : ndarray of shape (m, d), or of objects of shape (m,)
        Points of a rule of summation or quadrature; strings that have nearly all of the mass.
    log_weights : ndarray of shape (m,)
        The density p of any model of such rows satisfies ``sum(exp(log_weights) * p(points)) = 1``.
    region : callable
        ``region(X)`` gives the number, from 0 on, of one of some 20 regions of the space that each row lies in.
    kinds : frozenset of str
        Kinds of its columns, see :class:`~sklearn_dgm.tags.DensityTags`.
    tolerance : float
        Nats a row by which a density fitted to `TRAINING_ROWS` rows may be worse than the truth.
    of_sequences : bool, default=False
        Whether rows are sequences: strings, or tables of which all columns are steps of one kind.
    """

    draw: Any
    log_prob: Any
    points: np.ndarray
    log_weights: np.ndarray
    region: Any
    kinds: frozenset[str]
    tolerance: float
    of_sequences: bool = False


TRAINING_ROWS = 1000


def _line(location, scale, n_points=20_000, reach=12.0):
    """Return nodes and weights of the midpoint rule on ``x = location + scale * sinh(t)``, 80,000 scales far."""
    t = (np.arange(n_points) + 0.5) / n_points * 2 * reach - reach
    return location + scale * np.sinh(t), np.log(scale * np.cosh(t) * 2 * reach / n_points)


def _plane(location, scale, log2_points=16):
    """Return nodes and weights of quasi-Monte Carlo with Student's t of two degrees of freedom as the proposal."""
    u = stats.qmc.Sobol(2, seed=0).random_base2(log2_points)
    u = u.clip(2.0 ** -(log2_points + 2), 1 - 2.0 ** -(log2_points + 2))
    t = (2 * u - 1) / np.sqrt(2 * u * (1 - u))
    log_weights = -stats.t(2).logpdf(t).sum(axis=1)
    return location + scale * t, log_weights + np.log(scale).sum() - np.log(len(u))


def _normal():
    truth = stats.norm(3, 2)
    x, log_weights = _line(3, 2)
    edges = truth.ppf(np.arange(1, 20) / 20)
    return KnownDistribution(
        draw=lambda n, rng: rng.normal(3, 2, (n, 1)),
        log_prob=lambda X: truth.logpdf(X[:, 0]),
        points=x[:, None],
        log_weights=log_weights,
        region=lambda X: np.searchsorted(edges, X[:, 0]),
        kinds=frozenset({"continuous"}),
        tolerance=0.15,
    )


def _two_normals():
    def draw(n, rng):
        x = rng.normal(0, 2, n)
        return np.column_stack([x, 5 + x + rng.normal(0, 1, n)])

    points, log_weights = _plane(np.array([0.0, 5.0]), np.array([2.0, 2.2]))
    return KnownDistribution(
        draw=draw,
        log_prob=lambda X: (
            stats.norm(0, 2).logpdf(X[:, 0]) + stats.norm(5 + X[:, 0], 1).logpdf(X[:, 1])
        ),
        points=points,
        log_weights=log_weights,
        region=lambda X: (
            np.searchsorted([-2, -0.5, 0.5, 2], X[:, 0]) * 4
            + np.searchsorted([3.5, 5, 6.5], X[:, 1])
        ),
        kinds=frozenset({"continuous"}),
        tolerance=0.4,
    )


def _categories():
    names, answers = ["ant", "bee", "cat"], ["no", "yes"]
    table = np.array([[0.3, 0.02], [0.05, 0.25], [0.19, 0.19]])
    cells = np.array([(a, b) for a in names for b in answers], dtype=object)

    def region(X):
        return np.array([names.index(a) * 2 + answers.index(b) for a, b in X])

    return KnownDistribution(
        draw=lambda n, rng: cells[rng.choice(6, n, p=table.ravel())],
        log_prob=lambda X: np.log(table.ravel())[region(X)],
        points=cells,
        log_weights=np.zeros(6),
        region=region,
        kinds=frozenset({"categorical"}),
        tolerance=0.06,
    )


def _flags():
    table = np.array([[[0.3, 0.02], [0.1, 0.08]], [[0.05, 0.15], [0.02, 0.28]]])
    cells = np.array(list(np.ndindex(2, 2, 2)), dtype=bool)

    def region(X):
        return X @ np.array([4, 2, 1])

    return KnownDistribution(
        draw=lambda n, rng: cells[rng.choice(8, n, p=table.ravel())],
        log_prob=lambda X: np.log(table.ravel())[region(X)],
        points=cells,
        log_weights=np.zeros(8),
        region=region,
        kinds=frozenset({"binary"}),
        tolerance=0.06,
    )


def _counts():
    def draw(n, rng):
        total = rng.poisson(4, n)
        return np.column_stack([total, rng.binomial(total, 0.7)])

    def log_prob(X):
        total, part = X.T.astype(float)
        return stats.poisson(4).logpmf(total) + stats.binom(total, 0.7).logpmf(part)

    # Counts have no upper bound, and a density may give some mass to negative ones.
    reach = np.arange(-70, 90)
    points = np.stack(np.meshgrid(reach, reach), axis=-1).reshape(-1, 2)
    return KnownDistribution(
        draw=draw,
        log_prob=log_prob,
        points=points,
        log_weights=np.zeros(len(points)),
        region=lambda X: np.clip(X[:, 0], 1, 7) * 4 + np.clip(X[:, 1], 1, 4) - 5,
        kinds=frozenset({"integer"}),
        tolerance=0.35,
    )


def _mixed():
    names, means, p = ["left", "right"], np.array([-2.0, 3.0]), np.array([0.3, 0.7])

    def rows(code, x):
        X = np.empty((len(code), 2), dtype=object)
        X[:, 0], X[:, 1] = np.array(names, dtype=object)[code], x
        return X

    def draw(n, rng):
        code = rng.choice(2, n, p=p)
        return rows(code, means[code] + rng.normal(size=n))

    def code_and_number(X):
        return (X[:, 0] == "right").astype(int), X[:, 1].astype(float)

    def log_prob(X):
        code, x = code_and_number(X)
        return np.log(p)[code] + stats.norm(means[code]).logpdf(x)

    def region(X):
        code, x = code_and_number(X)
        return code * 10 + np.searchsorted([-3, -2.5, -2, -1.5, 0, 2, 2.5, 3, 4], x)

    x, log_weights = _line(1, 2)
    return KnownDistribution(
        draw=draw,
        log_prob=log_prob,
        points=np.concatenate([rows(np.full(len(x), code), x) for code in (0, 1)]),
        log_weights=np.tile(log_weights, 2),
        region=region,
        kinds=frozenset({"categorical", "continuous"}),
        tolerance=0.2,
    )


# A Markov chain: probabilities of the next letter, or of the end of the string, after nothing and after each letter.
CHAIN = {
    "": {"a": 0.4, "b": 0.15, "": 0.45},
    "a": {"a": 0.05, "b": 0.5, "": 0.45},
    "b": {"a": 0.45, "b": 0.1, "": 0.45},
}
# Longer strings have 0.55 ** 14 of the mass, 2e-4.
LONGEST = 13


def _strings():
    def after(letter, rng):
        return str(rng.choice([*CHAIN[letter]], p=[*CHAIN[letter].values()]))

    def draw(n, rng):
        rows = np.empty(n, dtype=object)
        for i in range(n):
            rows[i] = letter = after("", rng)
            while letter:
                letter = after(letter, rng)
                rows[i] += letter
        return rows

    def log_prob(X):
        p = [[CHAIN[a][b] for a, b in zip(["", *x], [*x, ""], strict=True)] for x in X]
        return np.array([np.log(of_steps).sum() for of_steps in p])

    lengths = range(LONGEST + 1)
    points = ["".join(letters) for n in lengths for letters in product("ab", repeat=n)]
    # One for each string of up to three letters; longer ones by their first two.
    regions = {x: k for k, x in enumerate(points[:15])}
    of_longer = {x: 15 + k for k, x in enumerate(points[3:7])}
    return KnownDistribution(
        draw=draw,
        log_prob=log_prob,
        points=np.array(points, dtype=object),
        log_weights=np.zeros(len(points)),
        region=lambda X: np.array([regions.get(x, of_longer.get(x[:2])) for x in X]),
        kinds=frozenset({"categorical"}),
        tolerance=0.15,
        of_sequences=True,
    )


# A hidden Markov model of two states and two steps.
JOINT = np.array([[0.54, 0.06], [0.06, 0.34]])


def _two_steps(emissions, draw_of, points, log_weights, edges, kind, tolerance):
    """Return the distribution of two steps whose hidden states mostly stay the same."""

    def log_prob(X):
        first, second = (np.stack([of(x) for of in emissions]) for x in X.T)
        joint = np.log(JOINT)[:, :, None] + first[:, None] + second[None]
        return logsumexp(joint, axis=(0, 1))

    def draw(n, rng):
        states = np.stack(np.divmod(rng.choice(4, n, p=JOINT.ravel()), 2), axis=1)
        return draw_of(states, rng)

    return KnownDistribution(
        draw=draw,
        log_prob=log_prob,
        points=points,
        log_weights=log_weights,
        region=lambda X: np.searchsorted(edges, X[:, 0]) * 4 + np.searchsorted(edges, X[:, 1]),
        kinds=frozenset({kind}),
        tolerance=tolerance,
        of_sequences=True,
    )


def _numbers_in_steps():
    means = np.array([-2.0, 3.0])
    return _two_steps(
        [stats.norm(mean, 1).logpdf for mean in means],
        lambda states, rng: means[states] + rng.normal(size=states.shape),
        *_plane(np.array([0.0, 0.0]), np.array([2.5, 2.5])),
        edges=[-2, 0.5, 3],
        kind="continuous",
        tolerance=0.3,
    )


def _counts_in_steps():
    means = np.array([1.0, 9.0])
    reach = np.arange(-70, 90)
    points = np.stack(np.meshgrid(reach, reach), axis=-1).reshape(-1, 2)
    return _two_steps(
        [stats.poisson(mean).logpmf for mean in means],
        lambda states, rng: rng.poisson(means[states]),
        points,
        np.zeros(len(points)),
        edges=[1, 4, 9],
        kind="integer",
        tolerance=0.2,
    )


KNOWN_DISTRIBUTIONS = {
    "one column": _normal,
    "two columns": _two_normals,
    "categories": _categories,
    "flags": _flags,
    "counts": _counts,
    "mixed columns": _mixed,
    "strings": _strings,
    "numbers in steps": _numbers_in_steps,
    "counts in steps": _counts_in_steps,
}
