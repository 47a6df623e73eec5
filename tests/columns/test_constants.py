"""A constant is a constant: all draws have it, it adds nothing to a score, and there is nothing to learn."""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer, StandardScaler

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
from sklearn_dgm.columns import ColumnSchema
from tests.instances import QUICK_NETWORK

N = 60
DENSITIES = {
    "tables": lambda **p: BayesianNetworkDensity(conditional="table", **p),
    "tree": lambda **p: BayesianNetworkDensity("chow-liu", conditional="table", **p),
    "networks": lambda **p: BayesianNetworkDensity(conditional="network", **QUICK_NETWORK, **p),
    "auto": lambda **p: BayesianNetworkDensity(**QUICK_NETWORK, **p),
    "autoregressive": lambda **p: AutoregressiveDensity(**QUICK_NETWORK, n_orders=2, **p),
    "any order": lambda **p: AutoregressiveDensity(order="any", **QUICK_NETWORK, **p),
}
CLASSIFIERS = [
    NaiveBayesClassifier,
    TreeAugmentedNaiveBayesClassifier,
    AveragedOneDependenceClassifier,
]
EACH = pytest.mark.parametrize("name", DENSITIES)


def constants(n=N):
    """Constant columns of all kinds."""
    return pd.DataFrame(
        {
            "float": np.full(n, 0.1 + 0.2),
            "single": np.full(n, 0.1, dtype=np.float32),
            "large": np.full(n, -1e300),
            "zero": np.zeros(n),
            "count": np.full(n, 2**53 - 1),
            "small": np.full(n, -7, dtype=np.int8),
            "word": ["one"] * n,
            "level": pd.Categorical(["a"] * n),
            "day": np.full(n, np.datetime64("2024-02-29T12:34:56.789", "ms")),
            "span": np.full(n, np.timedelta64(90, "s")),
        }
    )


def with_one_that_varies(n=N, seed=0):
    rng = np.random.default_rng(seed)
    return constants(n).assign(size=rng.normal(size=n))


def test_what_a_dtype_declares_is_possible():
    """A boolean may be the other one, and a category another one of its dtype."""
    X = pd.DataFrame({"flag": [True] * N, "level": pd.Categorical(["a"] * N, ["a", "b"])})
    density = BayesianNetworkDensity(conditional="table").fit(X)
    other = pd.DataFrame({"flag": [False], "level": pd.Categorical(["b"], ["a", "b"])})
    np.testing.assert_allclose(density.score_samples(other), 2 * np.log(0.25 / (N + 0.5)))


def with_gaps(table, seed=0):
    """Numbers, of which a fifth is missing, but for the first row."""
    numbers = table.select_dtypes("float")
    holes = np.random.default_rng(seed).random(numbers.shape) < 0.2
    holes[0] = False
    return table.assign(**numbers.mask(holes))


def assert_constant(drawn, table=None):
    table = constants() if table is None else table
    for column in table:
        assert drawn[column].dtype == table[column].dtype
        assert (drawn[column] == table[column].iloc[0]).all(), column


@EACH
def test_a_table_of_constants(name):
    X = constants()
    density = DENSITIES[name](random_state=0).fit(X)
    assert getattr(density, "n_iter_", 1) <= 2  # an epoch for each order
    assert_constant(density.sample(50, random_state=0))
    np.testing.assert_array_equal(density.score_samples(X), np.zeros(N))
    others = {"float": 0.3, "count": 0, "day": pd.Timestamp("2024-03-01"), "span": pd.Timedelta(0)}
    for column, value in others.items():
        other = X.iloc[:2].copy()
        other.loc[0, column] = value
        np.testing.assert_array_equal(density.score_samples(other), [-np.inf, 0.0])


@EACH
def test_all_but_one_column_constant(name):
    """The others change nothing."""
    X, alone = with_one_that_varies(), with_one_that_varies()[["size"]]
    density = DENSITIES[name](random_state=0).fit(X)
    drawn = density.sample(50, random_state=0)
    assert_constant(drawn[list(constants())])
    assert drawn["size"].nunique() == 50
    scores = density.score_samples(X)
    assert np.isfinite(scores).all()
    if name in ("tables", "tree"):
        expected = DENSITIES[name]().fit(alone).score_samples(alone)
        np.testing.assert_allclose(scores, expected)
    given = X.iloc[:5].assign(float=np.nan, zero=np.nan)
    completed = density.conditional_sample(given, random_state=0)
    assert_constant(completed[list(constants())])
    prediction = density.predict_column(given, "float")
    assert (prediction.mean() == X["float"][0]).all()
    assert (prediction.quantile(0.9) == X["float"][0]).all()
    assert (prediction.mode() == X["float"][0]).all()
    np.testing.assert_array_equal(prediction.probabilities, np.ones((5, 1)))
    part = density.marginal(["zero", "day"])
    np.testing.assert_array_equal(part.score_samples(X[["zero", "day"]]), np.zeros(N))


@pytest.mark.parametrize("name", ["tables", "any order"])
def test_constants_with_missing_cells(name):
    X = with_gaps(with_one_that_varies())
    density = DENSITIES[name](random_state=0).fit(X)
    assert_constant(density.sample(20, random_state=0)[list(constants())])
    completed = DensityImputer(density, random_state=0).fit_transform(X.drop(columns="size"))
    assert_constant(completed)


