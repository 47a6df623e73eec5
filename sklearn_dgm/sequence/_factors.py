"""Markov chains step by step, as a codec asks for them."""

from sklearn_dgm._queries.factors import ColumnConditional, StepFactors

# Numbers that the distributions of a block of sequences take up.
NUMBERS_AT_ONCE = 2**18


class ChainFactors(StepFactors):
    """Conditionals of steps given n-grams; a state is the context of each sequence.

    Parameters
    ----------
    ngrams : NGrams
        Distributions of symbols.
    axis : Axis
        What values a symbol stands for.
    """

    def __init__(self, ngrams, axis):
        self.ngrams, self.axis = ngrams, axis
        self.rows_at_once = max(NUMBERS_AT_ONCE // ngrams.n_symbols, 1)

    def parameters(self):
        """Yield the parameters of all probabilities; see :class:`~sklearn_dgm._queries.factors.StepFactors`."""
        yield repr(
            (self.ngrams.n_values, self.ngrams.order, self.ngrams.smoothing, self.ngrams.ends)
        )
        yield from (array for level in self.ngrams.levels_ for array in level)

    def start(self, n):
        """Return the contexts of no step, and the distributions of the first one."""
        return self._with_distributions(self.ngrams.first_contexts(n))

    def _with_distributions(self, contexts):
        return contexts, self.ngrams.distributions(contexts)

    def take(self, state, rows):
        """Return some of the contexts."""
        return tuple(part[rows] for part in state)

    def stop_probability(self, state):
        """Return the probabilities of the symbol of the end."""
        return state[1][:, -1] if self.ngrams.ends else None

    def visit(self, state, z):
        """Yield the one column."""
        p = state[1][:, : self.ngrams.n_values]
        yield 0, CellConditional(p / p.sum(axis=1, keepdims=True), self.axis)

    def advance(self, state, z):
        """Return the contexts after a step."""
        return self._with_distributions(
            self.ngrams.contexts_after(state[0], self.axis.encode(z[:, 0])[0])
        )


class CellConditional(ColumnConditional):
    """A distribution over the cells of an axis for each sequence.

    Parameters
    ----------
    p : ndarray of shape (n, n_levels)
        Probabilities of the cells.
    axis : Axis
        The cells.
    """

    def __init__(self, p, axis):
        self.p, self.axis = p, axis

    def cdf(self, points):
        """Return the probabilities below values; see :class:`~sklearn_dgm._queries.factors.ColumnConditional`."""
        return self.axis.cdf(self.p, points)
