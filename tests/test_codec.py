"""DensityCodec: what goes in comes out, at the price that the density says, or there is an error."""

import pickle
import warnings
import zlib

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_dgm import (
    AutoregressiveDensity,
    BayesianNetworkDensity,
    DensityCodec,
    HistogramDensity,
)
from sklearn_dgm.codec import _blocks
from sklearn_dgm.codec._blocks import PRECISION, Stack, frequencies
from sklearn_dgm.codec._stream import MAGIC, START, VERSION


@pytest.fixture(autouse=True)
def _ignore_unfinished_training():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The validation likelihood was still rising")
        yield


QUICK = {"hidden_layer_sizes": (16,), "max_epochs": 3, "dropout": 0.0, "random_state": 0}
DENSITIES = {
    "histogram": lambda: HistogramDensity(bins=4, alpha=0.01),
    "histogram, counts alone": lambda: HistogramDensity(bins=4),
    "one order": lambda: AutoregressiveDensity(order="given", **QUICK),
    "four orders": lambda: AutoregressiveDensity(n_orders=4, **QUICK),
    "any order": lambda: AutoregressiveDensity(order="any", n_orders=3, **QUICK),
    "gaussian mixture": lambda: AutoregressiveDensity(
        n_orders=2, conditional="gaussian-mixture", **QUICK
    ),
    "tables": lambda: BayesianNetworkDensity(conditional="table"),
    "networks": lambda: BayesianNetworkDensity("chow-liu", conditional="network", **QUICK),
    "tables and networks": lambda: BayesianNetworkDensity(**QUICK),
}
every_density = pytest.mark.parametrize("name", DENSITIES)


def discrete_table(n, seed, most=100):
    """Whole numbers, few and many, mostly in tens or not; categories, few and many; readings with one decimal."""
    rng = np.random.default_rng(seed)
    group = rng.integers(3, size=n)
    return pd.DataFrame(
        {
            "group": pd.Categorical.from_codes(group, ["u", "v", "w"]),
            "city": rng.choice([f"city {i}" for i in range(40)], n),
            "flag": rng.random(n) < 0.2 + 0.3 * group,
            "few": rng.poisson(3 + group),
            "many": rng.integers(most, size=n) + 100 * group,
            "tens": rng.integers(most, size=n) * 10,
            "reading": np.round(rng.normal(20 + group, 2, n), 1),
        }
    )


def mixed_table(n, seed):
    """Besides, floats with two decimals and with all of them, single values that hold mass, and times."""
    rng = np.random.default_rng(seed)
    table = discrete_table(n, seed)
    table["price"] = np.round(100 * rng.exponential(size=n) + table["few"], 2)
    table["x"] = rng.normal(size=n) + table["few"]
    table["capped"] = np.minimum(table["x"], 5.0)
    table["single"] = rng.normal(size=n).astype(np.float32)
    table["when"] = pd.to_datetime(rng.integers(0, 10**9, n), unit="s")
    return table


def with_gaps(table, seed):
    columns = [name for name, x in table.items() if x.dtype.kind not in "bi"]
    mask = np.random.default_rng(seed).random((len(table), len(columns))) < 0.2
    table = table.copy()
    table[columns] = table[columns].mask(mask)
    return table


def assert_same(decoded, table):
    pd.testing.assert_frame_equal(decoded, table, check_exact=True)
    for name, x in table.select_dtypes("float").items():
        assert np.array_equal(np.signbit(decoded[name])[x.notna()], np.signbit(x)[x.notna()])


_fitted = {}


def codec_of(name, table=discrete_table, **parameters):
    """A fitted codec, the same for several tests."""
    key = name, table, str(parameters)
    if key not in _fitted:
        _fitted[key] = DensityCodec(DENSITIES[name](), **parameters).fit(table(600, 0))
    return _fitted[key]


