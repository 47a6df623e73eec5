"""Dtypes of later tables beside those of `fit`: for every pair the same values, or an error."""

import datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest

from sklearn_dgm import (
    AutoregressiveDensity,
    BayesianNetworkDensity,
    DensityCodec,
    DensityImputer,
    DensityOutlierDetector,
    GenerativeClassifier,
    HistogramDensity,
    NaiveBayesClassifier,
)
from sklearn_dgm.columns import CATEGORICAL, CONTINUOUS, ColumnSchema
from sklearn_dgm.metrics import energy_distance

pa = pytest.importorskip("pyarrow")

FLAGS = [False, True, True, False, True]
WORDS = ["b", "a", "a", "b", "c"]
DAYS = [datetime.date(2020, 1, day) for day in (3, 1, 2, 3, 9)]
TIMES = [datetime.datetime(day.year, day.month, day.day) for day in DAYS]
ZONED = [time.replace(tzinfo=datetime.UTC) for time in TIMES]
WAITS = [time - TIMES[1] for time in TIMES]


def array(values, dtype):
    if dtype is not object:
        return np.array(values, dtype=dtype)[:, None]
    X = np.empty((len(values), 1), dtype=object)
    X[:, 0] = np.fromiter(values, dtype=object, count=len(values))
    return X


def frame(values, dtype=None):
    return pd.DataFrame({"x": pd.Series(values, dtype=dtype)})


def grades(values):
    return frame(pd.Categorical(values, categories=pd.Series(values).unique()[::-1]))


def polars(values, dtype=None):
    return pl.DataFrame({"x": pl.Series(values, dtype=dtype)})


def arrow(values, dtype):
    """Arrow's dtype within pandas, and dictionaries of it."""
    values = pa.array(values, dtype)
    for cells in (values, values.dictionary_encode()):
        yield pd.DataFrame({"x": pd.arrays.ArrowExtensionArray(cells)})


def arrow_grades(values, dtype):
    """Categories of pandas that are Arrow's."""
    return grades(pd.Series(values, dtype=pd.ArrowDtype(dtype)))


TABLES = {
    "numbers": [
        *(array(FLAGS, dtype) for dtype in ("i1", "u8", "i8", "f2", "f4", "f8")),
        array([0, 1.0, np.float32(1), Decimal(0), np.int16(1)], object),
        *(frame(FLAGS, dtype) for dtype in ("uint8", "float64", "Int64", "Float32")),
        frame([0, 1, 1, 0, 1], object),
        grades([0, 1, 1, 0, 1]),
        grades([0.0, 1.0, 1.0, 0.0, 1.0]),
        *(polars([0, 1, 1, 0, 1], dtype) for dtype in (pl.Int8, pl.UInt64, pl.Float32)),
        polars([Decimal(flag) for flag in FLAGS], pl.Decimal(10, 2)),
        *arrow([0, 1, 1, 0, 1], pa.uint64()),
        *arrow([Decimal(flag) for flag in FLAGS], pa.decimal128(10, 2)),
    ],
    "booleans": [
        array(FLAGS, bool),
        array(FLAGS, object),
        frame(FLAGS),
        frame(FLAGS, "boolean"),
        grades(FLAGS),
        polars(FLAGS),
        *arrow(FLAGS, pa.bool_()),
    ],
    "strings": [
        array(WORDS, str),
        array(WORDS, object),
        array([np.str_(word) for word in WORDS], object),
        *(frame(WORDS, dtype) for dtype in (None, object, "string")),
        grades(WORDS),
        *(polars(WORDS, dtype) for dtype in (None, pl.Categorical, pl.Enum(["z", "c", "b", "a"]))),
        *arrow(WORDS, pa.large_string()),
    ],
    "bytes": [array(WORDS, "S"), array([word.encode() for word in WORDS], object)],
    "dates": [
        array(DAYS, "M8[D]"),
        array(DAYS, object),
        array([np.datetime64(day) for day in DAYS], object),
        frame(DAYS, object),
        grades(DAYS),
        polars(DAYS),
        *arrow(DAYS, pa.date32()),
        *arrow(DAYS, pa.date64()),
    ],
    "times without a zone": [
        *(array(TIMES, f"M8[{unit}]") for unit in ("h", "s", "ms", "us", "ns")),
        array(TIMES, object),
        array([pd.Timestamp(time) for time in TIMES], object),
        *(frame(TIMES, f"M8[{unit}]") for unit in ("s", "ns")),
        grades(TIMES),
        *(polars(TIMES, pl.Datetime(unit)) for unit in ("ms", "us", "ns")),
        *arrow(TIMES, pa.timestamp("ns")),
        arrow_grades(TIMES, pa.timestamp("us")),
    ],
    "times with a zone": [
        array(ZONED, object),
        array([pd.Timestamp(time).tz_convert("Asia/Tokyo") for time in ZONED], object),
        frame(ZONED),
        frame(pd.Series(ZONED).dt.tz_convert("Europe/Rome").dt.as_unit("ns")),
        grades(pd.Series(ZONED).dt.tz_convert("Europe/Rome")),
        polars(ZONED, pl.Datetime("ms", "UTC")),
        polars(ZONED, pl.Datetime("us", "Asia/Tokyo")),
        *arrow(ZONED, pa.timestamp("us", "Asia/Tokyo")),
        *arrow(ZONED, pa.timestamp("s", "+02:00")),
        arrow_grades(ZONED, pa.timestamp("us", "Asia/Tokyo")),
    ],
    "durations": [
        *(array(WAITS, f"m8[{unit}]") for unit in ("s", "us", "ns")),
        array(WAITS, object),
        array([np.timedelta64(wait) for wait in WAITS], object),
        *(frame(WAITS, f"m8[{unit}]") for unit in ("s", "ns")),
        grades(WAITS),
        polars(WAITS),
        *arrow(WAITS, pa.duration("ms")),
    ],
    "other objects": [array(["b", 1, "a", 2.5, "b"], object)],
}
# All other pairs are errors, but for objects of several types.
TAKEN = {
    ("numbers", "booleans"),
    ("booleans", "numbers"),
    ("dates", "times without a zone"),
    ("times without a zone", "dates"),
    *((content, content) for content in TABLES),
}


