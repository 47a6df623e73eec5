"""Cells of columns: their densities against sums and integrals, their draws against their densities."""

import itertools
from datetime import date

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate

from sklearn_dgm.columns import ColumnSchema
from sklearn_dgm.counts.axes import CategoryAxis, axes_of
from sklearn_dgm.counts.binning import bins_by_column, block_cells, quantile_edges
from sklearn_dgm.counts.blocks import best_partitions
from sklearn_dgm.counts.edges import MAX_LEVELS


def fitted(x, bins="quantiles", weight=None, kind=None, **schema):
    """A column, the cells of its values, and these as they are encoded."""
    X = x if hasattr(x, "columns") else np.asarray(x).reshape(-1, 1)
    kinds = None if kind is None else {0: kind}
    schema = ColumnSchema(missing=True, detect_ties=True, column_kinds=kinds, **schema)
    schema.fit(X, weight)
    Z = schema.encode(X)[0]
    weight = np.ones(len(Z)) if weight is None else weight
    (axis,) = axes_of(schema.columns_, Z, weight, bins)
    return schema.columns_[0], axis, Z[:, 0]


def gamma(n, seed=0):
    return np.random.default_rng(seed).gamma(2.0, size=n)


def atoms_and_more(n=300, seed=0):
    rng = np.random.default_rng(seed)
    return np.where(rng.random(n) < 0.4, rng.choice([0.0, 2.5], n), gamma(n, seed))


NUMBERS = {
    "continuous": (gamma(200), "quantiles"),
    "equal bins": (gamma(200), 7),
    "blocks": (gamma(200), "blocks"),
    "one bin": (gamma(200), 1),
    "edges": (gamma(200), [0.5, 1.0, 4.0]),
    "edges, few inside": (gamma(200), [50.0, 60.0, 70.0]),
    "two rows": (np.array([3.7, 1e6]), "quantiles"),
    "few whole numbers": (np.random.default_rng(0).poisson(3, 100), "quantiles"),
    "many whole numbers": (np.random.default_rng(0).geometric(0.01, 300), "quantiles"),
    "whole numbers, one bin": (np.random.default_rng(0).geometric(0.01, 300), 1),
    "whole numbers, many bins": (np.random.default_rng(0).integers(0, 50, 40), 500),
    "whole numbers, edges": (np.random.default_rng(0).poisson(3, 100), [1.5, 3, 4.2]),
    "rounded": (gamma(300).round(1), "quantiles"),
    "rounded, edges": (gamma(300).round(1), [0.3, 0.7, 2.25]),
    "atoms": (atoms_and_more(), "quantiles"),
    "atoms, edges": (atoms_and_more(), [0.0, 1.0, 2.5, 3.0]),
}
CASES = pytest.mark.parametrize(("x", "bins"), NUMBERS.values(), ids=NUMBERS.keys())


def all_points(axis, z):
    """Points within the outer edges where a density may jump: the edges, and midways between values."""
    values = np.unique(z)
    points = np.concatenate([axis.edges, values[:-1] / 2 + values[1:] / 2])
    return np.unique(points.clip(*axis.edges[[0, -1]]))


def distribution(axis, z, code):
    """Distribution function of the values in a cell, at many points."""
    if axis.whole:
        points = np.arange(axis.edges[0] - 20_000.5, axis.edges[-1] + 20_000.5)
        middles, widths = points, 1.0
    else:
        # Constant between the inner points; exponential beyond, for which the steps are narrow.
        inner, steps = all_points(axis, z), np.expm1(np.linspace(0, 7, 20_001)[1:])
        steps *= (z.max() - z.min() + 1) / 5
        points = np.concatenate([inner[0] - steps[::-1], inner, inner[-1] + steps])
        middles, widths = (points[:-1] + points[1:]) / 2, np.diff(points)
        points = points[1:]
    codes, log_within = axis.encode(middles)
    return points, np.cumsum(np.where(codes == code, np.exp(log_within) * widths, 0.0))


