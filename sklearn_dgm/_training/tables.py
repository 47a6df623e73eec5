"""Base class of densities of tables that are a mixture of networks."""

from numbers import Integral
from typing import Any

from sklearn_dgm._sklearn import Interval
from sklearn_dgm._training.base import BaseNeuralDensity
from sklearn_dgm._training.missing import TableSplits
from sklearn_dgm._training.parameters import layer_sizes
from sklearn_dgm._training.variables import is_constant
from sklearn_dgm.nn.mixture import Mixture


class TableNetworkDensity(BaseNeuralDensity):
    """Base class of densities that are an equal mixture of modules, of which each knows its training rows alone.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int or int
        Units of each hidden layer of the networks.
    **others : dict
        Parameters of the base class.
    """

    _parameter_constraints: dict = {
        **BaseNeuralDensity._parameter_constraints,
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
    }
    _shape_params: tuple[str, ...] = ("hidden_layer_sizes",)

    def __init__(self, *, hidden_layer_sizes: Any, **others: Any) -> None:
        super().__init__(**others)
        self.hidden_layer_sizes = hidden_layer_sizes

    def _combine(self, modules):
        return Mixture(modules)

    def _trained_modules(self):
        return list(self._module.members)

    def _split(self, Z, weight, validation_fraction, seed, device):
        return TableSplits(self.schema_.columns_, Z, weight, validation_fraction, seed, device)

    def _training_parameters(self, splits):
        parameters = super()._training_parameters(splits)
        if all(map(is_constant, self.schema_.columns_)):  # of which there is nothing to learn
            parameters["max_epochs"] = 1
        return parameters

    def _resolve_hidden_layer_sizes(self):
        return layer_sizes(self.hidden_layer_sizes, "hidden_layer_sizes")
