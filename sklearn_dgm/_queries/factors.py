"""What a codec asks of a density: the conditionals of its columns, and of the steps of sequences, without torch."""

from abc import ABC, abstractmethod


class Factors(ABC):
    """A density as a mixture of products of conditionals of the columns; what `_factors()` of an estimator returns.

    The same calls, with arrays of the same shapes, give the same bits.

    Attributes
    ----------
    log_weights : ndarray of shape (n_members,)
        Logarithms of the weights of the members.
    rows_at_once : int
        How many rows to ask of at most.
    """

    @abstractmethod
    def parameters(self):
        """Yield the arrays and texts that all probabilities follow from, to be fingerprinted."""

    @abstractmethod
    def log_prob(self, member, Z):
        """Return the log-density of rows under one member.

        Parameters
        ----------
        member : int
            Which one.
        Z : ndarray of shape (n, n_features)
            Encoded rows. Where a cell is NaN, it is what `stand_in` of its conditional says.

        Returns
        -------
        log_prob : ndarray of shape (n,)
            In nats, up to a constant of each row; it weighs the members, and is zero where there is one.
        """

    @abstractmethod
    def visit(self, member, Z):
        """Go through the columns, parents first.

        Parameters
        ----------
        member : int
            Which one.
        Z : ndarray of shape (n, n_features)
            Encoded rows. The caller fills in a column before it asks for the next one.

        Yields
        ------
        column : int
            A column.
        conditional : ColumnConditional
            Its conditional distribution in each row.
        """


class StepFactors(ABC):
    """A density of sequences as a product of conditionals of steps; what `_step_factors()` of an estimator returns.

    What the steps so far say of the next ones is a state, of several sequences at once; what it is, is the density's.
    The same calls, with arrays of the same shapes, give the same bits.

    Attributes
    ----------
    rows_at_once : int
        How many sequences to ask of at most.
    """

    @abstractmethod
    def parameters(self):
        """Yield the arrays and texts that all probabilities follow from, to be fingerprinted."""

    @abstractmethod
    def start(self, n):
        """Return the state of n sequences before their first step."""

    @abstractmethod
    def take(self, state, rows):
        """Return the state of some of the sequences, given an array of indices."""

    @abstractmethod
    def stop_probability(self, state):
        """Return the probabilities that the sequences end here, of shape (n,); None if lengths are no part of them."""

    @abstractmethod
    def visit(self, state, z):
        """Go through the columns of the next step, parents first.

        Parameters
        ----------
        state : object
            Of n sequences.
        z : ndarray of shape (n, n_columns)
            Encoded steps. The caller fills in a column before it asks for the next one.

        Yields
        ------
        column : int
            A column.
        conditional : ColumnConditional
            Its conditional distribution in each sequence.
        """

    @abstractmethod
    def advance(self, state, z):
        """Return the state after a step, of shape (n, n_columns)."""


class ColumnConditional(ABC):
    """Conditional distributions of a column, one for each row."""

    @abstractmethod
    def cdf(self, points):
        """Return the probabilities below several values of each row.

        Parameters
        ----------
        points : ndarray of shape (n, m)
            Encoded values; midway between whole numbers and codes.

        Returns
        -------
        cdf : ndarray of shape (n, m)
            Probabilities of smaller values.
        """

    def stand_in(self):
        """Return a value of each row for a missing cell, the same in each call, of shape (n,).

        Raises
        ------
        NotImplementedError
            If the density takes no missing cells.
        """
        raise NotImplementedError("the density takes no missing cells")
