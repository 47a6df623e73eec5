"""Tables as users have them: missing cells, times, rounded and partly discrete columns, and what is said of them."""

import datetime
from collections import Counter

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_diabetes, load_iris, load_wine

from sklearn_dgm import AutoregressiveDensity, MarkovChainDensity
from sklearn_dgm.columns import (
    CATEGORICAL,
    CONTINUOUS,
    INTEGER,
    MIXED,
    ROUNDED,
    ColumnSchema,
    ImageSchema,
)


def holes_in_pandas():
    when = pd.to_datetime(["2020-01-01 10:11:12", None, "2021-03-01"], format="ISO8601")
    return pd.DataFrame(
        {
            "whole": pd.array([1, None, 3], dtype="Int64"),
            "real": pd.array([1.5, None, 3], dtype="Float64"),
            "flag": pd.array([True, None, False], dtype="boolean"),
            "city": ["Rome", None, "Oslo"],
            "grade": pd.Categorical(["b", None, "a"], categories=["c", "b", "a"]),
            "when": when,
            "seconds": when.astype("datetime64[s]"),
            "there": when.tz_localize("Europe/Rome"),
            "wait": pd.to_timedelta(["1s", None, "2D"]),
            "x": [np.nan, 1.0, 2.0],
        }
    )


def holes_in_polars():
    day = datetime.date
    return pl.DataFrame(
        {
            "whole": [1, None, 3],
            "real": [1.5, None, 2.5],
            "flag": [True, None, False],
            "city": ["Rome", None, "Oslo"],
            "day": [day(2020, 2, 28), None, day(2020, 3, 1)],
        }
    ).with_columns(
        pl.Series("grade", ["b", None, "a"], dtype=pl.Enum(["c", "b", "a"])),
        pl.Series("kind", ["b", None, "a"], dtype=pl.Categorical),
        pl.Series("when", [0, None, 86_400_123], dtype=pl.Int64).cast(
            pl.Datetime("ms", "Asia/Tokyo")
        ),
        pl.Series("wait", [0, None, 10**9 + 7], dtype=pl.Int64).cast(pl.Duration("ns")),
    )


def test_a_pandas_frame_with_holes_comes_back():
    frame = holes_in_pandas()
    schema = ColumnSchema(missing=True).fit(frame)
    Z, log_det = schema.encode(frame)
    np.testing.assert_array_equal(np.isnan(Z), frame.isna().to_numpy())
    assert (schema.log_det_features(Z)[np.isnan(Z)] == 0).all()
    np.testing.assert_allclose(log_det, np.where(np.isnan(Z), 0, schema.log_det_).sum(axis=1))
    pd.testing.assert_frame_equal(schema.decode(Z), frame)


def test_a_polars_frame_with_holes_comes_back():
    frame = holes_in_polars()
    schema = ColumnSchema(missing=True).fit(frame)
    Z, _ = schema.encode(frame)
    assert np.isnan(Z[1]).all()
    assert not np.isnan(Z[[0, 2]]).any()
    back = schema.decode(Z)
    assert back.schema == frame.schema
    assert back.equals(frame)
    assert schema.columns_[5].categories.tolist() == ["c", "b", "a"]
    # NaN is no less missing than null, and a row of nulls need not have dtypes.
    assert np.isnan(schema.encode(frame.with_columns(real=pl.lit(float("nan"))))[0][:, 1]).all()
    nothing = frame.with_columns(pl.lit(None).alias(label) for label in frame.columns)
    assert np.isnan(schema.encode(nothing)[0]).all()


@pytest.mark.parametrize("frame", [holes_in_pandas(), holes_in_polars()], ids=["pandas", "polars"])
def test_missing_cells_are_refused_by_name(frame):
    for label in frame.columns:
        row = 0 if label == "x" else 1
        with pytest.raises(
            ValueError, match=f"NaN in column '{label}', row {row} .a missing value"
        ):
            ColumnSchema().fit(frame[[label]])


def test_arrays_with_holes_come_back():
    X = np.array([[1.0, np.nan], [3.0, 5.0], [np.nan, np.nan]])
    for dtype in ("f4", "f8"):
        schema = ColumnSchema(missing=True).fit(X.astype(dtype))
        Z, log_det = schema.encode(X.astype(dtype))
        np.testing.assert_array_equal(Z, [[-1, np.nan], [1, 0], [np.nan, np.nan]])
        of_cells = np.where(np.isnan(X), 0, schema.log_det_)
        np.testing.assert_array_equal(schema.log_det_features(Z), of_cells)
        np.testing.assert_array_equal(log_det, of_cells.sum(axis=1))
        back = schema.decode(Z)
        assert back.dtype == dtype
        np.testing.assert_array_equal(back, X.astype(dtype))
    X = np.array([["a", 1.5], [None, pd.NA], ["b", np.nan], [np.nan, 2.5]], dtype=object)
    schema = ColumnSchema(missing=True).fit(X)
    back = schema.decode(schema.encode(X)[0])
    np.testing.assert_array_equal(pd.isna(back), pd.isna(X))
    assert back[[0, 2], 0].tolist() == ["a", "b"]