@CASES
def test_the_values_of_each_cell_have_a_mass_of_one(x, bins):
    _, axis, z = fitted(x, bins)
    for code in range(axis.n_levels):
        if code < len(axis.atoms):
            atoms, log_within = axis.encode(axis.atoms)
            assert atoms[code] == code
            assert log_within[code] == 0
        else:
            _, cumulated = distribution(axis, z, code)
            assert cumulated[-1] == pytest.approx(1, abs=1e-4)


@CASES
def test_draws_lie_in_their_cells_and_are_distributed_as_their_densities_say(x, bins):
    _, axis, z = fitted(x, bins)
    n = 2000
    uniforms = np.random.default_rng(0).permutation((np.arange(n) + 0.5) / n)
    for code in range(axis.n_levels):
        drawn = axis.icdf_within(np.full(n, code), uniforms)
        codes, log_within = axis.encode(drawn)
        assert (codes == code).all()
        assert np.isfinite(log_within).all()
        if code < len(axis.atoms):
            assert (drawn == axis.atoms[code]).all()
            continue
        points, cumulated = distribution(axis, z, code)
        empirical = np.searchsorted(np.sort(drawn), points, side="right") / n
        assert np.abs(empirical - cumulated).max() < 2 / n


def test_densities_integrate_to_one_by_quadrature():
    _, axis, z = fitted(gamma(30), 3)
    total, points = 0.0, all_points(axis, z)
    bounds = [-np.inf, *points, np.inf]
    for low, high in itertools.pairwise(bounds):
        total += integrate.quad(lambda t: np.exp(axis.encode(np.array([t]))[1][0]), low, high)[0]
    assert total == pytest.approx(3)


@CASES
def test_any_number_between_zero_and_one_draws_a_value(x, bins):
    _, axis, _ = fitted(x, bins)
    for u in (0.0, 5e-324, np.nextafter(1, 0)):
        codes = np.arange(axis.n_levels)
        drawn = axis.icdf_within(codes, np.full(len(codes), u))
        assert np.isfinite(drawn).all()
        # The edge of a bin may be an atom.
        expected = np.where(np.isin(drawn, axis.atoms), axis.encode(drawn)[0], codes)
        np.testing.assert_array_equal(axis.encode(drawn)[0], expected)


def test_a_bin_holds_pieces_of_what_lies_in_it():
    """As many as Bayesian blocks find; two rows more are spread evenly over the bin."""
    x = np.concatenate([np.linspace(0, 1, 100), np.linspace(1.001, 9, 10)])
    _, axis, _ = fitted(x, [-1.0, 20.0], kind="continuous", standardize=False)
    ((_, cut, _),) = best_partitions([block_cells(x)])
    counts, widths = np.array([(x < cut).sum(), (x > cut).sum()]), np.array([cut + 1, 20 - cut])
    of_each = (counts + 2 * widths / 21) / widths
    scores = np.exp(axis.encode(np.array([0.5, 0.2, 5.0]))[1])
    np.testing.assert_allclose(scores / scores[0], of_each[[0, 0, 1]] / of_each[0])


@pytest.mark.parametrize("bins", [1, 3, "quantiles"])
def test_a_table_of_many_columns_has_the_cells_of_each_alone(bins):
    """Blocks of all bins of all columns are found at once."""
    columns = [gamma(150, seed) for seed in range(5)]
    columns += [gamma(150).round(1), atoms_and_more(150), np.geomspace(1, 1e6, 150)]
    X = np.column_stack(columns)
    X[::7, ::2] = np.nan
    schema = ColumnSchema(missing=True, detect_ties=True).fit(X)
    Z, probes = schema.encode(X)[0], np.linspace(-3, 3, 50)
    for j, axis in enumerate(axes_of(schema.columns_, Z, np.ones(150), bins)):
        _, alone, _ = fitted(X[:, j], bins)
        for mine, its in zip(axis.encode(probes), alone.encode(probes), strict=True):
            np.testing.assert_allclose(mine, its, rtol=1e-12)


