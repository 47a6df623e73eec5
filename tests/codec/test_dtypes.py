"""Whatever the dtype, a column comes back as it was, or is refused by name."""

import enum
import re
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from sklearn_dgm import BayesianNetworkDensity, DensityCodec

NAME = "the column"
GAPS = {"pandas": [None], "object": [None, np.nan, pd.NA, pd.NaT]}


def integers(bits, signed=True):
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    small = st.integers(max(low, -5), 9)
    return small, small | st.integers(low, high) | st.sampled_from([high, low])


def floats(width):
    usual = st.integers(-9, 9).map(lambda x: x / 4)
    return usual, usual | st.floats(width=width) | st.just(-0.0)


WORDS = st.sampled_from(["a", "b", "c d"])
TEXT = WORDS, WORDS | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=3)
FLAGS = st.booleans(), st.booleans()
LEVELS = WORDS, WORDS
DECIMALS = (
    st.integers(-999, 999).map(lambda x: Decimal(x) / 100),
    st.integers(-(10**17), 10**17).map(lambda x: Decimal(x).scaleb(-2)),
)
OBJECTS = WORDS | st.integers(0, 3), WORDS | st.integers(0, 2**70) | st.floats() | st.booleans()


def ticks(unit):
    per = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    usual = st.integers(0, 9).map(lambda x: 3600 * x * per)
    return usual, st.integers(-(2**62), 2**62)


def series_of(dtype):
    return lambda cells: pd.DataFrame({NAME: pd.Series(cells, dtype=dtype)})


def unit_of(dtype):
    """The unit of times in the name of a dtype."""
    return re.search(r"\[(s|ms|us|ns)\b", dtype)[1]


def times_of(dtype):
    """Ticks as times of a dtype; None as NaT."""

    def make(cells):
        kind = "M" if dtype.startswith(("datetime", "timestamp")) else "m"
        ticks = np.array([np.iinfo(np.int64).min if c is None else c for c in cells])
        series = pd.Series(ticks.view(f"{kind}8[{unit_of(dtype)}]"))
        if "Oslo" in dtype or "UTC" in dtype:
            series = series.dt.tz_localize("UTC")
        return pd.DataFrame({NAME: series.astype(dtype)})

    return make


def polars_of(dtype):
    def make(cells):
        count = pl.Series(NAME, cells, dtype=pl.Int64) if dtype.is_temporal() else None
        if dtype == pl.Date:
            return pl.DataFrame(count.clip(-(10**6), 10**6).cast(pl.Int32).cast(pl.Date))
        return pl.DataFrame(
            count.cast(dtype) if count is not None else pl.Series(NAME, cells, dtype=dtype)
        )

    return make


def array_of(dtype):
    return lambda cells: np.array([[cell] for cell in cells], dtype=dtype)


