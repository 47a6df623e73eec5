"""Categories in any order and of any values; Python objects that are times or numbers."""

import datetime
import fractions
import warnings
import zoneinfo
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import DataConversionWarning
from sklearn.preprocessing import StandardScaler

from sklearn_dgm import (
    AutoregressiveDensity,
    AveragedOneDependenceClassifier,
    BayesianNetworkDensity,
    DensityCodec,
    DensityImputer,
    DensityOutlierDetector,
    EnsembleDensity,
    GenerativeClassifier,
    HistogramDensity,
    NaiveBayesClassifier,
    TransformedDensity,
    TreeAugmentedNaiveBayesClassifier,
)
from sklearn_dgm.columns import CATEGORICAL, CONTINUOUS, INTEGER, ColumnSchema
from sklearn_dgm.columns._values import codes

DAYS = pd.to_datetime(["2020-01-01", "2020-01-02", "2020-01-03", "2020-01-04"])
# One category that no row has, and none of them in increasing order.
LEVELS = {
    "integers": [3, 4, 1, 2],
    "floats": [2.5, 0.5, -1.5, 9.0],
    "booleans": [True, False],
    "strings": ["c", "a", "d", "b"],
    "nullable": pd.array([3, 4, 1, 2], dtype="Int64"),
    "dates": [date.date() for date in DAYS[[2, 0, 3, 1]]],
    "periods": DAYS[[2, 0, 3, 1]].to_period("D"),
    "intervals": pd.interval_range(0, 4)[[2, 0, 3, 1]],
    "decimals": [Decimal("2.5"), Decimal("0.5"), Decimal("-1.5"), Decimal("9")],
    **{f"times in {u}": DAYS.as_unit(u)[[2, 0, 3, 1]] for u in ("s", "ms", "us", "ns")},
    "zoned": DAYS.tz_localize("America/New_York")[[2, 0, 3, 1]],
    "close": pd.to_datetime([2, 1, 4, 3], unit="ns"),
    **{
        f"durations in {u}": (DAYS - DAYS[0]).as_unit(u)[[2, 0, 3, 1]]
        for u in ("s", "ms", "us", "ns")
    },
}
# How often each of the first levels occurs, and where.
CODE = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [45, 30, 15]))


def categorical(of):
    levels = LEVELS[of]
    code = CODE % 2 if len(levels) == 2 else CODE
    return pd.Series(pd.Categorical.from_codes(code, pd.Index(levels)), name="grade"), code


def polars_of(of):
    values, code = categorical(of)
    return pl.Series("grade", values.tolist(), dtype=pl.Enum(list(LEVELS[of]))), code


def tables():
    for of in LEVELS:
        values, code = categorical(of)
        yield of, pd.DataFrame({"grade": values}), code
    values, code = polars_of("strings")
    yield "polars", pl.DataFrame({"grade": values}), code


TABLES = {of: (table, code) for of, table, code in tables()}


@pytest.mark.parametrize("of", TABLES)
def test_shares_are_those_of_the_values(of):
    table, code = TABLES[of]
    density = HistogramDensity().fit(table)
    shares = np.bincount(code)[code] / len(code)
    np.testing.assert_allclose(np.exp(density.score_samples(table)), shares)
    column = density.schema_.columns_[0]
    assert (column.kind, len(column.categories)) == (
        CATEGORICAL,
        len(LEVELS.get(of, LEVELS["strings"])),
    )
    drawn = density.sample(2000, random_state=0)
    if of == "polars":
        assert drawn.schema == table.schema
        counts = dict(drawn["grade"].value_counts().iter_rows())
        found = [counts[level] for level in LEVELS["strings"][:3]]
    else:
        assert drawn["grade"].dtype == table["grade"].dtype
        assert drawn["grade"].cat.categories.equals(table["grade"].cat.categories)
        found = drawn["grade"].value_counts().reindex(table["grade"].cat.categories)
        found = found.to_numpy()[: code.max() + 1]
    # Three standard deviations.
    np.testing.assert_allclose(np.array(found) / 2000, np.bincount(code) / len(code), atol=0.033)


