"""Checks of the contract of densities; :mod:`sklearn_dgm.utils.estimator_checks` runs them."""

import copy
import functools
import io
import pickle
import sys
import tempfile
from pathlib import Path
from unittest import SkipTest

import joblib
import numpy as np
from scipy import stats
from sklearn.base import clone, is_classifier
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.exceptions import NotFittedError
from sklearn.utils import get_tags
from sklearn.utils.validation import has_fit_parameter

from sklearn_dgm._state import NoPlainFormError, Stateful
from sklearn_dgm.persistence import load
from sklearn_dgm.tags import SCORE_KINDS
from sklearn_dgm.utils._check_fits import (
    COLUMNS_ARE_STEPS,
    MOST_IMPOSSIBLE,
    SMALLEST_PVALUE,
    _assert_close,
    _draw,
    _fit,
    _fit_known,
    _fit_once,
    _fresh,
    _given,
    _is_positive_only,
    _labels,
    _must_work,
    _needs_kinds,
    _needs_log_densities,
    _needs_no_given,
    _needs_scores,
    _refit,
    _rows,
    _sample,
    _sampler,
    _samples_of_rows,
    _score_kind,
    _scores,
    _std_of_scores,
    _strings,
    _tags,
)
from sklearn_dgm.utils._distribution_checks import (
    N_STD,
    check_bounds,
    check_normalized_untrained,
    check_score_steps,
)
from sklearn_dgm.utils._global_state import global_state_unchanged
from sklearn_dgm.utils._known_distributions import TRAINING_ROWS, _line
from sklearn_dgm.utils._partial_fit_checks import check_partial_fit


def check_learns_dependence(estimator):
    """Check that on real columns the joint density beats the same estimator on each column alone."""
    _needs_log_densities(estimator)
    _needs_no_given(estimator)
    if _tags(estimator).sequences:
        raise SkipTest(COLUMNS_ARE_STEPS)
    kinds = _tags(estimator).column_kinds
    pixels = load_digits().images[:, 3:5, 3:5].reshape(-1, 4)
    if "categorical" in kinds:
        X = (pixels > 7).astype(str).astype(object)
    elif "binary" in kinds:
        X = pixels > 7
    elif "continuous" not in kinds:
        X = pixels[:, :2].astype(np.int64) // 4
    else:
        X = load_breast_cancer().data[:, [0, 2]]
        X = (X - X.mean(axis=0)) / X.std(axis=0)
    train, test = X[::4], X[1::2]
    joint = _fit(estimator, train).score_samples(test)
    alone = sum(
        _fit(estimator, train[:, [j]]).score_samples(test[:, [j]]) for j in range(X.shape[1])
    )
    possible = (joint > -np.inf) & (alone > -np.inf)
    assert possible.mean() >= 1 - MOST_IMPOSSIBLE, "too many held-out rows are impossible"
    gain = np.mean(joint[possible] - alone[possible])
    assert gain > 0.05, f"the joint density is only {gain:.3f} nats better than independent columns"


def check_learns_dependence_of_steps(estimator):
    """Check that a density that has learnt from sequences beats one that has from the same steps in any order."""
    _needs_log_densities(estimator)
    is_named = "categorical" in _tags(estimator).column_kinds
    known, density = _fit_known(estimator, "strings" if is_named else "numbers in steps")
    X, rng = known.draw(TRAINING_ROWS, np.random.default_rng(0)), np.random.default_rng(2)
    if X.ndim == 1:
        letters = iter(rng.permutation(list("".join(X))))
        shuffled = np.array(["".join(next(letters) for _ in x) for x in X], dtype=object)
    else:
        shuffled = rng.permutation(X.ravel()).reshape(X.shape)
    test = known.draw(2000, np.random.default_rng(1))
    gain = density.score_samples(test) - _fit(estimator, shuffled).score_samples(test)
    assert np.isfinite(gain).mean() >= 1 - MOST_IMPOSSIBLE, "too many held-out rows are impossible"
    gain = np.mean(gain[np.isfinite(gain)])
    assert gain > 0.05, f"the order of steps is worth only {gain:.3f} nats a sequence"


