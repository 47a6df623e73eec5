"""HistogramDensity against counting with a dictionary, against NumPy, and against itself."""

import itertools
import warnings
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV

from sklearn_dgm import EnsembleDensity, HistogramDensity, NaiveBayesClassifier
from sklearn_dgm.counts.binning import NUMPY_RULES, EdgeAxis, block_cells, knuth_edges
from sklearn_dgm.counts.blocks import best_partitions


def mixed_frame(n=300, seed=0):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"city": rng.choice(["Lima", "Oslo", "Rome"], n, p=[0.2, 0.3, 0.5])})
    frame["count"] = rng.integers(-2, 5, n)
    frame["size"] = np.where(frame["city"] == "Oslo", 2.0, 20.0) + rng.normal(size=n)
    return frame


def slow_log_density(train, weight, X, edges, alpha):
    """Count whole cells, named by tuples, in a dictionary; the grid is given by edges or by a number of values."""

    def cell(row):
        found = []
        for value, bins in zip(row, edges, strict=True):
            if isinstance(bins, np.ndarray):
                k = next((k for k in range(len(bins) - 1) if bins[k] <= value < bins[k + 1]), None)
                found.append(len(bins) - 2 if value == bins[-1] else k)
            else:
                found.append(value if value in bins else None)
        return tuple(found)

    counts = Counter()
    for row, w in zip(train, weight, strict=True):
        counts[cell(row)] += w
    n_cells = np.prod([len(b) - isinstance(b, np.ndarray) for b in edges])
    scores = []
    for row in X:
        where = cell(row)
        mass = (counts[where] + alpha) / (sum(weight) + alpha * n_cells)
        volume = np.prod(
            [
                b[k + 1] - b[k]
                for b, k in zip(edges, where, strict=True)
                if isinstance(b, np.ndarray)
            ]
            if None not in where
            else 1.0
        )
        scores.append(np.log(mass / volume) if None not in where and mass > 0 else -np.inf)
    return np.array(scores)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("alpha", [0, 0.3])
def test_agrees_with_slow_counting(alpha, weighted):
    frame, new = mixed_frame(), mixed_frame(200, seed=1)
    new.loc[:5, "city"] = "Atlantis"
    new.loc[10:15, "count"] = 99
    new.loc[20:25, "size"] = -500.0
    weight = np.random.default_rng(0).random(300) if weighted else np.ones(300)
    density = HistogramDensity(bins=7, alpha=alpha).fit(
        frame, sample_weight=weight if weighted else None
    )
    edges = [{"Lima", "Oslo", "Rome"}, set(range(-2, 5)), density.edges_[2]]
    expected = slow_log_density(
        frame.to_numpy().tolist(), weight, new.to_numpy().tolist(), edges, alpha
    )
    np.testing.assert_allclose(density.score_samples(new), expected)
    assert np.isneginf(expected).sum() >= 18


@pytest.mark.parametrize("bins", [1, 10, [3, 7], [np.array([-9.0, 0, 0.1, 9]), 5], "auto"])
def test_agrees_with_numpy(bins):
    X = np.random.default_rng(0).normal(size=(500, 2))
    density = HistogramDensity(bins=bins).fit(X)
    expected, edges = np.histogramdd(X, bins=density.edges_, density=True)
    for mine, its in zip(density.edges_, edges, strict=True):
        np.testing.assert_allclose(mine, its)
    centres = [e[:-1] / 2 + e[1:] / 2 for e in edges]
    points = np.stack(np.meshgrid(*centres, indexing="ij"), axis=-1).reshape(-1, 2)
    np.testing.assert_allclose(np.exp(density.score_samples(points)), expected.ravel())


@pytest.mark.parametrize("rule", sorted(NUMPY_RULES))
def test_rules_are_those_of_numpy(rule):
    x = np.random.default_rng(0).gamma(2, size=300)
    edges = HistogramDensity(bins=rule).fit(x[:, None]).edges_[0]
    np.testing.assert_array_equal(edges, np.histogram_bin_edges(x, rule))


def test_knuth_has_the_highest_posterior():
    from scipy.special import gammaln

    x = np.random.default_rng(0).normal(size=200)

    def log_posterior(m):
        counts, _ = np.histogram(x, m)
        return (
            len(x) * np.log(m)
            + gammaln(m / 2)
            - m * gammaln(0.5)
            - gammaln(len(x) + m / 2)
            + gammaln(counts + 0.5).sum()
        )

    best = max(range(1, 50), key=log_posterior)
    assert len(knuth_edges(x)) - 1 == best


