"""What the displays draw: numbers in the artists, against the density itself."""

import subprocess
import sys

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sklearn_dgm import AutoregressiveDensity, BayesianNetworkDensity, HistogramDensity
from sklearn_dgm._training.objective import Objective
from sklearn_dgm.inspection import DensityDisplay, TrainingDisplay
from sklearn_dgm.inspection._density import _contour_levels
from sklearn_dgm.utils._global_state import global_state_unchanged

draw = DensityDisplay.from_estimator


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def X():
    return load_iris().data


@pytest.fixture(scope="module")
def mixed():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "length": rng.normal(10, 2, 200),
            "colour": rng.choice(["red", "green", "blue"], 200, p=[0.6, 0.3, 0.1]),
            "count": rng.poisson(2, 200),
        }
    )


@pytest.fixture(scope="module")
def trained(X):
    return AutoregressiveDensity((16,), order="given", max_epochs=4, random_state=0).fit(X)


def texts(labels):
    return [label.get_text() for label in labels]


class Trained(BaseEstimator):
    """An estimator that is given a history."""

    def fit(self, X, y=None):
        return self


# One column


def test_curve_is_the_density_and_the_histogram_is_normalised(X):
    density = KernelDensity(bandwidth=0.2).fit(X[:, :1])
    display = draw(density, X[:, :1])
    x, y = display.line_.get_data()
    np.testing.assert_allclose(y, np.exp(density.score_samples(x[:, None])))
    assert np.trapezoid(y, x) == pytest.approx(1, abs=0.01)
    heights, edges, _ = display.histogram_.get_data()
    assert np.sum(heights * np.diff(edges)) == pytest.approx(1)
    np.testing.assert_allclose(heights, np.histogram(X[:, 0], edges, density=True)[0])
    assert display.ax_.get_xlabel() == "x0"
    assert display.ax_.get_ylabel() == "density"
    assert texts(display.ax_.get_legend().get_texts()) == ["rows", "KernelDensity"]
    assert display.figure_ is display.ax_.figure


def test_curve_finds_the_peak_of_a_long_tail():
    x = np.random.default_rng(0).standard_t(1, (2000, 1))
    assert np.ptp(x) > 500
    density = KernelDensity(bandwidth=0.3).fit(x)
    display = draw(density, x)
    bulk = np.linspace(-3, 3, 1000)
    expected = np.exp(density.score_samples(bulk[:, None]))
    shown = np.interp(bulk, display.grid[0], display.density)
    np.testing.assert_allclose(shown, expected, atol=0.03 * expected.max())
    assert len(display.histogram_.get_data().values) <= 200


def test_curve_is_zero_where_rows_are_impossible():
    X = np.random.default_rng(0).random((100, 1))
    display = draw(HistogramDensity(bins=5).fit(X), X)
    assert display.density[0] == display.density[-1] == 0
    assert np.trapezoid(display.density, display.grid[0]) == pytest.approx(1, abs=0.03)


def test_bars_of_a_categorical_column(mixed):
    density = HistogramDensity(alpha=7).fit(mixed[["colour"]])
    display = draw(density, mixed[["colour"]])
    of_rows, of_model = ([bar.get_height() for bar in bars] for bars in display.bars_)
    share = mixed["colour"].value_counts(normalize=True).sort_index()
    assert texts(display.ax_.get_xticklabels()) == ["blue", "green", "red"] == list(share.index)
    np.testing.assert_allclose(of_rows, share)
    np.testing.assert_allclose(of_model, (200 * share + 7) / 221)
    assert display.ax_.get_ylabel() == "probability"


def test_bars_show_levels_that_no_row_has(mixed):
    density = HistogramDensity().fit(mixed[["colour"]])
    display = draw(density, mixed[["colour"]].query("colour == 'red'"))
    np.testing.assert_array_equal([bar.get_height() for bar in display.bars_[0]], [0, 0, 1])
    assert sum(bar.get_height() for bar in display.bars_[1]) == pytest.approx(1)


