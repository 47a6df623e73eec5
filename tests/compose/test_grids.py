"""Rounded numbers behind curves: no peaks where they repeat."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import stats
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PowerTransformer, QuantileTransformer, StandardScaler

from sklearn_dgm import AutoregressiveDensity, TransformedDensity
from sklearn_dgm.compose import DifferentiableFunctionTransformer
from sklearn_dgm.tags import DensityTags, with_density_tags

STEP = 0.25
CURVES = {
    "yeo-johnson": PowerTransformer,
    "box-cox": lambda: PowerTransformer(method="box-cox"),
    "quantiles": lambda: QuantileTransformer(n_quantiles=200),
    "quantiles, normal": lambda: QuantileTransformer(n_quantiles=200, output_distribution="normal"),
    "logarithm": lambda: DifferentiableFunctionTransformer(np.log, np.exp, lambda x: 1 / x),
    "falling": lambda: DifferentiableFunctionTransformer(
        lambda x: 1 / x, lambda z: 1 / z, lambda x: -1 / x**2
    ),
}


class LooksForTies(GaussianMixture):
    """A mixture that makes peaks where it can, and says that it knows what to do with grids."""

    def __sklearn_tags__(self):
        tags = DensityTags(column_kinds=("continuous", "integer"), ties=True)
        return with_density_tags(super().__sklearn_tags__(), tags)


def mixture(kind=LooksForTies):
    return kind(12, reg_covar=1e-8, random_state=0)


def rounded(n_samples, seed=0):
    """Numbers that were rounded, and the log-density of the cell of each."""
    law = stats.lognorm(0.6)
    x = law.rvs(n_samples, random_state=seed)
    x = np.maximum(STEP, STEP * np.round(x / STEP))
    low = np.where(x == STEP, 0.0, x - STEP / 2)
    probability = law.cdf(x + STEP / 2) - law.cdf(low)
    return x[:, None], np.log(probability / STEP)


@pytest.mark.parametrize("name", CURVES)
def test_nothing_is_better_than_the_truth(name):
    """Gibbs' inequality, which peaks at the values would break."""
    X, _ = rounded(2000)
    others, truth = rounded(4000, seed=1)
    density = TransformedDensity(CURVES[name](), mixture()).fit(X)
    gain = density.score_samples(others) - truth
    assert -0.3 < gain.mean() < 3 * gain.std() / np.sqrt(len(gain))
    peaks = TransformedDensity(CURVES[name](), mixture(GaussianMixture)).fit(X)
    assert peaks.score_samples(others).mean() > truth.mean() + 2


@pytest.mark.parametrize("name", CURVES)
def test_it_integrates_to_one_and_samples_agree(name):
    X, _ = rounded(1000)
    density = TransformedDensity(CURVES[name](), mixture()).fit(X)
    cells, n = np.arange(-10, 200), 200
    x = STEP * (cells[:, None] + (np.arange(n) + 0.5) / n - 0.5).reshape(-1, 1)
    mass = np.exp(density.score_samples(x)).reshape(-1, n).sum(axis=1) * STEP / n
    assert mass.sum() == pytest.approx(1, abs=0.01)
    drawn = density.sample(3000, random_state=0)
    assert np.isfinite(density.score_samples(drawn)).all()
    # Draws are rounded as the rows are, unless this makes a zero of them that the curve cannot take.
    assert ((drawn % STEP == 0) | (drawn < STEP / 2)).all()
    expected = 3000 * mass
    counts = (np.round(drawn / STEP) == cells).sum(axis=0)
    often = expected > 10
    pairs = (np.append(of[often], 3000 - of[often].sum()) for of in (counts, expected))
    assert stats.chisquare(*pairs).pvalue > 1e-4


@pytest.mark.parametrize("name", CURVES)
def test_there_and_back(name):
    X, _ = rounded(500)
    curve = TransformedDensity(CURVES[name](), mixture()).fit(X)._bijection
    x = np.random.default_rng(0).uniform(STEP / 2, 1.5 * X.max(), (300, 1))
    z, log_slope = curve.forward(x, np.zeros(x.shape))
    np.testing.assert_allclose(curve.inverse(list(z.T))[0], x[:, 0], rtol=1e-8)
    near = x + 1e-7
    same_cell = np.round(x / STEP) == np.round(near / STEP)
    slope = np.abs(curve.forward(near, np.zeros(x.shape))[0] - z) / 1e-7
    np.testing.assert_allclose(slope[same_cell], np.exp(log_slope)[same_cell], rtol=1e-4)


def test_lines_keep_the_grid():
    """Behind a scaler a density finds it by itself."""
    X, _ = rounded(300)
    for transformer in (StandardScaler(), make_pipeline(StandardScaler(), StandardScaler())):
        density = TransformedDensity(transformer, mixture()).fit(X)
        plain = TransformedDensity(transformer, mixture(GaussianMixture)).fit(X)
        np.testing.assert_array_equal(density.score_samples(X), plain.score_samples(X))