@pytest.mark.parametrize("of", TABLES)
@pytest.mark.parametrize("missing", [False, True])
def test_every_row_comes_back(of, missing):
    table, code = TABLES[of]
    if missing:
        gaps = np.arange(len(code)) % 7 == 0
        if of == "polars":
            table = table.select(
                pl.when(pl.Series(~gaps)).then(pl.col("grade")).otherwise(None).alias("grade")
            )
        else:
            table = table.assign(grade=table["grade"].mask(gaps))
        code = np.where(gaps, np.nan, code)
    schema = ColumnSchema(missing=missing).fit(table)
    Z = schema.encode(table)[0]
    np.testing.assert_array_equal(Z[:, 0], code)
    back = schema.decode(Z)
    if of == "polars":
        assert back.equals(table)
    else:
        pd.testing.assert_frame_equal(back, table)


@pytest.mark.parametrize("of", TABLES)
@pytest.mark.parametrize(
    "classifier",
    [
        NaiveBayesClassifier(),
        TreeAugmentedNaiveBayesClassifier(),
        AveragedOneDependenceClassifier(),
        GenerativeClassifier(HistogramDensity(alpha=0.1)),
    ],
    ids=lambda classifier: type(classifier).__name__,
)
def test_a_category_tells_the_class(of, classifier):
    table, code = TABLES[of]
    noise = np.random.default_rng(1).integers(3, size=len(code))
    if of == "polars":
        table = table.with_columns(noise=pl.Series(noise))
    else:
        table = table.assign(noise=noise)
    classifier.fit(table, code == 0)
    assert classifier.score(table, code == 0) == 1
    assert np.isfinite(classifier.score_samples(table)).all()


QUICK = {"max_epochs": 2, "early_stopping": False, "random_state": 0}
DENSITIES = {
    "histogram": HistogramDensity(),
    "networks": AutoregressiveDensity((8,), n_orders=1, **QUICK),
    "learnt graph": BayesianNetworkDensity("learn", conditional="table"),
    "tree": BayesianNetworkDensity("chow-liu", conditional="table"),
    "ensemble": EnsembleDensity([("a", HistogramDensity()), ("b", HistogramDensity(alpha=1))]),
}


@pytest.mark.parametrize("of", ["integers", "booleans", "polars", "times in ns", "zoned"])
@pytest.mark.parametrize("density", DENSITIES)
def test_every_fitted_row_is_possible(of, density):
    table, code = TABLES[of]
    x = code * 2 + np.random.default_rng(2).integers(2, size=len(code))
    table = table.with_columns(x=pl.Series(x)) if of == "polars" else table.assign(x=x)
    fitted = DENSITIES[density].fit(table)
    assert np.isfinite(fitted.score_samples(table)).all()
    drawn = fitted.sample(20, random_state=0)
    assert list(drawn.columns) == list(table.columns)
    assert drawn["grade"].dtype == table["grade"].dtype


@pytest.mark.parametrize("of", ["integers", "booleans", "polars", "times in s", "zoned", "dates"])
def test_codec_and_imputer_keep_categories(of):
    table, code = TABLES[of]
    codec = DensityCodec(HistogramDensity()).fit(table)
    back = codec.decode(codec.encode(table))
    assert back.equals(table)
    holes = table[:4]
    if of == "polars":
        holes = holes.with_columns(
            grade=pl.Series([None, *holes["grade"][1:]], dtype=holes["grade"].dtype)
        )
        both = (
            table.with_columns(x=pl.Series(code * 1.5)),
            holes.with_columns(x=pl.Series(code[:4] * 1.5)),
        )
    else:
        holes = holes.assign(grade=holes["grade"].mask([True, False, False, False]))
        both = table.assign(x=code * 1.5), holes.assign(x=code[:4] * 1.5)
    imputer = DensityImputer(DENSITIES["tree"], strategy="mode").fit(both[0])
    filled = imputer.transform(both[1])
    assert filled[["grade"]].equals(table[:4])


