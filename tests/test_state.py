"""Fitted objects as plain values and arrays: nothing is lost, nothing else is in there, and no other class is made."""

import datetime
import json
from decimal import Decimal
from zoneinfo import ZoneInfo

import joblib
import numpy as np
import pandas as pd
import polars as pl
import polars.testing
import pytest
from sklearn.base import clone
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity

from sklearn_dgm import (
    AutoregressiveDensity,
    BayesianNetworkDensity,
    EnsembleDensity,
    HistogramDensity,
)
from sklearn_dgm._state import (
    NoPlainFormError,
    fitted_state,
    from_plain,
    set_fitted_state,
    to_plain,
)
from sklearn_dgm.columns import ColumnSchema
from sklearn_dgm.columns._building import template_of
from sklearn_dgm.columns._clock import Clock
from sklearn_dgm.columns._ties import Grid

pa = pytest.importorskip("pyarrow")
DAY = datetime.datetime(2024, 2, 28, 12)
OSLO = ZoneInfo("Europe/Oslo")


def through_a_file(plain):
    """What JSON says of a plain form, with arrays as they are; anything else is an error."""
    arrays = []

    def put_aside(array):
        assert type(array) is np.ndarray
        assert not array.dtype.hasobject
        arrays.append(array)
        return {"array": len(arrays) - 1}

    def put_back(part):
        return arrays[part["array"]] if "array" in part else part

    return json.loads(json.dumps(plain, default=put_aside), object_hook=put_back)


def anew(value):
    return from_plain(through_a_file(to_plain(value)))


VALUES = {
    "nothing": None,
    "numbers": [0, -(2**80), 0.1, float("inf"), True, "å"],
    "a tuple in a dict": {1: ("a", b"\x00b"), (2, None): {3.5}, "c": frozenset("d")},
    "a range": range(3, 9, 2),
    "Decimals": [Decimal("1.20"), Decimal("Infinity")],
    "times": [DAY, DAY.replace(tzinfo=OSLO, fold=1), DAY.replace(tzinfo=datetime.UTC), DAY.date()],
    "durations": [datetime.timedelta(-3, 5, 7), datetime.timezone(datetime.timedelta(hours=2))],
    "scalars": [np.float32(0.1), np.int8(3), np.datetime64("2024-01-01", "us"), np.bool_(True)],
    "dtypes": [np.dtype(">f4"), np.dtype(object), np.dtype("M8[ms]"), Decimal, np.timedelta64],
    "a clock and a grid": [Clock("M", "ns", 7), Grid(0.0, 0.1, 1, 3.0)],
    "times of pandas": [
        pd.Timestamp(DAY, tz="Europe/Oslo"),
        pd.Timestamp("2024-01-01 00:00:00.123456789"),
        pd.Timedelta(7, "ns"),
        pd.Interval(0.5, 1.5, closed="left"),
        pd.Timestamp,
    ],
}


@pytest.mark.parametrize("name", VALUES)
def test_values_come_back(name):
    value = VALUES[name]
    again = anew(value)
    assert again == value
    assert joblib.hash(again) == joblib.hash(value)  # types of what is within, too


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3).T,
        np.array("x"),
        np.array([b"a\x00b"], dtype="S4"),
        np.array([np.nan, -0.0, np.inf], dtype=np.float16),
        np.array([[1, "a"], [None, (2.5,)]], dtype=object),
        np.array([[1, 2], [3, 4]], dtype=object)[:0],
        np.array(["a", "bb"], dtype="T"),
        np.array(["NaT", "2024-01-01"], dtype="M8[D]"),
    ],
    ids=lambda array: f"{array.dtype}-{array.shape}",
)
def test_arrays_come_back(array):
    plain = to_plain(array)
    again, other = from_plain(plain), from_plain(plain)
    assert again.dtype == array.dtype
    assert not np.shares_memory(again, other)
    if isinstance(plain, np.ndarray):
        assert plain.flags.c_contiguous
        assert not np.shares_memory(plain, array)
    again = anew(array)
    np.testing.assert_array_equal(again, array)
    assert list(map(type, again.ravel().tolist())) == list(map(type, array.ravel().tolist()))


def test_the_second_of_two_equal_hours_stays_the_second():
    hour = datetime.datetime(2024, 10, 27, 2, 30, tzinfo=OSLO, fold=1)
    assert anew(hour).astimezone(datetime.UTC) == hour.astimezone(datetime.UTC)


def test_what_was_shared_is_shared():
    column = np.arange(3.0)
    one, other = anew([{"a": column}, {"a": column, "b": [column]}])
    assert one["a"] is other["a"] is other["b"][0]


