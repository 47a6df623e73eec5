"""Checks of densities as distributions: their mass, their draws, and how near they come to known ones."""

from unittest import SkipTest

import numpy as np
from scipy import stats
from sklearn.base import clone

from sklearn_dgm.utils._check_fits import (
    MOST_IMPOSSIBLE,
    SMALLEST_PVALUE,
    _assert_close,
    _draw,
    _draw_known,
    _fit,
    _fit_known,
    _fit_once,
    _log_constant,
    _needs_log_densities,
    _samples_of_rows,
    _score_kind,
    _score_known,
    _std_of_scores,
)
from sklearn_dgm.utils._known_distributions import KNOWN_DISTRIBUTIONS

# By so many stated standard errors an estimate may be off.
N_STD = 3.0


def check_normalized(estimator, distribution="one column"):
    """Check that densities sum, or integrate, to one (at most one where the score is a lower bound)."""
    known, density, log_p = _score_known(estimator, distribution)
    _assert_normalized(density, known, log_p)


def _assert_normalized(density, known, log_p):
    kind, std = _score_kind(density), _std_of_scores(density, known.points)
    if kind == "unnormalised":
        raise SkipTest("scores are log-densities up to a constant")
    if std is None:
        raise SkipTest("the score is an estimate, and its error is not told")
    mass = np.exp(log_p + known.log_weights)
    total = mass.sum()
    is_all = known.points.ndim == 2 and not known.log_weights.any()
    tolerance = 1e-5 if is_all else 1e-3
    tolerance += N_STD * np.sum(mass * std)  # errors may be alike at all points
    assert total <= 1 + tolerance, f"the density has a total mass of {total:.6g}, more than 1"
    assert kind == "lower bound" or total >= 1 - tolerance, (
        f"the density has a total mass of {total:.6g}, less than 1"
    )


def check_normalized_untrained(estimator):
    """Check that the density is a valid distribution whatever the weights of its network."""
    has_network = False
    for name in KNOWN_DISTRIBUTIONS:
        try:
            known, density = _fit_known(estimator, name)
        except SkipTest:  # of this one alone
            continue
        if not hasattr(density, "net_"):  # it may have none for some columns only
            continue
        has_network = True
        rng = np.random.default_rng(0)
        for parameter in density.net_.module_.parameters():
            # Somewhat less than networks start with; the peaks of larger ones escape the quadrature.
            fan_in = parameter.shape[-1] if parameter.ndim > 1 else 1
            noise = rng.normal(0, 0.3 * fan_in**-0.5, tuple(parameter.shape))
            parameter.detach().copy_(parameter.new_tensor(noise))
        if known.points.ndim == 2:
            _assert_normalized(density, known, density.score_samples(known.points))
        else:  # of which the longest have any part of the mass
            _assert_steps_normalized(density, known.points[:15])
    if not has_network:
        raise SkipTest("the estimator has no network (net_)")


def _assert_steps_normalized(density, strings):
    """Check that after each string the probabilities of what may follow, a letter or the end, sum to one."""
    letters = sorted(set("".join(strings)))
    total = np.zeros(len(strings))
    for letter in letters:
        longer = np.array([x + letter for x in strings], dtype=object)
        total += [
            np.exp(steps[len(x)])
            for x, steps in zip(strings, density.score_steps(longer), strict=True)
        ]
    for i, (x, steps) in enumerate(zip(strings, density.score_steps(strings), strict=True)):
        total[i] += np.exp(steps[len(x) :]).sum()
    worst = np.argmax(np.abs(total - 1))
    assert abs(total[worst] - 1) < 1e-5, (
        f"after {strings[worst]!r} the probabilities of the next step sum to {total[worst]:.6g}, not to 1"
    )


def check_score_steps(estimator):
    """Check that the scores of steps sum to those of rows, and after any steps the next has a distribution."""
    if not hasattr(estimator, "score_steps"):
        raise SkipTest("the estimator has no score_steps")
    for X in _samples_of_rows(estimator):
        density = _fit_once(estimator, X)
        steps = density.score_steps(X)
        if X.ndim == 2:
            assert steps.shape == X.shape, f"score_steps returns shape {steps.shape}"
        lengths = np.array([len(of) - len(row) for of, row in zip(steps, X, strict=True)])
        assert ((lengths == lengths[0]) & (lengths[0] in (0, 1))).all(), (
            "score_steps returns another number of scores than there are steps, and an end at most"
        )
        sums = np.array([of.sum() for of in steps])
        _assert_close(sums, density.score_samples(X), "score_steps does not sum to score_samples")
        if X.ndim == 1:
            _assert_steps_normalized(density, X[:20])


def check_samples_agree_with_density(estimator, distribution="one column"):
    """Check that samples fall into the regions of the space as often as the density says (chi-squared)."""
    known, density, log_p = _score_known(estimator, distribution)
    n = 5000
    std = _std_of_scores(density, known.points)
    if std is None:
        raise SkipTest("the score is an estimate, and its error is not told")
    mass = np.exp(log_p + known.log_weights - _log_constant(density, known, log_p))
    region = known.region(known.points)
    expected, errors = (n * np.bincount(region, mass * by) for by in (1.0, std))
    counts = np.bincount(known.region(_draw_known(density, known, n)), minlength=len(expected))
    rare = expected < 5
    counts = np.append(counts[~rare], counts[rare].sum())
    # Together the rare regions make one more; half a row keeps it from weighing on its own.
    expected = np.append(expected[~rare], expected[rare].sum() + 0.5)
    errors = np.append(errors[~rare], errors[rare].sum())
    statistic = np.sum((counts - expected) ** 2 / (expected + errors**2))
    pvalue = stats.chi2(len(counts) - 1).sf(statistic)
    assert pvalue > SMALLEST_PVALUE, (
        f"samples do not follow the density: p = {pvalue:.1g}, observed {counts}, "
        f"expected {expected.round(1)}"
    )
    if known.points.dtype.kind == "f" and known.points.shape[1] == 1 and not std.any():
        _assert_kolmogorov_smirnov(known, mass, _draw_known(density, known, n, seed=1))