def test_values_that_are_neighbours_in_floating_point_have_cells():
    """Halfway between them is one of them."""
    x = np.concatenate([[0.3, 0.1 + 0.2], gamma(60) + 1, [5e-324, 1e-323, 20.0]])
    _, axis, z = fitted(x, 2)
    assert np.isfinite(axis.encode(z)[1]).all()


@pytest.mark.parametrize("n", [2, 97])
def test_the_next_value_lies_beyond_the_others_as_it_would_by_chance(n):
    _, axis, z = fitted(gamma(n), 1)
    points, cumulated = distribution(axis, z, 0)
    low, high = np.interp(axis.edges, points, cumulated)
    np.testing.assert_allclose([low, 1 - high], 1 / (n + 3), atol=1e-4)


@pytest.mark.parametrize("name", NUMBERS)
def test_weights_equal_repeats(name):
    x, bins = NUMBERS[name]
    weight = np.random.default_rng(1).integers(0, 4, len(x)).astype(float)
    weight[0] = 2
    schema = ColumnSchema(missing=True, detect_ties=True).fit(x[:, None])
    Z = schema.encode(x[:, None])[0]
    kept, times = weight > 0, weight.astype(int)
    (weighted,) = axes_of(schema.columns_, Z[kept], weight[kept], bins)
    (repeated,) = axes_of(schema.columns_, np.repeat(Z, times, axis=0), np.ones(sum(times)), bins)
    np.testing.assert_allclose(weighted.edges, repeated.edges)
    probes = np.linspace(Z.min() - 3, Z.max() + 3, 301).round(0 if weighted.whole else 9)
    for mine, its in zip(weighted.encode(probes), repeated.encode(probes), strict=True):
        np.testing.assert_allclose(mine, its, atol=1e-9)


def test_missing_cells_have_no_code_and_no_density():
    for x in (gamma(60), np.arange(60.0) % 7, atoms_and_more()):
        x[3] = np.nan
        _, axis, z = fitted(x)
        codes, log_within = axis.encode(z)
        assert (codes[3], log_within[3]) == (-1, 0)
        assert (np.delete(codes, 3) >= 0).all()
        _, without, _ = fitted(np.delete(x, 3))
        np.testing.assert_allclose(axis.edges, without.edges)


@pytest.mark.parametrize("handle", ["impossible", "rare"])
def test_categories_have_cells_and_unknown_ones_a_share(handle):
    x = np.array(["a", "b", "a", None, "c"], dtype=object)
    column, axis, z = fitted(x, handle_unknown=handle)
    codes, log_within = axis.encode(np.append(z, -1))
    assert codes.tolist() == [0, 1, 0, -1, 2, -1]
    unknown = column.unknown_share
    assert (unknown > 0) == (handle == "rare")
    known = np.log(1 - unknown)
    expected = [known, known, known, 0, known, np.log(unknown) if unknown else -np.inf]
    np.testing.assert_allclose(log_within, expected)
    assert axis.icdf_within(np.array([2, 0]), np.array([0.1, 0.9])).tolist() == [2.0, 0.0]


@pytest.mark.parametrize("bins", ["quantiles", 3, [0.0, 1.0]], ids=str)
def test_a_constant_has_one_cell(bins):
    _, axis, z = fitted(np.full(80, 3.7), bins)
    assert axis.n_levels == 1
    codes, log_within = axis.encode(np.append(z, -1.0))
    assert codes.tolist() == [0] * 80 + [-1]
    assert log_within.tolist() == [0.0] * 80 + [-np.inf]