def test_blocks_have_the_highest_fitness_of_all_partitions():
    x = np.sort(np.concatenate([np.random.default_rng(0).normal(0, 1, 6), [5.0, 5.01, 5.02, 5.03]]))
    cell_edges = np.concatenate([x[:1], x[:-1] / 2 + x[1:] / 2, x[-1:]])
    penalty = 4 - np.log(73.53 * 0.05 * len(x) ** -0.478)

    def fitness(cuts):
        bounds = [0, *cuts, len(x)]
        return sum(
            (b - a) * np.log((b - a) / (cell_edges[b] - cell_edges[a])) - penalty
            for a, b in itertools.pairwise(bounds)
        )

    partitions = [c for k in range(len(x)) for c in itertools.combinations(range(1, len(x)), k)]
    best = max(partitions, key=fitness)
    (edges,) = best_partitions([block_cells(x)])
    np.testing.assert_allclose(edges, cell_edges[[0, *best, len(x)]])


def test_blocks_find_a_step():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(0, 1, 2000), rng.uniform(1, 2, 200)])
    (edges,) = best_partitions([block_cells(x)])
    assert len(edges) == 3
    assert edges[1] == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("bins", [10, "sturges", "blocks", "knuth", np.linspace(-9, 9, 5)])
def test_weights_are_repeats(bins):
    rng = np.random.default_rng(0)
    X, weight = rng.normal(size=(80, 2)), rng.integers(0, 4, 80)
    weighted = HistogramDensity(bins, alpha=0.1).fit(X, sample_weight=weight)
    repeated = HistogramDensity(bins, alpha=0.1).fit(np.repeat(X, weight, axis=0))
    for a, b in zip(weighted.edges_, repeated.edges_, strict=True):
        np.testing.assert_allclose(a, b)
    np.testing.assert_allclose(weighted.score_samples(X), repeated.score_samples(X))
    np.testing.assert_allclose(weighted.counts_, repeated.counts_)


def test_broken_weights_go_with_rules_that_know_weights():
    X, weight = np.random.default_rng(0).normal(size=(50, 1)), np.full(50, 0.5)
    for bins in (5, "blocks", "knuth"):
        assert HistogramDensity(bins).fit(X, sample_weight=weight).total_ == 25
    with pytest.raises(ValueError, match="column 0: bins='auto' takes whole sample weights"):
        HistogramDensity("auto").fit(X, sample_weight=weight)


@pytest.mark.parametrize("alpha", [1e-9, 0.5, 20])
def test_smoothed_mass_over_the_whole_grid_is_one(alpha):
    rng = np.random.default_rng(0)
    X = np.array([["a", "x"], ["b", "y"], ["c", "x"]], dtype=object)[rng.integers(0, 3, 50)]
    cells = np.array(list(itertools.product("abc", "xy")), dtype=object)
    density = HistogramDensity(alpha=alpha).fit(X)
    p = np.exp(density.score_samples(cells))
    assert p.sum() == pytest.approx(1, abs=1e-12)
    assert (p > 0).all()
    assert density.n_cells_ == 6


def test_outside_and_on_the_edges():
    density = HistogramDensity(bins=[np.array([0.0, 1, 3])], alpha=1).fit([[0.5], [2.0], [2.5]])
    scores = density.score_samples([[0.0], [1.0], [3.0], [np.nextafter(3, 4)], [-1e-300]])
    np.testing.assert_allclose(np.exp(scores), [2 / 5, 3 / 10, 3 / 10, 0, 0])


def wide(n=2000, d=20, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 1)) + rng.normal(size=(n, d))


