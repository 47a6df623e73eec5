"""Classifiers that are densities, against formulas written out in loops, and against scikit-learn."""

import itertools
import pickle
import tracemalloc
import warnings
from datetime import date

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import integrate, stats
from scipy.special import logsumexp
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import VotingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import mutual_info_score
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.naive_bayes import BernoulliNB, CategoricalNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sklearn_dgm import (
    AveragedOneDependenceClassifier,
    BayesianNetworkDensity,
    NaiveBayesClassifier,
    TreeAugmentedNaiveBayesClassifier,
)
from sklearn_dgm.counts import pairs

NaiveBayes = NaiveBayesClassifier
TAN, AODE = TreeAugmentedNaiveBayesClassifier, AveragedOneDependenceClassifier
EACH = pytest.mark.parametrize("classifier", [NaiveBayes, TAN, AODE])
N_LEVELS = [2, 3, 4]
CELLS = np.array(list(itertools.product(*map(range, N_LEVELS))))
OBJECTS = CELLS.astype(object).astype(str).astype(object)


def table(n=60, n_levels=N_LEVELS, n_classes=2, missing=0.0, seed=0):
    """Categories that depend on the class and on each other, their codes, and classes; all occur."""
    rng = np.random.default_rng(seed)
    codes, y = rng.integers(0, n_levels, (n, len(n_levels))), rng.integers(0, n_classes, n)
    for j in range(1, len(n_levels)):
        same = rng.random(n) < 0.4
        codes[same, j] = ((codes[:, j - 1] + y) % n_levels[j])[same]
    codes[rng.random(codes.shape) < missing] = -1
    codes[-max(n_levels) :] = np.arange(max(n_levels))[:, None] % n_levels
    return as_categories(codes), codes, y


def as_categories(codes):
    return np.where(codes < 0, None, codes.astype(str).astype(object))


def forests_of(model, d):
    """For each graph the other parent of each column, from the documentation."""
    if isinstance(model, NaiveBayes):
        return [[None] * d]
    if isinstance(model, TAN):
        return [[next(iter(model.graph_.predecessors(j)), None) for j in range(d)]]
    return [[None if i == j else i for j in range(d)] for i in range(d)]


def slow_joint(model, rows, codes, of_class, n_levels=N_LEVELS, pull=5.0):
    """p(row, class) of complete rows, with one loop for each sum."""
    alpha, n_classes, d = model.alpha, of_class.shape[1], len(n_levels)

    def count(c, **cells):
        cells = {int(name[1:]): value for name, value in cells.items()}
        return sum(
            w
            for row, w in zip(codes, of_class[:, c], strict=True)
            if all(row[j] == v if v is not None else row[j] >= 0 for j, v in cells.items())
        )

    def given_class(j, v, c):
        seen = count(c, **{f"c{j}": None})
        return (count(c, **{f"c{j}": v}) + alpha / n_levels[j]) / (seen + alpha)

    def given_both(j, v, i, a, c):
        everywhere = sum(count(k, **{f"c{i}": a}) for k in range(n_classes))
        if everywhere < getattr(model, "min_frequency", 0):
            return given_class(j, v, c)
        both, seen = (count(c, **{f"c{i}": a, f"c{j}": value}) for value in (v, None))
        return (both + pull * given_class(j, v, c)) / (seen + pull)

    result = np.empty((len(rows), n_classes))
    for (r, row), c in itertools.product(enumerate(rows), range(n_classes)):
        prior = (of_class[:, c].sum() + alpha / n_classes) / (of_class.sum() + alpha)
        products = []
        for parents in forests_of(model, d):
            p = prior
            for j, i in enumerate(parents):
                p *= given_class(j, row[j], c) if i is None else given_both(j, row[j], i, row[i], c)
            products.append(p)
        result[r, c] = np.mean(products)
    return result


MODELS = {
    "naive Bayes": lambda alpha: NaiveBayes(alpha=alpha),
    "TAN": lambda alpha: TAN(alpha=alpha),
    "AODE": lambda alpha: AODE(alpha=alpha),
    "AODE, rare cells": lambda alpha: AODE(alpha=alpha, min_frequency=18.5),
    "AODE, all cells rare": lambda alpha: AODE(alpha=alpha, min_frequency=1e9),
}


