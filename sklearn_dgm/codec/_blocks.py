"""Rows as a stack of bits: entropy coding with the conditionals of a density.

Encoder and decoder make the very same calls of the density, with arrays of the same shapes, so that both see the same
probabilities to the last bit; the coder itself works with whole numbers.
"""

from itertools import pairwise

import numpy as np
from scipy.special import logsumexp

from sklearn_dgm.codec._cells import RADIX

try:
    import constriction
except ImportError:
    constriction = None

# Probabilities are multiples of this power of a half, and none is zero.
PRECISION = 24
# Differences of probabilities are known up to about this.
ROUNDING = 1e-14
# Rows of the first block; each has twice as many as the one before, up to a limit.
FIRST_ROWS = 4
# What the stack begins with, for the first rows to take bits from.
SEED = 0x9E3779B9


def check_installed():
    """Refuse to go on without a coder.

    Raises
    ------
    ImportError
        If constriction is not installed.
    """
    if constriction is None:
        raise ImportError(
            "DensityCodec needs constriction; install it with: pip install sklearn-dgm[codec]"
        )


def frequencies(p):
    """Return whole numbers in proportion to probabilities, whose sum is a power of two less one for each.

    The coder adds that one, so that no symbol is impossible.

    Parameters
    ----------
    p : ndarray of shape (n, m)
        Probabilities, up to a factor for each row.

    Returns
    -------
    frequencies : ndarray of float32 of shape (n, m)
        Whole numbers, which float32 holds exactly.
    """
    n, m = p.shape
    total = 2**PRECISION - m
    p = np.nan_to_num(p, nan=0.0, posinf=0.0).clip(0) + ROUNDING
    p *= total / p.sum(axis=1, keepdims=True)
    whole = np.floor(p)
    whole[np.arange(n), p.argmax(axis=1)] += total - whole.sum(axis=1)
    return whole.astype(np.float32)


class Stack:
    """A stack of symbols; what was put on it last is taken off first.

    Parameters
    ----------
    words : ndarray of uint32 of shape (n_words,), default=None
        What :meth:`words` gave.
    """

    def __init__(self, words=None):
        words = np.array([SEED], np.uint32) if words is None else words
        self._coder = constriction.stream.stack.AnsCoder(words)
        self._family = constriction.stream.model.Categorical(perfect=False)

    def put(self, symbols, table):
        """Put one symbol for each row of a table of frequencies."""
        self._coder.encode_reverse(symbols.astype(np.int32), self._family, table)

    def take(self, table):
        """Take one symbol for each row of a table of frequencies."""
        return self._coder.decode(self._family, table)

    def words(self):
        """Return the compressed bits, an ndarray of uint32 of shape (n_words,)."""
        return self._coder.get_compressed()

    @property
    def is_exhausted(self):
        """Whether all symbols have been taken off."""
        return self.words().tolist() == [SEED]


class Encoder:
    """Symbols to be put on a stack, in the order in which they will be taken off again."""

    def __init__(self):
        self.steps = []

    def code(self, table, symbols):
        """Keep symbols, and give them back."""
        self.steps.append((symbols, table))
        return symbols

    def put_on(self, stack):
        """Put everything on a stack."""
        for symbols, table in reversed(self.steps):
            stack.put(symbols, table)


class Decoder:
    """Symbols that are taken off a stack.

    Parameters
    ----------
    stack : Stack
        The stack.
    """

    def __init__(self, stack):
        self.stack = stack

    def code(self, table, symbols):
        """Take symbols off the stack."""
        return self.stack.take(table)