def check_unfitted(estimator):
    """Check that queries before `fit` raise NotFittedError."""
    X = _rows(estimator)
    density, queries = _fresh(estimator), [lambda: _sample(density)]
    if _tags(estimator).score_kind != "none":
        queries.append(lambda: density.score_samples(X))
        if _tags(estimator).score_kind != "unnormalised":
            queries.append(lambda: density.score(X, **_labels(density, X)))
    for query in queries:
        try:
            query()
        except (NotFittedError, SkipTest):  # of what cannot draw there is no such query
            continue
        except Exception as error:
            raise AssertionError(f"an unfitted density raises {error!r}") from error
        raise AssertionError("a query of an unfitted density raises no NotFittedError")


def check_score_samples_returns_float64(estimator):
    """Check that `fit` returns self; `score_samples` has shape (n_samples,) and dtype float64."""
    _needs_scores(estimator)
    X = _rows(estimator)
    density = _fresh(estimator)
    assert _refit(density, X) is density, "fit does not return self"
    for n in (1, len(X)):
        scores = density.score_samples(X[:n])
        assert isinstance(scores, np.ndarray), "score_samples returns no ndarray"
        assert scores.shape == (n,), f"score_samples returns shape {scores.shape} for {n} rows"
        assert scores.dtype == np.float64, f"score_samples returns {scores.dtype}, not float64"


def check_score_is_sum(estimator):
    """Check that `score` is the sum of `score_samples`, a float, with or without a y."""
    if is_classifier(estimator):
        raise SkipTest("the score of a classifier is its accuracy")
    _needs_log_densities(estimator)
    X = _rows(estimator)
    density = _fit_once(estimator, X)
    expected = density.score_samples(X).sum()
    for score in (density.score(X), density.score(X, np.zeros(len(X)))):
        assert isinstance(score, float), f"score returns a {type(score).__name__}"
        _assert_close(score, expected, "score is not the sum of score_samples")


def check_score_kind(estimator):
    """Check that `score_kind_` says what a score is, and is not better than the tags say."""
    _needs_scores(estimator)
    kind = getattr(_fit_once(estimator, _rows(estimator)), "score_kind_", None)
    kinds = SCORE_KINDS[:-1]
    assert kind in kinds, f"score_kind_ is {kind!r}"
    at_best = _tags(estimator).score_kind
    assert kinds.index(kind) >= kinds.index(at_best), (
        f"score_kind_ is {kind!r}, though the tags say {at_best!r} at best"
    )


def check_sample_returns_rows(estimator):
    """Check that `sample` returns X alone: an array of n_samples rows (1 by default) like those of `fit`."""
    X = _rows(estimator)
    density = _fit_once(estimator, X)
    for kwargs, n in (({}, 1), ({"n_samples": 7}, 7)):
        drawn = _sample(density, **kwargs)
        assert isinstance(drawn, np.ndarray), f"sample returns a {type(drawn).__name__}"
        assert drawn.shape == (n, X.shape[1]), f"sample returns shape {drawn.shape}"
        assert drawn.dtype == X.dtype, f"sample returns {drawn.dtype}, but X is {X.dtype}"


def check_sample_is_seeded(estimator):
    """Check that the same seed gives the same rows, another seed others, and two unseeded calls differ."""
    density = _fit_once(estimator, _rows(estimator))
    first = _draw(density, 20, seed=3)
    assert np.array_equal(first, _draw(density, 20, seed=3)), "the same seed gives other rows"
    assert not np.array_equal(first, _draw(density, 20, seed=4)), "another seed gives the same rows"
    assert not np.array_equal(_sample(density, 20), _sample(density, 20)), (
        "two unseeded calls give the same rows"
    )
    shared = np.random.RandomState(0)
    assert not np.array_equal(
        _sample(density, 20, random_state=shared), _sample(density, 20, random_state=shared)
    ), "a RandomState that is passed twice gives the same rows twice"
    assert not np.array_equal(_sample(copy.deepcopy(density), 20), _sample(density, 20)), (
        "what is drawn without a seed is settled in fit: a copy draws the same rows"
    )


