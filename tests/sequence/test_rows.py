"""Rows that are sequences: containers, lengths, errors, and scikit-learn's tools around them."""

import json
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import stats
from sklearn.base import clone
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import check_estimator

from sklearn_dgm import get_density_tags, is_density
from sklearn_dgm._state import fitted_state, set_fitted_state
from sklearn_dgm.columns import ColumnSchema, SequenceSchema
from tests.sequence.toys import CONTAINERS, TEXTS, IndependentSteps


def assert_same(actual, expected):
    """Check that two containers of sequences are of one type and hold the same."""
    assert type(actual) is type(expected)
    assert len(actual) == len(expected)
    if isinstance(expected, pd.DataFrame | pd.Series):
        assert getattr(actual, "name", None) == getattr(expected, "name", None)
        if isinstance(expected, pd.DataFrame):
            pd.testing.assert_frame_equal(actual, expected)
        else:
            assert actual.dtype == expected.dtype
    if isinstance(expected, pl.DataFrame | pl.Series):
        assert actual.equals(expected)
        assert getattr(actual, "name", None) == getattr(expected, "name", None)
        return
    if isinstance(expected, np.ndarray):
        assert actual.dtype == expected.dtype
        assert actual.shape == expected.shape
        if expected.dtype.kind == "f":
            np.testing.assert_allclose(actual, expected, atol=1e-12)
            return
    for row, other in zip(actual, expected, strict=True):
        if isinstance(other, np.ndarray | pd.DataFrame | pl.DataFrame):
            assert_same(row, other)
        elif isinstance(other, list | tuple) and other and not isinstance(other[0], str):
            assert type(row) is type(other)
            np.testing.assert_allclose(row, other, atol=1e-12)
        else:
            np.testing.assert_array_equal(row, other)


def schema(**params):
    return SequenceSchema(ColumnSchema(missing=True, detect_ties=True), **params)


@pytest.mark.parametrize("name", CONTAINERS)
def test_containers_come_back(name):
    X = CONTAINERS[name]
    fitted = schema().fit(X)
    Z, log_det = fitted.encode(X)
    assert log_det.shape == (len(X),)
    assert_same(fitted.decode(Z), X)
    rows = np.array([len(X) - 1, 0])
    some = (
        [X[i] for i in rows]
        if isinstance(X, list)
        else X[rows]
        if not isinstance(X, pd.DataFrame | pd.Series)
        else X.iloc[rows]
    )
    np.testing.assert_array_equal(fitted.encode(some)[0].steps, Z[rows].steps)


@pytest.mark.parametrize("name", CONTAINERS)
def test_draws_scores_and_state_of_each_container(name):
    X = CONTAINERS[name]
    density = IndependentSteps().fit(X)
    drawn = density.sample(20, random_state=0)
    assert type(drawn) is type(X)
    assert len(drawn) == 20
    scores = density.score_samples(drawn)
    assert np.isfinite(scores).all()
    steps = density.score_steps(drawn)
    np.testing.assert_allclose([part.sum() for part in steps], scores)
    is_fixed = name.startswith(("array of strings in", "frame of", "3-D")) or name == "array"
    assert density.schema_.length_ == ("fixed" if is_fixed else "stop")
    assert (steps.ndim == 2) == is_fixed
    twin = set_fitted_state(clone(density), json_round_trip(fitted_state(density)))
    np.testing.assert_array_equal(twin.score_samples(drawn), scores)
    assert_same(twin.sample(20, random_state=0), drawn)
    assert_same(pickle.loads(pickle.dumps(density)).sample(20, random_state=0), drawn)


def json_round_trip(state):
    """Check that all of a state but its arrays is what JSON can hold."""
    json.dumps(state, default=np.ndarray.tolist)
    return state


