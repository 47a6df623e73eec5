"""How a network sees a table: numbers in units and in pieces, categories as signs, indicators or embeddings."""

from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from sklearn_dgm.nn.config import plain

# How much the piecewise-linear inputs weigh beside the others (less makes smoother conditionals), and the residuals.
PIECE_WEIGHT, RESIDUAL_WEIGHT = 0.2, 3.0
# With more categories than these, a column has embeddings and not one-hot inputs.
MAX_ONE_HOT = 256
# With at most so many levels, whole numbers have one-hot inputs, as categories have.
MAX_FEW_LEVELS = 5
# Numbers that stand for one of very many categories.
EMBEDDING_SIZE = 16


class Variable(NamedTuple):
    """Description of a column for a network.

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
        A lower bound, the ends of a range within the bounds, an upper bound, and how much of the probability lies
        beyond that range at most; empty where a number can be any. Beyond the bounds nothing is possible.
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
        """Number of features: a number or a sign, else one for each category, or an embedding."""
        if not self.has_indicators or self.n_levels == 2:
            return 1
        return EMBEDDING_SIZE if self.is_embedded else self.n_levels


def as_variables(variables):
    """Return a list of variables, which may be given as tuples or lists, with Python's own numbers."""
    return [Variable(*plain(tuple(variable))) for variable in variables]


class TableInputs(nn.Module):
    """Inputs that a network makes of the encoded rows of a table.

    Features are numbers in standard units, 1 and -1 for the two categories of a binary column, indicators of the
    categories of others (all zero for an unknown one), and embeddings of very many. Inputs are the features, bounded,
    and beside them how far numbers have come along the pieces between knots (Gorishniy, Rubachev and Babenko, "On
    Embeddings for Numerical Features in Tabular Deep Learning", 2022, https://arxiv.org/abs/2203.05556), without which
    a network is too smooth for clumped values.

    Parameters
    ----------
    variables : list of Variable, or of tuples
        The columns.

    Attributes
    ----------
    numeric : list of int
        The columns that are seen as numbers.
    feature_label : ndarray of int of shape (n_features,)
        The column that each feature is made of: numbers come first, then signs, indicators and embeddings.
    piece_label : ndarray of int of shape (n_pieces,)
        The column that each piece belongs to; inputs are features and then pieces.
    features_at : dict of int to slice
        For each column where its features stand.
    pieces_at : dict of int to slice
        For each numeric column where its pieces stand among all pieces.
    """

    def __init__(self, variables):
        super().__init__()
        self.variables = as_variables(variables)
        self._lay_out_features()
        self._lay_out_pieces()

    def _lay_out_features(self):
        self.numeric = [j for j, v in enumerate(self.variables) if not v.has_indicators]
        coded = [j for j, v in enumerate(self.variables) if v.has_indicators]
        key = {j: (self.variables[j].is_embedded, self.variables[j].n_features > 1) for j in coded}
        self._groups = [[j for j in coded if key[j] == of] for of in sorted(set(key.values()))]
        label, self.features_at = [], {}
        for j in (*self.numeric, *(j for columns in self._groups for j in columns)):
            n_features = self.variables[j].n_features
            self.features_at[j] = slice(len(label), len(label) + n_features)
            label += [j] * n_features
        self.feature_label = np.array(label, dtype=int)
        self.embeddings = nn.ModuleDict(
            {
                str(j): nn.Embedding(variable.n_levels, EMBEDDING_SIZE)
                for j, variable in enumerate(self.variables)
                if variable.is_embedded
            }
        )
        for name in ("location", "scale"):
            units = [getattr(self.variables[j], name) for j in self.numeric]
            self.register_buffer(name, torch.tensor(units))

    def _lay_out_pieces(self):
        """Lay out the pieces between the knots of the numeric columns, column by column."""
        label, position, low, width, self.pieces_at = [], [], [], [], {}
        for i, j in enumerate(self.numeric):
            # As they are held, or pieces would not meet.
            knots = np.unique(np.asarray(self.variables[j].knots, dtype=np.float32))
            n_pieces = max(len(knots) - 1, 0)
            self.pieces_at[j] = slice(len(label), len(label) + n_pieces)
            label += [j] * n_pieces
            position += [i] * n_pieces
            low += knots[:-1].tolist()
            width += np.diff(knots).tolist()
        self.piece_label = np.array(label, dtype=int)
        self.register_buffer("piece_position", torch.tensor(position, dtype=torch.long))
        self.register_buffer("piece_low", torch.tensor(low, dtype=torch.float32))
        self.register_buffer("piece_width", torch.tensor(width, dtype=torch.float32))

    @property
    def config(self):
        """Plain values that build it anew."""
        return {"variables": tuple(map(tuple, self.variables))}

    @property
    def label(self):
        """The column that each input is made of, of shape (n_inputs,)."""
        return np.concatenate([self.feature_label, self.piece_label])

    @property
    def n_features(self):
        """Number of features."""
        return len(self.feature_label)

    @property
    def n_inputs(self):
        """Number of inputs: features and pieces."""
        return len(self.feature_label) + len(self.piece_label)

    def features(self, z):
        """Return the features of encoded rows.

        Parameters
        ----------
        z : Tensor of shape (..., d)
            Encoded rows.

        Returns
        -------
        features : Tensor of shape (..., n_features)
            Numbers in standard units, not bounded.
        """
        numbers = (z[..., self.numeric] - self.location) / self.scale
        return torch.cat([numbers, *self.indicators(z)], dim=-1)

    def indicators(self, z):
        """Return the features that are signs, indicators and embeddings, in parts of shape (..., n)."""
        return [self._of_categories(z[..., columns], columns) for columns in self._groups]

    def inputs(self, features):
        """Return bounded inputs, of shape (..., n_inputs), for the features of shape (..., n_features)."""
        # Without asinh, far-out rows would drive what a network says without bound.
        along = self._along_pieces(features[..., self.piece_position])
        return torch.cat([torch.asinh(features), along], dim=-1)

    def forward(self, z):
        """Return the inputs, of shape (..., n_inputs), of encoded rows of shape (..., d)."""
        return self.inputs(self.features(z))

    def features_of(self, j, z):
        """Return the features of a single column, as in :meth:`features`, and its pieces.

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
            How far the number has come along each piece; None for categories.
        """
        if self.variables[j].has_indicators:
            return self._of_categories(z[:, None], [j]), None
        i = self.features_at[j].start
        x = ((z - self.location[i]) / self.scale[i])[:, None]
        return x, self._along_pieces(x, self.pieces_at[j])

    def write(self, j, z, inputs):
        """Enter the values of a single column into inputs.

        Parameters
        ----------
        j : int
            The column.
        z : Tensor of shape (n,)
            Encoded values.
        inputs : Tensor of shape (n, n_inputs or more)
            Filled in where the features and the pieces of the column stand.

        Returns
        -------
        features : Tensor of shape (n, n_features)
            Features of the column, not bounded.
        """
        own, along = self.features_of(j, z)
        inputs[:, self.features_at[j]] = torch.asinh(own)
        if along is not None:
            first = len(self.feature_label) + self.pieces_at[j].start
            inputs[:, first : first + along.shape[1]] = along
        return own

    def _of_categories(self, codes, columns):
        """Return the features of columns that are all binary, or one-hot, or embedded."""
        variable = self.variables[columns[0]]
        if variable.n_features == 1:
            return torch.where((codes == 0) | (codes == 1), 2 * codes - 1, 0)
        if variable.is_embedded:
            known = (codes >= 0).unsqueeze(-1)
            index = codes.long().clamp_min(0)
            vectors = [self.embeddings[str(j)](index[..., i]) for i, j in enumerate(columns)]
            return (torch.stack(vectors, dim=-2) * known).flatten(-2)
        n_levels = [self.variables[j].n_levels for j in columns]
        position = torch.from_numpy(np.repeat(np.arange(len(columns)), n_levels))
        level = torch.from_numpy(np.concatenate([np.arange(n) for n in n_levels]))
        return (codes[..., position] == level.to(codes)).to(codes.dtype)

    def _along_pieces(self, x, which=slice(None)):
        """Return the progress of numbers along pieces, from 0 to 1 but for their weight."""
        along = (x - self.piece_low[which]) / self.piece_width[which]
        return PIECE_WEIGHT * along.clamp(0, 1)


