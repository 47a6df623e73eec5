"""What densities there are."""

from inspect import isabstract, isclass
from typing import Any

from sklearn.base import BaseEstimator


def all_estimators() -> list[Any]:
    """List every public estimator of the package: densities, generators, and what is built on them.

    Importing all of them imports torch.

    Returns
    -------
    estimators : list of tuple
        Pairs ``(name, class)``, sorted by name.

    Examples
    --------
    >>> from sklearn_dgm.utils.discovery import all_estimators
    >>> {"HistogramDensity", "DensityImputer"} <= set(dict(all_estimators()))
    True
    """
    import sklearn_dgm

    found = {name: getattr(sklearn_dgm, name) for name in sklearn_dgm.__all__}
    return sorted(
        (name, value)
        for name, value in found.items()
        if isclass(value) and issubclass(value, BaseEstimator) and not isabstract(value)
    )