def test_each_look_up_takes_the_order_as_it_comes():
    rng = np.random.default_rng(0)
    for dtype in ("i8", "u2", "f4", "f8", "bool", "U3", "S3", "M8[s]", "m8[D]", "O"):
        levels = np.array([0, 1]) if dtype == "bool" else np.arange(2, 40, 3)
        categories = rng.permutation(
            levels.astype("U3" if dtype in ("U3", "S3") else "i8").astype(dtype)
        )
        asked = (
            np.arange(2 if dtype == "bool" else 45)
            .astype("U3" if dtype in ("U3", "S3") else "i8")
            .astype(dtype)
        )
        place = {value: k for k, value in enumerate(categories.tolist())}
        expected = [place.get(value, -1) for value in asked.tolist()]
        assert codes(asked, categories).tolist() == expected
    # Beyond 2**53, numbers of other types are compared exactly, too.
    large = np.array([2**53 + 1, 2**53], dtype=np.int64)
    assert codes(large.astype(np.uint64), large).tolist() == [0, 1]
    assert codes(np.array([2.0**53]), large).tolist() == [1]


def test_times_beyond_the_reach_of_nanoseconds_do_not_wrap_around():
    far = np.array(["0500-01-01", "9999-12-31", "2020-01-01"], dtype="M8[us]")
    close = np.array(["2020-01-01", "2020-01-02"], dtype="M8[ns]")
    assert codes(close, far).tolist() == [2, -1]
    assert codes(far, close).tolist() == [-1, -1, 0]
    fine = pd.Timestamp(1577836800000000000, unit="ns")
    schema = ColumnSchema().fit(array_of([fine, datetime.datetime(9999, 12, 29)]))
    assert schema.columns_[0].details() == "2020-01-01 to 9999-12-29"
    table = frame_of([datetime.datetime(500, 1, 1), datetime.datetime(9999, 1, 1)] * 10)
    table = table.assign(x=table["x"].astype("M8[us]"), y=np.arange(20.0))
    imputer = DensityImputer(DENSITIES["networks"], strategy="mean").fit(table)
    holes = table.head(2).assign(x=pd.Series([pd.NaT, fine]).astype("M8[ns]"))
    filled = imputer.transform(holes)["x"]
    assert filled[1] == fine
    assert filled[0].year < 1677 or filled[0].year > 2262


def test_rows_of_fit_that_a_schema_does_not_know_are_refused():
    table = pd.DataFrame({"s": list("aabb"), "t": list("aabc")})
    density = HistogramDensity()
    schema = density.learn_schema(table.head(3))
    with pytest.raises(ValueError, match="column 't' has a category in row 3"):
        density.fit(table, schema=schema)
    assert not hasattr(density, "schema_")
    density.fit(table, sample_weight=[1, 1, 1, 0], schema=schema)
    assert np.isneginf(density.score_samples(table)).tolist() == [False, False, False, True]


def test_numbers_that_are_categories_by_dtype_may_be_taken_as_numbers():
    table = pd.DataFrame({"x": pd.Categorical([3.5, 1.5, 2.5] * 30)})
    density = HistogramDensity(categorical_features=None).fit(table)
    drawn = density.sample(50, random_state=0)["x"]
    assert drawn.dtype == float
    assert drawn.between(1.5, 3.5).all()


ROME = zoneinfo.ZoneInfo("Europe/Rome")
START = datetime.datetime(2020, 1, 1, 3, 4, 5)
HOURS = [datetime.timedelta(hours=k * k) for k in range(20)]
SECONDS = np.array([h.total_seconds() for h in HOURS])
OBJECTS = {
    "dates": ([START.date() + 24 * h for h in HOURS], SECONDS / 3600),
    "datetimes": ([START + h for h in HOURS], SECONDS),
    "zoned datetimes": ([(START + h).replace(tzinfo=ROME) for h in HOURS], None),
    "timestamps": ([pd.Timestamp(START) + h for h in HOURS], SECONDS),
    "nanoseconds": ([pd.Timestamp(1577847845000000001) + h for h in HOURS], SECONDS),
    "zoned timestamps": ([pd.Timestamp(START, tz="Asia/Tokyo") + h for h in HOURS], SECONDS),
    "datetime64": ([np.datetime64(START) + np.timedelta64(h) for h in HOURS], SECONDS),
    "timedeltas": (HOURS, SECONDS),
    "pandas' timedeltas": ([pd.Timedelta(h) for h in HOURS], SECONDS),
    "timedelta64": ([np.timedelta64(h) for h in HOURS], SECONDS),
    "decimals": ([Decimal(f"{k}.50") for k in range(20)], np.arange(20)),
    "decimals of several lengths": ([Decimal(k) / 4 for k in range(20)], np.arange(20) / 4),
    "fractions": ([fractions.Fraction(k, 4) for k in range(20)], np.arange(20) / 4),
    "NumPy's numbers": ([np.float32(k / 4) for k in range(20)], np.arange(20) / 4),
    "numbers and decimals": ([0.25, Decimal("0.5"), 1, np.int8(2)] * 5, None),
}


