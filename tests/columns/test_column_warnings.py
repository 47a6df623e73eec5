"""What a column is warned of is said once, however many densities are fitted to the table, or to parts of it."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import DataConversionWarning

from sklearn_dgm import (
    BayesianNetworkDensity,
    DensityOutlierDetector,
    EnsembleDensity,
    GenerativeClassifier,
)
from sklearn_dgm.metrics import compare_densities

TABLES = BayesianNetworkDensity("chow-liu", conditional="table")
TWO = [("a", TABLES), ("b", clone(TABLES))]


def fit(estimator):
    return lambda X: estimator.fit(X, np.arange(len(X)) % 2)


@pytest.mark.parametrize(
    "use",
    [
        fit(TABLES),
        fit(EnsembleDensity(TWO)),
        fit(EnsembleDensity(TWO, weights="equal")),
        fit(GenerativeClassifier(EnsembleDensity(TWO, weights="equal"))),
        fit(DensityOutlierDetector()),
        fit(DensityOutlierDetector(TWO)),
        fit(DensityOutlierDetector(TABLES, trim=0.1)),
        lambda X: compare_densities(TWO, X, random_state=0),
    ],
)
@pytest.mark.parametrize("action", ["always", "default"])
def test_a_column_that_names_rows_is_said_once(use, action):
    rng = np.random.default_rng(0)
    names = [f"u{k}" for k in rng.integers(0, 3000, 100)]  # parts have other numbers of them
    X = pd.DataFrame({"id": names, "x": rng.normal(size=100)})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter(action)
        use(X)
    told = [w for w in caught if issubclass(w.category, DataConversionWarning)]
    assert len(told) == 1
    assert "column 'id'" in str(told[0].message)


def test_what_is_said_of_several_columns_and_of_all_rows():
    X = pd.DataFrame({k: [f"{k}{i}" for i in range(100)] for k in "uv"})
    X["w"] = [
        *range(60),
        *(f"w{i}" for i in range(40)),
    ]  # of several types, and nearly all distinct
    with pytest.warns(DataConversionWarning) as caught:
        EnsembleDensity(TWO).fit(X)
    messages = [str(w.message) for w in caught]
    assert sorted(message.split()[1] for message in messages) == ["'u'", "'v'", "'w'", "'w'"]
    assert all("100 of its 100" in m for m in messages if "distinct" in m)


def test_a_fit_that_fails_warns_too():
    X = pd.DataFrame({"id": [f"u{i}" for i in range(100)], "x": range(100)})
    broken = BayesianNetworkDensity("no graph", conditional="table")
    with (
        pytest.warns(DataConversionWarning, match="column 'id'"),
        pytest.raises(ValueError, match="no graph"),
    ):
        EnsembleDensity([("a", TABLES), ("b", broken)], weights="equal").fit(X)
