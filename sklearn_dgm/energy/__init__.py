"""Densities by energies: Boltzmann machines, in NumPy, and densities that are tilted by a network.

What needs torch is imported when it is named.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sklearn_dgm.energy._belief import DeepBeliefDensity
    from sklearn_dgm.energy._boltzmann import RestrictedBoltzmannDensity
    from sklearn_dgm.energy._tilt import EnergyDensity

_HOMES = {
    "DeepBeliefDensity": "belief",
    "EnergyDensity": "tilt",
    "RestrictedBoltzmannDensity": "boltzmann",
}

__all__ = ["DeepBeliefDensity", "EnergyDensity", "RestrictedBoltzmannDensity"]


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}._{_HOMES[name]}"), name)