CATEGORIES = pd.CategoricalDtype(["c d", "b", "a", "unused"])
PANDAS = {
    **{f"int{b}": integers(b) for b in (8, 16, 32, 64)},
    **{f"uint{b}": integers(b, signed=False) for b in (8, 16, 32, 64)},
    **{f"float{b}": floats(b) for b in (16, 32, 64)},
    "bool": FLAGS,
    "Int64": integers(64),
    "UInt64": integers(64, signed=False),
    "Int8": integers(8),
    "Float32": floats(32),
    "Float64": floats(64),
    "boolean": FLAGS,
    "string": TEXT,
    "str": TEXT,
    "object": OBJECTS,
    "int64[pyarrow]": integers(64),
    "uint64[pyarrow]": integers(64, signed=False),
    "double[pyarrow]": floats(64),
    "float[pyarrow]": floats(32),
    "bool[pyarrow]": FLAGS,
    "string[pyarrow]": TEXT,
}
TIMES = [
    *(f"datetime64[{unit}]" for unit in ("s", "ms", "us", "ns")),
    *(f"timedelta64[{unit}]" for unit in ("s", "ms", "us", "ns")),
    "datetime64[us, Europe/Oslo]",
    "datetime64[ns, UTC]",
    "timestamp[us][pyarrow]",
    "timestamp[ns, tz=UTC][pyarrow]",
    "duration[ms][pyarrow]",
]
POLARS = {
    **{getattr(pl, f"Int{b}"): integers(b) for b in (8, 16, 32, 64)},
    **{getattr(pl, f"UInt{b}"): integers(b, signed=False) for b in (8, 16, 32, 64)},
    **({pl.Int128: integers(128)} if hasattr(pl, "Int128") else {}),
    pl.Float32: floats(32),
    pl.Float64: floats(64),
    pl.Boolean: FLAGS,
    pl.String: TEXT,
    pl.Categorical: LEVELS,
    pl.Enum(["c d", "b", "a", "unused"]): LEVELS,
    pl.Decimal(18, 2): DECIMALS,
    pl.Date: (st.integers(0, 99), st.integers(-(10**6), 10**6)),
    **{pl.Datetime(u): ticks(u) for u in ("ms", "us", "ns")},
    **{pl.Duration(u): ticks(u) for u in ("ms", "us", "ns")},
    pl.Datetime("us", "Europe/Oslo"): ticks("us"),
}
COLUMNS = {
    **{dtype: (series_of(dtype), *cells) for dtype, cells in PANDAS.items()},
    **{t: (times_of(t), *ticks(unit_of(t))) for t in TIMES},
    "category": (series_of(CATEGORIES), *LEVELS),
    "decimal[pyarrow]": (series_of(pd.ArrowDtype(pa.decimal128(18, 2))), *DECIMALS),
    **{f"polars {dtype}": (polars_of(dtype), *cells) for dtype, cells in POLARS.items()},
    **{
        f"array {dtype}": (array_of(dtype), *PANDAS[dtype])
        for dtype in ("int64", "uint64", "float16", "float32", "float64", "bool", "object")
    },
}
# Those that cannot hold a missing cell.
WHOLE = {
    name for name in COLUMNS if name.removeprefix("array ").startswith(("int", "uint", "bool"))
}
WHOLE -= {name for name in COLUMNS if "pyarrow" in name or name == "boolean"}
# Those that hold what cannot always come back, and is refused.
REFUSED = {"Float32", "Float64", "double[pyarrow]", "float[pyarrow]"}
REFUSED |= {name for name in COLUMNS if "ecimal" in name} | {"object", "array object"}


def in_words(X):
    """The dtypes and cells of a table as text, which tells all that are not the same apart."""
    if isinstance(X, np.ndarray):
        return str(X.dtype), list(map(repr, X.ravel().tolist()))
    if isinstance(X, pl.DataFrame):
        column = X[NAME]
        as_ticks = column.to_physical() if column.dtype.is_temporal() else column
        return str(column.dtype), list(map(repr, as_ticks.to_list()))
    column = X[NAME]
    cells = column.array
    if "timestamp" in str(column.dtype):  # Python's own times end in the year 9999
        cells = pa.array(cells).cast(pa.int64()).to_pylist()
    return str(column.dtype), list(map(repr, cells))


def gaps_of(name):
    if name in WHOLE:
        return []
    if name.endswith("object"):
        return GAPS["object"]
    return [np.nan] if name.startswith("array") else GAPS["pandas"]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", COLUMNS)
@given(data=st.data())
@settings(
    max_examples=4,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
    derandomize=True,
)
def test_every_dtype_comes_back(name, data):
    make, usual, any_of_dtype = COLUMNS[name]
    gaps = st.sampled_from(gaps_of(name)) if gaps_of(name) else st.nothing()
    seen = data.draw(st.lists(usual, min_size=6, max_size=12)) + gaps_of(name)[:1]
    rows = make(data.draw(st.lists(any_of_dtype | gaps, min_size=1, max_size=6)))
    codec = DensityCodec(BayesianNetworkDensity("empty", conditional="table")).fit(make(seen))
    refused = None
    try:
        decoded = codec.decode(codec.encode(rows))
    except (ValueError, TypeError) as error:
        refused = str(error)
    if refused is None:
        assert in_words(decoded) == in_words(rows)
    else:
        assert name in REFUSED
        assert NAME in refused or "column 0" in refused