def test_what_is_learnt_is_that_of_the_observed_cells():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=80), "s": rng.choice(list("abc"), 80)})
    weight = rng.integers(0, 4, 80)
    holes = frame.copy()
    hidden = {label: rng.random(80) < 0.3 for label in frame}
    for label, at in hidden.items():
        holes.loc[at, label] = None
    schema = ColumnSchema(missing=True, handle_unknown="rare").fit(holes, weight)
    for column in schema.columns_:
        kept = ~hidden[column.label]
        alone = ColumnSchema(handle_unknown="rare").fit(
            frame.loc[kept, [column.label]], weight[kept]
        )
        expected = alone.columns_[0]
        for name in ("kind", "location", "scale", "low", "high", "unknown_share"):
            assert getattr(column, name) == getattr(expected, name)
        assert column.missing_share == pytest.approx(weight[~kept].sum() / weight.sum())


def test_infinity_is_refused():
    frame = pd.DataFrame({"x": [1.0, np.nan, 2.0], "y": [np.nan, np.nan, 3.0]})
    schema = ColumnSchema(missing=True).fit(frame)
    infinite = frame.assign(y=[np.inf, np.nan, 1.0])
    for call in (schema.fit, ColumnSchema(missing=True).fit(frame).encode):
        with pytest.raises(ValueError, match=r"inf.* column 'y', row 0"):
            call(infinite)
        with pytest.raises(ValueError, match=r"inf.* column '?[y1]'?, row 0"):
            call(infinite.to_numpy())


QUICK = {"max_epochs": 2, "n_orders": 1, "early_stopping": False, "random_state": 0}


def tables_with_an_empty_column():
    frame = pd.DataFrame({"x": np.linspace(0, 1, 40) ** 2, "y": np.nan, "z": ["a", None] * 20})
    return {
        "floats": frame,
        "objects": frame.assign(y=None),
        "integers": frame.assign(y=pd.array([pd.NA] * 40, dtype="Int64")),
        "categories": frame.assign(y=pd.Categorical([None] * 40, ["b"])),
        "times": frame.assign(y=pd.to_datetime([None] * 40)),
        "periods, refused": frame.assign(y=pd.array([None] * 40, dtype="period[D]")),
        **{
            f"polars {dtype}": pl.DataFrame(
                {
                    "x": frame["x"].to_numpy(),
                    "y": pl.Series([None] * 40, dtype=dtype),
                    "z": list("ab") * 20,
                }
            )
            for dtype in (pl.Null, pl.Float64, pl.Int8, pl.Categorical, pl.Enum(["b"]), pl.Date)
        },
        "array": frame[["x", "y"]].to_numpy(),
    }


def test_a_warm_start_draws_the_columns_that_had_values_before():
    frame = tables_with_an_empty_column()["floats"]
    density = AutoregressiveDensity(**QUICK, warm_start=True).fit(frame.assign(y=frame["x"]))
    drawn = density.fit(frame).sample(50, random_state=0)
    assert drawn["y"].notna().all()
    assert drawn["y"].between(frame["x"].min() - 9, frame["x"].max() + 9).all()


@pytest.mark.parametrize("of", tables_with_an_empty_column())
def test_a_column_without_values_is_a_constant_one(of):
    table = tables_with_an_empty_column()[of]
    if of.endswith("refused"):
        with pytest.raises(TypeError, match="column 'y' has dtype period"):
            ColumnSchema(missing=True).fit(table)
        return
    density = AutoregressiveDensity(**QUICK).fit(table)
    assert "no value" in repr(density.schema_)
    without = table[:, :1] if of == "array" else table[["x", "z"]]
    alone = density.marginal([0] if of == "array" else ["x", "z"])
    scores = density.score_samples(table)
    assert np.isfinite(scores).all()
    np.testing.assert_allclose(scores, alone.score_samples(without))
    answers = (density.conditional_sample, density.conditional_mean, density.conditional_mode)
    for drawn in (density.sample(5, random_state=0), *(answer(table) for answer in answers)):
        y = drawn[:, 1] if of == "array" else drawn["y"]
        assert all(value is None or pd.isna(value) for value in list(y))
        if of.startswith("polars"):
            assert drawn.schema == table.schema
        elif of != "array":
            assert (drawn.dtypes == table.dtypes).all()


