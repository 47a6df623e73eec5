"""Mixtures on binary tables beside published figures, on red_wine beside GaussianMixture, and on mixed tables.

The number of components (and of factors) is the one that is best for the validation rows. Binary tables have the split
that they came with. The table of numbers follows the protocol of RNADE: ten folds, in units of the standard deviations
of the training rows, of which a tenth validates; the measure is that of continuous columns, rounded or not.

Mixed tables are split and measured as in the suite "mixed", beside its peers of tables; the form of the components is
chosen, too. Of tables of numbers, 30 % of the cells of training rows are made missing at random: `cost` is how much the
log-density of complete test rows is below that of the same model fitted to complete rows.

B. Uria, I. Murray, H. Larochelle, "RNADE: The real-valued neural autoregressive density-estimator", NIPS 2013,
https://arxiv.org/abs/1306.0186
"""

import time
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import KFold, train_test_split

from benchmarks import data
from benchmarks.likelihood import mean_of_possible
from benchmarks.peers import PEERS
from benchmarks.results import version_of
from sklearn_dgm import DensityImputer, MixtureDensity

# What is aimed at, in nats a row: mixtures of Bernoullis, and of trees.
TARGETS = {
    "nltcs": (-6.01, None),
    "plants": (-13.0, -12.95),
    "jester": (-52.6, None),
    "mushrooms": (-14.2, None),
    "accidents": (None, -30.0),
    "dna": (None, -86.0),
}
OF_FACTORS = {"red_wine": -10.2}
INDEPENDENT, TREES = "MixtureDensity, independent", "MixtureDensity, trees"
FULL, FACTORS = "MixtureDensity, full", "MixtureDensity, factors"
PEER = "GaussianMixture"
MIXED = "MixtureDensity"
# Tables of which cells are made missing, and their share.
MISSING, SHARE = ("boston_housing", "breast_cancer", "energy_efficiency", "red_wine", "vowels"), 0.3
IMPUTED, DRAWN = "GaussianMixture, means imputed", "GaussianMixture, DensityImputer"
# Of one name there may be several tables.


CASES = ("binary", "numbers", "missing", "mixed")


def add_arguments(parser):
    parser.add_argument(
        "--cases", nargs="+", choices=CASES, default=CASES, help="which tables of these names"
    )
    parser.add_argument(
        "--components", type=int, nargs="+", default=[20, 60, 150, 300], help="numbers to try"
    )
    parser.add_argument(
        "--trees", type=int, nargs="+", default=[8, 16, 32], help="numbers of trees to try"
    )
    parser.add_argument(
        "--gaussians",
        type=int,
        nargs="+",
        default=[2, 8, 16, 32],
        help="numbers of Gaussians to try",
    )
    parser.add_argument(
        "--forms", type=int, nargs="+", default=[1, 2, 4, 8, 16], help="numbers of mixed tables"
    )
    parser.add_argument(
        "--mixed-rows", type=int, default=5000, help="rows of a mixed table at most"
    )
    parser.add_argument("--folds", type=int, default=10, help="folds of tables of numbers")


def measure(results, args):
    """Measure mixtures on the tables that are asked for."""
    only = args.only or [*TARGETS, *OF_FACTORS, *MISSING]
    for name, parts in data.binary_tables(args.data):
        if name in only and "binary" in args.cases:
            measure_binary(results, name, [part[: args.max_rows] for part in parts], args)
    for name, X in data.continuous_tables(args.data):
        of_factors = name in OF_FACTORS or name not in MISSING
        if name in only and of_factors and "numbers" in args.cases:
            measure_numbers(results, name, X[: args.max_rows], args)
        if name in only and name in MISSING and "missing" in args.cases:
            measure_missing(results, name, X[: args.max_rows], args)
    for name, frame in data.mixed_tables(args.data):
        if (not args.only or name in only) and "mixed" in args.cases:
            measure_mixed(results, name, data.complete_table(frame), args)


def best_fit(makers, train, valid):
    """Fit models to rows, and return the one that is best for the validation rows, and CPU seconds of it and of all."""
    fits = {}
    for name, make in makers.items():
        start = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = make().fit(train)
        seconds = time.process_time() - start
        fits[name] = model, np.mean(model.score_samples(valid)), seconds
    best = max(fits, key=lambda name: fits[name][1])
    return best, fits[best][0], fits[best][2], sum(seconds for *_, seconds in fits.values())


def measure_binary(results, name, parts, args):
    """Measure mixtures of independent columns and of trees."""
    train, valid, test = parts
    record = {"data": name, "version": version_of("sklearn-dgm")}
    record |= {"rows": sum(map(len, parts)), "columns": train.shape[1]}
    numbers = {"independent": args.components, "tree": args.trees}
    for component, peer, target in zip(
        numbers, (INDEPENDENT, TREES), TARGETS.get(name, (None, None)), strict=True
    ):
        makers = {
            f"{n} components": lambda n=n, c=component: MixtureDensity(n, c, random_state=0)
            for n in numbers[component]
        }

        def choose_and_score(makers=makers, target=target):
            chosen, model, seconds, of_all = best_fit(makers, train, valid)
            return {
                **mean_of_possible(model.score_samples(test)),
                "target": target,
                "fit_seconds": round(seconds, 1),
                "all_seconds": round(of_all, 1),
                "notes": chosen,
            }

        results.attempt(record | {"peer": peer}, choose_and_score)


