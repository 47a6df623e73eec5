"""Seconds that importing the package takes, beside scikit-learn alone."""

import subprocess
import sys

import numpy as np

from benchmarks.results import Results

# The first one is what the others are set beside.
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
    results = Results("imports", args.results)
    for statement, s, more in zip(STATEMENTS, np.median(seconds, axis=0), extra, strict=True):
        results.add(
            data="statement",
            peer=f"`{statement}`",
            seconds=round(float(s), 3),
            more=round(float(more), 3),
        )


def _seconds(statement):
    """Time of a statement in a fresh interpreter, without the start of that."""
    code = (
        f"import time; start = time.perf_counter(); {statement}; print(time.perf_counter() - start)"
    )
    return float(
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout
    )
