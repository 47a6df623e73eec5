"""The distribution of one column in each row of a table."""

import numpy as np

from sklearn_dgm._validation import check_count, check_generator


def resample(weight, n_draws, rng):
    """Choose completions by systematic resampling, of shape (n_rows, n_draws), in random order."""
    n, m = weight.shape
    points = (np.arange(n_draws) + rng.random((n, 1))) / n_draws
    bounds = np.cumsum(weight, axis=1)
    bounds /= bounds[:, -1:]
    # One search for all rows, which stand behind each other on the line.
    chosen = np.searchsorted(
        (bounds + np.arange(n)[:, None]).ravel(), points + np.arange(n)[:, None], "right"
    )
    chosen = np.clip(chosen - m * np.arange(n)[:, None], 0, m - 1)
    return rng.permuted(chosen, axis=1)


class ColumnPrediction:
    """Distributions of one column, one for each row of a table, as :meth:`ConditionalMixin.predict_column` gives them.

    Parameters
    ----------
    column : Column
        What is known of the column.
    z : ndarray of shape (n_values,) or (n_rows, n_values)
        Encoded values, the same for every row or not.
    probabilities : ndarray of shape (n_rows, n_values)
        Their probabilities.
    effective_sample_size : ndarray of shape (n_rows,) or None
        See below.

    Attributes
    ----------
    probabilities : ndarray of shape (n_rows, n_values)
        Probability of each value; the sum of a row is 1.
    categories : ndarray of shape (n_values,) or None
        The values of a categorical column, in the order that its dtype declares or else an increasing one, or of few
        whole numbers; else None.
    values : ndarray of shape (n_values,) or (n_rows, n_values)
        The values, in the units of the table.
    effective_sample_size : ndarray of shape (n_rows,) or None
        Number of independent draws that weighted draws are worth, infinity where the density was integrated; None for
        `categories`.
    """

    def __init__(self, column, z, probabilities, effective_sample_size=None):
        self._column = column
        self._z = z
        self.probabilities = probabilities
        self.effective_sample_size = effective_sample_size

    def __repr__(self):
        n_rows, n_values = self.probabilities.shape
        held = "categories" if self.categories is not None else "values"
        return f"ColumnPrediction of {self._column.where}: {n_rows} rows, {n_values} {held}"

    @property
    def values(self):
        """The values, in the units of the table."""
        return self._column.decoded(self._z)

    @property
    def categories(self):
        """The values, where they are the same for every row."""
        return self.values if self._z.ndim == 1 else None

    def mode(self):
        """Return the most probable value of each row.

        Returns
        -------
        mode : ndarray of shape (n_rows,)
            Values of the column.

        Raises
        ------
        TypeError
            If the column has a density, of which the values are only some points.
        """
        if self._z.ndim > 1:
            raise TypeError(f"{self._column.where} has no most probable value; take its quantile.")
        return self.values[self.probabilities.argmax(axis=1)]

    def mean(self):
        """Return the expectation of the column in each row.

        Returns
        -------
        mean : ndarray of shape (n_rows,)
            Float64 numbers, or times (in UTC, where the column has a time zone; so are `values` and quantiles).

        Raises
        ------
        TypeError
            If the column is categorical.
        """
        self._check_ordered()
        column = self._column
        if column.constant:
            return column.decoded(np.zeros(len(self.probabilities)))
        x = np.sum(self.probabilities * self._z, axis=1) * column.scale + column.location
        return column.clock.times(x) if column.clock else x

    def quantile(self, q=0.5):
        """Return the quantiles of the column in each row.

        Parameters
        ----------
        q : float or array-like of shape (n_quantiles,), default=0.5
            Probabilities between 0 and 1.

        Returns
        -------
        quantiles : ndarray of shape (n_rows,) or (n_rows, n_quantiles)
            The smallest values below or at which so much of the probability is.

        Raises
        ------
        TypeError
            If the column is categorical.
        ValueError
            If `q` is not a number between 0 and 1, or a list of such.
        """
        self._check_ordered()
        shares = np.asarray(q, dtype=np.float64)
        if shares.ndim > 1 or not ((shares >= 0) & (shares <= 1)).all():
            raise ValueError(
                f"q should be between 0 and 1, one or a list of such numbers, got {q!r}."
            )
        z = np.broadcast_to(self._z, self.probabilities.shape)
        order = np.argsort(z, axis=1)
        below = np.cumsum(np.take_along_axis(self.probabilities, order, axis=1), axis=1)
        # Rounding must not leave a quantile above all values.
        place = (below[:, None] < np.atleast_1d(shares)[:, None] - 1e-12).sum(axis=2)
        found = np.take_along_axis(np.take_along_axis(z, order, axis=1), place, axis=1)
        return self._column.decoded(found if shares.ndim else found[:, 0])

    def sample(self, n_samples=1, random_state=None):
        """Draw values.

        Parameters
        ----------
        n_samples : int, default=1
            Number of draws for each row.
        random_state : int, RandomState, Generator or None, default=None
            Seed for reproducible draws.

        Returns
        -------
        values : ndarray of shape (n_rows, n_samples)
            Values of the column.

        Raises
        ------
        ValueError
            If `n_samples` is not a positive integer.
        """
        check_count(n_samples, "n_samples")
        chosen = resample(self.probabilities, n_samples, check_generator(random_state))
        z = np.broadcast_to(self._z, self.probabilities.shape)
        return self._column.decoded(np.take_along_axis(z, chosen, axis=1))

    def _check_ordered(self):
        if self._column.is_categorical and not self._column.constant:
            raise TypeError(
                f"{self._column.where} is categorical; ask for its probabilities or its mode."
            )
