"""How often the cells of each two columns occur together, and what the columns say of each other.

There are as many pairs as the square of the cells, so that they are counted for some columns at a time: a block is some
columns, and its counts are those of their cells with the cells of the same and of all later columns.
"""

import numpy as np
from scipy import sparse

# Pairs of cells that are counted at most.
MAX_PAIRS = 2**26
# Pairs of cells in a block, where it has more than one column.
PAIRS_AT_ONCE = 2**16


def starts_of(n_levels):
    """Return where the cells of each column start, and, last, their total number."""
    return np.concatenate([[0], np.cumsum(n_levels)])


def blocks_of(n_levels):
    """Cut the columns into blocks of which the counts of pairs take little memory.

    Parameters
    ----------
    n_levels : list of int
        Cells of each column.

    Returns
    -------
    blocks : list of slice
        Columns of each block.
    """
    starts, blocks, first = starts_of(n_levels), [], 0
    while first < len(n_levels):
        n_rows = PAIRS_AT_ONCE // (starts[-1] - starts[first])
        stop = int(np.searchsorted(starts, starts[first] + n_rows, side="right")) - 1
        blocks.append(slice(first, max(stop, first + 1)))
        first = blocks[-1].stop
    return blocks


class PairCounter:
    """Counts of how often each two cells occur together, for one block of columns after the other.

    Parameters
    ----------
    codes : ndarray of int of shape (n_samples, n_features)
        Cells of the rows, -1 where missing.
    n_levels : list of int
        Cells of each column.
    sample_weight : ndarray of shape (n_samples,)
        Weights of the rows.
    """

    def __init__(self, codes, n_levels, sample_weight):
        self.starts = starts_of(n_levels)
        counted = codes >= 0
        self.commonest = None
        if counted.all():
            # The commonest cell of each column is what the others leave, and need not be counted.
            shares = [
                np.bincount(c, sample_weight, k) for c, k in zip(codes.T, n_levels, strict=True)
            ]
            self.commonest = np.array([np.argmax(share) for share in shares])
            for share, cell in zip(shares, self.commonest, strict=True):
                share[cell] = 0.0
                share[cell] = sample_weight.sum() - share.sum()
            self.own = np.concatenate(shares)
            counted = codes != self.commonest
        rows, columns = np.nonzero(counted)
        cells = codes[rows, columns] + self.starts[columns]
        self.one_hot = sparse.csr_array(
            (np.ones(len(rows)), (rows, cells)), shape=(len(codes), self.starts[-1])
        )
        self.weighted = self.one_hot.multiply(sample_weight[:, None]).T.tocsr()

    def counts(self, block):
        """Count the pairs of one block.

        Parameters
        ----------
        block : slice
            Its columns.

        Returns
        -------
        counts : ndarray of shape (n_cells_of_block, n_cells_from_block_on)
            Weights of the pairs; those of a cell with itself are how often it occurs.
        """
        first, stop = self.starts[block.start], self.starts[block.stop]
        counts = (self.weighted[first:stop] @ self.one_hot[:, first:]).toarray()
        if self.commonest is None:
            return counts
        starts = self.starts[block.start : -1] - first
        commonest, own = starts + self.commonest[block.start :], self.own[first:]
        counts[:, commonest] = own[: len(counts), None] - np.add.reduceat(counts, starts, axis=1)
        n_columns = block.stop - block.start
        counts[commonest[:n_columns]] = 0.0
        counts[commonest[:n_columns]] = own - np.add.reduceat(counts, starts[:n_columns], axis=0)
        return counts.clip(0.0)


def compact(counts):
    """Hold counts that are whole numbers in as few bytes as they need."""
    if (counts == np.floor(counts)).all():
        return counts.astype(np.min_scalar_type(int(counts.max(initial=0))))
    return counts


def check_number_of_pairs(columns, n_levels, n_tables=1, most=MAX_PAIRS):
    """Refuse to count more pairs of cells than memory may hold.

    Parameters
    ----------
    columns : list of Column
        What the schema knows of the columns.
    n_levels : list of int
        Cells of each column.
    n_tables : int
        How often all pairs are counted.
    most : int
        How many pairs are not too many.

    Raises
    ------
    ValueError
        If there are too many; the message names the column with most cells.
    """
    n_pairs = n_tables * float(sum(n_levels)) ** 2
    if n_pairs > most:
        largest = columns[int(np.argmax(n_levels))]
        raise ValueError(
            f"There are {n_pairs:.2g} pairs of cells to count, which is too many; {largest.where} has most of the "
            f"cells ({max(n_levels)}). Merge its categories, or leave it out."
        )


def mutual_information(pairs, n_levels):
    """Return the mutual information of each two columns.

    Parameters
    ----------
    pairs : iterable of ndarray of shape (..., n_cells_of_block, n_cells_from_block_on)
        Counts of the pairs of each block.
    n_levels : list of int
        Cells of each column.

    Returns
    -------
    information : ndarray of shape (..., n_features, n_features)
        In nats, from the rows where both columns are observed; the diagonal has no meaning.
    """
    information = None
    for block, counts in zip(blocks_of(n_levels), pairs, strict=True):
        later = slice(block.start, None)
        part = _information(counts.astype(np.float64), n_levels[block], n_levels[later])
        if information is None:
            information = np.empty((*part.shape[:-2], len(n_levels), len(n_levels)))
        information[..., later, block] = np.swapaxes(part, -2, -1)
        information[..., block, later] = part
    return information


def _information(pairs, n_levels, n_later):
    """Return the mutual information of the columns of a block and the same and later ones."""

    def over_columns(x, levels, axis):
        return np.add.reduceat(x, starts_of(levels)[:-1], axis=axis)

    # Of the rows in which the other column is observed, too.
    one, other = over_columns(pairs, n_later, -1), over_columns(pairs, n_levels, -2)
    total = over_columns(one, n_levels, -2)
    total_of_pair = np.repeat(np.repeat(total, n_later, axis=-1), n_levels, axis=-2)
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = np.repeat(one, n_later, axis=-1) * np.repeat(other, n_levels, axis=-2)
        expected /= total_of_pair
        terms = np.where(pairs > 0, pairs * np.log(pairs / expected), 0.0)
        of_columns = over_columns(over_columns(terms, n_later, -1), n_levels, -2)
        return np.nan_to_num(of_columns / total)
