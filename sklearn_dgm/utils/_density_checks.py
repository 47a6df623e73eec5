"""The checks themselves; :mod:`sklearn_dgm.utils.estimator_checks` runs them."""

import copy
import functools
import io
import pickle
import sys
import warnings
from dataclasses import replace
from inspect import signature
from unittest import SkipTest

import joblib
import numpy as np
from scipy import stats
from sklearn.base import clone, is_classifier
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.utils import get_tags

from sklearn_dgm.utils._global_state import global_state_unchanged
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


def _fit_known(estimator, name, seed=0):
    known = _known(name)
    if not isinstance(known.points[0, 0], float | np.integer):
        tags = get_tags(estimator).input_tags
        if not (tags.categorical or tags.string):
            raise SkipTest("the estimator takes no categories (see its input tags)")
    return known, _fit(estimator, known.draw(TRAINING_ROWS, np.random.default_rng(seed)))


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


def check_normalized(estimator, distribution="one column"):
    """Densities sum, or integrate, to one (at most one where the score is a lower bound)."""
    known, density = _fit_known(estimator, distribution)
    _assert_normalized(density, known)


def _assert_normalized(density, known):
    total = np.exp(density.score_samples(known.points) + known.log_weights).sum()
    tolerance = 1e-5 if not known.log_weights.any() else 1e-3
    kind = _score_kind(density)
    if kind == "estimate":
        raise SkipTest("the score is an estimate")
    assert total <= 1 + tolerance, f"the density has a total mass of {total:.6g}, more than 1"
    assert kind == "lower bound" or total >= 1 - tolerance, (
        f"the density has a total mass of {total:.6g}, less than 1"
    )


def check_normalized_untrained(estimator):
    """Whatever the weights of a network, it is a valid distribution."""
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
            parameter.data.copy_(parameter.data.new_tensor(noise))
        _assert_normalized(density, known)
    if not has_network:
        raise SkipTest("the estimator has no network (net_)")


def check_samples_agree_with_density(estimator, distribution="one column"):
    """Samples fall into the regions of the space as often as the density says (chi-squared)."""
    known, density = _fit_known(estimator, distribution)
    n = 5000
    mass = np.exp(density.score_samples(known.points) + known.log_weights)
    expected = n * np.bincount(known.region(known.points), mass)
    counts = np.bincount(known.region(_draw_known(density, known, n)), minlength=len(expected))
    rare = expected < 5
    counts = np.append(counts[~rare], counts[rare].sum())
    # Together the rare regions make one more; half a row keeps it from weighing on its own.
    expected = np.append(expected[~rare], expected[rare].sum() + 0.5)
    statistic = np.sum((counts - expected) ** 2 / expected)
    pvalue = stats.chi2(len(counts) - 1).sf(statistic)
    assert pvalue > SMALLEST_PVALUE, (
        f"samples do not follow the density: p = {pvalue:.1g}, observed {counts}, "
        f"expected {expected.round(1)}"
    )
    if known.points.dtype.kind == "f" and known.points.shape[1] == 1:
        _assert_kolmogorov_smirnov(known, mass, _draw_known(density, known, n, seed=1))


def _assert_kolmogorov_smirnov(known, mass, drawn):
    cdf = np.cumsum(mass) - mass / 2
    pvalue = stats.kstest(drawn[:, 0], lambda x: np.interp(x, known.points[:, 0], cdf)).pvalue
    assert pvalue > SMALLEST_PVALUE, (
        f"samples do not follow the density: Kolmogorov-Smirnov p = {pvalue:.1g}"
    )


def check_entropy_of_samples(estimator, distribution="one column"):
    """The mean of the score over samples is minus the entropy of the density."""
    known, density = _fit_known(estimator, distribution)
    log_p = density.score_samples(known.points)
    mass = np.exp(log_p + known.log_weights)
    entropy = -np.sum(mass * np.where(mass > 0, log_p, 0)) / mass.sum()
    surprise = -density.score_samples(_draw_known(density, known, 5000))
    error = np.std(surprise) / np.sqrt(len(surprise))
    assert abs(surprise.mean() - entropy) < 4 * error + 2e-3, (
        f"samples have a mean surprise of {surprise.mean():.4f} nats, but the density has an "
        f"entropy of {entropy:.4f}"
    )