def array_of(values):
    X = np.empty((len(values), 2), dtype=object)
    X[:, 0] = np.fromiter(values, dtype=object, count=len(values))
    X[:, 1] = ["a", "b"] * (len(values) // 2)
    return X


def frame_of(values):
    return pd.DataFrame(
        {"x": pd.Series(values, dtype=object), "s": ["a", "b"] * (len(values) // 2)}
    )


@pytest.mark.parametrize("make", [array_of, frame_of])
@pytest.mark.parametrize("of", OBJECTS)
def test_objects_are_what_they_are(of, make):
    values, elapsed = OBJECTS[of]
    table = make(values)
    schema = ColumnSchema(missing=True).fit(table)
    assert schema.kinds_.tolist() == [CONTINUOUS, CATEGORICAL]
    Z = schema.encode(table)[0]
    if elapsed is not None:
        z = (elapsed - elapsed.mean()) / elapsed.std()
        np.testing.assert_allclose(Z[:, 0], z, atol=1e-9)
    back = schema.decode(Z)
    cells = list(back["x"] if make is frame_of else back[:, 0])
    given = list(table["x"] if make is frame_of else table[:, 0])
    assert (
        cells == pytest.approx(given)
        if of in ("fractions", "numbers and decimals")
        else cells == given
    )
    if of not in ("fractions", "NumPy's numbers", "numbers and decimals"):
        assert list(map(type, cells)) == list(map(type, given))
        assert list(map(str, cells)) == list(map(str, given)) or of == "decimals of several lengths"
    # A missing cell is None, whatever the others are.
    Z[0, 0] = np.nan
    back = schema.decode(Z)
    assert pd.isna(back["x"][0] if make is frame_of else back[0, 0])


@pytest.mark.parametrize("make", [array_of, frame_of])
@pytest.mark.parametrize("of", [int, np.int16, lambda k: int(k) if k % 2 else np.uint8(k)])
def test_objects_that_are_whole_numbers_are_integers(make, of):
    """What an array of int64 is when strings stand beside it."""
    whole = np.random.default_rng(0).poisson(4, 60)
    table = make([of(k) for k in whole])
    density = DENSITIES["tree"].fit(table)
    assert density.schema_.kinds_.tolist() == [INTEGER, CATEGORICAL]
    of_dtype = pd.DataFrame({"x": whole, "s": ["a", "b"] * 30})
    expected = DENSITIES["tree"].fit(of_dtype).score_samples(of_dtype)
    density.fit(table)
    np.testing.assert_allclose(density.score_samples(table), expected)
    for kind in ({}, {"integer_features": None}):
        drawn = (
            BayesianNetworkDensity("chow-liu", conditional="table", **kind).fit(table).sample(99, 0)
        )
        cells = list(drawn["x"] if make is frame_of else drawn[:, 0])
        assert {type(cell) for cell in cells} == {int}
        assert min(cells) >= 0


@pytest.mark.parametrize("of", ["decimals", "dates", "zoned timestamps", "timedelta64"])
def test_cells_of_objects_may_all_be_missing(of):
    table = frame_of(OBJECTS[of][0] * 3)
    density = DENSITIES["tree"].fit(table)
    for gap in (None, np.nan):
        drawn = density.conditional_sample(table.head(4).assign(x=gap), random_state=0)
        assert {type(cell) for cell in drawn["x"]} == {type(table["x"][0])}
        assert drawn["s"].tolist() == table["s"][:4].tolist()


def test_observed_numbers_are_not_rounded_to_what_objects_hold():
    x = [2.567, 3.25]
    for values, kinds in (
        (OBJECTS["decimals"][0] * 3, {}),
        (list(range(20)) * 3, {"integer_features": None}),
    ):
        density = BayesianNetworkDensity("chow-liu", conditional="table", **kinds)
        density.fit(frame_of(values))
        given = pd.DataFrame({"x": x, "s": [None, "a"]})
        assert density.conditional_sample(given, random_state=0)["x"].tolist() == x


def test_times_beyond_those_of_python_are_clipped():
    for of in ("dates", "zoned datetimes", "timestamps", "timedeltas"):
        schema = ColumnSchema().fit(array_of(OBJECTS[of][0]))
        low, high = schema.decode(np.array([[-1e300, 0], [1e300, 0]]))[:, 0]
        assert type(low) is type(OBJECTS[of][0][0])
        assert low < OBJECTS[of][0][0] < high


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([START, START.date()], "dates beside times without a zone"),
        ([START, START.replace(tzinfo=ROME)], "times with a zone beside times without a zone"),
        ([START, START, "soon"], "'soon' in row 2 among times"),
        ([1.5, Decimal("2.5"), "?"], r"'\?' in row 2 among numbers"),
        ([1.5, 2.5, True], "True in row 2 among numbers"),
    ],
)
def test_mixtures_become_categories_with_a_warning(values, message):
    X = np.array(values, dtype=object)[:, None]
    with pytest.warns(DataConversionWarning, match=f"column 0 holds {message}"):
        assert ColumnSchema().fit(X).kinds_[0] == CATEGORICAL
    assert ColumnSchema(categorical_features=[0]).fit(X).kinds_[0] == CATEGORICAL


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([datetime.time(7), datetime.time(9, 30)], "times of day.*durations since midnight"),
        ([pd.Period("2020-01"), pd.Period("2020-02")], "periods.*to_timestamp"),
    ],
)
def test_other_times_become_categories_with_a_warning(values, message):
    with pytest.warns(DataConversionWarning, match=f"column 0 holds {message}") as caught:
        ColumnSchema().fit(np.array([values * 30], dtype=object).T)
    assert len(caught) == 1
    ColumnSchema([0]).fit(np.array([values], dtype=object).T)
    ColumnSchema().fit(pd.DataFrame({"x": pd.Categorical(values)}))


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pd.Series(pd.period_range("2020", periods=3, freq="M")), "PeriodIndex"),
        (pd.Series(pd.arrays.SparseArray([0, 1, 0])), "to_dense"),
        (pl.Series([datetime.time(7), datetime.time(9)]), "durations since midnight"),
        (pl.Series([b"a", b"b"]), "convert it to one of them or drop it"),
    ],
    ids=["period", "sparse", "time", "binary"],
)
def test_dtypes_of_no_column_are_refused_with_a_way_out(column, message):
    frame = (pl if isinstance(column, pl.Series) else pd).DataFrame({"x": column})
    with pytest.raises(TypeError, match=f"column 'x' has dtype .*{message}"):
        ColumnSchema().fit(frame)


