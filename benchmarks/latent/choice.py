"""EnsembleDensity(), which chooses its members by the table, beside each of them.

Tables and splits are those of `likelihood`. The ensemble is fitted to training and validation rows together, at most
2,000 of them unless `--max-rows` says more; its members are fitted to the same rows, and so is each density that suits
the table but was not tried, or has no weight.
"""

import time
import warnings
from argparse import Namespace
from functools import partial

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from benchmarks import likelihood
from benchmarks.peers import both_parts
from benchmarks.results import version_of
from sklearn_dgm import EnsembleDensity
from sklearn_dgm._choice import suitable_densities
from sklearn_dgm._nested.fitting import seeded

MAX_ROWS = 2000
ENSEMBLE = "EnsembleDensity()"
SUITES = ("continuous", "binary", "mixed")


def add_arguments(parser):
    parser.add_argument("--suites", nargs="+", choices=SUITES, default=SUITES, help="of tables")
    parser.add_argument("--n-jobs", type=int, help="members of an ensemble fitted at once")


def measure(results, args):
    """Measure the ensemble and its members on the tables that are asked for."""
    wanted = {"data": args.data, "only": args.only, "seeds": [0], "min_distinct": 50}
    wanted |= {"max_rows": args.max_rows or MAX_ROWS, "max_share": 0.1}
    for suite in args.suites:
        for split in likelihood.SPLITS[suite](Namespace(**wanted)):
            if split.gap is None and not split.only_ours:
                measure_choice(results, split, args.n_jobs)


def measure_choice(results, split, n_jobs):
    """Fit an ensemble to a table, and score the test rows by it, by its members and by what is no member."""
    record = {
        "data": split.name,
        "case": "choice",
        "rows": sum(map(len, (split.train, split.valid, split.test))),
    }
    record |= {"columns": split.columns, "version": version_of("sklearn-dgm")}
    ensemble, rows = (
        EnsembleDensity(n_jobs=n_jobs, random_state=0),
        both_parts(split.train, split.valid),
    )

    def fit_and_score(density):
        start = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            density.fit(rows)
        seconds = round(time.process_time() - start, 1)
        scores = np.asarray(density.score_samples(split.test))
        return {**likelihood.mean_of_possible(scores), "fit_seconds": seconds}

    def choose_and_score():
        figures = fit_and_score(ensemble)
        weights = zip(members(ensemble), ensemble.weights_, strict=True)
        return figures | {"notes": ", ".join(f"{name} {weight:.2f}" for name, weight in weights)}

    results.attempt(record | {"peer": ENSEMBLE}, choose_and_score)
    if not hasattr(ensemble, "weights_"):
        return
    for name, density in members(ensemble).items():
        scores = np.asarray(density.score_samples(split.test))
        results.add(**record, peer=f"its {name}", **likelihood.mean_of_possible(scores))
    for name, density in suitable_densities(rows):
        if name not in members(ensemble):
            others = record | {"peer": f"{name}, no member"}
            seed = np.random.default_rng(0)
            results.attempt(others, partial(fit_and_score, seeded(density, seed)))


def members(ensemble):
    """Return the members of an ensemble that it has kept, by name."""
    return {name: d for name, d in ensemble.named_estimators_.items() if d != "drop"}