def test_a_value_in_a_column_without_any_is_an_unknown_category():
    frame = tables_with_an_empty_column()["floats"]
    other = frame.head(3).assign(y=[np.nan, 1.0, np.nan])
    scores = AutoregressiveDensity(**QUICK).fit(frame).score_samples(other)
    assert np.isneginf(scores).tolist() == [False, True, False]
    rare = AutoregressiveDensity(**QUICK, handle_unknown="rare").fit(frame)
    scores = rare.score_samples(other)
    assert np.isfinite(scores).all()
    assert scores[1] - scores[0] < -3
    with pytest.raises(ValueError, match=r"column 'y' holds 1.0 in row 1"):
        AutoregressiveDensity(**QUICK, handle_unknown="error").fit(frame).score_samples(other)
    times = tables_with_an_empty_column()["times"]
    late = times.head(2).assign(y=pd.to_datetime(["2020-01-01", None]))
    scores = AutoregressiveDensity(**QUICK).fit(times).score_samples(late)
    assert np.isneginf(scores).tolist() == [True, False]
    some = np.r_[np.ones(10), np.zeros(30)]
    rare = [
        ColumnSchema(missing=True, handle_unknown="rare").fit(*of).columns_[1].unknown_share
        for of in ((frame, some), (frame.head(10),))
    ]
    assert rare[0] == rare[1] > 0
    weight = np.r_[0.0, np.ones(39)]
    schema = ColumnSchema(missing=True).fit(frame.assign(y=[3.0] + [np.nan] * 39), weight)
    assert schema.columns_[1].empty
    with pytest.raises(ValueError, match="column 'y', row 0"):
        ColumnSchema().fit(frame)


@pytest.mark.parametrize(
    "table",
    [
        np.array([[1, 2], [3, 4]]),
        np.array([["a"], ["b"]]),
        pd.DataFrame({"n": [1, 2]}),
        pd.DataFrame({"flag": [True, False]}),
    ],
)
def test_what_cannot_hold_a_missing_cell_says_so(table):
    schema = ColumnSchema(missing=True).fit(table)
    with pytest.raises(
        ValueError, match="column '?(0|n|flag)'? has dtype .* cannot hold a missing"
    ):
        schema.decode(np.full((1, table.shape[1]), np.nan))


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
def test_times_of_any_unit_and_zone(unit, zone):
    when = pd.Series(
        pd.to_datetime(
            ["1969-12-31 23:59:58", "2024-03-10 12:00", "2024-11-03 05:30"], format="ISO8601"
        )
    )
    when = when.dt.as_unit(unit).dt.tz_localize(zone)
    frame = pd.DataFrame({"when": when})
    schema = ColumnSchema().fit(frame)
    assert schema.kinds_.tolist() == [CONTINUOUS]
    Z, log_det = schema.encode(frame)
    elapsed = (when - when.min()).dt.total_seconds().to_numpy()
    np.testing.assert_allclose(Z[:, 0], (elapsed - elapsed.mean()) / elapsed.std())
    assert log_det[0] == pytest.approx(-np.log(elapsed.std()))
    back = schema.decode(Z)["when"]
    assert back.dtype == when.dtype
    # 55 years in float64 are known to a microsecond.
    assert (back - when).abs().max() <= pd.Timedelta("1us")


def test_dates_are_days():
    days = np.array([["2020-02-28"], ["2020-03-01"], ["2020-03-05"]], dtype="M8[D]")
    for table in (days, pl.DataFrame({"day": days[:, 0]})):
        schema = ColumnSchema().fit(table)
        column = schema.columns_[0]
        assert (column.low, column.high) == (0, 6)
        assert column.location == pytest.approx(8 / 3)
        back = schema.decode(schema.encode(table)[0])
        np.testing.assert_array_equal(np.asarray(back).ravel(), days.ravel())
        # Without standardisation they are counted from 1970, whatever the rows.
        assert ColumnSchema(standardize=False).fit(table).encode(table)[0][1, 0] == 18322
    months = days.astype("M8[M]")
    schema = ColumnSchema(missing=True).fit(months)
    np.testing.assert_array_equal(schema.decode(schema.encode(months)[0]), months)
    assert np.isnat(schema.decode(np.array([[np.nan]])))[0, 0]


def test_times_and_numbers_are_not_mistaken_for_each_other():
    times = pd.DataFrame({"x": pd.to_datetime(["2020-01-01", "2021-01-01"])})
    numbers = pd.DataFrame({"x": [1.0, 2.0]})
    with pytest.raises(ValueError, match="'x' held times .* in fit .*, but now holds numbers"):
        ColumnSchema().fit(times).encode(numbers)
    with pytest.raises(ValueError, match="'x' held numbers in fit .*, but now holds times"):
        ColumnSchema().fit(numbers).encode(times)
    # Another unit or zone is the same time.
    zoned = times.assign(x=times["x"].dt.tz_localize("UTC"))
    schema = ColumnSchema().fit(zoned)
    same = times.assign(x=zoned["x"].dt.tz_convert("Asia/Tokyo").dt.as_unit("ns"))
    np.testing.assert_array_equal(schema.encode(same)[0], schema.encode(zoned)[0])


def test_times_may_be_categories_or_counts():
    days = pd.DataFrame({"x": pd.to_datetime(["2021-01-01", "2020-01-01", "2021-01-01"])})
    for kind in (CATEGORICAL, INTEGER):
        schema = ColumnSchema(column_kinds={"x": kind}).fit(days)
        assert schema.kinds_.tolist() == [kind]
        pd.testing.assert_frame_equal(schema.decode(schema.encode(days)[0]), days)


