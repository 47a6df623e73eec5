"""Base class of the densities whose conditionals a masked network computes, whatever their graph."""

from functools import lru_cache
from numbers import Integral, Real
from typing import Any, NamedTuple

import torch

from sklearn_dgm._sklearn import Interval, StrOptions
from sklearn_dgm._training.marginals import FactorsMixin
from sklearn_dgm._training.tables import TableNetworkDensity
from sklearn_dgm._training.variables import has_few_values, variables_of
from sklearn_dgm.nn.better_start import better_mixture, better_regressed
from sklearn_dgm.nn.made import ACTIVATIONS, MADE
from sklearn_dgm.nn.moments import mixtures, moments
from sklearn_dgm.tags import DensityTags

# What "auto" tries; inputs are dropped less than hidden units, by this.
DROPOUTS, INPUT_DROPOUT_LESS = [0.2, 0.5], 0.3
MAX_TRIAL_ROWS = 15_000
# Validation rows from which on they say of how many Gaussians to start, and whether principal axes serve; less would
# choose by chance.
MIN_CHOOSING_ROWS = 20
# L1 penalty on what training changes in the linear paths to categories, in nats of the whole data.
SPARSITY = 8.0


class Setting(NamedTuple):
    """What a network is trained with, and what may be tried in the first order.

    Attributes
    ----------
    dropout : float
        Share of hidden units dropped.
    along_axes : bool
        Whether hidden units see numbers along :class:`~sklearn_dgm.nn.principal_axes.PrincipalAxes`, until their
        training ends; one that a warm start continues sees pieces.
    """

    dropout: float
    along_axes: bool = False

    def __str__(self):
        return f"dropout {self.dropout:g}" + (", principal axes" if self.along_axes else "")


class MaskedNetworkDensity(FactorsMixin, TableNetworkDensity):
    """Base class of densities with a :class:`~sklearn_dgm.nn.made.MADE` for their conditionals.

    The density is an equal mixture of those of the members. Cells may be missing.

    Parameters
    ----------
    activation, n_components, dropout, handle_unknown, bounds
        See :class:`~sklearn_dgm.AutoregressiveDensity`.
    **others : dict
        Parameters of the base classes.
    """

    _parameter_constraints: dict = {
        **TableNetworkDensity._parameter_constraints,
        "activation": [StrOptions(set(ACTIVATIONS))],
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "dropout": [StrOptions({"auto"}), Interval(Real, 0, 1, closed="left")],
        "handle_unknown": [StrOptions({"impossible", "error", "rare"})],
        "bounds": [dict, StrOptions({"observed"}), None],
    }
    _density_tags = DensityTags(missing=True, ties=True)
    _shape_params: tuple[str, ...] = (
        *TableNetworkDensity._shape_params,
        "activation",
        "n_components",
        "dropout",
    )

    def __init__(
        self,
        *,
        activation: Any,
        n_components: int,
        dropout: Any,
        handle_unknown: Any,
        bounds: Any,
        **others: Any,
    ) -> None:
        super().__init__(**others)
        self.activation = activation
        self.n_components = n_components
        self.dropout = dropout
        self.handle_unknown = handle_unknown
        self.bounds = bounds

    def _candidates(self, splits):
        if self.dropout != "auto":
            return [Setting(self.dropout)]
        # Neither numbers alone nor many rows have ever gained by more.
        is_tried = self._has_categories() and splits.n_train <= MAX_TRIAL_ROWS
        return list(map(Setting, DROPOUTS if is_tried else DROPOUTS[:1]))

    def _has_categories(self):
        varied = [column for column in self.schema_.columns_ if not column.constant]
        return any(map(has_few_values, varied))

    @property
    def dropout_(self):
        """Share of hidden units dropped in training."""
        return self._setting.dropout

    def _learner(self, splits, settings, adjacency, targets=None):
        """Return a function that learns the starts of members.

        A member learns by all of its training rows, and its validation rows say which start is better. Whether training
        makes as much of one Gaussian as a mixture tells is tried with the first member alone.

        Parameters
        ----------
        splits : TableSplits
            The rows.
        settings : callable
            Given a dropout, what :meth:`_network_params` returns.
        adjacency : callable
            Given the number of a member, its graph; see :class:`~sklearn_dgm.nn.made.MADE`.
        targets : list of int, default=None
            The columns whose conditionals networks compute; None for all.

        Returns
        -------
        learn : callable
            Given the number of a member, returns a function that makes a new network of a dropout, which has not
            started, and what :func:`~sklearn_dgm.nn.start.start_from` takes after it.
        """
        has_several = None  # whether numbers start from a mixture, as soon as it is known

        @lru_cache(maxsize=1)  # what is tried with one member starts from the same
        def learn(member):
            nonlocal has_several
            Z, weight = splits.to_start_from(member)
            variables = variables_of(self.schema_.columns_, Z, weight, splits.outlines)

            def network(dropout=0.0, kind=MADE):
                return kind(variables, adjacency(member), *settings(dropout), targets=targets)

            known = network().inputs, torch.from_numpy(Z), weight
            learnt, regressed = moments(*known), frozenset()
            valid = splits.to_choose_by(member)
            if valid is not None:
                regressed = better_regressed(network, learnt, *valid)
                if has_several is None and not self._tries_mixtures(splits):
                    has_several = False
                if has_several is not False:  # after a member that needs no mixture, none does
                    several = mixtures(*known, self.n_components)
                    trial = None if has_several else known[1:]
                    with torch.random.fork_rng(devices=[]):  # trials leave no trace in the weights
                        mixture = better_mixture(network, learnt, several, regressed, *valid, trial)
                    has_several = mixture.n_components > 1
                    learnt = learnt._replace(mixture=mixture)
            return network, learnt, regressed

        return learn

    def _tries_mixtures(self, splits):
        """Tell whether to try of how many Gaussians numbers had better start."""
        return splits.n_valid >= MIN_CHOOSING_ROWS

    def _network_params(self, dropout, base, sample_weight):
        """Return the parameters of a masked network beside its variables and graph."""
        return (
            self._resolve_hidden_layer_sizes(),
            self.activation,
            self.n_components,
            base,
            dropout,
            max(dropout - INPUT_DROPOUT_LESS, 0.0),
            SPARSITY / sample_weight.sum(),
        )