class RowCoder:
    """Rows of whole numbers, put on a stack and taken off, with the probabilities of a density.

    Rows are coded by a mixture's members with bits back (Townsend, Bird and Barber, "Practical lossless compression
    with latent variables using bits back coding", 2019, https://arxiv.org/abs/1901.04866): which member a row is coded
    by is itself taken off the stack, with its probability given the row, and put on it after the row with its weight.
    The row costs what it costs under the mixture.

    Parameters
    ----------
    factors : Factors
        What `_factors` of a density gives.
    cells : list of Cells
        Those of the columns.
    """

    def __init__(self, factors, cells):
        self.factors, self.cells = factors, cells
        self.log_weights = factors.log_weights

    def _blocks(self, n_rows):
        return blocks(n_rows, self.factors.rows_at_once)

    def encode(self, numbers, missing, stack):
        """Put rows on a stack.

        Parameters
        ----------
        numbers : ndarray of int64 of shape (n, d)
            Cells of the columns.
        missing : ndarray of bool of shape (n, d)
            Where a cell is missing.
        stack : Stack
            The stack.
        """
        for block in self._blocks(len(numbers)):
            self._encode_block(numbers[block], missing[block], stack)

    def _encode_block(self, numbers, missing, stack):
        Z = self._encoded(numbers, missing)
        member = stack.take(self._posterior(Z)) if len(self.log_weights) > 1 else np.zeros(len(Z))
        encoder = Encoder()
        for k in range(len(self.log_weights)):
            rows = np.flatnonzero(member == k)
            self._walk(k, missing[rows], encoder, numbers[rows])
        encoder.put_on(stack)
        if len(self.log_weights) > 1:
            stack.put(member, self._prior(len(Z)))

    def decode(self, missing, stack):
        """Take rows off a stack.

        Parameters
        ----------
        missing : ndarray of bool of shape (n, d)
            Where a cell is missing.
        stack : Stack
            The stack.

        Returns
        -------
        numbers : ndarray of int64 of shape (n, d)
            Cells of the columns.
        """
        numbers = np.zeros(missing.shape, dtype=np.int64)
        for block in reversed(self._blocks(len(missing))):
            numbers[block] = self._decode_block(missing[block], stack)
        return numbers

    def _decode_block(self, missing, stack):
        is_mixture = len(self.log_weights) > 1
        n = len(missing)
        member = stack.take(self._prior(n)) if is_mixture else np.zeros(n)
        numbers = np.zeros(missing.shape, dtype=np.int64)
        for k in range(len(self.log_weights)):
            rows = np.flatnonzero(member == k)
            numbers[rows] = self._walk(k, missing[rows], Decoder(stack))
        if is_mixture:
            stack.put(member, self._posterior(self._encoded(numbers, missing)))
        return numbers

    def _prior(self, n):
        return frequencies(np.tile(np.exp(self.log_weights), (n, 1)))

    def _posterior(self, Z):
        log_p = np.stack(
            [w + self.factors.log_prob(k, Z) for k, w in enumerate(self.log_weights)], axis=1
        )
        with np.errstate(invalid="ignore"):  # of rows that no member takes for possible
            return frequencies(np.exp(log_p - log_p.max(axis=1, keepdims=True)))

    def _encoded(self, numbers, missing):
        columns = [cells.encoded(x) for cells, x in zip(self.cells, numbers.T, strict=True)]
        return np.where(missing, np.nan, np.stack(columns, axis=1))

    def _walk(self, member, missing, coder, truth=None):
        """Code the columns of rows, parents first; missing cells become their stand-ins."""
        numbers = np.zeros(missing.shape, dtype=np.int64)
        if not len(numbers):
            return numbers
        Z = np.zeros(missing.shape)
        for j, conditional in self.factors.visit(member, Z):
            cells, seen = self.cells[j], ~missing[:, j]
            known = None if truth is None else cells.cells(truth[:, j])
            found = code_cells(cells, conditional, seen, coder, known)
            numbers[:, j] = cells.numbers(found)
            Z[:, j] = cells.encoded(numbers[:, j])
            if not seen.all():
                Z[~seen, j] = conditional.stand_in()[~seen]
        return numbers

    def code_length(self, numbers, missing):
        """Return the code length of rows under the density itself, of shape (n,), in bits."""
        return np.concatenate(
            [
                self._length_of(numbers[block], missing[block])
                for block in self._blocks(len(numbers))
            ]
            or [np.zeros(0)]
        )

    def _length_of(self, numbers, missing):
        log_p = np.tile(self.log_weights[:, None], len(numbers))
        for k in range(len(log_p)):
            Z = np.zeros(numbers.shape)
            for j, conditional in self.factors.visit(k, Z):
                cells, seen = self.cells[j], ~missing[:, j]
                with np.errstate(divide="ignore"):
                    log_mass = np.log(cells.mass(conditional, numbers[:, j]).clip(0))
                log_p[k] += np.where(seen, log_mass, 0.0)
                Z[:, j] = cells.encoded(numbers[:, j])
                if not seen.all():
                    Z[~seen, j] = conditional.stand_in()[~seen]
        return -logsumexp(log_p, axis=0) / np.log(2)