def test_bars_of_an_integer_column_stand_at_its_values():
    n = np.array([[3], [3], [5], [6]])
    display = draw(HistogramDensity().fit(n), n)
    np.testing.assert_array_equal(display.grid[0], [3, 4, 5, 6])
    for bars in display.bars_:
        np.testing.assert_allclose([bar.get_height() for bar in bars], [0.5, 0, 0.25, 0.25])
    middles = np.mean([[b.get_x() + b.get_width() / 2 for b in bars] for bars in display.bars_], 0)
    np.testing.assert_allclose(middles, [3, 4, 5, 6])


def test_a_wide_integer_column_is_a_line_over_bins_of_whole_width():
    n = np.random.default_rng(0).integers(100, 400, (3000, 1))
    display = draw(HistogramDensity().fit(n), n)
    np.testing.assert_array_equal(display.grid[0], np.rint(display.grid[0]))
    heights, edges, _ = display.histogram_.get_data()
    np.testing.assert_array_equal(edges % 1, 0.5)
    np.testing.assert_array_equal(np.diff(edges), edges[1] - edges[0])
    # Probabilities and frequencies per integer are on one scale.
    assert heights.max() == pytest.approx(1 / 300, rel=0.3)
    assert np.median(display.density) == pytest.approx(1 / 300, rel=0.3)
    assert display.ax_.get_ylabel() == "probability"


def test_a_rounded_column_has_a_density_over_bins_of_its_own_range():
    x = np.random.default_rng(0).normal(size=(400, 1)).round(2) / 100
    density = BayesianNetworkDensity(conditional="table").fit(x)
    assert density.schema_.kinds_ == ["rounded"]
    display = draw(density, x)
    assert display.ax_.get_ylabel() == "density"
    edges = display.histogram_.get_data().edges
    assert len(edges) > 10
    assert edges[-1] - edges[0] < 1.5 * np.ptp(x)
    values = display.histogram_.get_data().values
    assert np.sum(values * np.diff(edges)) == pytest.approx(1)


def test_integers_are_continuous_for_a_density_that_takes_them_so():
    frame = pd.DataFrame({"n": [1, 2, 2, 3]})
    display = draw(KernelDensity(bandwidth=0.1).fit(frame), frame, grid_resolution=400)
    assert np.trapezoid(display.density, display.grid[0]) == pytest.approx(1, abs=0.05)
    assert display.ax_.get_ylabel() == "density"


# Two columns


@pytest.mark.parametrize(
    "density",
    [KernelDensity(bandwidth=0.2), GaussianMixture(2, random_state=0), HistogramDensity(bins=5)],
    ids=lambda density: type(density).__name__,
)
def test_contours_are_those_of_the_density(X, density):
    frame = pd.DataFrame(X[:, [0, 2]], columns=["sepal", "petal"])
    density = density.fit(frame)
    display = draw(density, frame, grid_resolution=60)
    xx, yy = np.meshgrid(*display.grid, indexing="ij")
    rows = pd.DataFrame({"sepal": xx.ravel(), "petal": yy.ravel()})
    expected = np.exp(density.score_samples(rows)).reshape(xx.shape)
    np.testing.assert_allclose(display.density, expected)
    assert display.surface_.zmax == expected.max()
    innermost = np.concatenate(display.surface_.allsegs[-1])
    peak = rows.to_numpy()[np.argmax(expected)]
    assert (innermost.min(axis=0) <= peak).all()
    assert (peak <= innermost.max(axis=0)).all()
    assert display.ax_.get_xlabel() == "sepal"
    assert display.ax_.get_ylabel() == "petal"
    np.testing.assert_array_equal(np.sort(display.points_.get_offsets(), 0), np.sort(frame, 0))