def check_learns(estimator, distribution="one column"):
    """On held-out rows the density comes within a stated distance of the truth."""
    known, density = _fit_known(estimator, distribution)
    X = known.draw(2000, np.random.default_rng(1))
    scores = density.score_samples(X)
    possible = scores > -np.inf
    assert possible.mean() >= 1 - MOST_IMPOSSIBLE, (
        f"{1 - possible.mean():.0%} of held-out rows are impossible"
    )
    gap = np.mean((known.log_prob(X) - scores)[possible])
    assert gap < known.tolerance, (
        f"held-out rows get {gap:.3f} nats less than under the truth, more than {known.tolerance}"
    )


def check_learns_dependence(estimator):
    """On real columns the joint density is better than the same estimator on each column alone."""
    tags = get_tags(estimator).input_tags
    if tags.categorical or tags.string:
        pixels = load_digits().images[:, 3:5, 3:5].reshape(-1, 4) > 7
        X = pixels.astype(str).astype(object)
    else:
        X = load_breast_cancer().data[:, [0, 2]]
        X = (X - X.mean(axis=0)) / X.std(axis=0)
    train, test = X[::2], X[1::2]
    joint = _fit(estimator, train).score_samples(test)
    alone = sum(
        _fit(estimator, train[:, [j]]).score_samples(test[:, [j]]) for j in range(X.shape[1])
    )
    possible = (joint > -np.inf) & (alone > -np.inf)
    assert possible.mean() >= 1 - MOST_IMPOSSIBLE, "too many held-out rows are impossible"
    gain = np.mean(joint[possible] - alone[possible])
    assert gain > 0.05, f"the joint density is only {gain:.3f} nats better than independent columns"


def check_unfitted(estimator):
    """Queries before `fit` raise NotFittedError."""
    X = _numbers()
    density = _fresh(estimator)
    for query in (
        lambda: density.score_samples(X),
        lambda: density.score(X, **_labels(density, X)),
        lambda: density.sample(),
    ):
        try:
            query()
        except NotFittedError:
            continue
        except Exception as error:
            raise AssertionError(f"an unfitted density raises {error!r}") from error
        raise AssertionError("a query of an unfitted density raises no NotFittedError")


def check_score_samples_returns_float64(estimator):
    """`fit` returns self; `score_samples` has shape (n_samples,) and dtype float64."""
    X = _numbers()
    density = _fresh(estimator)
    assert _refit(density, X) is density, "fit does not return self"
    for n in (1, len(X)):
        scores = density.score_samples(X[:n])
        assert isinstance(scores, np.ndarray), "score_samples returns no ndarray"
        assert scores.shape == (n,), f"score_samples returns shape {scores.shape} for {n} rows"
        assert scores.dtype == np.float64, f"score_samples returns {scores.dtype}, not float64"


def check_score_is_sum(estimator):
    """`score` is the sum of `score_samples`, a float, with or without a y."""
    if is_classifier(estimator):
        raise SkipTest("the score of a classifier is its accuracy")
    X = _numbers()
    density = _fit(estimator, X)
    expected = density.score_samples(X).sum()
    for score in (density.score(X), density.score(X, np.zeros(len(X)))):
        assert isinstance(score, float), f"score returns a {type(score).__name__}"
        _assert_close(score, expected, "score is not the sum of score_samples")


def check_score_kind(estimator):
    """`score_kind_` says what a score is."""
    kind = getattr(_fit(estimator, _numbers()), "score_kind_", None)
    assert kind in ("exact", "lower bound", "estimate"), f"score_kind_ is {kind!r}"