@pytest.mark.parametrize("of", ["dates", "zoned timestamps", "timedelta64", "decimals"])
def test_objects_stay_such_in_codec_and_imputer(of):
    table = array_of(OBJECTS[of][0] * 3)
    if of != "timedelta64":
        codec = DensityCodec(DENSITIES["networks"]).fit(table)
        back = codec.decode(codec.encode(table))
        assert list(map(repr, back.ravel())) == list(map(repr, table.ravel()))
    holes = table[:6].copy()
    holes[0, 0] = holes[1, 1] = None
    filled = DensityImputer(DENSITIES["networks"], random_state=0).fit(table).transform(holes)
    assert {type(cell) for cell in filled[:, 0]} == {type(table[0, 0])}
    assert filled[1:, 0].tolist() == table[1:6, 0].tolist()
    assert filled[[0, *range(2, 6)], 1].tolist() == table[[0, *range(2, 6)], 1].tolist()


def test_a_column_that_names_rows_is_said():
    names = [f"customer {k}" for k in range(60)]
    x = np.arange(60.0) ** 2
    for table in (
        pd.DataFrame({"id": names, "x": x}),
        pd.DataFrame({"id": pd.Series(names, dtype=object), "x": x}),
        pl.DataFrame({"id": names, "x": x}),
        np.array([names, x], dtype=object).T,
        np.array([names]).T,
    ):
        with pytest.warns(DataConversionWarning, match="60 of its 60 values are distinct.*drop it"):
            schema = ColumnSchema().fit(table)
        assert schema.kinds_[0] == CATEGORICAL
        # Whoever says so knows.
        ColumnSchema(categorical_features=[0]).fit(table)
    ColumnSchema().fit(pd.DataFrame({"id": names[:49]}))
    ColumnSchema().fit(pd.DataFrame({"id": pd.Categorical(names)}))
    ColumnSchema().fit(pd.DataFrame({"id": [*names[:30], *names[:30]]}))


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize(
    "of",
    [DensityOutlierDetector, DensityImputer, lambda density: TransformedDensity(None, density)],
    ids=["detector", "imputer", "transformed"],
)
def test_estimators_warn_of_what_their_density_is_not_told(of, known):
    frame = pd.DataFrame({"id": [f"customer {k}" for k in range(60)], "x": np.arange(60.0) ** 2})
    density = BayesianNetworkDensity(
        "chow-liu", conditional="table", categorical_features=["id"] if known else "from_dtype"
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        of(density).fit(frame)
    assert len(caught) == (not known)


def test_a_search_for_a_graph_takes_no_sentinel():
    from sklearn_dgm.bayes_net._structure import _distinct_rows

    codes, n_levels = np.array([[0, 1], [-1, 0]]), np.array([2, 2])
    with pytest.raises(ValueError, match="codes hold -1"):
        _distinct_rows(codes, n_levels, None)
    rows, weight = _distinct_rows(codes, n_levels, [2.0, 0.0])
    assert rows.tolist() == [[0, 1]]
    assert weight.tolist() == [2]


@pytest.mark.parametrize("of", ["datetimes", "zoned timestamps", "nanoseconds"])
def test_objects_pass_a_transformer_by(of):
    x = np.random.default_rng(0).normal(size=60)
    table = frame_of(OBJECTS[of][0] * 3).assign(y=x)
    transformer = ColumnTransformer(
        [("scale", StandardScaler(), ["y"])],
        remainder="passthrough",
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")
    density = TransformedDensity(transformer, DENSITIES["networks"]).fit(table)
    drawn = density.sample(3, random_state=0)["x"]
    assert {type(cell) for cell in drawn} == {type(table["x"][0])}
    holes = table.head(4).assign(y=[np.nan, *x[1:4]])
    filled = density.conditional_sample(holes, random_state=0)
    assert list(map(repr, filled["x"])) == list(map(repr, holes["x"]))
    assert filled["y"][1:].tolist() == x[1:4].tolist()


def test_objects_of_several_types_come_back_in_polars():
    table = pl.DataFrame({"x": pl.Series(["a", 1] * 20, dtype=pl.Object)})
    drawn = HistogramDensity().fit(table).sample(20, random_state=0)
    assert drawn.schema == table.schema
    assert set(drawn["x"].to_list()) == {"a", 1}


def test_decimals_beside_numbers_of_numpy_are_categories_by_their_values():
    """Which Decimals cannot be compared with: a look-up in a dict fails where their hashes agree."""
    X = np.array(
        [[Decimal(2)], [np.int16(2)], [np.float32(0.5)], [Decimal("0.5")], [1]], dtype=object
    )
    schema = ColumnSchema([0]).fit(X)
    Z = schema.encode(X)[0][:, 0]
    assert sorted(np.bincount(Z.astype(int))) == [1, 2, 2]
    assert Z[0] == Z[1]
    assert Z[2] == Z[3]
    assert schema.decode(Z[:, None]).ravel().tolist() == [2, 2, 0.5, 0.5, 1]