def test_contour_levels_enclose_their_shares():
    """Of a standard normal in two columns, {p > level} holds 1 - 2 pi level."""
    points = np.linspace(-5, 5, 301)
    density = np.exp(-(points[:, None] ** 2 + points**2) / 2) / (2 * np.pi)
    levels = _contour_levels([points, points], density)
    expected = 1 - np.array([0.99, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
    np.testing.assert_allclose(levels[:-1] * 2 * np.pi, expected, atol=2e-3)
    assert levels[-1] == density.max()


def test_contour_levels_of_a_plateau():
    density = np.zeros((6, 6))
    density[2:4, 2:4] = 0.25
    levels = _contour_levels([np.arange(6.0), np.arange(6.0)], density)
    np.testing.assert_allclose(levels, [0.125, 0.25])
    # The lower of two plateaus lies above its level, or it would be drawn as a lower one.
    density[0, 0] = 0.1
    lower, top = _contour_levels([np.arange(6.0), np.arange(6.0)], density)
    assert 0.1 - 1e-6 < lower < 0.1
    assert top == 0.25


def test_a_picture_without_any_density_is_drawn(X):
    density = KernelDensity(kernel="tophat", bandwidth=0.1).fit(X[:, :2])
    assert not draw(density, X[:, :2] + 100).density.any()


@pytest.mark.parametrize("features", [["colour", "length"], ["length", "colour"], [1, 0]])
def test_a_mixed_pair_has_a_strip_for_each_category(mixed, features):
    density = HistogramDensity(bins=4).fit(mixed[["colour", "length"]])
    display = draw(density, mixed[["colour", "length"]], features=features, grid_resolution=400)
    names = [column.label for column in display.columns]
    assert names == [{0: "colour", 1: "length"}.get(feature, feature) for feature in features]
    length = names.index("length")
    integrals = np.trapezoid(display.density, display.grid[length], axis=length)
    share = mixed["colour"].value_counts(normalize=True).sort_index()
    np.testing.assert_allclose(integrals, share, atol=0.01)
    np.testing.assert_array_equal(display.surface_.get_array(), display.density.T)
    ticks = display.ax_.get_xticklabels() if length else display.ax_.get_yticklabels()
    assert texts(ticks) == list(share.index)
    # Points are spread within their strip and not along the continuous column.
    offsets = display.points_.get_offsets()
    np.testing.assert_array_equal(np.sort(offsets[:, length]), np.sort(mixed["length"]))
    codes = np.rint(offsets[:, 1 - length]).astype(int)
    np.testing.assert_allclose(np.bincount(codes) / 200, share)


def test_a_discrete_pair_sums_to_one(mixed):
    display = draw(HistogramDensity().fit(mixed[["colour", "count"]]), mixed[["colour", "count"]])
    assert display.density.sum() == pytest.approx(1)
    expected = pd.crosstab(mixed["colour"], mixed["count"], normalize=True)
    expected = expected.reindex(columns=display.grid[1].astype(int), fill_value=0)
    np.testing.assert_allclose(display.density, expected)
    assert display.colorbar_.ax.get_ylabel() == "probability"


def test_grid_is_where_the_dtype_of_the_table_puts_it():
    """A density over an integer array taken for continuous is drawn at whole numbers, not beside them."""
    n = np.random.default_rng(0).integers(0, 200, (300, 2))
    density = HistogramDensity(bins=7, integer_features=None).fit(n)
    display = draw(density, n, grid_resolution=20)
    for points in display.grid:
        np.testing.assert_array_equal(points, np.rint(points))
    xx, yy = np.meshgrid(*display.grid, indexing="ij")
    scores = density.score_samples(np.column_stack([xx.ravel(), yy.ravel()]))
    np.testing.assert_allclose(display.density, np.exp(scores).reshape(xx.shape))


# Corner grids


@pytest.mark.parametrize(
    "density",
    [KernelDensity(bandwidth=0.2), GaussianMixture(2, random_state=0), HistogramDensity()],
    ids=lambda density: type(density).__name__,
)
def test_corner_has_the_lower_triangle(X, density):
    display = draw(density.fit(X), X, random_state=0)
    is_drawn = [[panel is not None for panel in row] for row in display.axes_]
    np.testing.assert_array_equal(is_drawn, np.tri(4, dtype=bool))
    assert len(display.figure_.axes) == 4 * 3 / 2 + 4
    assert display.sampled.shape == display.rows.shape == (150, 4)
    for i, j in [(1, 0), (3, 1)]:
        points = display.axes_[i, j].collections[0]
        is_row = (points.get_facecolors()[:, :3] == matplotlib.colors.to_rgb("C0")).all(axis=1)
        for of_color, values in [(is_row, display.rows), (~is_row, display.sampled)]:
            offsets = points.get_offsets()[of_color]
            np.testing.assert_array_equal(np.sort(offsets, 0), np.sort(values[:, [j, i]], 0))
    assert texts(axes.xaxis.label for axes in display.axes_[3]) == ["x0", "x1", "x2", "x3"]
    assert texts(axes.yaxis.label for axes in display.axes_[1:, 0]) == ["x1", "x2", "x3"]
    legend = display.axes_[0, 0].get_legend().get_texts()
    assert texts(legend) == ["rows", f"sampled by {type(density).__name__}"]


def test_corner_is_reproducible_and_leaves_the_density_alone(X):
    density = GaussianMixture(2, random_state=5).fit(X)
    with global_state_unchanged():
        first, second, other = (draw(density, X, random_state=s).sampled for s in (0, 0, 1))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)
    assert density.random_state == 5


def test_corner_of_a_mixed_table(mixed):
    density = HistogramDensity(bins=4).fit(mixed)
    display = draw(density, mixed, n_samples=50, random_state=0)
    assert display.rows.shape == display.sampled.shape == (50, 3)
    drawn = density.schema_.encode(mixed)[0]
    assert set(display.rows[:, 1]) <= set(drawn[:, 1])
    assert set(display.sampled[:, 1]) <= {0, 1, 2}
    bars = display.axes_[1, 1].patches
    frequencies = [(display.rows[:, 1] == code).mean() for code in range(3)]
    np.testing.assert_allclose([bar.get_height() for bar in bars[:3]], frequencies)
    frequencies = [(display.sampled[:, 1] == code).mean() for code in range(3)]
    np.testing.assert_allclose([bar.get_height() for bar in bars[3:]], frequencies)
    assert texts(display.axes_[2, 1].get_xticklabels()) == ["blue", "green", "red"]


def test_features_left_out_make_a_corner(X):
    density = KernelDensity().fit(X)
    names = ["a", "b", "c", "d"]
    display = draw(density, X, features=["d", 0], feature_names=names)
    assert [column.label for column in display.columns] == ["d", "a"]
    np.testing.assert_array_equal(display.rows, X[:, [3, 0]])
    assert display.axes_.shape == (2, 2)
    assert draw(density, X, features=[2]).axes_.shape == (1, 1)


def test_polars_frame(mixed):
    frame = pl.DataFrame(mixed.to_dict("list"))
    display = draw(HistogramDensity().fit(frame), frame)
    assert [column.label for column in display.columns] == ["length", "colour", "count"]


@pytest.mark.parametrize("place", ["axes", "figure", "subfigure"])
def test_corner_is_drawn_where_it_should(X, place):
    density = KernelDensity().fit(X)
    figure = plt.figure()
    ax = {
        "axes": lambda: figure.subplots(1, 2)[0],
        "figure": lambda: figure,
        "subfigure": lambda: figure.subfigures(1, 2)[0],
    }[place]()
    display = draw(density, X, ax=ax)
    assert display.axes_[0, 0].get_figure(root=True) is figure
    assert display.figure_ is (ax if place != "axes" else figure)
    if place == "axes":
        assert not ax.axison
        box, panel = ax.get_position(), display.axes_[3, 3].get_position()
        assert panel.x1 == pytest.approx(box.x1)
        assert panel.y0 == pytest.approx(box.y0)
        with pytest.raises(ValueError, match="divided"):
            display.plot(ax=ax)


def test_corner_refuses_axes_outside_a_grid(X):
    with pytest.raises(ValueError, match="grid of subplots"):
        draw(KernelDensity().fit(X), X, ax=plt.figure().add_axes((0, 0, 1, 1)))


@pytest.mark.parametrize("columns", [[0], [0, 1]])
def test_one_and_two_columns_are_drawn_where_they_should(X, columns):
    density = KernelDensity().fit(X[:, columns])
    ax = plt.figure().add_subplot()
    assert draw(density, X[:, columns], ax=ax).ax_ is ax
    figure = plt.figure()
    assert draw(density, X[:, columns], ax=figure).figure_ is figure


# Pipelines and searches


def test_pipeline_is_shown_as_its_last_step_sees_the_rows(X):
    frame = pd.DataFrame(X[:, :2], columns=["a", "b"])
    pipeline = make_pipeline(StandardScaler(), KernelDensity(bandwidth=0.4)).fit(frame)
    display = draw(pipeline, frame)
    Z = (frame - frame.mean()) / frame.std(ddof=0)
    np.testing.assert_allclose(display.rows, Z)
    assert [column.label for column in display.columns] == ["a", "b"]
    integral = np.trapezoid(np.trapezoid(display.density, display.grid[1]), display.grid[0])
    assert integral == pytest.approx(1, abs=0.05)


def test_pipeline_that_changes_the_number_of_columns(X):
    pipeline = make_pipeline(StandardScaler(), PCA(2), GaussianMixture()).fit(X)
    assert [column.label for column in draw(pipeline, X).columns] == ["pca0", "pca1"]


def test_pipeline_without_names(X):
    pipeline = make_pipeline(FunctionTransformer(np.log), KernelDensity()).fit(X)
    display = draw(pipeline, X, random_state=0)
    np.testing.assert_allclose(display.rows, np.log(X))
    assert [column.label for column in display.columns] == ["x0", "x1", "x2", "x3"]


@pytest.mark.parametrize(
    "wrap",
    [
        FrozenEstimator,
        lambda density: GridSearchCV(density, {}, refit=True),
        lambda density: make_pipeline(density),
        lambda density: make_pipeline("passthrough", GridSearchCV(density, {})),
    ],
)
@pytest.mark.parametrize("density", [KernelDensity(), GaussianMixture()])
def test_a_density_is_found_inside(X, wrap, density):
    wrapped = wrap(density.fit(X)).fit(X, None)
    assert draw(wrapped, X).sampled.shape == (150, 4)


# Errors


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"features": ["x9"]}, "'x9', which is not a column"),
        ({"features": [4]}, "names 4, which is not a column of X"),
        ({"features": [-1]}, "names -1, which is not a column"),
        ({"features": [0, "x0"]}, "each of them once"),
        ({"features": []}, "should name columns"),
        ({"feature_names": ["a"]}, "feature_names has 1 entries, but there are 4"),
    ],
)
def test_invalid_parameters(X, parameters, message):
    with pytest.raises(ValueError, match=message):
        draw(KernelDensity().fit(X), X, **parameters)