def test_what_has_no_plain_form_is_named_with_its_place():
    frame = pd.DataFrame({"of": [complex, frozenset, object]}, dtype=object)
    schema = ColumnSchema().fit(frame)  # classes are categories like any other
    assert len(schema.columns_[0].categories) == 3
    with pytest.raises(NoPlainFormError, match=r"^columns_\[0\].categories\[0\] is of type "):
        to_plain(schema)
    for hidden in (lambda: None, iter([]), [pd.DataFrame()], {"a": object()}):
        with pytest.raises(NoPlainFormError, match="no plain form"):
            to_plain(hidden)


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "builtins.dict",
        "no_such_module.One",
        "sklearn_dgm._state.from_plain",
        "sklearn.base.clone",
    ],
)
def test_a_plain_form_makes_objects_of_few_classes(name):
    with pytest.raises(ValueError, match="no class whose objects have plain forms"):
        from_plain({"kind": "object", "class": name, "state": {}})


def arrow(dtype, values):
    return pd.Series(values, dtype=pd.ArrowDtype(dtype))


def cut(values):
    return pd.cut(pd.Series(values), [0, 1.5, 2.5, 9])


TIMES = pd.Series([DAY, DAY + datetime.timedelta(hours=5), DAY, DAY + datetime.timedelta(days=2)])
FRAMES = {
    "numbers": {
        "a": [0.5, 1.5, 2.5, 2.5],
        "b": np.arange(4, dtype=np.int8),
        "c": [True, False] * 2,
    },
    "nullable": {
        "a": pd.Series([1, None, 2, 2], dtype="Int16"),
        "b": pd.Series([True, None] * 2, dtype="boolean"),
        "c": pd.Series([0.5, None] * 2, dtype="Float32"),
    },
    "text": {
        "a": pd.Series(["x", "y"] * 2, dtype=object),
        "b": pd.Series(["x", None] * 2, dtype="string"),
        "c": pd.Series(["x", None] * 2, dtype="str"),
        "d": pd.Series(["x", None] * 2, dtype=pd.StringDtype("pyarrow")),
    },
    "categories": {
        "a": pd.Categorical(["x", "y"] * 2, categories=["unused", "y", "x"]),
        "b": pd.Categorical([3, 1] * 2, categories=[3, 1], ordered=True),
        "c": pd.Categorical(TIMES),
        "d": pd.Categorical(TIMES.dt.tz_localize("Asia/Tokyo")),
        "e": cut([1, 2, 3, 3]),
    },
    "times": {
        "a": TIMES,
        "b": TIMES.dt.tz_localize("Europe/Oslo").dt.as_unit("ns"),
        "c": TIMES - DAY,
        "d": TIMES.astype("M8[s]"),
    },
    "objects": {
        "a": pd.Series(TIMES.dt.date, dtype=object),
        "b": pd.Series([Decimal("1.50"), Decimal("2.25")] * 2, dtype=object),
        "c": pd.Series(
            [DAY.replace(tzinfo=OSLO)] * 2 + [None, DAY.replace(tzinfo=OSLO)], dtype=object
        ),
        "d": pd.Series([1, "x", None, ("y", 2)], dtype=object),
        "e": pd.Series(list(cut([1, 2, 3, 3])), dtype=object),
    },
    "Arrow": {
        "a": arrow(pa.decimal128(5, 2), [Decimal("1.50"), None] * 2),
        "b": arrow(pa.timestamp("us", "Europe/Oslo"), TIMES),
        "c": arrow(pa.string(), ["x", None] * 2),
        "d": arrow(pa.dictionary(pa.int32(), pa.string()), ["x", "y", "x", "x"]),
        "e": arrow(pa.date32(), [DAY.date()] * 4),
    },
}
OF_POLARS = {
    "numbers": {"a": pl.Series([0.5, 1.5, None, 2.5], dtype=pl.Float32), "b": [1, 2, 3, 3]},
    "text": {
        "a": pl.Series(["x", None] * 2, dtype=pl.Categorical),
        "b": pl.Series(["x", "y"] * 2, dtype=pl.Enum(["unused", "y", "x"])),
        "c": ["x", "y", None, "x"],
    },
    "times": {
        "a": pl.Series([DAY, None] * 2, dtype=pl.Datetime("ms", "Europe/Oslo")),
        "b": pl.Series([DAY.date()] * 4),
        "c": pl.Series([datetime.timedelta(3), None] * 2, dtype=pl.Duration("ns")),
    },
    "others": {"a": pl.Series([1, None] * 2, dtype=pl.Decimal(7, 2)), "b": [True, None] * 2},
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.DataConversionWarning")
@pytest.mark.parametrize(
    "frame",
    [
        *(pytest.param(pd.DataFrame(of), id=f"pandas: {name}") for name, of in FRAMES.items()),
        *(pytest.param(pl.DataFrame(of), id=f"polars: {name}") for name, of in OF_POLARS.items()),
    ],
)
def test_schemas_of_frames_come_back(frame):
    of_pandas = isinstance(frame, pd.DataFrame)
    assert_equal = (pd if of_pandas else pl).testing.assert_frame_equal
    schema = ColumnSchema(missing=True).fit(frame)
    again = anew(schema)
    assert repr(again) == repr(schema)
    Z = schema.encode(frame)[0]
    np.testing.assert_array_equal(again.encode(frame)[0], Z)
    expected, decoded = schema.decode(Z), again.decode(Z)
    assert_equal(decoded, expected)
    assert list(decoded.dtypes) == list(expected.dtypes) == list(again._template.dtypes)
    for column, of_fit in zip(again.columns_, schema.columns_, strict=True):
        assert column.maker == of_fit.maker
        assert column.dtype == of_fit.dtype
    empty = again._template.empty()
    assert_equal(empty, expected.head(0))


@pytest.mark.parametrize(
    "labels",
    [
        pd.RangeIndex(3, name="n"),
        pd.Index([3, 1, 2]),
        pd.Index(["x", "y", "z"], name="n"),
        pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)], names=["m", None]),
        pd.DatetimeIndex(TIMES[[0, 1, 3]]).tz_localize("Asia/Tokyo"),
        pd.Index([1, "a", None], dtype=object),
    ],
    ids=lambda labels: type(labels).__name__,
)
def test_labels_of_columns_come_back(labels):
    spec = template_of(pd.DataFrame(np.zeros((2, 3)), columns=labels))
    again = anew(spec)
    pd.testing.assert_index_equal(again.labels, labels, exact=True)
    pd.testing.assert_index_equal(again.empty().columns, labels, exact=True)
    pd.testing.assert_index_equal(again.take([2, 0]).labels, labels[[2, 0]])


