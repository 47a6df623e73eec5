"""What densities inside another estimator see of a table, and what is drawn from them as such a table."""

import warnings
from copy import copy
from dataclasses import dataclass
from inspect import signature
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.exceptions import DataConversionWarning
from sklearn.utils import get_tags

from sklearn_dgm._validation import check_generator, validate_sequences, validate_table
from sklearn_dgm.chunks import check_in_memory
from sklearn_dgm.columns import ColumnSchema, is_frame, is_table, like_frame
from sklearn_dgm.columns._building import fill, template_of
from sklearn_dgm.columns._frames import has_sparse_columns
from sklearn_dgm.columns._reading import raw_columns
from sklearn_dgm.tags import densities_within, get_density_tags, last_step, takes_tables, unwrapped


@dataclass(frozen=True)
class TableView:
    """Views of a table for several densities: as it is, or as numbers to those that know neither categories nor names.

    Attributes
    ----------
    numbers : ColumnSchema or None
        The way from the table to the numbers that some of the densities want.
    template : {TableSpec, dtype} or None
        What :func:`~sklearn_dgm.columns._building.template_of` gives of the table; None of sequences and of sparse
        matrices, into which only their densities look.
    """

    numbers: ColumnSchema | None
    template: Any

    @classmethod
    def of(cls, densities, X, sample_weight=None):
        """Make the view of densities on a table.

        Parameters
        ----------
        densities : list of estimator instances
            Densities, or searches or pipelines that end in one.
        X : {ndarray, DataFrame} of shape (n_samples, n_features)
            The table.
        sample_weight : ndarray of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        view : TableView
            The view.
        """
        return cls.by(schema_of_numbers(densities, X, sample_weight), X)

    @classmethod
    def by(cls, numbers, X):
        """Make the view of a table, given the way from it to numbers."""
        return cls(numbers, template_of(X) if is_table(X) and not issparse(X) else None)

    def rows_for(self, density, X):
        """Return rows as a density takes them: the table, or numbers, whose last bits no container changes.

        Parameters
        ----------
        density : estimator instance
            One of the densities.
        X : {ndarray, DataFrame} of shape (n_samples, n_features)
            Rows of the table.

        Returns
        -------
        X : {ndarray, DataFrame} of shape (n_samples, n_features)
            A matrix for a density of numbers; a table of numbers if there are others within it, which may ask for
            names.
        """
        if takes_tables(density):
            return X
        is_alone = len(list(densities_within(density))) == 1
        values = self.numbers.encode(X)[0]
        return values if is_alone else like_frame(values, X)

    def draw(self, density, n_samples, rng):
        """Draw rows from a density, in the form of the table.

        Parameters
        ----------
        density : estimator instance
            A fitted density, or a search over one.
        n_samples : int
            Number of rows.
        rng : numpy.random.Generator
            The generator to draw from.

        Returns
        -------
        X : {ndarray, DataFrame} of shape (n_samples, n_features)
            With the dtypes of the table; sequences as they are drawn.
        """
        drawn = draw_rows(density, n_samples, rng)
        if not takes_tables(density):
            values = self.numbers.encode(drawn)[0] if is_frame(drawn) else drawn
            return self.numbers.decode(np.asarray(values, dtype=np.float64))
        if self.template is None or _has_dtypes(drawn, self.template):
            return drawn
        blocks = [_block_of(column) for column in raw_columns(drawn)]
        return fill(self.template, blocks, n_samples)


def validate_rows(owner, densities, X, *, reset, as_numbers=False):
    """Check rows as far as the densities ask for it that are built on: those of a table, or sequences.

    Parameters
    ----------
    owner : estimator instance
        A meta-estimator.
    densities : list of estimator instances
        Those inside, or `owner` itself if it is a density. Rows are sequences if all of them say so by their tags.
    X : {array-like, DataFrame} of shape (n_samples, n_features) or container of sequences
        Rows.
    reset : bool
        Whether the columns are learnt or should be those of `fit`.
    as_numbers : bool, default=False
        Whether an array should have numbers where all densities want such.

    Returns
    -------
    X : {ndarray, DataFrame} of shape (n_samples, n_features) or container of sequences
        Rows.
    """
    if densities and all(get_density_tags(density).sequences for density in densities):
        check_in_memory(owner, X, reset=reset, sequences=True)
        return validate_sequences(owner, X, reset=reset)
    check_in_memory(owner, X, reset=reset)
    is_of_numbers = as_numbers and not any(map(takes_tables, densities))
    return validate_table(
        owner,
        X,
        reset=reset,
        dtype="numeric" if is_of_numbers else None,
        accept_sparse=all(get_density_tags(density).sparse for density in densities),
    )


def schema_of_numbers(densities, X, sample_weight=None):
    """Fit the way from a table to the numbers that some of the densities want; None if all take it as it is."""
    if all(map(takes_tables, densities)):
        return None
    allow_nan = all(get_tags(unwrapped(density)).input_tags.allow_nan for density in densities)
    return ColumnSchema(None, None, standardize=False, missing=allow_nan).fit(X, sample_weight)


def check_cells(densities, X):
    """Refuse cells that not all densities take, by their row in the table and not in some part of it.

    Sequences, sparse matrices and sparse columns are for their densities to look into.
    """
    if issparse(X) or not is_table(X):
        return
    if has_sparse_columns(X) and all(get_density_tags(density).sparse for density in densities):
        return
    missing = all(get_tags(last_step(density)).input_tags.allow_nan for density in densities)
    fit_quietly(ColumnSchema(standardize=False, missing=missing), X)


def fit_quietly(schema, X, sample_weight=None):
    """Fit a schema without the warnings of columns, which densities give, each by its own parameters."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataConversionWarning)
        return schema.fit(X, sample_weight)


def draw_rows(density, n_samples, random_state=None):
    """Draw rows from any fitted density.

    Parameters
    ----------
    density : estimator instance
        A density of this package or of scikit-learn, or a search over one.
    n_samples : int
        Number of rows.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the rows. It is used once, whatever number of rows is drawn.

    Returns
    -------
    X : {ndarray, DataFrame} of shape (n_samples, n_features)
        Rows alone.

    Raises
    ------
    NotImplementedError
        If the density cannot draw, such as a `KernelDensity` with some kernels.
    """
    density, seed = unwrapped(density), int(check_generator(random_state).integers(2**31))
    try:
        if "random_state" in signature(density.sample).parameters:
            drawn = density.sample(n_samples, random_state=seed)
        else:  # GaussianMixture draws with the seed that it was fitted with
            drawn = copy(density).set_params(random_state=seed).sample(n_samples)
    except NotImplementedError as error:  # scikit-learn's, without a word, for some kernels
        raise NotImplementedError(f"{density!r} cannot draw rows.") from error
    return drawn[0] if isinstance(drawn, tuple) else drawn


def _has_dtypes(X, template):
    if isinstance(template, np.dtype):
        return X.dtype == template
    return list(X.dtypes) == list(template.dtypes)


def _block_of(raw):
    missing = None if raw.observed is None else ~raw.observed
    values = raw.as_given
    if missing is not None:
        values = np.full(len(missing), values[0] if len(values) else 0, dtype=values.dtype)
        values[~missing] = raw.as_given
    return lambda rows: (values[rows], None if missing is None else missing[rows])