def schemas(fitted):
    """A column as categories, and as numbers where it can be such."""
    for kind in (CATEGORICAL, CONTINUOUS):
        try:
            yield ColumnSchema(column_kinds={0: kind}).fit(fitted)
        except (ValueError, TypeError):
            assert kind == CONTINUOUS  # of strings


@pytest.mark.parametrize("holds", TABLES)
@pytest.mark.parametrize("held", TABLES)
def test_every_pair_of_dtypes(held, holds):
    message = rf"^column ('x'|0) held {held} in fit \(dtype .*\), but now holds .* \(dtype .*\); "
    for fitted in TABLES[held]:
        for schema in schemas(fitted):
            expected = schema.encode(fitted)[0]
            assert schema.columns_[0].content == held
            if (held, holds) in TAKEN:
                for table in TABLES[holds]:
                    np.testing.assert_array_equal(schema.encode(table)[0], expected)
            elif held == "other objects":
                found = schema.encode(TABLES[holds][0])[0][:, 0]
                words = (expected[[0, 2, 2, 0], 0]).tolist()
                assert found.tolist() == [*words, -1] or holds != "strings"
            elif holds == "other objects" and schema.kinds_[0] == CATEGORICAL:
                # Those of another type are unknown categories.
                known = expected[0, 0] if held == "strings" else -1
                assert schema.encode(TABLES[holds][0])[0][[0, 3, 4], 0].tolist() == [
                    known,
                    -1,
                    known,
                ]
            else:
                for table in TABLES[holds][:: len(TABLES[holds]) // 2 or 1]:
                    with pytest.raises(ValueError, match=message):
                        schema.encode(table)


def test_advice_says_what_to_do():
    times, zoned = frame(TIMES), frame(ZONED)
    with pytest.raises(ValueError, match=r"column 'x' .*take the zone off, as .dt.tz_localize"):
        ColumnSchema().fit(times).encode(zoned)
    with pytest.raises(ValueError, match=r"column 'x' .*say in which zone they are"):
        ColumnSchema().fit(zoned).encode(times)
    with pytest.raises(ValueError, match=r"column 'x' .*'oops' in row 2 .*convert it to numbers"):
        ColumnSchema().fit(frame([1.5, 2.5, 3])).encode(frame([1.5, 2, "oops"], object))
    with pytest.raises(
        ValueError, match=r"held numbers .* holds strings .*convert them to numbers"
    ):
        ColumnSchema().fit(frame([1.5, 2.5, 3])).encode(frame(["1.5", "2.5", "3"]))
    with pytest.raises(
        ValueError, match=r"held strings .* holds numbers .*convert them to strings"
    ):
        ColumnSchema().fit(frame(["1", "2", "3"])).encode(frame([1, 2, 3]))


def test_a_table_without_values_goes_with_all():
    nothing = [
        array([np.nan] * 2, "f8"),
        array([None] * 2, object),
        array(["NaT"] * 2, "M8[ns]"),
        *(
            frame([None] * 2, d)
            for d in (object, "f8", "M8[s]", "m8[s]", "Int8", "string", "boolean")
        ),
        frame(pd.Categorical([None, None], categories=["a"])),
        frame(pd.Series([None, None], dtype="M8[s]").dt.tz_localize("Asia/Tokyo")),
        *(polars([None] * 2, d) for d in (pl.Null, pl.Int8, pl.String, pl.Date, pl.Object)),
    ]
    for tables in TABLES.values():
        schema = ColumnSchema(missing=True).fit(tables[0])
        for table in nothing:
            assert np.isnan(schema.encode(table)[0]).all()
    for table in nothing:
        schema = ColumnSchema(missing=True).fit(table)
        for tables in TABLES.values():
            assert (schema.encode(tables[0])[0] == -1).all()


def test_units_finer_than_those_of_fit_are_not_cut_off():
    seconds = np.array([["2020-01-01T00:00:00"], ["2020-01-01T00:00:10"]], dtype="M8[s]")
    later = np.array([["2020-01-01T00:00:05.25"]], dtype="M8[ns]")
    assert ColumnSchema(standardize=True).fit(seconds).encode(later)[0] == pytest.approx(0.05)
    days = seconds.astype("M8[D]") + np.array([[0], [10]])
    noon = np.array([["2020-01-06T12"]], dtype="M8[h]")
    assert ColumnSchema().fit(days).encode(noon)[0] == pytest.approx(0.1)
    waits, later = np.array([[0], [10]], dtype="m8[s]"), np.array([[5250]], dtype="m8[ms]")
    assert ColumnSchema().fit(waits).encode(later)[0] == pytest.approx(0.05)


QUICK = {"max_epochs": 2, "n_orders": 1, "early_stopping": False, "random_state": 0}


def table_of(times):
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {"when": times, "s": rng.choice(list("ab"), len(times)), "x": rng.normal(size=len(times))}
    )


