"""Peers for tables of categories, whole numbers and floats, all on one reference measure.

A score is the log-density with respect to the counting measure on categories and whole numbers and the Lebesgue measure
on floats, in the units of the table: the same for every peer here and for `AutoregressiveDensity`, so that scores
compare. `complete_table` sees to it that a table has no other columns.

- Cells (independent columns, Chow-Liu tree): a category is a cell; the line of numbers is cut at quantiles of the
  training rows. A cell's probability is spread evenly over its whole numbers, or over its length.
- Mixture: a code or whole number k becomes a point, evenly at random within half a unit of k, and P(k) is the density's
  integral over that unit, estimated by the mean over several such points; a float stays as it is. What the mixture has
  outside the units of the categories is lost to it.
"""

import numpy as np
import pandas as pd
from scipy.special import logsumexp

from benchmarks.trees import best_pseudo_count

N_BINS = (4, 8, 16, 32, 64)
N_NOISE = 64


def is_categorical(x):
    """Whether a column of a complete table has categories."""
    return x.dtype == "category" or x.dtype.kind == "b"


def category_codes(x):
    """Codes of a column of categories or booleans, and their number."""
    if x.dtype == "category":
        return x.cat.codes.to_numpy(np.int64), len(x.cat.categories)
    return x.to_numpy(np.int64), 2


class Cells:
    """How a table is cut into cells.

    Parameters
    ----------
    frame : DataFrame
        Training rows of a complete table.
    n_bins : int
        Number of quantiles that numbers are cut at.

    Attributes
    ----------
    n_levels : list of int
        Number of cells of each column.
    """

    def __init__(self, frame, n_bins):
        self.edges = [
            None if is_categorical(frame[name]) else _bin_edges(frame[name], n_bins)
            for name in frame
        ]
        self.n_levels = [
            category_codes(frame[name])[1] if edges is None else len(edges) - 1
            for name, edges in zip(frame, self.edges, strict=True)
        ]

    def encode(self, frame):
        """Cells of rows.

        Parameters
        ----------
        frame : DataFrame
            Rows.

        Returns
        -------
        codes : ndarray of int, shape (n_rows, n_columns)
            Cell of each value.
        log_share : ndarray of shape (n_rows,)
            Log-density of a row within its cell; minus infinity for one that is in no cell.
        """
        codes = np.empty(frame.shape, dtype=np.int64)
        log_share = np.zeros(len(frame))
        for j, (name, edges) in enumerate(zip(frame, self.edges, strict=True)):
            if edges is None:
                codes[:, j] = category_codes(frame[name])[0]
                continue
            x = frame[name].to_numpy(np.float64)
            cell = np.searchsorted(edges, x, side="right") - 1
            codes[:, j] = cell.clip(0, len(edges) - 2)
            inside = cell == codes[:, j]
            log_share -= np.where(inside, np.log(np.diff(edges)[codes[:, j]]), np.inf)
        return codes, log_share


def _bin_edges(x, n_bins):
    """Edges at quantiles, with one wide cell on either side for values beyond; half-way between whole numbers."""
    whole = x.dtype.kind == "i"
    x = x.to_numpy(np.float64)
    method = "nearest" if whole else "linear"
    cuts = np.quantile(x, np.linspace(0, 1, n_bins + 1), method=method)
    if whole:  # a cut is a cell of its own, since numbers such as 0 may be frequent
        cuts = np.concatenate([cuts - 0.5, cuts + 0.5])
    edges = np.unique(cuts)
    width = edges[-1] - edges[0]
    return np.concatenate([[edges[0] - width], edges, [edges[-1] + width]])


def fit_cells(model, train, valid, n_bins=N_BINS):
    """Fit a model of cells, with the number of bins and the pseudo-count that are best for the validation rows.

    Parameters
    ----------
    model : {Independent, ChowLiuTree}
        Class of the model over cells.
    train, valid : DataFrame
        Rows.
    n_bins : sequence of int
        Numbers of bins to choose from.

    Returns
    -------
    log_prob : callable
        Log-densities of the rows of a frame.
    notes : str
        What was chosen.
    """
    best_score, best = -np.inf, None
    for n in n_bins:
        cells = Cells(train, n)
        codes, log_share = cells.encode(valid)
        possible = np.isfinite(log_share)
        fitted, score, alpha = best_pseudo_count(
            model, cells.encode(train)[0], codes, cells.n_levels
        )
        score += log_share[possible].mean()
        if best is None or score > best_score:
            best_score, best = score, (cells, fitted, f"{n} bins, pseudo-count {alpha:g}")
    cells, fitted, notes = best

    def log_prob(frame):
        codes, log_share = cells.encode(frame)
        return fitted.log_prob(codes) + log_share

    return log_prob, notes


def numbers(frame, rng=None):
    """Categories as codes, whole numbers and floats as they are, in one matrix.

    Parameters
    ----------
    frame : DataFrame
        Rows.
    rng : Generator or None
        Source of noise: codes and whole numbers then lie evenly within half a unit of themselves.

    Returns
    -------
    Z : ndarray of shape (n_rows, n_columns)
        Rows.
    """
    columns = [
        category_codes(frame[name])[0] if is_categorical(frame[name]) else frame[name]
        for name in frame
    ]
    Z = np.stack([np.asarray(x, dtype=np.float64) for x in columns], axis=1)
    if rng is not None:
        counted = [frame[name].dtype.kind != "f" for name in frame]
        Z[:, counted] += rng.uniform(-0.5, 0.5, (len(Z), sum(counted)))
    return Z


def fit_dequantised_mixture(choose, train, valid, seed, n_noise=N_NOISE):
    """Fit a Gaussian mixture over codes and whole numbers with noise.

    Parameters
    ----------
    choose : callable
        Takes training rows, validation rows and a seed, all standardised; returns a mixture and notes.
    train, valid : DataFrame
        Rows.
    seed : int
        Seed of noise and mixture.
    n_noise : int
        Draws of noise that a score is the mean over.

    Returns
    -------
    log_prob : callable
        Estimates of the log-densities of the rows of a frame, a little low.
    notes : str
        What was chosen.
    """
    rng = np.random.default_rng(seed)
    Z = numbers(train, rng)
    location, scale = Z.mean(axis=0), Z.std(axis=0)
    mixture, notes = choose((Z - location) / scale, (numbers(valid, rng) - location) / scale, seed)

    def log_prob(frame):
        noise = np.random.default_rng(seed)
        draws = [
            mixture.score_samples((numbers(frame, noise) - location) / scale)
            for _ in range(n_noise)
        ]
        return logsumexp(draws, axis=0) - np.log(n_noise) - np.log(scale).sum()

    return log_prob, f"{notes}, {n_noise} draws of noise"


def as_strings(frame):
    """Return the table with pandas categories and booleans as strings, for those who know neither."""
    categorical = [name for name in frame if is_categorical(frame[name])]
    return frame.astype(dict.fromkeys(categorical, object)).astype(
        dict.fromkeys(categorical, str)
    ), categorical


def like_table(frame, table):
    """Turn a drawn table back into the dtypes of another."""
    columns = {}
    for name, x in table.items():
        drawn = frame[name]
        if x.dtype == "category":
            strings = {str(value): value for value in x.cat.categories}
            drawn = pd.Categorical(drawn.astype(str).map(strings), dtype=x.dtype)
        elif x.dtype.kind == "b":
            drawn = drawn.astype(str) == "True"
        elif x.dtype.kind == "i":
            drawn = drawn.astype(np.float64).round().astype(np.int64)
        columns[name] = drawn
    return pd.DataFrame(columns)