@pytest.mark.parametrize("missing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("alpha", [0, 0.5, 5])
@pytest.mark.parametrize("name", MODELS)
def test_joint_densities_are_the_formulas_written_out_and_sum_to_one(
    name, alpha, weighted, missing
):
    X, codes, y = table(missing=missing)
    weight = np.random.default_rng(1).random(len(y)) * 2 if weighted else np.ones(len(y))
    model = MODELS[name](alpha).fit(X, y, sample_weight=weight if weighted else None)
    expected = slow_joint(model, CELLS, codes, weight[:, None] * (y[:, None] == [0, 1]))
    joint = model.predict_joint_log_proba(OBJECTS)
    np.testing.assert_allclose(np.exp(joint), expected, rtol=1e-9, atol=1e-15)
    assert np.exp(joint).sum() == pytest.approx(1)
    np.testing.assert_allclose(model.score_samples(OBJECTS), logsumexp(joint, axis=1))
    possible = expected.any(axis=1)
    proba = model.predict_proba(OBJECTS)
    np.testing.assert_allclose(
        proba[possible], (expected / expected.sum(axis=1, keepdims=True))[possible]
    )
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    np.testing.assert_array_equal(model.predict(OBJECTS), proba.argmax(axis=1))


def test_what_has_no_row_in_a_class_is_impossible_there_without_smoothing():
    X, codes, y = table(200)
    y[codes[:, 2] == 3] = 1
    weight = np.random.default_rng(0).random(200)
    for classifier in (NaiveBayes, TAN, AODE):
        model = classifier(alpha=0).fit(X, y, sample_weight=weight)
        joint = model.predict_joint_log_proba(OBJECTS)
        assert np.isneginf(joint[CELLS[:, 2] == 3, 0]).all()
        assert np.isfinite(joint[CELLS[:, 2] != 3]).all()


@EACH
@pytest.mark.parametrize("alpha", [0, 0.5])
def test_missing_cells_are_summed_out(classifier, alpha):
    X, codes, y = table(30, missing=0.1)
    y[codes[:, 2] == 3] = 1
    model = classifier(alpha=alpha).fit(X, y)
    complete = np.exp(model.predict_joint_log_proba(OBJECTS))
    for hidden in itertools.product([False, True], repeat=3):
        rows = OBJECTS.copy()
        rows[:, np.array(hidden)] = None
        kept = [tuple(row) for row in CELLS[:, ~np.array(hidden)].tolist()]
        expected = [complete[[k == row for k in kept]].sum(axis=0) for row in kept]
        np.testing.assert_allclose(np.exp(model.predict_joint_log_proba(rows)), expected)
        # Rows do not depend on which rows stand beside them, but for rounding.
        np.testing.assert_allclose(
            model.score_samples(np.concatenate([OBJECTS, rows]))[len(rows) + 3],
            model.score_samples(rows[3:4])[0],
            rtol=1e-13,
        )


def test_a_missing_number_is_integrated_out():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 40)
    X = pd.DataFrame({"x": rng.normal(y, 1.0), "s": rng.choice(["a", "b"], 40)})
    for classifier in (NaiveBayes, TAN, AODE):
        model = classifier(bins=3).fit(X, y)
        for s in ("a", None):
            grid = np.linspace(-300, 300, 300_001)
            p = np.exp(model.score_samples(pd.DataFrame({"x": grid, "s": s})))
            expected = np.exp(model.score_samples(pd.DataFrame({"x": [np.nan], "s": [s]})))[0]
            assert integrate.trapezoid(p, grid) == pytest.approx(expected, rel=2e-3)


@EACH
@pytest.mark.parametrize("handle", ["impossible", "rare", "error"])
def test_unknown_categories_say_nothing_of_the_class(classifier, handle):
    X, _, y = table()
    model = classifier(handle_unknown=handle).fit(X, y)
    new, hidden = OBJECTS.copy(), OBJECTS.copy()
    new[:, 1], hidden[:, 1] = "new", None
    if handle == "error":
        with pytest.raises(ValueError, match="column 1 holds 'new' in row 0, a category"):
            model.predict(new)
        return
    np.testing.assert_allclose(model.predict_proba(new), model.predict_proba(hidden))
    share = model.schema_.columns_[1].unknown_share
    with np.errstate(divide="ignore"):
        expected = model.score_samples(hidden) + np.log(share)
    np.testing.assert_allclose(model.score_samples(new), expected)
    assert (share > 0) == (handle == "rare")