def test_what_times_cannot_hold_is_clipped():
    schema = ColumnSchema().fit(pd.DataFrame({"x": pd.to_datetime(["2020-01-01", "2020-01-02"])}))
    far = schema.decode(np.array([[1e300], [-1e300]]))["x"]
    assert far[0] > pd.Timestamp("2100-01-01") > pd.Timestamp("1800-01-01") > far[1]
    schema = ColumnSchema().fit(pl.DataFrame({"x": [datetime.date(2020, 1, 1)]}))
    assert schema.decode(np.array([[1e300], [-1e300]]))["x"].null_count() == 0


def with_labels(x, seed=0):
    """A table that tells its rows apart by a second column."""
    return np.column_stack([x, np.random.default_rng(seed).normal(size=len(x))])


def detected(x, **parameters):
    X = with_labels(x)
    return ColumnSchema(detect_ties=True, **parameters).fit(X).columns_[0]


@pytest.mark.parametrize("resolution", [0.01, 0.1, 0.25, 0.5, 1, 5, 100, 1 / 3])
@pytest.mark.parametrize("shift", [0, -17, 1000])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_the_resolution_is_found(resolution, shift, dtype):
    k = np.random.default_rng(0).poisson(30, 600)
    x = (np.round(k * resolution, 10) + shift).astype(dtype).astype(float)
    column = detected(x)
    assert column.kind == ROUNDED
    assert column.resolution == pytest.approx(resolution, rel=1e-4)
    assert column.scale == column.resolution
    assert column.location == column.low == x.min()
    assert column.high == x.max()


@pytest.mark.parametrize("resolution", [0.1, 0.01, 1])
def test_the_resolution_is_found_after_centring(resolution):
    x = (
        np.round(np.random.default_rng(0).normal(50, 12 * resolution, 900) / resolution)
        * resolution
    )
    for centred in (
        x - x.mean(),
        (x - x.mean()) / x.std(),
        (x - x.mean()).astype("f4").astype(float),
    ):
        column = detected(centred)
        expected = resolution / (x.std() if np.isclose(centred.std(), 1, atol=1e-9) else 1)
        assert column.kind == ROUNDED
        assert column.resolution == pytest.approx(expected, rel=1e-3)


def test_cells_are_counted_from_the_lowest():
    x = np.round(np.random.default_rng(0).normal(20, 1, 300), 1)
    X = with_labels(x)
    schema = ColumnSchema(detect_ties=True).fit(X)
    Z = schema.encode(X)[0]
    np.testing.assert_array_equal(
        Z[:, 0], [int(f"{v:.1f}".replace(".", "")) - round(10 * x.min()) for v in x]
    )
    assert schema.log_det_features(Z)[0] == pytest.approx(np.log(10))
    # The very floats come back, those that no row has included.
    np.testing.assert_array_equal(schema.decode(Z)[:, 0], x)
    cells = np.arange(-50, 200.0)
    back = schema.decode(np.column_stack([cells, cells]))[:, 0]
    assert back.tolist() == [float(f"{x.min() + 0.1 * c:.1f}") for c in cells]
    off = schema.encode(np.array([[x.min() + 0.149, 0], [x.min() - 0.151, 0]]))[0][:, 0]
    assert off.tolist() == [1, -2]


def test_values_come_back_that_no_decimals_describe():
    rng = np.random.default_rng(0)
    x = (np.round(rng.normal(size=500), 1) - 0.123456789) / 0.7
    X = with_labels(x).astype("f4")
    for table in (X, X.astype("f8"), with_labels(x)):
        schema = ColumnSchema(detect_ties=True).fit(table)
        assert schema.kinds_[0] == ROUNDED
        np.testing.assert_array_equal(schema.decode(schema.encode(table)[0])[:, 0], table[:, 0])


def test_a_few_values_off_the_grid_do_not_undo_it():
    x = np.round(np.random.default_rng(0).normal(10, 1, 1000), 1)
    tenths = np.rint(10 * x)
    x[::200] += [0.0333, 0.0271, -0.0123, 0.041, 0.0077]
    schema = ColumnSchema(detect_ties=True).fit(with_labels(x))
    assert schema.columns_[0].resolution == 0.1
    Z, _ = schema.encode(with_labels(x))
    np.testing.assert_array_equal(Z[:, 0], tenths - tenths.min())


def test_one_heavy_value_leaves_a_column_rounded():
    rng = np.random.default_rng(0)
    x = np.where(rng.random(1000) < 0.5, 0, np.round(rng.normal(5, 1, 1000), 1))
    assert detected(x).kind == ROUNDED


