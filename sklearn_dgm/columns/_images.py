"""The road between a user's images and what a model works on: one column for all pixels."""

from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from sklearn_dgm._typing import MatrixLike
from sklearn_dgm.columns._building import template_of
from sklearn_dgm.columns._reading import raw_columns
from sklearn_dgm.columns._schema import ColumnSchema
from sklearn_dgm.columns._sequences import as_one_column, naming_steps


class ImageSchema(ColumnSchema):
    """Kinds and scales of the columns of a table whose rows are images: what all pixels say together holds of each.

    So a pixel that is the same in all fitted images, as one at the border may be, can have any value that others have,
    and all densities are on one measure. All parameters are those of :class:`ColumnSchema`.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_dgm.columns import ImageSchema
    >>> ImageSchema().fit(np.array([[0, 3], [0, 9]]))
    column  dtype  kind     details
    0       int64  integer  0 to 9
    1       int64  integer  0 to 9
    """

    is_one_column = True

    def fit(self, X: MatrixLike, sample_weight: ArrayLike | None = None) -> Self:
        """Learn from all pixels what each of them can be.

        Parameters
        ----------
        X : {ndarray, DataFrame} of shape (n_samples, n_features)
            Flat images that have passed scikit-learn's shape checks.
        sample_weight : ndarray of shape (n_samples,), default=None
            Weights of the images.

        Returns
        -------
        self : ImageSchema
            The fitted schema.

        Raises
        ------
        ValueError
            If columns hold values of several types, or a value is one that :class:`ColumnSchema` refuses.
        """
        pixels = as_one_column(
            X, "the columns of a table are the pixels of an image, all of one type."
        )
        lengths = np.full(*X.shape)
        of_pixels = None if sample_weight is None else np.repeat(sample_weight, lengths)
        with naming_steps(X, lengths):
            super().fit(pixels, of_pixels)
        (pixel,) = self.columns_
        self.columns_ = [
            replace(pixel, label=raw.label, dtype=raw.native_dtype, maker=raw.maker)
            for raw in raw_columns(X)
        ]
        self.given_ = np.zeros(len(self.columns_), dtype=bool)
        numeric = [column.label for column in self.columns_ if not column.is_categorical]
        self._template = template_of(X, numeric)
        return self

    def check_alike(
        self, schema: Any, X: MatrixLike, sample_weight: ArrayLike | None = None
    ) -> Any:
        """Check that a fitted schema can stand in for this one; see :meth:`ColumnSchema.check_alike`."""
        if not isinstance(schema, ImageSchema):
            raise ValueError("schema should be what learn_schema of a density of images returns.")
        return super().check_alike(schema, X, sample_weight)