@parametrize_with_checks(
    [
        DensityCodec(HistogramDensity()),
        DensityCodec(AutoregressiveDensity(order="given", **QUICK)),
        DensityCodec(BayesianNetworkDensity(conditional="table")),
    ]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@every_density
@pytest.mark.parametrize("table", [discrete_table, mixed_table])
def test_round_trip(name, table):
    codec, rows = codec_of(name, table), table(700, 1)
    assert_same(codec.decode(codec.encode(rows)), rows)


@every_density
def test_code_length_is_that_of_the_density(name):
    # Beyond what was fitted, too: tails have their share.
    codec, rows = codec_of(name), discrete_table(300, 1, most=120)
    log_density = codec.estimator_.score_samples(rows)
    schema = codec.estimator_.schema_
    assert set(schema.kinds_) >= {"categorical", "integer"}
    bits = codec.code_length(rows)
    assert bits.shape == (300,)
    if name.startswith("histogram"):  # of which a cell of a continuous column is an interval
        rows, possible = rows.drop(columns="reading"), bits < np.inf
        codec = DensityCodec(DENSITIES[name]()).fit(discrete_table(600, 0).drop(columns="reading"))
        log_density, bits = codec.estimator_.score_samples(rows), codec.code_length(rows)
        possible = bits < np.inf
        assert np.array_equal(possible, log_density > -np.inf)
        np.testing.assert_allclose(bits[possible], -log_density[possible] / np.log(2), rtol=1e-9)
        return
    assert schema.kinds_[-1] == "rounded"
    expected = -(log_density + np.log(schema.columns_[-1].resolution)) / np.log(2)
    np.testing.assert_allclose(bits, expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["four orders", "tables", "networks", "gaussian mixture"])
def test_narrow_cells_have_the_density_times_their_width(name):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 2)) @ [[1, 2], [0, 1]]
    codec = DensityCodec(DENSITIES[name](), resolution=1e-4).fit(X)
    rows = np.round(X[:200], 4) + 0.0
    expected = -(codec.estimator_.score_samples(rows) + 2 * np.log(1e-4)) / np.log(2)
    # The tables' density has steps, on which some cells lie.
    difference = np.abs(codec.code_length(rows) - expected)
    assert np.quantile(difference, 0.95) < 0.01
    to_the_last_bit = clone(codec).set_params(resolution="auto").fit(X)
    log_width = np.log(np.spacing(np.abs(X[:200]))).sum(axis=1)
    expected = -(to_the_last_bit.estimator_.score_samples(X[:200]) + log_width) / np.log(2)
    difference = np.abs(to_the_last_bit.code_length(X[:200]) - expected)
    assert np.quantile(difference, 0.95) < 0.01


@every_density
@pytest.mark.parametrize("table", [discrete_table, mixed_table])
def test_size_is_what_the_density_says(name, table):
    # Counts alone know no rows but those that were fitted.
    codec, rows = codec_of(name, table), table(*(600, 0) if "alone" in name else (800, 2))
    bits = codec.code_length(rows)
    # A row that is all but impossible costs less than that.
    rows, bits = rows[bits < 800].reset_index(drop=True), bits[bits < 800]
    assert len(bits) > 100
    for n in (1, 20, len(bits)):
        n_bytes = bits[:n].sum() / 8
        assert 0.98 * n_bytes < len(codec.encode(rows[:n])) <= 1.01 * n_bytes + 64


def test_bits_back_are_worth_the_mixture():
    codec, rows = codec_of("four orders"), discrete_table(2000, 1)
    factors = codec.estimator_._factors()
    Z = codec.estimator_.schema_.encode(rows)[0]
    log_p = np.stack([factors.log_prob(k, Z) for k in range(4)])
    # Each row by its best member, and two bits to say which.
    without = len(rows) * 2 - (log_p.max(axis=0).sum()) / np.log(2)
    resolution = codec.estimator_.schema_.columns_[-1].resolution
    without -= len(rows) * np.log2(resolution) + codec.estimator_.schema_.log_det_.sum() / np.log(2)
    assert len(codec.encode(rows)) < without / 8 - 300


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


def small_stream():
    table = mixed_table(12, 3)
    table.loc[4, "city"] = "unheard of"  # which is stored apart
    codec = codec_of("four orders", mixed_table)
    return codec, table, codec.encode(table)


def test_every_flipped_byte_is_an_error():
    codec, table, stream = small_stream()
    assert_same(codec.decode(stream), table)
    for position in range(len(stream)):
        for bits in (1, 0x80, 0xFF):
            broken = bytearray(stream)
            broken[position] ^= bits
            with pytest.raises(ValueError, match="stream"):
                codec.decode(broken)


def test_every_truncated_stream_is_an_error():
    codec, _, stream = small_stream()
    for length in range(len(stream)):
        with pytest.raises(ValueError, match=r"truncated|no stream"):
            codec.decode(stream[:length])
    with pytest.raises(ValueError, match="truncated or corrupted"):
        codec.decode(stream + b"\0")


