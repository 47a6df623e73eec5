"""What densities inside another estimator see of a table, and what is drawn from them as such a table."""

import warnings
from copy import copy
from dataclasses import dataclass
from inspect import signature
from typing import Any

import numpy as np
from sklearn.exceptions import DataConversionWarning
from sklearn.utils import get_tags

from sklearn_dgm._validation import check_generator, validate_table
from sklearn_dgm.columns import ColumnSchema, is_frame, like_frame
from sklearn_dgm.columns._building import fill, template_of
from sklearn_dgm.columns._reading import raw_columns
from sklearn_dgm.tags import densities_within, last_step, takes_tables, unwrapped


@dataclass(frozen=True)
class TableView:
    """Views of a table for several densities: as it is, or as numbers to those that know neither categories nor names.

    Attributes
    ----------
    numbers : ColumnSchema or None
        The way from the table to the numbers that some of the densities want.
    template : {TableSpec, dtype}
        What :func:`~sklearn_dgm.columns._building.template_of` gives of the table.
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
        return cls(schema_of_numbers(densities, X, sample_weight), template_of(X))

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
            With the dtypes of the table.
        """
        drawn = draw_rows(density, n_samples, rng)
        if not takes_tables(density):
            values = self.numbers.encode(drawn)[0] if is_frame(drawn) else drawn
            return self.numbers.decode(np.asarray(values, dtype=np.float64))
        if _has_dtypes(drawn, self.template):
            return drawn
        blocks = [_block_of(column) for column in raw_columns(drawn)]
        return fill(self.template, blocks, n_samples)


def validate_rows(owner, X, *, reset):
    """Check rows as far as the density that `owner.estimator` is asks for it.

    Parameters
    ----------
    owner : estimator instance
        A meta-estimator.
    X : {array-like, DataFrame} of shape (n_samples, n_features)
        Rows.
    reset : bool
        Whether the columns are learnt or should be those of `fit`.

    Returns
    -------
    X : {ndarray, DataFrame} of shape (n_samples, n_features)
        Rows; of a density of numbers alone an array has these.
    """
    dtype = None if takes_tables(owner.estimator) else "numeric"
    return validate_table(owner, X, reset=reset, dtype=dtype)


def schema_of_numbers(densities, X, sample_weight=None):
    """Fit the way from a table to the numbers that some of the densities want; None if all take it as it is."""
    if all(map(takes_tables, densities)):
        return None
    allow_nan = all(get_tags(unwrapped(density)).input_tags.allow_nan for density in densities)
    return ColumnSchema(None, None, standardize=False, missing=allow_nan).fit(X, sample_weight)


def check_cells(densities, X):
    """Refuse cells that not all densities take, by their row in the table and not in some part of it."""
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