def check_sample_returns_rows(estimator):
    """`sample` returns X alone: an array of n_samples rows (1 by default) like those of `fit`."""
    X = _numbers()
    density = _fit(estimator, X)
    for kwargs, n in (({}, 1), ({"n_samples": 7}, 7)):
        drawn = density.sample(**kwargs)
        assert isinstance(drawn, np.ndarray), f"sample returns a {type(drawn).__name__}"
        assert drawn.shape == (n, X.shape[1]), f"sample returns shape {drawn.shape}"
        assert drawn.dtype == X.dtype, f"sample returns {drawn.dtype}, but X is {X.dtype}"


def check_sample_is_seeded(estimator):
    """The same seed gives the same rows, another seed others, and two unseeded calls differ."""
    density = _fit(estimator, _numbers())
    first = _draw(density, 20, seed=3)
    assert np.array_equal(first, _draw(density, 20, seed=3)), "the same seed gives other rows"
    assert not np.array_equal(first, _draw(density, 20, seed=4)), "another seed gives the same rows"
    assert not np.array_equal(density.sample(20), density.sample(20)), (
        "two unseeded calls give the same rows"
    )
    shared = np.random.RandomState(0)
    assert not np.array_equal(
        density.sample(20, random_state=shared), density.sample(20, random_state=shared)
    ), "a RandomState that is passed twice gives the same rows twice"
    assert not np.array_equal(copy.deepcopy(density).sample(20), density.sample(20)), (
        "what is drawn without a seed is settled in fit: a copy draws the same rows"
    )


def check_seeded_fit(estimator):
    """The same `random_state` gives the same fit, bit for bit, also on the fitted estimator."""
    X = _numbers()
    density = _fit(estimator, X)
    expected = density.score_samples(X)
    again = _fit(estimator, X)
    assert np.array_equal(again.score_samples(X), expected), "two fits with one random_state differ"
    assert np.array_equal(_draw(again, 20), _draw(density, 20)), (
        "after two fits with one random_state, the same seed gives other rows"
    )
    if getattr(density, "warm_start", False):
        return
    _refit(_refit(density, X[:50]), X)
    assert np.array_equal(density.score_samples(X), expected), (
        "a second fit remembers the first (or ignores random_state)"
    )


def check_copies_keep_state(estimator):
    """Pickles, deep copies and joblib's files score and sample as the original does, whatever is fitted after it."""
    X = _numbers()
    density = _fit(estimator, X)
    scores, drawn = density.score_samples(X), _draw(density, 20)
    file, pickled, copied = io.BytesIO(), pickle.dumps(density), copy.deepcopy(density)
    joblib.dump(density, file)
    file.seek(0)
    # What is kept in the class, and not in its instance, is that of another fit from now on.
    _fit(estimator, 2 * _numbers(seed=1) + 3)
    for how, restored in (
        ("the fit of another one", density),
        ("pickle", pickle.loads(pickled)),
        ("deepcopy", copied),
        ("joblib", joblib.load(file)),
    ):
        assert np.array_equal(restored.score_samples(X), scores), f"{how} changes the scores"
        assert np.array_equal(_draw(restored, 20), drawn), f"{how} changes the samples"


def check_queries_change_nothing(estimator):
    """`fit` and queries leave X and the parameters, queries also the fitted state, as they were."""
    X = _numbers()
    given = X.copy()
    parameters = joblib.hash(_fresh(estimator).get_params())
    density = _fit(estimator, X)
    attributes = vars(density).copy()
    scores, drawn = density.score_samples(X), _draw(density, 5)
    density.score(X, **_labels(density, X))
    density.sample(5)
    assert np.array_equal(X, given), "X is modified"
    assert joblib.hash(density.get_params()) == parameters, "parameters are modified"
    assert np.array_equal(density.score_samples(X), scores), "queries change the scores"
    assert np.array_equal(_draw(density, 5), drawn), "queries change the samples"
    changed = [
        name
        for name in {**attributes, **vars(density)}
        if attributes.get(name, attributes) is not vars(density).get(name, density)
    ]
    assert not changed, f"queries set {changed}"