def test_two_values_behind_quantiles():
    """Both are ends, where the curve of a normal output is steepest; what is steep at both looks like a line."""
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.permutation(np.repeat([0.0, 1.0, 1.0], 200)), rng.normal(size=600)])
    curve = QuantileTransformer(n_quantiles=100, output_distribution="normal")
    blocks = make_column_transformer((curve, [0]), remainder="passthrough")
    score = TransformedDensity(blocks, mixture()).fit(X).score_samples(X)
    truth = stats.norm.logpdf(X[:, 1]) + np.log(np.where(X[:, 0], 2 / 3, 1 / 3))
    assert score.mean() == pytest.approx(truth.mean(), abs=0.2)


def test_the_end_of_a_domain():
    X = np.random.default_rng(0).poisson(2.0, (500, 1)).astype(float)
    root = DifferentiableFunctionTransformer(
        lambda x: np.sqrt(x + 0.25), lambda z: z**2 - 0.25, lambda x: 0.5 / np.sqrt(x + 0.25)
    )
    density = TransformedDensity(root, mixture()).fit(X)
    expected = np.log(np.mean(X == [0, 1, 2, 3], axis=0) / [0.75, 1, 1, 1])
    at = np.arange(4.0)[:, None]
    np.testing.assert_allclose(density.score_samples(at), expected, atol=0.5)


def test_columns_that_are_mixed_are_spread():
    x, _ = rounded(600)
    y, _ = rounded(600, seed=1)
    X = np.hstack([x, y])
    spread = TransformedDensity(PCA(), mixture()).fit(X).score_samples(X).mean()
    peaks = TransformedDensity(PCA(), mixture(GaussianMixture)).fit(X).score_samples(X).mean()
    assert spread < peaks


def test_curves_of_an_inner_pipeline():
    X, _ = rounded(2000)
    others, truth = rounded(4000, seed=1)
    within = make_pipeline(PowerTransformer(), mixture())
    density = TransformedDensity(StandardScaler(), within).fit(X)
    gain = density.score_samples(others) - truth
    assert -0.2 < gain.mean() < 3 * gain.std() / np.sqrt(len(gain))


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_frames_of_whole_numbers_beside_others(frame):
    rng = np.random.default_rng(0)
    X = {"count": rng.poisson(5, 400), "free": rng.normal(size=400)}
    blocks = make_column_transformer(
        (PowerTransformer(), ["count"]),
        (StandardScaler(), ["free"]),
        verbose_feature_names_out=False,
    )
    density = TransformedDensity(blocks, mixture()).fit(frame(X))
    assert set(density._bijection.bijections[0]._cells) == {0}
    table = np.column_stack([X["count"], X["free"]])
    blocks = make_column_transformer((PowerTransformer(), [0]), (StandardScaler(), [1]))
    same = TransformedDensity(blocks, mixture()).fit(table)
    np.testing.assert_allclose(density.score_samples(frame(X)), same.score_samples(table))


def test_a_curve_with_a_pole():
    rng = np.random.default_rng(3)
    X = (rng.choice([-1, 1], 400) * np.maximum(1, rng.poisson(3, 400)).astype(float))[:, None]
    curve = DifferentiableFunctionTransformer(lambda x: 1 / x, lambda z: 1 / z, lambda x: -1 / x**2)
    density = TransformedDensity(curve, LooksForTies(3, random_state=0)).fit(X)
    x = np.linspace(-30, 30, 60_001)[:, None]
    x = x[np.abs(x) > 1e-9][:, None]
    assert np.exp(density.score_samples(x)).sum() * 1e-3 == pytest.approx(1, abs=0.05)
    drawn = density.sample(1000, random_state=0)
    np.testing.assert_allclose((drawn > 0).mean(), (X > 0).mean(), atol=0.08)


@pytest.mark.parametrize(
    "convert",
    [
        lambda x: x,
        lambda x: x.astype(bool),
        lambda x: x.astype(np.int8),
        lambda x: x.astype(float).astype(object),
        lambda x: pd.DataFrame(x.astype(bool), columns=["a", "b"]),
        lambda x: pd.DataFrame(x.astype(bool), columns=["a", "b"]).astype("boolean"),
        lambda x: pl.DataFrame(x.astype(bool), schema=["a", "b"]),
    ],
    ids=["floats", "flags", "int8", "objects", "pandas", "nullable", "polars"],
)
@pytest.mark.parametrize("curve", [PCA, CURVES["quantiles, normal"]], ids=["mixed", "curve"])
def test_two_values_of_any_dtype(convert, curve):
    x = (np.random.default_rng(7).random((400, 2)) < 0.4).astype(float)
    expected = TransformedDensity(curve(), mixture()).fit(x).score_samples(x)
    X = convert(x)
    density = TransformedDensity(curve(), mixture()).fit(X)
    np.testing.assert_allclose(density.score_samples(X), expected, rtol=1e-6)
    assert density.score_samples(X).mean() < 0
    drawn = density.sample(100, random_state=0)
    assert np.isin(np.asarray(drawn).astype(float), [0.0, 1.0]).mean() > 0.9


