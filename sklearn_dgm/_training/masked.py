"""Base class of the densities whose conditionals a masked network computes, whatever their graph."""

from numbers import Integral, Real

import torch

from sklearn_dgm._sklearn import Interval, StrOptions
from sklearn_dgm._training.base import BaseNeuralDensity
from sklearn_dgm._training.factors import NetworkFactors
from sklearn_dgm._training.variables import has_few_values, variables_of
from sklearn_dgm.nn.made import ACTIVATIONS, MADE
from sklearn_dgm.nn.start import better_regressed, moments
from sklearn_dgm.tags import DensityTags

# What "auto" tries; inputs are dropped less than hidden units, by this.
DROPOUTS, INPUT_DROPOUT_LESS = [0.2, 0.5], 0.3
MAX_TRIAL_ROWS = 15_000
# L1 penalty on what training changes in the linear paths to categories, in nats of the whole data.
SPARSITY = 8.0


class MaskedNetworkDensity(BaseNeuralDensity):
    """Base class of densities with a :class:`~sklearn_dgm.nn.made.MADE` for their conditionals.

    Parameters
    ----------
    hidden_layer_sizes, activation, n_components, dropout, handle_unknown, bounds
        See :class:`~sklearn_dgm.AutoregressiveDensity`.
    """

    _parameter_constraints: dict = {
        **BaseNeuralDensity._parameter_constraints,
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "dropout": [StrOptions({"auto"}), Interval(Real, 0, 1, closed="left")],
        "handle_unknown": [StrOptions({"impossible", "error", "rare"})],
        "bounds": [dict, StrOptions({"observed"}), None],
    }
    _density_tags = DensityTags(missing=True, ties=True)
    _shape_params = (
        *BaseNeuralDensity._shape_params,
        "hidden_layer_sizes",
        "activation",
        "n_components",
        "dropout",
        "handle_unknown",
        "bounds",
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
        varied = [column for column in self.schema_.columns_ if not column.constant]
        has_categories = any(map(has_few_values, varied))
        is_tried = has_categories and n_samples <= MAX_TRIAL_ROWS
        return DROPOUTS if is_tried else DROPOUTS[:1]

    def _factors(self):
        """Conditionals of the columns; see :class:`~sklearn_dgm.codec.DensityCodec`."""
        return NetworkFactors(self._module, self._module_device(), self._rows_at_once())

    @property
    def dropout_(self):
        """Share of hidden units dropped in training."""
        return self._setting

    def _learn_start(self, parts, member, settings, adjacency, targets=None):
        """What a member knows before its training: all of its training rows, and from its validation rows which start is better.

        Parameters
        ----------
        parts : Parts
            The rows.
        member : int
            Number of the member.
        settings : callable
            Given a dropout, what :meth:`_network_params` returns.
        adjacency, targets
            The graph; see :class:`~sklearn_dgm.nn.made.MADE`.

        Returns
        -------
        network : callable
            Given a dropout, a new network, which has not started.
        learnt, regressed
            What :func:`~sklearn_dgm.nn.start.start_from` takes after it.
        """
        Z, weight = parts.to_start_from(member)
        variables = variables_of(self.schema_.columns_, Z, weight, parts.extremes())

        def network(dropout=0.0, kind=MADE):
            return kind(variables, adjacency, *settings(dropout), targets=targets)

        learnt = moments(network(), torch.from_numpy(Z), weight)
        valid = parts.to_choose_by(member)
        regressed = frozenset() if valid is None else better_regressed(network, learnt, *valid)
        return network, learnt, regressed

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