def test_atoms_are_found():
    rng = np.random.default_rng(0)
    x = rng.gamma(2, 2, 1000)
    x[rng.random(1000) < 0.4] = 0
    x = np.minimum(x, 8.5)
    column = detected(x)
    assert column.kind == MIXED
    assert column.atoms.tolist() == [0, 8.5]
    np.testing.assert_allclose(column.atom_shares, [np.mean(x == 0), np.mean(x == 8.5)])
    assert (column.location, column.scale) == pytest.approx((x.mean(), x.std()))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_atoms_are_the_same_bit_for_bit(dtype):
    rng = np.random.default_rng(0)
    x = np.where(rng.random(500) < 0.3, 0.1, rng.normal(size=500))
    x[:100] = -1.7
    X = with_labels(x).astype(dtype)
    schema = ColumnSchema(detect_ties=True).fit(X)
    column = schema.columns_[0]
    for table in (X, pd.DataFrame(X, columns=["0", "1"]), X.astype(object)):
        schema_of_table = ColumnSchema(detect_ties=True).fit(table)
        Z = schema_of_table.encode(table)[0]
        log_det = schema_of_table.log_det_features(Z)
        for atom, z in zip(column.atoms, column.encoded_atoms, strict=True):
            np.testing.assert_array_equal(Z[:, 0] == z, X[:, 0] == atom)
        at_atom = np.isin(X[:, 0], column.atoms)
        np.testing.assert_array_equal(log_det[at_atom, 0], 0)
        np.testing.assert_allclose(log_det[~at_atom, 0], -np.log(column.scale))
        back = np.asarray(schema_of_table.decode(Z))[:, 0].astype(dtype)
        np.testing.assert_array_equal(np.isin(back, column.atoms), at_atom)
    none = X[~np.isin(X[:, 0], column.atoms)]
    assert schema.log_det_features(schema.encode(none)[0]).shape == (2,)


def test_values_without_a_grid_are_atoms():
    x = np.random.default_rng(0).choice([0.0, 1.0, np.sqrt(2), np.pi, 17.3421], 400)
    column = detected(x)
    assert column.kind == MIXED
    assert column.atoms.tolist() == sorted({*x})


def test_a_fine_grid_of_few_values_is_none():
    x = np.random.default_rng(0).choice([0.0, 0.3712, 1.9107, 77.1139], 400)
    assert detected(x).kind == MIXED


