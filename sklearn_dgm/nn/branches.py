"""Rows that branch off others by new values in a few columns; what they share with these is computed once."""

import numpy as np
import torch
from torch.nn import functional as F

from sklearn_dgm.nn.ancestral import FARTHEST
from sklearn_dgm.nn.layers import squash
from sklearn_dgm.nn.masks import steps_until_seen, topological_order


class Branches:
    """Branches of some rows, equally many of each, that differ from it in a few columns.

    Of a network, only what depends on these columns is computed for every branch: the parameters of their descendants
    in the graph, by the hidden units that see one of them.

    Parameters
    ----------
    module : MADE
        The network.
    z : Tensor of shape (n, d)
        Encoded rows without missing cells. What they hold in the columns that vary plays no part.
    varying : ndarray of bool of shape (d,)
        In which columns branches differ.
    n_branches : int
        Number of branches of each row.
    """

    def __init__(self, module, z, varying, n_branches):
        self.module, self.varying = module, varying
        # Columns whose conditionals vary, too.
        self.depends = module.adjacency[varying].any(axis=0)
        self.order = [j for j in topological_order(module.adjacency) if varying[j]]
        is_possible = z.abs() < FARTHEST
        z = torch.where(is_possible, z, 0).masked_fill(torch.from_numpy(varying).to(z.device), 0)
        # Rows of shape (n, n_branches, d), and each column's share of their log-density, as far as it is known.
        self.z = z[:, None].repeat(1, n_branches, 1)
        self.shares = torch.zeros_like(self.z)
        self._is_possible = is_possible
        self._compute_shared(z)
        is_shared = ~(self.depends | varying)
        params = self._params_part[:, np.flatnonzero(is_shared[module.bank.param_label])]
        for columns, shares in self._ask_heads(is_shared, params, z):
            self.shares[..., columns] = shares[:, None]

    def _compute_shared(self, z):
        """Compute what is the same in all branches of a row: its part of the inputs, units and parameters that vary."""
        module, n = self.module, self.z.shape[0] * self.z.shape[1]
        inputs, residuals = module.inputs, module.residuals
        features = inputs.features(z)
        self._features = np.flatnonzero(self.varying[inputs.feature_label])
        features[:, self._features] = 0
        squashed = squash(features)
        self._residuals = np.flatnonzero((self.varying | self.depends)[residuals.label])
        self._residual_weight = residuals.slopes[self._residuals]
        intercepts = residuals.intercepts[self._residuals]
        self._residual_part = F.linear(squashed, self._residual_weight, intercepts)
        self._residual_weight = self._residual_weight[:, self._features]
        self._pieces = np.flatnonzero(self.varying[inputs.piece_label])
        source = np.concatenate(
            [
                self._features,
                inputs.n_features + self._pieces,
                inputs.n_inputs + self._residuals,
            ]
        )
        h = module.hidden_inputs(features, squashed)
        h[:, source] = 0
        steps = steps_until_seen(module.adjacency)
        self._layers, self._n_done, sizes = [], [], [len(source)]
        for layer, labels in zip(module.hidden, module.hidden_labels, strict=True):
            units = np.flatnonzero(self.depends[labels])
            weight = layer.masked_weight(units)[:, source]
            self._layers.append((layer(h, units), weight, steps[labels[units]]))
            sizes.append(len(units))
            self._n_done.append(0)
            h = module.activation(layer(h))
            h[:, units] = 0
            source = units
        self._source = source
        self._params_part = module.out(h) + module.bias
        self._params_part[:, module.bank.linear_rows] += module.skip(squashed)
        # Parameters are made of what the last layer gives, with the features of the linear path beside it.
        sizes[-1] += len(self._features)
        self._hidden = [z.new_zeros(n, size) for size in sizes]
        self._squashed = self._hidden[-1][:, len(source) :]

    def draw(self, numbers):
        """Draw the columns that vary, each given all before it, and ask how well the others fit.

        Parameters
        ----------
        numbers : Tensor of shape (n_branches, d) or (n, n_branches, d)
            Float64 numbers between 0 and 1 that the cells are made of, for all rows or for each.
        """
        numbers = numbers.expand(self.z.shape).flatten(0, 1)
        steps = topological_order(self.module.adjacency)
        for j in self.order:
            self._advance(steps.index(j))
            head, place, rows = self.module.bank.place(j)
            rows = np.arange(rows.start, rows.stop)
            params = self._params(rows) if self.depends[j] else self._shared_params(rows)
            self._write(j, head.sample(params, place, numbers[:, j]))
        self._score(self.depends & ~self.varying)

    def enter(self, values):
        """Give the columns that vary values, and ask how well these and the others fit.

        Parameters
        ----------
        values : Tensor of shape (n, n_branches, n_varying)
            Encoded values.
        """
        is_possible = values.abs() < FARTHEST
        values = torch.where(is_possible, values, 0)
        columns = np.flatnonzero(self.varying)
        for j in self.order:
            self._write(j, values[..., np.searchsorted(columns, j)].flatten())
        self._score(self.depends | self.varying)
        self.shares[..., columns] += torch.where(is_possible, 0, -torch.inf)

    def _write(self, j, x):
        """Enter the values of a column that varies, and all inputs that they make."""
        module, residuals = self.module, self.module.residuals
        self.z[..., j] = x.reshape(self.z.shape[:2])
        features, along = module.inputs.features_of(j, x)
        own = np.flatnonzero(module.inputs.feature_label[self._features] == j)
        self._squashed[:, own] = squash(features)
        inputs, n_features, n_pieces = self._hidden[0], len(self._features), len(self._pieces)
        inputs[:, own] = torch.asinh(features)
        if along is not None:
            pieces = np.flatnonzero(module.inputs.piece_label[self._pieces] == j)
            inputs[:, n_features + pieces] = along
        # Residuals of the column, and of those that have now all of their parents.
        known = self.order[: self.order.index(j) + 1]
        later = np.setdiff1d(self.order, known)
        label = residuals.label[self._residuals]
        is_new = (label == j) | module.adjacency[j, label]
        is_new &= ~np.isin(label, later) & ~module.adjacency[later][:, label].any(axis=0)
        new = np.flatnonzero(is_new)
        left = self._of_branches(self._squashed, self._residual_weight[new])
        left = residuals.bounded(left + self._residual_part[:, None, new])
        inputs[:, n_features + n_pieces + new] = left.flatten(0, 1)

    def _of_branches(self, x, weight):
        return F.linear(x, weight).reshape(*self.z.shape[:2], -1)

    def _advance(self, n_known):
        """Compute the hidden units that see so many columns, in topological order, or fewer."""
        for i, (shared, weight, steps) in enumerate(self._layers):
            units = slice(self._n_done[i], np.searchsorted(steps, n_known, "right"))
            if units.stop > units.start:
                source = self._hidden[i][:, : weight.shape[1]]
                total = self._of_branches(source, weight[units]).add_(shared[:, None, units])
                self._hidden[i + 1][:, units] = self.module.activation(total).flatten(0, 1)
                self._n_done[i] = units.stop

    def _shared_params(self, rows):
        """Return the parameters that are the same for all branches of a row, of shape (n * n_branches, n_rows)."""
        return self._params_part[:, rows].repeat_interleave(self.z.shape[1], dim=0)

    def _params(self, rows):
        """Return the parameters in each branch, of shape (n * n_branches, n_rows)."""
        module, linear_rows = self.module, self.module.bank.linear_rows
        of_units = module.out.masked_weight(rows)[:, self._source]
        of_features = of_units.new_zeros(len(rows), len(self._features))
        is_linear = np.isin(rows, linear_rows)
        linear = np.searchsorted(linear_rows, rows[is_linear])
        of_features[is_linear] = module.skip.masked_weight(linear)[:, self._features]
        params = self._of_branches(self._hidden[-1], torch.cat([of_units, of_features], dim=1))
        return params.add_(self._params_part[:, None, rows]).flatten(0, 1)

    def _score(self, columns):
        """Enter the shares of columns, given as a mask."""
        self._advance(len(columns))
        for params_of, which in (
            (self._params, self.depends),
            (self._shared_params, ~self.depends),
        ):
            is_asked = (columns & which)[self.module.bank.param_label]
            if is_asked.any():
                params = params_of(np.flatnonzero(is_asked))
                for asked, shares in self._ask_heads(columns & which, params, self.z.flatten(0, 1)):
                    self.shares[..., asked] = shares.reshape(*self.z.shape[:2], -1)
        is_possible = torch.from_numpy(self.varying).to(self.z.device) | self._is_possible
        self.shares.masked_fill_(~is_possible[:, None], -torch.inf)

    def _ask_heads(self, columns, params, z):
        """Return the shares of columns in rows, head by head, where their parameters stand side by side."""
        start = 0
        bank = self.module.bank
        for head, of_head in zip(bank.heads, map(np.array, bank.head_columns), strict=True):
            places = np.flatnonzero(columns[of_head])
            if len(places):
                stop = start + len(places) * head.n_params
                shaped = params[:, start:stop].reshape(len(z), len(places), head.n_params)
                yield (
                    of_head[places],
                    head.log_prob(shaped, z[:, of_head[places]], places.tolist()),
                )
                start = stop
