"""The check of densities that learn from further rows, by `partial_fit`."""

import pickle
import warnings
from unittest import SkipTest

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from sklearn_dgm.utils._check_fits import (
    _assert_close,
    _draw,
    _fit,
    _fresh,
    _known,
    _labels,
    _must_work,
    _rows,
    _scores,
    _strings,
    _tags,
)

N_ROWS = 200


def check_partial_fit(estimator):
    """Check that further rows are learnt from: after a first call, in copies, by weight, or not at all if a call fails.

    What can `merge` counts is equal to one fit.
    """
    if not hasattr(estimator, "partial_fit"):
        raise SkipTest("there is no partial_fit")
    X = _rows_of_parts(estimator)
    first, further, X = X[:N_ROWS], X[N_ROWS:], X[::8]  # of which scores are asked
    density = _learnt(estimator, first)
    _must_work(lambda: _draw(density, 5), "after a first call it draws no rows")
    assert not np.isnan(_scores(density, X)).any(), "after a first call scores are no numbers"
    before, file = _told(density, X), pickle.dumps(density)
    assert _are_equal(_told(_learnt(density, first), X), before), (
        "a clone remembers rows, or ignores random_state"
    )
    _assert_failure_changes_nothing(density, first)
    assert _add(density, further) is density, "partial_fit does not return self"
    after = _told(density, X)
    assert not _are_equal(after, before), "further rows change nothing"
    restored = pickle.loads(file)
    assert _are_equal(_told(_add(restored, further), X), after), "a pickle learns otherwise"
    weight = (np.arange(len(further)) % 3 > 0).astype(np.float64)
    weighted = _add(pickle.loads(file), further, sample_weight=weight)
    part = _add(pickle.loads(file), further[weight > 0])
    _assert_close(_scores(weighted, X), _scores(part, X), "rows of weight 0 are learnt from")
    if hasattr(density, "merge"):
        _assert_counts_add_up(density, file, first, further, X)


def _rows_of_parts(estimator):
    """Return rows of two parts, of which the first has all there is: categories, where the estimator takes them."""
    try:
        return _strings(estimator, 2 * N_ROWS)
    except SkipTest:
        tags = _tags(estimator)
        if "categorical" in tags.column_kinds and not (tags.sequences or tags.conditional):
            return _known("categories").draw(2 * N_ROWS, np.random.default_rng(0))
        return _rows(estimator, 2 * N_ROWS)


def _told(density, X):
    """Return the scores of rows, and some draws, which are all that a generator tells."""
    n_drawn = 500 if _tags(density).score_kind == "none" else 20
    return _scores(density, X), _draw(density, n_drawn)


def _are_equal(told, other):
    return all(map(np.array_equal, told, other))


def _learnt(estimator, X):
    return _add(_fresh(estimator), X)


def _add(density, X, **params):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return density.partial_fit(X, **_labels(density, X), **params)


def _assert_failure_changes_nothing(density, X):
    """Refuse a call that fails and leaves something, or that does not fail."""
    told = _told(density, X[:20])
    negative = X, {"sample_weight": np.full(len(X), -1.0)}
    other = X[:0] if X.ndim == 1 else X[:, :-1]
    for what, (rows, params) in (("negative weights", negative), ("other columns", (other, {}))):
        try:
            _add(density, rows, **params)
        except (ValueError, TypeError):
            pass
        else:
            raise AssertionError(f"partial_fit accepts {what}")
        is_same = _are_equal(_told(density, X[:20]), told)
        assert is_same, f"a call that fails by {what} changes the density"


def _assert_counts_add_up(density, file, first, further, X):
    """Check that further rows count the same in one part or in several, and as rows of the first fit do."""
    scores = _scores(density, X)
    several = pickle.loads(file)
    for part in np.array_split(further, 3):
        _add(several, part)
    _assert_close(_scores(several, X), scores, "further rows count otherwise in parts", 1e-9)
    count = np.arange(len(further)) % 3
    weighted = _add(pickle.loads(file), further, sample_weight=count.astype(np.float64))
    repeated = _add(pickle.loads(file), np.repeat(further, count, axis=0))
    _assert_close(
        _scores(weighted, X), _scores(repeated, X), "weights of further rows are no repeats", 1e-9
    )
    whole = _fit(density, np.concatenate([first, further]))
    _assert_close(scores, _scores(whole, X), "parts are not counted as all rows at once", 1e-9)