class Residuals(nn.Module):
    """Inputs that are what regressions leave of numbers, in units of its spread.

    Of columns that all but determine each other, the differences that matter are small in any other scale. Until
    training starts, these are the numbers themselves.

    Parameters
    ----------
    inputs : TableInputs
        The other inputs.
    columns : list of int
        The columns, all of them numeric.

    Attributes
    ----------
    label : ndarray of int of shape (n_residuals,)
        The columns.
    place : dict of int to int
        Where a column stands among them.
    """

    def __init__(self, inputs, columns):
        super().__init__()
        self.label = np.array(columns, dtype=int)
        self.place = {j: k for k, j in enumerate(columns)}
        slopes = torch.zeros(len(columns), inputs.n_features)
        slopes[range(len(columns)), [inputs.features_at[j].start for j in columns]] = 1.0
        self.register_buffer("slopes", slopes)
        self.register_buffer("intercepts", torch.zeros(len(columns)))

    @torch.no_grad()
    def start_from(self, j, regression):
        """Make a column the residual of a :class:`~sklearn_dgm.nn.simple.Regression`, once for each network."""
        k, spread = self.place[j], regression.spread
        self.slopes[k] /= spread
        others = -torch.from_numpy(regression.slopes / spread).to(self.slopes)
        self.slopes[k, torch.from_numpy(regression.features)] = others
        self.intercepts[k] = -regression.intercept / spread

    def forward(self, features, which=slice(None)):
        """Return bounded residuals, of shape (n, n_residuals), or some of them, of features (n, n_features)."""
        return self.bounded(F.linear(features, self.slopes[which], self.intercepts[which]))

    @staticmethod
    def bounded(residuals):
        """Return residuals as hidden units see them."""
        return RESIDUAL_WEIGHT * torch.asinh(residuals)
