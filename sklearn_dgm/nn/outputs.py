"""What a network says of a table: a conditional distribution of each column, made of the numbers that come out."""

from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from sklearn_dgm.nn.config import plain
from sklearn_dgm.nn.heads import head_for
from sklearn_dgm.nn.inputs import as_variables

# With more features than these, components have no linear path, whose weights would be the square of their number.
MAX_LINEAR_FEATURES = 128


class Conditional(NamedTuple):
    """Conditional distributions of one column, one for each row.

    Attributes
    ----------
    head : Head
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
        """Return the log-density of a value of each row, of shape (n,)."""
        column = slice(self.place, self.place + 1)
        return self.head.log_prob(self.params[:, None], x[:, None], column)[:, 0]

    def sample(self, uniforms):
        """Make values of numbers between 0 and 1, of shape (n,)."""
        return self.head.sample(self.params, self.place, uniforms)

    def cdf(self, x):
        """Return the probabilities below several values of each row, of shape (n, m)."""
        return self.head.cdf(self.params, self.place, x)

    def icdf_of_normal(self, normal):
        """Return the values of normal scores, of shape (n,)."""
        return self.head.icdf_of_normal(self.params, self.place, normal)


class HeadBank(nn.Module):
    """Heads for the columns of a table, one for all columns that are alike.

    A network ends in `n_params` numbers for a row, whatever these are; they are the parameters of the columns'
    conditional distributions given all that they were made of.

    Parameters
    ----------
    variables : list of Variable, or of tuples
        The columns.
    targets : list of int, default=None
        The columns that have conditionals; None for all.
    n_components : int, default=8
        Components of the mixture heads.
    family : {"gaussian", "logistic"}, default="logistic"
        Family of continuous distributions.

    Attributes
    ----------
    heads : ModuleList
        The heads.
    head_columns : list of list of int
        For each head its columns.
    head_rows : list of slice
        For each head where the parameters of its columns stand, side by side.
    param_label : ndarray of int of shape (n_params,)
        The column that each parameter is of.
    linear_rows : ndarray of int
        The parameters that may have a linear path from the features, increasing.
    """

    def __init__(self, variables, targets=None, n_components=8, family="logistic"):
        super().__init__()
        self.variables = variables = as_variables(variables)
        self.n_components, self.family = n_components, family
        self.targets = list(range(len(variables)) if targets is None else targets)
        is_linear = sum(variable.n_features for variable in variables) <= MAX_LINEAR_FEATURES
        groups = {}
        for j in self.targets:
            groups.setdefault(_kind(variables[j], family), []).append(j)
        self.heads, self.head_columns, self.head_rows = nn.ModuleList(), [], []
        param_label, linear_rows, start = [], [], 0
        self._places = {}
        for (of_kind, *_), columns in groups.items():
            alike = [variables[j] for j in columns]
            head = of_kind.of(alike, n_components, family, is_linear)
            for i, j in enumerate(columns):
                self._places[j] = len(self.heads), i, start + i * head.n_params
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
    def config(self):
        """Plain values that build it anew."""
        return plain(
            {
                "variables": tuple(map(tuple, self.variables)),
                "targets": self.targets,
                "n_components": self.n_components,
                "family": self.family,
            }
        )

    @property
    def stack_key(self):
        """What banks have in common whose heads differ in the numbers alone that they hold."""
        heads = zip(self.heads, map(tuple, self.head_columns), strict=True)
        return tuple((columns, *head.stack_key) for head, columns in heads)

    @property
    def n_params(self):
        """Number of parameters of all conditionals together."""
        return len(self.param_label)

    @property
    def width(self):
        """Memory of a row in numbers, at most: parameters, or logits made of these."""
        sizes = zip(self.head_columns, self.heads, strict=True)
        return max(self.n_params, *(len(columns) * head.width for columns, head in sizes))

    @property
    def numbers(self):
        """The columns whose heads are of numbers, so that regressions say something of them; increasing."""
        heads = zip(self.head_columns, self.heads, strict=True)
        return sorted(j for columns, head in heads if head.of_numbers for j in columns)

    def place(self, j):
        """Return the head of a column, the column's place there, and the slice of its parameters.

        Parameters
        ----------
        j : int
            One of the targets.

        Returns
        -------
        head : Head
            Its head.
        place : int
            Place of the column in the head.
        rows : slice
            Where its parameters stand among all parameters.
        """
        group, place, start = self._places[j]
        head = self.heads[group]
        return head, place, slice(start, start + head.n_params)

    def conditional(self, j, params):
        """Return the conditional distributions of a column.

        Parameters
        ----------
        j : int
            One of the targets.
        params : Tensor of shape (n, n_params_of_column)
            Its parameters, as :meth:`place` finds them among all.

        Returns
        -------
        conditional : Conditional
            One distribution for each row.
        """
        head, place, _ = self.place(j)
        return Conditional(head, place, params)

    def log_prob(self, params, z):
        """Return the log-density of each cell.

        Parameters
        ----------
        params : Tensor of shape (..., n_params)
            Parameters of all conditionals.
        z : Tensor of shape (..., d)
            Encoded rows.

        Returns
        -------
        log_prob : Tensor of shape (..., d)
            In nats, 0 but for the targets.
        """
        return self._ask("log_prob", params, z)

    def log_prob_of_observed(self, params, z):
        """Return the log-density of the observed cells of each row together.

        Parameters
        ----------
        params : Tensor of shape (..., n_params)
            Parameters of all conditionals.
        z : Tensor of shape (..., d)
            Encoded rows, NaN where a cell is missing; leading axes may be broadcast against those of `params`, so that
            what is a matter of the row alone is computed once.

        Returns
        -------
        log_prob : Tensor of shape (...)
            In nats, 0 where nothing is observed.
        """
        total, missing = 0.0, z.isnan()
        has_gaps, z = bool(missing.any()), z.nan_to_num(0.0)
        for head, columns, own in self._by_head(params):
            log_p = head.log_prob(own, z[..., columns])
            if has_gaps:
                log_p = log_p.masked_fill(missing[..., columns], 0.0)
            total = total + log_p.sum(dim=-1)
        return total

    def normal_score(self, params, z):
        """Return standard normal quantiles of the probabilities below cells; see :meth:`log_prob` for the shapes.

        All heads must be continuous.
        """
        return self._ask("normal_score", params, z)

    def _ask(self, what, params, z):
        """Call a method of the heads, and return its answers for each cell."""
        answers = torch.zeros_like(z)
        for head, columns, own in self._by_head(params):
            answers[..., columns] = getattr(head, what)(own, z[..., columns])
        return answers

    def _by_head(self, params):
        """Yield each head, its columns, and their parameters of shape (..., n_columns, n_params_of_column)."""
        sizes = [rows.stop - rows.start for rows in self.head_rows]
        for head, columns, own in zip(
            self.heads, self.head_columns, params.split(sizes, dim=-1), strict=True
        ):
            yield head, columns, own.reshape(*params.shape[:-1], len(columns), head.n_params)

    def start_from(self, simple):
        """Yield the start of training for each column, as its head knows it.

        Parameters
        ----------
        simple : SimpleConditionals
            The conditionals of a simple density.

        Yields
        ------
        rows : slice
            Where the parameters of a column stand among all parameters.
        start : LinearStart
            What they are.
        """
        for head, columns in zip(self.heads, self.head_columns, strict=True):
            for j, start in zip(columns, head.start_from(columns, simple), strict=True):
                yield self.place(j)[2], start


def _kind(variable, family):
    """Return the key of a column's head: its class, its bounds, and about how many levels or atoms it has."""
    # From one power of two to the next; two levels are a case of their own, and so is no atom.
    size = None if variable.n_levels is None else (variable.n_levels - 1).bit_length()
    n_atoms = len(variable.atoms).bit_length()
    of_kind = head_for(variable, family)
    return of_kind, size, variable.whole, n_atoms, bool(variable.grid), _ends(variable.support)


def _ends(support):
    """Tell at which ends there are bounds, and whether nothing lies between range and bounds; None without any."""
    if not support:
        return None
    lower, low, high, upper, _ = support
    return np.isinf(lower), np.isinf(upper), (lower, upper) == (low, high)
