"""AutoregressiveDensity beside an earlier release of itself, and zuko NSF: seconds of the processor, and likelihood.

Each fit has a fresh process and one thread, and those of a table come one after the other. Splits are those of
`likelihood`. For the earlier release, `git worktree add FOLDER COMMIT` makes a checkout.
"""

import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks import likelihood
from benchmarks.peers import OURS
from benchmarks.results import Results, version_of

HERE = Path(__file__).parent
BEFORE, FLOW = "the release before", "zuko NSF"


def add_arguments(parser):
    likelihood.add_arguments(parser)
    parser.add_argument("--before", type=Path, required=True, help="checkout of the release before")


def run(args):
    results = Results("releases", args.results)
    for split in likelihood.SPLITS[args.suite](args):
        if not split.gap:
            measure(results, split, args)


def measure(results, split, args):
    """Fit each of them, and set what they give the test rows side by side."""
    n_columns = split.train.shape[1]
    parameters = {"random_state": split.seed}
    if args.suite == "continuous":
        parameters["column_kinds"] = dict.fromkeys(range(n_columns), "continuous")
    rest = parameters, split.train, split.valid, split.test
    fits = {
        OURS: fit_in_process(HERE.parent, ("ours", *rest)),
        BEFORE: fit_in_process(args.before, ("ours", *rest)),
    }
    if args.suite == "continuous" and (args.peers is None or FLOW in args.peers):
        fits[FLOW] = fit_in_process(HERE.parent, ("flow", *rest))
    log_prob, seconds, _ = fits[OURS]
    for peer, (theirs, others, notes) in fits.items():
        figures = likelihood.mean_of_possible(theirs)
        if peer != OURS:
            figures |= paired(log_prob, theirs, n_columns)
            figures["ratio"] = round(others["fit"] / seconds["fit"], 2)
            figures["score_ratio"] = round(others["score"] / seconds["score"], 2)
        results.add(
            data=split.name,
            seed=split.seed,
            peer=peer,
            version=version_of("zuko") if peer == FLOW else None,
            rows=len(split.train) + len(split.valid) + len(split.test),
            columns=split.columns,
            notes=notes,
            fit_seconds=round(others["fit"], 2),
            **figures,
        )


def fit_in_process(checkout, task):
    """Fit and score with the package of a checkout; return log-densities, seconds of the processor, and notes."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(checkout.resolve())}
    with tempfile.TemporaryDirectory() as folder:
        question, answer = Path(folder) / "task", Path(folder) / "answer"
        question.write_bytes(pickle.dumps(task))
        command = [sys.executable, str(HERE / "_fit_one.py"), str(question), str(answer)]
        subprocess.run(command, env=environment, cwd=folder, check=True)
        return pickle.loads(answer.read_bytes())


def paired(ours, theirs, n_columns):
    """Mean of ours less theirs per column, and its standard error over the rows."""
    difference = (ours - theirs)[np.isfinite(ours) & np.isfinite(theirs)] / n_columns
    error = difference.std(ddof=1) / np.sqrt(len(difference))
    return {
        "difference": round(float(difference.mean()), 5),
        "standard_error": round(float(error), 5),
    }
