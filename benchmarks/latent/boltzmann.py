"""Boltzmann machines and belief nets on binary tables and digits, beside BernoulliRBM and published figures.

Of BernoulliRBM, whose score is a pseudo-log-likelihood, the log-likelihood is found by annealed importance sampling as
ours does it, so that both stand side by side. The digits are MNIST's training file, each pixel drawn once with a
probability of its grey value: 50,000 rows to learn from, 10,000 to score. The number of hidden units and the decay of
the weights are those that are best for the validation rows, of digits for the last 5,000 rows to learn from, which are
learnt from in the end.

Published figures of restricted Boltzmann machines stand in M. Germain, K. Gregor, I. Murray, H. Larochelle, "MADE:
Masked autoencoder for distribution estimation", ICML 2015, https://arxiv.org/abs/1502.03509
"""

import time
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import BernoulliRBM

from benchmarks import data
from benchmarks.latent.mixtures import best_fit
from benchmarks.likelihood import mean_of_possible
from benchmarks.results import version_of
from sklearn_dgm import DeepBeliefDensity, RestrictedBoltzmannDensity
from sklearn_dgm.energy._machine import BinaryUnits, BoltzmannMachine
from sklearn_dgm.energy._partition import annealed_partition

DIGITS = "binarised_mnist"
# Published, of machines of 23 hidden units or trained by contrastive divergence; what is aimed at of digits.
PUBLISHED = {"adult": -16.26, "mushrooms": -15.15, "dna_nade": -96.74}
TARGETS = {DIGITS: -90.0}
MACHINE, NET, PEER = "RestrictedBoltzmannDensity", "DeepBeliefDensity", "BernoulliRBM"


def add_arguments(parser):
    parser.add_argument(
        "--hidden-units", type=int, nargs="+", default=[23, 100, 256], help="numbers to try"
    )
    parser.add_argument(
        "--weight-decays", type=float, nargs="+", default=[1e-4, 1e-3], help="decays to try"
    )
    parser.add_argument("--digit-units", type=int, default=500, help="hidden units of digits")
    parser.add_argument("--digit-passes", type=int, default=36, help="passes through digits")
    parser.add_argument("--temperatures", type=int, default=5000, help="temperatures at most")


def measure(results, args):
    """Measure machines on the tables that are asked for."""
    only = args.only or [DIGITS, *PUBLISHED]
    for name, parts in data.binary_tables(args.data):
        if name in only and (args.only or name in PUBLISHED):
            measure_table(results, name, [part[: args.max_rows] for part in parts], args)
    if DIGITS in only:
        measure_digits(
            results, *(part[: args.max_rows] for part in data.binarised_mnist(args.data)), args
        )


def measure_table(results, name, parts, args):
    """Measure machines on a table with validation rows."""
    train, valid, test = parts
    record = {"data": name, "rows": sum(map(len, parts)), "columns": train.shape[1]}
    makers = {
        f"{n} hidden units, weight_decay={decay:g}": lambda n=n, decay=decay: machine(
            args, n, decay
        )
        for n in args.hidden_units
        for decay in args.weight_decays
    }

    def choose_and_score():
        chosen, model, seconds, of_all = best_fit(makers, train, valid)
        return {
            **scored(model, test),
            "target": PUBLISHED.get(name),
            "fit_seconds": round(seconds, 1),
            "all_seconds": round(of_all, 1),
            "notes": f"{chosen}; {errors(model)}",
        }

    ours = record | {"version": version_of("sklearn-dgm")}
    results.attempt(ours | {"peer": MACHINE}, choose_and_score)
    measure_peer(results, record, train, test, max(args.hidden_units), args)


def measure_digits(results, train, test, args):
    """Measure a machine, a net of two layers, and the peer."""
    record = {"data": DIGITS, "rows": len(train) + len(test), "columns": train.shape[1]}
    n, decay, passes = args.digit_units, args.weight_decays[-1], args.digit_passes
    makers = {
        MACHINE: lambda: machine(args, n, decay, max_iter=passes),
        NET: lambda: DeepBeliefDensity((n, n), **shared(args, decay, max_iter=passes)),
    }
    for peer, make in makers.items():

        def fit_and_score(make=make, peer=peer):
            start = time.process_time()
            model = make().fit(train)
            seconds = round(time.process_time() - start, 1)
            return {
                **scored(model, test),
                "target": TARGETS[DIGITS] if peer == MACHINE else None,
                "fit_seconds": seconds,
                "notes": f"{n} hidden units, weight_decay={decay:g}; {errors(model)}",
            }

        ours = record | {"peer": peer, "version": version_of("sklearn-dgm")}
        results.attempt(ours, fit_and_score)
    measure_peer(results, record, train, test, n, args)


def shared(args, decay, **others):
    """Return parameters that all of ours have."""
    return {
        "weight_decay": decay,
        "n_temperatures": args.temperatures,
        "handle_unknown": "rare",
        "random_state": 0,
        **others,
    }


def machine(args, n, decay, **others):
    """Return a machine to be fitted."""
    return RestrictedBoltzmannDensity(n, **shared(args, decay, **others))


def scored(model, test):
    """Return what the score of test rows is."""
    log_density, std = model.score_samples(test, return_std=True)
    return {
        **mean_of_possible(log_density),
        "score_kind": model.score_kind_,
        "std_error": round(float(np.mean(std)), 4),
    }


def errors(model):
    """Describe how well log Z is known."""
    if model.log_partition_std_error_ == 0:
        return "log Z exact"
    lower, upper = model.log_partition_bracket_
    return (
        f"log Z within {model.log_partition_std_error_:.2f}, bracket {upper - lower:.2f}, "
        f"{model.effective_sample_size_:.0f} of {model.n_ais_chains} particles"
    )


def measure_peer(results, record, train, test, n, args):
    """Measure scikit-learn's machine: its score, and the log-likelihood that it does not tell."""

    def fit_and_score():
        start = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            peer = BernoulliRBM(
                n, learning_rate=0.05, batch_size=100, n_iter=12, random_state=0
            ).fit(train)
        seconds = round(time.process_time() - start, 1)
        pseudo = float(np.mean(peer.score_samples(test)))
        log_density, partition = log_likelihoods(peer, train, test, args.temperatures)
        return {
            **mean_of_possible(log_density),
            "score_kind": "estimate",
            "std_error": round(partition.std_error, 4),
            "fit_seconds": seconds,
            "notes": f"{n} hidden units; its own score says {pseudo:.1f}",
        }

    results.attempt(record | {"peer": PEER, "version": version_of("scikit-learn")}, fit_and_score)


def log_likelihoods(peer, train, test, n_temperatures):
    """Return the log-likelihoods of rows under scikit-learn's machine, and its partition function."""
    shares = (train.sum(axis=0) + 0.25) / (len(train) + 0.5)
    base = np.log(shares) - np.log1p(-shares)
    machine = BoltzmannMachine(
        BinaryUnits(train.shape[1]),
        peer.components_.T.copy(),
        peer.intercept_visible_,
        peer.intercept_hidden_,
        np.ones(0),
    )
    rng = np.random.default_rng(0)
    partition = annealed_partition(machine, base, 200, n_temperatures, rng)
    return machine.log_unnormalised(test.astype(np.float64)) - partition.log_z, partition
