"""Nats of test images under densities of images and of tables, and the bytes that these make of them.

Peers are images of independent pixels (the best image without neighbours), and AutoregressiveDensity. Densities have
nothing set but the shape of images, and how long they train where that is the question.
"""

import time
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from benchmarks.images.codecs import compressed, measure_programs
from benchmarks.images.data import SHAPES, parts_of
from benchmarks.results import version_of
from sklearn_dgm import AutoregressiveDensity, BayesianNetworkDensity, PixelCNNDensity

OURS, PEER, INDEPENDENT = "PixelCNNDensity", "AutoregressiveDensity", "independent pixels"
TARGETS = {"digits": -78.0, "binarised_mnist": -86.0}
# Passes at most, where it is not the default: of binarised MNIST, what half an hour of one core allows.
EPOCHS = {
    ("frey_faces", OURS): 20,
    ("binarised_mnist", OURS): 3,
    ("binarised_mnist", PEER): 20,
}
# Test images of binarised MNIST, as many as in the figures that were aimed at.
N_TEST = {"binarised_mnist": 1000}


def add_arguments(parser):
    parser.add_argument("--peers", nargs="+", default=[INDEPENDENT, PEER, OURS], help="densities")
    parser.add_argument("--codecs", nargs="+", default=[PEER, OURS], help="which compress, too")


def maker(peer, name):
    """Return an unfitted density."""
    if peer == INDEPENDENT:
        return BayesianNetworkDensity("empty", conditional="table")
    epochs = EPOCHS.get((name, peer))
    settings = {} if epochs is None else {"max_epochs": epochs}
    if peer == PEER:
        return AutoregressiveDensity(random_state=0, verbose=1, **settings)
    return PixelCNNDensity(SHAPES[name], random_state=0, verbose=1, **settings)


def measure(results, args):
    """Measure densities on the images that are asked for."""
    for name in args.only or ["digits", "frey_faces", "binarised_mnist"]:
        train, test = (part[: args.max_rows] for part in parts_of(name, args.data))
        test = test[: N_TEST.get(name)]
        best = measure_programs(results, name, test)
        for peer in args.peers:
            record = {"data": name, "peer": peer, "version": version_of("sklearn-dgm")}
            density = maker(peer, name)

            def fit_and_score(
                peer=peer, density=density, train=train, test=test, name=name, best=best
            ):
                figures = scored(density, train, test) | {"target": TARGETS.get(name)}
                if peer in args.codecs:
                    figures |= compressed(density, test, best)
                return figures

            results.attempt(record | {"rows": len(train)}, fit_and_score)


def scored(density, train, test):
    """Fit a density, and score test images."""
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        density.fit(train)
    fitted = time.process_time()
    scores = density.score_samples(test)
    seconds = time.process_time() - fitted
    possible = np.isfinite(scores)
    mean = scores[possible].mean()
    notes = f"{density.n_iter_} epochs" if hasattr(density, "n_iter_") else ""
    return {
        "log_likelihood": mean,
        "bits_per_dim": -mean / np.log(2) / test.shape[1],
        "impossible": int((~possible).sum()),
        "fit_seconds": round(fitted - start, 1),
        "score_seconds": round(seconds, 2),
        "notes": notes,
    }
