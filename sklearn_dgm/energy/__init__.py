"""Energies: Boltzmann machines, and what is tilted by a network."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sklearn_dgm.energy._belief import DeepBeliefDensity
    from sklearn_dgm.energy._boltzmann import RestrictedBoltzmannDensity

# EnergyDensity needs torch, machines do not.
_HOMES = {
    "DeepBeliefDensity": "_belief",
    "RestrictedBoltzmannDensity": "_boltzmann",
}

__all__ = sorted(_HOMES)


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__():
    return sorted([*globals(), *__all__])