def check_seeded_fit(estimator):
    """Check that the same `random_state` gives the same fit, bit for bit, also on the fitted estimator."""
    X = _rows(estimator)
    density = _fit(estimator, X)
    expected = _scores(density, X)
    again = _fit(estimator, X)
    assert np.array_equal(_scores(again, X), expected), "two fits with one random_state differ"
    assert np.array_equal(_draw(again, 20), _draw(density, 20)), (
        "after two fits with one random_state, the same seed gives other rows"
    )
    if getattr(density, "warm_start", False):
        return
    _refit(_refit(density, X[:50]), X)
    assert np.array_equal(_scores(density, X), expected), (
        "a second fit remembers the first (or ignores random_state)"
    )


def check_schema(estimator):
    """Check that `fit` with what `learn_schema` has learnt of the same rows is hardly another one."""
    if not (hasattr(estimator, "learn_schema") and has_fit_parameter(estimator, "schema")):
        raise SkipTest("fit takes no schema")
    X = _rows(estimator)
    schema = _fresh(estimator).learn_schema(X)
    density, alone = _fit(estimator, X, schema=schema), _fit_once(estimator, X)
    # What is learnt of parts of the rows, such as folds, may differ a little.
    change = np.mean(np.abs(_scores(density, X) - _scores(alone, X)))
    assert change < 0.1, f"a schema of the same rows changes the fit by {change:.3g} nats a row"


def check_copies_keep_state(estimator):
    """Check that pickles, deep copies and joblib's files score and sample as the original, whatever is fitted later."""
    for X in _samples_of_rows(estimator):
        _assert_copies_keep_state(estimator, X)


def _assert_copies_keep_state(estimator, X):
    density = _fit(estimator, X)
    scores, drawn = _scores(density, X), _draw(density, 20)
    file, pickled, copied = io.BytesIO(), pickle.dumps(density), copy.deepcopy(density)
    joblib.dump(density, file)
    file.seek(0)
    # What is kept in the class, and not in its instance, is that of another fit from now on.
    _fit(estimator, _rows(estimator, seed=1))
    for how, restored in (
        ("the fit of another one", density),
        ("pickle", pickle.loads(pickled)),
        ("deepcopy", copied),
        ("joblib", joblib.load(file)),
    ):
        assert np.array_equal(_scores(restored, X), scores), f"{how} changes the scores"
        assert np.array_equal(_draw(restored, 20), drawn), f"{how} changes the samples"


def check_saved(estimator):
    """Check that a density that is saved to a file and loaded scores and samples as before, bit by bit."""
    if not hasattr(estimator, "save"):
        raise SkipTest("the estimator has no method save")
    for X in _samples_of_rows(estimator):
        _assert_saved(estimator, X)


def _assert_saved(estimator, X):
    density = _fit_once(estimator, X)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "density")
        try:
            density.save(path)
        except NoPlainFormError as error:
            message = f"not all of it is plain values and arrays: {error}"
            if type(error.value).__module__.startswith("sklearn.") or error.where.startswith(
                "the parameter "
            ):
                raise SkipTest(message) from error
            raise AssertionError(message) from error
        anew = _must_work(
            lambda: load(path, trusted=[*_stateful_classes(Stateful), type(density)]),
            "what was saved cannot be loaded",
        )
    assert type(anew) is type(density), f"saved, it comes back as a {type(anew).__name__}"
    params = [joblib.hash(one.get_params(deep=False)) for one in (density, anew)]
    assert len(set(params)) == 1, "saved, it comes back with other parameters"
    assert np.array_equal(_scores(anew, X), _scores(density, X)), "saved, it scores otherwise"
    assert np.array_equal(_draw(anew, 20), _draw(density, 20)), "saved, it draws otherwise"


def _stateful_classes(one):
    """Return all classes that derive from one."""
    derived = one.__subclasses__()
    return derived + [further for child in derived for further in _stateful_classes(child)]