@pytest.mark.parametrize("alpha", [0, 1e-12])
def test_grids_beyond_any_integer(alpha):
    X = wide()
    density = HistogramDensity(bins=60, alpha=alpha).fit(X)
    assert density.n_cells_ == 60**20
    log_volume = sum(np.log(np.diff(e)[0]) for e in density.edges_)
    rows = np.array(
        [
            np.clip(np.searchsorted(e, x, "right") - 1, 0, 59)
            for e, x in zip(density.edges_, X.T, strict=True)
        ]
    )
    counts = Counter(map(tuple, rows.T))
    expected = [np.log(counts[tuple(r)] + alpha) for r in rows.T]
    total = np.log(2000 + alpha * 60.0**20)
    np.testing.assert_allclose(density.score_samples(X), expected - total - log_volume)
    assert density.counts_.sum() == 2000
    assert len(np.unique(density.cells_, axis=0)) == len(density.counts_)
    new = X + 0.5
    unseen = density.score_samples(new)
    outside = ((new < X.min(axis=0)) | (new > X.max(axis=0))).any(axis=1)
    assert np.isneginf(unseen[outside]).all()
    if alpha:
        np.testing.assert_allclose(unseen[~outside].min(), np.log(alpha) - total - log_volume)
    else:
        assert np.isneginf(unseen[~outside]).any()


def test_only_occupied_cells_take_memory():
    import pickle

    density = HistogramDensity(bins=100).fit(wide(5000))
    assert len(density.counts_) == 5000
    assert len(pickle.dumps(density)) < 2 * 5000 * 20 * 8


def test_samples_of_a_huge_smoothed_grid_include_unseen_cells():
    X = wide(d=15)
    # Half of the mass is that of the pseudo-counts.
    density = HistogramDensity(bins=30, alpha=2000 / 30.0**15).fit(X)
    drawn = density.sample(4000, random_state=0)
    scores = density.score_samples(drawn)
    seen = scores > density.score_samples(X).min() - 1e-9
    assert stats.binomtest(int(seen.sum()), 4000, 0.5).pvalue > 1e-3
    assert np.isfinite(scores).all()
    uniform = drawn[~seen]
    for edges, x in zip(density.edges_, uniform.T, strict=True):
        assert stats.kstest(x, stats.uniform(edges[0], edges[-1] - edges[0]).cdf).pvalue > 1e-4


@pytest.mark.parametrize("alpha", [0, 3.0])
def test_samples_follow_the_masses(alpha):
    frame = mixed_frame(100).drop(columns="size")
    density = HistogramDensity(alpha=alpha).fit(frame)
    drawn = density.sample(20_000, random_state=0)
    grid = pd.DataFrame(
        itertools.product(["Lima", "Oslo", "Rome"], range(-2, 5)), columns=["city", "count"]
    )
    p = np.exp(density.score_samples(grid))
    counts = drawn.value_counts().reindex(pd.MultiIndex.from_frame(grid), fill_value=0).to_numpy()
    assert counts.sum() == 20_000
    assert stats.chisquare(counts[p > 0], 20_000 * p[p > 0]).pvalue > 1e-3


def test_samples_are_uniform_within_bins_and_in_random_order():
    X = np.array([[0.0], [10.0], [10.0], [9.0]])
    drawn = (
        HistogramDensity(bins=[np.array([0.0, 1, 11])]).fit(X).sample(4000, random_state=1)[:, 0]
    )
    assert stats.kstest(drawn[drawn >= 1], stats.uniform(1, 10).cdf).pvalue > 1e-3
    lower = drawn < 1
    assert lower.mean() == pytest.approx(0.25, abs=0.03)
    assert np.corrcoef(lower[:-1], lower[1:])[0, 1] == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize("of", ["days", "dates", "integers", "objects"])
@pytest.mark.parametrize("bins", [3, 4, 7, 150])
def test_whole_draws_stay_in_their_bins(of, bins):
    """Rounded to the nearest day or integer they might end in an empty bin beside."""
    whole = np.repeat([0, 2, 3, 9, 90], 8)
    days = np.datetime64("2024-02-28", "D") + whole
    x = {
        "days": days,
        "dates": pd.Series(days.tolist(), dtype=object),
        "integers": whole,
        "objects": pd.Series(whole.tolist(), dtype=object),
    }[of]
    table = days[:, None] if of == "days" else pd.DataFrame({"x": x})
    density = HistogramDensity(bins, integer_features=None).fit(table)
    drawn = density.sample(3000, random_state=0)
    assert np.isfinite(density.score_samples(drawn)).all()
    if (of, bins) == ("integers", 3):  # a bin of whole numbers, all of which are as likely
        counts = np.bincount(drawn["x"])[:30]
        assert stats.chisquare(counts).pvalue > 1e-3


