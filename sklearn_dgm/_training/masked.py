"""Base class of the densities whose conditionals a masked network computes, whatever their graph."""

from numbers import Integral, Real

from sklearn.utils._param_validation import Interval, StrOptions

from sklearn_dgm._training.base import BaseNeuralDensity
from sklearn_dgm._training.factors import NetworkFactors
from sklearn_dgm.columns import CATEGORICAL
from sklearn_dgm.nn.made import ACTIVATIONS

# What "auto" tries; inputs are dropped less than hidden units, by this.
DROPOUTS, INPUT_DROPOUT_LESS = [0.2, 0.5], 0.3
MAX_TRIAL_ROWS = 15_000
# L1 penalty on what training changes in the linear paths to categories, in nats of the whole data.
SPARSITY = 8.0


class MaskedNetworkDensity(BaseNeuralDensity):
    """Base class of densities with a :class:`~sklearn_dgm.nn.made.MADE` for their conditionals.

    Parameters
    ----------
    hidden_layer_sizes, activation, n_components, dropout, handle_unknown
        See :class:`~sklearn_dgm.AutoregressiveDensity`.
    """

    _parameter_constraints: dict = {
        **BaseNeuralDensity._parameter_constraints,
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "dropout": [StrOptions({"auto"}), Interval(Real, 0, 1, closed="left")],
        "handle_unknown": [StrOptions({"impossible", "error", "rare"})],
    }
    _detect_ties = True
    _takes_missing = True
    _shape_params = (
        *BaseNeuralDensity._shape_params,
        "hidden_layer_sizes",
        "activation",
        "n_components",
        "dropout",
        "handle_unknown",
    )

    def _resolve_hidden_layer_sizes(self):
        sizes = self.hidden_layer_sizes
        sizes = (sizes,) if isinstance(sizes, Integral) else tuple(sizes)
        if not all(isinstance(size, Integral) and size > 0 for size in sizes):
            raise ValueError(
                f"hidden_layer_sizes should be positive integers, got {self.hidden_layer_sizes!r}."
            )
        return sizes

    def _settings(self, n_samples):
        if self.dropout != "auto":
            return [self.dropout]
        # Neither numbers alone nor many rows have ever gained by more.
        kinds = [column.kind for column in self.schema_.columns_ if not column.constant]
        is_tried = CATEGORICAL in kinds and n_samples <= MAX_TRIAL_ROWS
        return DROPOUTS if is_tried else DROPOUTS[:1]

    def _factors(self):
        """Conditionals of the columns; see :class:`~sklearn_dgm.codec.DensityCodec`."""
        return NetworkFactors(self._module, self._module_device(), self._rows_at_once())

    @property
    def dropout_(self):
        """Share of hidden units dropped in training."""
        return self._setting

    def _network_params(self, dropout, base, sample_weight):
        """What a masked network is made with beside the variables and the graph."""
        return (
            self._resolve_hidden_layer_sizes(),
            self.activation,
            self.n_components,
            base,
            dropout,
            max(dropout - INPUT_DROPOUT_LESS, 0.0),
            SPARSITY / sample_weight.sum(),
        )
