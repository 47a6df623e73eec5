"""Energies beside the mixtures that they tilt: log-likelihoods of test rows, and the detection of outliers.

Tables of numbers have the columns that look continuous, in units of the standard deviations of the training rows, as in
`benchmarks likelihood --suite continuous`; mixed tables are complete, as in `--suite mixed`. The mixture has the number
of components that is best for the validation rows; both are fitted to the training rows alone. Detectors are fitted to
half of the normal rows, as in `benchmarks outliers --shuffled`.
"""

import time
from functools import partial

import numpy as np
from sklearn.base import clone

from benchmarks import data, outliers
from benchmarks.latent.mixtures import best_fit
from benchmarks.likelihood import mean_of_possible
from benchmarks.results import version_of
from sklearn_dgm import EnergyDensity, MixtureDensity

BASE, TILTED = "MixtureDensity, gaussian", "EnergyDensity"
# What is aimed at, in nats a row above the mixture; elsewhere not to be more than 0.01 below it.
GAINS = {"magic.gamma": 0.1, "phoneme": 0.1}
MIXED = ("german_credit", "penguins", "titanic")
DETECTED = ("cardio", "thyroid", "PageBlocks")


def add_arguments(parser):
    parser.add_argument(
        "--bases", type=int, nargs="+", default=[4, 16, 32], help="components of tilted mixtures"
    )
    parser.add_argument("--min-distinct", type=int, default=50, help="values of a column at least")
    parser.add_argument("--max-share", type=float, default=0.1, help="share of its commonest value")


def measure(results, args):
    """Measure energies on the tables that are asked for."""
    for name, parts, kinds in tables(args):
        if not args.only or name in args.only:
            measure_table(results, name, parts, kinds, args)
    for name, X, y in outliers.tables(args.data):
        if name in (args.only or DETECTED):
            measure_detection(results, name, X, y, args)


def tables(args):
    """Yield names of tables, their three parts, and the kinds of their columns."""
    for name, X in data.continuous_tables(args.data):
        kept = data.looks_continuous(X, args.min_distinct, args.max_share) & ~data.has_atoms(X)
        if kept.sum() < 2:
            continue
        train, valid, test = data.three_parts(X[:, kept], 1, args.max_rows)
        location, scale = train.mean(axis=0), train.std(axis=0)
        parts = [(part - location) / scale for part in (train, valid, test)]
        yield name, parts, dict.fromkeys(range(kept.sum()), "continuous")
    for name, frame in data.mixed_tables(args.data):
        if name in (args.only or MIXED):
            yield name, data.three_parts(data.complete_table(frame), 1, args.max_rows), None


def mixtures_to_tilt(args, kinds):
    """Return what makes the candidates for the mixture, by name."""
    shared = {"component": "gaussian", "column_kinds": kinds, "random_state": 0}
    return {f"{n} components": lambda n=n: MixtureDensity(n, **shared) for n in args.bases}


def measure_table(results, name, parts, kinds, args):
    """Measure a mixture, and the energy that tilts it."""
    train, valid, test = parts
    record = {"data": name, "case": "energy", "version": version_of("sklearn-dgm")}
    record |= {"rows": sum(map(len, parts)), "columns": train.shape[1]}
    chosen, base, seconds, of_all = best_fit(mixtures_to_tilt(args, kinds), train, valid)
    of_base = mean_of_possible(base.score_samples(test))
    taken = {"fit_seconds": round(seconds, 1), "all_seconds": round(of_all, 1), "notes": chosen}
    results.attempt(record | {"peer": BASE}, lambda: {**of_base, **taken})

    def tilt_and_score():
        start = time.process_time()
        density = EnergyDensity(clone(base), random_state=0).fit(train)
        seconds = time.process_time() - start
        gain = GAINS.get(name, -0.01)
        return {
            **mean_of_possible(density.score_samples(test)),
            "target": round(of_base["log_likelihood"] + gain, 3),
            "log_partition_std_error": density.log_partition_std_error_,
            "effective_share": density.effective_sample_share_,
            "fit_seconds": round(seconds, 1),
            "notes": f"{chosen}, {density.n_iter_} epochs",
        }

    results.attempt(record | {"peer": TILTED}, tilt_and_score)


def measure_detection(results, name, X, y, args):
    """Measure detectors over a mixture and over the energy that tilts it."""
    order = np.random.default_rng(0).permutation(len(X))
    train, test, is_anomaly = outliers.split(X[order], y[order])
    kinds = dict.fromkeys(range(X.shape[1]), "continuous")
    base = MixtureDensity(args.bases[0], "gaussian", column_kinds=kinds, random_state=0)
    record = {"data": name, "case": "outliers", "version": version_of("sklearn-dgm")}
    record |= {"rows": len(X), "columns": X.shape[1]}
    for peer, density in ((BASE, base), (TILTED, EnergyDensity(base, random_state=0))):
        fit = partial(outliers.fit_density, lambda train, seed, density=density: density)
        results.attempt(
            record | {"peer": peer}, partial(outliers.measure, fit, train, test, is_anomaly, 0)
        )