def check_queries_change_nothing(estimator):
    """Check that `fit` and queries leave X and the parameters, queries also the fitted state, as they were."""
    X = _rows(estimator)
    given = X.copy()
    parameters = joblib.hash(_fresh(estimator).get_params())
    density = _fit(estimator, X)
    attributes = vars(density).copy()
    scores, drawn = _scores(density, X), _draw(density, 5)
    _query(density, X)
    assert np.array_equal(X, given), "X is modified"
    assert joblib.hash(density.get_params()) == parameters, "parameters are modified"
    assert np.array_equal(_scores(density, X), scores), "queries change the scores"
    assert np.array_equal(_draw(density, 5), drawn), "queries change the samples"
    changed = [
        name
        for name in {**attributes, **vars(density)}
        if attributes.get(name, attributes) is not vars(density).get(name, density)
    ]
    assert not changed, f"queries set {changed}"


def check_rows_are_scored_alone(estimator):
    """Check that a row's score depends neither on the rows beside it nor on their order or number."""
    _needs_scores(estimator)
    for X in _samples_of_rows(estimator):
        _assert_scored_alone(_fit_once(estimator, X), X)


def _assert_scored_alone(density, X):
    scores = density.score_samples(X)
    order = np.random.default_rng(0).permutation(len(X))
    _assert_close(density.score_samples(X[order]), scores[order], "scores depend on row order")
    single = np.concatenate([density.score_samples(X[[i]]) for i in range(10)])
    _assert_close(single, scores[:10], "scores depend on the rows beside")
    _assert_close(
        density.score_samples(np.concatenate([X] * 50)),
        np.tile(scores, 50),
        "scores depend on batches",
    )


def check_containers(estimator):
    """Check that lists, memory layouts, read-only arrays and float32 score alike."""
    X = _rows(estimator, 100)
    is_float = X.dtype.kind == "f"
    if is_float:
        X = X.astype(np.float32).astype(np.float64)
    density = _fit(estimator, X)
    scores = _scores(density, X)
    read_only = X.copy()
    read_only.setflags(write=False)
    lists = {} if _tags(estimator).sequences else {"a list": X.tolist()}
    containers = (
        lists
        | {
            "Fortran order": np.asfortranarray(X),
            "a strided view": np.repeat(X, 2, axis=1)[:, ::2],
            "a read-only array": read_only,
            "an array of objects": X.astype(object),
        }
        | ({"float32": X.astype(np.float32)} if is_float else {})
    )
    for name, container in containers.items():
        actual = _must_work(
            functools.partial(_scores, density, container), f"{name} cannot be scored"
        )
        _assert_close(actual, scores, f"{name} scores differently")
        if name == "float32":  # the means of float32 columns are not those of float64 ones
            continue
        refitted = _scores(_fit(estimator, container), X)
        _assert_close(refitted, scores, f"{name} is fitted differently", atol=1e-3)


def check_containers_of_sequences(estimator):
    """Check that containers of sequences score and are fitted alike, and that `sample` gives such a container."""
    X = _strings(estimator, 100)
    containers = {
        "a list of strings": X.tolist(),
        "a list of lists": [list(x) for x in X],
        "a list of tuples": [tuple(x) for x in X],
        "a list of arrays": [np.array(list(x), dtype=object) for x in X],
        "a Series of strings": _pandas().Series(X),
    }
    density = _fit(estimator, X)
    scores = _scores(density, X)
    for name, container in containers.items():
        actual = _must_work(
            functools.partial(_scores, density, container), f"{name} cannot be scored"
        )
        _assert_close(actual, scores, f"{name} scores differently")
        refitted = _fit(estimator, container)
        _assert_close(_scores(refitted, X), scores, f"{name} is fitted differently", atol=1e-3)
        drawn = _draw(refitted, 7)
        assert type(drawn) is type(container), f"of {name}, sample gives a {type(drawn).__name__}"
        kinds = {type(row) for row in container} | {type(row) for row in drawn}
        assert len(kinds) == 1, f"of {name}, sample gives one of other sequences: {kinds}"
        assert len(drawn) == 7, f"sample(7) gives {len(drawn)} sequences"


