"""Single values far out, which must not set the units in which all others are seen."""

import warnings

import numpy as np
import pytest
from sklearn.base import clone

from sklearn_dgm import (
    AutoregressiveDensity,
    BayesianNetworkDensity,
    DensityOutlierDetector,
    EnsembleDensity,
    HistogramDensity,
    NaiveBayesClassifier,
)
from sklearn_dgm.columns import ColumnSchema
from sklearn_dgm.columns._bulk import bulk_of, quantiles
from sklearn_dgm.outlier._committee import location_and_scale

N_ROWS, CORRUPT = 300, 7


def _rows(kind):
    rng = np.random.default_rng(0)
    x = rng.normal(size=N_ROWS)
    X = np.column_stack([x, 3 * x + rng.normal(size=N_ROWS)])
    return {
        "continuous": X,
        "rounded": X.round(1),
        "integer": np.rint(100 * X),
        "mixed": np.where(rng.random(X.shape) < 0.6, 0, X),
    }[kind]


def _corrupt(X, value):
    X = X.copy()
    X[CORRUPT, 1] = value
    return X


def _network(kind):
    kinds = {0: "integer", 1: "integer"} if kind == "integer" else None
    return AutoregressiveDensity(
        (16,), order="given", dropout=0.0, max_epochs=40, early_stopping=False, lr=1e-2, batch_size=64,
        column_kinds=kinds, random_state=0,
    )  # fmt: skip


def _others(scores):
    return np.delete(scores, CORRUPT)


@pytest.mark.parametrize(
    ("kind", "value"),
    [("continuous", 1e10), ("rounded", -1e12), ("integer", -1e10), ("mixed", 1e12)],
)
def test_one_corrupt_cell_leaves_the_other_rows_their_likelihood(kind, value):
    X, density = _rows(kind), _network(kind)
    clean = _others(density.fit(X).score_samples(X))
    corrupt = density.fit(_corrupt(X, value))
    scores = corrupt.score_samples(_corrupt(X, value))
    assert corrupt.schema_.kinds_.tolist() == [kind, kind]
    assert np.isfinite(scores).all()
    assert np.median(_others(scores)) == pytest.approx(np.median(clean), abs=0.2)


@pytest.mark.parametrize("value", [-1e60, 1.7e308])
def test_training_beyond_float32(value):
    X, density = _rows("continuous"), _network("continuous")
    clean = _others(density.fit(X).score_samples(X))
    scores = density.fit(_corrupt(X, value)).score_samples(_corrupt(X, value))
    assert np.median(_others(scores)) == pytest.approx(np.median(clean), abs=0.2)
    assert not np.isnan(scores[CORRUPT])


def test_the_scale_of_a_bulk_is_accounted_for():
    """The density integrates to one in the units of X: nearly all of it where the bulk is."""
    x = _corrupt(_rows("continuous"), 1e12)[:, 1:]
    density = clone(_network("continuous")).fit(x)
    grid = np.linspace(-60, 60, 20_001)
    total = np.trapezoid(np.exp(density.score_samples(grid[:, None])), grid)
    assert 0.97 < total < 1.001


def test_ordinary_columns_keep_mean_and_standard_deviation():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(5, 3, 400), rng.lognormal(0, 2, 400), rng.random(400) < 0.1])
    columns = ColumnSchema(None, None).fit(X.astype(float)).columns_
    np.testing.assert_allclose([c.location for c in columns], X.mean(axis=0))
    np.testing.assert_allclose([c.scale for c in columns], X.std(axis=0))


@pytest.mark.parametrize("share", [0.0, 0.6, 0.85, 0.95])
def test_spread_of_the_bulk_is_the_standard_deviation_of_a_normal(share):
    """Also where most values are the same."""
    rng = np.random.default_rng(0)
    x = rng.normal(2, 3, 100_000)
    x = np.where(rng.random(len(x)) < share, 2, x)
    median, spread = bulk_of(np.append(x, 1e300), np.ones(len(x) + 1))
    assert median == pytest.approx(2, abs=0.05)
    # Of a share of equal values in the middle the quantiles lie nearer.
    assert (1 - share) * 3 * 0.2 < spread < 3.1


