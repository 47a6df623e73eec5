"""Fit, score_samples, sample and memory of HistogramDensity, beside NumPy and boost-histogram."""

import pickle
import tracemalloc
from functools import partial

import numpy as np

from benchmarks._measure import interleaved_seconds
from benchmarks.results import Results, version_of
from sklearn_dgm import HistogramDensity

OURS = "sklearn-dgm"


def add_arguments(parser):
    parser.add_argument("--n-rows", type=int, default=10_000_000, help="rows and draws")
    parser.add_argument("--repeats", type=int, default=5, help="interleaved rounds")


def run(args):
    results = Results("histogram", args.results)
    measure_fit_and_score(results, args.n_rows, args.repeats)
    measure_sample(results, args.n_rows, args.repeats)
    measure_memory(results)


def measure_fit_and_score(results, n_rows, repeats):
    """Two normal columns, 100 equal bins each."""
    X = np.random.default_rng(0).normal(size=(n_rows, 2))
    density = HistogramDensity(bins=100)
    name = f"{n_rows:,} rows x 2 columns"
    packages = dict.fromkeys(["HistogramDensity.fit", "HistogramDensity.score_samples"], OURS)
    packages["numpy.histogramdd"] = "numpy"
    tasks = {
        "HistogramDensity.fit": lambda: density.fit(X),
        "HistogramDensity.score_samples": lambda: density.score_samples(X),
        "numpy.histogramdd": lambda: np.histogramdd(X, bins=100),
    }
    with_threads = {1: "boost_histogram, 1 thread", 2: "boost_histogram, 2 threads"}
    packages |= dict.fromkeys(with_threads.values(), "boost-histogram")
    if version_of("boost-histogram") is None:
        for peer in with_threads.values():
            results.add(data=name, peer=peer, gap="not installed")
    else:
        import boost_histogram.numpy as boost

        tasks |= {
            peer: partial(boost.histogramdd, tuple(X.T), bins=100, threads=threads)
            for threads, peer in with_threads.items()
        }
    _add_ratios(results, name, interleaved_seconds(tasks, repeats), packages)


def measure_sample(results, n_draws, repeats):
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
    packages = dict.fromkeys(seconds, OURS) | {"Generator.choice": "numpy"}
    _add_ratios(results, f"{n_draws:,} draws from {len(cells):,} cells", seconds, packages)


def _add_ratios(results, name, seconds, packages):
    """Add medians of seconds, and of ratios to the first task."""
    first = next(iter(seconds.values()))
    for peer, values in seconds.items():
        results.add(
            data=name,
            peer=peer,
            version=version_of(packages[peer]),
            seconds=round(float(np.median(values)), 3),
            ratio=round(float(np.median(values / first)), 3),
        )


def measure_memory(results):
    """Peak of fit and size of the model, relative to the rows."""
    X = np.random.default_rng(0).normal(size=(1_000_000, 20))
    for alpha in (0.0, 1.0):
        tracemalloc.start()
        density = HistogramDensity(bins=10, alpha=alpha).fit(X)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        results.add(
            data="1,000,000 rows x 20 columns",
            peer=f"alpha={alpha:g}",
            version=version_of(OURS),
            peak_share=round(peak / X.nbytes, 3),
            pickle_share=round(len(pickle.dumps(density)) / X.nbytes, 3),
        )
