"""Seconds and peak memory of fits to a Parquet file that is larger than the memory they may take.

The rows, 10 floats each, are those of four clusters in three dimensions, seen with noise. Each density is fitted in a
process of its own, and scores four chunks. Memory is the largest resident set above that after all imports.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

import numpy as np

from benchmarks.results import Results, version_of

DENSITIES = {
    "HistogramDensity": {},
    "BayesianNetworkDensity": {"conditional": "table", "random_state": 0},
    "MixtureDensity": {"random_state": 0},
    "AutoregressiveDensity": {"random_state": 0},
}
N_COLUMNS, N_FACTORS, N_CLUSTERS = 10, 3, 4
ROWS_AT_ONCE = 2**18
SCORED_CHUNKS = 4
TARGET_MB = 600


def add_arguments(parser):
    parser.add_argument("--rows", type=int, default=20_000_000, help="rows of the file")
    parser.add_argument("--data", type=Path, help="folder for the file; a temporary one by default")
    parser.add_argument("--densities", nargs="*", default=list(DENSITIES), choices=DENSITIES)


def run(args):
    results = Results("out_of_core", args.results)
    with tempfile.TemporaryDirectory(dir=args.data) as folder:
        path = Path(folder, "rows.parquet")
        write_rows(path, args.rows)
        record = {
            "data": f"{args.rows:,} rows x {N_COLUMNS} floats",
            "megabytes": round(args.rows * N_COLUMNS * 8 / 1e6),
            "version": version_of("sklearn-dgm"),
        }
        for name in args.densities:
            results.attempt({**record, "peer": name}, lambda name=name: measured(name, path))


def write_rows(path, n_rows):
    """Write rows of clusters in a few dimensions to a Parquet file."""
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    n_bytes = n_rows * N_COLUMNS * 8
    if shutil.disk_usage(path.parent).free < 1.2 * n_bytes:
        raise OSError(f"{path.parent} has no room for {n_bytes / 1e9:.1f} GB; give another --data.")
    rng = np.random.default_rng(0)
    centres = rng.normal(0, 2, size=(N_CLUSTERS, N_FACTORS))
    loadings = rng.normal(size=(N_FACTORS, N_COLUMNS))
    schema = pa.schema([(f"x{j}", pa.float64()) for j in range(N_COLUMNS)])
    with ParquetWriter(path, schema) as writer:
        for start in range(0, n_rows, ROWS_AT_ONCE):
            n = min(ROWS_AT_ONCE, n_rows - start)
            factors = rng.normal(centres[rng.integers(N_CLUSTERS, size=n)])
            X = factors @ loadings + rng.normal(0, 0.3, size=(n, N_COLUMNS))
            writer.write_table(pa.table(list(X.T), schema=schema))


def measured(name, path):
    """Return the figures of a fit in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.out_of_core", name, str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return json.loads(done.stdout.splitlines()[-1])


def fit_and_score(name, path):
    """Fit a density to a file and score some of it; return seconds and memory."""
    import pandas  # noqa: F401
    import pyarrow.dataset  # noqa: F401
    import skorch  # noqa: F401

    import sklearn_dgm

    density = getattr(sklearn_dgm, name)(**DENSITIES[name])
    after_imports = resident_set("VmRSS")
    start = time.perf_counter()
    density.fit(path)
    fitted = time.perf_counter()
    scores = np.concatenate(list(islice(density.iter_scores(path), SCORED_CHUNKS)))
    scored = time.perf_counter()
    return {
        "fit_seconds": round(fitted - start, 1),
        "rows_per_second": round(len(scores) / (scored - fitted)),
        "peak_mb": round(resident_set("VmHWM") - after_imports),
        "target_mb": TARGET_MB,
        "log_likelihood": round(float(scores[np.isfinite(scores)].mean()), 3),
    }


def resident_set(which):
    """Return the resident set of this process, now (VmRSS) or at its largest (VmHWM), in megabytes."""
    status = Path(f"/proc/{os.getpid()}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith(which))
    return int(line.split()[1]) * 1024 / 1e6


if __name__ == "__main__":
    print(json.dumps(fit_and_score(*sys.argv[1:])))