@pytest.mark.parametrize("draw", ["normal", "standard_cauchy", "exponential", "random"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("n", [60, 2000])
def test_continuous_columns_stay_continuous(draw, dtype, n):
    rng = np.random.default_rng(0)
    X = getattr(rng, draw)(size=(n, 3)).astype(dtype)
    bootstrap = X[rng.integers(0, n, n)]
    repeated = np.repeat(X, rng.integers(1, 30, n), axis=0)
    heavy = np.concatenate([X, np.repeat(X[:1], n, axis=0)])
    for table in (X, bootstrap, repeated, heavy):
        assert set(ColumnSchema(detect_ties=True).fit(table).kinds_) == {CONTINUOUS}
    for table in (bootstrap, repeated):  # alone no other column tells the rows apart
        assert ColumnSchema(detect_ties=True).fit(table[:, :1]).kinds_.tolist() == [CONTINUOUS]


def test_columns_beside_few_categories_are_understood_too():
    rng = np.random.default_rng(0)
    zeros = np.where(rng.random(400) < 0.6, 0, rng.normal(size=400))
    rounded = np.round(rng.normal(size=400), 1)
    for extra in ({}, {"c": rng.choice(["a", "b"], 400)}):
        for x, kind in ((zeros, MIXED), (rounded, ROUNDED)):
            frame = pd.DataFrame({"x": x, **extra})
            assert ColumnSchema(detect_ties=True).fit(frame).kinds_[0] == kind


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("pair", [(0.0, 1.0), (0.0, 255.0), (-0.4242, 2.821)])
@pytest.mark.parametrize("share", [0.02, 0.5])
def test_two_values_of_a_column_with_none_beside_it_are_a_grid(dtype, pair, share):
    low, high = np.array(pair, dtype)
    x = np.where(np.arange(100) < 100 * share, high, low)
    with_gap = x.copy()
    with_gap[50] = np.nan
    beside_a_constant = np.column_stack([x, np.full_like(x, 7)])
    tables = [(ColumnSchema, X) for X in (x[:, None], with_gap[:, None], beside_a_constant)]
    images = [(ImageSchema, X.reshape(25, 4)) for X in (x, with_gap)]
    for schema, X in tables + images:
        column = schema(missing=True, detect_ties=True).fit(X).columns_[0]
        assert column.kind == ROUNDED
        assert column.resolution == pytest.approx(pair[1] - pair[0], rel=1e-6)


@pytest.mark.parametrize(
    "density",
    [
        AutoregressiveDensity((4,), n_orders=1, max_epochs=2, random_state=0),
        MarkovChainDensity(order=1, length="given"),
    ],
)
def test_two_values_alone_have_probabilities(density):
    x = np.repeat([0.0, 1.0], [30, 70])
    X, ends = x[:, None], np.array([[0.0], [1.0]])
    is_sequence = isinstance(density, MarkovChainDensity)
    density.fit(list(X) if is_sequence else X)
    scores = density.score_samples(list(ends) if is_sequence else ends)
    assert np.exp(scores).sum() == pytest.approx(1, abs=0.02)


def test_what_is_detected_is_that_of_repeated_rows():
    rng = np.random.default_rng(0)
    X = np.column_stack(
        [
            rng.normal(size=300),
            np.round(rng.normal(size=300), 1),
            np.where(rng.random(300) < 0.2, 0, rng.normal(size=300)),
        ]
    )
    weight = rng.integers(0, 4, 300)
    weighted = ColumnSchema(detect_ties=True).fit(X, weight).columns_
    repeated = ColumnSchema(detect_ties=True).fit(np.repeat(X, weight, axis=0)).columns_
    for a, b in zip(weighted, repeated, strict=True):
        assert (a.kind, a.resolution) == (b.kind, b.resolution)
    np.testing.assert_array_equal(weighted[2].atoms, repeated[2].atoms)
    np.testing.assert_allclose(weighted[2].atom_shares, repeated[2].atom_shares)


def test_small_tables_are_left_alone():
    x = np.round(np.random.default_rng(0).normal(size=50), 0)
    assert detected(x).kind == ROUNDED
    assert detected(x[:49]).kind == CONTINUOUS
    assert ColumnSchema().fit(with_labels(x)).kinds_.tolist() == [CONTINUOUS] * 2


def test_long_tables_are_looked_at_in_part():
    rng = np.random.default_rng(0)
    X = np.column_stack([np.round(rng.normal(size=120_000), 1), rng.normal(size=120_000)])
    schema = ColumnSchema(detect_ties=True).fit(X)
    assert schema.kinds_.tolist() == [ROUNDED, CONTINUOUS]
    np.testing.assert_array_equal(schema.decode(schema.encode(X)[0])[:, 0], X[:, 0])


def test_dates_are_rounded_to_days_and_come_back():
    rng = np.random.default_rng(0)
    when = pd.Timestamp("2020-03-01 06:00", tz="Europe/Rome") + pd.to_timedelta(
        rng.integers(0, 20, 300), unit="D"
    )
    frame = pd.DataFrame({"when": when, "x": rng.normal(size=300)})
    frame.loc[::7, "when"] = None
    schema = ColumnSchema(detect_ties=True, missing=True).fit(frame)
    column = schema.columns_[0]
    # Summer time begins in between.
    assert (column.kind, column.resolution % 3600) == (ROUNDED, 0)
    back = schema.decode(schema.encode(frame)[0])
    pd.testing.assert_series_equal(back["when"], frame["when"])
    days = pl.DataFrame({"day": list(when.date), "x": frame["x"].to_numpy()})
    schema = ColumnSchema(detect_ties=True).fit(days)
    assert schema.columns_[0].resolution == 1
    assert schema.decode(schema.encode(days)[0])["day"].equals(days["day"])


def test_real_columns():
    kinds = {
        name: ColumnSchema(detect_ties=True).fit(load(as_frame=True).data)
        for name, load in (("iris", load_iris), ("wine", load_wine), ("diabetes", load_diabetes))
    }
    assert [c.resolution for c in kinds["iris"].columns_] == [0.1] * 4
    wine = {c.label: c for c in kinds["wine"].columns_}
    assert wine["magnesium"].resolution == 1
    assert wine["alcalinity_of_ash"].resolution == 0.1
    diabetes = {c.label: c for c in kinds["diabetes"].columns_}
    assert diabetes["sex"].kind == ROUNDED
    raw = load_diabetes(as_frame=True, scaled=False).data
    # Scaled or not, the ages are whole years.
    assert diabetes["age"].kind == ROUNDED
    n_years = (diabetes["age"].high - diabetes["age"].low) / diabetes["age"].resolution
    assert n_years == pytest.approx(raw["age"].max() - raw["age"].min())


def test_chosen_kinds_come_before_all_else():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "x": np.round(rng.normal(size=80), 1),
            "n": rng.integers(0, 5, 80),
            "z": np.where(rng.random(80) < 0.5, 0, rng.normal(size=80)),
            "c": rng.integers(0, 3, 80),
        }
    )
    chosen = {"x": CONTINUOUS, 1: ROUNDED, "z": MIXED, "c": CATEGORICAL}
    schema = ColumnSchema(integer_features=["c"], detect_ties=True, column_kinds=chosen).fit(frame)
    assert schema.kinds_.tolist() == [CONTINUOUS, ROUNDED, MIXED, CATEGORICAL]
    assert schema.columns_[1].resolution == 1
    assert schema.columns_[2].atoms.tolist() == [0]
    pd.testing.assert_frame_equal(schema.decode(schema.encode(frame)[0]), frame)
    # Few rows do for what is said outright.
    few = ColumnSchema(column_kinds={"x": ROUNDED, "z": MIXED}).fit(frame.head(8))
    assert few.kinds_.tolist() == [ROUNDED, INTEGER, MIXED, INTEGER]
    assert ColumnSchema(column_kinds={"x": INTEGER}).fit(frame.round()).kinds_[0] == INTEGER