def test_quantiles_follow_weights():
    x, weight = np.array([3.0, 1.0, 2.0]), np.array([1, 2, 5])
    repeated = np.sort(np.repeat(x, weight))
    shares = [0.1, 0.25, 0.5, 0.9, 1.0]
    expected = np.quantile(repeated, shares, method="inverted_cdf")
    assert quantiles(x, weight, shares).tolist() == expected.tolist()


def test_integers_are_counted_from_their_median_where_the_smallest_is_far_out():
    n = np.append(np.arange(100), -(2**40))[:, None]
    schema = ColumnSchema().fit(n)
    Z, _ = schema.encode(n)
    assert np.abs(np.median(Z)) <= 1
    np.testing.assert_array_equal(schema.decode(Z), n)
    assert ColumnSchema().fit(n[:-1]).columns_[0].location == 0


@pytest.mark.parametrize(
    "density",
    [
        HistogramDensity(),
        HistogramDensity(bins="blocks"),
        HistogramDensity(bins="knuth"),
        HistogramDensity(bins="quantiles"),
        HistogramDensity(bins="auto"),
        BayesianNetworkDensity("chow-liu", conditional="table"),
        AutoregressiveDensity((4,), max_epochs=1, early_stopping=False, dropout=0.0),
        AutoregressiveDensity((4,), order="any", max_epochs=1, early_stopping=False, dropout=0.0),
        AutoregressiveDensity(
            (4,), conditional="gaussian-mixture", max_epochs=1, early_stopping=False, dropout=0.0
        ),
        EnsembleDensity(
            [
                ("histogram", HistogramDensity()),
                ("tables", BayesianNetworkDensity("chow-liu", conditional="table")),
            ]
        ),
        DensityOutlierDetector(BayesianNetworkDensity("chow-liu", conditional="table")),
        DensityOutlierDetector(),
        NaiveBayesClassifier(),
    ],
    ids=lambda density: type(density).__name__,
)
@pytest.mark.parametrize("values", [[1e308], [-1e308], [1e308, -1e308]], ids=str)
def test_values_at_the_end_of_float64_leak_no_warnings(density, values):
    """Warnings are errors here: what is no clear error gives scores, also of rows far from all that were fitted."""
    X = _rows("continuous")[:100]
    far = X.copy()
    far[: len(values), 1] = values
    y = X[:, 0] > 0

    with warnings.catch_warnings(action="error"):
        warnings.filterwarnings("ignore", "nearly all values", UserWarning)  # one of equal bins
        assert not np.isnan(scores_of(density.fit(X, y), far)).any()
        has_histogram = isinstance(density, HistogramDensity | EnsembleDensity)
        if has_histogram and (len(values) == 2 or getattr(density, "bins", None) == "auto"):
            with pytest.raises(ValueError, match=r"column 1: .*(far from|span more)"):
                density.fit(far, y)
            return
        density.fit(far, y)
        found = scores_of(density, far)
        assert not np.isnan(found).any()
        assert np.isfinite(found[len(values) :]).all()
        if hasattr(density, "sample"):
            density.sample(5, random_state=0)


def test_columns_at_the_end_of_float64_leak_no_warnings_from_a_committee():
    """Nor do scores that are as far apart."""
    X = _rows("continuous")[:100]
    X[:, 1] = np.where(X[:, 0] > 0, 1e300, -1e300)
    assert np.isfinite(DensityOutlierDetector().fit(X).score_samples(X)).all()
    assert location_and_scale(np.array([-1e300, -1.0, -1.0, -1.0, -1.0]))[1] == pytest.approx(4e299)


def scores_of(density, X):
    ask = getattr(density, "score_samples", None) or density.predict_proba
    return np.asarray(ask(X))