def check_frames(estimator):
    """Check that a DataFrame is fitted like its array, and sampled rows have its columns and dtypes."""
    pd = _pandas()
    X = _rows(estimator)
    frame = pd.DataFrame(X, columns=["first", "second", "third"])
    density = _fit_once(estimator, frame)
    _assert_close(
        _scores(density, frame),
        _scores(_fit_once(estimator, X), X),
        "a DataFrame scores unlike its array",
    )
    drawn = _draw(density, 5)
    assert isinstance(drawn, pd.DataFrame), (
        f"fitted on a DataFrame, sample gives a {type(drawn).__name__}"
    )
    pd.testing.assert_series_equal(drawn.dtypes, frame.dtypes)


def check_mixed_frames(estimator):
    """Check that sampled rows of a mixed DataFrame have its dtypes, and can be scored; so have steps of sequences."""
    _needs_kinds(estimator, "continuous", "integer", "categorical")
    _needs_no_given(estimator)
    pd = _pandas()
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "length": rng.normal(size=150).astype(np.float32),
            "count": rng.poisson(3, 150),
            "city": rng.choice(["Oslo", "Rome"], 150),
            "grade": pd.Categorical(rng.choice(["a", "b"], 150), categories=["c", "b", "a"]),
            "flag": rng.random(150) < 0.3,
        },
        index=np.arange(150) + 1000,
    )
    is_of_steps = _tags(estimator).sequences
    X = [frame[i : i + 3] for i in range(0, 150, 3)] if is_of_steps else frame
    density = _fit(estimator, X)
    drawn = _draw(density, 30)
    for table in drawn if is_of_steps else [drawn]:
        assert isinstance(table, pd.DataFrame), (
            f"fitted on a DataFrame, sample gives a {type(table).__name__}"
        )
        pd.testing.assert_series_equal(table.dtypes, frame.dtypes)
    assert np.isfinite(_scores(density, drawn)).all(), "a sampled row is impossible"


def _pandas():
    try:
        import pandas as pd
    except ImportError as error:
        raise SkipTest("pandas is not installed") from error
    return pd


def check_units(estimator):
    """Check that a change of units shifts the log-density by the log-Jacobian, and samples change with it.

    The columns of a table of sequences are in one unit.
    """
    _needs_kinds(estimator, "continuous")
    X = _rows(estimator)
    scale, shift = np.array([100.0, 0.01, 7.0]), np.array([-5.0, 300.0, 0.0])
    if _tags(estimator).sequences:
        scale, shift = np.full(3, 100.0), np.full(3, -5.0)
    density = _fit_once(estimator, X)
    scaled = _fit(estimator, X * scale + shift, **_labels(estimator, X))
    scores, log_det = _scores(density, X), np.log(scale[~_given(density)]).sum()
    change = _scores(scaled, X * scale + shift) - (scores - log_det)
    if _score_kind(density) in ("unnormalised", "none"):  # whatever the constant
        change = change - change.mean()
    assert np.mean(np.abs(change)) < 1e-2, (
        f"in other units the density changes by {np.mean(np.abs(change)):.3g} nats more than the "
        "log-Jacobian"
    )
    drawn = _draw(density, 2000) * scale + shift
    pairs = zip(_draw(scaled, 2000, scale=scale, shift=shift).T, drawn.T, strict=True)
    pvalue = min(stats.ks_2samp(*pair, method="asymp").pvalue for pair in pairs)
    assert pvalue > SMALLEST_PVALUE, (
        f"in other units other rows are drawn: Kolmogorov-Smirnov p = {pvalue:.1g}"
    )


