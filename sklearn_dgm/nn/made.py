"""The masked network that computes all conditionals of a Bayesian network over columns in one forward pass."""

from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from sklearn_dgm.nn.heads import CategoricalHead, MixtureHead
from sklearn_dgm.nn.masks import (
    connections,
    hidden_labels,
    steps_until_seen,
    topological_order,
)

# How much the piecewise-linear inputs weigh beside the others; less makes smoother conditionals.
PIECE_WEIGHT = 0.2
# Encoded values beyond have no probability that a float64 number can hold.
FARTHEST = 1e100

ACTIVATIONS = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "silu": F.silu,
    "gelu": F.gelu,
}


class Variable(NamedTuple):
    """What the network must know of a column.

    Attributes
    ----------
    n_levels : int or None
        Number of codes of a softmax head; None for a mixture head.
    whole : bool
        Whether the values are whole numbers, ordered and unbounded (not codes of categories).
    location, scale : float
        Units in which the network sees numbers.
    knots : tuple of float
        Increasing values, in these units, between which the network also sees how far a number has come.
    """

    n_levels: int | None
    whole: bool
    location: float = 0.0
    scale: float = 1.0
    knots: tuple = ()

    @property
    def is_categorical(self):
        """Whether the codes have no order, so that the network sees them one-hot."""
        return self.n_levels is not None and not self.whole

    @property
    def n_features(self):
        """Number of inputs of the network."""
        return self.n_levels if self.is_categorical else 1


class MaskedLinear(nn.Linear):
    """A linear layer with some connections removed for good.

    Parameters
    ----------
    mask : ndarray of shape (n_out, n_in)
        True where there is a connection.
    bias : bool
        Whether the layer has a bias.
    """

    def __init__(self, mask, bias=True):
        super().__init__(mask.shape[1], mask.shape[0], bias)
        self.register_buffer("mask", torch.from_numpy(np.ascontiguousarray(mask)))
        # A unit with few connections would start too small under the default, which counts all.
        with torch.no_grad():
            self.weight.mul_((mask.shape[1] / self.mask.sum(1, keepdim=True).clamp_min(1)).sqrt())

    def reset_parameters(self):
        """Initialise the weights, if there are any (torch warns of an empty layer)."""
        if self.weight.numel():
            super().reset_parameters()

    def forward(self, x, rows=slice(None)):
        """Apply the layer, or some rows of it."""
        bias = None if self.bias is None else self.bias[rows]
        return F.linear(x, self.weight[rows] * self.mask[rows], bias)


def _tamed(features):
    """Inputs of the linear path, as they are up to 100 units and their logarithm beyond."""
    size = features.abs().clamp_min(100)
    return torch.where(size > 100, features.sign() * 100 * (1 + torch.log(size / 100)), features)


