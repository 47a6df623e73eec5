"""One rule for naming columns, in every parameter that does."""

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import StandardScaler

from sklearn_dgm import (
    BayesianNetworkDensity,
    DensityImputer,
    DensityOutlierDetector,
    HistogramDensity,
    NaiveBayesClassifier,
    TransformedDensity,
)
from sklearn_dgm.codec import DensityCodec
from sklearn_dgm.columns import ColumnSchema
from sklearn_dgm.columns._names import Position, by_position, position_of, positions_of
from sklearn_dgm.inspection import CalibrationDisplay, DensityDisplay

STRINGS, TUPLES = ["a", "b", "c"], [("a", "x"), ("a", "y"), ("b", "x")]
SHIFTED = [1, 2, 3]
N_ROWS = 60


def frame(labels):
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.integers(0, 3, size=(N_ROWS, 3)) / 2)
    table.columns = pd.MultiIndex.from_tuples(labels) if labels is TUPLES else labels
    return table


def tables(**params):
    return BayesianNetworkDensity(conditional="table", **{"structure": "empty", **params})


def kinds_by(parameter, name, table):
    value = {name: "categorical"} if parameter == "column_kinds" else [name]
    schema = ColumnSchema(**{parameter: value}).fit(table * 2)
    kind = "integer" if parameter == "integer_features" else "categorical"
    (found,) = np.flatnonzero(schema.kinds_ == kind)
    return found


def bins_of_histogram(name, table):
    (found,) = np.flatnonzero([len(e) == 8 for e in HistogramDensity({name: 7}).fit(table).edges_])
    return found


def resolution_of_codec(name, table):
    noise = np.random.default_rng(1).normal(0, 1e-3, size=table.shape)
    codec = DensityCodec(HistogramDensity(), resolution={name: 2.0}).fit(table + noise)
    (found,) = np.flatnonzero(codec.resolution_ == 2.0)
    return found


def parent_in_structure(name, table):
    density = tables(structure=[(name, Position(1))]).fit(table)
    (found,) = np.flatnonzero(density._adjacency.any(axis=1))
    return found


def column_of_prediction(name, table):
    density = tables().fit(table)
    prediction = density.predict_column(table.head(1), name)
    return [c.label for c in density.schema_.columns_].index(prediction._column.label)


def column_of_marginal(name, table):
    density = tables().fit(table)
    return list(table.columns).index(density.marginal([name]).schema_.columns_[0].label)


def panel_of_display(name, table):
    pytest.importorskip("matplotlib")
    density = tables().fit(table)
    display = DensityDisplay.from_estimator(density, table, features=[name], n_samples=10)
    return [str(label) for label in table.columns].index(display.columns[0].label)


PLACES = {
    "categorical_features": lambda name, table: kinds_by("categorical_features", name, table),
    "integer_features": lambda name, table: kinds_by("integer_features", name, table),
    "column_kinds": lambda name, table: kinds_by("column_kinds", name, table),
    "bins": bins_of_histogram,
    "resolution": resolution_of_codec,
    "structure": parent_in_structure,
    "column": column_of_prediction,
    "columns": column_of_marginal,
    "features": panel_of_display,
}
each_place = pytest.mark.parametrize("place", PLACES)


@each_place
@pytest.mark.parametrize("labels", [STRINGS, TUPLES], ids=["strings", "tuples"])
def test_a_label_and_a_position_mean_the_same_column(place, labels):
    for name in (labels[2], 2, np.int64(2)):
        assert PLACES[place](name, frame(labels)) == 2


@each_place
def test_integer_labels(place):
    """The label 3 can be no position, 0 can be no label; 2 is one column's label and another one's position."""
    table = frame(SHIFTED)
    assert PLACES[place](3, table) == 2
    assert PLACES[place](0, table) == 0
    with pytest.raises(
        ValueError, match=f"{place} names 2, which is the label .* position 1, but could"
    ):
        PLACES[place](2, table)


@each_place
@pytest.mark.parametrize("name", ["z", -1, 3, 1.0, True, ("a", "z"), None], ids=str)
def test_what_names_no_column(place, name):
    with pytest.raises(ValueError, match=f"{place}.*(names|should be a list|is a mask)"):
        PLACES[place](name, frame(STRINGS))


