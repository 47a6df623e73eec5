"""What training, scores, draws and queries ask of a module."""

from abc import ABC, abstractmethod

import torch
from torch import nn


class RowDensity(nn.Module, ABC):
    """A density of encoded rows.

    It is trained by its loss, in single precision, and is in double precision afterwards. What is random in its
    training it draws from :func:`~sklearn_dgm.nn.randomness.current_generator`, and nothing else is random but
    `sample`.
    """

    @property
    @abstractmethod
    def config(self):
        """Plain values with which its class builds a module that lacks only the arrays of its state.

        So a module is its class, its config and its `state_dict()`, with nothing hidden elsewhere; those in it are
        built by it, or have configs of their own.
        """

    @property
    @abstractmethod
    def width(self):
        """Memory of a row in numbers, at most, which says how many rows can be asked of at once."""

    @abstractmethod
    def log_prob(self, z):
        """Return the log-density of each row.

        Parameters
        ----------
        z : Tensor of shape (n, d)
            Encoded rows; NaN where a cell is missing, if the density takes such rows.

        Returns
        -------
        log_prob : Tensor of shape (n,)
            In nats, of the observed cells; `-inf` for impossible rows.
        """

    @abstractmethod
    def sample(self, n_samples, generator):
        """Draw rows.

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

    def loss(self, z):
        """Return the training loss of each row of shape (n, d), by default the negative log-likelihood, (n,)."""
        return -self.log_prob(z)

    def forward(self, z):
        """Return the loss of each row."""
        return self.loss(z)


class FactorisedDensity(RowDensity):
    """A density that is a product of conditionals of the columns, or a mixture of such products.

    Attributes
    ----------
    variables : list of Variable
        The columns.
    takes_any_order : bool
        Whether any columns can come last, so that rows in which these are missing need not be completed.
    n_classes : int
        Outcomes of a latent class among the columns, which is summed out however many they are; 0 without one.
    """

    takes_any_order = False
    n_classes = 0

    @abstractmethod
    def log_prob_features(self, z):
        """Return each column's share of the log-density.

        Parameters
        ----------
        z : Tensor of shape (n, d)
            Encoded rows.

        Returns
        -------
        log_prob : Tensor of shape (n, d)
            In nats; the sum of a row is its log-density.
        """

    @abstractmethod
    def log_prob_at(self, z, j, x):
        """Return the log-density of rows with each of several values in one column.

        Parameters
        ----------
        z : Tensor of shape (n, d)
            Encoded rows. What they hold in the column plays no part; where others are NaN, no other column may depend
            on these, which are left out.
        j : int
            The column.
        x : Tensor of shape (n, m)
            Encoded values of the column.

        Returns
        -------
        log_prob : Tensor of shape (n, m)
            In nats.
        """

    def in_mixed_precision(self):
        """Return what scores complete rows quickly, at the cost of a few digits; by default this density itself."""
        return self

    def with_other_shares(self, shares, z):
        """Return the columns' shares, (n, d), given those that a network computes; by default there are no others."""
        return shares

    def members_given(self, missing):
        """Return the products, with equal weights, that complete rows; by default this one.

        Parameters
        ----------
        missing : list of bool
            Which columns are missing; they come last where a product can have any order.

        Returns
        -------
        members : list of AncestralDensity
            One at least.
        """
        return [self]

    def barren(self, missing):
        """Flag missing cells on which no observed one depends (barren nodes); by default none.

        Parameters
        ----------
        missing : Tensor of bool of shape (n, d)
            Which cells are missing.

        Returns
        -------
        flags : Tensor of bool of shape (n, d)
            They may be left out of what is said of the observed cells.
        """
        return torch.zeros_like(missing)

    def any_member(self):
        """Return one of the products, a random one where there are several; by default this one."""
        return self
