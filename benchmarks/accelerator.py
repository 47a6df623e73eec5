"""Fits and scores on an accelerator beside the CPU of the same machine, as rows become many.

Both train for as many epochs, from the same rows, draws from eight overlapping normals with ten correlated columns.
How far likelihoods differ is of 10,000 rows that no fit has seen.
"""

import warnings

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning

from benchmarks._measure import seconds_of
from benchmarks.results import Results, version_of
from benchmarks.speed import N_COLUMNS, clusters
from sklearn_dgm import AutoregressiveDensity, FlowDensity, VariationalAutoencoderDensity

DENSITIES = (AutoregressiveDensity, FlowDensity, VariationalAutoencoderDensity)
# A score of the third is a mean over many latent vectors.
MOST_SCORED = {VariationalAutoencoderDensity: 10_000}
N_NEW = 10_000


def add_arguments(parser):
    parser.add_argument("--device", default="cuda", help="the accelerator")
    parser.add_argument("--epochs", type=int, default=5, help="of each fit")
    parser.add_argument(
        "--rows",
        type=int,
        nargs="+",
        default=[1_000, 10_000, 100_000, 1_000_000],
        help="rows of a fit, which are scored, too",
    )


def run(args):
    results, version = Results("accelerator", args.results), version_of("sklearn-dgm")
    device = torch.device(args.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    X = clusters(max(args.rows) + N_NEW)
    for density in DENSITIES:  # which loads libraries
        timed(density, X[: args.rows[0]], X[-N_NEW:], device, 1)
    for n_rows in args.rows:
        for density in DENSITIES:
            parts = X[:n_rows], X[-N_NEW:]
            on_cpu, on_device = (
                timed(density, *parts, place, args.epochs) for place in ("cpu", device)
            )
            results.add(
                data=f"{n_rows:,} x {N_COLUMNS}",
                case=name,
                peer=density.__name__,
                version=version,
                fit_seconds=round(on_device[0], 2),
                fit_seconds_cpu=round(on_cpu[0], 2),
                fit_ratio=round(on_cpu[0] / on_device[0], 2),
                rows_per_second=round(on_device[1]),
                rows_per_second_cpu=round(on_cpu[1]),
                score_ratio=round(on_device[1] / on_cpu[1], 2),
                difference=round(on_device[2] - on_cpu[2], 4),
            )


def timed(density, X, new, device, n_epochs):
    """Return the seconds of a fit, how many rows it scores a second, and the mean log-likelihood of new rows."""
    density = density(max_epochs=n_epochs, device=device, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # epochs are as many
        _, fit_seconds = seconds_of(lambda: density.fit(X))
    rows = X[: MOST_SCORED.get(type(density))]
    _, score_seconds = seconds_of(lambda: density.score_samples(rows))
    return fit_seconds, len(rows) / score_seconds, float(np.mean(density.score_samples(new)))
