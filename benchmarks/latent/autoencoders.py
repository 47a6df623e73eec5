"""Variational autoencoders on binarised digits, and on mixed tables beside independent columns.

The digits are MNIST's training file, each pixel drawn once with a probability of its grey value: 50,000 rows to learn
from, and some of the others to score. Both the evidence lower bound and the importance-weighted score stand in a
record: on digits they are nats apart, and the former is no likelihood. On mixed tables a classifier tells test rows
from as many drawn ones, as `benchmarks synthetic` does it, whose rows are these with `--max-rows 5000`.

Published figures of one layer of 50 latents on digits that were binarised once stand in Y. Burda, R. Grosse,
R. Salakhutdinov, "Importance Weighted Autoencoders", ICLR 2016, https://arxiv.org/abs/1509.00519
"""

import time
import warnings

import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning

from benchmarks import data
from benchmarks.likelihood import mean_of_possible
from benchmarks.mixed_peers import fit_cells
from benchmarks.results import version_of
from benchmarks.synthetic import two_sample_auroc
from benchmarks.trees import Independent
from sklearn_dgm import VariationalAutoencoderDensity

DIGITS = "binarised_mnist"
# Nats a row that are aimed at, in five CPU minutes.
TARGET = -93.0
OURS, INDEPENDENT = "VariationalAutoencoderDensity", "independent columns"


def add_arguments(parser):
    parser.add_argument("--latents", type=int, default=50, help="latents of digits")
    parser.add_argument("--digit-epochs", type=int, default=20, help="epochs on digits")
    parser.add_argument("--scored-digits", type=int, default=300, help="digits that are scored")
    parser.add_argument("--importance-samples", type=int, default=1000, help="of a scored row")


def measure(results, args):
    """Measure autoencoders on the mixed tables and, where they are asked for, on the digits."""
    for name, frame in data.mixed_tables(args.data):
        if args.only is None or name in args.only:
            measure_mixed(results, name, frame, args)
    if args.only is None or DIGITS in args.only:
        measure_digits(results, args)


def measure_mixed(results, name, frame, args):
    """Measure an autoencoder and independent columns, on the part of a table that both take."""
    table = data.complete_table(frame)
    train, valid, test = data.three_parts(table, 0, args.max_rows)
    record = {"data": name, "case": "autoencoder", "columns": table.shape[1], "seed": 0}
    record |= {"rows": min(len(table), args.max_rows or len(table))}

    def independent():
        start = time.process_time()
        log_prob, notes = fit_cells(Independent, train, valid)
        seconds = round(time.process_time() - start, 1)
        return {**mean_of_possible(log_prob(test)), "fit_seconds": seconds, "notes": notes}

    both = pd.concat([train, valid])
    ours = record | {"peer": OURS, "version": version_of("sklearn-dgm")}
    results.attempt(ours, lambda: fit_score_and_draw(both, test, args))
    peer = {"peer": INDEPENDENT, "version": version_of("sklearn-dgm")}
    results.attempt(record | peer, independent)


def measure_digits(results, args):
    """Measure an autoencoder on the digits."""
    train, test = data.binarised_mnist(args.data)
    train, test = train[: args.max_rows], test[: args.scored_digits]
    record = {"data": DIGITS, "rows": len(train) + len(test), "columns": train.shape[1]}
    record |= {"peer": OURS, "version": version_of("sklearn-dgm")}
    params = {"n_latents": args.latents, "max_epochs": args.digit_epochs}
    figures = {"target": TARGET}
    density = VariationalAutoencoderDensity(**params, random_state=0)
    results.attempt(record, lambda: figures | fit_and_score(density, train, test, args))


def fit_score_and_draw(train, test, args):
    """Return the figures of a fit, and how well drawn rows are told from those of the test."""
    density = VariationalAutoencoderDensity(random_state=0)
    figures = fit_and_score(density, train, test, args)
    drawn = density.sample(len(test), random_state=0)
    return figures | {"auroc": two_sample_auroc(test.reset_index(drop=True), drawn, 0)}


def fit_and_score(density, train, test, args):
    """Return the figures of a fit."""
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        density.fit(train)
    seconds = time.process_time() - start
    density.set_params(n_importance_samples=args.importance_samples)
    diagnostics = density.importance_diagnostics(test)
    possible = np.isfinite(diagnostics["log_density"])
    elbo, worth = diagnostics.loc[possible, "elbo"], diagnostics["effective_sample_size"]
    return {
        **mean_of_possible(diagnostics["log_density"].to_numpy()),
        "fit_seconds": round(seconds, 1),
        "notes": (
            f"{density.n_iter_} epochs; evidence lower bound {elbo.mean():.2f}, effective sample size "
            f"{worth.median():.1f} of {args.importance_samples}; {len(density.active_latents_)} of "
            f"{density._n_features_out} latents active"
        ),
    }
