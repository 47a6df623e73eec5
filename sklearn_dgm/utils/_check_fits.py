"""Fits, draws and rows that the checks of densities share."""

import copy
import functools
import warnings
from dataclasses import dataclass, field, replace
from inspect import signature
from unittest import SkipTest

import joblib
import numpy as np
from scipy.special import logsumexp
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import get_tags

from sklearn_dgm._nested.measures import given_columns
from sklearn_dgm.columns import is_table
from sklearn_dgm.tags import get_density_tags, score_kind
from sklearn_dgm.utils._known_distributions import KNOWN_DISTRIBUTIONS, TRAINING_ROWS

# Below it, samples or masses are said to disagree. Seeds are fixed, so a check that passes once passes always.
SMALLEST_PVALUE = 1e-4
# Share of held-out rows that a density may call impossible and still count as having learnt.
MOST_IMPOSSIBLE = 0.05
# Larger counts have less than 1e-6 of the mass, and cost much where each thing that is counted has to be looked at.
MOST_COUNTED = 40
COLUMNS_ARE_STEPS = "the columns of a table are steps of one kind (see the density tags)"


@functools.cache
def _made(name):
    return KNOWN_DISTRIBUTIONS[name]()


def _known(name):
    """Return a known distribution, with points of its own: a density may write into what it is given."""
    known = _made(name)
    return replace(known, points=known.points.copy())


def _fresh(estimator):
    """Return an unfitted copy with a fixed seed."""
    estimator = clone(estimator)
    seeds = {p: 0 for p in estimator.get_params() if p.split("__")[-1] == "random_state"}
    return estimator.set_params(**seeds)


def _labels(estimator, X):
    """Return the y that a classifier needs, which follows from each row's last cell; nothing for other estimators.

    Of sequences it follows from the length.
    """
    if not get_tags(estimator).target_tags.required:
        return {}
    if _tags(estimator).sequences and not is_table(X):
        return {"y": np.array([len(row) % 2 for row in X])}
    cells = np.asarray(X, dtype=object)[:, -1]
    return {"y": np.array([_label(cell) for cell in cells])}


def _label(cell):
    if isinstance(cell, str):
        return ord(cell[0]) % 2
    if isinstance(cell, bool):
        return int(cell)
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
    """Return the fits that the checks of an estimator share, and let go of those of the estimator before it."""
    global _last
    parameters = joblib.hash(estimator.get_params())
    if _last.estimator is not estimator or _last.parameters != parameters:
        _last = _SharedFits(estimator, parameters)
    return _last


