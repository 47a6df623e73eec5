"""Fits, draws and rows that the checks of densities share."""

import copy
import functools
import warnings
from dataclasses import dataclass, field, replace
from inspect import signature
from unittest import SkipTest

import joblib
import numpy as np
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import get_tags

from sklearn_dgm.utils._known_distributions import KNOWN_DISTRIBUTIONS, TRAINING_ROWS

# Below it, samples or masses are said to disagree. Seeds are fixed, so a check that passes once passes always.
SMALLEST_PVALUE = 1e-4
# Share of held-out rows that a density may call impossible and still count as having learnt.
MOST_IMPOSSIBLE = 0.05


@functools.cache
def _made(name):
    return KNOWN_DISTRIBUTIONS[name]()


def _known(name):
    """A known distribution, with points of its own: a density may write into what it is given."""
    known = _made(name)
    return replace(known, points=known.points.copy())


def _fresh(estimator):
    """Unfitted copy with a fixed seed."""
    estimator = clone(estimator)
    seeds = {p: 0 for p in estimator.get_params() if p.split("__")[-1] == "random_state"}
    return estimator.set_params(**seeds)


def _labels(estimator, X):
    """The y that a classifier needs, which follows from the last cell of each row; nothing for other estimators."""
    if not get_tags(estimator).target_tags.required:
        return {}
    cells = np.asarray(X, dtype=object)[:, -1]
    return {"y": np.array([_label(cell) for cell in cells])}


def _label(cell):
    if isinstance(cell, str):
        return ord(cell[0]) % 2
    return 0 if cell is None else int(cell > 1) + int(cell > 5)


def _fit(estimator, X, **fit_params):
    """Fit a fresh copy; that training was short is not what the checks are about."""
    return _refit(_fresh(estimator), X, **fit_params)


def _refit(estimator, X, **fit_params):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.fit(X, **{**_labels(estimator, X), **fit_params})


@dataclass
class _SharedFits:
    """Fits of one estimator, by a hash of their rows, and scores at the points of known distributions."""

    estimator: object = None
    parameters: str = ""
    fits: dict = field(default_factory=dict)
    scores: dict = field(default_factory=dict)


_last = _SharedFits()


def _shared_by(estimator):
    """What the checks of an estimator share; that of the estimator before it is let go of."""
    global _last
    parameters = joblib.hash(estimator.get_params())
    if _last.estimator is not estimator or _last.parameters != parameters:
        _last = _SharedFits(estimator, parameters)
    return _last


def _fit_once(estimator, X):
    """A copy of the fit to X that all checks of an estimator share.

    It is for checks that look neither at `fit` nor at what queries change. These have fits of their own, and what they
    find sound makes the others so: two fits are the same, a copy is as its original, and no query changes the fit.
    """
    fits, rows = _shared_by(estimator).fits, joblib.hash(X)
    if rows not in fits:
        fits[rows] = _fit(estimator, X)
    try:
        return copy.deepcopy(fits[rows])
    except Exception:  # which is for check_copies_keep_state to say
        return _fit(estimator, X)


def _fit_known(estimator, name, seed=0):
    known = _known(name)
    if not isinstance(known.points[0, 0], float | np.integer):
        tags = get_tags(estimator).input_tags
        if not (tags.categorical or tags.string):
            raise SkipTest("the estimator takes no categories (see its input tags)")
    return known, _fit_once(estimator, known.draw(TRAINING_ROWS, np.random.default_rng(seed)))


def _score_known(estimator, name):
    """A known distribution, the fit to its rows, and the scores of its points, which are asked for once."""
    known, density = _fit_known(estimator, name)
    scores = _shared_by(estimator).scores
    if name not in scores:
        scores[name] = density.score_samples(known.points)
    return known, density, scores[name]


def _draw(estimator, n_samples, seed=0):
    """Rows drawn with a seed; where `sample` takes none or gives more than rows, a check of its own says so."""
    takes_seed = "random_state" in signature(estimator.sample).parameters
    drawn = estimator.sample(n_samples, **({"random_state": seed} if takes_seed else {}))
    return drawn[0] if isinstance(drawn, tuple) else drawn


def _draw_known(estimator, known, n_samples, seed=0):
    drawn = _draw(estimator, n_samples, seed)
    assert drawn.dtype == known.points.dtype, (
        f"fitted on rows of dtype {known.points.dtype}, sample gives {drawn.dtype}"
    )
    return drawn


def _numbers(n_rows=200, n_columns=3, seed=0):
    """Correlated continuous columns of different sizes."""
    rng = np.random.default_rng(seed)
    mix = np.eye(n_columns) + 0.5 * np.tri(n_columns, k=-1)
    return rng.normal(size=(n_rows, n_columns)) @ mix.T * 2.0 ** np.arange(n_columns) + 1.0


def _score_kind(estimator):
    return getattr(estimator, "score_kind_", "exact")


def _must_work(call, message):
    try:
        return call()
    except Exception as error:
        raise AssertionError(f"{message}: {error!r}") from error


def _assert_close(actual, expected, message, atol=1e-5):
    np.testing.assert_allclose(actual, expected, rtol=atol, atol=atol, err_msg=message)