def test_partial_fit_equals_one_fit():
    frame = mixed_frame()
    frame["city"] = frame["city"].astype("category")
    bins = {"size": np.linspace(-5, 30, 12), "count": range(-5, 10)}
    weight = np.random.default_rng(0).random(300)
    whole = HistogramDensity(bins, alpha=0.1).fit(frame, sample_weight=weight)
    parts = HistogramDensity(bins, alpha=0.1)
    for rows in (slice(0, 100), slice(100, 101), slice(101, 300)):
        parts.partial_fit(frame.iloc[rows], sample_weight=weight[rows])
    np.testing.assert_allclose(parts.score_samples(frame), whole.score_samples(frame))
    np.testing.assert_array_equal(parts.cells_, whole.cells_)
    assert parts.total_ == pytest.approx(whole.total_)


def test_partial_fit_needs_a_grid():
    X = np.random.default_rng(0).normal(size=(50, 2))
    for bins in (10, "auto", [np.array([-9.0, 9.0]), 10]):
        density = HistogramDensity(bins)
        with pytest.raises(ValueError, match="partial_fit needs the edges of column"):
            density.partial_fit(X)
        assert not hasattr(density, "schema_")


def test_partial_fit_beyond_the_grid_counts_nothing():
    X = np.random.default_rng(0).normal(size=(50, 2))
    density = HistogramDensity([np.array([-9.0, 9.0])] * 2).partial_fit(X)
    beyond = np.append(X, [[0.0, 10.0]], axis=0)
    with pytest.raises(ValueError, match="outside the edges from -9 to 9 in column 1, row 50"):
        density.partial_fit(beyond)
    assert density.total_ == 50
    cities = HistogramDensity().partial_fit([["Oslo"], ["Rome"]])
    with pytest.raises(ValueError, match="column 0, row 0"):
        cities.partial_fit([["Atlantis"]])
    assert cities.total_ == 2


@pytest.mark.parametrize("d", [2, 20])
def test_merge_equals_one_fit(d):
    X = wide(d=d)
    edges = np.linspace(-12, 12, 40)
    bins = [edges] * d
    first, second = HistogramDensity(bins).fit(X[:700]), HistogramDensity(bins).fit(X[700:])
    merged, whole = first.merge(second), HistogramDensity(bins).fit(X)
    np.testing.assert_array_equal(merged.score_samples(X), whole.score_samples(X))
    np.testing.assert_array_equal(merged.cells_, whole.cells_)
    assert (first.total_, second.total_, merged.total_) == (700, 1300, 2000)
    np.testing.assert_array_equal(merged.sample(9, random_state=0), whole.sample(9, random_state=0))


def test_merge_names_the_column_that_differs():
    X = np.random.default_rng(0).normal(size=(50, 2))
    fitted = HistogramDensity([5, 5]).fit(X)
    with pytest.raises(ValueError, match="different grids in column 1"):
        fitted.merge(HistogramDensity([*fitted.edges_[:1], 7]).fit(X))
    with pytest.raises(ValueError, match="2 and of 1 columns"):
        fitted.merge(HistogramDensity().fit(X[:, :1]))
    with pytest.raises(TypeError, match="HistogramDensity"):
        fitted.merge(X)
    counts = HistogramDensity().fit([[1], [4]])
    with pytest.raises(ValueError, match="column 0"):
        counts.merge(HistogramDensity().fit([[2], [5]]))
    cities = HistogramDensity().fit([["Oslo"], ["Rome"]])
    with pytest.raises(ValueError, match="column 0"):
        cities.merge(HistogramDensity().fit([["Oslo"], ["Lima"]]))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"bins": 0}, "'bins' parameter"),
        ({"bins": "automatic"}, "column 0: bins='automatic' is no rule"),
        ({"bins": [10, 0]}, "column 1: bins=0"),
        ({"bins": [np.array([1.0, 0.0]), 5]}, "column 0: .*increasing"),
        ({"bins": [5, 5, "auto"]}, "bins has 3 entries, but X has 2 columns"),
        ({"bins": {7: 5}}, "bins names 7"),
        ({"bins": {0: None}}, "bins is None for column 0"),
        ({"bins": [5, True]}, "column 1: bins=True"),
        ({"alpha": -1}, "'alpha' parameter"),
        ({"bins": np.array([-0.1, 0.1])}, "outside the edges from -0.1 to 0.1 in column 0, row"),
    ],
)
def test_wrong_parameters(parameters, message):
    density = HistogramDensity(**parameters)
    with pytest.raises(ValueError, match=message):
        density.fit(np.random.default_rng(0).normal(size=(50, 2)))
    assert not hasattr(density, "schema_")


