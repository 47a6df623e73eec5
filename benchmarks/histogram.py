"""Fit, score_samples, sample and memory of HistogramDensity, beside NumPy and boost-histogram."""

import pickle
import tracemalloc

import numpy as np

from benchmarks._measure import import_optional, interleaved_seconds, print_table
from sklearn_dgm import HistogramDensity


def add_arguments(parser):
    parser.add_argument("--n-rows", type=int, default=10_000_000, help="rows and draws")
    parser.add_argument("--repeats", type=int, default=5, help="interleaved rounds")


def run(args):
    print_fit_and_score(args.n_rows, args.repeats)
    print_sample(args.n_rows, args.repeats)
    print_memory()


def print_fit_and_score(n_rows, repeats):
    """Two normal columns, 100 equal bins each."""
    boost = import_optional("boost_histogram.numpy")
    X = np.random.default_rng(0).normal(size=(n_rows, 2))
    density = HistogramDensity(bins=100)
    seconds = interleaved_seconds(
        {
            "HistogramDensity.fit": lambda: density.fit(X),
            "HistogramDensity.score_samples": lambda: density.score_samples(X),
            "numpy.histogramdd": lambda: np.histogramdd(X, bins=100),
            "boost_histogram, 1 thread": lambda: boost.histogramdd(tuple(X.T), bins=100, threads=1),
            "boost_histogram, 2 threads": lambda: boost.histogramdd(
                tuple(X.T), bins=100, threads=2
            ),
        },
        repeats,
    )
    _print_ratios(f"{n_rows:,} rows x 2 columns", seconds, "HistogramDensity.fit")


def print_sample(n_draws, repeats):
    """Draws from a million occupied cells, as integer columns and as continuous ones."""
    cells = np.indices((1000, 1000)).reshape(2, -1).T
    rng = np.random.default_rng(0)
    weight = rng.integers(1, 100, size=len(cells)).astype(np.float64)
    integer = HistogramDensity().fit(cells, sample_weight=weight)
    continuous = HistogramDensity(bins=1000).fit(cells + 0.5, sample_weight=weight)
    seconds = interleaved_seconds(
        {
            "sample, 2 integer columns": lambda: integer.sample(n_draws, random_state=0),
            "sample, 2 continuous columns": lambda: continuous.sample(n_draws, random_state=0),
            "Generator.choice": lambda: rng.choice(len(cells), n_draws, p=weight / weight.sum()),
        },
        repeats,
    )
    title = f"{n_draws:,} draws from {len(cells):,} cells"
    _print_ratios(title, seconds, "sample, 2 integer columns")


def _print_ratios(title, seconds, unit):
    print_table(
        [title, "seconds", f"ratio to {unit}"],
        [
            [name, f"{np.median(values):.2f}", f"{np.median(values / seconds[unit]):.2f}"]
            for name, values in seconds.items()
        ],
    )


def print_memory():
    """Peak of fit and size of the model, relative to the rows."""
    X = np.random.default_rng(0).normal(size=(1_000_000, 20))
    rows = []
    for alpha in (0.0, 1.0):
        tracemalloc.start()
        density = HistogramDensity(bins=10, alpha=alpha).fit(X)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        size = len(pickle.dumps(density))
        rows.append([f"alpha={alpha:g}", f"{peak / X.nbytes:.2f}", f"{size / X.nbytes:.2f}"])
    print_table(["1,000,000 rows x 20 columns", "peak of fit / rows", "pickle / rows"], rows)
