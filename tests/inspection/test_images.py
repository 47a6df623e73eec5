"""Pictures of images: what is drawn, and how it is laid out."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
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
    with pytest.raises(ValueError, match="number of columns of X, 10; got None"):
        ImagesDisplay.from_rows(np.zeros((3, 10)))
    with pytest.raises(TypeError, match="LinearRegression has not"):
        ImagesDisplay.from_estimator(LinearRegression().fit([[0.0]], [1.0]))


def test_titles_follow_their_order_whatever_their_index():
    titles = pd.Series(["a", "b", "c"], index=[2, 1, 0])
    display = ImagesDisplay.from_rows(np.zeros((3, 4)), (2, 2), titles=titles)
    assert [ax.get_title() for ax in display.figure_.axes[:3]] == ["a", "b", "c"]
    with pytest.raises(ValueError, match="titles should have one for each of 3 images, got 1"):
        ImagesDisplay.from_rows(np.zeros((3, 4)), (2, 2), titles=["a"])