def test_bins_of_other_kinds_of_columns():
    with pytest.raises(ValueError, match="'city' is categorical and takes no bins"):
        HistogramDensity({"city": 5}).fit(mixed_frame())
    with pytest.raises(
        ValueError, match="'count' holds integers; its bins should be None or a range"
    ):
        HistogramDensity({"count": 5}).fit(mixed_frame())
    density = HistogramDensity({"count": range(-10, 11)}, alpha=1).fit(mixed_frame())
    assert density.n_cells_ == 3 * 21 * 10
    assert np.isfinite(density.score_samples(mixed_frame().head(1).assign(count=10)))
    with pytest.raises(ValueError, match="'count' holds integers; its bins should be"):
        HistogramDensity({"count": range(10**30)}).fit(mixed_frame())
    with pytest.raises(ValueError, match="outside .*'count', row"):
        HistogramDensity({"count": range(0, 3)}).fit(mixed_frame())


EVERY_KIND_OF_BINS = [2, "auto", "blocks", "knuth"]


@pytest.mark.parametrize("x", [[3.0], [0.0, 0.0], [1e300, -5e299], [1e-300, 2e-300]], ids=str)
@pytest.mark.parametrize("bins", EVERY_KIND_OF_BINS)
def test_extreme_values_fit(x, bins):
    X = np.array(x)[:, None]
    density = HistogramDensity(bins).fit(X)
    assert np.isfinite(density.score_samples(X)).all()
    edges = density.edges_[0]
    mass = np.exp(density.score_samples(edges[:-1, None]) + np.log(np.diff(edges)))
    assert mass.sum() == pytest.approx(1)


@pytest.mark.parametrize("x", [[1e16, 1e16 + 2], [1.0, np.nextafter(1, 2)]], ids=str)
@pytest.mark.parametrize("bins", EVERY_KIND_OF_BINS)
def test_values_too_close_for_bins_are_refused_by_name(x, bins):
    with pytest.raises(ValueError, match="column 0: "):
        HistogramDensity(bins).fit(np.array(x)[:, None])


def test_a_range_beyond_float64_is_refused():
    with pytest.raises(ValueError, match="column 0: the values span more than float64 can hold"):
        HistogramDensity().fit([[-1.7e308], [1.7e308]])


@pytest.mark.parametrize("rule", ["auto", "fd"])
def test_a_rule_that_asks_for_too_many_bins_is_refused(rule):
    X = np.append(np.random.default_rng(0).normal(size=(100, 1)), [[1e9]], axis=0)
    with pytest.raises(ValueError, match=r"column 0: bins='\w+' asks for .* bins"):
        HistogramDensity(rule).fit(X)


def test_integers_of_any_range():
    X = np.array([[0], [2**50], [7]])
    density = HistogramDensity(alpha=0.5).fit(X)
    expected = np.log(1.5) - np.log(3 + 0.5 * (2**50 + 1))
    np.testing.assert_allclose(density.score_samples(X), expected)
    drawn = density.sample(500, random_state=0)
    assert drawn.min() >= 0
    assert drawn.max() <= 2**50


def test_parameters_changed_after_fit_wait_for_the_next():
    X = np.random.default_rng(0).normal(size=(50, 2))
    density = HistogramDensity(alpha=0.1).fit(X)
    before, drawn = density.score_samples(X), density.sample(20, random_state=0)
    density.set_params(alpha=100, bins=3)
    np.testing.assert_array_equal(density.score_samples(X), before)
    np.testing.assert_array_equal(density.sample(20, random_state=0), drawn)


def test_grid_search_finds_smoothing():
    # With explicit edges no held-out row lies outside the grid.
    grid = {"bins": [[np.linspace(0, 8, n)] * 2 for n in (5, 9, 41)], "alpha": [1e-9, 0.1, 1000]}
    search = GridSearchCV(HistogramDensity(), grid, n_jobs=2).fit(load_iris().data[:, 2:])
    assert search.best_params_["alpha"] == 0.1
    assert np.isfinite(search.best_score_)