def _fit_once(estimator, X):
    """Return a copy of the fit to X that all checks of an estimator share.

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
    _needs_scores(estimator)
    _needs_no_given(estimator)
    known, kinds = _known(name), _tags(estimator).column_kinds
    if known.kinds == {"binary"} and "categorical" in kinds:
        raise SkipTest("the estimator takes categories of any number, which other checks look at")
    _needs_kinds(estimator, *known.kinds)
    _needs_such_rows(estimator, known)
    if _is_positive_only(estimator) and known.points.dtype.kind == "i":
        possible = ((known.points >= 0) & (known.points < MOST_COUNTED)).all(axis=1)
        points, log_weights = known.points[possible], known.log_weights[possible]
        known = replace(known, points=points, log_weights=log_weights)
    return known, _fit_once(estimator, known.draw(TRAINING_ROWS, np.random.default_rng(seed)))


def _score_known(estimator, name):
    """Return a known distribution, the fit to its rows, and the scores of its points, which are asked for once."""
    known, density = _fit_known(estimator, name)
    scores = _shared_by(estimator).scores
    if name not in scores:
        scores[name] = density.score_samples(known.points)
    return known, density, scores[name]


def _log_constant(density, known, log_p):
    """Return the constant up to which scores are log-densities, by quadrature where it is unknown."""
    if _score_kind(density) != "unnormalised":
        return 0.0
    return logsumexp(log_p + known.log_weights)


def _scores(density, X):
    """Return the scores of rows; zeros of a generator, which has none, so that a check looks at its draws alone."""
    if _tags(density).score_kind == "none":
        return np.zeros(len(X))
    return density.score_samples(X)


def _std_of_scores(density, X):
    """Return the standard errors of scores, 0 of exact ones; None of estimates without a stated error."""
    if _score_kind(density) != "estimate":
        return np.zeros(len(X))
    if "return_std" not in signature(density.score_samples).parameters:
        return None
    std = density.score_samples(X, return_std=True)[1]
    return None if np.isnan(std).any() else std


def _tags(estimator):
    return get_density_tags(estimator)


def _is_positive_only(estimator):
    return get_tags(estimator).input_tags.positive_only


def _needs_scores(estimator):
    if _tags(estimator).score_kind == "none":
        raise SkipTest("the estimator has no scores (see its density tags)")


def _needs_log_densities(estimator):
    _needs_scores(estimator)
    if _tags(estimator).score_kind == "unnormalised":
        raise SkipTest("scores are log-densities up to a constant (see the density tags)")


def _needs_no_given(estimator):
    if _tags(estimator).conditional:
        raise SkipTest("some columns have to be given, and have no density")


def _needs_kinds(estimator, *kinds):
    for kind in sorted(kinds):
        if kind not in _tags(estimator).column_kinds:
            raise SkipTest(f"the estimator takes no {kind} columns (see its density tags)")


def _needs_such_rows(estimator, known):
    takes_sequences = _tags(estimator).sequences
    if known.of_sequences and not takes_sequences:
        raise SkipTest("the rows of the estimator are no sequences (see its density tags)")
    if takes_sequences and not known.of_sequences and known.points.shape[1] > 1:
        raise SkipTest(COLUMNS_ARE_STEPS)
    if known.points.ndim == 1 and _lengths_of(estimator) - {"auto", "stop"}:
        raise SkipTest(
            "the estimator does not model the length of sequences (see its parameter length)"
        )


def _lengths_of(estimator):
    """Return what the length of a sequence is to the densities within an estimator, as a set of their parameters."""
    params = estimator.get_params()
    return {params[name] for name in params if name.split("__")[-1] == "length"}


def _strings(estimator, n_rows=200, seed=0):
    """Return strings, of which the rows are for a density that takes such."""
    if not _tags(estimator).sequences:
        raise SkipTest("the rows of the estimator are no sequences (see its density tags)")
    _needs_kinds(estimator, "categorical")
    if "fixed" in _lengths_of(estimator):
        raise SkipTest("all sequences have one length (see the parameter length)")
    return _known("strings").draw(n_rows, np.random.default_rng(seed))


def _samples_of_rows(estimator, n_rows=200):
    """Return rows of a table, as `_rows` has them, and strings where the estimator takes such."""
    try:
        return [_rows(estimator, n_rows), _strings(estimator, n_rows)]
    except SkipTest:
        return [_rows(estimator, n_rows)]


def _given(density):
    """Return which of the columns of :func:`_rows` a conditional density is given, by its fit."""
    is_fitted = hasattr(density, "n_features_in_")
    return given_columns(density) if is_fitted else np.zeros(3, dtype=bool)


def _draw(estimator, n_samples, seed=0, **given):
    """Draw rows with a seed; where `sample` takes none or gives more than rows, a check of its own says so."""
    takes_seed = "random_state" in signature(_sampler(estimator)).parameters
    drawn = _sample(estimator, n_samples, **({"random_state": seed} if takes_seed else {}), **given)
    return drawn[0] if isinstance(drawn, tuple) else drawn


def _sampler(estimator):
    """Return the method that draws rows: `sample`, or `conditional_sample` of a conditional density."""
    if not _tags(estimator).conditional:
        return estimator.sample
    if not hasattr(estimator, "conditional_sample"):
        raise SkipTest("some columns have to be given, and there is no conditional_sample")
    return estimator.conditional_sample


def _sample(estimator, n_samples=None, scale=1.0, shift=0.0, **random_state):
    """Draw rows; of a conditional density, draw given columns of as many rows, by default of one."""
    sample = _sampler(estimator)
    if not _tags(estimator).conditional:
        return sample(*([] if n_samples is None else [n_samples]), **random_state)
    rows = _rows(estimator, n_samples or 1) * scale + shift
    rows[:, ~_given(estimator)] = np.nan
    if hasattr(estimator, "feature_names_in_"):
        import pandas as pd

        rows = pd.DataFrame(rows, columns=estimator.feature_names_in_)
    return sample(rows, **random_state)


def _draw_known(estimator, known, n_samples, seed=0):
    drawn = _draw(estimator, n_samples, seed)
    assert drawn.dtype == known.points.dtype, (
        f"fitted on rows of dtype {known.points.dtype}, sample gives {drawn.dtype}"
    )
    return drawn


def _numbers(n_rows=200, n_columns=3, seed=0):
    """Return correlated continuous columns of different sizes."""
    rng = np.random.default_rng(seed)
    mix = np.eye(n_columns) + 0.5 * np.tri(n_columns, k=-1)
    return rng.normal(size=(n_rows, n_columns)) @ mix.T * 2.0 ** np.arange(n_columns) + 1.0


def _rows(estimator, n_rows=200, seed=0):
    """Return three dependent columns of a kind that the estimator takes: numbers, else whole numbers, else flags."""
    X, kinds = _numbers(n_rows, seed=seed), _tags(estimator).column_kinds
    if "continuous" in kinds:
        return X
    if "integer" in kinds:
        X = np.rint(X).astype(np.int64)
        return X - X.min() if _is_positive_only(estimator) else X
    return X > 1.0


def _score_kind(estimator):
    return score_kind(estimator)


def _must_work(call, message):
    try:
        return call()
    except Exception as error:
        raise AssertionError(f"{message}: {error!r}") from error


def _assert_close(actual, expected, message, atol=1e-5):
    np.testing.assert_allclose(actual, expected, rtol=atol, atol=atol, err_msg=message)