DECIMAL = [Decimal("90071992547409.93"), *map(Decimal, ["1.25", "2.5"] * 10)]


@pytest.mark.parametrize(
    "table",
    [
        pl.DataFrame({NAME: DECIMAL}),
        series_of(pd.ArrowDtype(pa.decimal128(18, 2)))(DECIMAL),
    ],
    ids=["polars", "arrow"],
)
def test_decimals_beyond_float64_are_refused(table):
    codec = DensityCodec(BayesianNetworkDensity("empty", conditional="table")).fit(table)
    with pytest.raises(ValueError, match=f"'{NAME}' holds Decimal.*93'.* in row 0, .* convert it"):
        codec.encode(table)
    rows = table[1:]
    assert in_words(codec.decode(codec.encode(rows))) == in_words(rows)


def test_null_beside_nan():
    floats = pl.DataFrame({NAME: [1.5, None, float("nan"), 2.5] * 9})
    objects = pd.DataFrame({NAME: pd.Series(["x", None, np.nan, pd.NA, pd.NaT] * 9, dtype=object)})
    for table in (floats, objects, objects.to_numpy()):
        codec = DensityCodec(BayesianNetworkDensity("empty", conditional="table")).fit(table)
        assert in_words(codec.decode(codec.encode(table))) == in_words(table)


@pytest.mark.parametrize("dtype", ["Float64", "double[pyarrow]"])
def test_nan_that_a_dtype_would_take_for_missing_is_refused(dtype):
    table = series_of(dtype)([1.5, 2.5] * 9)
    codec = DensityCodec(BayesianNetworkDensity("empty", conditional="table")).fit(table)
    if "pyarrow" in dtype:
        values = pd.array(pa.array([1.5, float("nan")]), dtype="double[pyarrow]")
    else:
        values = pd.arrays.FloatingArray(np.array([1.5, np.nan]), np.zeros(2, dtype=bool))
    with pytest.raises(
        ValueError, match=f"'{NAME}' holds nan in row 1, which would come back as <NA>"
    ):
        codec.encode(pd.DataFrame({NAME: values}))


@pytest.mark.parametrize("container", ["frame", "array", "polars"])
def test_decimals_of_several_lengths(container):
    """Which the decimals of a float do not tell apart."""
    values = [Decimal(text) for text in ("3", "2.50", "2.5", "-0.125", "1E+3", "0")] * 10
    X = np.array([values], dtype=object).T
    if container != "array":
        of = pd.DataFrame if container == "frame" else pl.DataFrame
        column = (
            pd.Series(values, dtype=object)
            if of is pd.DataFrame
            else pl.Series(values, dtype=pl.Object)
        )
        X = of({NAME: column})
    codec = DensityCodec(BayesianNetworkDensity("empty", conditional="table")).fit(X)
    assert in_words(codec.decode(codec.encode(X))) == in_words(X)


class Size(enum.IntEnum):
    SMALL, LARGE = 1, 2


class Name(str):
    __slots__ = ()


@pytest.mark.parametrize("values", [list(Size), [Name("a"), "b"]], ids=["numbers", "strings"])
def test_objects_of_derived_types_are_refused(values):
    """JSON, in which rows are stored apart, would make numbers and strings of them."""
    usual = [1, 2] if values[0] == 1 else ["a", "b"]
    fitted, X = (np.array([of * 30], dtype=object).T for of in (usual, values))
    codec = DensityCodec(BayesianNetworkDensity("empty", conditional="table")).fit(fitted)
    with pytest.raises((TypeError, ValueError), match="column 0 holds"):
        codec.encode(X)


def test_no_rows_of_categories_that_arrow_calls_dates():
    days = pd.array([18_000, 18_001], dtype="int32[pyarrow]").astype("date32[pyarrow]")
    X = pd.DataFrame({NAME: pd.Categorical.from_codes([0, 1] * 30, pd.Index(days))})
    codec = DensityCodec(BayesianNetworkDensity("empty", conditional="table")).fit(X)
    pd.testing.assert_frame_equal(codec.decode(codec.encode(X[:0])), X[:0])