def check_impossible_points(estimator):
    """Check that points far away and unseen categories score low, or minus infinity, and do not raise."""
    _needs_scores(estimator)
    X, *strings = _samples_of_rows(estimator)
    for rows in strings:
        row = np.array(["a?b"], dtype=object)
        _assert_unseen_is_impossible(_fit_once(estimator, rows), row)
    if X.dtype.kind == "b":
        raise SkipTest("no flag is far away")
    density = _fit_once(estimator, X)
    far, is_float = X[:3].copy(), X.dtype.kind == "f"
    far[0, 0], far[1, 1], far[2] = (1e9, -1e100, 1e300) if is_float else (10**9, -(10**15), 10**15)
    if _is_positive_only(estimator):
        far = np.abs(far)
    scores = _must_work(lambda: density.score_samples(far), "a point far away raises")
    assert not np.isnan(scores).any(), "a point far away scores NaN"
    assert (scores < np.inf).all(), "a point far away scores plus infinity"
    assert (scores < density.score_samples(X).min()).all(), "a point far away is likely"
    tags = _tags(estimator)
    if {"continuous", "categorical"} <= {*tags.column_kinds} and not tags.sequences:
        known, density = _fit_known(estimator, "mixed columns")
        row = known.points[:1].copy()
        row[0, 0] = "never seen"
        _assert_unseen_is_impossible(density, row)


def _assert_unseen_is_impossible(density, row):
    scores = _must_work(lambda: density.score_samples(row), "an unseen category raises")
    assert scores[0] == -np.inf, f"an unseen category scores {scores[0]}, not -inf"


def _message_of_value_error(call):
    try:
        call()
    except ValueError as error:
        return str(error)
    return None


def check_missing_values(estimator):
    """Check that infinity, and NaN where the tags allow none, raise a ValueError that names the column."""
    _needs_kinds(estimator, "continuous")
    pd = _pandas()
    frame = pd.DataFrame(_rows(estimator), columns=["first", "second", "third"])
    density = _fit_once(estimator, frame)
    bad_values = [np.inf] if get_tags(estimator).input_tags.allow_nan else [np.nan, np.inf]
    for bad in bad_values:
        broken = frame.copy()
        broken.loc[5, "second"] = bad
        calls = [functools.partial(_fit, estimator)]
        if _tags(estimator).score_kind != "none":
            calls.append(density.score_samples)
        for call in calls:
            message = _message_of_value_error(functools.partial(call, broken))
            assert message is not None, f"{bad} is accepted in silence"
            assert "second" in message, f"the error does not name the column: {message}"


def _table_with_holes(estimator):
    """Return three dependent columns of strings without a fifth of their cells, and all their possible rows."""
    rng = np.random.default_rng(0)
    first = rng.integers(0, 2, 600)
    second = (first + (rng.random(600) < 0.3)) % 3
    third = np.where(rng.random(600) < 0.8, second == 0, first == 0).astype(int)
    X = np.array(list("abc"), dtype=object)[np.column_stack([first, second, third])]
    X[rng.random(X.shape) < 0.2] = None
    # What one step of a sequence may be, so may all.
    first = "abc" if _tags(estimator).sequences else "ab"
    every = [[a, b, c] for a in first for b in "abc" for c in first]
    return X, np.array(every, dtype=object)


def check_missing_cells(estimator):
    """Check that rows with NaN score the marginal of their observed cells, and samples have no missing cell."""
    tags = get_tags(estimator).input_tags
    if not tags.allow_nan:
        raise SkipTest("the estimator takes no missing cells (see its input tags)")
    _needs_log_densities(estimator)
    _needs_no_given(estimator)
    _needs_kinds(estimator, "continuous")
    X = _rows(estimator)
    X[np.random.default_rng(0).random(X.shape) < 0.2] = np.nan
    density = _must_work(lambda: _fit(estimator, X), "rows with missing cells cannot be fitted")
    assert np.isfinite(_draw(density, 50)).all(), "a sampled row has missing cells"
    assert not np.isnan(density.score_samples(X)).any(), "a row with missing cells scores NaN"
    nothing = np.full((1, X.shape[1]), np.nan)
    _assert_marginal(density, nothing, np.zeros(1), 0.0, "a row without any cell does not score 0")
    if not (tags.categorical or tags.string):
        return
    X, every = _table_with_holes(estimator)
    density = _fit(estimator, X)
    drawn = _draw(density, 50).ravel()
    assert all(cell is not None for cell in drawn), "a sampled row has missing cells"
    scores, std = density.score_samples(every), _std_of_scores(density, every)
    for observed in np.ndindex(2, 2, 2):
        rows = every.copy()
        rows[:, ~np.array(observed, dtype=bool)] = None
        agrees = (rows[:, None] == rows[None]).all(axis=2)
        with np.errstate(divide="ignore"):
            expected = np.log(agrees @ np.exp(scores))
        possible = np.isfinite(scores)
        error = np.zeros(len(rows))
        if std is not None:
            total = agrees[:, possible] @ (np.exp(scores) * std)[possible]
            np.divide(total, np.exp(expected), where=expected > -np.inf, out=error)
        message = "a row with missing cells does not score the marginal of the others"
        _assert_marginal(density, rows, expected, error, message)


