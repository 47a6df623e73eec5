"""Searches with two jobs against one, and fits of tables of Dask in two processes against one in memory.

A search is over four candidates in two folds, in one run with the same search by one job; worker processes have been
started and have imported torch before. The table, 10 floats of four clusters, lies in the memory of two processes of a
`distributed.LocalCluster`, or in that of this one.
"""

import time
import warnings

import joblib
import numpy as np
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV

from benchmarks.results import Results, version_of
from sklearn_dgm import (
    AutoregressiveDensity,
    BayesianNetworkDensity,
    HistogramDensity,
    MixtureDensity,
)

N_COLUMNS, N_CLUSTERS, N_PARTITIONS = 10, 4, 16
TARGET_RATIO = 1.6
SEARCHES = {
    "AutoregressiveDensity": (
        AutoregressiveDensity(n_orders=1, max_epochs=10, random_state=0),
        {"hidden_layer_sizes": [(64,), (128,)], "lr": [1e-3, 3e-3]},
    ),
    "MixtureDensity": (
        MixtureDensity(8, "tree", max_iter=500, random_state=0),
        {"alpha": [0.3, 1.0, 3.0, 10.0]},
    ),
}
EDGES = np.linspace(-30, 30, 13)
CHAIN = [(j, j + 1) for j in range(N_COLUMNS - 1)]
# What Dask sets for its workers, and for processes that start beside them, but for a threshold of the allocator, by
# which memory goes back to the system at once: with it networks take half as long again.
OF_WORKERS = {
    "distributed.nanny.pre-spawn-environ": {
        "OMP_NUM_THREADS": 1,
        "MKL_NUM_THREADS": 1,
        "OPENBLAS_NUM_THREADS": 1,
    }
}
# Whose cells do not depend on the rows, and whose steps are as many.
TABLES = {
    "HistogramDensity": HistogramDensity(bins=[np.linspace(-30, 30, 4)] * N_COLUMNS),
    "BayesianNetworkDensity": BayesianNetworkDensity(
        CHAIN, conditional="table", bins=[EDGES] * N_COLUMNS
    ),
    "MixtureDensity": MixtureDensity(4, "gaussian", tol=0.0, max_iter=10, random_state=0),
}


def add_arguments(parser):
    parser.add_argument("--rows", type=int, default=2_000_000, help="rows of the table of Dask")
    parser.add_argument("--search-rows", type=int, default=10_000, help="rows of a search")


def run(args):
    import dask
    from distributed import Client, LocalCluster

    results = Results("clusters", args.results)
    with (
        dask.config.set(OF_WORKERS),
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            dashboard_address=":0",
            scheduler_kwargs={"dashboard": False},
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        backends = {"loky": {}, "dask": {"client": client}}
        version = version_of("sklearn-dgm")
        for name in SEARCHES:
            alone = None
            for backend, params in {"alone": {}, **backends}.items():
                record = {"data": f"{args.search_rows:,} rows", "case": backend, "peer": name}
                n_jobs = 1 if backend == "alone" else 2
                backend = "sequential" if backend == "alone" else backend
                figures, found = searched(name, args.search_rows, n_jobs, backend, params)
                alone = alone or (figures["seconds"], found)
                figures["ratio"] = round(alone[0] / figures["seconds"], 2)
                figures["difference"] = float(np.abs(found - alone[1]).max())
                results.add(**record, version=version, target=TARGET_RATIO, **figures)
        for name, density in TABLES.items():
            record = {"data": f"{args.rows:,} rows", "case": "a table of Dask", "peer": name}
            figures = fitted(density, args.rows, client)
            results.add(**record, version=version, **figures)


def rows_of(n_rows, seed=0):
    """Return rows of four clusters."""
    centres = np.random.default_rng(0).normal(0, 2, (N_CLUSTERS, N_COLUMNS))
    rng = np.random.default_rng([1, seed])
    return rng.normal(centres[rng.integers(N_CLUSTERS, size=n_rows)])


def searched(name, n_rows, n_jobs, backend, params):
    """Return the seconds of a search, and the scores that it found."""
    density, grid = SEARCHES[name]
    X = rows_of(n_rows)
    search = GridSearchCV(density, grid, cv=2, n_jobs=n_jobs, refit=False, error_score="raise")
    with joblib.parallel_backend(backend, **params):
        joblib.Parallel(n_jobs)(joblib.delayed(start_up)() for _ in range(2 * n_jobs))
        start = time.perf_counter()
        search.fit(X)
    seconds = time.perf_counter() - start
    return {"seconds": round(seconds, 2)}, search.cv_results_["mean_test_score"]


def start_up():
    """Import what a fit needs, and wait, so that no process does it for all."""
    import torch

    import sklearn_dgm

    assert sklearn_dgm.AutoregressiveDensity is not None
    time.sleep(0.5)
    return torch.get_num_threads()


def fitted(density, n_rows, client):
    """Return the seconds of a fit in two processes and of one in memory, and how much they differ."""
    import dask.array as da
    from dask import delayed
    from distributed import wait

    n_rows //= N_PARTITIONS
    parts = [delayed(rows_of)(n_rows, seed) for seed in range(N_PARTITIONS)]
    shape = (n_rows, N_COLUMNS)
    with client.as_current():
        X = da.concatenate([da.from_delayed(part, shape, float) for part in parts]).persist()
        wait(X)
        of_dask, seconds = timed(density, X)
        X = X.compute()
    whole, seconds_alone = timed(density, X)
    figures = {"seconds": round(seconds, 2), "ratio": round(seconds_alone / seconds, 2)}
    if isinstance(density, MixtureDensity):  # which starts from other rows
        gain = np.mean(of_dask.score_samples(X) - whole.score_samples(X))
        return {**figures, "difference": float(gain)}
    pairs = zip(arrays_in(of_dask._counts), arrays_in(whole._counts), strict=True)
    return {**figures, "difference": float(max(np.abs(mine - its).max() for mine, its in pairs))}


def arrays_in(counts):
    """Return the arrays that counts consist of."""
    if isinstance(counts, np.ndarray):
        return [counts]
    parts = counts if isinstance(counts, dict) else vars(counts)
    return [array for part in parts.values() for array in arrays_in(part)]


def timed(density, X):
    """Return a fitted density, and the seconds that it took."""
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # steps are as many
        density = clone(density).fit(X)
    return density, time.perf_counter() - start
