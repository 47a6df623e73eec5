"""Energies: unnormalised densities, and how their constants are estimated. They are imported when they are named."""

__all__ = ["EnergyDensity"]


def __getattr__(name):
    if name == "EnergyDensity":
        from sklearn_dgm.energy._tilt import EnergyDensity

        return EnergyDensity
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