def test_foreign_streams_are_an_error():
    codec, _, stream = small_stream()
    bodies = bytes(12), b"\xff" * 20, bytes(12) + b"\1\0\0", stream[START.size :] + b"\0"
    forged = [START.pack(MAGIC, VERSION, zlib.crc32(body)) + body for body in bodies]
    for foreign in (b"", b"PK\3\4" + stream, pickle.dumps(codec)[:200], bytes(100), *forged):
        with pytest.raises(ValueError, match="no stream of a DensityCodec"):
            codec.decode(foreign)
    magic, version, checksum = START.unpack_from(stream)
    later = START.pack(magic, version + 1, checksum) + stream[START.size :]
    with pytest.raises(ValueError, match="has version 2, but this DensityCodec reads version 1"):
        codec.decode(later)


def test_streams_of_other_models_are_an_error():
    table = mixed_table(50, 3)
    streams = {name: codec_of(name, mixed_table).encode(table) for name in DENSITIES}
    for name in DENSITIES:
        for other, stream in streams.items():
            if other != name:
                with pytest.raises(ValueError, match="another model"):
                    codec_of(name, mixed_table).decode(stream)
    refitted = clone(codec_of("tables", mixed_table)).fit(mixed_table(599, 0))
    with pytest.raises(ValueError, match="another model"):
        refitted.decode(streams["tables"])


@pytest.mark.parametrize("what", ["weights", "table", "counts"])
def test_a_model_that_changed_in_one_number_is_another(what):
    name = {"weights": "four orders", "table": "tables", "counts": "histogram"}[what]
    codec, rows = codec_of(name), discrete_table(30, 1)
    stream, codec = codec.encode(rows), pickle.loads(pickle.dumps(codec))
    assert_same(codec.decode(stream), rows)
    if what == "weights":
        with torch.no_grad():
            next(iter(codec.estimator_._module.members[2].parameters())).view(-1)[0] += 1e-12
    elif what == "table":
        next(iter(codec.estimator_._tables.values())).log_p[0, 0] += 1e-12
    else:
        codec.estimator_.counts_[0] += 1
    with pytest.raises(ValueError, match="another model"):
        codec.decode(stream)


def test_other_last_bits_are_an_error(monkeypatch):
    codec, rows = codec_of("four orders"), discrete_table(100, 1)
    stream = codec.encode(rows)
    monkeypatch.setattr(_blocks, "ROUNDING", 1e-6)
    with pytest.raises(ValueError, match="last bits of probabilities are others"):
        codec.decode(stream)


@pytest.mark.parametrize("name", ["four orders", "any order", "tables and networks"])
def test_number_of_threads_does_not_matter(name):
    codec, rows = codec_of(name), discrete_table(300, 1)
    n_threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        stream = codec.encode(rows)
        torch.set_num_threads(1)
        assert_same(codec.decode(stream), rows)
        assert codec.encode(rows) == stream
    finally:
        torch.set_num_threads(n_threads)


@pytest.mark.parametrize("name", ["four orders", "any order", "tables", "tables and networks"])
def test_missing_cells(name):
    codec = DensityCodec(DENSITIES[name]()).fit(with_gaps(mixed_table(500, 0), 0))
    rows = with_gaps(mixed_table(500, 1), 1)
    stream = codec.encode(rows)
    assert_same(codec.decode(stream), rows)
    # What is missing costs what its share says, and no row is stored apart.
    gaps = rows.isna().to_numpy()
    shares = gaps.mean(axis=0)[gaps.any(axis=0)]
    of_gaps = -(shares * np.log2(shares) + (1 - shares) * np.log2(1 - shares)).sum() * len(rows)
    bits = codec.code_length(rows)
    assert np.isfinite(bits).all()
    assert len(stream) <= 1.01 * (bits.sum() + of_gaps) / 8 + 64 + 100


def test_columns_that_are_missing_together_cost_once():
    rows = mixed_table(2000, 1)
    gone = np.random.default_rng(0).random(len(rows)) < 0.1
    codec = codec_of("tables", mixed_table)
    one, several = rows.copy(), rows.copy()
    one.loc[gone, "city"] = None
    several.loc[gone, ["city", "reading", "price", "x"]] = None
    seen = rows.loc[~gone].reset_index(drop=True)
    cost_of_gaps = len(codec.encode(one)) - len(codec.encode(rows))
    assert cost_of_gaps < 0.5 * len(rows) / 8
    assert len(codec.encode(several)) < len(codec.encode(one))
    assert_same(codec.decode(codec.encode(several)), several)
    assert len(codec.encode(seen)) < len(codec.encode(several))


