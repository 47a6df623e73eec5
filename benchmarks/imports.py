"""Seconds that importing the package takes, beside scikit-learn alone."""

import subprocess
import sys

import numpy as np

from benchmarks._measure import print_table

STATEMENTS = (
    "import sklearn.base",
    "import sklearn_dgm",
    "from sklearn_dgm import HistogramDensity",
    "import torch, skorch",
    "from sklearn_dgm import AutoregressiveDensity",
)


def add_arguments(parser):
    parser.add_argument("--repeats", type=int, default=15, help="fresh interpreters a statement")


def run(args):
    rounds = [[_seconds(statement) for statement in STATEMENTS] for _ in range(args.repeats + 1)]
    seconds = np.array(rounds[1:])
    extra = np.median(seconds - seconds[:, :1], axis=0)
    rows = zip(STATEMENTS, np.median(seconds, axis=0), extra, strict=True)
    print_table(
        ["statement", "seconds", f"more than `{STATEMENTS[0]}`"],
        [[f"`{statement}`", f"{s:.3f}", f"{more:+.3f}"] for statement, s, more in rows],
    )


def _seconds(statement):
    """Time of a statement in a fresh interpreter, without the start of that."""
    code = (
        f"import time; start = time.perf_counter(); {statement}; print(time.perf_counter() - start)"
    )
    return float(
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout
    )
