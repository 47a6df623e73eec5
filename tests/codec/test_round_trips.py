"""What is decoded is what was encoded, to the last bit."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sklearn.frozen import FrozenEstimator

from sklearn_dgm import (
    AutoregressiveDensity,
    DensityCodec,
)
from tests.codec.tables import (
    DENSITIES,
    QUICK,
    assert_same,
    codec_of,
    discrete_table,
    every_density,
    mixed_table,
    with_gaps,
)


@every_density
@pytest.mark.parametrize("table", [discrete_table, mixed_table])
def test_round_trip(name, table):
    codec, rows = codec_of(name, table), table(60, 1)
    assert_same(codec.decode(codec.encode(rows)), rows)


@given(st.data())
@settings(
    max_examples=15,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
def test_any_rows_come_back(data):
    name = data.draw(st.sampled_from(["histogram", "tables", "one order"]))
    codec, n = codec_of(name, mixed_table), data.draw(st.integers(1, 6))
    table = mixed_table(n, data.draw(st.integers(0, 5)))

    def some(strategy):
        return st.lists(strategy, min_size=n, max_size=n)

    floats = st.floats() | st.sampled_from([0.0, -0.0, 1e-310, 0.1 + 0.2, 5.0, 19.9])
    for column in data.draw(st.sets(st.sampled_from(["price", "x", "capped", "reading"]))):
        table[column] = np.array(data.draw(some(floats)), dtype=np.float64)
    for column in data.draw(st.sets(st.sampled_from(["few", "many", "tens"]))):
        whole = st.integers(-(2**63), 2**63 - 1) | st.integers(-5, 400)
        table[column] = np.array(data.draw(some(whole)), dtype=np.int64)
    if data.draw(st.booleans()):
        table["city"] = pd.array(data.draw(some(st.text() | st.just("city 3"))), dtype="str")
    if data.draw(st.booleans()):
        table["single"] = np.array(data.draw(some(st.floats(width=32))), dtype=np.float32)
    assert_same(codec.decode(codec.encode(table)), table)


@pytest.mark.parametrize(
    "name",
    ["three orders", "any order", "gaussians", "trees", "tables", "tables and networks"],
)
def test_missing_cells(name):
    codec = DensityCodec(DENSITIES[name]()).fit(with_gaps(mixed_table(500, 0), 0))
    rows = with_gaps(mixed_table(300, 1), 1)
    stream = codec.encode(rows)
    assert_same(codec.decode(stream), rows)
    # What is missing costs what its share says, and no row is stored apart.
    gaps = rows.isna().to_numpy()
    shares = gaps.mean(axis=0)[gaps.any(axis=0)]
    of_gaps = -(shares * np.log2(shares) + (1 - shares) * np.log2(1 - shares)).sum() * len(rows)
    bits = codec.code_length(rows)
    assert np.isfinite(bits).all()
    assert len(stream) <= 1.01 * (bits.sum() + of_gaps) / 8 + 64 + 100


@every_density
def test_what_the_density_does_not_know(name):
    codec, rows = codec_of(name, mixed_table), mixed_table(50, 1)
    rows.loc[3, "city"] = "unheard of ☃"
    rows.loc[5, "x"] = -np.inf
    rows.loc[7, "x"] = np.nan
    rows.loc[9, "price"] = -0.0
    rows.loc[11, "many"] = 2**62 + 1
    rows.loc[13, "single"] = 1e38
    rows.loc[15, "reading"] = 1e300
    stream = codec.encode(rows)
    assert_same(codec.decode(stream), rows)
    assert len(stream) < len(codec.encode(mixed_table(50, 1))) + 2500
    bits = codec.code_length(rows)
    assert np.isinf(bits[[3, 5]]).all()
    rows.loc[9, "price"] = 0.0
    assert codec.code_length(rows)[9] == bits[9]


@every_density
def test_no_rows_and_one_row(name):
    codec, rows = codec_of(name, mixed_table), mixed_table(5, 1)
    for n in (0, 1):
        assert_same(codec.decode(codec.encode(rows[:n])), rows[:n])
    assert codec.code_length(rows[:0]).shape == (0,)
    assert len(codec.encode(rows[:0])) < 64


def test_the_index_is_not_kept():
    codec, rows = codec_of("tables"), discrete_table(20, 1)
    shuffled = rows.sample(frac=1, random_state=0)
    decoded = codec.decode(codec.encode(shuffled))
    assert_same(decoded, shuffled.reset_index(drop=True))


ARRAYS = {
    "doubles": np.random.default_rng(0).normal(size=(120, 3)),
    "decimals": np.round(np.random.default_rng(0).normal(size=(120, 3)), 2),
    "single precision": np.random.default_rng(0).normal(size=(120, 3)).astype(np.float32),
    "half precision": np.random.default_rng(0).normal(size=(120, 3)).astype(np.float16),
    "counts": np.random.default_rng(0).poisson(3, (120, 3)),
    "bytes": np.random.default_rng(0).integers(0, 256, (120, 3)).astype(np.uint8),
    "flags": np.random.default_rng(0).random((120, 3)) < 0.3,
    "strings": np.array([["a", "bb"], ["ccc", "d"]] * 40),
    "objects": np.array([["tea", 1.5, 2], ["milk", 2.5, 7], ["tea", 0.5, 3]] * 40, dtype=object),
    "times": np.array([["2020-01-01T00:00", "2021-03-04T05:06"]] * 60, dtype="M8[m]")
    + np.random.default_rng(0).integers(0, 10**5, (60, 2)),
}


@pytest.mark.parametrize("kind", ARRAYS)
@pytest.mark.parametrize("name", ["three orders", "tables", "histogram"])
def test_arrays(name, kind):
    X = ARRAYS[kind]
    codec = DensityCodec(DENSITIES[name]()).fit(X)
    decoded = codec.decode(codec.encode(X))
    assert decoded.dtype == X.dtype
    assert decoded.tolist() == X.tolist()
    if X.dtype == object:
        assert [type(v) for v in decoded.ravel()] == [type(v) for v in X.ravel()]


def test_arrays_of_other_dtypes_than_in_fit():
    codec = DensityCodec(DENSITIES["tables"]()).fit(ARRAYS["doubles"])
    for X in (ARRAYS["single precision"], ARRAYS["counts"], np.array([[np.nan, -0.0, 1e300]])):
        decoded = codec.decode(codec.encode(X))
        assert decoded.dtype == X.dtype
        assert np.array_equal(decoded, X, equal_nan=X.dtype.kind == "f")
    codec = DensityCodec(DENSITIES["tables"]()).fit(ARRAYS["strings"])
    longer = np.array([["a", "much longer"]])
    assert codec.decode(codec.encode(longer)).tolist() == longer.tolist()
    assert codec.decode(codec.encode([["a", "d"]])).tolist() == [["a", "d"]]


@pytest.mark.parametrize("name", ["three orders", "tables"])
def test_polars_and_nullable_dtypes(name):
    frame = pl.from_pandas(with_gaps(mixed_table(300, 0), 0)).with_columns(
        pl.col("group").cast(pl.Enum(["u", "v", "w"])), pl.col("when").dt.date().alias("day")
    )
    codec = DensityCodec(DENSITIES[name]()).fit(frame)
    decoded = codec.decode(codec.encode(frame[50:110]))
    assert decoded.schema == frame.schema
    assert decoded.equals(frame[50:110])
    nullable = with_gaps(mixed_table(300, 0), 0)[["city", "x", "reading"]]
    nullable["few"] = pd.array([3, None, 5] * 100, dtype="Int64")
    nullable["flag"] = pd.array([True, None, False] * 100, dtype="boolean")
    codec = DensityCodec(DENSITIES[name]()).fit(nullable)
    assert_same(codec.decode(codec.encode(nullable[:60])), nullable[:60])


def test_resolution():
    X = np.round(np.random.default_rng(0).normal(size=(300, 2)), 2) + 0.0
    density = AutoregressiveDensity(column_kinds={0: "continuous", 1: "continuous"}, **QUICK)
    codec = DensityCodec(density, resolution={0: 0.01, 1: "auto"}).fit(X)
    found = DensityCodec(density).fit(X)
    assert len(codec.encode(X)) - len(found.encode(X)) in range(-8, 9)
    finer = DensityCodec(density, resolution=0.005).fit(X)
    extra = codec.code_length(X), finer.code_length(X)
    np.testing.assert_allclose(extra[1] - extra[0], 2, atol=0.1)  # a bit for each column
    off = X.copy()
    off[7, 0] = 0.123
    with pytest.raises(ValueError, match=r"column 0 holds .*0.123.* in row 7, which is no mult"):
        codec.encode(off)
    assert np.array_equal(found.decode(found.encode(off)), off)
    quarters = np.random.default_rng(0).integers(0, 4000, (300, 2)) / 4
    codec = DensityCodec(density, resolution=0.25).fit(quarters)
    assert np.array_equal(codec.decode(codec.encode(quarters)), quarters)


def test_rounded_columns_at_a_finer_resolution():
    X = np.round(np.random.default_rng(0).normal(size=(300, 1)), 1) + 0.0
    coarse = DensityCodec(DENSITIES["tables"]()).fit(X)
    assert coarse.estimator_.schema_.kinds_.tolist() == ["rounded"]
    fine = DensityCodec(FrozenEstimator(coarse.estimator_), resolution=0.01).fit(X)
    np.testing.assert_allclose(fine.code_length(X) - coarse.code_length(X), np.log2(10), atol=1e-6)
    shifted = X + np.array([[0.04]])
    shifted = np.round(shifted, 2)
    assert np.array_equal(fine.decode(fine.encode(shifted)), shifted)
    assert np.array_equal(coarse.decode(coarse.encode(shifted)), shifted)


def test_zeros_of_both_signs_among_objects():
    rng = np.random.default_rng(5)
    counts = rng.poisson(1.0, 300) * rng.choice([-1.0, 1.0], 300)
    X = np.column_stack([counts, rng.normal(size=300)]).astype(object)
    codec = DensityCodec(AutoregressiveDensity(n_orders=1, **QUICK)).fit(X)
    decoded = codec.decode(codec.encode(X)).astype(float)
    np.testing.assert_array_equal(decoded, X.astype(float))
    np.testing.assert_array_equal(np.signbit(decoded), np.signbit(X.astype(float)))
