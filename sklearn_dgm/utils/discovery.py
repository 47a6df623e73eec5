"""What densities there are."""

from importlib import import_module
from inspect import isabstract, isclass
from pkgutil import walk_packages
from typing import Any


def all_estimators() -> list[Any]:
    """List every public estimator of the package.

    Importing all of them imports torch.

    Returns
    -------
    estimators : list of tuple
        Pairs ``(name, class)``, sorted by name.

    Examples
    --------
    >>> from sklearn_dgm.utils.discovery import all_estimators
    >>> "HistogramDensity" in dict(all_estimators())
    True
    """
    import sklearn_dgm
    from sklearn_dgm.base import BaseDensity

    found = {}
    for module in walk_packages(sklearn_dgm.__path__, "sklearn_dgm."):
        for name, value in vars(import_module(module.name)).items():
            is_ours = (
                isclass(value)
                and issubclass(value, BaseDensity)
                and value.__module__ == module.name
            )
            if is_ours and not isabstract(value) and not name.startswith(("_", "Base")):
                found[name] = value
    return sorted(found.items())