def check_rows_are_scored_alone(estimator):
    """A row's score depends neither on the rows beside it nor on their order or number."""
    X = _numbers()
    density = _fit(estimator, X)
    scores = density.score_samples(X)
    order = np.random.default_rng(0).permutation(len(X))
    _assert_close(density.score_samples(X[order]), scores[order], "scores depend on row order")
    single = np.concatenate([density.score_samples(X[[i]]) for i in range(10)])
    _assert_close(single, scores[:10], "scores depend on the rows beside")
    _assert_close(
        density.score_samples(np.tile(X, (50, 1))), np.tile(scores, 50), "scores depend on batches"
    )


def check_containers(estimator):
    """Lists, memory layouts, read-only arrays and float32 score alike."""
    X = _numbers().astype(np.float32).astype(np.float64)
    density = _fit(estimator, X)
    scores = density.score_samples(X)
    read_only = X.copy()
    read_only.setflags(write=False)
    containers = {
        "a list": X.tolist(),
        "Fortran order": np.asfortranarray(X),
        "a strided view": np.repeat(X, 2, axis=1)[:, ::2],
        "a read-only array": read_only,
        "float32": X.astype(np.float32),
        "an array of objects": X.astype(object),
    }
    for name, container in containers.items():
        actual = _must_work(
            functools.partial(density.score_samples, container), f"{name} cannot be scored"
        )
        _assert_close(actual, scores, f"{name} scores differently")
        if name == "float32":  # the means of float32 columns are not those of float64 ones
            continue
        refitted = _fit(estimator, container).score_samples(X)
        _assert_close(refitted, scores, f"{name} is fitted differently", atol=1e-3)


def check_frames(estimator):
    """A DataFrame is fitted like its array, and sampled rows have its columns and dtypes."""
    pd = _pandas()
    X = _numbers()
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    density = _fit(estimator, frame)
    _assert_close(
        density.score_samples(frame),
        _fit(estimator, X).score_samples(X),
        "a DataFrame scores unlike its array",
    )
    drawn = _draw(density, 5)
    assert isinstance(drawn, pd.DataFrame), (
        f"fitted on a DataFrame, sample gives a {type(drawn).__name__}"
    )
    pd.testing.assert_series_equal(drawn.dtypes, frame.dtypes)


def check_mixed_frames(estimator):
    """Sampled rows of a mixed DataFrame have its dtypes, and can be scored."""
    tags = get_tags(estimator).input_tags
    if not (tags.categorical or tags.string):
        raise SkipTest("the estimator takes no categories (see its input tags)")
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
    density = _fit(estimator, frame)
    drawn = _draw(density, 30)
    assert isinstance(drawn, pd.DataFrame), (
        f"fitted on a DataFrame, sample gives a {type(drawn).__name__}"
    )
    pd.testing.assert_series_equal(drawn.dtypes, frame.dtypes)
    assert np.isfinite(density.score_samples(drawn)).all(), "a sampled row is impossible"


def _pandas():
    try:
        import pandas as pd
    except ImportError as error:
        raise SkipTest("pandas is not installed") from error
    return pd


def check_units(estimator):
    """A change of units shifts the log-density by the log-Jacobian, and samples change with it."""
    X = _numbers()
    scale, shift = np.array([100.0, 0.01, 7.0]), np.array([-5.0, 300.0, 0.0])
    density = _fit(estimator, X)
    scaled = _fit(estimator, X * scale + shift, **_labels(estimator, X))
    scores = density.score_samples(X)
    change = scaled.score_samples(X * scale + shift) - (scores - np.log(scale).sum())
    assert np.mean(np.abs(change)) < 1e-2, (
        f"in other units the density changes by {np.mean(np.abs(change)):.3g} nats more than the "
        "log-Jacobian"
    )
    drawn = _draw(density, 2000) * scale + shift
    pvalue = stats.ks_2samp(_draw(scaled, 2000), drawn, method="asymp").pvalue.min()
    assert pvalue > SMALLEST_PVALUE, (
        f"in other units other rows are drawn: Kolmogorov-Smirnov p = {pvalue:.1g}"
    )


