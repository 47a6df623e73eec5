"""Pictures of images: what is drawn, and how it is laid out."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from sklearn.linear_model import LinearRegression

from sklearn_dgm import HistogramDensity, ImagesDisplay

matplotlib.use("agg")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


def test_rows_are_drawn_in_order_on_one_scale():
    X = np.random.default_rng(0).integers(0, 17, (7, 12))
    display = ImagesDisplay.from_rows(X, (3, 4), n_columns=3, titles=range(7))
    assert display.axes_.shape == (3, 3)
    assert len(display.artists_) == 7
    for row, artist in zip(X, display.artists_, strict=True):
        np.testing.assert_array_equal(artist.get_array(), row.reshape(3, 4))
        assert artist.get_clim() == (X.min(), X.max())
    assert [ax.get_title() for ax in display.axes_.flat] == [*"0123456", "", ""]
    assert not display.axes_[2, 2].axison


def test_colours_and_missing_pixels():
    X = np.random.default_rng(0).integers(0, 256, (2, 18)).astype(float)
    display = ImagesDisplay.from_rows(X, (2, 3, 3))
    drawn = display.artists_[1].get_array()
    np.testing.assert_allclose(
        drawn, (X[1].reshape(2, 3, 3) - X.min()) / (X.max() - X.min()), atol=1e-6
    )
    X[0, 5] = np.nan
    (first, _) = ImagesDisplay.from_rows(X, (3, 6)).artists_
    assert np.argwhere(first.get_array().mask).tolist() == [[0, 5]]


def test_a_missing_pixel_is_red_in_colours_too():
    X = np.random.default_rng(0).integers(0, 256, (2, 18)).astype(float)
    X[0, 4] = np.nan  # the green of the second pixel
    first, second = ImagesDisplay.from_rows(X, (2, 3, 3)).artists_
    red = to_rgb("tab:red")
    np.testing.assert_allclose(first.get_array()[0, 1], red, atol=0.01)
    expected = (X.reshape(2, 2, 3, 3) - np.nanmin(X)) / (np.nanmax(X) - np.nanmin(X))
    np.testing.assert_allclose(second.get_array(), expected[1], atol=1e-6)
    (nothing,) = ImagesDisplay.from_rows(np.full((1, 12), np.nan), (2, 2, 3)).artists_
    np.testing.assert_allclose(nothing.get_array().reshape(4, 3), [red] * 4, atol=0.01)
    assert ImagesDisplay.from_rows(np.full((1, 4), np.nan)).artists_[0].get_array().mask.all()


def test_a_fourth_channel_is_opacity():
    X = np.array([[50, 100, 150, 255, 100, 100, 100, 0], [100, 150, 50, 51, 50, 50, 50, 255]])
    for unit in (1, 255):
        first, second = ImagesDisplay.from_rows(X / unit, (1, 2, 4)).artists_
        np.testing.assert_allclose(first.get_array()[0], [[0, 0.5, 1, 1], [0.5, 0.5, 0.5, 0]])
        np.testing.assert_allclose(second.get_array()[0], [[0.5, 1, 0, 0.2], [0, 0, 0, 1]])


def test_what_an_estimator_draws():
    X = np.random.default_rng(0).integers(0, 3, (100, 9))
    density = HistogramDensity().fit(X)
    display = ImagesDisplay.from_estimator(density, 4, random_state=0)
    expected = density.sample(4, random_state=0).reshape(4, 3, 3)
    np.testing.assert_array_equal(display.images, expected)
    density.image_shape_ = (1, 9, 1)
    assert ImagesDisplay.from_estimator(density, 4, random_state=0).images.shape == (4, 1, 9)


def test_what_is_no_image_is_refused():
    with pytest.raises(ValueError, match=r"number of columns of X, 10; got \(2, 4\)"):
        ImagesDisplay.from_rows(np.zeros((3, 10)), (2, 4))
    with pytest.raises(
        ValueError, match="The 10 columns of X are no square image; pass image_shape"
    ):
        ImagesDisplay.from_rows(np.zeros((3, 10)))
    for shape in (4, (-2, -2), (2.0, 2.0), (4,)):
        with pytest.raises(ValueError, match="image_shape should be .* number of columns of X, 4"):
            ImagesDisplay.from_rows(np.zeros((3, 4)), shape)
    for n_channels in (2, 5):
        with pytest.raises(ValueError, match="with 1, 3 or 4 channels, .* channel by channel"):
            ImagesDisplay.from_rows(np.zeros((3, 4 * n_channels)), (2, 2, n_channels))
    for X in (np.zeros((0, 4)), np.zeros(4)):
        with pytest.raises(ValueError, match="X should have images as its rows, one at least"):
            ImagesDisplay.from_rows(X)
    with pytest.raises(ValueError, match="images should be one at least"):
        ImagesDisplay(images=np.zeros((0, 2, 2))).plot()
    with pytest.raises(TypeError, match="LinearRegression has not"):
        ImagesDisplay.from_estimator(LinearRegression().fit([[0.0]], [1.0]))


def test_titles_follow_their_order_whatever_their_index():
    titles = pd.Series(["a", "b", "c"], index=[2, 1, 0])
    display = ImagesDisplay.from_rows(np.zeros((3, 4)), (2, 2), titles=titles)
    assert [ax.get_title() for ax in display.figure_.axes[:3]] == ["a", "b", "c"]
    with pytest.raises(ValueError, match="titles should have one for each of 3 images, got 1"):
        ImagesDisplay.from_rows(np.zeros((3, 4)), (2, 2), titles=["a"])
