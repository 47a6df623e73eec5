"""Labels, some of which say that there is none: -1 of an unlabelled row."""

from numbers import Real

import numpy as np
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import assert_all_finite, column_or_1d

from sklearn_dgm.columns import ColumnSchema


def as_labels(y):
    """Return labels as an array; of objects where NumPy would make strings of the numbers among them.

    Parameters
    ----------
    y : array-like of shape (n,)
        Labels.

    Returns
    -------
    y : array-like of shape (n,)
        The same, or an array of objects.

    Raises
    ------
    ValueError
        If there are none.
    """
    if y is None:
        raise ValueError("Learning from labels requires y to be passed, but the target y is None.")
    is_list = isinstance(y, list | tuple) and np.asarray(y).dtype.kind in "US"
    is_mixed = is_list and not all(isinstance(label, str) for label in y)
    return np.array(y, dtype=object) if is_mixed else y


def check_labels(y, advice="that of an unlabelled row should be -1"):
    """Refuse labels that are infinite or missing.

    Parameters
    ----------
    y : ndarray of shape (n,)
        Labels.
    advice : str, default="that of an unlabelled row should be -1"
        What to do about missing ones.

    Raises
    ------
    ValueError
        If a label is NaN, infinite, None or the like.
    """
    if y.dtype.kind != "O":
        assert_all_finite(y, input_name="y")
    elif ColumnSchema([0], missing=True).fit(y[:, None]).columns_[0].missing_share:
        raise ValueError(f"Input y contains NaN (a missing label); {advice}.")


def is_unlabelled(y):
    """Flag the labels that are -1, of shape (n,), whether or not that is a class.

    Parameters
    ----------
    y : ndarray of shape (n,)
        Labels.

    Returns
    -------
    flags : ndarray of bool of shape (n,)
        Never set of strings.
    """
    if y.dtype.kind == "O":
        return np.array([isinstance(label, Real) and label == -1 for label in y], dtype=bool)
    return y == -1 if y.dtype.kind in "if" else np.zeros(len(y), dtype=bool)


def classes_of(y, classes):
    """Return the classes: those given, or all labels but -1, which is a class if there is only one other number.

    Parameters
    ----------
    y : ndarray of shape (n,)
        Labels.
    classes : array-like of shape (n_classes,) or None
        The classes, where these are given.

    Returns
    -------
    classes : ndarray of shape (n_classes,)
        Sorted.

    Raises
    ------
    ValueError
        If there is none, or the labels are no classes but numbers of a regression.
    """
    if classes is not None:
        return np.unique(column_or_1d(classes))
    labels = y[~is_unlabelled(y)]
    if len(labels) == 0:
        raise ValueError("y holds no class: all its rows are unlabelled (-1).")
    check_classification_targets(labels)
    distinct = np.unique(labels)
    return np.unique(y) if len(distinct) == 1 and isinstance(distinct[0], Real) else distinct


def place_of(y, classes):
    """Return the position of each label among the classes.

    Parameters
    ----------
    y : ndarray of shape (n,)
        Labels.
    classes : ndarray of shape (n_classes,)
        The classes, sorted.

    Returns
    -------
    place : ndarray of int of shape (n,)
        -1 of unlabelled rows.

    Raises
    ------
    ValueError
        If a label is none of the classes.
    """
    place = np.full(len(y), -1)
    known = np.isin(y, classes)
    unknown = ~known & ~is_unlabelled(y)
    if unknown.any():
        raise ValueError(
            f"y holds {y[unknown].tolist()[0]!r}, which is none of the classes {classes.tolist()}."
        )
    place[known] = np.searchsorted(classes, y[known])
    return place