def check_impossible_points(estimator):
    """Points far away and unseen categories score low, or minus infinity; they do not raise."""
    X = _numbers()
    density = _fit(estimator, X)
    far = X[:3].copy()
    far[0, 0], far[1, 1], far[2] = 1e9, -1e100, 1e300
    scores = _must_work(lambda: density.score_samples(far), "a point far away raises")
    assert not np.isnan(scores).any(), "a point far away scores NaN"
    assert (scores < np.inf).all(), "a point far away scores plus infinity"
    assert (scores < density.score_samples(X).min()).all(), "a point far away is likely"
    tags = get_tags(estimator).input_tags
    if tags.categorical or tags.string:
        known, density = _fit_known(estimator, "mixed columns")
        row = known.points[:1].copy()
        row[0, 0] = "never seen"
        scores = _must_work(lambda: density.score_samples(row), "an unseen category raises")
        assert scores[0] == -np.inf, f"an unseen category scores {scores[0]}, not -inf"


def _message_of_value_error(call):
    try:
        call()
    except ValueError as error:
        return str(error)
    return None


def check_missing_values(estimator):
    """Infinity, and NaN where the tags allow none, raise a ValueError that names the column, in `fit` and in queries."""
    pd = _pandas()
    frame = pd.DataFrame(_numbers(), columns=["first", "second", "third"])
    density = _fit(estimator, frame)
    bad_values = [np.inf] if get_tags(estimator).input_tags.allow_nan else [np.nan, np.inf]
    for bad in bad_values:
        broken = frame.copy()
        broken.loc[5, "second"] = bad
        for call in (lambda X: _fit(estimator, X), density.score_samples):
            message = _message_of_value_error(functools.partial(call, broken))
            assert message is not None, f"{bad} is accepted in silence"
            assert "second" in message, f"the error does not name the column: {message}"


def _table_with_holes():
    """Three dependent columns of strings without a fifth of their cells, and all the rows that they could make."""
    rng = np.random.default_rng(0)
    first = rng.integers(0, 2, 600)
    second = (first + (rng.random(600) < 0.3)) % 3
    third = np.where(rng.random(600) < 0.8, second == 0, first == 0).astype(int)
    X = np.array(list("abc"), dtype=object)[np.column_stack([first, second, third])]
    X[rng.random(X.shape) < 0.2] = None
    every = [[a, b, c] for a in "ab" for b in "abc" for c in "ab"]
    return X, np.array(every, dtype=object)


def check_missing_cells(estimator):
    """Where NaN is allowed, a row scores the marginal of its observed cells, and samples have no missing cell."""
    tags = get_tags(estimator).input_tags
    if not tags.allow_nan:
        raise SkipTest("the estimator takes no missing cells (see its input tags)")
    X = _numbers()
    X[np.random.default_rng(0).random(X.shape) < 0.2] = np.nan
    density = _must_work(lambda: _fit(estimator, X), "rows with missing cells cannot be fitted")
    assert np.isfinite(_draw(density, 50)).all(), "a sampled row has missing cells"
    assert not np.isnan(density.score_samples(X)).any(), "a row with missing cells scores NaN"
    nothing = density.score_samples(np.full((1, X.shape[1]), np.nan))
    _assert_marginal(nothing, np.zeros(1), "a row without any cell does not score 0")
    if not (tags.categorical or tags.string):
        return
    X, every = _table_with_holes()
    density = _fit(estimator, X)
    drawn = _draw(density, 50).ravel()
    assert all(cell is not None for cell in drawn), "a sampled row has missing cells"
    scores = density.score_samples(every)
    for observed in np.ndindex(2, 2, 2):
        rows = every.copy()
        rows[:, ~np.array(observed, dtype=bool)] = None
        agrees = (rows[:, None] == rows[None]).all(axis=2)
        expected = np.log(agrees @ np.exp(scores))
        message = "a row with missing cells does not score the marginal of the others"
        _assert_marginal(density.score_samples(rows), expected, message)


def _assert_marginal(actual, expected, message):
    # A family may have to estimate it.
    np.testing.assert_allclose(actual, expected, atol=0.05, err_msg=message)


def check_bounds(estimator):
    """Where there is a parameter `bounds`, draws lie between them, and all of the mass; rows beyond are impossible."""
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