def _assert_marginal(density, rows, expected, error, message):
    # A family may have to estimate it; 0.05 is for those that state no error, and no error excuses more than 1.
    std = _std_of_scores(density, rows)
    stated = N_STD * (error + (0.0 if std is None else std))
    actual = density.score_samples(rows)
    with np.errstate(invalid="ignore"):
        difference = np.where(actual == expected, 0.0, np.abs(actual - expected))
    is_off = ~(difference <= np.clip(np.nan_to_num(stated, nan=0.05), 0.05, 1.0))
    assert not is_off.any(), (
        f"{message}: {difference[is_off][0]:.3g} nats off in {rows[is_off][0].tolist()}"
    )


def check_failed_fit(estimator):
    """Check that a fit that fails leaves a fitted estimator as it was, and an unfitted one unfitted."""
    X = _rows(estimator)
    bad = X.astype(np.float64)
    bad[3, 1] = np.inf
    density = _fit(estimator, X)
    drawn, scores = _draw(density, 20), _scores(density, X)
    for change in ({"X": bad}, {"X": X[:, :2], "sample_weight": np.full(len(X), -1.0)}):
        try:
            density.fit(**change, **_labels(density, change["X"]))
        except (ValueError, TypeError):
            pass
        else:
            raise AssertionError(
                f"fit accepts {'infinity' if change['X'] is bad else 'negative weights'}"
            )
        after = _must_work(lambda: _scores(density, X), "a failed fit spoils the estimator")
        is_same = np.array_equal(after, scores) and np.array_equal(_draw(density, 20), drawn)
        assert is_same, "a failed fit changes the estimator"
    fresh = _fresh(estimator)
    before = set(vars(fresh))
    try:
        fresh.fit(bad, **_labels(fresh, bad))
    except ValueError:
        left = sorted(set(vars(fresh)) - before)
        assert not left, f"a failed fit leaves {left}"


def check_weights_matter(estimator):
    """Check that the part of the rows that has most of the weight becomes likelier."""
    _needs_log_densities(estimator)
    X = _rows(estimator)
    unweighted = _fit_once(estimator, X)
    column = X[:, np.argmin(_given(unweighted))].astype(np.float64)
    upper = column > np.median(column)
    for side in (upper, ~upper):
        weight = np.where(side, 20, 1)
        weighted = _fit(estimator, X, sample_weight=weight).score_samples(X[side])
        plain = unweighted.score_samples(X[side])
        possible = (weighted > -np.inf) & (plain > -np.inf)
        gain = np.mean(weighted[possible] - plain[possible])
        assert gain > 0.1, f"rows of 20 times the weight are {gain:.3f} nats likelier"


def check_weights_equal_repeats(estimator):
    """Check that a weight of 2 equals the row twice, a weight of 0 its absence."""
    _needs_scores(estimator)
    for X in _samples_of_rows(estimator):
        _assert_weights_equal_repeats(estimator, X)