def test_too_many_columns_are_to_be_chosen_from():
    X = np.random.default_rng(0).random((20, 11))
    density = KernelDensity().fit(X)
    with pytest.raises(ValueError, match="11 columns are too many.*choose at most 10"):
        draw(density, X)
    assert draw(density, X, features=[0, 10]).axes_.shape == (2, 2)


def test_what_does_not_fit(X):
    density = HistogramDensity().fit(X)
    with pytest.raises(ValueError, match="3 features"):
        draw(density, X[:, :3])
    with pytest.raises(ValueError, match="NaN in column 1, row 0"):
        draw(density, [[1, np.nan, 1, 1]])
    with pytest.raises(TypeError, match="needs a density, got IsolationForest"):
        draw(make_pipeline(StandardScaler(), IsolationForest()).fit(X), X)
    for unfitted in (KernelDensity(), GridSearchCV(KernelDensity(), {})):
        with pytest.raises(NotFittedError):
            draw(unfitted, X)


# Training


def test_training_curves_and_the_best_epoch(trained):
    display = TrainingDisplay.from_estimator(trained)
    for line, key in [(display.train_line_, "train"), (display.valid_line_, "valid")]:
        x, y = line.get_data()
        np.testing.assert_array_equal(x, [1, 2, 3, 4])
        np.testing.assert_array_equal(y, [e[f"{key}_log_likelihood"] for e in trained.history_])
    best = max([record["epoch"] for record in trained.history_ if record["best"]], default=0)
    assert display.best_epoch == best
    np.testing.assert_array_equal(display.best_line_.get_xdata(), best)
    assert display.ax_.get_ylabel() == "log-likelihood (nats per row)"
    assert texts(display.ax_.get_legend().get_texts()) == [
        "training",
        "validation",
        f"best epoch: {best}",
    ]


