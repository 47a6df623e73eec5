"""The road of the data: kinds, encoding, Jacobian, and the way back."""

import string

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.exceptions import DataConversionWarning

from sklearn_dgm import HistogramDensity
from sklearn_dgm.columns import ColumnSchema, like_frame


def mixed_frame():
    return pd.DataFrame(
        {
            "length": [1.5, -2.0, 4.25, 0.0],
            "width": np.array([1, 2, 4, 4], dtype=np.float32),
            "count": [3, 7, 3, 4],
            "small": np.array([0, 255, 7, 7], dtype=np.uint8),
            "nullable": pd.array([1, 2, 2, 5], dtype="Int16"),
            "city": ["Rome", "Oslo", "Rome", "Lima"],
            "grade": pd.Categorical(["b", "a", "b", "b"], categories=["c", "b", "a"], ordered=True),
            "code": pd.Categorical([30, 10, 30, 10]),
            "flag": [True, False, False, True],
            "thing": [("a", 1), "b", ("a", 1), 3],
        }
    )


def test_kinds_by_dtype():
    kinds = ColumnSchema().fit(mixed_frame()).kinds_
    assert kinds.tolist() == ["continuous"] * 2 + ["integer"] * 3 + ["categorical"] * 5


def test_frame_comes_back_as_it_was():
    frame = mixed_frame()
    schema = ColumnSchema().fit(frame)
    pd.testing.assert_frame_equal(schema.decode(schema.encode(frame)[0]), frame)


def test_polars_frame_comes_back_as_it_was():
    frame = pl.DataFrame({"x": [1.0, 2.5], "n": [1, 2], "s": ["a", "b"], "b": [True, False]})
    schema = ColumnSchema().fit(frame)
    assert schema.kinds_.tolist() == ["continuous", "integer", "categorical", "categorical"]
    assert schema.decode(schema.encode(frame)[0]).equals(frame)


@pytest.mark.parametrize("dtype", ["f4", "f8", "i1", "i8", "u1", "U3", "O", "?"])
def test_array_comes_back_with_its_dtype(dtype):
    X = np.array([[1, 0], [0, 1], [1, 1]]).astype(dtype)
    schema = ColumnSchema().fit(X)
    back = schema.decode(schema.encode(X)[0])
    assert back.dtype == X.dtype
    np.testing.assert_array_equal(back, X)


def test_categories_of_a_dtype_are_known_though_no_row_has_them():
    schema = ColumnSchema().fit(mixed_frame())
    assert schema.columns_[6].categories.tolist() == ["c", "b", "a"]
    never = mixed_frame().assign(flag=False)
    assert ColumnSchema().fit(never).columns_[8].categories.tolist() == [False, True]
    assert ColumnSchema().fit(np.ones((3, 1), bool)).columns_[0].categories.tolist() == [0, 1]


def test_unseen_category_is_minus_one():
    schema = ColumnSchema().fit(np.array([["a"], ["b"]], dtype=object))
    assert schema.encode(np.array([["b"], ["zebra"]], dtype=object))[0].tolist() == [[1], [-1]]
    schema = ColumnSchema().fit(np.array([["aa"], ["bb"]]))
    assert schema.encode(np.array([["b"], ["zebra"], ["bb"]]))[0].tolist() == [[-1], [-1], [1]]


def test_order_of_categories_does_not_depend_on_the_rows():
    values = np.array([[2], ["b"], [("x",)], ["a"], [1]], dtype=object)
    first = ColumnSchema().fit(values).columns_[0].categories.tolist()
    second = ColumnSchema().fit(values[::-1]).columns_[0].categories.tolist()
    assert first == second