@every_density
def test_what_the_density_does_not_know(name):
    codec, rows = codec_of(name, mixed_table), mixed_table(300, 1)
    rows.loc[3, "city"] = "unheard of ☃"
    rows.loc[5, "x"] = -np.inf
    rows.loc[7, "x"] = np.nan
    rows.loc[9, "price"] = -0.0
    rows.loc[11, "many"] = 2**62 + 1
    rows.loc[13, "single"] = 1e38
    rows.loc[15, "reading"] = 1e300
    stream = codec.encode(rows)
    assert_same(codec.decode(stream), rows)
    assert len(stream) < len(codec.encode(mixed_table(300, 1))) + 2500
    bits = codec.code_length(rows)
    assert np.isinf(bits[[3, 5]]).all()
    rows.loc[9, "price"] = 0.0
    assert codec.code_length(rows)[9] == bits[9]


@every_density
def test_negative_zeros_cost_little(name):
    codec, rows = codec_of(name, mixed_table), mixed_table(300, 1)
    rows.loc[rows["price"] < np.median(rows["price"]), "price"] = 0.0
    plain = codec.encode(rows)
    rows.loc[(rows["price"] == 0) & (rows.index % 3 == 0), "price"] = -0.0
    assert np.signbit(rows["price"]).sum() > 30
    stream = codec.encode(rows)
    assert_same(codec.decode(stream), rows)
    assert len(stream) < len(plain) + 300 / 8 + 20


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
@pytest.mark.parametrize("name", ["four orders", "tables", "histogram"])
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


@pytest.mark.parametrize("name", ["four orders", "tables"])
def test_polars_and_nullable_dtypes(name):
    frame = pl.from_pandas(with_gaps(mixed_table(300, 0), 0)).with_columns(
        pl.col("group").cast(pl.Enum(["u", "v", "w"])), pl.col("when").dt.date().alias("day")
    )
    codec = DensityCodec(DENSITIES[name]()).fit(frame)
    decoded = codec.decode(codec.encode(frame[50:150]))
    assert decoded.schema == frame.schema
    assert decoded.equals(frame[50:150])
    nullable = with_gaps(mixed_table(300, 0), 0)[["city", "x", "reading"]]
    nullable["few"] = pd.array([3, None, 5] * 100, dtype="Int64")
    nullable["flag"] = pd.array([True, None, False] * 100, dtype="boolean")
    codec = DensityCodec(DENSITIES[name]()).fit(nullable)
    assert_same(codec.decode(codec.encode(nullable[:90])), nullable[:90])


def test_tables_of_other_columns_are_an_error():
    codec, rows = codec_of("tables"), discrete_table(20, 1)
    with pytest.raises(ValueError, match="feature names"):
        codec.encode(rows[rows.columns[::-1]])
    with pytest.raises(ValueError, match="feature names"):
        codec.encode(rows.drop(columns="few"))
    with pytest.raises(ValueError, match=r"column 'few' has dtype .*float64.* had .*int64"):
        codec.encode(rows.astype({"few": float}))
    reordered = rows.assign(group=rows["group"].cat.reorder_categories(["w", "u", "v"]))
    with pytest.raises(ValueError, match="column 'group' has dtype"):
        codec.encode(reordered)
    with pytest.raises(ValueError, match="but fit has seen a pandas"):
        codec.encode(pl.from_pandas(rows))


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


@pytest.mark.parametrize(
    ("resolution", "message"),
    [
        (0.0, "The 'resolution' parameter"),
        ("fine", "The 'resolution' parameter"),
        ({"weight": 0.1}, "resolution names 'weight'"),
        ({"reading": -1}, "resolution of column 'reading' should be positive"),
        ({"reading": "fine"}, "resolution of column 'reading' should be positive"),
        ({"city": 0.1}, "column 'city' is categorical and has no resolution"),
    ],
)
def test_wrong_resolutions(resolution, message):
    codec = DensityCodec(HistogramDensity(), resolution=resolution)
    with pytest.raises(ValueError, match=message):
        codec.fit(discrete_table(60, 0))
    assert not hasattr(codec, "estimator_")


@pytest.mark.parametrize(
    "estimator",
    [
        KernelDensity(),
        GaussianMixture(),
        LinearRegression(),
        make_pipeline(StandardScaler(), HistogramDensity()),
    ],
)
def test_what_does_not_factorise_is_refused(estimator):
    name = type(estimator).__name__
    with pytest.raises(TypeError, match=f"factorises over the columns.*{name} does not"):
        DensityCodec(estimator).fit(np.zeros((9, 2)))


