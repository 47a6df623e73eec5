"""Checks of what users hand in, and what is left of an estimator when its fit fails."""

import math
from contextlib import contextmanager
from numbers import Integral

import numpy as np
from scipy.sparse import issparse
from sklearn.utils import get_tags
from sklearn.utils.validation import validate_data

from sklearn_dgm._sklearn import check_sample_weight
from sklearn_dgm.columns import check_container, is_frame, is_table
from sklearn_dgm.columns._sequences import check_sequences


def check_generator(random_state):
    """Turn a `random_state` into a NumPy generator that is nobody else's.

    Unlike :func:`sklearn.utils.check_random_state`, None gives a freshly seeded generator, so that the global one is
    left as it was.

    Parameters
    ----------
    random_state : int, RandomState, Generator or None
        A seed, or a generator to draw one from.

    Returns
    -------
    rng : numpy.random.Generator
        The generator to draw from.

    Raises
    ------
    ValueError
        If `random_state` is none of these.
    """
    if isinstance(random_state, np.random.Generator):
        return random_state
    if isinstance(random_state, np.random.RandomState):
        return np.random.default_rng(random_state.randint(2**31, size=4))
    if random_state is None or isinstance(random_state, Integral):
        return np.random.default_rng(random_state)
    raise ValueError(
        f"random_state should be an int, a numpy RandomState or Generator, or None; got {random_state!r}."
    )


def check_weights(X, sample_weight):
    """Check the weights of rows.

    Parameters
    ----------
    X : {ndarray, DataFrame} of shape (n_samples, n_features)
        Rows.
    sample_weight : array-like of shape (n_samples,)
        Their weights.

    Returns
    -------
    sample_weight : ndarray of shape (n_samples,)
        Float64 weights.

    Raises
    ------
    ValueError
        If they are negative, all zero, or too large.
    """
    sample_weight = check_sample_weight(
        sample_weight, X, dtype=np.float64, ensure_non_negative=True
    )
    if not sample_weight.any():
        raise ValueError("sample_weight is zero for every row; at least one must be positive.")
    with np.errstate(over="ignore"):
        if not np.isfinite(sample_weight.sum()):
            raise ValueError("sample_weight sums to more than float64 can hold; scale it down.")
    return sample_weight


def check_image_shape(image_shape, n_columns):
    """Return the height, width and number of channels of flat images.

    Parameters
    ----------
    image_shape : iterable of int
        Height and width, or height, width and number of channels.
    n_columns : int
        Number of columns of X.

    Returns
    -------
    image_shape : tuple of int
        All three.

    Raises
    ------
    ValueError
        If it is anything else, or the product is not the number of columns.
    """
    shape = tuple(image_shape) if np.iterable(image_shape) else ()
    are_sizes = all(isinstance(size, Integral) and size > 0 for size in shape)
    if len(shape) not in (2, 3) or not are_sizes or math.prod(shape) != n_columns:
        raise ValueError(
            f"image_shape should be (height, width) or (height, width, n_channels), whose product is the number of "
            f"columns of X, {n_columns}; got {image_shape!r}."
        )
    return int(shape[0]), int(shape[1]), int(shape[2]) if len(shape) == 3 else 1


def check_count(count, name):
    """Refuse what is no positive integer."""
    if not isinstance(count, Integral) or count < 1:
        raise ValueError(f"{name} should be a positive integer, got {count!r}.")


def check_flag(flag, name):
    """Refuse what is neither True nor False."""
    if not isinstance(flag, bool | np.bool_):
        raise ValueError(f"{name} should be True or False, got {flag!r}.")


def validate_table(estimator, X, *, reset, dtype=None, accept_sparse=None):
    """Check the shape and the columns of a table, whose cells may be of any kind, or of a sparse matrix.

    Parameters
    ----------
    estimator : estimator instance
        The one whose `n_features_in_` and `feature_names_in_` are meant.
    X : {array-like, DataFrame, sparse matrix} of shape (n_samples, n_features)
        Rows.
    reset : bool
        Whether the columns are learnt, as in `fit`, or should be those of `fit`.
    dtype : "numeric" or None, default=None
        What :func:`sklearn.utils.check_array` makes of arrays.
    accept_sparse : bool, default=None
        Whether sparse matrices are taken; None for what the tags of the estimator say.

    Returns
    -------
    X : {ndarray, DataFrame, sparse matrix} of shape (n_samples, n_features)
        Rows; a DataFrame as it is, a sparse matrix by rows (CSR).

    Raises
    ------
    ValueError
        If X has no rows or no columns, or not those of `fit`.
    TypeError
        If X is a table that cannot be read, such as one of Arrow, a lazy one, or a list of dicts.
    """
    check_container(X)
    if is_frame(X):
        for size, what in zip(X.shape, ("sample(s)", "feature(s)"), strict=True):
            if size == 0:
                raise ValueError(
                    f"Found array with 0 {what} (shape={X.shape}) while a minimum of 1 is required."
                )
        validate_data(estimator, X, reset=reset, skip_check_array=True)
        return X
    if isinstance(X, np.ma.MaskedArray):
        missing = np.nan if X.dtype.kind == "f" else None
        X = np.where(np.ma.getmaskarray(X), missing, X.data) if np.ma.is_masked(X) else X.data
    if isinstance(X, list | tuple) and np.asarray(X).dtype.kind in "US":
        X = np.asarray(X, dtype=object)  # or numbers beside strings would turn into strings
    if accept_sparse is None:
        accept_sparse = get_tags(estimator).input_tags.sparse
    if issparse(X) and X.format == "coo":
        X = X.copy()
        X.has_canonical_format = True  # or cells given in parts would be summed in their dtype
    return validate_data(
        estimator,
        X,
        reset=reset,
        dtype=dtype,
        accept_sparse="csr" if accept_sparse else False,
        ensure_all_finite=False,
    )


def validate_sequences(estimator, X, *, reset):
    """Check that there are sequences; a table, of which the columns are steps, is checked as such.

    Parameters
    ----------
    estimator : estimator instance
        The one whose `n_features_in_` and `feature_names_in_` are meant; of other containers there are none.
    X : {list, ndarray, Series, DataFrame} of n_sequences sequences
        Rows, into which nothing looks but what encodes them.
    reset : bool
        Whether it is `fit` that asks.

    Returns
    -------
    X : {list, ndarray, Series, DataFrame}
        The same rows; of a table as :func:`validate_table` returns it.

    Raises
    ------
    ValueError
        If there is no sequence, or X is a table of other columns than that of `fit`.
    """
    check_sequences(X)
    if is_table(X):
        return validate_table(estimator, X, reset=reset)
    if len(X) == 0:
        raise ValueError("X holds 0 sequence(s), while a minimum of 1 is required.")
    if reset:
        for name in ("n_features_in_", "feature_names_in_"):
            vars(estimator).pop(name, None)
    return X


@contextmanager
def restored_on_failure(estimator):
    """Leave an estimator as it was if anything in the block fails.

    Parameters
    ----------
    estimator : estimator instance
        The estimator whose `fit` it is.
    """
    before = vars(estimator).copy()
    try:
        yield
    except BaseException as error:
        # An interrupted warm start says that it keeps what it has learnt.
        if not getattr(error, "keeps_progress", False):
            vars(estimator).clear()
            vars(estimator).update(before)
        raise
