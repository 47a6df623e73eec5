"""Picture of images, such as those that a density draws."""

import math
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from sklearn_dgm._sklearn import check_matplotlib_support
from sklearn_dgm._typing import MatrixLike, RandomState
from sklearn_dgm._validation import check_count, check_image_shape
from sklearn_dgm.tags import is_generator, last_step

# Inches of an image, at most; all of them fit into so many.
INCHES, MAX_INCHES = 0.8, 8.0
# Colour of what is missing: the red of matplotlib's cycle of colours.
MISSING = (0.84, 0.15, 0.16)


class ImagesDisplay:
    """Images side by side, on one scale of grey.

    It is recommended to use :meth:`from_estimator` or :meth:`from_rows` to create a display. All parameters are stored
    as attributes.

    Parameters
    ----------
    images : ndarray of shape (n_images, height, width) or (n_images, height, width, n_channels)
        The images, one at least; with three channels they are colours, on one scale, and a fourth one is opacity, up to
        the largest number of all channels. A pixel of which a channel is missing is red.
    n_columns : int, default=None
        Images in a row; None for about as many as there are rows.
    titles : array-like of shape (n_images,), default=None
        What stands above each.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The figure.
    axes_ : ndarray of matplotlib Axes of shape (n_rows, n_columns)
        The axes; those without an image are empty.
    artists_ : list of matplotlib AxesImage
        The images.

    See Also
    --------
    PixelCNNDensity : A density of images.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_dgm import ImagesDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> display = ImagesDisplay.from_rows(X[:10], n_columns=5, titles=y[:10])
    >>> display.axes_.shape
    (2, 5)
    >>> plt.close("all")
    """

    def __init__(self, *, images: Any, n_columns: int | None = None, titles: Any = None) -> None:
        self.images = images
        self.n_columns = n_columns
        self.titles = titles

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        n_images: int = 25,
        *,
        image_shape: Any = None,
        random_state: RandomState = None,
        n_columns: int | None = None,
    ) -> Self:
        """Draw images that an estimator draws.

        Parameters
        ----------
        estimator : estimator instance
            A fitted density or generator of flat images, or a search that ends in one.
        n_images : int, default=25
            Number of images.
        image_shape : tuple of int, default=None
            Height and width, or height, width and number of channels; None for the `image_shape_` of the estimator, or
            squares.
        random_state : int, RandomState, Generator or None, default=None
            Seed for reproducible images.
        n_columns : int, default=None
            Images in a row.

        Returns
        -------
        display : ImagesDisplay
            The picture and what it shows.

        Raises
        ------
        TypeError
            If the estimator draws nothing.
        ValueError
            If its rows are no images of this shape.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        check_count(n_images, "n_images")
        if not is_generator(estimator):
            raise TypeError(
                f"ImagesDisplay draws rows by sample, which {type(estimator).__name__} has not."
            )
        generator = last_step(estimator)
        check_is_fitted(generator)
        if image_shape is None:
            image_shape = getattr(generator, "image_shape_", None)
        rows = estimator.sample(n_images, random_state=random_state)
        return cls.from_rows(rows, image_shape, n_columns=n_columns)

    @classmethod
    def from_rows(
        cls,
        X: MatrixLike,
        image_shape: Any = None,
        *,
        n_columns: int | None = None,
        titles: ArrayLike | None = None,
    ) -> Self:
        """Draw the rows of a table as images.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_images, n_features)
            Flat images; NaN where a pixel is missing.
        image_shape : tuple of int, default=None
            Height and width, or height, width and number of channels; None for squares.
        n_columns : int, default=None
            Images in a row.
        titles : array-like of shape (n_images,), default=None
            What stands above each.

        Returns
        -------
        display : ImagesDisplay
            The picture and what it shows.

        Raises
        ------
        ValueError
            If rows are no images of this shape.
        """
        X = np.asarray(X, dtype=np.float64)
        if X.ndim != 2 or X.size == 0:
            raise ValueError(
                f"X should have images as its rows, one at least; its shape is {X.shape}."
            )
        side = math.isqrt(X.shape[1])
        if image_shape is None and side**2 != X.shape[1]:
            raise ValueError(
                f"The {X.shape[1]} columns of X are no square image; pass image_shape=(height, width) or (height, "
                "width, n_channels)."
            )
        shape = check_image_shape((side, side) if image_shape is None else image_shape, X.shape[1])
        images = X.reshape(-1, *shape)
        images = images[..., 0] if shape[2] == 1 else images
        return cls(images=images, n_columns=n_columns, titles=titles).plot()

    def plot(self) -> Self:
        """Draw the images in a new figure.

        Returns
        -------
        display : ImagesDisplay
            The display itself.

        Raises
        ------
        ValueError
            If there is no image, or the channels are neither one nor three nor four.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        import matplotlib.pyplot as plt

        pictures, (low, high) = _pictures(self.images)
        n, height, width = pictures.shape[:3]
        n_columns = self.n_columns or math.ceil(math.sqrt(n * height / width))
        n_rows = -(-n // n_columns)
        inches = min(INCHES, MAX_INCHES / n_columns)
        titles = None if self.titles is None else np.asarray(self.titles)
        if titles is not None and len(titles) != len(self.images):
            raise ValueError(
                f"titles should have one for each of {len(self.images)} images, got {len(titles)}."
            )
        room = 0.25 if titles is not None else 0.0
        self.figure_, self.axes_ = plt.subplots(
            n_rows,
            n_columns,
            squeeze=False,
            figsize=(n_columns * inches, n_rows * (inches * height / width + room)),
            layout="constrained",
        )
        for ax in self.axes_.flat:
            ax.axis("off")
        grey = plt.get_cmap("gray").with_extremes(bad=MISSING)
        self.artists_ = []
        for i, (ax, image) in enumerate(zip(self.axes_.flat, pictures, strict=False)):
            self.artists_.append(ax.imshow(image, cmap=grey, vmin=low, vmax=high))
            if titles is not None:
                ax.set_title(str(titles[i]), fontsize="small")
        return self


def _pictures(images):
    """Return images as matplotlib draws them, and their lowest and highest value, in colours those of the channels."""
    images = np.asarray(images, dtype=np.float64)
    if images.ndim == 4 and images.shape[3] == 1:
        images = images[..., 0]
    n_channels = images.shape[3] if images.ndim == 4 else 1
    if images.ndim not in (3, 4) or images.size == 0 or n_channels not in (1, 3, 4):
        raise ValueError(
            f"images should be one at least, of shape (height, width) or (height, width, n_channels) with 1, 3 or 4 "
            f"channels, got an array of shape {images.shape}; draw others channel by channel."
        )
    values = images[..., :3] if n_channels > 1 else images
    values = values[~np.isnan(values)]
    low, high = (values.min(), values.max()) if values.size else (0.0, 1.0)
    if n_channels == 1:
        return images, (low, high)
    missing = np.isnan(images).any(axis=3)
    colours = (images - low) / max(high - low, 1e-12)
    if n_channels == 4:
        colours[..., 3] = (images[..., 3] / max(np.nanmax(images, initial=0), 1e-12)).clip(0, 1)
    colours[missing] = (*MISSING, 1.0)[:n_channels]
    return colours, (low, high)