def test_whole_numbers_of_few_values_have_a_cell_each():
    for span, is_each in ((MAX_LEVELS, True), (MAX_LEVELS + 1, False)):
        x = np.append(np.repeat([5, 4 + span], 40), [9])
        _, axis, _ = fitted(x)
        assert axis.is_one_each == is_each
        assert (axis.n_levels == span) == is_each
    _, axis, _ = fitted(x[:60] * 0 + np.arange(60) % 3, bins=2)
    assert axis.n_levels == 3
    _, axis, z = fitted(np.arange(60) % 3, bins=[0, 2, 5])
    np.testing.assert_array_equal(axis.encode(z)[0], np.arange(60) % 3 >= 2)


def test_fractions_are_impossible_in_a_column_of_whole_numbers():
    _, axis, _ = fitted(np.arange(100))
    assert np.isneginf(axis.encode(np.array([3.5, -1.5, 1e9 + 0.5]))[1]).all()


@pytest.mark.parametrize("step", [0.1, 0.05, 0.3])
def test_edges_on_the_grid_of_a_rounded_column_belong_to_the_bin_above(step):
    k = np.append(3, np.random.default_rng(0).integers(3, 60, 400))
    x = np.array([float(f"{i * step:.2f}") for i in k])
    at = np.unique(k)[1:-1]
    edges = [-step / 2, *(float(f"{i * step:.2f}") for i in at), 100 * step]
    column, axis, z = fitted(x, edges)
    assert column.kind == "rounded"
    np.testing.assert_array_equal(axis.encode(z)[0], np.searchsorted(at, k, side="right"))


def test_bins_are_a_number_a_rule_edges_or_one_of_these_for_each_column():
    X = np.column_stack([gamma(100), gamma(100, 1)])
    schema = ColumnSchema(standardize=False).fit(X)

    def edges(bins):
        return [axis.edges for axis in axes_of(schema.columns_, X, np.ones(100), bins)]

    given = [0.0, 1.0, 9.0]
    for bins, expected in [
        (4, [4, 4]),
        ([3, 5], [3, 5]),
        ((3, np.array(given)), [3, 2]),
        (np.array(given), [2, 2]),
        (given, [2, 2]),
        ("quantiles", [5, 5]),
        ({1: "sqrt"}, [5, 10]),
        ({0: given, 1: 6}, [2, 6]),
    ]:
        assert [len(e) - 1 for e in edges(bins)] == expected
    np.testing.assert_array_equal(edges([given, 5])[0], given)
    np.testing.assert_allclose(edges(4)[1], np.linspace(X[:, 1].min(), X[:, 1].max(), 5))


@pytest.mark.parametrize(
    ("x", "bins", "message"),
    [
        (gamma(60), "quantile", "column 'x': bins='quantile' is no rule"),
        (np.arange(60) % 5, "quantile", "column 'x': bins='quantile' is no rule"),
        (np.arange(60) % 5, {"x": 0}, "column 'x': bins=0"),
        (gamma(60), {"x": True}, "column 'x': bins=True"),
        (gamma(60), [None], "column 'x': bins=None"),
        (gamma(60), {"x": [1.0, 0.0]}, "column 'x': .*increasing"),
        (gamma(60), {"x": [0.0, np.inf]}, "column 'x': .*finite"),
        (gamma(60), {"z": 5}, "bins names 'z', which is not a column"),
        (gamma(60), {1: 5}, "bins names 1, which is not a column"),
        (gamma(60), ["fd", "fd"], "bins has 2 entries, but X has 1 columns"),
        (np.arange(60), {"x": [0.2, 0.3, 0.9]}, "column 'x': no value that .* edges of bins"),
        (np.array(list("ab") * 9), {"x": 4}, "column 'x': it is categorical and takes no bins"),
        (pd.date_range("2020-01-01", periods=60), {"x": [0, 10]}, "column 'x': .* are times"),
        (pd.date_range("2020-01-01", periods=60), {"x": ["May", "?"]}, "column 'x': bins=.'May'"),
    ],
)
def test_errors_name_the_column_and_the_parameter(x, bins, message):
    with pytest.raises(ValueError, match=message):
        fitted(pd.DataFrame({"x": x}), bins)


