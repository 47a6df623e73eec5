"""What a fit that continues another one may not change: the parameters that shape the model."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import clone


class ContinuationMixin:
    """Models whose fit can go on from the one before, by `partial_fit`, or a warm start.

    A family names in `_shape_params` what the first fit settles. As it begins, a fit calls `_keep_shape`, and one that
    continues another `_check_shape` before.
    """

    # Parameters that only a fit from the start heeds; those of training and smoothing that each call heeds are none.
    _shape_params: tuple[str, ...] = ()

    def _params_of_shape(self):
        """Return the names of the parameters that a fit that continues this one cannot change."""
        return self._shape_params

    def _keep_shape(self):
        """Remember what shapes the model, in copies, for what users hand in may change."""
        names = self._params_of_shape()
        self._shape = {name: clone(getattr(self, name), safe=False) for name in names}

    def _check_shape(self):
        """Refuse parameters with which the model would be another one."""
        for name, before in getattr(self, "_shape", {}).items():  # older models did not keep it
            now = getattr(self, name)
            if not self._is_unchanged(name, before, now):
                raise ValueError(
                    f"{self._continued_by()} continues a model with {name}={before!r:.200}, which cannot become "
                    f"{now!r:.200}; {self._way_to_start_anew()}."
                )

    def _is_unchanged(self, name, before, now):
        """Tell whether a parameter is for the model what it was."""
        return are_alike(before, now)

    def _continued_by(self):
        """Return by what a fit continues the one before, or None."""
        return "partial_fit"

    def _way_to_start_anew(self):
        is_warm = getattr(self, "warm_start", False)
        return f"{'set warm_start=False and ' if is_warm else ''}call fit to start anew"


def are_alike(one: Any, other: Any) -> bool:
    """Tell whether two values of a parameter say the same, such as a list and an array of the same numbers.

    Parameters
    ----------
    one, other : object
        The values; the second may be a copy of the first.

    Returns
    -------
    are_alike : bool
        True also where it cannot be told: of two objects of one class without equality.
    """
    if one is other:
        return True
    if hasattr(one, "get_params") and type(one) is type(other) and not isinstance(one, type):
        return are_alike(one.get_params(deep=False), other.get_params(deep=False))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(are_alike(one[key], other[key]) for key in one)
    try:
        one, other = _plain(one), _plain(other)
    except Exception:  # of what is no array here, such as a tensor elsewhere
        return type(one) is type(other)
    if _is_list(one) and _is_list(other):
        return len(one) == len(other) and all(map(are_alike, one, other))
    if isinstance(one, bool) != isinstance(other, bool):  # a mask holds no indices
        return False
    try:
        is_equal, is_nan = bool(one == other), bool(one != one and other != other)
    except Exception:  # whatever the equality of some class raises
        return type(one) is type(other)
    if is_equal or is_nan or type(one) is not type(other):
        return is_equal or is_nan
    return not _equals_its_copy(one)


def _equals_its_copy(value):
    """Tell whether equality says what a value is: of an object without any it does not, nor of a method of one."""
    try:
        return bool(copy.deepcopy(value) == value)
    except Exception:
        return False


def _plain(value):
    """Return an array, or what makes one, as a list."""
    return np.asarray(value).tolist() if hasattr(value, "__array__") else value


def _is_list(value):
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)