def test_the_best_epoch_is_the_start_if_no_other_is(trained):
    for records, best in (([False, False], 0), ([True, False], 1)):
        density = clone(trained)
        density.net_, density.history_ = (
            trained.net_,
            [
                {**record, "best": is_best}
                for record, is_best in zip(trained.history_, records, strict=False)
            ],
        )
        assert TrainingDisplay.from_estimator(density).best_epoch == best


def test_training_without_validation_has_no_best_epoch(X):
    for order, n_curves in (("given", 1), ("random", 2)):
        density = AutoregressiveDensity(
            (8,), order=order, n_orders=2, max_epochs=2, early_stopping=False
        ).fit(X)
        display = TrainingDisplay.from_estimator(make_pipeline(StandardScaler(), density))
        assert np.sum(display.train_line_.get_xdata() == 1) == n_curves
        assert display.valid_line_ is None
        assert display.best_line_ is None


def test_best_epoch_is_the_last_of_a_warm_start():
    record = {"train_log_likelihood": 0.0, "valid_log_likelihood": 0.0}
    best = [True, True, False, True, False]
    history = [{"epoch": i + 1, **record, "best": b} for i, b in enumerate(best)]
    estimator = Trained()
    estimator.history_ = history
    assert TrainingDisplay.from_estimator(estimator).best_epoch == 4


