"""Chow-Liu trees of binary tables beside published figures, and the time of a fit beside pgmpy's search for the tree.

Trees are fitted to the training rows, with the pseudo-count that is best for the validation rows, and score the test
rows. The time is that of the whole of `fit` (reading the rows, graph, tables), and for pgmpy that of the graph alone,
on the training rows of one table, in turns.
"""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import mutual_info_score

from benchmarks import data
from benchmarks._measure import interleaved_seconds, seconds_of
from benchmarks.likelihood import mean_of_possible
from benchmarks.published import BINARY
from benchmarks.results import Results, version_of
from sklearn_dgm import BayesianNetworkDensity

OURS = "BayesianNetworkDensity"
ALPHAS = (0.25, 0.5, 1.0, 2.0, 4.0)
TIMED = "plants"
# What lines of times have as their case.
SEARCH = "time of the tree"


def add_arguments(parser):
    parser.add_argument("--data", type=Path, required=True, help="folder of the tables")
    parser.add_argument("--only", nargs="+", help="names of tables, such as plants")
    parser.add_argument("--max-rows", type=int, help="rows of each part of a table at most")
    parser.add_argument("--timed", default=TIMED, help="name of the table to time, too")
    parser.add_argument("--repeats", type=int, default=5, help="interleaved rounds of the times")


def run(args):
    results = Results("chow_liu", args.results)
    for name, parts in data.binary_tables(args.data):
        if args.only is not None and name not in args.only:
            continue
        parts = [part[: args.max_rows] for part in parts]
        measure(results, name, *parts)
        if name == args.timed:
            measure_time(results, name, parts[0], args.repeats)


def fit_tree(rows, alpha=0.5):
    density = BayesianNetworkDensity(structure="chow-liu", conditional="table", alpha=alpha)
    return density.fit(rows)


def measure(results, name, train, valid, test):
    """Choose the pseudo-count, score the test rows, and add the figures, or why there are none."""
    record = {"data": name, "peer": OURS, "version": version_of("sklearn-dgm")}
    record |= {"rows": len(train) + len(valid) + len(test), "columns": train.shape[1]}
    published = BINARY.get(name, (None,))[0]

    def choose_and_score():
        fits = {alpha: seconds_of(lambda a=alpha: fit_tree(train, a)) for alpha in ALPHAS}
        # What is impossible is so for any pseudo-count above zero.
        scores = {
            alpha: mean_of_possible(tree.score_samples(valid))["log_likelihood"]
            for alpha, (tree, _) in fits.items()
        }
        alpha = max(scores, key=scores.get)
        tree, seconds = fits[alpha]
        figures = mean_of_possible(tree.score_samples(test))
        difference = None
        if published is not None:
            difference = round(figures["log_likelihood"] - published, 4)
        return figures | {
            "published": published,
            "difference": difference,
            "alpha": alpha,
            "fit_seconds": round(seconds, 3),
        }

    results.attempt(record, choose_and_score)


def measure_time(results, name, train, repeats):
    """Add medians of seconds, and of ratios to ours; and what the columns of each tree say of each other."""
    columns = train.shape[1]
    # Of booleans, bytes and wide integers, pgmpy is fastest with booleans.
    frame = pd.DataFrame(train, columns=[f"x{j}" for j in range(columns)])
    ours, theirs = f"{OURS}.fit", "pgmpy TreeSearch.estimate"
    packages = {ours: "sklearn-dgm", theirs: "pgmpy"}
    record = {"data": name, "case": SEARCH, "rows": len(train), "columns": columns}
    tasks, trees = {ours: lambda: fit_tree(frame).graph_}, {}
    if version_of("pgmpy") is None:
        results.add(**record, peer=theirs, gap='not installed: pip install ".[benchmark]"')
    else:
        tasks[theirs] = pgmpy_search(frame)

    def keep_tree(peer, find):
        trees[peer] = find()

    seconds = interleaved_seconds(
        {peer: lambda p=peer, f=find: keep_tree(p, f) for peer, find in tasks.items()}, repeats
    )
    for peer, values in seconds.items():
        results.add(
            **record,
            peer=peer,
            version=version_of(packages[peer]),
            seconds=round(float(np.median(values)), 3),
            ratio=round(float(np.median(values / seconds[ours])), 2),
            information=round(total_information(frame, trees[peer]), 6),
        )


def pgmpy_search(frame):
    """Return a function that searches the tree of a frame with pgmpy, in one process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the library about itself
        from pgmpy.estimators import TreeSearch

    search = TreeSearch(frame, n_jobs=1)
    return lambda: search.estimate(estimator_type="chow-liu", show_progress=False)


def total_information(frame, tree):
    """Sum of the mutual information of the ends of each edge, in nats: equal for trees that differ in ties alone."""
    return float(sum(mutual_info_score(frame[i], frame[j]) for i, j in tree.edges))