class MADE(nn.Module):
    """Masked network for the conditionals of a directed acyclic graph (MADE: Germain et al., 2015).

    Each conditional's location, or logits, also have a linear path from the parents. The hidden units see numbers in a
    piecewise-linear encoding besides (Gorishniy, Rubachev and Babenko, "On Embeddings for Numerical Features in Tabular
    Deep Learning", 2022, https://arxiv.org/abs/2203.05556), without which a network is too smooth for clumped values.

    Parameters
    ----------
    variables : list of Variable
        The columns.
    adjacency : ndarray of shape (d, d)
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
    """

    def __init__(
        self, variables, adjacency, hidden_sizes, activation, n_components, base, dropout=0.0
    ):
        super().__init__()
        self.variables = variables
        self.adjacency = adjacency
        self.activation = ACTIVATIONS[activation]
        self.dropout = dropout
        self._lay_out_features()
        self._lay_out_pieces()
        self._build_heads(n_components, base)
        self.hidden_labels = [hidden_labels(adjacency, size) for size in hidden_sizes]
        self.hidden = nn.ModuleList()
        # Inputs are what the labels' parents are made of; hidden units have seen the parents already.
        mask = adjacency[np.concatenate([self.feature_label, self.piece_label])]
        for labels in self.hidden_labels:
            self.hidden.append(MaskedLinear(mask[:, labels].T))
            mask = connections(adjacency, labels)
        self.out = MaskedLinear(mask[:, self.param_label].T, bias=False)
        linear_label = self.param_label[self.linear_rows]
        self.skip = MaskedLinear(adjacency[self.feature_label][:, linear_label].T, bias=False)
        self.bias = nn.Parameter(torch.zeros(len(self.param_label)))

    def _lay_out_features(self):
        """Numbers come first, then the one-hot blocks of the categorical columns."""
        numeric = [j for j, v in enumerate(self.variables) if not v.is_categorical]
        self.numeric = numeric
        self.feature_label = np.array(numeric, dtype=int)
        self.first_feature = {j: i for i, j in enumerate(numeric)}
        for j, variable in enumerate(self.variables):
            if variable.is_categorical:
                self.first_feature[j] = len(self.feature_label)
                self.feature_label = np.append(self.feature_label, [j] * variable.n_levels)
        self.register_buffer(
            "location", torch.tensor([self.variables[j].location for j in numeric])
        )
        self.register_buffer("scale", torch.tensor([self.variables[j].scale for j in numeric]))

    def _lay_out_pieces(self):
        """The pieces between the knots of the numeric columns, column by column."""
        label, position, low, width, self.pieces = [], [], [], [], {}
        for i, j in enumerate(self.numeric):
            knots = np.asarray(self.variables[j].knots)
            n_pieces = max(len(knots) - 1, 0)
            self.pieces[j] = slice(len(label), len(label) + n_pieces)
            label += [j] * n_pieces
            position += [i] * n_pieces
            low += knots[:-1].tolist()
            width += np.diff(knots).tolist()
        self.piece_label = np.array(label, dtype=int)
        self.register_buffer("piece_position", torch.tensor(position, dtype=torch.long))
        self.register_buffer("piece_low", torch.tensor(low, dtype=torch.float32))
        self.register_buffer("piece_width", torch.tensor(width, dtype=torch.float32))

    def _build_heads(self, n_components, base):
        """One head for all columns of one kind and number of levels; their parameters stand side by side."""
        groups = {}
        for j, variable in enumerate(self.variables):
            groups.setdefault((variable.n_levels, variable.whole), []).append(j)
        self.heads, self.head_columns, self.head_rows = nn.ModuleList(), [], []
        param_label, linear_rows, start = [], [], 0
        for (n_levels, whole), columns in groups.items():
            if n_levels is None:
                location = torch.tensor([self.variables[j].location for j in columns])
                scale = torch.tensor([self.variables[j].scale for j in columns])
                head = MixtureHead(location, scale, n_components, base, discrete=whole)
            else:
                head = CategoricalHead(n_levels, tails=whole)
            stop = start + len(columns) * head.n_params
            self.heads.append(head)
            self.head_columns.append(columns)
            self.head_rows.append(slice(start, stop))
            param_label += np.repeat(columns, head.n_params).tolist()
            within = np.tile(np.arange(head.n_params), len(columns))
            linear_rows += (start + np.flatnonzero(within < head.n_linear)).tolist()
            start = stop
        self.param_label = np.array(param_label)
        self.linear_rows = np.array(linear_rows, dtype=int)

    @property
    def width(self):
        """How many numbers a row takes up at most: inputs, hidden units or parameters."""
        n_inputs = len(self.feature_label) + len(self.piece_label)
        return max(n_inputs, len(self.param_label), *map(len, self.hidden_labels))

    def features(self, z):
        """Inputs of the network: numbers in standard units, categories one-hot (all zero for an unknown one).

        Parameters
        ----------
        z : Tensor of shape (n, d)
            Encoded rows.

        Returns
        -------
        features : Tensor of shape (n, n_features)
            Inputs.
        """
        features = z.new_zeros(len(z), len(self.feature_label))
        features[:, : len(self.numeric)] = (z[:, self.numeric] - self.location) / self.scale
        for j, variable in enumerate(self.variables):
            if variable.is_categorical:
                start, levels = self.first_feature[j], variable.n_levels
                codes = torch.arange(levels, device=z.device, dtype=z.dtype)
                features[:, start : start + levels] = (z[:, j, None] == codes).to(z.dtype)
        return features

    def inputs(self, features):
        """What the first hidden layer sees: bounded numbers, categories, and pieces.

        Parameters
        ----------
        features : Tensor of shape (n, n_features)
            Numbers in standard units, categories one-hot.

        Returns
        -------
        inputs : Tensor of shape (n, n_features + n_pieces)
            Inputs.
        """
        # Without asinh, far-out rows would drive the conditionals without bound.
        bounded = torch.asinh(features)
        return torch.cat([bounded, self._along_pieces(features[:, self.piece_position])], dim=1)

    def _along_pieces(self, x, which=slice(None)):
        """How far numbers have come along pieces, from 0 to 1 but for their weight."""
        along = (x - self.piece_low[which]) / self.piece_width[which]
        return PIECE_WEIGHT * along.clamp(0, 1)

    def params(self, z):
        """Parameters of all conditionals, of shape (n, n_params)."""
        features = self.features(z)
        h = self.inputs(features)
        for layer in self.hidden:
            h = self.activation(layer(h))
            h = F.dropout(h, self.dropout, self.training)
        rows = torch.from_numpy(self.linear_rows).to(z.device)
        return (self.out(h) + self.bias).index_add(1, rows, self.skip(_tamed(features)))

    def log_prob_features(self, z):
        """Log-density of each column given its parents.

        Parameters
        ----------
        z : Tensor of shape (n, d)
            Encoded rows.

        Returns
        -------
        log_prob : Tensor of shape (n, d)
            In nats; the sum of a row is its log-density.
        """
        # Values so far out would overflow on the way, into NaN; 0 stands in for them.
        possible = z.abs() < FARTHEST
        z = torch.where(possible, z, 0)
        params = self.params(z)
        log_prob = torch.empty_like(z)
        for head, columns, rows in zip(self.heads, self.head_columns, self.head_rows, strict=True):
            shaped = params[:, rows].reshape(len(z), len(columns), head.n_params)
            log_prob[:, columns] = head.log_prob(shaped, z[:, columns])
        return torch.where(possible, log_prob, -torch.inf)

    def log_prob(self, z):
        """Log-density of each row, of shape (n,)."""
        return self.log_prob_features(z).sum(dim=1)

    def loss(self, z):
        """Negative log-likelihood of each row, of shape (n,)."""
        return -self.log_prob(z)

    def forward(self, z):
        """The loss of each row, which is what training needs."""
        return self.loss(z)

    @torch.no_grad()
    def sample(self, n_samples, generator):
        """Draw rows, column by column; every hidden unit is computed once, as soon as all it sees is known.

        Parameters
        ----------
        n_samples : int
            Number of rows.
        generator : torch.Generator
            Source of randomness, on the module's device.

        Returns
        -------
        z : Tensor of shape (n_samples, d)
            Encoded rows.
        """
        like = self.skip.weight
        z = like.new_zeros(n_samples, len(self.variables))
        features = like.new_zeros(n_samples, len(self.feature_label))
        inputs = like.new_zeros(n_samples, len(self.feature_label) + len(self.piece_label))
        hidden = [like.new_zeros(n_samples, len(labels)) for labels in self.hidden_labels]
        steps = steps_until_seen(self.adjacency)
        ready = [
            np.searchsorted(steps[labels], np.arange(len(steps) + 1), "right")
            for labels in self.hidden_labels
        ]
        place = {
            j: (head, rows.start + i * head.n_params, i)
            for head, columns, rows in zip(
                self.heads, self.head_columns, self.head_rows, strict=True
            )
            for i, j in enumerate(columns)
        }
        for t, j in enumerate(topological_order(self.adjacency)):
            source = inputs
            for layer, h, end in zip(self.hidden, hidden, ready, strict=True):
                units = slice(end[t - 1] if t else 0, end[t])
                if units.stop > units.start:
                    h[:, units] = self.activation(layer(source, units))
                source = h
            head, start, i = place[j]
            rows = slice(start, start + head.n_params)
            z[:, j] = head.draw(self._params_of(rows, source, features), i, generator)
            self._write_features(j, z[:, j], features, inputs)
        return z

    def _params_of(self, rows, h, features):
        """Parameters of one column, of shape (n, head.n_params)."""
        first = np.searchsorted(self.linear_rows, rows.start)
        last = np.searchsorted(self.linear_rows, rows.stop)
        params = self.out(h, rows) + self.bias[rows]
        params[:, : last - first] += self.skip(features, slice(first, last))
        return params

    def _write_features(self, j, z, features, inputs):
        """Enter a column that has been drawn, for the linear path and for the hidden units."""
        start, variable = self.first_feature[j], self.variables[j]
        if variable.is_categorical:
            features[torch.arange(len(z)), start + z.long()] = 1
        else:
            x = ((z - self.location[start]) / self.scale[start])[:, None]
            features[:, start] = x[:, 0]
            first = len(self.feature_label) + self.pieces[j].start
            block = slice(first, first + self.pieces[j].stop - self.pieces[j].start)
            inputs[:, block] = self._along_pieces(x, self.pieces[j])
        block = slice(start, start + variable.n_features)
        inputs[:, block] = torch.asinh(features[:, block])
        features[:, block] = _tamed(features[:, block])
