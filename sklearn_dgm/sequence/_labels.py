"""Labels of states that come with sequences, some of them unknown."""

from numbers import Real

import narwhals as nw
import numpy as np

from sklearn_dgm.columns import is_frame
from sklearn_dgm.columns._reading import is_missing


def read_labels(y, lengths, counted=None):
    """Read the labels of the states of sequences.

    Parameters
    ----------
    y : {array-like, list, Series, DataFrame} or None
        For each sequence the labels of its steps, or None; what holds no sequences is no labels of states.
    lengths : ndarray of int of shape (n_sequences,)
        Numbers of steps.
    counted : ndarray of bool of shape (n_sequences,), default=None
        Which sequences have weight; labels of others tell nothing.

    Returns
    -------
    states : ndarray of shape (n_states,) or None
        The labels that are known, sorted; None without any.
    codes : ndarray of int of shape (n_steps,) or None
        Of each step the number of its state, -1 where it is unknown.

    Raises
    ------
    ValueError
        If there are not as many labels as steps, or as many entries as sequences, or they are of several types.
    """
    rows = rows_of_labels(y)
    if rows is None:
        return None, None
    if len(rows) != len(lengths):
        raise ValueError(
            f"y has {len(rows)} entries, X has {len(lengths)} sequence(s). Lengths are not taken: hand in a list of "
            "sequences, such as numpy.split(X, numpy.cumsum(lengths)[:-1])."
        )
    if not any(_is_sequence(row) for row in rows):
        return None, None
    labels = []
    for i, (row, length) in enumerate(zip(rows, lengths.tolist(), strict=True)):
        is_unknown = not _is_sequence(row) and is_missing(row)
        if not _is_sequence(row) and not is_unknown:
            raise ValueError(
                f"y has {row!r} for sequence {i}, where there should be a list of labels."
            )
        own = [None] * length if is_unknown else list(row)
        if len(own) != length:
            raise ValueError(
                f"y has {len(own)} label(s) of sequence {i}, which has {length} step(s)."
            )
        labels += own if counted is None or counted[i] else [None] * length
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


def places_of_states(states, known):
    """Return the places of labels among those of a model; refuse others.

    Parameters
    ----------
    states : ndarray of shape (n,)
        Labels, as :func:`read_labels` returns them.
    known : ndarray of shape (n_states,)
        Those of the model.

    Returns
    -------
    places : ndarray of int of shape (n,)
        Where they are.
    """
    places = {label: k for k, label in enumerate(known.tolist())}
    for label in states.tolist():
        if label not in places:
            raise ValueError(
                f"y has the label {label!r}, which is none of the states of the first call, {list(places)}."
            )
    return np.array([places[label] for label in states.tolist()], dtype=np.intp)


def rows_of_labels(y):
    """Return what y has for each sequence as a list; None if it is no container."""
    if is_frame(y):
        return [list(row) for row in nw.from_native(y, eager_only=True).iter_rows()]
    if nw.dependencies.is_into_series(y):
        return nw.from_native(y, series_only=True).to_list()
    return list(y) if isinstance(y, list | tuple | np.ndarray) else None


def _is_sequence(row):
    if isinstance(row, np.ndarray) and row.ndim != 1:
        raise ValueError(
            f"labels of a sequence in y should be 1-D, got an array of shape {row.shape}."
        )
    is_array = isinstance(row, np.ndarray | list | tuple)
    return is_array or nw.dependencies.is_into_series(row)


def _is_unknown(label):
    return is_missing(label) or (isinstance(label, Real) and label == -1)
