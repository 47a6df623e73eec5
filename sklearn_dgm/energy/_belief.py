"""The deep belief net as an estimator."""

from sklearn_dgm.energy._base import BaseBoltzmannDensity


class DeepBeliefDensity(BaseBoltzmannDensity):
    """To come."""
