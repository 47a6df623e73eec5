"""Labels of states that come with sequences, some of them unknown."""

from numbers import Real

import narwhals as nw
import numpy as np

from sklearn_dgm.columns import is_frame


def read_labels(y, lengths):
    """Read the labels of the states of sequences.

    Parameters
    ----------
    y : {array-like, list, Series, DataFrame} or None
        For each sequence the labels of its steps, or None; what holds no sequences is no labels of states.
    lengths : ndarray of int of shape (n_sequences,)
        Numbers of steps.

    Returns
    -------
    states : ndarray of shape (n_states,) or None
        The labels that are known, sorted; None without any.
    codes : ndarray of int of shape (n_steps,) or None
        Of each step the number of its state, -1 where it is unknown.

    Raises
    ------
    ValueError
        If there are not as many labels as steps, or they are of several types.
    """
    rows = _rows(y)
    if rows is None or not any(_is_sequence(row) for row in rows):
        return None, None
    if len(rows) != len(lengths):
        raise ValueError(f"y has labels of {len(rows)} sequence(s), X has {len(lengths)}.")
    labels = []
    for i, (row, length) in enumerate(zip(rows, lengths.tolist(), strict=True)):
        own = [None] * length if row is None else list(row)
        if len(own) != length:
            raise ValueError(
                f"y has {len(own)} label(s) of sequence {i}, which has {length} step(s)."
            )
        labels += own
    known = [not _is_unknown(label) for label in labels]
    try:
        states = sorted({label for label, one in zip(labels, known, strict=True) if one})
    except TypeError as error:
        raise ValueError(f"labels of states in y should be of one type: {error}") from error
    if not states:
        return None, None
    numbers = {label: k for k, label in enumerate(states)}
    pairs = zip(labels, known, strict=True)
    return np.array(states), np.array([numbers[label] if one else -1 for label, one in pairs])


def _rows(y):
    """Return what y has for each sequence; None if it is no container."""
    if is_frame(y):
        return [list(row) for row in nw.from_native(y, eager_only=True).iter_rows()]
    if nw.dependencies.is_into_series(y):
        return nw.from_native(y, series_only=True).to_list()
    return list(y) if isinstance(y, list | tuple | np.ndarray) else None


def _is_sequence(row):
    is_array = isinstance(row, np.ndarray) and row.ndim == 1
    return is_array or isinstance(row, list | tuple) or nw.dependencies.is_into_series(row)


def _is_unknown(label):
    return label is None or label != label or (isinstance(label, Real) and label == -1)