def makers_of_numbers(args, d):
    """Return what makes the candidates of each model of tables of d numbers."""
    kinds = dict.fromkeys(range(d), "continuous")
    shared = {"component": "gaussian", "column_kinds": kinds, "n_init": 2, "random_state": 0}

    def ours(n, **others):
        return lambda: MixtureDensity(n, **shared, **others)

    def theirs(n, ridge):
        return lambda: GaussianMixture(n, n_init=2, reg_covar=ridge, max_iter=200, random_state=0)

    factors = [q for q in (2, 6) if q < d]
    return {
        FULL: {f"{n} components": ours(n) for n in args.gaussians},
        FACTORS: {
            f"{n} components of {q} factors": ours(n, covariance_type="factor", n_factors=q)
            for n in args.gaussians
            for q in factors
        },
        PEER: {
            f"{n} components, reg_covar={ridge:g}": theirs(n, ridge)
            for n in args.gaussians
            for ridge in (1e-6, 1e-3, 1e-2)
        },
    }


def measure_numbers(results, name, X, args):
    """Measure Gaussian mixtures in folds; the mean is that of the test rows of all folds."""
    record = {"data": name, "rows": len(X), "columns": X.shape[1]}
    for peer, makers in makers_of_numbers(args, X.shape[1]).items():
        package = "scikit-learn" if peer == PEER else "sklearn-dgm"
        target = OF_FACTORS.get(name) if peer == FACTORS else None

        def score_folds(makers=makers, target=target):
            scores, seconds, chosen = [], [], []
            for rows, held_out in KFold(args.folds, shuffle=True, random_state=0).split(X):
                location, scale = X[rows].mean(axis=0), X[rows].std(axis=0)
                train, valid = train_test_split(
                    (X[rows] - location) / scale, test_size=0.1, random_state=0
                )
                best, model, *taken = best_fit(makers, train, valid)
                scores.append(model.score_samples((X[held_out] - location) / scale))
                seconds.append(taken)
                chosen.append(best)
            of_fit, of_all = np.mean(seconds, axis=0)
            return {
                **mean_of_possible(np.concatenate(scores)),
                "target": target,
                "fit_seconds": round(float(of_fit), 2),
                "all_seconds": round(float(of_all), 1),
                "notes": max(set(chosen), key=chosen.count),
            }

        results.attempt(record | {"peer": peer, "version": version_of(package)}, score_folds)


def mixed_case(name, table, args):
    """Return what a record says of a mixed table, and its three parts."""
    rows = min(filter(None, (args.max_rows, args.mixed_rows, len(table))))
    record = {"data": name, "case": "mixed", "rows": rows, "columns": table.shape[1]}
    return record, data.three_parts(table, 1, rows)


def measure_mixed(results, name, table, args):
    """Measure mixtures of every form beside the peers of mixed tables that are made of cells or Gaussians."""
    record, (train, valid, test) = mixed_case(name, table, args)
    forms = {
        "independent": {},
        "tree": {},
        "gaussian": {},
        "gaussian, diag": {"covariance_type": "diag"},
    }
    makers = {
        f"{n} components, {form}": lambda n=n, form=form, others=others: MixtureDensity(
            n, form.partition(",")[0], random_state=0, **others
        )
        for form, others in forms.items()
        for n in args.forms
    }

    def choose_and_score():
        chosen, model, seconds, of_all = best_fit(makers, train, valid)
        return {
            **mean_of_possible(model.score_samples(test)),
            "fit_seconds": round(seconds, 1),
            "all_seconds": round(of_all, 1),
            "notes": f"{chosen}, alpha {model.alpha_}",
        }

    results.attempt(
        record | {"peer": MIXED, "version": version_of("sklearn-dgm")}, choose_and_score
    )
    for peer in PEERS["mixed"][1:]:

        def fit_and_score(peer=peer):
            start = time.process_time()
            fitted = peer.fit(train, valid, 1)
            seconds = time.process_time() - start
            return {
                **mean_of_possible(np.asarray(fitted.log_prob(test))),
                "fit_seconds": round(seconds, 1),
                "notes": fitted.notes,
            }

        results.attempt(record | {"peer": peer.name, "version": peer.version}, fit_and_score)


def measure_missing(results, name, X, args):
    """Measure what missing cells cost mixtures that sum them out, and mixtures of imputed tables."""
    parts = data.three_parts(X, 1)
    location, scale = parts[0].mean(axis=0), parts[0].std(axis=0)
    train, valid, test = ((part - location) / scale for part in parts)
    gaps = np.random.default_rng(0).random(train.shape) < SHARE
    holes = np.where(gaps, np.nan, train)
    record = {"data": name, "case": "30 % missing", "rows": len(X), "columns": X.shape[1]}
    makers = makers_of_numbers(args, X.shape[1])
    shared = {
        "component": "gaussian",
        "column_kinds": dict.fromkeys(range(X.shape[1]), "continuous"),
    }

    def imputed():
        return SimpleImputer().fit_transform(holes)

    def drawn():
        density = MixtureDensity(4, random_state=0, **shared)
        return DensityImputer(density, random_state=0).fit_transform(holes)

    of_peers = {FULL: (FULL, lambda: holes), IMPUTED: (PEER, imputed), DRAWN: (PEER, drawn)}
    for peer, (model, fill) in of_peers.items():

        def complete_and_score(model=model, fill=fill):
            found = {}
            for case, rows in (("complete", train), ("missing", fill())):
                chosen, fitted, seconds, _ = best_fit(makers[model], rows, valid)
                found[case] = mean_of_possible(fitted.score_samples(test))["log_likelihood"]
            return {
                "log_likelihood": found["missing"],
                "complete": found["complete"],
                "cost": round(found["complete"] - found["missing"], 4),
                "fit_seconds": round(seconds, 1),
                "notes": chosen,
            }

        package = "sklearn-dgm" if model == FULL else "scikit-learn"
        results.attempt(record | {"peer": peer, "version": version_of(package)}, complete_and_score)