def test_one_density_whatever_the_container():
    rng = np.random.default_rng(0)
    array = rng.normal(size=(50, 4, 2))
    expected = IndependentSteps().fit(array).score_samples(array)
    for X in (
        list(array),
        [pd.DataFrame(row) for row in array],
        [row.tolist() for row in array],
    ):
        density = IndependentSteps(length="fixed").fit(X)
        np.testing.assert_allclose(density.score_samples(X), expected)
        np.testing.assert_allclose(density.score_samples(array), expected)
    table = array[..., 0]
    of_table = IndependentSteps().fit(table)
    mean, std = table.mean(), np.sqrt(table.var() + 1e-6 * table.var())
    np.testing.assert_allclose(
        of_table.score_samples(table), stats.norm.logpdf(table, mean, std).sum(axis=1)
    )
    in_frame = IndependentSteps().fit(pd.DataFrame(table, columns=list("abcd")))
    assert in_frame.n_features_in_ == 4
    np.testing.assert_allclose(in_frame.schema_.columns_[0].location, table.mean())


def test_the_length_is_modelled_fixed_or_given():
    X = ["ab", "abba", "b", ""]
    stopping, given = IndependentSteps().fit(X), IndependentSteps(length="given").fit(X)
    assert stopping.stop_ == pytest.approx(4 / 11)
    a, b = np.log(3 / 7), np.log(4 / 7)
    np.testing.assert_allclose(given.score_samples(["ab", "", "b"]), [a + b, 0, b])
    goes_on, ends = np.log(7 / 11), np.log(4 / 11)
    expected = [a + b + 2 * goes_on + ends, ends, b + goes_on + ends]
    np.testing.assert_allclose(stopping.score_samples(["ab", "", "b"]), expected)
    np.testing.assert_allclose(stopping.score_steps(["b"])[0], [b + goes_on, ends])
    assert given.score_steps(["b"])[0].shape == (1,)
    lengths = np.array([len(text) for text in given.sample(2000, random_state=0)])
    assert set(lengths) == {0, 1, 2, 4}
    assert stats.chisquare(np.unique(lengths, return_counts=True)[1]).pvalue > 1e-3
    weighted = IndependentSteps(length="given").fit(X, sample_weight=[1, 0, 1, 0])
    assert {len(text) for text in weighted.sample(100, random_state=0)} == {1, 2}


def test_missing_steps_are_left_out():
    table = np.array([[1.0, 2.0, np.nan], [2.0, np.nan, np.nan], [0.0, 4.0, 1.0]])
    density = IndependentSteps().fit(table)
    steps = density.score_steps(table)
    assert (steps[np.isnan(table)] == 0).all()
    assert density.score_samples([[np.nan, 2.0, np.nan]])[0] == pytest.approx(
        density.score_steps([[2.0, 2.0, 2.0]])[0].sum() / 3
    )