def test_each_of_several_networks_has_its_curve():
    scores = {(0, 0.2): [-5, -4, -3], (0, 0.5): [-5, -2, -4], (1, 0.5): [-9, -8], (2, 0.5): [-6]}
    estimator = Trained()
    estimator.history_ = [
        {
            "member": member,
            "setting": setting,
            "epoch": epoch,
            "train_log_likelihood": score + 1,
            "valid_log_likelihood": score,
            "best": epoch == 2,
        }
        for (member, setting), of_run in scores.items()
        for epoch, score in enumerate(of_run, start=1)
    ]
    # A warm start goes on with the second.
    estimator.history_.append({**estimator.history_[7], "epoch": 3, "valid_log_likelihood": -7})
    display = TrainingDisplay.from_estimator(estimator)
    nan = np.nan
    x, y = display.valid_line_.get_data()
    np.testing.assert_array_equal(x, [1, 2, 3, nan, 1, 2, 3, nan, 1])
    np.testing.assert_array_equal(y, [-5, -2, -4, nan, -9, -8, -7, nan, -6])
    np.testing.assert_array_equal(display.train_line_.get_ydata()[:3], [-4, -1, -3])
    np.testing.assert_array_equal(display.best_epoch, [2, 3, 0])
    np.testing.assert_array_equal(display.best_line_.get_xdata(), [2, 3, 0])
    assert texts(display.ax_.get_legend().get_texts()) == ["training", "validation", "best epochs"]
    assert display.train_line_.get_alpha() < 1


