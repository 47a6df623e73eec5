"""What every head can do."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from sklearn_dgm.nn.layers import ExactBuffers


class LinearStart(NamedTuple):
    """Parameters of a column where training starts, some of them linear functions of features.

    Attributes
    ----------
    bias : ndarray of shape (n_params,)
        What they are where all features are zero.
    rows : sequence of int
        Those that depend on features, in the order of the weights.
    features : ndarray of int of shape (k,)
        The features that they depend on.
    weights : ndarray of shape (n_rows, k)
        How much.
    """

    bias: np.ndarray
    rows: Sequence = ()
    features: np.ndarray = np.zeros(0, dtype=int)
    weights: np.ndarray = np.zeros((0, 0))


class Head(ExactBuffers, ABC):
    """Conditional distributions of m columns that are alike, given their parameters.

    Any finite parameters are a valid distribution. A new head is a file with a subclass, and an entry in
    :data:`~sklearn_dgm.nn.heads.HEADS`.

    Attributes
    ----------
    n_params : int
        Parameters of a column.
    n_linear : int
        How many of them, from the first, may have a linear path from the features.
    """

    # Whether regressions say something of the columns, whose residuals are worth being seen.
    of_numbers = False
    # Whether log-probabilities are small differences, which single precision would not hold.
    loses_digits = False
    n_params: int
    n_linear: int

    @classmethod
    @abstractmethod
    def takes(cls, variable, family):
        """Return whether it can be the head of a column, in a family of continuous distributions."""

    @classmethod
    @abstractmethod
    def of(cls, variables, n_components, family, is_linear):
        """Return a head for some columns.

        Parameters
        ----------
        variables : list of Variable
            Columns that it takes, with the same bounds, all with atoms and a grid or none.
        n_components : int
            Components of a mixture.
        family : str
            Family of continuous distributions.
        is_linear : bool
            Whether there may be very many linear paths.
        """

    @property
    def stack_key(self):
        """What heads have in common that differ in the numbers alone that they hold."""
        shapes = [(name, buffer.shape) for name, buffer in self.named_buffers()]
        return type(self), self.n_params, *shapes

    @property
    def width(self):
        """Memory of the distribution of one column in a row, in numbers, at most."""
        return self.n_params

    @abstractmethod
    def log_prob(self, params, z, columns=slice(None)):
        """Return log-densities or log-masses.

        Parameters
        ----------
        params : Tensor of shape (..., m, n_params)
            Parameters of every column and row.
        z : Tensor of shape (..., m)
            Encoded values; leading axes of both may be broadcast against each other.
        columns : slice or list of int
            Which of the head's columns these are.

        Returns
        -------
        log_prob : Tensor of shape (..., m)
            In nats.
        """

    @abstractmethod
    def sample(self, params, column, uniform):
        """Draw values of one column, each by a single number that chooses, is stretched, and chooses again.

        Values need not increase with the number: a component is chosen first, so that this is no quantile function.

        Parameters
        ----------
        params : Tensor of shape (n, n_params)
            Parameters of the column.
        column : int
            Which of the m columns.
        uniform : Tensor of shape (n,)
            Float64 numbers between 0 and 1, independent of each other for independent draws.

        Returns
        -------
        z : Tensor of shape (n,)
            Encoded values.
        """

    @abstractmethod
    def cdf(self, params, column, z):
        """Return probabilities below values of one column.

        Parameters
        ----------
        params : Tensor of shape (n, n_params)
            Parameters of the column.
        column : int
            Which of the m columns.
        z : Tensor of shape (n, m)
            For each row several values; midway between whole numbers and codes, where values are such.

        Returns
        -------
        cdf : Tensor of shape (n, m)
            Probabilities of smaller values.
        """

    @abstractmethod
    def start_from(self, columns, simple):
        """Yield the start of training for each of its columns.

        Parameters
        ----------
        columns : list of int
            Its m columns in the table.
        simple : SimpleConditionals
            The conditionals of a simple density; see :class:`~sklearn_dgm.nn.simple.SimpleConditionals`.

        Yields
        ------
        start : LinearStart
            Parameters of a column with which its conditional is the simple one, as far as the head can express it.
        """


def broadcast(params, z):
    """Return parameters of shape (..., n_params) and values of shape (...) with the leading axes of both."""
    shape = torch.broadcast_shapes(params.shape[:-1], z.shape)
    return params.expand(*shape, -1), z.expand(shape)
