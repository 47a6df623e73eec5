"""The masked network that computes all conditionals of a Bayesian network over columns in one forward pass."""

import copy

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from sklearn_dgm.nn.ancestral import FARTHEST, AncestralDensity
from sklearn_dgm.nn.branches import Branches
from sklearn_dgm.nn.completion import MADE_PARTICLES, log_marginal
from sklearn_dgm.nn.config import plain
from sklearn_dgm.nn.inputs import Residuals, TableInputs
from sklearn_dgm.nn.layers import LinearPath, MaskedLinear, squash
from sklearn_dgm.nn.masks import connections, hidden_labels, steps_until_seen, topological_order
from sklearn_dgm.nn.outputs import HeadBank
from sklearn_dgm.nn.randomness import dropout
from sklearn_dgm.nn.stack import MADEStack

ACTIVATIONS = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "silu": F.silu,
    "gelu": F.gelu,
}


class MADE(AncestralDensity):
    """Masked network for the conditionals of a directed acyclic graph (MADE: Germain et al., 2015).

    The conditionals' parameters also have a linear path from the parents. The hidden units see, beside the inputs of
    the parents, the residuals of the columns that are numbers, which are what the regression on their own parents
    leaves of them.

    Parameters
    ----------
    variables : list of Variable, or of tuples
        The columns.
    adjacency : array-like of bool of shape (d, d)
        True at [i, j] where column i is a parent of column j.
    hidden_sizes : tuple of int
        Units of each hidden layer.
    activation : {"relu", "tanh", "silu", "gelu"}
        Activation of the hidden units.
    n_components : int
        Components of the mixture heads.
    base : {"gaussian", "logistic"}
        Family of the mixture components.
    dropout : float
        Share of hidden units dropped in training.
    input_dropout : float
        Share of the hidden units' inputs dropped in training.
    sparsity : float
        Weight of the L1 penalty on what training changes in the linear path to categories.
    targets : list of int, default=None
        The columns whose conditionals it computes; None for all. Other columns are given.
    n_context : int, default=0
        Numbers beside the columns of a row, such as what another network has made of it. All layers see them.
    """

    layer, path = MaskedLinear, LinearPath

    def __init__(
        self,
        variables,
        adjacency,
        hidden_sizes,
        activation,
        n_components,
        base,
        dropout=0.0,
        input_dropout=0.0,
        sparsity=0.0,
        targets=None,
        n_context=0,
    ):
        super().__init__()
        self.n_context = n_context
        self.adjacency = adjacency = np.asarray(adjacency, dtype=bool)
        self.activation = ACTIVATIONS[activation]
        self._activation, self._hidden_sizes = activation, hidden_sizes
        self.dropout = dropout
        self.input_dropout = input_dropout
        self.sparsity = sparsity
        self.inputs = TableInputs(variables)
        self.bank = HeadBank(variables, targets, n_components, base)
        self.residuals = Residuals(self.inputs, self.bank.numbers)
        self.variables, self.targets = self.inputs.variables, self.bank.targets
        self.hidden_labels = [
            hidden_labels(adjacency, size, self.targets, n_context > 0) for size in hidden_sizes
        ]
        self._build_layers()
        self.sparse_rows = self._rows_of_categories()
        self.axes = None

    @property
    def config(self):
        """Plain values that build it anew; see :class:`~sklearn_dgm.nn.density.RowDensity`."""
        return plain(
            {
                **self.inputs.config,
                "adjacency": self.adjacency,
                "hidden_sizes": self._hidden_sizes,
                "activation": self._activation,
                "n_components": self.bank.n_components,
                "base": self.bank.family,
                "dropout": self.dropout,
                "input_dropout": self.input_dropout,
                "sparsity": self.sparsity,
                "targets": self.targets,
                "n_context": self.n_context,
            }
        )

    def _build_layers(self):
        """Build the hidden layers, and both ways to the parameters: from the last of them, and from the features."""
        adjacency, bank, of_numbers = self.adjacency, self.bank, self.residuals.label
        # Inputs are what the labels' parents are made of; hidden units, and residuals, have seen the parents already.
        of_residuals = adjacency[of_numbers] & connections(adjacency, of_numbers)
        of_context = np.ones((self.n_context, len(adjacency)), dtype=bool)
        mask = np.concatenate([adjacency[self.inputs.label], of_residuals, of_context])
        self.hidden = nn.ModuleList()
        for labels in self.hidden_labels:
            self.hidden.append(self.layer(mask[:, labels].T))
            mask = np.concatenate([connections(adjacency, labels), of_context])
        # Columns start alike wherever their heads stand, which is a matter of their bounds, for one.
        by_column = np.argsort(bank.param_label, kind="stable")
        self.out = self.layer(mask[:, bank.param_label[by_column]].T, bias=False)
        self.out.reorder(np.argsort(by_column))
        linear_label = bank.param_label[bank.linear_rows]
        self.skip = self.path(adjacency[self.inputs.feature_label][:, linear_label].T)
        self.bias = nn.Parameter(torch.zeros(bank.n_params))

    @property
    def stack_key(self):
        """What networks have in common that can be a :class:`~sklearn_dgm.nn.stack.MADEStack`; None if it cannot."""
        if self.layer is not MaskedLinear or self.inputs.embeddings or self.n_context:
            return None
        shape = self._hidden_sizes, self._activation, self.inputs.n_features, self.sparsity
        return *shape, self.bank.stack_key

    @staticmethod
    def stacked(members):
        """Return networks that have a :attr:`stack_key` in common as one."""
        return MADEStack(members)

    def _rows_of_categories(self):
        """Flag the rows of the linear path that lead to categories."""
        is_category = np.array([variable.has_indicators for variable in self.variables])
        rows = np.flatnonzero(is_category[self.bank.param_label[self.bank.linear_rows]])
        return slice(None) if len(rows) == len(self.bank.linear_rows) else rows  # all, uncopied

    @property
    def n_inputs(self):
        """Number of inputs of the first hidden layer."""
        return self.inputs.n_inputs + len(self.residuals.label) + self.n_context

    @property
    def width(self):
        """Memory of a row in numbers, at most: inputs, hidden units, parameters or logits made of these."""
        return max(self.n_inputs, self.bank.width, *map(len, self.hidden_labels))

    @property
    def n_params(self):
        """Number of its free parameters; connections that are masked do not count."""
        masked = {layer.weight: layer.mask for layer in (*self.hidden, self.out, self.skip)}
        sizes = (masked[p].sum() if p in masked else p.numel() for p in self.parameters())
        return int(sum(sizes))

    def hidden_inputs(self, features, squashed):
        """Return the inputs of the first hidden layer: those of the table, and residuals.

        Parameters
        ----------
        features : Tensor of shape (n, n_features)
            Numbers in standard units, categories one-hot.
        squashed : Tensor of shape (n, n_features)
            The same, as the linear path sees them.

        Returns
        -------
        inputs : Tensor of shape (n, n_inputs)
            Inputs, all of them bounded.
        """
        return torch.cat([self.inputs.inputs(features), self.residuals(squashed)], dim=1)

    def see(self, z):
        """Return what the network sees of encoded rows: inputs of the hidden units, and those of the linear path."""
        features = self.inputs.features(z)
        squashed = squash(features)
        inputs = self.hidden_inputs(features, squashed)
        return inputs if self.axes is None else self.axes(inputs), squashed

    def see_along(self, axes):
        """Train with hidden units that see the pieces of numbers along their principal axes, until :meth:`settle`.

        Parameters
        ----------
        axes : PrincipalAxes
            Those of the columns.
        """
        self.axes = axes

    def settle(self):
        """Let the hidden units see pieces again, by weights that say the same of them; return the network."""
        if self.axes is not None:
            self.axes.fold(self.hidden[0])
            self.axes = None
        return self

    def _settled(self):
        """Return the network, or in its training a copy, whose units see what is entered column by column."""
        return self if self.axes is None else copy.deepcopy(self).settle()

    def params(self, z, context=None):
        """Return the parameters of all conditionals, of shape (n, n_params), given a context of (n, n_context)."""
        inputs, squashed = self.see(z)
        if context is not None:
            inputs = torch.cat([inputs, context], dim=1)
        h = dropout(inputs, self.input_dropout, self.training)
        for layer in self.hidden:
            h = self.activation(layer(h))
            h = dropout(h, self.dropout, self.training)
            if context is not None:
                h = torch.cat([h, context], dim=1)
        rows = torch.from_numpy(self.bank.linear_rows).to(z.device)
        return (self.out(h) + self.bias).index_add(1, rows, self.skip(squashed))

    def log_prob_features(self, z, context=None):
        """Return the log-density of each column given its parents.

        Parameters
        ----------
        z : Tensor of shape (n, d)
            Encoded rows.
        context : Tensor of shape (n, n_context), default=None
            The numbers beside them.

        Returns
        -------
        log_prob : Tensor of shape (n, d)
            In nats, 0 but for the targets; the sum of a row is its log-density.
        """
        # Values so far out would overflow on the way, into NaN; 0 stands in for them.
        possible = z.abs() < FARTHEST
        z = torch.where(possible, z, 0)
        return torch.where(possible, self.bank.log_prob(self.params(z, context), z), -torch.inf)

    def normal_scores(self, z):
        """Return normal scores: standard normal quantiles of each conditional cdf; of mixture heads only.

        Parameters
        ----------
        z : Tensor of shape (n, d)
            Encoded rows.

        Returns
        -------
        normal : Tensor of shape (n, d)
            Of rows that come from the density, independent standard normals.
        """
        return self.bank.normal_score(self.params(z), z)

    def log_prob(self, z):
        """Return the log-density of each row, of shape (n,); of the observed cells, where some are NaN."""
        if not self.training and z.isnan().any():
            return log_marginal(self, z, MADE_PARTICLES, MADE_PARTICLES)
        return self.log_prob_features(z).sum(dim=1)

    def loss(self, z):
        """Return the negative log-likelihood of each row, of shape (n,); in training plus the linear path's penalty."""
        return -self.log_prob(z) + self.penalty()

    def penalty(self):
        """Return the penalty of the linear path that training adds to the loss, in nats a row."""
        if self.training and self.sparsity:
            return self.sparsity * self.skip.size(self.sparse_rows)
        return 0.0

    @torch.no_grad()
    def complete(self, z, numbers, of_observed=False):
        """Draw several completions of each row; see :class:`~sklearn_dgm.nn.ancestral.AncestralDensity`.

        Where all rows lack the same cells, what completions share is computed once.
        """
        missing = z.isnan()
        varying = missing[0].cpu().numpy()
        is_alike = not varying.all() and bool((missing == missing[0]).all())
        if not is_alike or not np.isin(np.flatnonzero(varying), self.targets).all():
            return super().complete(z, numbers, of_observed)
        branches = Branches(self._settled(), z, varying, numbers.shape[-2])
        branches.draw(numbers)
        return branches.z, branches.shares

    @torch.no_grad()
    def log_prob_at(self, z, j, x):
        """Return log-densities of other values in a column; see :class:`~sklearn_dgm.nn.density.FactorisedDensity`."""
        varying = np.arange(z.shape[1]) == j
        missing = z.isnan()
        branches = Branches(self._settled(), z.nan_to_num(0.0), varying, x.shape[1])
        branches.enter(x[..., None])
        missing[:, j] = False
        return branches.shares.masked_fill(missing[:, None], 0).sum(dim=2)

    def visit(self, z, context=None):
        """Go through the columns in topological order; see :class:`~sklearn_dgm.nn.ancestral.AncestralDensity`.

        Every hidden unit is computed once, as soon as all it sees is known. Columns that are no targets have no
        conditional.
        """
        if self.axes is not None:
            yield from self._settled().visit(z)
            return
        n, like, bank = len(z), self.skip.weight, self.bank
        features = like.new_zeros(n, self.inputs.n_features)
        inputs = like.new_zeros(n, self.n_inputs)
        hidden = [like.new_zeros(n, len(labels) + self.n_context) for labels in self.hidden_labels]
        if context is not None:
            for seen in (inputs, *hidden):
                seen[:, -self.n_context :] = context
        steps = steps_until_seen(self.adjacency)
        ready = [
            np.searchsorted(steps[labels], np.arange(len(steps) + 1), "right")
            for labels in self.hidden_labels
        ]
        for t, j in enumerate(topological_order(self.adjacency)):
            source = inputs
            for layer, h, end in zip(self.hidden, hidden, ready, strict=True):
                units = slice(end[t - 1] if t else 0, end[t])
                if units.stop > units.start:
                    h[:, units] = self.activation(layer(source, units))
                source = h
            is_target = j in bank.targets
            yield (
                j,
                bank.conditional(j, self._params_of(j, source, features)) if is_target else None,
            )
            self._write(j, z[:, j], features, inputs)

    def _params_of(self, j, h, features):
        """Return the parameters of one column, of shape (n, n_params)."""
        _, _, rows = self.bank.place(j)
        first, last = np.searchsorted(self.bank.linear_rows, [rows.start, rows.stop])
        params = self.out(h, rows) + self.bias[rows]
        params[:, : last - first] += self.skip(features, slice(first, last))
        return params

    def _write(self, j, z, features, inputs):
        """Enter a column that is known now, for the linear path and for the hidden units."""
        features[:, self.inputs.features_at[j]] = squash(self.inputs.write(j, z, inputs))
        if j in self.residuals.place:
            k = self.residuals.place[j]
            inputs[:, self.inputs.n_inputs + k] = self.residuals(features, slice(k, k + 1))[:, 0]
