"""Seconds and memory of AutoregressiveDensity as rows become many, and with a column of very many categories.

Each fit has a fresh process; of three scores the fastest counts. Memory is the peak of that process less what it held
with the data before the fit. The rows are draws from eight overlapping normals with ten correlated columns.
"""

import resource
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pandas as pd

from benchmarks._measure import seconds_of
from benchmarks.peers import OURS
from benchmarks.results import Results, version_of
from sklearn_dgm import AutoregressiveDensity

N_COLUMNS = 10
N_SCORED = 10_000


def add_arguments(parser):
    parser.add_argument(
        "--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000], help="rows of a fit"
    )
    parser.add_argument("--category-rows", type=int, default=100_000, help="with many categories")
    parser.add_argument("--n-categories", type=int, default=10_000, help="of one column")


def run(args):
    results = Results("speed", args.results)
    for n in args.rows:
        _add(results, f"{n:,} x {N_COLUMNS}", clusters, n)
    case = f"{args.category_rows:,} x 3, one of {args.n_categories:,} categories"
    _add(results, case, many_categories, args.category_rows, args.n_categories)


def _add(results, case, make, *size):
    """Measure in a fresh process, and add the figures."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        figures = pool.submit(fit_and_score, make, *size).result()
    version = version_of("sklearn-dgm")
    results.add(data="nothing set", case=case, peer=OURS, version=version, **figures)


def clusters(n):
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(N_COLUMNS, N_COLUMNS))
    return rng.normal(size=(8, N_COLUMNS))[rng.integers(8, size=n)] + rng.normal(
        size=(n, N_COLUMNS)
    ) @ (0.5 * mixing)


def many_categories(n, n_categories):
    """Categories of which few are frequent and many rare, and two columns of numbers that depend on them."""
    rng = np.random.default_rng(0)
    codes = (n_categories * rng.random(n) ** 3).astype(np.int64)
    numbers = rng.normal(np.sin(codes[:, None] * [1.0, 0.1]), 0.3)
    frame = pd.DataFrame(numbers, columns=["a", "b"])
    frame.insert(
        0, "code", pd.Categorical.from_codes(codes, [f"c{k}" for k in range(n_categories)])
    )
    return frame


def fit_and_score(make, *size):
    """Figures of one fit."""
    X = make(*size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    density, fit_seconds = seconds_of(lambda: AutoregressiveDensity(random_state=0).fit(X))
    extra = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    rows = X[:N_SCORED]
    score_seconds = min(seconds_of(lambda: density.score_samples(rows))[1] for _ in range(3))
    n_bytes = X.memory_usage().sum() if isinstance(X, pd.DataFrame) else X.nbytes
    return {
        "rows": len(X),
        "fit_seconds": round(fit_seconds, 2),
        "rows_per_second": round(len(rows) / score_seconds),
        "extra_mb": round(extra / 1024, 1),  # ru_maxrss is in KiB on Linux
        "data_mb": round(int(n_bytes) / 2**20, 1),
        "notes": f"{density.n_iter_} epochs",
    }