def test_weights_are_repeats():
    X, weight = ["ab", "abba", "b", "aa"], np.array([2, 1, 0, 3])
    repeated = [text for text, n in zip(X, weight, strict=True) for _ in range(n)]
    np.testing.assert_allclose(
        IndependentSteps().fit(X, sample_weight=weight).score_samples(X),
        IndependentSteps().fit(repeated).score_samples(X),
    )


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (["ab", None], "row 1 of X is missing"),
        (["ab", float("nan")], "row 1 of X is missing"),
        (["ab", b"ab"], "row 1 of X is bytes"),
        (["ab", 3], "row 1 of X is of type int"),
        (["ab", ["a"]], "row 1 of X is a list, row 0 a string"),
        ([np.eye(2), np.ones((1, 3))], "row 1 of X has 3 columns a step"),
        ([np.ones((1, 1, 1))], "row 0 of X is an array of 3 dimensions"),
        ([[[1, 2], [3]]], "steps of row 0 of X have 1 to 2 values"),
        ([[1.0, 2.0], [3.0, np.inf]], r"infinity \(inf\) in column 0, sequence 1, step 1"),
        (np.array([[1.0, 2.0], [3.0, np.inf]]), r"infinity \(inf\) in column 1, row 1"),
        (pd.DataFrame({"u": [1.0], "v": [np.inf]}), r"infinity \(inf\) in column 'v', row 0"),
        (pd.DataFrame({"u": [1.0], "v": ["x"]}), "column 'v' holds strings, column 'u' numbers"),
        ([pd.DataFrame({"u": [1]}), pd.DataFrame({"v": [1]})], "row 1 of X is a DataFrame of"),
        ([""], "no step at all"),
        ([], "0 sequence"),
        ([1.0, 2.0], "Expected 2D array"),
        ([1.0, "ab"], "row 0 of X is of type float"),
        ([np.nan, "ab"], "row 0 of X is missing"),
        (pd.Series(["ab", pd.NA], dtype="string"), "row 1 of X is missing"),
        ("ab", r"one sequence; hand in a list of sequences, \[X\]"),
        (np.array("ab"), "Expected 2D array"),
        ([np.ma.array([1, 2], mask=[0, 1])], "row 0 of X is a masked array"),
        (np.empty((0, 3, 1)), "0 sequence"),
        (np.empty((2, 0, 1)), "0 step"),
        (np.empty((2, 2, 1, 1)), "4 dimensions"),
        (np.array([], dtype=object), "0 sequence"),
    ],
)
def test_rows_that_are_no_sequences_are_named(X, message):
    density = IndependentSteps()
    with pytest.raises((TypeError, ValueError), match=message):
        density.fit(X)
    assert not hasattr(density, "schema_")


def test_missing_steps_are_named_where_they_are_not_taken():
    unable = SequenceSchema(ColumnSchema())
    with pytest.raises(ValueError, match="NaN in column 0, sequence 1, step 1"):
        unable.fit([[1.0, 2.0], [3.0, np.nan]])


def test_later_rows_have_to_be_alike():
    density = IndependentSteps().fit([np.ones((2, 2)), np.zeros((3, 2))])
    with pytest.raises(ValueError, match=r"steps of X have 1 column\(s\), those of fit had 2"):
        density.score_samples(["ab"])
    named = IndependentSteps().fit([pd.DataFrame({"u": [1.0], "v": [2.0]})])
    with pytest.raises(ValueError, match=r"columns \['u', 'w'\], those of fit had \['u', 'v'\]"):
        named.score_samples([pd.DataFrame({"u": [1.0], "w": [2.0]})])
    fixed = IndependentSteps(length="fixed").fit([[1.0, 2.0], [3.0, 4.0]])
    with pytest.raises(ValueError, match=r"sequence 1 has 1 step\(s\), but all should have 2"):
        fixed.score_samples([[1.0, 2.0], [1.0]])
    with pytest.raises(ValueError, match="all should have 2"):
        IndependentSteps(length="fixed").fit(["ab", "b"])
    with pytest.raises(ValueError, match="length='stop' needs"):
        IndependentSteps(length="stop").fit(np.eye(2))
    with pytest.raises(ValueError, match="length"):
        IndependentSteps(length="long").fit(["ab"])
    with pytest.raises(NotFittedError):
        IndependentSteps().score_steps(["ab"])
    texts = IndependentSteps().fit(TEXTS)
    assert np.isneginf(texts.score_samples(["abc"])).all()
    shared = IndependentSteps().learn_schema(["abc"])
    assert IndependentSteps().fit(["ab"], schema=shared).schema_ is shared
    with pytest.raises(ValueError, match="category in sequence 1, step 0"):
        IndependentSteps().fit(["ab", "x"], schema=shared)
    with pytest.raises(ValueError, match="schema should be"):
        IndependentSteps(length="given").fit(["ab"], schema=shared)


def test_texts_of_all_characters():
    X = ["a\0b", "\ud800x", "\U0001f600", "é"]
    fitted = schema().fit(X)
    assert fitted.decode(fitted.encode(X)[0]) == X


