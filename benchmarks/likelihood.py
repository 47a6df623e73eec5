"""Held-out log-likelihood of AutoregressiveDensity, KernelDensity and GaussianMixture on real tables.

Rows are split into 70 % training, 15 % validation and 15 % test. Columns are standardised by the training rows, and
scores are nats per test row in these units. AutoregressiveDensity has its defaults and is fitted to training and
validation rows (of which it keeps a tenth to stop on). KernelDensity has the bandwidth that is best in five folds of the
same rows (of a random part of them where they are many) and is fitted to all of them. GaussianMixture has the number of
components that is best on the validation rows when fitted to the training rows, and is fitted again to both.

Only columns that look continuous take part: where values repeat, a density can be raised at will.
"""

import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.neighbors import KernelDensity

from benchmarks._measure import import_optional, print_table
from sklearn_dgm import AutoregressiveDensity

HEADER = [
    *("table", "seed", "rows", "columns", "copies", "AR", "KDE", "GMM", "AR - KDE"),
    *("AR s", "KDE s", "GMM s", "epochs", "bandwidth", "components"),
]
MIN_ROWS = 1000
BANDWIDTHS = np.geomspace(0.02, 2, 30)
N_COMPONENTS = (1, 2, 4, 8, 16, 32, 64)


def add_arguments(parser):
    parser.add_argument("--data", type=Path, required=True, help="folder of the tables")
    parser.add_argument("--only", nargs="+", help="names of tables, such as texture")
    parser.add_argument("--max-rows", type=int, default=10_000, help="rows of a table at most")
    parser.add_argument(
        "--bandwidth-rows",
        type=int,
        default=10_000,
        help="rows to choose the bandwidth on, at most",
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="seeds of split and fit")
    parser.add_argument("--min-distinct", type=int, default=50, help="values of a column at least")
    parser.add_argument("--max-share", type=float, default=0.1, help="share of its commonest value")


def run(args):
    print("AR is AutoregressiveDensity; copies are test rows that were also seen in fit; the gain")
    print("has its standard error over test rows; seconds of fit include all choices.\n")
    warnings.simplefilter("ignore", ConvergenceWarning)
    paths = [p for p in table_paths(args.data) if args.only is None or table_name(p) in args.only]
    left_out = []
    rows = measured_rows(paths, left_out, args)
    print_table(HEADER, rows)
    print(f"Left out for their few continuous columns or rows: {', '.join(left_out) or 'none'}.")


def measured_rows(paths, left_out, args):
    """Rows of the printed table, one by one; tables that do not qualify are added to `left_out`."""
    for path in paths:
        X, n_columns = read_columns(path, args.min_distinct, args.max_share)
        if len(X) < MIN_ROWS or X.shape[1] < 2:
            left_out.append(f"{table_name(path)} ({X.shape[1]} of {n_columns}, {len(X)} rows)")
            continue
        for seed in args.seeds:
            yield measure(table_name(path), n_columns, X, seed, args)


def table_name(path):
    return path.name.partition(".")[0]


def table_paths(folder):
    """Files of the tables, the halves of adult as one."""
    patterns = ("continuous/*.npz", "adbench/*.npz", "mixed/*.csv.gz")
    paths = [path for pattern in patterns for path in sorted(folder.glob(pattern))]
    return [path for path in paths if path.name != "adult_test.csv.gz"]


def read_columns(path, min_distinct, max_share):
    """Numeric columns that look continuous, of the rows without missing values.

    Parameters
    ----------
    path : Path
        File of the table; a column `y` of its own is left out.
    min_distinct : int
        Number of values that a column must have.
    max_share : float
        Largest share of the rows that one value may have.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features)
        Rows.
    n_columns : int
        Number of columns before the choice.
    """
    if path.suffix == ".npz":
        X = np.load(path)["X"].astype(np.float64)
    else:
        X = import_optional("pandas").read_csv(path).select_dtypes("number").to_numpy(np.float64)
    X = X[:, ~np.isnan(X).all(axis=0)]
    X = X[~np.isnan(X).any(axis=1)]
    counts = [np.unique(x, return_counts=True)[1] for x in X.T]
    kept = [len(c) >= min_distinct and c.max() <= max_share * len(X) for c in counts]
    return X[:, kept], len(kept)


def split(X, max_rows, rng):
    """Standardised training, validation and test rows."""
    X = X[rng.permutation(len(X))[:max_rows]]
    train, valid, test = np.split(X, [int(0.7 * len(X)), int(0.85 * len(X))])
    location, scale = train.mean(axis=0), train.std(axis=0)
    return [(part - location) / scale for part in (train, valid, test)]


def fit_autoregressive(train, valid, seed):
    return AutoregressiveDensity(random_state=seed).fit(np.concatenate([train, valid]))


def fit_kde(train, valid, seed, n_rows):
    both = np.concatenate([train, valid])
    some = np.random.default_rng(seed).permutation(both)[:n_rows]
    folds = KFold(5, shuffle=True, random_state=seed)
    # A relative tolerance of 1e-3 moves a score by at most 1e-3 nats and saves half the time.
    search = GridSearchCV(
        KernelDensity(rtol=1e-3), {"bandwidth": BANDWIDTHS}, cv=folds, refit=False
    )
    return KernelDensity(**search.fit(some).best_params_).fit(both)


def fit_mixture(train, valid, seed):
    mixtures = [GaussianMixture(k, random_state=seed) for k in N_COMPONENTS]
    best = max(mixtures, key=lambda mixture: mixture.fit(train).score(valid))
    return best.fit(np.concatenate([train, valid]))


def share_of_copies(rows, of):
    """Share of rows that are equal to one of others."""
    known = {row.tobytes() for row in of}
    return np.mean([row.tobytes() in known for row in rows])


def measure(name, n_columns, X, seed, args):
    """Cells of one row of the printed table."""
    train, valid, test = split(X, args.max_rows, np.random.default_rng(seed))
    fits = {
        "AR": lambda: fit_autoregressive(train, valid, seed),
        "KDE": lambda: fit_kde(train, valid, seed, args.bandwidth_rows),
        "GMM": lambda: fit_mixture(train, valid, seed),
    }
    densities, seconds, scores = {}, {}, {}
    for label, fit in fits.items():
        start = time.perf_counter()
        densities[label] = fit()
        seconds[label] = time.perf_counter() - start
        scores[label] = densities[label].score_samples(test)
    gain = scores["AR"] - scores["KDE"]
    return [
        name,
        seed,
        len(train) + len(valid) + len(test),
        f"{X.shape[1]} of {n_columns}",
        f"{share_of_copies(test, np.concatenate([train, valid])):.0%}",
        *[f"{score.mean():.2f}" for score in scores.values()],
        f"{gain.mean():+.2f} ± {gain.std() / np.sqrt(len(gain)):.2f}",
        *[f"{s:.0f}" for s in seconds.values()],
        densities["AR"].n_iter_,
        f"{densities['KDE'].bandwidth:.3f}",
        densities["GMM"].n_components,
    ]