def rows(n=80):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 3)).round(2)
    return pd.DataFrame({"a": X[:, 0], "b": np.rint(X[:, 0] + X[:, 1]), "c": X[:, 2] > 0})


def built_anew(density):
    return set_fitted_state(clone(density), through_a_file(fitted_state(density)))


QUICK = {"hidden_layer_sizes": (8,), "max_epochs": 2, "random_state": 0, "dropout": 0.0}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    "density",
    [
        AutoregressiveDensity(order="any", **QUICK),
        BayesianNetworkDensity("chow-liu", **QUICK),
        BayesianNetworkDensity("chow-liu", conditional="table"),
    ],
    ids=["autoregressive", "Bayesian network", "tables"],
)
def test_queries_of_a_density_that_is_built_anew(density):
    X = rows()
    density.fit(X)
    again = built_anew(density)
    gaps = X.head(6).astype({"b": object, "c": object})
    gaps.loc[::2, "b"] = gaps.loc[1::2, "c"] = None
    gaps = gaps.astype({"b": float, "c": "boolean"})
    np.testing.assert_array_equal(again.score_features(X), density.score_features(X))
    pd.testing.assert_frame_equal(
        again.conditional_sample(gaps, random_state=0),
        density.conditional_sample(gaps, random_state=0),
    )
    if isinstance(density, BayesianNetworkDensity):
        assert list(again.graph_.edges(data=True)) == list(density.graph_.edges(data=True))
        assert list(again.graph_.nodes(data=True)) == list(density.graph_.nodes(data=True))
        assert again._tables is again._module.members_given(None)[0].tables


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_training_goes_on_where_it_was():
    X = rows()
    density = AutoregressiveDensity(**QUICK, warm_start=True).fit(X)
    again = built_anew(density)
    np.testing.assert_array_equal(again.fit(X).score_samples(X), density.fit(X).score_samples(X))
    assert again.history_[:4] == density.history_[:4]


def test_members_of_an_ensemble_are_built_anew():
    X = rows()[["a", "b"]]
    members = [
        ("histogram", HistogramDensity(alpha=0.1)),
        ("mixture", GaussianMixture(2)),
        ("kernels", KernelDensity(metric="minkowski", metric_params={"p": 3})),
    ]
    density = EnsembleDensity(members, random_state=0).fit(X)
    again = built_anew(density)
    assert again.named_estimators_.histogram is again.estimators_[0]
    np.testing.assert_array_equal(again.score_samples(X), density.score_samples(X))
    density.estimators_[1].means_ = iter([])
    with pytest.raises(
        NoPlainFormError, match=r"estimators_\[1\].means_ is of type builtins.list_iterator"
    ):
        fitted_state(density)
