"""Which kind each column is of: by the parameters that say so, else by its dtype."""

import numpy as np

from sklearn_dgm.columns._column import CATEGORICAL, CONTINUOUS, INTEGER, MIXED, ROUNDED
from sklearn_dgm.columns._dtypes import kind_by_dtype, warn_of_categories
from sklearn_dgm.columns._names import by_position, positions_of

KINDS = (CONTINUOUS, ROUNDED, MIXED, INTEGER, CATEGORICAL)
# A categorical column of two categories at most, where no other is allowed.
BINARY = "binary"


def resolve_kinds(raw, weight, features, column_kinds, *, warns=True):
    """Return the kind of each column, before ties are looked for, and the columns named in `column_kinds`.

    Parameters
    ----------
    raw : list of RawColumn
        The columns of a table.
    weight : ndarray of shape (n_samples,)
        Weights of the rows.
    features : dict
        The parameters `categorical_features` and `integer_features` by the kind that they give.
    column_kinds : dict or None
        Kinds by label or position.
    warns : bool, default=True
        Whether to warn of columns that are hardly meant to be categorical.

    Returns
    -------
    kinds : list of str
        One for each column.
    chosen : set of int
        Positions of the columns named in `column_kinds`.
    """
    labels = [r.label for r in raw]
    chosen = _chosen_kinds(column_kinds, labels)
    named = {
        kind: _feature_mask(None if is_from_dtype(names) else names, labels, kind)
        for kind, names in features.items()
    }
    from_dtype = {kind for kind, names in features.items() if is_from_dtype(names)}
    kinds = []
    for j, r in enumerate(raw):
        is_empty = not r.observed_of(weight).any()
        # Some containers have a dtype for nothing but missing cells.
        is_null = str(r.native_dtype).lower().startswith("null")
        by_dtype = CATEGORICAL if is_null else kind_by_dtype(r)
        # What one parameter names outright, the other does not claim by dtype.
        named_kinds = [kind for kind, mask in named.items() if mask[j]]
        if is_empty:
            kind = CATEGORICAL
        elif j in chosen:
            kind = chosen[j]
        elif len(named_kinds) == 2:
            raise ValueError(
                f"{r.where} is named both in categorical_features and in integer_features; "
                "leave it in one of them."
            )
        elif named_kinds:
            kind = named_kinds[0]
        else:
            kind = by_dtype if by_dtype in from_dtype else CONTINUOUS
            if kind == CATEGORICAL and warns:
                warn_of_categories(r)
        kinds.append(kind)
    return kinds, set(chosen)


def check_kinds(columns, is_given, allowed_kinds):
    """Refuse columns of kinds that the density does not take.

    Parameters
    ----------
    columns : list of Column
        All columns of a table.
    is_given : ndarray of bool of shape (n_features,)
        Which of them are given, and may be of any kind.
    allowed_kinds : tuple of str
        The kinds that it takes; continuous columns may be rounded or mixed.

    Raises
    ------
    ValueError
        If one is of another kind.
    """
    allowed = {*allowed_kinds}
    if CONTINUOUS in allowed:
        allowed |= {ROUNDED, MIXED}
    for column, given in zip(columns, is_given, strict=True):
        is_binary = column.is_categorical and len(column.categories) <= 2
        if not (given or column.kind in allowed or (is_binary and BINARY in allowed)):
            raise ValueError(
                f"{column.where} is {column.kind}, but only columns of these kinds are taken: "
                f"{', '.join(allowed_kinds)}. Convert it, or declare that it is of one of them."
            )


def _chosen_kinds(column_kinds, labels):
    chosen = by_position(column_kinds or {}, labels, "column_kinds")
    for j, kind in chosen.items():
        if kind not in KINDS:
            raise ValueError(
                f"column_kinds says {kind!r} of column {labels[j]!r}; expected one of {KINDS}."
            )
    return chosen


def _feature_mask(features, labels, kind):
    """Return the boolean mask of the columns that a parameter names."""
    mask = np.zeros(len(labels), dtype=bool)
    mask[positions_of(features, labels, f"{kind}_features")] = True
    return mask


def is_from_dtype(features):
    return isinstance(features, str) and features == "from_dtype"
