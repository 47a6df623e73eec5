"""A column that is never negative stays so behind a change of variables, in the density and in draws."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.datasets import load_diabetes
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)

from sklearn_dgm import (
    AutoregressiveDensity,
    BayesianNetworkDensity,
    EnsembleDensity,
    GenerativeClassifier,
    TransformedDensity,
)
from tests.compose.transformers import line

QUICK = {"hidden_layer_sizes": (8,), "max_epochs": 2, "n_orders": 1, "random_state": 0}
TABLES = BayesianNetworkDensity("chow-liu", conditional="table")
DENSITIES = {
    "logistics": AutoregressiveDensity(**QUICK),
    "normals": AutoregressiveDensity(conditional="gaussian-mixture", **QUICK),
    "tables": TABLES,
    "ensemble": EnsembleDensity([("a", TABLES), ("b", TABLES)], weights="equal"),
}
LINES = {
    "standard": StandardScaler(),
    "range": MinMaxScaler((1, 2)),
    "robust": RobustScaler(),
    "largest": MaxAbsScaler(),
    "downwards": ColumnTransformer(
        [("s", StandardScaler(), slice(0, None))], transformer_weights={"s": -3}
    ),
    "two": make_pipeline(StandardScaler(), RobustScaler()),
    "blocks": make_column_transformer((MinMaxScaler(), [0]), remainder=StandardScaler()),
}
CURVES = {
    "powers": PowerTransformer(),
    "quantiles": QuantileTransformer(n_quantiles=20, output_distribution="normal"),
}
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    n = 300
    return pd.DataFrame(
        {
            "class": rng.integers(1, 4, n),
            "siblings": rng.poisson(0.5, n),
            "fare": rng.exponential(30, n) * (rng.random(n) < 0.9),
            "age": rng.gamma(2, 15, n).round(1),
            "weight": rng.gamma(1.2, 2.0, n),
            "flag": rng.integers(0, 2, n),
            "size": rng.choice([2, 7], n),
            "balance": rng.normal(size=n),
        }
    )


@pytest.mark.parametrize(
    ("name", "scaler"),
    [("logistics", "standard"), ("normals", "downwards"), ("ensemble", "standard")]
    + [("tables", scaler) for scaler in LINES | CURVES],
)
def test_draws_stay_where_the_columns_are(name, scaler, table):
    density = TransformedDensity((LINES | CURVES)[scaler], DENSITIES[name]).fit(table)
    drawn = density.sample(2000, random_state=0)
    assert (drawn.drop(columns="balance").min() >= 0).all()
    assert (drawn["balance"] < 0).any()
    assert set(drawn["flag"]) == {0, 1}
    assert set(drawn["size"]) == {2, 7}
    assert np.isfinite(density.score_samples(drawn)).all()
    assert np.isfinite(density.score_samples(table)).all()
    beyond = table.head(3).astype({"weight": float})
    beyond.loc[0, "weight"], beyond.loc[1, "fare"] = -1e-3, -1e-3
    scores = density.score_samples(beyond)
    assert np.isneginf(scores[:2]).all()
    assert np.isfinite(scores[2])


@pytest.mark.parametrize("name", ["logistics", "normals", "tables"])
@pytest.mark.parametrize("scaler", ["standard", "range", "downwards", "powers"])
def test_the_density_is_one_above_the_bound(name, scaler):
    x = np.random.default_rng(1).gamma(0.8, 2.0, 200)[:, None]
    density = TransformedDensity((LINES | CURVES)[scaler], DENSITIES[name]).fit(x)

    at, weight = line(np.append(np.quantile(x, np.linspace(0, 1, 60)), [-1.0, 0.0, 1e-6, 1e-3]))
    p = np.exp(density.score_samples(at[:, None]))
    assert (p * weight).sum() == pytest.approx(1, abs=1e-3)
    assert (p[at < -1e-9] == 0).all()


def test_fitted_rows_are_possible_whatever_the_table():
    rng = np.random.default_rng(2)
    scalers = [*LINES.values(), *CURVES.values()]
    for trial in range(30):
        n = int(rng.integers(30, 120))
        size, shift = 10.0 ** rng.uniform(-6, 3, 2)
        columns = [
            rng.gamma(0.5, size, n) * (rng.random(n) < 0.7),
            shift + rng.random(n) * size,
            np.round(rng.random(n) * 9, 1) * size + 3 * size,
            rng.choice([shift, shift + size], n),
            rng.poisson(1.0, n),
        ]
        X = np.column_stack(columns).astype(np.float32 if trial % 3 == 0 else np.float64)
        density = TransformedDensity(scalers[trial % len(scalers)], TABLES).fit(X)
        assert np.isfinite(density.score_samples(X)).all(), trial
        assert (density.sample(200, random_state=0) >= 0).all(), trial


def test_diabetes_in_its_units():
    X = load_diabetes(scaled=False).data
    density = TransformedDensity(StandardScaler(), TABLES).fit(X)
    assert (density.sample(3000, random_state=0) >= 0).all()


def test_bounds_that_are_given_stay():
    x = np.random.default_rng(3).exponential(size=(100, 1))
    given = AutoregressiveDensity(bounds={0: (-9.0, 9.0)}, **QUICK)
    density = TransformedDensity(StandardScaler(), given).fit(x)
    assert density.estimator_.bounds == {0: (-9.0, 9.0)}
    assert density.estimator.bounds == {0: (-9.0, 9.0)}
    assert np.isfinite(density.score_samples([[-0.5]])).all()
    free = TransformedDensity(StandardScaler(), AutoregressiveDensity(**QUICK)).fit(x)
    assert free.estimator.bounds is None
    ((lower, upper),) = free.estimator_.bounds.values()
    assert (lower, upper) == (pytest.approx(-x.mean() / x.std()), np.inf)


def test_a_lowest_value_at_zero_by_scaling_is_no_bound():
    rng = np.random.default_rng(4)
    x = np.maximum(rng.normal(size=300), -1.0)[:, None]
    density = TransformedDensity(MinMaxScaler(), TABLES).fit(x)
    assert np.isfinite(density.score_samples([[-1.2]])).all()


def test_parts_share_the_bounds(table):
    """Of a class that has few rows, or none at zero, the bounds are those of all rows."""
    y = table.pop("flag").to_numpy()
    table.loc[y == 1, "fare"] += 40
    model = GenerativeClassifier(TransformedDensity(StandardScaler(), TABLES)).fit(table, y)
    bounds = [density.estimator_.bounds for density in model.estimators_]
    assert bounds[0] == bounds[1]
    assert len(bounds[0]) > 0
    drawn = model.sample(1000, random_state=0)
    drawn = drawn[0] if isinstance(drawn, tuple) else drawn
    assert (drawn.drop(columns="balance").min() >= 0).all()


def test_missing_cells_and_labels_that_are_integers(table):
    rng = np.random.default_rng(5)
    gaps = table.astype(float).mask(rng.random(table.shape) < 0.3)
    gaps.iloc[0] = np.nan
    gaps.iloc[1, :-1] = np.nan
    gaps.columns = range(3, 3 + gaps.shape[1])
    density = TransformedDensity(StandardScaler(), TABLES).fit(gaps)
    assert np.isfinite(density.score_samples(gaps)).all()
    assert (density.sample(1000, random_state=0).drop(columns=gaps.columns[-1]).min() >= 0).all()


def test_what_is_no_column_alone_has_no_bounds():
    X = np.random.default_rng(6).exponential(size=(80, 2))
    inner = TransformedDensity(StandardScaler(), make_pipeline(RobustScaler(), TABLES)).fit(X)
    assert inner.estimator_[-1].bounds is None
    TransformedDensity(StandardScaler(), KernelDensity()).fit(X)


def test_columns_that_the_density_takes_for_categories():
    rng = np.random.default_rng(7)
    X = np.column_stack([rng.integers(0, 3, 90), rng.exponential(size=90)])
    density = BayesianNetworkDensity("chow-liu", conditional="table", categorical_features=[0])
    found = TransformedDensity(StandardScaler(), density).fit(X)
    assert np.isfinite(found.score_samples(X)).all()
    assert list(found.estimator_.bounds) == [1]


def test_two_values_that_are_said_to_be_continuous():
    x = np.repeat([2, 7, 2], 40)[:, None]
    density = BayesianNetworkDensity(
        "chow-liu", conditional="table", column_kinds={0: "continuous"}
    )
    found = TransformedDensity(StandardScaler(), density).fit(x)
    assert np.isfinite(found.score_samples([[1.0], [7.5], [4.0]])).all()
    assert (found.sample(500, random_state=0) >= 0).all()
