"""Bayesian blocks: the best partition of cells of the line into blocks of constant density (Scargle et al., 2013)."""

import numpy as np

# Samples of similar length are partitioned together; so many numbers of a matrix fit into the processor's cache.
NUMBERS_AT_ONCE = 2**17
FALSE_ALARM = 0.05


def cells_between(values, counts, parts):
    """Lay out a cell for each distinct value, which reaches halfway to the next ones.

    Parameters
    ----------
    values : ndarray of shape (n_values,)
        Increasing values.
    counts : ndarray of shape (n_values,)
        Their weights.
    parts : list of (int, int)
        Where each part begins and ends in which cells are laid out on their own.

    Returns
    -------
    cells : list of (edges, counts)
        For each part the edges of its cells, from its smallest value to the largest, and their weights.
    """
    middles = values[:-1] / 2 + values[1:] / 2
    all_edges, cells = np.concatenate([values[:1], middles, values[-1:]]), []
    for a, b in parts:
        edges = all_edges[a : b + 1].copy()
        edges[0], edges[-1] = values[a], values[b - 1]
        cells.append((edges, counts[a:b]))
    if ((values[:-1] < middles) & (middles < values[1:])).all():
        return cells
    return [_with_width(*of_part) for of_part in cells]


def _with_width(edges, counts):
    """Drop the cells of no width: between neighbours of floating-point numbers there is no third one."""
    first = np.flatnonzero(np.diff(edges) > 0)
    if not len(first):  # a single value
        return edges, counts
    cell = np.searchsorted(first, np.arange(len(counts)), side="right").clip(1) - 1
    return np.append(edges[first], edges[-1]), np.bincount(cell, counts)


def merged_cells(edges, counts, max_cells):
    """Take neighbouring cells together where there are more than `max_cells`; see :func:`cells_between`."""
    if len(counts) <= max_cells:
        return edges, counts
    first = np.arange(max_cells) * len(counts) // max_cells
    return np.append(edges[first], edges[-1]), np.add.reduceat(counts, first)


def best_partitions(samples, false_alarm=FALSE_ALARM):
    """Find the partition of the highest fitness for each of several samples.

    The dynamic program goes over the cells, for all samples of similar length at once.

    Parameters
    ----------
    samples : list of (edges, counts)
        For each sample the edges of its cells, an increasing array of shape (n_cells + 1,), and their positive weights.
    false_alarm : float, default=0.05
        Probability of an edge where the density does not change.

    Returns
    -------
    edges : list of ndarray
        Edges of the blocks of each sample.
    """
    lengths = np.array([len(counts) for _, counts in samples], dtype=np.intp)
    order, result, start = np.argsort(-lengths, kind="stable"), [None] * len(samples), 0
    while start < len(order):
        longest = lengths[order[start]]
        # The shorter ones are padded, to twice their length at most.
        stop = np.searchsorted(-lengths[order], -longest // 2, side="right")
        stop = min(stop, start + max(NUMBERS_AT_ONCE // longest, 1))
        part = order[start:stop]
        last = _last_blocks([samples[i] for i in part], longest, false_alarm)
        for i, begins in zip(part, last.tolist(), strict=True):
            chosen, k = [lengths[i]], lengths[i]
            while k > 0:
                k = begins[k - 1]
                chosen.append(k)
            result[i] = samples[i][0][chosen[::-1]]
        start = stop
    return result


def _last_blocks(samples, length, false_alarm):
    """Return the start of the last block in the best partition of the first cells, of shape (n, length)."""
    n = len(samples)
    counts, edges = np.ones((n, length)), np.zeros((n, length + 1))
    n_cells = np.array([len(its_counts) for _, its_counts in samples])
    every_count = np.concatenate([its_counts for _, its_counts in samples])
    counts[np.arange(length) < n_cells[:, None]] = every_count
    edges[np.arange(length + 1) <= n_cells[:, None]] = np.concatenate([e for e, _ in samples])
    totals = np.add.reduceat(every_count, np.cumsum(n_cells) - n_cells)
    penalty = (4 - np.log(73.53 * false_alarm * totals**-0.478))[:, None]
    best, last = np.zeros((n, length + 1)), np.zeros((n, length), dtype=np.intp)
    inside, rows = np.zeros((n, length)), np.arange(n)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # what is padded
        for k in range(length):
            of_block = inside[:, : k + 1]
            of_block += counts[:, k, None]
            fitness = edges[:, k + 1, None] - edges[:, : k + 1]
            np.divide(of_block, fitness, out=fitness)
            np.log(fitness, out=fitness)
            fitness *= of_block
            fitness += best[:, : k + 1]
            fitness -= penalty
            last[:, k] = np.argmax(fitness, axis=1)
            best[:, k + 1] = fitness[rows, last[:, k]]
    return last