def test_it_is_a_density_to_scikit_learn():
    rng = np.random.default_rng(0)
    X = ["".join(rng.choice(list("ab"), rng.integers(0, 6))) for _ in range(60)]
    assert is_density(IndependentSteps())
    assert get_density_tags(IndependentSteps()).sequences
    scores = cross_val_score(IndependentSteps(), X, cv=3)
    train, test = train_test_split(X, random_state=0)
    assert np.isfinite(scores).all()
    assert IndependentSteps().fit(train).score(test) < 0
    search = GridSearchCV(IndependentSteps(), {"length": ["stop", "given"]}, cv=3).fit(X)
    assert search.best_params_ == {"length": "given"}
    upper = FunctionTransformer(lambda texts: [text.upper() for text in texts])
    pipeline = make_pipeline(upper, IndependentSteps()).fit(X)
    np.testing.assert_allclose(
        pipeline.score_samples(X), IndependentSteps().fit(X).score_samples(X)
    )


def test_scikit_learn_checks_of_tables():
    results = check_estimator(IndependentSteps(), on_skip=None)
    assert {result["status"] for result in results} <= {"passed", "skipped"}


def test_values_of_series_and_indices_hold_sequences():
    X = pd.Series(TEXTS)
    expected = IndependentSteps().fit(TEXTS).score_samples(TEXTS)
    for values in (X.values, X.array, pd.Index(X), np.array(TEXTS)):
        density = IndependentSteps().fit(values)
        np.testing.assert_array_equal(density.score_samples(values), expected)
        assert density.sample(2, random_state=0).dtype == object


def test_a_table_of_one_column_of_strings_warns():
    with pytest.warns(DataConversionWarning, match=r"hand in the column, X\['name'\]"):
        IndependentSteps().fit(pd.DataFrame({"name": ["anna", "bob"]}))
    with pytest.warns(DataConversionWarning, match=r"X\[:, 0\]"):
        IndependentSteps().fit(np.array([["anna"], ["bob"]], dtype=object))


def test_errors_name_the_step_whatever_a_cell_holds():
    density = IndependentSteps().fit([[1.0, 2.0], [3.0]])
    with pytest.raises((TypeError, ValueError), match="'in row 0' in sequence 1, step 1"):
        density.score_samples([[1.0], [2.0, "in row 0"]])


def test_scores_of_steps_sum_up_whatever_the_container():
    density = IndependentSteps().fit([[1.0, 2.0, 3.0], [2.0, 3.0]])
    table = np.array([[1.0, 2.0], [2.0, 2.0]])
    for X in (table, table[:, :, None], table.tolist(), pd.DataFrame(table)):
        steps = density.score_steps(X)
        assert len(steps[0]) == 3
        np.testing.assert_allclose([part.sum() for part in steps], density.score_samples(X))


def test_draws_hold_what_the_dtypes_of_the_container_do_not():
    categories = pd.Series(["ab", "ba", "ab"], dtype="category")
    drawn = IndependentSteps().fit(categories).sample(50, random_state=0)
    assert drawn.notna().all()
    assert set("".join(drawn)) == {"a", "b"}
    enums = pl.Series("x", ["ab", "ba"], dtype=pl.Enum(["ab", "ba"]))
    assert IndependentSteps().fit(enums).sample(50, random_state=0).null_count() == 0
    columns = pd.DataFrame({"a": pd.Categorical(["x", "y"]), "b": pd.Categorical(["y", "z"])})
    drawn = IndependentSteps().fit(columns).sample(100, random_state=0)
    assert drawn.notna().all(axis=None)
    assert set(drawn["a"]) == {"x", "y", "z"}
    numbers = pd.DataFrame({"a": np.array([1, 2], dtype=np.int8), "b": [1000.5, 2.0]})
    density = IndependentSteps().fit(numbers)
    drawn = density.sample(200, random_state=0)
    assert drawn["a"].max() > 127
    assert (drawn["a"] % 1 > 0).any()
    fixed = pl.Series("x", [[1.0, 2.0], [3.0, 4.0]], dtype=pl.Array(pl.Float64, 2))
    assert IndependentSteps().fit(fixed).sample(3, random_state=0).dtype == fixed.dtype