def test_kinds_say_what_encoded_values_and_the_measure_are():
    rng = np.random.default_rng(0)
    x, n = np.where(rng.random(80) < 0.5, 0, rng.normal(size=80)), rng.integers(0, 9, 80)
    kinds = [CONTINUOUS, MIXED, ROUNDED, INTEGER, CATEGORICAL]
    X = np.column_stack([x, x, n / 8, n, n])
    schema = ColumnSchema(column_kinds=dict(enumerate(kinds))).fit(X)
    columns, Z = schema.columns_, schema.encode(X)[0]
    of_numbers = [not column.is_categorical for column in columns]
    assert of_numbers == [True, True, True, True, False]
    is_whole = (np.rint(Z) == Z).all(axis=0)
    assert [column.is_whole for column in columns] == (is_whole & of_numbers).tolist()
    # Where values are counted, all have a probability; beside a density, those that hold mass do.
    assert [column.is_counted for column in columns] == [False, False, False, True, True]
    mass = np.column_stack([column.has_mass(z) for column, z in zip(columns, Z.T, strict=True)])
    never, always = np.zeros(80, bool), np.ones(80, bool)
    np.testing.assert_array_equal(mass.T, [never, x == 0, never, always, always])


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"typo": ROUNDED}, "column_kinds names 'typo'"),
        ({7: ROUNDED}, "column_kinds names 7"),
        ({"x": "round"}, "column_kinds says 'round' of column 'x'"),
        ({"x": ROUNDED}, "'x' cannot be rounded: its values have no common resolution"),
        ({"x": MIXED}, "'x' cannot be mixed: no single value holds"),
        ({"x": INTEGER}, "'x' is an integer column, but holds"),
        ({"s": CONTINUOUS}, "could not convert column 's' to numbers"),
        ({"constant": ROUNDED}, "'constant' cannot be rounded"),
    ],
)
def test_kinds_that_do_not_fit_are_refused_by_name(chosen, message):
    x = np.random.default_rng(0).normal(size=100)
    frame = pd.DataFrame({"x": x, "s": ["a", "b"] * 50, "constant": 3.0})
    with pytest.raises(ValueError, match=message):
        ColumnSchema(column_kinds=chosen).fit(frame)


def test_unknown_categories():
    X = np.array([["a"], ["a"], ["b"], ["c"]], dtype=object)
    new = np.array([["a"], ["zebra"]], dtype=object)
    impossible = ColumnSchema().fit(X)
    assert impossible.encode(new)[0].tolist() == [[0], [-1]]
    assert impossible.columns_[0].unknown_share == 0
    rare = ColumnSchema(handle_unknown="rare").fit(X)
    assert rare.encode(new)[0].tolist() == [[0], [-1]]
    assert rare.columns_[0].unknown_share == pytest.approx((2 + 0.5) / (4 + 1))
    error = ColumnSchema(handle_unknown="error", missing=True).fit(X)
    with pytest.raises(ValueError, match="column 0 holds 'zebra' in row 1, a category"):
        error.encode(new)
    with pytest.raises(ValueError, match="column 0 holds 'zebra' in row 2, a category"):
        error.encode(np.array([[None], ["a"], ["zebra"]], dtype=object))
    with pytest.raises(ValueError, match="handle_unknown should be one of"):
        ColumnSchema(handle_unknown="ignore").fit(X)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 3)), min_size=1, max_size=30))
def test_the_share_of_new_categories_is_counted(rows):
    letters, weight = (np.array(column) for column in zip(*rows, strict=True))
    if not weight.any():
        return
    X = np.repeat(letters, weight)[:, None]
    counts = Counter(X[:, 0].tolist())
    n_once = sum(count == 1 for count in counts.values())
    expected = min((n_once + 0.5) / (len(X) + 1), 0.5)
    for table, w in ((X, None), (letters[:, None], weight)):
        schema = ColumnSchema(handle_unknown="rare").fit(table, w)
        assert schema.columns_[0].unknown_share == pytest.approx(expected)