def test_ways_out_of_integer_labels():
    table = frame(SHIFTED)
    mask = ColumnSchema(categorical_features=[False, True, False]).fit(table)
    named = ColumnSchema(categorical_features=["2"]).fit(table.rename(columns=str))
    assert mask.kinds_.tolist() == named.kinds_.tolist()
    assert mask.kinds_[1] == "categorical"


def test_integer_labels_in_the_order_of_positions_are_not_ambiguous():
    assert ColumnSchema(categorical_features=[2]).fit(frame([0, 1, 2])).kinds_[2] == "categorical"


def test_a_graph_whose_nodes_are_all_labels_is_a_structure():
    """As `graph_` is, so that it can be handed on, whatever the labels are."""
    table = frame(SHIFTED)
    density = tables(structure=np.array([[0, 0, 1], [1, 0, 0], [0, 0, 0]])).fit(table)
    assert set(density.graph_.edges) == {(2, 1), (1, 3)}
    again = tables(structure=nx.DiGraph(density.graph_)).fit(table)
    np.testing.assert_array_equal(again._adjacency, density._adjacency)
    matrix = pd.DataFrame(0, index=[3, 2, 1], columns=SHIFTED)
    matrix.loc[2, 1] = matrix.loc[1, 3] = 1
    np.testing.assert_array_equal(
        tables(structure=matrix).fit(table)._adjacency, density._adjacency
    )


def test_pictures_of_tables_with_integer_labels():
    pytest.importorskip("matplotlib")
    table = frame(SHIFTED)
    display = CalibrationDisplay.from_estimator(tables().fit(table), table, given="others")
    assert display.feature_names == ["1", "2", "3"]


def test_marginals_of_arrays_go_by_their_own_positions():
    X = frame(STRINGS).to_numpy()
    marginal = tables().fit(X).marginal([2, 0])
    prediction = marginal.predict_column(X[:, [2, 0]], 0)
    assert prediction.probabilities.shape[0] == N_ROWS


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (None, []),
        ([], []),
        ("b", [1]),
        (2, [2]),
        (np.array(["c", "a"]), [2, 0]),
        (pd.Index(["b"]), [1]),
        (("a", "b"), [0, 1]),
        ([True, False, True], [0, 2]),
        (np.array([False, True, False]), [1]),
    ],
    ids=str,
)
def test_lists_and_masks(names, expected):
    assert positions_of(names, STRINGS, "features") == expected


def test_one_tuple_is_a_label_where_there_is_such():
    assert positions_of(("a", "y"), TUPLES, "features") == [1]
    assert positions_of([("a", "y"), ("b", "x")], TUPLES, "features") == [1, 2]


def test_labels_that_are_not_unique_or_are_flags():
    with pytest.raises(ValueError, match="'a', which is more than one column"):
        position_of("a", ["a", "a"], "column")
    assert position_of(1, ["a", "a"], "column") == 1
    assert position_of(True, [False, True], "column") == 1


def test_a_column_named_twice_in_a_dict():
    with pytest.raises(ValueError, match="bins names column 'b' twice"):
        by_position({"b": 2, 1: 3}, STRINGS, "bins")


@pytest.mark.parametrize(
    "labels",
    [SHIFTED, [2, 0, 1], TUPLES, [0.5, 1.5, 2.5]],
    ids=["shifted", "mixed up", "tuples", "floats"],
)
@pytest.mark.parametrize(
    ("estimator", "method"),
    [
        (HistogramDensity(), "score_samples"),
        (NaiveBayesClassifier(), "predict"),
        (TransformedDensity(StandardScaler(), tables()), "score_samples"),
        (DensityOutlierDetector(tables()), "predict"),
        (DensityImputer(tables()), "transform"),
        (DensityCodec(tables()), "encode"),
    ],
    ids=lambda of: type(of).__name__,
)
def test_columns_in_another_order_are_refused(estimator, method, labels):
    """Of labels that are strings scikit-learn says so."""
    table = frame(labels)
    ask = getattr(estimator.fit(table, np.arange(N_ROWS) % 2), method)
    ask(table)
    with pytest.raises(ValueError, match="in another order: column .* is at position 0"):
        ask(table[table.columns[::-1]])
    ask(table.to_numpy())