def test_prefitted_and_searched():
    rows = discrete_table(100, 1)
    fitted = codec_of("tables").estimator_
    codec = DensityCodec(FrozenEstimator(fitted)).fit(rows)
    assert codec.encode(rows) == codec_of("tables").encode(rows)
    search = GridSearchCV(DENSITIES["tables"](), {"alpha": [0.5, 2.0]}, cv=2)
    few = rows[["group", "flag", "few"]]
    codec = DensityCodec(search).fit(discrete_table(300, 0)[list(few)])
    assert_same(codec.decode(codec.encode(few)), few)
    nested = DensityCodec(HistogramDensity()).set_params(estimator__alpha=0.5)
    assert nested.estimator.alpha == 0.5


def test_not_fitted():
    codec = DensityCodec(HistogramDensity())
    for method in (codec.encode, codec.code_length, codec.decode):
        with pytest.raises(NotFittedError):
            method(np.zeros((2, 2)))


def test_a_failed_fit_leaves_the_earlier_one():
    codec = DensityCodec(HistogramDensity()).fit(discrete_table(60, 0))
    stream = codec.encode(discrete_table(5, 1))
    codec.set_params(estimator=KernelDensity())
    with pytest.raises(TypeError):
        codec.fit(np.zeros((5, 2)))
    assert_same(codec.decode(stream), discrete_table(5, 1))


def test_strange_objects_are_named():
    X = np.array([["tea"], ["milk"]] * 40, dtype=object)
    codec = DensityCodec(HistogramDensity()).fit(X)
    strange = X[:3].copy()
    strange[1, 0] = (1, 2)
    with pytest.raises(TypeError, match=r"column 0 holds \(1, 2\) in row 1"):
        codec.encode(strange)
    others = np.array([[1.0], [True], [2**70], ["x"], ["tea"]], dtype=object)
    decoded = codec.decode(codec.encode(others))
    assert [(type(v), v) for v in decoded.ravel()] == [(type(v), v) for v in others.ravel()]


def test_without_constriction(monkeypatch):
    monkeypatch.setattr(_blocks, "constriction", None)
    with pytest.raises(ImportError, match=r"pip install sklearn-dgm\[codec\]"):
        DensityCodec(HistogramDensity()).fit(np.zeros((5, 2)))


def test_streams_are_never_unpickled(monkeypatch):
    codec, table, stream = small_stream()

    def refuse(*args, **kwargs):
        raise AssertionError("unpickled")

    monkeypatch.setattr(pickle, "loads", refuse)
    monkeypatch.setattr(pickle, "Unpickler", refuse)
    assert_same(codec.decode(stream), table)


@pytest.mark.parametrize("n_symbols", [2, 3, 16])
def test_frequencies_are_what_the_coder_uses(n_symbols):
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.full(n_symbols, 0.05), 3000)
    p[:10, 0] = np.nan
    p[10:20] = 0
    table = frequencies(p.copy())
    used = table.astype(np.float64) + 1
    assert (table == np.floor(table)).all()
    assert (table >= 0).all()
    assert (used.sum(axis=1) == 2**PRECISION).all()
    np.testing.assert_allclose(used[20:] / 2**PRECISION, p[20:], atol=2 * n_symbols / 2**PRECISION)
    symbols = np.array([rng.choice(n_symbols, p=row / row.sum()) for row in used])
    stack = Stack()
    stack.put(symbols, table)
    bits = -np.log2(used[np.arange(3000), symbols] / 2**PRECISION).sum()
    assert len(stack.words()) * 32 < bits + 96
    assert np.array_equal(stack.take(table), symbols)
    assert stack.is_as_it_was


def test_bits_that_nobody_has_put_on_a_stack():
    # The first members of a mixture are taken from a stack that has hardly any.
    table = frequencies(np.full((100, 4), 0.25))
    stack = Stack()
    members = stack.take(table)
    stack.put(members, table)
    assert stack.is_as_it_was


def test_an_estimator_that_is_none():
    class Nothing(BaseEstimator):
        def fit(self, X, y=None):
            return self

    with pytest.raises(TypeError, match="Nothing does not"):
        DensityCodec(Nothing()).fit(np.zeros((5, 2)))


def test_floats_without_a_grid_are_coded_not_stored():
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=2000)
    for table in (
        pd.DataFrame({"x": numbers}),
        pd.DataFrame(
            {"x": np.where(rng.random(2000) < 0.5, 0.0, numbers), "n": np.arange(2000) % 5}
        ),
    ):
        codec = DensityCodec(HistogramDensity(bins=20, alpha=0.5)).fit(table)
        stream = codec.encode(table)
        assert np.isfinite(codec.code_length(table)).all()
        assert len(stream) <= 1.01 * codec.code_length(table).sum() / 8 + 64
        assert len(stream) < table.to_numpy(dtype=np.float64).nbytes
        pd.testing.assert_frame_equal(codec.decode(stream), table)