def blocks(n_rows, most_rows):
    """Return the slices of rows in the order in which they are put on the stack.

    The first rows take bits for their members that nobody has put there, and so are few.
    """
    ends, size = [0], FIRST_ROWS
    while ends[-1] < n_rows:
        ends.append(min(ends[-1] + size, n_rows))
        size = min(2 * size, most_rows)
    return [slice(*pair) for pair in pairwise(ends)]


def flag_counts(flags):
    """Count the flagged cells.

    Parameters
    ----------
    flags : ndarray of bool of shape (n, d)
        Which cells are missing, say.

    Returns
    -------
    counts : list of list of int
        For each column with such cells its position, and how many these are in rows in which the previous such column
        is not flagged, and in which it is.
    """
    counts, before = [], np.zeros(len(flags), dtype=bool)
    for j in np.flatnonzero(flags.any(axis=0)):
        chosen = flags[:, j]
        counts.append([int(j), int((chosen & ~before).sum()), int((chosen & before).sum())])
        before = chosen
    return counts


def put_flags(flags, counts, stack):
    """Put on a stack which cells are flagged.

    Parameters
    ----------
    flags : ndarray of bool of shape (n, d)
        Which cells are missing, say.
    counts : list of list of int
        What :func:`flag_counts` gives.
    stack : Stack
        The stack.
    """
    columns = [j for j, *_ in counts]
    for i in reversed(range(len(counts))):
        before = flags[:, columns[i - 1]] if i else np.zeros(len(flags), dtype=bool)
        stack.put(flags[:, columns[i]], _flag_table(before, *counts[i][1:]))


def take_flags(shape, counts, stack):
    """Take off a stack which cells are flagged; see :func:`put_flags`."""
    flags, before = np.zeros(shape, dtype=bool), np.zeros(shape[0], dtype=bool)
    for j, *of_column in counts:
        flags[:, j] = before = stack.take(_flag_table(before, *of_column)).astype(bool)
    return flags


def _flag_table(before, n_after_others, n_after_flagged):
    n_before = before.sum()
    counts = [
        [len(before) - n_before - n_after_others, n_after_others],
        [n_before - n_after_flagged, n_after_flagged],
    ]
    return frequencies(np.array(counts, dtype=np.float64))[before.astype(int)]


def code_cells(cells, conditional, seen, coder, truth=None):
    """Code a cell of each row, digit by digit.

    A digit narrows down an interval of cells, so that few values of the distribution function have to be computed,
    however many cells there are.

    Parameters
    ----------
    cells : Cells
        Those of the column.
    conditional : object
        With `cdf`.
    seen : ndarray of bool of shape (n,)
        In which rows there is a cell to code.
    coder : Encoder or Decoder
        What symbols are given to, or come from.
    truth : ndarray of uint64 of shape (n,), default=None
        The cells, where they are known.

    Returns
    -------
    found : ndarray of uint64 of shape (n,)
        The cells, 0 where there is none.
    """
    found = np.zeros(len(seen), dtype=np.uint64)
    if not seen.any():
        return found
    for step in cells.steps:
        n_symbols = min(-(-cells.n_cells // step), RADIX)
        starts = [min(i * step, cells.n_cells) for i in range(n_symbols + 1)]
        left = np.uint64(cells.n_cells) - found[:, None]
        edges = found[:, None] + np.minimum(np.array(starts, dtype=np.uint64), left)
        below = cells.cdf(conditional, cells.numbers(edges))
        table = frequencies(np.diff(below[seen], axis=1))
        symbols = None if truth is None else (truth - found)[seen] // np.uint64(step)
        symbols = coder.code(table, symbols)
        found[seen] += symbols.astype(np.uint64) * np.uint64(step)
    return found