def test_a_dict_names_columns_by_label_or_by_index():
    labels, takes = ["a", "b", 2], [True, False, True]
    assert bins_by_column({"a": 3, 1: 4}, labels, takes, 9) == [3, 4, 9]
    assert bins_by_column({2: 5}, labels, takes, 9) == [9, None, 5]
    assert bins_by_column({}, labels, takes, 9) == [9, None, 9]
    assert bins_by_column("fd", labels, takes, 9) == ["fd", None, "fd"]
    assert bins_by_column([1.0, 2.0], labels, takes, 9) == [[1.0, 2.0], None, [1.0, 2.0]]
    for bins in ([3, "fd"], ["fd"] * 4):
        with pytest.raises(ValueError, match="bins has . entries, but X has 3 columns"):
            bins_by_column(bins, labels, takes, 9)


def test_edges_of_times_have_a_zone_where_the_cells_have_one():
    naive = pd.DataFrame({"x": pd.date_range("2020-01-01", periods=60, freq="17h")})
    aware = naive.apply(lambda x: x.dt.tz_localize("Asia/Tokyo"))
    cuts = pd.to_datetime(["2019-12-31", "2020-01-15", "2020-03-01"])
    for table, edges in ((aware, cuts), (aware, ["2019-12-31"]), (naive, cuts.tz_localize("UTC"))):
        with pytest.raises(ValueError, match="column 'x': bins=.*expected edges that are times"):
            fitted(table, {"x": edges})
    codes = []
    for table, edges in ((aware, cuts.tz_localize("Asia/Tokyo")), (naive, cuts)):
        _, axis, z = fitted(table, {"x": list(edges)})
        codes.append(axis.encode(z)[0])
    np.testing.assert_array_equal(*codes)


WHEN = pd.date_range("2020-01-01", periods=60, freq="17h")
CUTS = ["2019-12-31", "2020-01-15", "2020-03-01"]


@pytest.mark.parametrize(
    ("x", "edges"),
    [
        (pd.DataFrame({"t": WHEN}), CUTS),
        (pd.DataFrame({"t": WHEN}), np.array(CUTS, dtype="M8[D]")),
        (pd.DataFrame({"t": WHEN}), list(pd.to_datetime(CUTS))),
        (pl.DataFrame({"t": WHEN.to_numpy()}), pd.to_datetime(CUTS)),
        (pl.DataFrame({"t": WHEN.to_numpy()}), [date.fromisoformat(cut) for cut in CUTS]),
        (pd.DataFrame({"t": WHEN - WHEN[0]}), pd.to_datetime(CUTS) - WHEN[0]),
    ],
)
def test_times_are_cut_at_times(x, edges):
    _, axis, z = fitted(x, {"t": edges})
    codes, log_within = axis.encode(z)
    np.testing.assert_array_equal(codes, pd.to_datetime(CUTS[1]) <= WHEN)
    assert np.isfinite(log_within).all()
    _, axis, z = fitted(x)
    assert np.bincount(axis.encode(z)[0]).tolist() == [15] * 4


# Bins of equal weight.

weighted_values = st.lists(
    st.tuples(st.integers(-30, 30), st.integers(1, 4)), min_size=1, max_size=80
)


@settings(deadline=None, max_examples=150)
@given(weighted_values, st.randoms(use_true_random=False))
def test_bins_of_equal_weight(rows, random):
    x, weight = np.array(rows, dtype=float).T
    edges = quantile_edges(x, weight)
    assert (np.diff(edges) > 0).all()
    np.testing.assert_array_equal(edges, quantile_edges(np.repeat(x, weight.astype(int))))
    random.shuffle(rows)
    np.testing.assert_array_equal(edges, quantile_edges(*np.array(rows, dtype=float).T))
    inside, _ = np.histogram(x, edges, weights=weight)
    assert inside.sum() == weight.sum()
    assert (inside > 0).all()
    n_bins = max(round(weight.sum() ** (1 / 3)), 1)
    assert len(inside) <= n_bins
    # A bin is too heavy, or too light, by the weight of one value at most.
    heaviest = max(weight[x == value].sum() for value in x)
    assert inside.max() <= weight.sum() / n_bins + heaviest
    if heaviest < weight.sum() / n_bins:
        assert len(inside) == n_bins
        assert inside.min() >= weight.sum() / n_bins - heaviest