@settings(deadline=None, max_examples=100)
@given(
    hnp.arrays(
        np.float64,
        st.integers(2, 12),
        elements=st.floats(-1e6, 1e6, allow_subnormal=False),
        unique=True,
    ),
    st.integers(1, 50),
    st.booleans(),
)
def test_bins_are_found_as_by_search(values, n_bins, given_edges):
    edges = np.sort(values) if given_edges else np.linspace(values.min(), values.max(), n_bins + 1)
    if not (np.diff(edges) > 0).all():
        return
    axis = EdgeAxis(edges)
    # The hard values lie at the edges and next to them.
    z = np.concatenate([edges, np.nextafter(edges, np.inf), np.nextafter(edges, -np.inf), values])
    index, inside = axis.index(z)
    np.testing.assert_array_equal(inside, (z >= edges[0]) & (z <= edges[-1]))
    expected = np.minimum(np.searchsorted(edges, z, side="right") - 1, axis.n_bins - 1)
    np.testing.assert_array_equal(index[inside], expected[inside])


rows = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(-3, 3), st.floats(-5, 5, allow_subnormal=False)),
    min_size=1,
    max_size=30,
)


@settings(deadline=None, max_examples=60)
@given(rows, rows, st.sampled_from([0, 0.01, 2]), st.integers(1, 6))
def test_any_table_agrees_with_slow_counting(train, new, alpha, n_bins):
    frame, new = (pd.DataFrame(t, columns=["c", "n", "x"]) for t in (train, new))
    density = HistogramDensity({"x": n_bins}, alpha=alpha).fit(frame)
    grid = [set(frame["c"]), set(range(frame["n"].min(), frame["n"].max() + 1)), density.edges_[2]]
    expected = slow_log_density(
        frame.to_numpy().tolist(), np.ones(len(frame)), new.to_numpy().tolist(), grid, alpha
    )
    np.testing.assert_allclose(density.score_samples(new), expected, rtol=1e-9, atol=1e-9)
    drawn = density.sample(5, random_state=0)
    assert np.isfinite(density.score_samples(drawn)).all()
    pd.testing.assert_series_equal(drawn.dtypes, frame.dtypes)


FAR = "nearly all values of column {} lie within 10% of one of its 10 equal bins.*'blocks'"


@pytest.mark.parametrize("far", [1e4, -1e10, [9999.0] * 90])
def test_a_value_far_from_all_others_is_said(far):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 2))
    fresh = rng.normal(size=(600, 2))
    x[: np.size(far), 1] = far
    with pytest.warns(UserWarning, match=FAR.format(1)):
        density = HistogramDensity(10, alpha=0.1).fit(x)
    # What it is warned of: most of the density is gone.
    blocks = HistogramDensity("blocks", alpha=0.1).fit(x)
    assert np.median(blocks.score_samples(fresh) - density.score_samples(fresh)) > 3
    for bins in ("quantiles", 1, [*range(-10, 10), 1e5] if np.min(far) > 0 else "blocks"):
        HistogramDensity({0: 10, 1: bins}, alpha=0.1).fit(x)
    labels = np.arange(600) % 2
    if np.size(far) > 1:  # an atom, beside which bins are those of the others
        NaiveBayesClassifier(bins=10).fit(x, labels)
        return
    with pytest.warns(UserWarning, match=FAR.format("'v'")):
        NaiveBayesClassifier(bins=10).fit(pd.DataFrame(x, columns=["u", "v"]), labels)


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng: rng.normal(size=600),
        lambda rng: rng.lognormal(0, 1.5, 600),
        lambda rng: rng.standard_t(2, 600),
        lambda rng: rng.exponential(size=600) * (rng.random(600) < 0.05),
        lambda rng: rng.choice([0.0, 1.0, 1e6], 600),
        lambda rng: np.append(rng.normal(size=5), 1e6),
    ],
)
def test_usual_columns_are_not_warned_of(draw):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for seed in range(20):
            HistogramDensity().fit(draw(np.random.default_rng(seed))[:, None])
    assert not caught


def test_members_of_an_ensemble_warn_once():
    x = np.random.default_rng(0).normal(size=(100, 1))
    x[0] = 1e6
    members = [(name, HistogramDensity(10, alpha=1.0)) for name in "ab"]
    with pytest.warns(UserWarning, match="equal bins") as caught:
        EnsembleDensity(members, random_state=0).fit(x)
    assert len(caught) == 1