def test_far_apart_int8():
    X = np.random.default_rng(7).integers(-100, 100, (400, 1)).astype(np.int8)
    density, same = (
        TransformedDensity(CURVES["quantiles, normal"](), mixture()).fit(rows)
        for rows in (X, X.astype(np.int16))
    )
    np.testing.assert_array_equal(density.score_samples(X), same.score_samples(X))


def test_noise_is_not_that_of_the_rows():
    """Rows that are made with the seed that everyone has."""
    scores = []
    for seed in (0, 1):
        rng = np.random.default_rng(seed)
        X = np.column_stack([(rng.random(600) < 0.6) * 1.0, rng.normal(size=600)])
        curve = CURVES["quantiles, normal"]()
        density = TransformedDensity(curve, mixture()).fit(X)
        scores.append(density.score_samples(X).mean())
    assert scores[0] == pytest.approx(scores[1], abs=0.2)


def test_a_column_without_values():
    X = np.column_stack([np.random.default_rng(5).normal(size=60), np.full(60, np.nan)])
    network = AutoregressiveDensity((8,), max_epochs=2, n_orders=1, random_state=0)
    assert np.isfinite(TransformedDensity(None, network).fit(X).score_samples(X)).all()


def test_missing_cells_stay_missing():
    X, _ = rounded(300)
    X = np.hstack([X, X[::-1]])
    X[::7, 0] = np.nan
    network = AutoregressiveDensity((8,), max_epochs=3, random_state=0)
    density = TransformedDensity(PowerTransformer(), network).fit(X)
    assert np.isfinite(density.score_samples(X)).all()
    filled = density.conditional_sample(X[:7], random_state=0)
    np.testing.assert_array_equal(filled[1:], X[1:7])


def test_a_slope_of_infinity_is_refused_and_never_scored():
    root = DifferentiableFunctionTransformer(np.sqrt, np.square, lambda x: 0.5 / np.sqrt(x))
    X = np.round(np.random.default_rng(5).gamma(1, 1, (300, 1)), 1)
    with pytest.raises(ValueError, match="cannot take row .* or of infinity there"):
        TransformedDensity(root, mixture()).fit(X)
    density = TransformedDensity(root, mixture()).fit(X[X[:, 0] > 0])
    assert np.isneginf(density.score_samples([[0.0]]))
    assert np.isfinite(density.score_samples(density.sample(1000, random_state=0))).all()


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
@pytest.mark.parametrize("scaler", [StandardScaler, PowerTransformer, lambda: "passthrough"])
def test_draws_are_on_the_grid_and_have_the_dtypes(frame, scaler):
    rng = np.random.default_rng(5)
    X = frame(
        {
            "flag": rng.random(400) < 0.3,
            "count": rng.poisson(20, 400),
            "tenths": np.round(rng.normal(size=400), 1),
        }
    )
    network = AutoregressiveDensity((8,), n_orders=1, max_epochs=3, random_state=0)
    density = TransformedDensity(scaler(), network).fit(X)
    drawn = density.sample(200, random_state=0)
    assert list(drawn.dtypes) == list(X.dtypes)
    tenths = np.asarray(drawn["tenths"])
    np.testing.assert_array_equal(tenths, np.round(tenths, 1))
    assert np.isfinite(density.score_samples(drawn)).all()


@pytest.mark.filterwarnings("ignore:invalid value encountered in divide:RuntimeWarning")
def test_draws_of_a_column_without_values():
    X = np.column_stack([np.random.default_rng(5).normal(size=60), np.full(60, np.nan)])
    network = AutoregressiveDensity((8,), max_epochs=2, n_orders=1, random_state=0)
    for scaler in (None, StandardScaler()):
        drawn = TransformedDensity(scaler, network).fit(X).sample(5, random_state=0)
        assert np.isfinite(drawn[:, 0]).all()
        assert np.isnan(drawn[:, 1]).all()


def test_draws_of_a_column_without_values_where_some_are_out_of_reach():
    X = np.column_stack([np.random.default_rng(5).normal(size=60), np.full(60, np.nan)])
    network = AutoregressiveDensity((8,), max_epochs=2, n_orders=1, random_state=0)
    curve = DifferentiableFunctionTransformer(np.exp, np.log, np.exp)
    blocks = make_column_transformer((curve, [0]), remainder="passthrough")
    density = TransformedDensity(blocks, network).fit(X)
    assert density.score_kind_ == "lower bound"
    assert np.isfinite(density.sample(20, random_state=0)[:, 0]).all()


@pytest.mark.parametrize("name", ["box-cox", "quantiles, normal", "yeo-johnson"])
def test_objects_behind_blocks(name):
    x, _ = rounded(300)
    X = np.hstack([x, x[::-1]]).astype(object)
    blocks = make_column_transformer((CURVES[name](), [0]), remainder="passthrough")
    drawn = TransformedDensity(blocks, mixture()).fit(X).sample(20, random_state=0)
    assert np.isfinite(drawn.astype(float)).all()