def _assert_kolmogorov_smirnov(known, mass, drawn):
    cdf = np.cumsum(mass) - mass / 2
    pvalue = stats.kstest(drawn[:, 0], lambda x: np.interp(x, known.points[:, 0], cdf)).pvalue
    assert pvalue > SMALLEST_PVALUE, (
        f"samples do not follow the density: Kolmogorov-Smirnov p = {pvalue:.1g}"
    )


def check_entropy_of_samples(estimator, distribution="one column"):
    """Check that the mean of the score over samples is minus the entropy of the density."""
    known, density, log_p = _score_known(estimator, distribution)
    std = _std_of_scores(density, known.points)
    if std is None:
        raise SkipTest("the score is an estimate, and its error is not told")
    mass = np.exp(log_p + known.log_weights - _log_constant(density, known, log_p))
    entropy = -np.sum(mass * np.where(mass > 0, log_p, 0)) / mass.sum()
    stated = N_STD * np.sum(mass * std)
    surprise = -density.score_samples(_draw_known(density, known, 5000))
    error = np.std(surprise) / np.sqrt(len(surprise))
    assert abs(surprise.mean() - entropy) < 4 * error + 2e-3 + stated, (
        f"samples have a mean surprise of {surprise.mean():.4f} nats, but the density has an "
        f"entropy of {entropy:.4f}"
    )


def check_learns(estimator, distribution="one column"):
    """Check that on held-out rows the density comes within a stated distance of the truth."""
    known, density = _fit_known(estimator, distribution)
    X = known.draw(2000, np.random.default_rng(1))
    scores = density.score_samples(X)
    if _score_kind(density) == "unnormalised":
        scores = scores - _log_constant(density, known, density.score_samples(known.points))
    possible = scores > -np.inf
    assert possible.mean() >= 1 - MOST_IMPOSSIBLE, (
        f"{1 - possible.mean():.0%} of held-out rows are impossible"
    )
    gap = np.mean((known.log_prob(X) - scores)[possible])
    assert gap < known.tolerance, (
        f"held-out rows get {gap:.3f} nats less than under the truth, more than {known.tolerance}"
    )


def check_bounds(estimator):
    """Check that draws and all of the mass lie between `bounds`, where it is a parameter, and no row beyond."""
    _needs_log_densities(estimator)
    if "bounds" not in estimator.get_params():
        raise SkipTest("the estimator has no parameter bounds")
    rng = np.random.default_rng(0)
    numbers, counts = rng.normal(2, 1, (300, 1)), rng.poisson(9, (300, 1)) + 1
    numbers = numbers[numbers[:, 0] > 0.1]  # which there is no reason to continue below 0
    flags = rng.integers(0, 2, (300, 1)) * 3 + 2
    ends = numbers.min(), numbers.max()
    _assert_bounded(estimator, numbers, "observed", ends)
    _assert_bounded(estimator, numbers, None, (0.0, np.inf))
    _assert_bounded(estimator, counts, {0: (0, 40)}, (0, 40))
    _assert_bounded(estimator, flags, None, (2, 5))


def _assert_bounded(estimator, X, bounds, ends):
    density = _fit(clone(estimator).set_params(bounds=bounds), X)
    drawn, (low, high) = _draw(density, 1000), ends
    assert ((drawn >= low) & (drawn <= high)).all(), (
        f"bounds={bounds!r}: a sampled row lies beyond {low:.6g} and {high:.6g}"
    )
    beyond = np.array([[low - 1], [high + 1]] if np.isfinite(high) else [[low - 1]], dtype=X.dtype)
    assert np.isneginf(density.score_samples(beyond)).all(), (
        f"bounds={bounds!r}: a row beyond {low:.6g} and {high:.6g} is possible"
    )
    if _score_kind(density) == "estimate":
        return
    if X.dtype.kind == "i":
        total = np.exp(density.score_samples(np.arange(low, high + 1)[:, None])).sum()
    else:
        # A table has steps at values, or midway between them.
        edges = np.unique(
            np.concatenate([X[:, 0], [low, min(high, 1e4)], np.geomspace(10, 1e4, 40)])
        )
        edges = np.sort(np.concatenate([edges, (edges[1:] + edges[:-1]) / 2]))
        edges = edges[edges <= high]
        nodes, weights = np.polynomial.legendre.leggauss(16)
        half = np.diff(edges)[:, None] / 2
        points = edges[:-1, None] + half * (1 + nodes)
        p = np.exp(density.score_samples(points.reshape(-1, 1))).reshape(points.shape)
        total = np.sum(p * weights * half)
    is_one = abs(total - 1) < 1e-3
    assert is_one or (_score_kind(density) == "lower bound" and total < 1), (
        f"bounds={bounds!r}: between {low:.6g} and {high:.6g} there is a mass of {total:.6g}, not 1"
    )


# These run on every known distribution.
CHECKS_OF_DISTRIBUTIONS = (
    check_normalized,
    check_samples_agree_with_density,
    check_entropy_of_samples,
    check_learns,
)
