"""Densities of classes compare, since they are told the same of the columns."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from sklearn_dgm import (
    EnsembleDensity,
    GenerativeClassifier,
    HistogramDensity,
    TransformedDensity,
)
from tests.generative.densities import TABLES, iris, mixed, network
from tests.toys import Gaussian, Regression


def test_values_that_hold_mass_in_one_class_have_mass_in_all():
    """At 0 one class has half of its rows, the other has none, but a high density around it."""
    rng = np.random.default_rng(0)
    zeros = np.where(np.arange(400) % 2, 0.0, rng.normal(size=400))
    X = np.append(zeros, 0.01 * rng.normal(size=400))[:, None]
    y = np.repeat(["zeros", "none"], 400)
    model = GenerativeClassifier(TABLES).fit(X, y)
    assert model.schema_.kinds_.tolist() == ["mixed"]
    assert [density.schema_.kinds_.tolist() for density in model.estimators_] == [["mixed"]] * 2
    assert model.predict_proba([[0.0]])[0, 1] > 0.99
    assert model.predict([[0.001], [1.0]]).tolist() == ["none", "zeros"]
    grid = np.linspace(-6, 6, 200_001)
    mass = np.exp(model.score_samples([[0.0]]))[0] + np.exp(
        model.score_samples(grid[grid != 0][:, None])
    ).sum() * (grid[1] - grid[0])
    assert mass == pytest.approx(1, abs=1e-3)
    alone = [clone(TABLES).fit(X[y == label]).score_samples([[0.0]])[0] for label in model.classes_]
    assert alone[0] > alone[1]  # what would be compared without one schema


def test_categories_ranges_and_grids_are_those_of_all_classes():
    X = pd.DataFrame({"city": ["Oslo", "Rome"] * 30 + ["Bonn"], "count": [*range(60), 99]})
    y = np.array(["a", "b"] * 30 + ["a"])
    model = GenerativeClassifier(HistogramDensity(alpha=0.1)).fit(X, y)
    assert np.isfinite(model.predict_joint_log_proba(X)).all()
    cells = [(city, count) for city in ("Oslo", "Rome", "Bonn") for count in range(100)]
    of_all = model.predict_joint_log_proba(pd.DataFrame(cells, columns=X.columns))
    np.testing.assert_allclose(np.exp(of_all).sum(axis=0), model.class_prior_)
    # Numbers of one decimal in one class, of two in the other.
    rng = np.random.default_rng(0)
    rounded = np.append(rng.normal(size=200).round(1), rng.normal(size=200).round(2))[:, None]
    model = GenerativeClassifier(TABLES).fit(rounded, np.arange(400) < 200)
    steps = {density.schema_.columns_[0].resolution for density in model.estimators_}
    assert steps == {0.01}


def test_a_schema_is_checked():
    X, y = iris()
    schema = HistogramDensity().learn_schema(X)
    density = HistogramDensity().fit(X[y == 0], schema=schema)
    assert density.schema_ is schema
    assert density.edges_[0][-1] == X[:, 0].max()
    frame = pd.DataFrame(X, columns=list("abcd"))
    for bad, rows in [(schema, frame), (schema, X[:, :3]), ("schema", X)]:
        with pytest.raises(ValueError, match="schema should be what learn_schema of a density"):
            HistogramDensity().fit(rows, schema=bad)
    with pytest.raises(ValueError, match="schema should be what learn_schema of a density"):
        network().fit(X, schema=schema)


def test_a_schema_is_of_the_same_parameters_of_columns():
    numbers = pd.DataFrame(
        np.random.default_rng(0).integers(0, 4, (60, 2)), columns=["a", "b"], dtype=float
    )
    other = [
        (Regression(given=["a"]), Regression()),
        (Regression(given="a"), Regression(given=["b"])),
        (HistogramDensity(), HistogramDensity(integer_features=None)),
        (HistogramDensity(), HistogramDensity(categorical_features=[0])),
        (TABLES, clone(TABLES).set_params(column_kinds={"a": "continuous"})),
        (HistogramDensity(), Gaussian()),
    ]
    same = [
        (Regression(given=["a"]), Regression(given=np.array([True, False]))),
        (Regression(given=[]), Regression(given=None)),
        (
            clone(TABLES).set_params(column_kinds={"a": "integer"}),
            clone(TABLES).set_params(column_kinds={0: "integer"}),
        ),
        (
            HistogramDensity(categorical_features=["a"]),
            HistogramDensity(categorical_features=[True, False]),
        ),
    ]
    for pair in other:
        for teacher, density in (pair, pair[::-1]):
            with pytest.raises(
                ValueError, match="learn_schema of a density with the same parameters"
            ):
                density.fit(numbers, schema=teacher.learn_schema(numbers))
    for teacher, density in same:
        found = clone(density).fit(numbers, schema=teacher.learn_schema(numbers))
        expected = density.fit(numbers).score_samples(numbers)
        np.testing.assert_array_equal(found.score_samples(numbers), expected)


def test_a_density_that_takes_tables_and_no_schema_learns_its_own():
    class Own(HistogramDensity):
        def fit(self, X, y=None, sample_weight=None):
            return super().fit(X, y, sample_weight)

    frame, y = mixed()
    model = GenerativeClassifier(Own(bins=4, alpha=0.1)).fit(frame, y)
    assert model.schema_ is None
    assert model.score(frame, y) > 0.75
    assert list(model.sample(5, random_state=0).dtypes) == list(frame.dtypes)


@pytest.mark.parametrize(
    "around",
    [
        lambda density: TransformedDensity(None, density),
        lambda density: TransformedDensity("passthrough", GridSearchCV(density, {}, cv=2)),
        lambda density: EnsembleDensity([("it", density)], weights="equal"),
        lambda density: EnsembleDensity([("it", TransformedDensity(None, density))], weights=[1]),
    ],
)
def test_classes_have_one_schema_through_other_densities(around):
    frame, y = mixed()
    density = HistogramDensity(bins=4, alpha=0.1)
    y = np.where(np.arange(len(y)) % 3, np.unique(y, return_inverse=True)[1], -1)
    alone = GenerativeClassifier(density, max_iter=1).fit(frame, y)
    model = GenerativeClassifier(around(density), max_iter=1).fit(frame, y)
    np.testing.assert_allclose(model.predict_proba(frame), alone.predict_proba(frame), atol=1e-9)
    assert list(model.sample(5, random_state=0).dtypes) == list(frame.dtypes)


def test_classes_have_one_transformer_where_columns_are_learnt():
    """Zeros are a tenth of one class and none of the other; a density alone would take them for continuous there."""
    rng = np.random.default_rng(0)
    X = rng.lognormal(size=(800, 1)) + np.arange(800)[:, None] % 2
    y = np.arange(800) % 2
    X[(y == 0) & (rng.random(800) < 0.3)] = 0
    density = TransformedDensity(StandardScaler(), network())
    model = GenerativeClassifier(density).fit(X, y)
    assert len({id(fitted.transformer_) for fitted in model.estimators_}) == 1
    kinds = [fitted.estimator_.schema_.kinds_.tolist() for fitted in model.estimators_]
    assert kinds == [["mixed"]] * 2
    assert model.predict_proba([[0.0]])[0, 0] > 0.9
    of_numbers = TransformedDensity(StandardScaler(), KernelDensity())
    model = GenerativeClassifier(of_numbers).fit(X, y)
    means = [fitted.transformer_.mean_[0] for fitted in model.estimators_]
    np.testing.assert_allclose(means, [X[y == 0].mean(), X[y == 1].mean()])
    assert model.schema_ is None


def test_densities_that_would_learn_columns_class_by_class_are_refused():
    class Around(TransformedDensity):
        def fit(self, X, y=None, sample_weight=None):
            return super().fit(X, y, sample_weight)

    X, y = np.random.default_rng(0).normal(size=(60, 2)), np.arange(60) % 2
    for density in (
        Around(None, HistogramDensity()),
        TransformedDensity(None, make_pipeline(StandardScaler(), HistogramDensity())),
        EnsembleDensity([("it", Around(None, HistogramDensity()))]),
    ):
        with pytest.raises(TypeError, match="lets HistogramDensity learn from a part of the rows"):
            GenerativeClassifier(density).fit(X, y)
    for density in (
        TransformedDensity(None, HistogramDensity()),
        EnsembleDensity([("it", HistogramDensity())]),
    ):
        with pytest.raises(ValueError, match="schema should be what learn_schema"):
            density.fit(X, schema=HistogramDensity().learn_schema(X))


def test_a_schema_is_no_weight_to_a_search():
    """A search takes what has as many entries as there are rows for one entry of each."""
    X, y = iris()
    kept = np.r_[0:5, 50:150]
    density = TransformedDensity(StandardScaler(), HistogramDensity(bins=4, alpha=0.1))
    search = GridSearchCV(density, {"estimator__bins": [3, 4]}, cv=2)
    assert GenerativeClassifier(search).fit(X[kept], y[kept]).score(X, y) > 0.5


def test_a_schema_of_another_transformer_is_refused():
    X, _ = iris()
    schema = TransformedDensity(StandardScaler(), HistogramDensity()).learn_schema(X)
    with pytest.raises(ValueError, match="schema should be what learn_schema"):
        TransformedDensity(MinMaxScaler(), HistogramDensity()).fit(X, schema=schema)
    with pytest.raises(ValueError, match="schema should be what learn_schema"):
        TransformedDensity(StandardScaler(), HistogramDensity()).fit(X[:, :2], schema=schema)


def test_frozen_densities_within_are_refused():
    X, y = iris()
    frozen = FrozenEstimator(HistogramDensity().fit(X))
    for density in (
        TransformedDensity(StandardScaler(), frozen),
        EnsembleDensity([("frozen", frozen), ("kernel", KernelDensity())]),
    ):
        with pytest.raises(TypeError, match="which would be the same for each class"):
            GenerativeClassifier(density).fit(X, y)
    scaler = FrozenEstimator(StandardScaler().fit(X))
    density = TransformedDensity(scaler, HistogramDensity(bins=4, alpha=0.1))
    assert GenerativeClassifier(density).fit(X, y).score(X, y) > 0.8


@pytest.mark.parametrize("convert", [lambda frame: frame, pl.from_pandas], ids=["pandas", "polars"])
def test_draws_have_the_dtypes_of_the_rows(convert):
    rng = np.random.default_rng(5)
    y = rng.integers(0, 2, 300)
    frame = pd.DataFrame({"age": rng.poisson(30, 300), "job": rng.choice(["a", "b"], 300)})
    blocks = make_column_transformer(
        (StandardScaler(), ["age"]), remainder="passthrough", verbose_feature_names_out=False
    )
    density = TransformedDensity(blocks, HistogramDensity(bins=4, alpha=0.1))
    rows = convert(frame)
    drawn = GenerativeClassifier(density).fit(rows, y).sample(9, random_state=0)
    assert list(drawn.dtypes) == list(rows.dtypes)
    members = [("whole", HistogramDensity(integer_features=None)), ("behind", density)]
    drawn = EnsembleDensity(members, random_state=0).fit(rows).sample(40, random_state=0)
    assert list(drawn.dtypes) == list(rows.dtypes)
