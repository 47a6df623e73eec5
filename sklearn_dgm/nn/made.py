"""The masked network that computes all conditionals of a Bayesian network over columns in one forward pass."""

from itertools import zip_longest
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from sklearn_dgm.nn.ancestral import FARTHEST, AncestralSampling
from sklearn_dgm.nn.branches import Branches
from sklearn_dgm.nn.completion import MADE_PARTICLES, log_marginal
from sklearn_dgm.nn.heads import EMBEDDING_SIZE, CategoricalHead, EmbeddedHead, MixtureHead
from sklearn_dgm.nn.layers import LinearPath, MaskedLinear, tame
from sklearn_dgm.nn.masks import connections, hidden_labels, steps_until_seen, topological_order
from sklearn_dgm.nn.randomness import dropout

# How much the piecewise-linear inputs weigh beside the others (less makes smoother conditionals), and the residuals.
PIECE_WEIGHT, RESIDUAL_WEIGHT = 0.2, 3.0
# With more features than these, components have no linear path, whose weights would be the square of their number.
MAX_LINEAR_FEATURES = 128
# With more categories than these, a column has embeddings and not one-hot inputs.
MAX_ONE_HOT = 256
# With at most so many levels, whole numbers have one-hot inputs, as categories have.
MAX_FEW_LEVELS = 5

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
    atoms : tuple of float
        Encoded values that have a probability of their own, beside the density of all others.
    unknown_share : float
        Probability of a category that is none of the codes.
    grid : tuple of float
        Step and offset of a coarse grid on which most whole numbers lie, and the share of the others that do; empty
        without one.
    farthest : float
        Largest absolute value in these units, but for atoms.
    support : tuple of float
        A lower bound, the ends of a range within the bounds, an upper bound, and how much of the probability lies beyond
        that range at most; empty where a number can be any. Beyond the bounds nothing is possible.
    """

    n_levels: int | None
    whole: bool
    location: float = 0.0
    scale: float = 1.0
    knots: tuple = ()
    atoms: tuple = ()
    unknown_share: float = 0.0
    grid: tuple = ()
    farthest: float = 0.0
    support: tuple = ()

    @property
    def is_categorical(self):
        """Whether the codes have no order."""
        return self.n_levels is not None and not self.whole

    @property
    def has_indicators(self):
        """Whether the network sees which of the codes it is, and not a number."""
        return self.is_categorical or (self.whole and 1 < (self.n_levels or 0) <= MAX_FEW_LEVELS)

    @property
    def is_embedded(self):
        """Whether there are too many categories for one-hot inputs, and for a logit each."""
        return self.is_categorical and self.n_levels > MAX_ONE_HOT

    @property
    def n_features(self):
        """Number of inputs of the network: a number or a sign, else one for each category, or an embedding."""
        if not self.has_indicators or self.n_levels == 2:
            return 1
        return EMBEDDING_SIZE if self.is_embedded else self.n_levels


def _ends(support):
    """What columns of one head have in common: at which ends there are bounds, and whether there is more than these."""
    if not support:
        return None
    lower, low, high, upper, _ = support
    return np.isinf(lower), np.isinf(upper), (lower, upper) == (low, high)


class Conditional(NamedTuple):
    """Conditional distributions of one column, one for each row.

    Attributes
    ----------
    head : nn.Module
        Their family.
    place : int
        Place of the column in the head.
    params : Tensor of shape (n, n_params)
        Their parameters.
    """

    head: nn.Module
    place: int
    params: torch.Tensor

    def log_prob(self, x):
        """Log-density of a value of each row, of shape (n,)."""
        column = slice(self.place, self.place + 1)
        return self.head.log_prob(self.params[:, None], x[:, None], column)[:, 0]

    def draw(self, uniforms):
        """Values made of numbers between 0 and 1, of shape (n,)."""
        return self.head.draw(self.params, self.place, uniforms)

    def below(self, x):
        """Probabilities below several values of each row, of shape (n, m)."""
        return self.head.below(self.params, self.place, x)

    def from_normal_score(self, normal):
        """Values of normal scores, of shape (n,)."""
        return self.head.from_normal_score(self.params, self.place, normal)


class MADE(AncestralSampling, nn.Module):
    """Masked network for the conditionals of a directed acyclic graph (MADE: Germain et al., 2015).

    The conditionals' parameters also have a linear path from the parents. The hidden units see numbers in two more ways: in
    a piecewise-linear encoding (Gorishniy, Rubachev and Babenko, "On Embeddings for Numerical Features in Tabular Deep
    Learning", 2022, https://arxiv.org/abs/2203.05556), without which a network is too smooth for clumped values; and,
    where their head is a mixture, as residuals, which are what the regression on their own parents leaves of them, in units
    of its spread. Of columns that all but determine each other, the differences that matter are small in any other scale.

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
    input_dropout : float
        Share of the hidden units' inputs dropped in training.
    sparsity : float
        Weight of the L1 penalty on what training changes in the linear path to categories.
    targets : list of int, default=None
        The columns whose conditionals it computes; None for all.
    """

    layer, path = MaskedLinear, LinearPath
    takes_any_order = False

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
    ):
        super().__init__()
        self.variables = variables
        self.targets = list(range(len(variables)) if targets is None else targets)
        self.adjacency = adjacency
        self.activation = ACTIVATIONS[activation]
        self.dropout = dropout
        self.input_dropout = input_dropout
        self.sparsity = sparsity
        self._lay_out_features()
        self._lay_out_pieces()
        self._build_heads(n_components, base)
        self._lay_out_residuals()
        self.hidden_labels = [hidden_labels(adjacency, size, self.targets) for size in hidden_sizes]
        self.hidden = nn.ModuleList()
        # Inputs are what the labels' parents are made of; hidden units, and residuals, have seen the parents already.
        label = self.residual_label
        of_residuals = adjacency[label] & connections(adjacency, label)
        mask = adjacency[np.concatenate([self.feature_label, self.piece_label])]
        mask = np.concatenate([mask, of_residuals])
        for labels in self.hidden_labels:
            self.hidden.append(self.layer(mask[:, labels].T))
            mask = connections(adjacency, labels)
        # Columns start alike wherever their heads stand, which is a matter of their bounds, for one.
        by_column = np.argsort(self.param_label, kind="stable")
        self.out = self.layer(mask[:, self.param_label[by_column]].T, bias=False)
        self.out.reorder(np.argsort(by_column))
        linear_label = self.param_label[self.linear_rows]
        self.skip = self.path(adjacency[self.feature_label][:, linear_label].T)
        self.bias = nn.Parameter(torch.zeros(len(self.param_label)))

    def _lay_out_features(self):
        """Numbers come first, then the binary columns, the one-hot and the embedded ones."""
        numeric = [j for j, v in enumerate(self.variables) if not v.has_indicators]
        self.numeric = numeric
        self.first_feature = {j: i for i, j in enumerate(numeric)}
        label = list(numeric)
        coded = [j for j, v in enumerate(self.variables) if v.has_indicators]
        key = {j: (self.variables[j].is_embedded, self.variables[j].n_features > 1) for j in coded}
        self.groups = [[j for j in coded if key[j] == of] for of in sorted(set(key.values()))]
        for columns in self.groups:
            for j in columns:
                self.first_feature[j] = len(label)
                label += [j] * self.variables[j].n_features
        self.feature_label = np.array(label, dtype=int)
        self.embeddings = nn.ModuleDict(
            {
                str(j): nn.Embedding(variable.n_levels, EMBEDDING_SIZE)
                for j, variable in enumerate(self.variables)
                if variable.is_embedded
            }
        )
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

    def _lay_out_residuals(self):
        """Residuals of the columns with mixture heads; until training starts, these are the numbers themselves."""
        columns = sorted(
            j
            for head, of_head in zip(self.heads, self.head_columns, strict=True)
            if isinstance(head, MixtureHead)
            for j in of_head
        )
        self.residual_label = np.array(columns, dtype=int)
        self.residual_of = {j: k for k, j in enumerate(columns)}
        weight = torch.zeros(len(columns), len(self.feature_label))
        weight[range(len(columns)), [self.first_feature[j] for j in columns]] = 1.0
        self.register_buffer("residual_weight", weight)
        self.register_buffer("residual_bias", torch.zeros(len(columns)))

    def _build_heads(self, n_components, base):
        """One head for all columns of one kind and about as many levels or atoms, with their parameters side by side."""
        groups = {}
        for j in self.targets:
            variable = self.variables[j]
            # From one power of two to the next; two levels are a case of their own, and so is no atom.
            size = None if variable.n_levels is None else (variable.n_levels - 1).bit_length()
            n_atoms = len(variable.atoms).bit_length()
            key = (size, variable.whole, n_atoms, bool(variable.grid), _ends(variable.support))
            groups.setdefault(key, []).append(j)
        self.heads, self.head_columns, self.head_rows = nn.ModuleList(), [], []
        param_label, linear_rows, start = [], [], 0
        for (size, whole, *_), columns in groups.items():
            of = [self.variables[j] for j in columns]
            support = np.array([v.support for v in of]) if of[0].support else None
            if size is None:
                location = torch.tensor([v.location for v in of])
                scale = torch.tensor([v.scale for v in of])
                atoms = np.array(list(zip_longest(*[v.atoms for v in of], fillvalue=np.nan)))
                atoms = atoms.reshape(-1, len(of)).T
                is_linear = len(self.feature_label) <= MAX_LINEAR_FEATURES
                grid = np.array([v.grid[:2] for v in of]) if of[0].grid else None
                head = MixtureHead(
                    location, scale, n_components, base, whole, atoms, is_linear, grid, support
                )
            else:
                unknown = torch.tensor([v.unknown_share for v in of])
                n_levels = [v.n_levels for v in of]
                if of[0].is_embedded:
                    head = EmbeddedHead(n_levels, unknown)
                else:
                    head = CategoricalHead(n_levels, whole, unknown, support)
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
        is_category = np.array([variable.has_indicators for variable in self.variables])
        self.sparse_rows = np.flatnonzero(is_category[self.param_label[self.linear_rows]])
        if len(self.sparse_rows) == len(self.linear_rows):
            self.sparse_rows = slice(None)  # which copies nothing

    @property
    def places(self):
        """For each column with a conditional its head, its place there, and the slice of its parameters."""
        places = {}
        for head, columns, rows in zip(self.heads, self.head_columns, self.head_rows, strict=True):
            for i, j in enumerate(columns):
                start = rows.start + i * head.n_params
                places[j] = head, i, slice(start, start + head.n_params)
        return places

    def members_given(self, missing):
        """Itself, whatever is missing; see :class:`~sklearn_dgm.nn.mixture.Mixture`."""
        return [self]

    def any_member(self):
        """Itself; see :class:`~sklearn_dgm.nn.any_order.OrderMixture`."""
        return self

    @property
    def n_inputs(self):
        """Number of inputs of the first hidden layer."""
        return len(self.feature_label) + len(self.piece_label) + len(self.residual_label)

    @property
    def width(self):
        """How many numbers a row takes up at most: inputs, hidden units, parameters or logits made of these."""
        n_levels = [
            len(columns) * head.max_levels
            for head, columns in zip(self.heads, self.head_columns, strict=True)
            if isinstance(head, EmbeddedHead)
        ]
        n_params = len(self.param_label)
        return max(self.n_inputs, n_params, *n_levels, *map(len, self.hidden_labels))

    @property
    def n_params(self):
        """Number of its free parameters; connections that are masked do not count."""
        masked = {layer.weight: layer.mask for layer in (*self.hidden, self.out, self.skip)}
        sizes = (masked[p].sum() if p in masked else p.numel() for p in self.parameters())
        return int(sum(sizes))

    def features(self, z):
        """Inputs of the network: numbers in standard units, categories one-hot (all zero for an unknown one).

        The two categories of a binary column are 1 and -1; very many have an embedding.

        Parameters
        ----------
        z : Tensor of shape (n, d)
            Encoded rows.

        Returns
        -------
        features : Tensor of shape (n, n_features)
            Inputs.
        """
        numbers = (z[:, self.numeric] - self.location) / self.scale
        groups = (self._of_categories(z[:, columns], columns) for columns in self.groups)
        return torch.cat([numbers, *groups], dim=1)

    def _of_categories(self, codes, columns):
        """Features of columns that are all binary, or one-hot, or embedded."""
        variable = self.variables[columns[0]]
        if variable.n_features == 1:
            return torch.where((codes == 0) | (codes == 1), 2 * codes - 1, 0)
        if variable.is_embedded:
            known = (codes >= 0).unsqueeze(-1)
            index = codes.long().clamp_min(0)
            vectors = [self.embeddings[str(j)](index[:, i]) for i, j in enumerate(columns)]
            return (torch.stack(vectors, dim=1) * known).flatten(1)
        n_levels = [self.variables[j].n_levels for j in columns]
        position = torch.from_numpy(np.repeat(np.arange(len(columns)), n_levels))
        level = torch.from_numpy(np.concatenate([np.arange(n) for n in n_levels]))
        return (codes[:, position] == level.to(codes)).to(codes.dtype)

    def features_of(self, j, z):
        """Features that a single column makes, as :meth:`features` has them, and how far it is along its pieces.

        Parameters
        ----------
        j : int
            The column.
        z : Tensor of shape (n,)
            Encoded values.

        Returns
        -------
        features : Tensor of shape (n, n_features)
            In standard units, or one-hot.
        along : Tensor of shape (n, n_pieces) or None
            None for categories.
        """
        if self.variables[j].has_indicators:
            return self._of_categories(z[:, None], [j]), None
        i = self.first_feature[j]
        x = ((z - self.location[i]) / self.scale[i])[:, None]
        return x, self._along_pieces(x, self.pieces[j])

    def inputs(self, features, tamed):
        """What the first hidden layer sees: bounded numbers, categories, pieces, and residuals.

        Parameters
        ----------
        features : Tensor of shape (n, n_features)
            Numbers in standard units, categories one-hot.
        tamed : Tensor of shape (n, n_features)
            The same, as the linear path sees them.

        Returns
        -------
        inputs : Tensor of shape (n, n_inputs)
            Inputs.
        """
        # Without asinh, far-out rows would drive the conditionals without bound.
        bounded = torch.asinh(features)
        along = self._along_pieces(features[:, self.piece_position])
        return torch.cat([bounded, along, self._residuals(tamed)], dim=1)

    def _residuals(self, tamed, which=slice(None)):
        """What regressions leave of numbers, bounded."""
        residuals = F.linear(tamed, self.residual_weight[which], self.residual_bias[which])
        return self.bounded_residuals(residuals)

    @staticmethod
    def bounded_residuals(residuals):
        """Residuals as the hidden units see them."""
        return RESIDUAL_WEIGHT * torch.asinh(residuals)

    def _along_pieces(self, x, which=slice(None)):
        """How far numbers have come along pieces, from 0 to 1 but for their weight."""
        along = (x - self.piece_low[which]) / self.piece_width[which]
        return PIECE_WEIGHT * along.clamp(0, 1)

    def params(self, z):
        """Parameters of all conditionals, of shape (n, n_params)."""
        features = self.features(z)
        tamed = tame(features)
        h = dropout(self.inputs(features, tamed), self.input_dropout, self.training)
        for layer in self.hidden:
            h = self.activation(layer(h))
            h = dropout(h, self.dropout, self.training)
        rows = torch.from_numpy(self.linear_rows).to(z.device)
        return (self.out(h) + self.bias).index_add(1, rows, self.skip(tamed))

    def log_prob_features(self, z):
        """Log-density of each column given its parents.

        Parameters
        ----------
        z : Tensor of shape (n, d)
            Encoded rows.

        Returns
        -------
        log_prob : Tensor of shape (n, d)
            In nats, 0 but for the targets; the sum of a row is its log-density.
        """
        # Values so far out would overflow on the way, into NaN; 0 stands in for them.
        possible = z.abs() < FARTHEST
        z = torch.where(possible, z, 0)
        return torch.where(possible, self._ask_heads("log_prob", z), -torch.inf)

    def normal_scores(self, z):
        """Standard normal quantiles of the probabilities below values, given the parents; of mixture heads only.

        Parameters
        ----------
        z : Tensor of shape (n, d)
            Encoded rows.

        Returns
        -------
        normal : Tensor of shape (n, d)
            Of rows that come from the density, independent standard normals.
        """
        return self._ask_heads("normal_score", z)

    def _ask_heads(self, what, z):
        """What the heads say of each cell, given its parents, of shape (n, d)."""
        sizes = [rows.stop - rows.start for rows in self.head_rows]
        answers = torch.zeros_like(z)
        for head, columns, params in zip(
            self.heads, self.head_columns, self.params(z).split(sizes, dim=1), strict=True
        ):
            shaped = params.reshape(len(z), len(columns), head.n_params)
            answers[:, columns] = getattr(head, what)(shaped, z[:, columns])
        return answers

    def log_prob(self, z):
        """Log-density of each row, of shape (n,); of the observed cells, where some are NaN."""
        if not self.training and z.isnan().any():
            return log_marginal(self, z, MADE_PARTICLES, MADE_PARTICLES)
        return self.log_prob_features(z).sum(dim=1)

    def loss(self, z):
        """Negative log-likelihood of each row, of shape (n,); in training with the penalty on the linear path."""
        return -self.log_prob(z) + self.penalty()

    def penalty(self):
        """What training adds to the loss for the linear path, in nats a row."""
        if self.training and self.sparsity:
            return self.sparsity * self.skip.size(self.sparse_rows)
        return 0.0

    def forward(self, z):
        """The loss of each row, which is what training needs."""
        return self.loss(z)

    @torch.no_grad()
    def complete(self, z, numbers):
        """Several completions of each row; see :class:`~sklearn_dgm.nn.ancestral.AncestralSampling`.

        Where all rows lack the same cells, what completions share is computed once.
        """
        missing = z.isnan()
        if missing[0].all() or not (missing == missing[0]).all():
            return super().complete(z, numbers)
        branches = Branches(self, z, missing[0].cpu().numpy(), numbers.shape[-2])
        branches.draw(numbers)
        return branches.z, branches.shares

    @torch.no_grad()
    def log_prob_at(self, z, j, x):
        """Log-density with other values in a column; see :class:`~sklearn_dgm.nn.ancestral.AncestralSampling`."""
        varying = np.arange(z.shape[1]) == j
        missing = z.isnan()
        branches = Branches(self, z.nan_to_num(0.0), varying, x.shape[1])
        branches.enter(x[..., None])
        missing[:, j] = False
        return branches.shares.masked_fill(missing[:, None], 0).sum(dim=2)

    def visit(self, z):
        """Go through the columns in topological order; see :class:`~sklearn_dgm.nn.ancestral.AncestralSampling`.

        Every hidden unit is computed once, as soon as all it sees is known. Columns that are no targets have no conditional.
        """
        n, like = len(z), self.skip.weight
        features = like.new_zeros(n, len(self.feature_label))
        inputs = like.new_zeros(n, self.n_inputs)
        hidden = [like.new_zeros(n, len(labels)) for labels in self.hidden_labels]
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
            conditional = None
            if j in self.places:
                head, i, rows = self.places[j]
                params = self._params_of(rows, source, features)
                conditional = Conditional(head, i, params)
            yield j, conditional
            self._write_features(j, features, inputs, z[:, j])

    def _params_of(self, rows, h, features):
        """Parameters of one column, of shape (n, head.n_params)."""
        first = np.searchsorted(self.linear_rows, rows.start)
        last = np.searchsorted(self.linear_rows, rows.stop)
        params = self.out(h, rows) + self.bias[rows]
        params[:, : last - first] += self.skip(features, slice(first, last))
        return params

    def _write_features(self, j, features, inputs, z):
        """Enter a column that is known now, for the linear path and for the hidden units."""
        start = self.first_feature[j]
        block = slice(start, start + self.variables[j].n_features)
        own, along = self.features_of(j, z)
        if along is not None:
            first = len(self.feature_label) + self.pieces[j].start
            inputs[:, first : first + along.shape[1]] = along
        inputs[:, block] = torch.asinh(own)
        features[:, block] = tame(own)
        if j in self.residual_of:
            k = self.residual_of[j]
            residual = self._residuals(features, slice(k, k + 1))
            inputs[:, len(self.feature_label) + len(self.piece_label) + k] = residual[:, 0]
