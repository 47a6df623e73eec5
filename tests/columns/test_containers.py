"""Containers that users have: Arrow's dtypes within pandas, and what is refused in one line."""

import datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest

from sklearn_dgm import (
    AutoregressiveDensity,
    BayesianNetworkDensity,
    DensityImputer,
    DensityOutlierDetector,
    EnsembleDensity,
    GenerativeClassifier,
    HistogramDensity,
    NaiveBayesClassifier,
    TransformedDensity,
)
from sklearn_dgm.chunks import is_chunked
from sklearn_dgm.codec import DensityCodec
from sklearn_dgm.columns import ColumnSchema
from sklearn_dgm.inspection import DensityDisplay
from sklearn_dgm.metrics import energy_distance

pa = pytest.importorskip("pyarrow")
nw = pytest.importorskip("narwhals")

N_ROWS = 60
TABLES = BayesianNetworkDensity("chow-liu", conditional="table")


def arrow(values, dtype):
    """A pandas Series with one of Arrow's dtypes."""
    if pa.types.is_dictionary(dtype):
        values = pa.array(values, dtype.value_type).dictionary_encode().cast(dtype)
    else:
        values = pa.array(values, dtype)
    return pd.Series(pd.arrays.ArrowExtensionArray(values))


def values_of(kind):
    day = datetime.datetime(2024, 2, 28)
    return {
        "text": ["b", "a", "c", "b", "a"],
        "whole": [7, 3, 5, 3, 3],
        "price": [Decimal(cents).scaleb(-2) for cents in (750, 125, 299, 125, 125)],
        "flag": [True, False, False, True, True],
        "time": [day + datetime.timedelta(hours=7 * k) for k in (3, 1, 2, 5, 0)],
        "date": [day.date() + datetime.timedelta(days=k) for k in (3, 1, 2, 5, 0)],
        "duration": [datetime.timedelta(minutes=k) for k in (3, 1, 2, 5, 0)],
    }[kind] * (N_ROWS // 5)


DTYPES = {
    **{
        f"decimal{bits}": ("price", getattr(pa, f"decimal{bits}")(5, 2))
        for bits in (32, 64, 128, 256)
        if hasattr(pa, f"decimal{bits}")
    },
    "dictionary of text": ("text", pa.dictionary(pa.int32(), pa.string())),
    "dictionary of large text": ("text", pa.dictionary(pa.int8(), pa.large_string())),
    "dictionary of whole": ("whole", pa.dictionary(pa.int32(), pa.int64())),
    "dictionary of flags": ("flag", pa.dictionary(pa.int32(), pa.bool_())),
    "bool": ("flag", pa.bool_()),
    "string": ("text", pa.string()),
    "large_string": ("text", pa.large_string()),
    "int8": ("whole", pa.int8()),
    "uint64": ("whole", pa.uint64()),
    "float": ("whole", pa.float32()),
    "date32": ("date", pa.date32()),
    "date64": ("date", pa.date64()),
    "timestamp": ("time", pa.timestamp("us")),
    "timestamp with zone": ("time", pa.timestamp("us", "Europe/Berlin")),
    "duration": ("duration", pa.duration("us")),
}


def test_categories_of_arrow_with_a_zone_come_back():
    times = pd.Series(values_of("time"), dtype=pd.ArrowDtype(pa.timestamp("us", "Asia/Tokyo")))
    frame = pd.DataFrame({"c": pd.Categorical(times)})
    schema = ColumnSchema().fit(frame)
    Z, _ = schema.encode(frame)
    assert Z.min() == 0
    pd.testing.assert_frame_equal(schema.decode(Z), frame)


@pytest.mark.parametrize("gaps", [False, True], ids=["complete", "gaps"])
@pytest.mark.parametrize("name", DTYPES)
def test_dtypes_of_arrow_come_back(name, gaps):
    kind, dtype = DTYPES[name]
    values = values_of(kind)
    if gaps:
        values[3] = values[7] = None
    frame = pd.DataFrame({"c": arrow(values, dtype), "x": np.arange(float(N_ROWS))})
    schema = ColumnSchema(missing=True).fit(frame)
    back = schema.decode(schema.encode(frame)[0])
    assert back.dtypes.tolist() == frame.dtypes.tolist()
    assert back["c"].isna().tolist() == frame["c"].isna().tolist()
    assert back["c"].dropna().tolist() == frame["c"].dropna().tolist()
    np.testing.assert_array_equal(schema.encode(frame[::-1])[0][::-1], schema.encode(frame)[0])


@pytest.mark.parametrize(
    "estimator",
    [
        HistogramDensity(bins=3),
        TABLES,
        AutoregressiveDensity((4,), max_epochs=1, early_stopping=False, dropout=0.0),
        EnsembleDensity([("histogram", HistogramDensity(bins=3)), ("tables", TABLES)]),
        TransformedDensity(None, TABLES),
        DensityOutlierDetector(TABLES),
        DensityImputer(TABLES),
        GenerativeClassifier(TABLES),
        NaiveBayesClassifier(),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_every_estimator_takes_dictionaries_of_arrow(estimator):
    """As categories: what it says of them is what it says of those of pandas."""
    text = values_of("text")
    x = np.random.default_rng(0).normal(size=N_ROWS).round(3)
    of_arrow = pd.DataFrame({"c": arrow(text, pa.dictionary(pa.int32(), pa.string())), "x": x})
    of_pandas = of_arrow.assign(c=pd.Categorical(text))
    y = (np.array(text) == "a").astype(int)
    answers = []
    for frame in (of_arrow, of_pandas):
        if "random_state" in estimator.get_params():
            estimator.set_params(random_state=0)
        estimator.fit(frame, y)
        ask = getattr(estimator, "predict_proba", getattr(estimator, "score_samples", None))
        answers.append(ask(frame) if ask else estimator.transform(frame)["x"].to_numpy())
    np.testing.assert_allclose(*answers)
    estimator.fit(of_arrow, y)
    if hasattr(estimator, "sample"):
        drawn = estimator.sample(20, random_state=0)
        drawn = drawn[0] if isinstance(drawn, tuple) else drawn
        assert drawn.dtypes.tolist() == of_arrow.dtypes.tolist()
        assert set(drawn["c"]) <= {"a", "b", "c"}


def test_text_of_arrow_stays_such_where_cells_are_filled_and_rows_transformed():
    text = values_of("text")
    frame = pd.DataFrame({"c": arrow(text, pa.string()), "x": np.arange(float(N_ROWS))})
    drawn = TransformedDensity(None, TABLES).fit(frame).sample(3, random_state=0)
    filled = DensityImputer(TABLES, random_state=0).fit(frame).transform(frame.assign(x=np.nan))
    for table in (drawn, filled):
        assert table.dtypes.tolist() == frame.dtypes.tolist()
    assert filled["c"].tolist() == text


def test_half_precision_of_arrow_takes_the_noise_of_a_committee():
    half = pd.Series(np.arange(N_ROWS) % 5 / 4, dtype="halffloat[pyarrow]")
    frame = pd.DataFrame({"x": half, "y": np.random.default_rng(0).normal(size=N_ROWS)})
    detector = DensityOutlierDetector([("tables", TABLES), ("tree", TABLES)]).fit(frame)
    assert np.isfinite(detector.score_samples(frame)).all()


def test_levels_of_a_dictionary_that_no_row_has_are_possible():
    """As are those of a category of pandas: a part of a table has the levels of the whole."""
    frame = pd.DataFrame({"c": arrow(values_of("text"), pa.dictionary(pa.int32(), pa.string()))})
    is_c = (frame["c"] == "c").to_numpy(dtype=bool)
    density = TABLES.fit(frame[~is_c])
    assert np.isfinite(density.score_samples(frame[is_c])).all()


def test_codec_of_a_dictionary_of_arrow():
    frame = pd.DataFrame({"c": arrow(values_of("text"), pa.dictionary(pa.int32(), pa.string()))})
    codec = DensityCodec(TABLES).fit(frame)
    pd.testing.assert_frame_equal(codec.decode(codec.encode(frame)), frame)


def numbers():
    return pd.DataFrame(np.random.default_rng(0).normal(size=(N_ROWS, 2)), columns=["a", "b"])


REFUSED = {
    "Arrow table": (lambda d: pa.table(d), TypeError, r"pyarrow.Table.*X.to_pandas\(\)"),
    "record batch": (
        lambda d: pa.table(d).to_batches()[0],
        TypeError,
        r"RecordBatch.*X.to_pandas\(\)",
    ),
    "lazy frame": (lambda d: pl.from_pandas(d).lazy(), TypeError, r"LazyFrame.*X.collect\(\)"),
    "narwhals": (lambda d: nw.from_native(d), TypeError, r"narwhals.*X.to_native\(\)"),
    "list of dicts": (lambda d: d.to_dict("records"), TypeError, r"a list of dicts.*DataFrame"),
    "dict": (lambda d: d.to_dict("list"), TypeError, r"a dict; make a DataFrame"),
    "array": (lambda d: d["a"].to_numpy(), ValueError, "got 1D array instead .60 values.*reshape"),
    "list": (lambda d: d["a"].tolist(), ValueError, "got 1D array instead .60 values.*reshape"),
    "strings": (lambda d: ["a"] * N_ROWS, ValueError, "got 1D array instead .60 values.*reshape"),
    "pandas series": (lambda d: d["a"], ValueError, r"got 1D array instead.*X.to_frame\(\)"),
    "polars series": (
        lambda d: pl.from_pandas(d)["a"],
        ValueError,
        r"got 1D array instead.*X.to_frame\(\)",
    ),
    "Arrow column": (lambda d: pa.table(d)["a"], ValueError, "got 1D array instead"),
    "number": (lambda d: 3.0, ValueError, "got scalar array instead .a float"),
    "path": (lambda d: "table.csv", ValueError, "X is the path 'table.csv', which is no Parquet"),
    "paths": (
        lambda d: ["a.parquet", "table.csv"],
        ValueError,
        r"X\[1\] is the path 'table.csv', which is no Parquet",
    ),
    "generator": (lambda d: (row for row in [[1, 2]]), ValueError, "scalar array instead .a gen"),
    "set": (lambda d: {1, 2}, ValueError, "scalar array instead .a set"),
    "empty list": (lambda d: [], ValueError, "got 1D array instead .0 values"),
    "labels": (lambda d: d.set_axis(["b", "b"], axis=1), ValueError, "than one column 'b'; give"),
    "None": (lambda d: None, ValueError, "got scalar array instead .a NoneType"),
}


@pytest.mark.parametrize(
    "estimator",
    [
        HistogramDensity(),
        EnsembleDensity([("histogram", HistogramDensity())]),
        TransformedDensity(None, HistogramDensity()),
        DensityOutlierDetector(HistogramDensity()),
        DensityImputer(TABLES),
        GenerativeClassifier(HistogramDensity()),
        NaiveBayesClassifier(),
        DensityCodec(HistogramDensity()),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_table_is_refused_in_one_line(estimator, name):
    make, kind, message = REFUSED[name]
    X, y = make(numbers()), np.arange(N_ROWS) % 2
    reads_chunks = HistogramDensity | DensityOutlierDetector | NaiveBayesClassifier
    if isinstance(estimator, reads_chunks) and is_chunked(X):
        if name == "lazy frame":  # which is read a chunk at a time
            estimator.fit(X, y)
            return
        kind, message = TypeError, "can be read but once"
    elif is_chunked(X):
        kind, message = TypeError, f"{type(estimator).__name__} learns from rows in memory alone"
    with pytest.raises(kind, match=message) as raised:
        estimator.fit(X, y)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 250


@pytest.mark.parametrize("name", ["Arrow table", "list of dicts", "array"])
def test_later_calls_refuse_the_same(name):
    make, kind, message = REFUSED[name]
    density = HistogramDensity().fit(numbers())
    with pytest.raises(kind, match=message):
        density.score_samples(make(numbers()))


def test_pictures_and_metrics_refuse_the_same():
    pytest.importorskip("matplotlib")
    density = HistogramDensity().fit(numbers())
    with pytest.raises(TypeError, match=r"pyarrow.Table"):
        DensityDisplay.from_estimator(density, pa.table(numbers()))
    with pytest.raises(TypeError, match=r"LazyFrame"):
        energy_distance(pl.from_pandas(numbers()).lazy(), numbers())


def test_explain_says_why_there_is_none():
    detector = DensityOutlierDetector(TransformedDensity(None, HistogramDensity())).fit(numbers())
    assert not hasattr(detector, "explain")
    with pytest.raises(AttributeError) as raised:
        detector.explain(numbers())
    assert "TransformedDensity has no score_features" in str(raised.value.__cause__)


def test_column_predictions_have_a_repr():
    frame = pd.DataFrame({"c": values_of("text"), "x": np.arange(float(N_ROWS))})
    density = TABLES.fit(frame)
    assert repr(density.predict_column(frame, "c")) == (
        "ColumnPrediction of column 'c': 60 rows, 3 categories"
    )
    assert "column 'x': 60 rows" in repr(density.predict_column(frame, "x"))