def test_the_posterior_of_aode_is_that_of_webb():
    """Sum over i of p(y, x_i) times the product of p(x_j | y, x_i), by plain counts: so many rows need no smoothing."""
    X, codes, y = table(600, n_classes=3)
    posterior = AODE().fit(X, y, sample_weight=np.full(600, 1e9)).predict_proba(OBJECTS)
    expected = np.zeros((len(CELLS), 3))
    for (r, row), c, i in itertools.product(enumerate(CELLS), range(3), range(3)):
        rows = codes[(y == c) & (codes[:, i] == row[i])]
        others = [np.mean(rows[:, j] == row[j]) for j in range(3) if j != i]
        expected[r, c] += len(rows) / 600 * np.prod(others)
    np.testing.assert_allclose(posterior, expected / expected.sum(axis=1, keepdims=True), atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_the_tree_of_tan_has_the_largest_information_of_all_trees(seed):
    X, codes, y = table(150, [2, 3, 2, 3], n_classes=3, seed=seed)
    information = {
        (i, j): sum(
            np.mean(y == c) * mutual_info_score(*codes[y == c][:, [i, j]].T) for c in (0, 1, 2)
        )
        for i, j in itertools.combinations(range(4), 2)
    }
    trees = [
        edges
        for edges in itertools.combinations(information, 3)
        if len(set(itertools.chain(*edges))) == 4
    ]
    assert len(trees) == 16  # Cayley: four to the power of two
    graph = TAN().fit(X, y).graph_
    assert max(dict(graph.in_degree).values()) == 1
    edges = [tuple(sorted(edge)) for edge in graph.edges]
    best = max(trees, key=lambda tree: sum(information[edge] for edge in tree))
    assert sorted(edges) == sorted(best)
    for i, j, strength in graph.edges(data="strength"):
        assert strength == pytest.approx(information[tuple(sorted((i, j)))])


@pytest.mark.parametrize("alpha", [0.1, 1.0])
def test_naive_bayes_agrees_with_scikit_learn(alpha):
    _, codes, y = table(90, [3, 3, 3], n_classes=3)
    weight = np.random.default_rng(0).random(90)
    # Here the pseudo-count is that of a whole column, there of a category.
    mine = NaiveBayes(alpha=3 * alpha).fit(as_categories(codes), y, sample_weight=weight)
    its = CategoricalNB(alpha=alpha, class_prior=np.exp(mine.class_log_prior_))
    its.fit(codes, y, sample_weight=weight)
    np.testing.assert_allclose(
        mine.predict_joint_log_proba(as_categories(codes)), its.predict_joint_log_proba(codes)
    )
    flags = codes > 0
    mine = NaiveBayes(alpha=2 * alpha).fit(flags, y)
    its = BernoulliNB(alpha=alpha, class_prior=np.exp(mine.class_log_prior_)).fit(flags, y)
    np.testing.assert_allclose(
        mine.predict_joint_log_proba(flags), its.predict_joint_log_proba(flags)
    )


def mixed(n=240, seed=0, container=pd.DataFrame):
    """Columns of many kinds with missing cells, and classes with names."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    columns = {
        "city": [["Rome", "Oslo", None][k] for k in (y + rng.integers(0, 2, n)) % 3],
        "count": (y + rng.integers(0, 4, n)).tolist(),
        "size": [None if u < 0.1 else u + k for u, k in zip(rng.random(n), y, strict=True)],
        "rounded": (rng.gamma(2.0 + y, size=n)).round(1).tolist(),
        "flag": (rng.random(n) < 0.3 + 0.2 * y).tolist(),
        "day": [date(2020, 1 + k, d) for k, d in zip(y, rng.integers(1, 29, n), strict=True)],
    }
    X = container(columns)
    if container is pd.DataFrame:
        X["day"], X["size"] = pd.to_datetime(X["day"]), X["size"].astype(float)
    return X, np.array(["low", "middle", "high"])[y]


@EACH
@pytest.mark.parametrize("container", [pd.DataFrame, pl.DataFrame])
def test_frames_of_columns_of_any_kind(classifier, container):
    X, y = mixed(container=container)
    model = classifier().fit(X, y)
    assert model.classes_.tolist() == ["high", "low", "middle"]
    new, truth = mixed(200, seed=1, container=container)
    assert model.score(new, truth) > 0.8
    assert np.isfinite(model.score_samples(new)).all()
    np.testing.assert_allclose(
        model.score_samples(new), logsumexp(model.predict_joint_log_proba(new), axis=1)
    )
    drawn = model.sample(300, y="low", random_state=0)
    assert type(drawn) is container
    assert list(drawn.columns) == list(X.columns)
    assert list(drawn.dtypes) == list(X.dtypes)
    assert np.mean(model.predict(drawn) == "low") > 0.8
    assert np.isfinite(model.score_samples(drawn)).all()


def test_the_tree_of_a_frame_has_the_names_of_its_columns():
    X, y = mixed()
    graph = TAN().fit(X, y).graph_
    assert list(graph) == list(X.columns)
    assert graph.number_of_edges() == len(X.columns) - 1
    assert TAN().fit(X[["city"]], y).graph_.number_of_edges() == 0


@EACH
def test_rows_are_drawn_as_the_density_says(classifier):
    X, _, y = table(100)
    model = classifier().fit(X, np.array(["a", "b"])[y])
    joint, n = np.exp(model.predict_joint_log_proba(OBJECTS)), 20_000
    given_both = np.repeat(["a", "b"], n // 2)
    for labels, p in [
        (None, joint.sum(axis=1)),
        ("b", joint[:, 1] / joint[:, 1].sum()),
        (given_both, (joint / joint.sum(axis=0)).mean(axis=1)),
    ]:
        drawn = model.sample(n, labels, random_state=0).astype(int) @ [12, 4, 1]
        counts = np.bincount(drawn, minlength=len(CELLS))
        assert stats.chisquare(counts, n * p).pvalue > 1e-3
    halves = model.sample(n, given_both, random_state=0).astype(int)[:, 2]
    for half, c in ((halves[: n // 2], 0), (halves[n // 2 :], 1)):
        p = [joint[CELLS[:, 2] == v, c].sum() / joint[:, c].sum() for v in range(4)]
        assert stats.chisquare(np.bincount(half), n / 2 * np.array(p)).pvalue > 1e-3
    for n_samples, labels, message in [
        (0, None, "n_samples should be a positive integer, got 0"),
        (2, "c", "y holds 'c', which is none of the classes"),
        (2, [0, 1], "y holds 0, which is none of the classes"),
        (3, ["a", "b"], "y has 2 entries, but n_samples is 3"),
        (2, -1, "y holds -1, which is no class"),
    ]:
        with pytest.raises(ValueError, match=message):
            model.sample(n_samples, labels)


@EACH
def test_weights_are_repeats_and_nothing_is_absence(classifier):
    X, y = mixed(45)
    weight = np.random.default_rng(1).integers(0, 3, 45)
    weighted = classifier().fit(X, y, sample_weight=weight)
    times = np.repeat(np.arange(45), weight)
    repeated = classifier(column_kinds={"size": "continuous", "rounded": "continuous"})
    repeated.fit(X.iloc[times], y[times])
    assert (weighted.schema_.kinds_ == repeated.schema_.kinds_).all()
    for method in ("predict_joint_log_proba", "score_samples"):
        np.testing.assert_allclose(
            getattr(weighted, method)(X), getattr(repeated, method)(X), rtol=1e-6
        )
    np.testing.assert_allclose(weighted.class_count_, repeated.class_count_)
    without = classifier().fit(X[weight > 0], y[weight > 0], sample_weight=weight[weight > 0])
    np.testing.assert_array_equal(weighted.score_samples(X), without.score_samples(X))


@EACH
def test_rare_classes_and_single_classes(classifier):
    X, y = mixed(100)
    y[:-1] = np.where(np.arange(99) % 2, "low", "high")
    y[-1] = "once"
    model = classifier().fit(X, y)
    assert model.class_count_.tolist() == [50, 49, 1]
    assert np.isfinite(model.predict_joint_log_proba(X)).all()
    assert len(model.sample(5, y="once")) == 5
    single = classifier().fit(X, ["all"] * 100)
    assert single.predict(X).tolist() == ["all"] * 100
    np.testing.assert_allclose(single.predict_joint_log_proba(X)[:, 0], single.score_samples(X))


@EACH
def test_scikit_learn_can_use_it(classifier):
    X, y = mixed(150)
    model = classifier(bins=4).fit(X, y)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    assert not hasattr(clone(model), "classes_")
    assert clone(model).get_params() == model.get_params()
    search = GridSearchCV(classifier(), {"alpha": [0.5, 1e6], "bins": [4]}, cv=3).fit(X, y)
    assert search.best_params_["alpha"] == 0.5
    for wrapped in (
        make_pipeline(FunctionTransformer(), classifier()),
        CalibratedClassifierCV(classifier(), cv=3),
        VotingClassifier([("a", classifier()), ("b", classifier(bins=3))], voting="soft"),
    ):
        proba = cross_val_predict(wrapped, X, y, cv=3, method="predict_proba")
        np.testing.assert_allclose(proba.sum(axis=1), 1)
        assert np.mean(np.unique(y)[proba.argmax(axis=1)] == y) > 0.7


# Further rows.


@EACH
def test_rows_in_parts_count_as_rows_at_once(classifier):
    X, y = mixed(150)
    X, weight = X[["city", "size", "count"]], np.random.default_rng(0).random(150)
    bins = {"size": [0.0, 0.7, 1.4, 2.2], "count": [-0.5, 2.5, 6.5]}
    whole = classifier(bins=bins).fit(X, y, sample_weight=weight)
    parts = classifier(bins=bins)
    for rows in (slice(0, 60), slice(60, 61), slice(61, 150)):
        classes = ["low", "middle", "high"] if rows.start == 0 else None
        parts.partial_fit(X[rows], y[rows], classes=classes, sample_weight=weight[rows])
    np.testing.assert_allclose(parts.class_count_, whole.class_count_)
    np.testing.assert_allclose(parts.predict_proba(X), whole.predict_proba(X))
    places = X[["city"]].assign(size=np.nan, count=np.nan)
    scores = parts.score_samples(places)
    np.testing.assert_allclose(scores, whole.score_samples(places), atol=1e-12)


@pytest.mark.parametrize("classifier", [TAN, AODE])
def test_many_rows_in_parts_count_as_rows_at_once(classifier):
    """Counts are held in as few bytes as they need; their sum needs more."""
    rng = np.random.default_rng(0)
    X, y = as_categories(rng.integers(0, 2, (900, 4))), rng.integers(0, 2, 900)
    whole, parts = classifier().fit(X, y), classifier()
    for start in range(0, 900, 300):
        parts.partial_fit(X[start : start + 300], y[start : start + 300])
    np.testing.assert_allclose(parts.predict_proba(X[:50]), whole.predict_proba(X[:50]))


@pytest.mark.parametrize("classifier", [TAN, AODE])
def test_pairs_are_counted_for_some_columns_at_a_time(classifier, monkeypatch):
    X, y = mixed(120)
    y = [label if i % 3 else -1 for i, label in enumerate(y)]
    at_once = classifier(max_iter=3, tol=0).fit(X, y)
    monkeypatch.setattr(pairs, "PAIRS_AT_ONCE", 30)
    in_blocks = classifier(max_iter=3, tol=0).fit(X, y)
    assert len(in_blocks._counts.pairs) > len(at_once._counts.pairs)
    gaps = X.assign(**{X.columns[0]: X[X.columns[0]].where(np.arange(120) % 4 > 0)})
    for rows in (X, gaps):
        np.testing.assert_allclose(in_blocks.score_samples(rows), at_once.score_samples(rows))
    np.testing.assert_array_equal(
        in_blocks.sample(30, random_state=0), at_once.sample(30, random_state=0)
    )


@pytest.mark.parametrize(
    ("fit", "share"),
    [
        (lambda X, y: TAN().fit(X, y), 0.6),
        (lambda X, y: AODE().fit(X, y), 1.5),
        (lambda X, y: BayesianNetworkDensity("chow-liu", conditional="table").fit(X), 0.5),
    ],
    ids=["TAN", "AODE", "tree"],
)
def test_memory_of_wide_tables(fit, share):
    """A tree needs none for all pairs of cells; an average over all columns needs a number for each, and class."""
    X, y = np.random.default_rng(0).normal(size=(30, 500)), np.arange(30) % 2
    fit(X[:, :3], y)
    tracemalloc.start()
    try:
        fit(X, y)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    n_cells = 3 * 500  # the cube root of the rows in each column
    assert peak < share * 8 * 2 * n_cells**2


@EACH
def test_nothing_is_counted_after_an_error(classifier):
    X, y = mixed(100)
    model = classifier().partial_fit(X, y)
    before, kept = model.score_samples(X), vars(model).copy()
    for rows, labels, message in [
        (X, ["new"] * 100, "y holds 'new', which is none of the classes"),
        (X.assign(size=np.inf), y, "inf.* in column 'size', row 0"),
        (X, y[:5], "inconsistent numbers of samples"),
    ]:
        with pytest.raises(ValueError, match=message):
            model.partial_fit(rows, labels)
        assert vars(model) == kept
    np.testing.assert_array_equal(model.score_samples(X), before)
    # Unlabelled rows count by what the others say.
    expected = model.class_count_ + model.predict_proba(X).sum(axis=0)
    model.partial_fit(X, np.full(100, -1, dtype=object))
    np.testing.assert_allclose(model.class_count_, expected)
    assert (classifier().partial_fit(X, y == "low", [False, True]).classes_ == [0, 1]).all()


# Unlabelled rows.


@pytest.mark.parametrize("classifier", [NaiveBayes, AODE])
def test_unlabelled_rows_count_by_how_probable_their_classes_are(classifier):
    X, codes, y = table(40)
    y[5:-4] = -1
    of_class = 1.0 * (y[:, None] == [0, 1])
    model = classifier()
    for max_iter in range(1, 4):
        joint = slow_joint(model, codes, codes, of_class)
        of_class[y < 0] = (joint / joint.sum(axis=1, keepdims=True))[y < 0]
        model.set_params(max_iter=max_iter, tol=0).fit(X, y)
        np.testing.assert_allclose(model.class_count_, of_class.sum(axis=0))
        expected = slow_joint(model, CELLS, codes, of_class)
        np.testing.assert_allclose(np.exp(model.predict_joint_log_proba(OBJECTS)), expected)
        assert model.n_iter_ == max_iter


def test_the_likelihood_never_falls():
    X, _, y = table(300, missing=0.1)
    y[12:] = -1
    labelled = np.flatnonzero(y >= 0)
    likelihoods = []
    for max_iter in range(1, 15):
        model = NaiveBayes(alpha=1e-9, tol=0, max_iter=max_iter).fit(X, y)
        joint = model.predict_joint_log_proba(X)
        of_labelled = joint[labelled, y[labelled]].sum()
        likelihoods.append(of_labelled + logsumexp(joint[y < 0], axis=1).sum())
    assert (np.diff(likelihoods) > -1e-6).all()
    assert likelihoods[-1] > likelihoods[0] + 1


@EACH
def test_unlabelled_rows_help(classifier):
    """Two clusters, which three columns of fifteen know of."""
    rng = np.random.default_rng(0)
    truth = np.append([0, 1] * 3, rng.integers(0, 2, 1400))
    X = rng.normal(size=(1406, 15))
    X[:, :3] += np.where(truth[:, None] == 0, -1.5, 1.5)
    y = np.where(np.arange(406) < 6, truth[:406], -1)
    model = classifier(bins=[-2.0, -1.0, 0.0, 1.0, 2.0])
    few = model.fit(X[:6], y[:6]).score(X[406:], truth[406:])
    more = model.fit(X[:406], y).score(X[406:], truth[406:])
    assert more > few + 0.05
    assert more > 0.95 or classifier is TAN


def test_which_labels_are_none():
    X, _, _ = table(40)
    half = np.arange(40) % 2
    for y, classes in [
        (np.where(half, 1, -1), [-1, 1]),
        (np.where(half, 1.0, -1.0), [-1, 1]),
        (np.append(np.where(half, 1, -1)[1:], 0), [0, 1]),
        (np.where(half, "-1", "1"), ["-1", "1"]),
        (np.array(["a", "b", -1, "a"] * 10, dtype=object), ["a", "b"]),
        (np.array(["a", -1] * 20, dtype=object), ["a"]),
        (half == 1, [False, True]),
    ]:
        model = NaiveBayes().fit(X, y)
        assert model.classes_.tolist() == classes
        assert model.class_count_.sum() == pytest.approx(40)


@EACH
def test_unlabelled_rows_may_hold_what_no_labelled_one_does(classifier):
    X, _, y = table(60)
    y[:4], y[4:] = [0, 1, 0, 1], -1
    for alpha in (0, 1e-12):
        model = classifier(alpha=alpha).fit(X, y)
        assert model.class_count_.sum() == pytest.approx(60)
        assert np.isfinite(model.score_samples(X)).all()
    apart = np.array([["a"], ["b"], ["b"], ["c"]], dtype=object)
    model = classifier(alpha=0).fit(apart, [0, 1, -1, 2])
    assert model.class_count_.tolist() == [1, 2, 1]


def test_a_likelihood_that_still_rises_is_told():
    X, _, y = table(100)
    y[10:] = -1
    with pytest.warns(ConvergenceWarning, match="max_iter=2 .*; raise max_iter, or tol"):
        NaiveBayes(max_iter=2, tol=0).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert 2 < NaiveBayes().fit(X, y).n_iter_ < 100
    assert NaiveBayes().fit(X, np.abs(y)).n_iter_ == 1


# What is refused.


@EACH
@pytest.mark.parametrize(
    ("parameters", "change", "message"),
    [
        ({}, lambda X, y: (X, y[:-1]), r"inconsistent numbers of samples: \[60, 59\]"),
        ({}, lambda X, y: (X, np.where(y == "low", np.nan, 1.0)), "y contains NaN"),
        ({}, lambda X, y: (X, np.where(y == "low", None, y)), "y contains NaN"),
        ({}, lambda X, y: (X, np.full(60, -1)), "y holds no class: all its rows are unlabelled"),
        ({}, lambda X, y: (X, np.linspace(0, 1, 60)), "Unknown label type: continuous"),
        ({}, lambda X, y: (X.assign(size=np.inf), y), "infinity .* in column 'size', row 0"),
        ({}, lambda X, y: (X[:0], y[:0]), "0 sample"),
        ({}, lambda X, y: (X[[]], y), "0 feature"),
        ({"handle_unknown": "never"}, None, "'handle_unknown' parameter"),
        ({"alpha": -1}, None, "'alpha' parameter"),
        ({"bins": 0}, None, "'bins' parameter"),
        ({"bins": "quantile"}, None, "column 'count': bins='quantile' is no rule"),
        ({"bins": {"sise": 4}}, None, "bins names 'sise', which is not a column of X"),
        ({"bins": {"city": 4}}, None, "column 'city': it is categorical and takes no bins"),
        ({"column_kinds": {"size": "whole"}}, None, "column_kinds says 'whole' of column 'size'"),
    ],
)
def test_errors_say_what_is_wrong_and_leave_the_fit(classifier, parameters, change, message):
    X, y = mixed(60)
    model = classifier().fit(X, y)
    model.set_params(**parameters)
    before = vars(model).copy()
    with pytest.raises(ValueError, match=message):
        model.fit(*(change(X, y) if change else (X, y)))
    assert vars(model) == before
    assert model.score(X, y) > 0.8


def test_thousands_of_categories():
    X = np.array([[f"user {i}", "ab"[i % 2]] for i in range(12_000)], dtype=object)
    y = np.arange(12_000) % 4 > 1
    model = NaiveBayes(handle_unknown="rare", categorical_features=[0, 1]).fit(X, y)
    assert model.predict(X[:4]).tolist() == [False, False, True, True]
    for classifier in (TAN, AODE):
        with pytest.raises(
            ValueError,
            match=r"2.9e\+08 pairs of cells .* column 0 has most of the cells \(12000\)",
        ):
            classifier(categorical_features=[0, 1]).fit(X, y)


def test_a_list_of_labels_may_hold_minus_one_beside_strings():
    X = pd.DataFrame({"k": ["x", "y", "x", "y"] * 20})
    model = NaiveBayes().fit(X, ["a", "b", -1, -1] * 20)
    assert model.classes_.tolist() == ["a", "b"]
    assert model.predict(X.head(2)).tolist() == ["a", "b"]
    with pytest.raises(ValueError, match="all of them are unlabelled"):
        NaiveBayes().partial_fit(X, [-1] * 80, classes=[0, 1])