def test_the_schema_can_be_read():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "x": rng.normal(size=100),
            "reading": np.linspace(0, 5, 11)[rng.integers(0, 11, 100)],
            "rain": np.where(rng.random(100) < 0.5, 0, rng.normal(size=100)),
            "city": rng.choice(["Rome", "Oslo"], 100),
            "day": pd.Timestamp("2020-03-01")
            + pd.to_timedelta(rng.normal(1e5, 1e4, 100), unit="s"),
        }
    )
    frame.loc[frame.index[:25], "city"] = None
    frame.loc[0, "reading"], frame.loc[1, "reading"] = 0, 5
    schema = ColumnSchema(detect_ties=True, missing=True, handle_unknown="rare")
    assert "ColumnSchema" in repr(schema)
    lines = repr(schema.fit(frame)).splitlines()
    assert lines[0].split() == ["column", "dtype", "kind", "details"]
    start = lines[0].index("details")
    details = [line[start:] for line in lines[1:]]
    assert {line[start - 1] for line in lines} == {" "}
    assert details[1] == "0 to 5 in steps of 0.5"
    assert details[2].endswith(f"1 atom: 0 ({np.mean(frame['rain'] == 0):.0%})")
    assert details[3] == f"2 categories; 0.25 missing; {0.5 / 76:.2g} unknown"
    assert details[4].startswith("2020-03-0")


def test_a_long_schema_is_short():
    lines = repr(ColumnSchema().fit(np.zeros((2, 300)))).splitlines()
    assert len(lines) < 30
    assert lines[1].startswith("0 ")
    assert lines[-1].startswith("299 ")
    assert "280 more columns" in lines[16]


def test_pyarrow_columns_come_back():
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame(
        {
            "n": [1, None],
            "s": ["a", None],
            "flag": [None, True],
            "day": [datetime.date(2020, 2, 28), None],
            "when": pd.to_datetime(["2020-01-01", None]).tz_localize("America/New_York"),
        }
    )
    frame = frame.astype(
        {
            "n": "int64[pyarrow]",
            "s": "string[pyarrow]",
            "flag": "bool[pyarrow]",
            "day": "date32[pyarrow]",
        }
    )
    schema = ColumnSchema(missing=True).fit(frame)
    pd.testing.assert_frame_equal(schema.decode(schema.encode(frame)[0]), frame)


@pytest.mark.parametrize(
    "make", [pd.DataFrame, lambda columns: np.array(list(columns.values()), dtype=object).T]
)
def test_dates_of_python_are_times(make):
    days = [datetime.date(2020, 1, 1) + datetime.timedelta(days=k * k) for k in range(20)]
    times = [datetime.datetime(2020, 1, 1, 3) + datetime.timedelta(hours=k * k) for k in range(20)]
    table = make({"day": days, "time": times})
    schema = ColumnSchema(missing=True).fit(table)
    assert schema.kinds_.tolist() == [CONTINUOUS, CONTINUOUS]
    back = schema.decode(schema.encode(table)[0])
    assert np.array_equal(np.asarray(back), np.asarray(table))
    back = np.asarray(back)
    assert type(back[0, 0]) is datetime.date
    assert isinstance(back[0, 1], datetime.datetime)


def test_numbers_that_small_dtypes_of_polars_cannot_hold():
    table = pl.DataFrame({"u": [250, 255, 3]}, schema={"u": pl.UInt8})
    schema = ColumnSchema().fit(table)
    Z, _ = schema.encode(table)
    assert schema.decode(Z + 100.0)["u"].to_list() == [255, 255, 103]


def test_decimals_of_polars():
    table = pl.DataFrame({"d": [1.25, 2.5, 3.75]}).cast(pl.Decimal(10, 2))
    schema = ColumnSchema().fit(table)
    back = schema.decode(schema.encode(table)[0])
    assert back.equals(table)


@pytest.mark.parametrize("values", [[2**63 - 1, 2**53 + 1, 5], [2**64 - 1, 2**63 + 1, 5]])
@pytest.mark.parametrize("make", [np.reshape, lambda x, _: pd.DataFrame({"n": x})])
def test_categories_that_are_large_integers_come_back(make, values):
    """Exactly: float64 would make others of them, or what the dtype cannot hold."""
    x = np.array(values, dtype=np.int64 if max(values) < 2**63 else np.uint64)
    table = make(x, (-1, 1))
    schema = ColumnSchema([0]).fit(table)
    assert np.asarray(schema.decode(schema.encode(table)[0])).ravel().tolist() == values
    # The same integers of another dtype, and one that is none of them.
    later = np.array([[2**53 + 1], [2**53], [5]])
    expected = [values.index(v) if v in values else -1 for v in (2**53 + 1, 2**53, 5)]
    in_order = [sorted(values).index(values[at]) if at >= 0 else -1 for at in expected]
    assert schema.encode(later)[0].ravel().tolist() == in_order


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_integers_that_are_drawn_beyond_64_bits_become_the_largest_that_there_are(dtype):
    schema = ColumnSchema().fit(np.array([[1], [2], [5]], dtype=dtype))
    low, high = schema.decode(np.array([[-1e30], [1e30]])).ravel().tolist()
    assert low == np.iinfo(dtype).min
    assert high >= 0.999 * np.iinfo(dtype).max


def test_integers_of_128_bits_of_polars_are_numbers():
    table = pl.DataFrame({"n": [3, 1, 2]}, schema={"n": pl.Int128})
    schema = ColumnSchema().fit(table)
    assert schema.kinds_.tolist() == [INTEGER]
    assert schema.decode(schema.encode(table)[0]).equals(table)