def _assert_weights_equal_repeats(estimator, X):
    count = np.random.default_rng(0).integers(0, 4, len(X))
    weight = count.astype(np.float64)
    weighted = _fit(estimator, X, sample_weight=weight)
    assert np.array_equal(weight, count), "sample_weight is modified"
    repeated = _fit(estimator, np.repeat(X, count, axis=0))
    pair = [_scores(density, X) for density in (weighted, repeated)]
    if _score_kind(weighted) == "unnormalised":
        pair = [scores - scores.mean() for scores in pair]
    _assert_close(*pair, "weights are not equivalent to repeated rows")


def check_global_state(estimator):
    """Check that fit, scores and draws leave global generators, warning filters and torch's defaults as they were."""
    had_torch = "torch" in sys.modules
    _assert_global_state_unchanged(estimator)
    if not had_torch and "torch" in sys.modules:  # whose state before the fit was nobody's
        _assert_global_state_unchanged(estimator)


def _assert_global_state_unchanged(estimator):
    X = _rows(estimator)
    density = _fresh(estimator)
    with global_state_unchanged():
        density.fit(X, **_labels(density, X))
        _query(density, X)
        if "random_state" in density.get_params():
            clone(density).set_params(random_state=None).fit(X, **_labels(density, X))
    with global_state_unchanged(flipped=True):
        _query(density, X)


def _query(density, X):
    _scores(density, X)
    if _score_kind(density) not in ("unnormalised", "none"):
        density.score(X, **_labels(density, X))
    _draw(density, 3)
    _sample(density, 3)


def check_conditional(estimator):
    """Check that given columns the density of the others integrates to one, draws follow it, and `sample` is absent."""
    if not _tags(estimator).conditional:
        raise SkipTest("no columns are given")
    _needs_kinds(estimator, "continuous")
    X = _rows(estimator)
    given = _given(_fit_once(estimator, X))
    # The columns up to the last that is given, or one more: where names are positions, they are the same ones.
    X = X[:, : max(np.flatnonzero(given)[-1], np.argmin(given)) + 1]
    given = given[: X.shape[1]]
    if (~given).sum() != 1:
        raise SkipTest("there is more than one column to integrate over")
    density = _fit_once(estimator, X)
    assert not hasattr(density, "sample"), "there is sample, though columns have to be given"
    assert not hasattr(_fresh(estimator), "sample"), "there is sample before a fit"
    x, log_weights = _line(X[:, ~given].mean(), X[:, ~given].std())
    for row in X[:3]:
        points = np.tile(row, (len(x), 1))
        points[:, ~given] = x[:, None]
        mass = np.exp(density.score_samples(points) + log_weights)
        assert abs(mass.sum() - 1) < 1e-3, f"given {row[given]} the total mass is {mass.sum():.6g}"
        gaps = np.tile(np.where(given, row, np.nan), (1000, 1))
        drawn = _sampler(density)(gaps, random_state=0)
        assert np.array_equal(drawn[:, given], gaps[:, given]), "given cells are changed"
        cdf = np.cumsum(mass) - mass / 2
        pvalue = stats.kstest(drawn[:, ~given][:, 0], lambda z, c=cdf: np.interp(z, x, c)).pvalue
        assert pvalue > SMALLEST_PVALUE, (
            f"draws do not follow the density: Kolmogorov-Smirnov p = {pvalue:.1g}"
        )


PLAIN_CHECKS = (
    check_normalized_untrained,
    check_learns_dependence,
    check_learns_dependence_of_steps,
    check_score_steps,
    check_unfitted,
    check_score_samples_returns_float64,
    check_score_is_sum,
    check_score_kind,
    check_sample_returns_rows,
    check_sample_is_seeded,
    check_seeded_fit,
    check_schema,
    check_copies_keep_state,
    check_saved,
    check_queries_change_nothing,
    check_rows_are_scored_alone,
    check_containers,
    check_containers_of_sequences,
    check_frames,
    check_mixed_frames,
    check_units,
    check_impossible_points,
    check_missing_values,
    check_missing_cells,
    check_bounds,
    check_conditional,
    check_failed_fit,
    check_weights_matter,
    check_weights_equal_repeats,
    check_partial_fit,
)

# Before all others, since it may be the first fit in a process that sets something for good.
CHECKS_OF_FIRST_FITS = (check_global_state,)