@pytest.mark.parametrize(
    ("parameters", "kinds"),
    [
        ({"categorical_features": None, "integer_features": None}, ["continuous"] * 3),
        ({"categorical_features": ["n"]}, ["continuous", "categorical", "integer"]),
        ({"categorical_features": [1, 2]}, ["continuous", "categorical", "categorical"]),
        ({"integer_features": [True, False, True]}, ["integer", "continuous", "integer"]),
        ({"integer_features": []}, ["continuous"] * 3),
    ],
)
def test_kinds_by_parameter(parameters, kinds):
    frame = pd.DataFrame({"x": [1.0, 2.0], "n": [1, 2], "m": [0, 5]})
    assert ColumnSchema(**parameters).fit(frame).kinds_.tolist() == kinds


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"categorical_features": ["typo"]}, "categorical_features names 'typo'"),
        ({"integer_features": [7]}, "integer_features names 7, which is not a column of X"),
        ({"integer_features": [True]}, "mask of 1 entries"),
        ({"categorical_features": ["x"], "integer_features": ["x"]}, "'x' is named both"),
        ({"integer_features": ["half"]}, "'half' is an integer column, but holds 0.5 in row 1"),
        ({"categorical_features": None}, "'s' to numbers.*declare that it holds categories"),
    ],
)
def test_wrong_parameters_are_named(parameters, message):
    frame = pd.DataFrame({"x": [1.0, 2.0], "half": [1.0, 0.5], "s": ["a", "b"]})
    with pytest.raises(ValueError, match=message):
        ColumnSchema(**parameters).fit(frame)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_missing_and_infinite_values_are_located(bad):
    frame = mixed_frame()
    schema = ColumnSchema().fit(frame)
    frame.loc[2, "length"] = bad
    for call in (ColumnSchema().fit, schema.encode):
        with pytest.raises(ValueError, match=r"(NaN|inf).*'length', row 2"):
            call(frame)
    X = np.array([[1.0, 2.0], [3.0, bad]])
    for call in (ColumnSchema().fit, ColumnSchema().fit(np.ones((2, 2))).encode):
        with pytest.raises(ValueError, match=r"(NaN|inf).*column 1, row 1"):
            call(X)


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
def test_missing_categories_are_located(missing):
    with pytest.raises(ValueError, match="NaN.*column 0, row 1"):
        ColumnSchema().fit(np.array([["a"], [missing]], dtype=object))
    with pytest.raises(ValueError, match="NaN.*'city', row 1"):
        ColumnSchema().fit(pd.DataFrame({"city": ["Rome", missing]}))


def test_a_typo_among_numbers_is_said():
    X = np.array([[1.5], [2.5], ["oops"]], dtype=object)
    with pytest.warns(DataConversionWarning, match="column 0 holds 'oops' in row 2 among numbers"):
        assert ColumnSchema().fit(X).kinds_.tolist() == ["categorical"]
    assert ColumnSchema(categorical_features=[0]).fit(X).kinds_.tolist() == ["categorical"]
    with pytest.raises(ValueError, match="could not convert column 0 to numbers: .*oops"):
        ColumnSchema(categorical_features=None).fit(X)


def test_integers_are_rounded_in_every_frame():
    frame = pl.DataFrame({"n": [0, 1, 49]})
    schema = ColumnSchema().fit(frame)
    assert schema.decode(np.array([[2.7], [3.2]]))["n"].to_list() == [3, 3]


def test_a_range_beyond_float64_is_refused():
    X = np.array([[1.7e308], [1.7e308], [-1.7e308]])
    with pytest.raises(ValueError, match="column 0 spans more than float64 can hold; rescale"):
        ColumnSchema().fit(X)


def test_columns_that_cannot_be_used_are_named():
    with pytest.raises(TypeError, match="'parts' has dtype List"):
        ColumnSchema().fit(pl.DataFrame({"parts": [[1, 2], [3]]}))
    with pytest.raises(TypeError, match="'when' has dtype period"):
        ColumnSchema().fit(pd.DataFrame({"when": pd.period_range("2020", periods=2, freq="M")}))
    with pytest.raises(TypeError, match="column 0, row 0: argument must be a string"):
        ColumnSchema().fit(np.array([[{"a": 1}]], dtype=object))
    with pytest.raises(ValueError, match=r"'n' holds integers beyond 2\*\*53"):
        ColumnSchema().fit(pd.DataFrame({"n": [2**60, 1]}))


