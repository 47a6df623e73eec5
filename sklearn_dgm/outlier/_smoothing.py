"""Noise in the rows of a fit, so that a density learns where rows are and not how they were rounded."""

import narwhals as nw
import numpy as np
from sklearn.frozen import FrozenEstimator

from sklearn_dgm._nested.rows import fit_quietly
from sklearn_dgm.chunks import Chunk
from sklearn_dgm.columns import CONTINUOUS, ColumnSchema, is_frame, is_table
from sklearn_dgm.columns._building import with_added
from sklearn_dgm.columns._reading import raw_columns
from sklearn_dgm.outlier._kernels import WIDTH_OF_NINE_TENTHS
from sklearn_dgm.tags import get_density_tags, last_step

# In units of the bandwidth of Scott's rule, chosen on tables that are in no benchmark.
AUTO_SMOOTHING = 0.25


def amount_of_noise(estimator, smoothing):
    """Return the amount of noise for a density, in units of the bandwidth of Scott's rule."""
    if smoothing != "auto":
        return smoothing
    return AUTO_SMOOTHING if get_density_tags(estimator).ties else 0.0


def noisy_for(estimator, X, smoothing, rng):
    """Return the rows that a density is to be fitted to, with noise, in the same container."""
    if not is_table(X):
        if smoothing not in ("auto", 0):
            raise ValueError(
                f"smoothing={smoothing} is noise in the columns of a table, but the rows of X are sequences; leave it at "
                "'auto'."
            )
        return X
    scales = _scales_for(estimator, X, smoothing, X.shape[0])
    return with_noise(X, scales, rng) if scales else X


def noisy_chunks_for(estimator, chunks, sample, smoothing, rng):
    """Return the chunks that a density is to be fitted to, with noise; `sample` are some of their rows."""
    scales = _scales_for(estimator, sample, smoothing, chunks.n_rows)
    if not scales:
        return chunks
    seed = int(rng.integers(2**31))

    def noisy(chunk):  # the same in each loop
        of_chunk = np.random.default_rng([seed, chunk.positions[0]])
        return Chunk(chunk.positions, with_noise(chunk.table, scales, of_chunk))

    return chunks.through(noisy)


def _scales_for(estimator, X, smoothing, n_samples):
    """Return the standard deviations of the noise for a density, by column."""
    amount = amount_of_noise(estimator, smoothing)
    if amount == 0 or isinstance(estimator, FrozenEstimator):
        return {}
    return noise_scales(X, amount, continuous_columns(estimator, X), n_samples)


def continuous_columns(estimator, X):
    """Flag columns of floats that the density is not told to take for something else, of shape (n_features,)."""
    density = last_step(estimator)
    declared = {
        name: getattr(density, name, default)
        for name, default in (("categorical_features", "from_dtype"), ("integer_features", None))
    }
    kinds = getattr(density, "column_kinds", None)
    schema = ColumnSchema(**declared, column_kinds=kinds, missing=True, standardize=False)
    fit_quietly(schema, X)
    if is_frame(X):
        frame = nw.from_native(X, eager_only=True)
        is_float = [column.dtype.is_float() for column in frame.iter_columns()]
    else:
        is_float = [np.asarray(X).dtype.kind == "f"] * X.shape[1]
    return np.array(is_float) & (schema.kinds_ == CONTINUOUS)


def noise_scales(X, smoothing, columns, n_samples):
    """Return the standard deviation of the noise of some of the columns.

    Parameters
    ----------
    X : {ndarray, DataFrame} of shape (n_rows, n_features)
        Rows.
    smoothing : float
        Standard deviation of the noise, in units of the bandwidth of Scott's rule.
    columns : ndarray of bool of shape (n_features,)
        Which columns get noise.
    n_samples : int
        Number of rows of the fit, of which X may be a sample.

    Returns
    -------
    scales : dict of int to float
        By the position of the column.
    """
    bandwidth = smoothing * n_samples ** (-1 / (X.shape[1] + 4))

    def scale(values):
        # Outliers among the rows would set a standard deviation.
        low, high = np.nanquantile(values, [0.05, 0.95]) if np.isfinite(values).any() else (0, 0)
        return bandwidth * (high - low) / WIDTH_OF_NINE_TENTHS

    raw = raw_columns(X)
    return {j: scale(raw[j].values) for j in np.flatnonzero(columns).tolist()}


def with_noise(X, scales, rng):
    """Return rows with normal noise in some of their columns.

    Parameters
    ----------
    X : {ndarray, DataFrame} of shape (n_samples, n_features)
        Rows.
    scales : dict of int to float
        Standard deviations of the noise, by the position of the column.
    rng : numpy.random.Generator
        The generator to draw from.

    Returns
    -------
    X : {ndarray, DataFrame} of shape (n_samples, n_features)
        The same container.
    """
    return with_added(X, {j: scale * rng.normal(size=len(X)) for j, scale in scales.items()})
