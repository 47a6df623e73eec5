"""Networks over sequences, mixed with n-grams where steps are symbols.

A tenth of the training sequences decides which epoch is kept; the validation sequences of names decided on defaults,
and are not fitted. Chorales are fitted with all their transpositions by up to half an octave, which is an augmentation
of X by its user: the density knows nothing of it.
"""

import time
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from benchmarks.results import version_of
from benchmarks.sequences.data import chorales, names, shakespeare
from sklearn_dgm import AutoregressiveSequenceDensity

PEER = "AutoregressiveSequenceDensity"
# What is set, if not all is left as it is.
SETTINGS = {
    "names": {
        "gru": {},
        "transformer": {"cell": "transformer", "hidden_size": 64, "n_layers": 2, "dropout": 0.1},
    },
    "shakespeare": {"gru": {"length": "given", "dropout": 0.2, "max_epochs": 4}},
    "chorales": {"gru": {"length": "given", "dropout": 0.2, "max_epochs": 22}},
}
TARGETS = {"names": -13.2, "shakespeare": -1.50, "chorales": -5.6}
UNITS = {"names": "name", "shakespeare": "character", "chorales": "step"}
TRANSPOSITIONS = range(-6, 6)


def add_arguments(parser):
    parser.add_argument("--cells", nargs="+", default=["gru"], help="gru, transformer")


def measure(results, args):
    """Measure networks on the data that are asked for."""
    for name, cells in SETTINGS.items():
        if name not in (args.only or SETTINGS):
            continue
        train, test = parts_of(name, args.data)
        for cell in args.cells:
            if cell in cells:
                measure_cell(results, name, cell, train, test)


def parts_of(name, folder):
    """Return what is fitted and what is scored."""
    if name == "chorales":
        train, _, test = chorales(folder)
        return transposed(train), test
    if name == "names":
        train, _, test = names(folder)
        return train, test
    return shakespeare(folder)


def transposed(pieces):
    """Return pieces in all keys, as far as their notes stay on the keyboard."""
    shifted = [np.roll(piece, by, axis=1) for piece in pieces for by in TRANSPOSITIONS]
    return [piece for piece in shifted if piece[:, [0, -1]].sum() == 0]


def measure_cell(results, name, cell, train, test):
    """Measure a network."""
    peer = PEER if cell == "gru" else f"{PEER}, {cell}"
    record = {"data": name, "peer": peer, "version": version_of("sklearn-dgm"), "rows": len(train)}

    def fit_and_score():
        density = AutoregressiveSequenceDensity(random_state=0, verbose=1, **SETTINGS[name][cell])
        start = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            density.fit(train)
        fitted = time.process_time()
        scores = density.score_samples(test)
        score_seconds = time.process_time() - fitted
        n_terms = len(test) if name == "names" else sum(map(len, test))
        order = density.ngrams_ and density.ngrams_.order
        return {
            "log_likelihood": scores.sum() / n_terms,
            "target": TARGETS[name],
            "unit": UNITS[name],
            "fit_seconds": round(fitted - start, 1),
            "score_seconds": round(score_seconds, 3),
            "impossible": int(np.isneginf(scores).sum()),
            "notes": f"{density.n_iter_} epochs, n-grams of {order}"
            if order
            else f"{density.n_iter_} epochs",
        }

    results.attempt(record, fit_and_score)