NAIVE = pd.Series(pd.date_range("2020-01-01", periods=60, freq="7h").as_unit("us"))


@pytest.mark.parametrize(
    ("estimator", "method"),
    [
        (HistogramDensity(), "score_samples"),
        (AutoregressiveDensity((8,), **QUICK), "conditional_sample"),
        (BayesianNetworkDensity("chow-liu", conditional="table"), "score_samples"),
        (NaiveBayesClassifier(), "predict"),
        (GenerativeClassifier(HistogramDensity(alpha=1)), "predict"),
        (DensityImputer(AutoregressiveDensity((8,), **QUICK)), "transform"),
        (DensityOutlierDetector(HistogramDensity(alpha=1)), "predict"),
        (DensityCodec(HistogramDensity()), "code_length"),
    ],
    ids=lambda of: of if isinstance(of, str) else type(of).__name__,
)
def test_every_estimator_says_so(estimator, method):
    naive, zoned = table_of(NAIVE), table_of(NAIVE.dt.tz_localize("Europe/Rome"))
    y = np.arange(60) % 2
    for fitted, later in ((naive, zoned), (zoned, naive)):
        estimator.fit(fitted, y)
        getattr(estimator, method)(fitted)
        with pytest.raises(ValueError, match="column 'when' held times with.* zone in fit"):
            getattr(estimator, method)(later)
    if isinstance(estimator, DensityCodec):
        return
    # Another zone, another unit, and another dtype of strings are the same.
    same = zoned.assign(
        when=zoned["when"].dt.tz_convert("Asia/Tokyo").dt.as_unit("ns"),
        s=zoned["s"].astype("category"),
    )
    assert np.array_equal(
        np.asarray(getattr(estimator, method)(same)).shape,
        np.asarray(getattr(estimator, method)(zoned)).shape,
    )


def test_observed_cells_are_as_given_whatever_their_unit():
    table = table_of(NAIVE.dt.tz_localize("Europe/Rome"))
    imputer = DensityImputer(AutoregressiveDensity((8,), **QUICK), random_state=0).fit(table)
    holes = table.head(10).assign(
        when=table["when"].head(10).dt.as_unit("ns").dt.tz_convert("Asia/Tokyo"), x=np.nan
    )
    filled = imputer.transform(holes)
    assert filled["when"].dtype == table["when"].dtype
    pd.testing.assert_series_equal(filled["when"], table["when"].head(10))


def test_labels_of_another_container_are_the_same():
    table = table_of(NAIVE).drop(columns="when")
    density = HistogramDensity(alpha=1).fit(table)
    expected = density.score_samples(table)
    for dtype in (object, "string", "category"):
        np.testing.assert_array_equal(density.score_samples(table.astype({"s": dtype})), expected)
    # A table that was fitted in polars, and rows that come as objects.
    density = HistogramDensity(alpha=1).fit(pl.DataFrame(table.to_dict("list")))
    np.testing.assert_array_equal(density.score_samples(table), expected)
    density = HistogramDensity(alpha=1).fit(table.to_numpy(dtype=object))
    np.testing.assert_array_equal(density.score_samples(table.to_numpy(dtype=object)), expected)


def test_tables_that_are_compared_hold_the_same():
    table = table_of(NAIVE)
    with pytest.raises(ValueError, match="sampled does not go with real.*column 'when' held times"):
        energy_distance(table, table.assign(when=NAIVE.dt.tz_localize("UTC")), random_state=0)
    with pytest.raises(ValueError, match="sampled does not go with real.*column 'x' held numbers"):
        energy_distance(table, table.assign(x="0.5"), random_state=0)
    assert energy_distance(table, table.assign(s=table["s"].astype("category"))).statistic < 1e-3