def check_failed_fit(estimator):
    """A fit that fails leaves a fitted estimator as it was, and an unfitted one unfitted."""
    X = _numbers()
    bad = X.copy()
    bad[3, 1] = np.inf
    density = _fit(estimator, X)
    scores = density.score_samples(X)
    for change in ({"X": bad}, {"X": X[:, :2], "sample_weight": np.full(len(X), -1.0)}):
        try:
            density.fit(**change, **_labels(density, change["X"]))
        except (ValueError, TypeError):
            pass
        else:
            raise AssertionError(
                f"fit accepts {'infinity' if change['X'] is bad else 'negative weights'}"
            )
        after = _must_work(lambda: density.score_samples(X), "a failed fit spoils the estimator")
        assert np.array_equal(after, scores), "a failed fit changes the estimator"
    fresh = _fresh(estimator)
    before = set(vars(fresh))
    try:
        fresh.fit(bad, **_labels(fresh, bad))
    except ValueError:
        left = sorted(set(vars(fresh)) - before)
        assert not left, f"a failed fit leaves {left}"


def check_weights_matter(estimator):
    """The part of the rows that has most of the weight becomes likelier."""
    X = _numbers(400)
    upper = X[:, 0] > np.median(X[:, 0])
    for side in (upper, ~upper):
        weight = np.where(side, 20, 1)
        weighted = _fit(estimator, X, sample_weight=weight).score_samples(X[side])
        plain = _fit(estimator, X).score_samples(X[side])
        possible = (weighted > -np.inf) & (plain > -np.inf)
        gain = np.mean(weighted[possible] - plain[possible])
        assert gain > 0.1, f"rows of 20 times the weight are {gain:.3f} nats likelier"


def check_weights_equal_repeats(estimator):
    """A weight of 2 equals the row twice, a weight of 0 its absence."""
    X = _numbers()
    count = np.random.default_rng(0).integers(0, 4, len(X))
    weight = count.astype(np.float64)
    weighted = _fit(estimator, X, sample_weight=weight)
    assert np.array_equal(weight, count), "sample_weight is modified"
    repeated = _fit(estimator, np.repeat(X, count, axis=0))
    _assert_close(
        weighted.score_samples(X),
        repeated.score_samples(X),
        "weights are not equivalent to repeated rows",
    )


def check_global_state(estimator):
    """Fitting, scoring and sampling leave global generators, filters of warnings and torch's defaults as they were."""
    had_torch = "torch" in sys.modules
    _assert_global_state_unchanged(estimator)
    if not had_torch and "torch" in sys.modules:  # whose state before the fit was nobody's
        _assert_global_state_unchanged(estimator)


def _assert_global_state_unchanged(estimator):
    X = _numbers()
    density = _fresh(estimator)
    with global_state_unchanged():
        density.fit(X, **_labels(density, X))
        _query(density, X)
        if "random_state" in density.get_params():
            clone(density).set_params(random_state=None).fit(X, **_labels(density, X))
    with global_state_unchanged(flipped=True):
        _query(density, X)


def _query(density, X):
    density.score_samples(X)
    _draw(density, 3)
    density.sample(3)


PLAIN_CHECKS = (
    check_normalized_untrained,
    check_learns_dependence,
    check_unfitted,
    check_score_samples_returns_float64,
    check_score_is_sum,
    check_score_kind,
    check_sample_returns_rows,
    check_sample_is_seeded,
    check_seeded_fit,
    check_copies_keep_state,
    check_queries_change_nothing,
    check_rows_are_scored_alone,
    check_containers,
    check_frames,
    check_mixed_frames,
    check_units,
    check_impossible_points,
    check_missing_values,
    check_missing_cells,
    check_bounds,
    check_failed_fit,
    check_weights_matter,
    check_weights_equal_repeats,
)

# Before all others, since it may be the first fit in a process that sets something for good.
CHECKS_OF_FIRST_FITS = (check_global_state,)

# These run on every known distribution.
CHECKS_OF_DISTRIBUTIONS = (
    check_normalized,
    check_samples_agree_with_density,
    check_entropy_of_samples,
    check_learns,
)