@pytest.mark.parametrize("size", [1e300, 1e-300, 1e-10, 1.0])
def test_scales_of_any_size(size):
    x = np.array([[1.0], [2.0], [4.0], [-3.0]])
    Z, log_det = ColumnSchema().fit(x * size).encode(x * size)
    np.testing.assert_allclose(Z, (x - x.mean()) / x.std(), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(log_det, -np.log(x.std()) - np.log(size))


def test_what_a_dtype_cannot_hold_is_clipped():
    for X in (np.array([[8e307], [-8e307]]), np.array([[3e38], [-3e38]], dtype=np.float32)):
        for table in (X, pd.DataFrame(X)):
            schema = ColumnSchema().fit(table)
            back = np.asarray(schema.decode(np.array([[9.0], [-9.0]])))
            np.testing.assert_array_equal(back[:, 0], np.finfo(X.dtype).max * np.array([1, -1]))


def test_small_differences_of_large_values_survive():
    x = 1e8 + np.array([[-1.0], [1.0]])
    np.testing.assert_allclose(ColumnSchema().fit(x).encode(x)[0], [[-1], [1]])


def test_a_weight_is_a_repetition():
    rng = np.random.default_rng(0)
    X, weight = rng.normal(3, 7, (20, 2)), rng.integers(1, 4, 20)
    weighted = ColumnSchema().fit(X, weight).columns_
    repeated = ColumnSchema().fit(np.repeat(X, weight, axis=0)).columns_
    for a, b in zip(weighted, repeated, strict=True):
        assert (a.location, a.scale) == pytest.approx((b.location, b.scale))


def test_cell_values_keep_names_and_index():
    frame = mixed_frame().iloc[1:3]
    values = like_frame(np.zeros(frame.shape), frame)
    assert values.columns.equals(frame.columns)
    assert values.index.equals(frame.index)


finite = st.floats(-1e12, 1e12, allow_nan=False)


@settings(deadline=None, max_examples=60)
@given(
    hnp.arrays(np.float64, st.tuples(st.integers(1, 8), st.integers(1, 4)), elements=finite),
    st.booleans(),
)
def test_round_trip_of_numbers(X, standardize):
    schema = ColumnSchema(standardize=standardize).fit(X)
    Z, log_det = schema.encode(X)
    scale = np.exp(-schema.log_det_features(Z))
    np.testing.assert_allclose(log_det, np.full(len(X), -np.log(scale).sum()), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(schema.decode(Z), X, atol=1e-9 * max(1.0, np.abs(X).max()))
    # The log-Jacobian is that of a finite difference, which there is none of below the smallest number, 5e-324.
    step = scale * 0.5
    if step.all():
        tolerance = 1e-6 + 1e-9 * np.max(np.abs(X) / scale)
        np.testing.assert_allclose((schema.encode(X + step)[0] - Z) / 0.5, 1.0, atol=tolerance)


labels = st.one_of(
    st.text(string.ascii_letters, max_size=3), st.integers(-5, 5), st.tuples(st.integers(0, 2))
)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(labels, st.booleans(), st.integers(-(2**40), 2**40)), min_size=1))
def test_round_trip_of_categories_and_integers(rows):
    things = np.empty(len(rows), dtype=object)
    things[:] = [row[0] for row in rows]
    frame = pd.DataFrame(
        {
            "thing": pd.Series(things, dtype=object),
            "flag": [row[1] for row in rows],
            "n": [row[2] for row in rows],
        }
    )
    schema = ColumnSchema(categorical_features=["thing", "flag"]).fit(frame)
    Z, _ = schema.encode(frame)
    assert (Z.astype(int) == Z).all()
    assert (Z[:, :2] >= 0).all()
    back = schema.decode(Z)
    assert back["n"].tolist() == frame["n"].tolist()
    assert back["flag"].tolist() == frame["flag"].tolist()
    assert [a == b for a, b in zip(back["thing"], frame["thing"], strict=True)]


BEYOND = 2**53 + 1


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("dtype", ["int64", "uint64", "Int64", "UInt64", "int64[pyarrow]", object])
def test_integers_are_compared_before_they_are_rounded(dtype, sign):
    if sign < 0 and "u" in str(dtype).lower():
        pytest.skip("no negative numbers")
    for value, is_refused in ((2**53, False), (BEYOND, True), (BEYOND + 1, True)):
        values = [sign * value, 0, 0]
        tables = [pd.DataFrame({"a": pd.array(values, dtype=dtype)})]
        if dtype in ("int64", "uint64", object):
            tables.append(np.array(values, dtype=dtype)[:, None])
        for X in tables:
            schema = ColumnSchema(integer_features=[0])
            if is_refused:
                with pytest.raises(ValueError, match=r"column .* holds integers beyond 2\*\*53"):
                    schema.fit(X)
            else:
                schema.fit(X)


def test_an_integer_beyond_is_none_of_those_fitted():
    density = HistogramDensity(bins=2).fit(np.array([[2**53], [1], [1]]))
    X = np.array([[2**53], [BEYOND]])
    for rows in (X, X.astype(np.uint64), X.astype(object)):
        scores = density.score_samples(rows)
        assert np.isfinite(scores[0])
        assert scores[1] == -np.inf
    wide = pl.DataFrame({"a": [BEYOND, 0, 0]}, schema={"a": pl.Int128})
    with pytest.raises(ValueError, match=r"'a' holds integers beyond 2\*\*53"):
        HistogramDensity().fit(wide)