@pytest.mark.parametrize("kind", ["continuous", "rounded", "mixed", "integer"])
def test_whatever_kind_it_is_said_to_be(kind):
    X = pd.DataFrame({"a": np.full(N, 3.0), "x": np.random.default_rng(0).normal(size=N)})
    density = BayesianNetworkDensity(conditional="table", column_kinds={"a": kind}).fit(X)
    assert (density.sample(20, random_state=0)["a"] == 3.0).all()
    assert "always 3" in repr(density.schema_)


@pytest.mark.parametrize("n", [1, 2, 10])
@EACH
def test_few_rows_that_are_all_the_same(name, n):
    X = np.full((n, 2), 1 / 3)
    density = DENSITIES[name](random_state=0).fit(X)
    assert (density.sample(5, random_state=0) == 1 / 3).all()
    np.testing.assert_array_equal(density.score_samples(X), np.zeros(n))


@EACH
def test_another_value_is_an_unknown_category(name):
    X = np.column_stack([np.full(N, 5.0), np.arange(N) % 2])
    other = X[:1] + np.array([[0.5, 0.0]])
    rare = DENSITIES[name](handle_unknown="rare", random_state=0).fit(X)
    share = 0.5 / (N + 1)
    gap = rare.score_samples(X[:1]) - rare.score_samples(other)
    # Networks have never seen what depends on it.
    tolerance = 1e-9 if name in ("tables", "tree", "auto") else 2.0
    np.testing.assert_allclose(gap, np.log((1 - share) / share), atol=tolerance)
    strict = DENSITIES[name](handle_unknown="error", random_state=0).fit(X)
    with pytest.raises(ValueError, match=r"column 0 holds 5\.5 in row 0"):
        strict.score_samples(other)
    with pytest.raises(ValueError, match="infinity.* in column 0, row 0"):
        rare.score_samples(np.array([[np.inf, 0.0]]))


def test_rows_without_weight_may_differ():
    X, weight = np.append(np.full((N, 1), 2.0), [[9.0]], axis=0), np.append(np.ones(N), 0.0)
    density = BayesianNetworkDensity(conditional="table").fit(X, sample_weight=weight)
    assert (density.sample(20, random_state=0) == 2.0).all()


@pytest.mark.parametrize(
    "frame", [pd.DataFrame, pl.DataFrame, np.asarray], ids=["pandas", "polars", "array"]
)
@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_classifiers(classifier, frame):
    X = (
        frame({"a": np.full(N, 0.1), "b": np.full(N, 4.0)})
        if frame is not np.asarray
        else np.full((N, 2), 0.1)
    )
    y = np.arange(N) % 2
    model = classifier().fit(X, y)
    drawn = np.asarray(model.sample(20, random_state=0))
    assert (drawn == np.asarray(X)[0]).all()
    np.testing.assert_allclose(model.score_samples(X), 0.0, atol=1e-12)
    np.testing.assert_allclose(model.predict_proba(X), 0.5)
    with_bins = classifier(bins=[5, "blocks"]).fit(X, y)
    np.testing.assert_allclose(with_bins.score_samples(X), 0.0, atol=1e-12)


@pytest.mark.parametrize("columns", [["float", "zero", "count"], ["float", "zero", "size"]])
def test_estimators_over_densities(columns):
    X = with_one_that_varies()[columns]
    steady = [c for c in columns if c != "size"]
    tables, chow_liu = DENSITIES["tables"](), DENSITIES["tree"]()
    densities = [
        TransformedDensity(StandardScaler(), tables),
        TransformedDensity(
            make_pipeline(StandardScaler(), QuantileTransformer(n_quantiles=20)), tables
        ),
        EnsembleDensity([("tables", tables), ("tree", chow_liu)], random_state=0),
    ]
    for density in densities:
        density.fit(X)
        drawn = pd.DataFrame(density.sample(20, random_state=0))
        for column in steady:
            assert (drawn[column] == X[column].iloc[0]).all(), (density, column)
        assert np.isfinite(density.score_samples(X)).all()
    labels = np.arange(N) % 2
    classifier = GenerativeClassifier(tables).fit(X, labels)
    assert np.isfinite(classifier.predict_log_proba(X)).all()
    detector = DensityOutlierDetector(tables, random_state=0).fit(X)
    assert np.isfinite(detector.score_samples(X)).all()
    codec = DensityCodec(tables).fit(X)
    pd.testing.assert_frame_equal(codec.decode(codec.encode(X)), X)


def test_a_histogram_has_a_bin_around_a_constant():
    """Its edges are those of NumPy, and its measure that of Lebesgue."""
    density = HistogramDensity(1).fit(np.full((N, 1), 3.0))
    np.testing.assert_array_equal(density.edges_[0], [2.5, 3.5])
    assert density.score_samples([[3.0]]) == 0


@pytest.mark.parametrize("value", [0.1, -0.0, 5e-324, -1e308])
def test_the_schema_knows_a_constant_to_its_last_bit(value):
    X = np.full((N, 1), value)
    schema = ColumnSchema(detect_ties=True).fit(X)
    Z, log_det = schema.encode(X)
    assert (Z == 0).all()
    assert (log_det == 0).all()
    np.testing.assert_array_equal(schema.decode(Z), X)
    assert schema.encode(np.nextafter(X, np.inf))[0].max() == -1


def test_a_constant_is_no_reason_to_try_more_dropout():
    """Trials are for tables with categories."""
    X = np.column_stack([np.full(N, 2.0), np.random.default_rng(0).normal(size=N)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        density = AutoregressiveDensity(n_orders=1, max_epochs=2, random_state=0).fit(X)
    assert len({epoch.get("dropout") for epoch in density.history_}) == 1