def test_bins_of_equal_weight_are_as_many_as_the_cube_root_of_the_rows():
    x = gamma(1000)
    edges = quantile_edges(x)
    assert np.histogram(x, edges)[0].tolist() == [100] * 10
    np.testing.assert_allclose(edges, np.quantile(x, np.linspace(0, 1, 11)), rtol=0.05)


def test_a_category_axis_has_no_unknown_ones_by_default():
    assert np.isneginf(CategoryAxis(3).encode(np.array([-1.0]))[1]).all()


@pytest.mark.parametrize("bounds", [False, {0: (-3, 80)}])
@pytest.mark.parametrize("bins", ["quantiles", 1])
@pytest.mark.parametrize("x", [gamma(300), np.rint(gamma(300) * 9).astype(int)])
def test_means_within_cells_are_those_of_their_draws(x, bins, bounds):
    schema = ColumnSchema(detect_ties=True, missing=True, bounds=bounds).fit(x[:, None])
    Z = schema.encode(x[:, None])[0]
    axis = axes_of(schema.columns_, Z, np.ones(len(x)), bins)[0]
    uniforms = (np.arange(200_000) + 0.5) / 200_000
    for code, mean in enumerate(axis.mean_within()):
        drawn = axis.icdf_within(np.full(len(uniforms), code), uniforms)
        assert mean == pytest.approx(drawn.mean(), abs=2e-3 * max(drawn.std(), 1))


def test_whole_numbers_that_many_share_have_a_piece_each():
    rng = np.random.default_rng(0)
    x = np.where(rng.random(2000) < 0.9, 100 * rng.poisson(30, 2000), rng.integers(0, 6000, 2000))
    _, axis, z = fitted(x, kind="integer")
    every = np.arange(-20_000.0, 30_000.0)
    codes, log_within = axis.encode(every)
    share = np.bincount(axis.encode(z)[0], minlength=axis.n_levels) / len(z)
    p = share[codes] * np.exp(log_within)
    assert p.sum() == pytest.approx(1.0, abs=1e-3)
    values, counts = np.unique(z, return_counts=True)
    frequent = counts > 20
    assert frequent.sum() > 10
    found = p[(values[frequent] - every[0]).astype(int)]
    np.testing.assert_allclose(found, counts[frequent] / len(z), rtol=0.25)
    # The numbers beside have what is left.
    beside = p[(values[frequent] + 1 - every[0]).astype(int)]
    assert beside.max() < 0.05 * found.min()
    # Nor does a piece of one number say how far others reach.
    assert np.log(p[np.searchsorted(every, z.max() * 1.2)]) > -40


@pytest.mark.parametrize("n", [200, 1500])
def test_whole_numbers_seen_once_have_no_piece_each(n):
    x = np.floor(1e8 * np.random.default_rng(n).gamma(4.0, size=n + 1000))
    log_p = {}
    for kind in ("integer", "continuous"):
        column, axis, z = fitted(x[:n], kind=kind)
        codes, log_within = axis.encode((x[n:] - column.location) / column.scale)
        share = np.bincount(axis.encode(z)[0], minlength=axis.n_levels) / n
        log_p[kind] = np.mean(np.log(share[codes]) + log_within) - np.log(column.scale)
    # A whole number more or less tells nothing where they are this many.
    assert log_p["integer"] == pytest.approx(log_p["continuous"], abs=0.1)