def test_of_one_network_the_tries_are_left_out():
    estimator = Trained()
    records = [(0.2, 1, -3, True), (0.2, 2, -1, True), (0.5, 1, -2, True), (0.5, 2, -4, False)]
    estimator.history_ = [
        {"member": 0, "setting": s, "epoch": e, "train_log_likelihood": v, "best": b}
        | {"valid_log_likelihood": v}
        for s, e, v, b in records
    ]
    display = TrainingDisplay.from_estimator(estimator)
    assert display.epochs.tolist() == [1, 2]
    assert display.valid_log_likelihood.tolist() == [-3, -1]
    assert display.best_epoch == 2
    assert display.train_line_.get_alpha() is None


def test_the_objective_says_what_is_drawn():
    estimator = Trained()
    records = [(0.2, 1, 3, True), (0.2, 2, 1, True), (0.5, 1, 2, True), (0.5, 2, 4, False)]
    estimator.history_ = [
        {"member": 0, "setting": s, "epoch": e, "train_critic_loss": v + 1, "best": b}
        | {"valid_critic_loss": v}
        for s, e, v, b in records
    ]
    estimator.objective_ = Objective("critic_loss")
    display = TrainingDisplay.from_estimator(estimator)
    # The lower loss was the better setting.
    assert display.valid_line_.get_ydata().tolist() == [3, 1]
    assert display.train_line_.get_ydata().tolist() == [4, 2]
    assert display.best_epoch == 2
    assert display.ax_.get_ylabel() == "critic loss"


def test_what_training_rows_are_recorded_by_may_be_something_else():
    estimator = Trained()
    records = [
        {"member": 0, "setting": None, "epoch": e, "train_critic_distance": 9.0, "best": True}
        for e in (1, 2)
    ]
    estimator.history_ = [{**record, "valid_accuracy": 0.5 / record["epoch"]} for record in records]
    estimator.objective_ = Objective("accuracy", train_name="critic_distance")
    display = TrainingDisplay.from_estimator(estimator)
    assert display.train_line_ is None
    assert display.valid_line_.get_ydata().tolist() == [0.5, 0.25]
    assert display.ax_.get_ylabel() == "accuracy"
    estimator.history_ = records
    display = TrainingDisplay.from_estimator(estimator)
    assert display.train_line_.get_ydata().tolist() == [9, 9]
    assert display.valid_line_ is None
    assert display.ax_.get_ylabel() == "critic distance"


def test_training_of_mixtures(X):
    mixture = GaussianMixture(2, random_state=0, tol=1e-8).fit(X)
    if not hasattr(mixture, "lower_bounds_"):
        pytest.skip("this scikit-learn does not record them")
    display = TrainingDisplay.from_estimator(mixture)
    assert len(display.epochs) == mixture.n_iter_
    assert display.train_line_.get_ydata()[-1] == pytest.approx(mixture.score(X), abs=1e-3)
    assert display.ax_.get_xlabel() == "iteration"
    bayesian = BayesianGaussianMixture(n_components=2, random_state=0).fit(X)
    assert TrainingDisplay.from_estimator(bayesian).ax_.get_ylabel() == "lower bound"


def test_training_is_drawn_on_given_axes(trained):
    ax = plt.figure().add_subplot()
    assert TrainingDisplay.from_estimator(trained, ax=ax).ax_ is ax


def test_nothing_to_draw(X):
    with pytest.raises(TypeError, match="KernelDensity keeps no record of an iterative training"):
        TrainingDisplay.from_estimator(make_pipeline(StandardScaler(), KernelDensity()).fit(X))
    with pytest.raises(NotFittedError):
        TrainingDisplay.from_estimator(AutoregressiveDensity())


# Imports


def test_imports_are_light_and_matplotlib_is_asked_for():
    script = """
import sys
import sklearn_dgm.inspection as inspection, sklearn_dgm.metrics
assert not {"torch", "skorch", "matplotlib"} & set(sys.modules)
sys.modules["matplotlib"] = None
try:
    inspection.DensityDisplay.from_estimator(None, None)
except ImportError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "DensityDisplay.from_estimator requires matplotlib" in run.stdout, run.stderr
