"""Markov chains on names and text, and Bayes' rule over one for each sex beside classifiers of n-grams.

Names end by the model, and are measured in nats a name; text comes in rows of 256 characters of given length, and is
measured in nats a character. The order is 5, or what `order="auto"` finds on the training sequences. Sex is told from
names in five stratified folds, by one density a class, all fitted with one schema, and by peers from counts of one to
four characters, of names with a mark at both ends. Names are also read from the back.
"""

import time

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline

from benchmarks.likelihood import mean_of_possible
from benchmarks.results import version_of
from benchmarks.sequences import data
from sklearn_dgm import MarkovChainDensity

TARGETS = {"names": -13.69, "shakespeare": -1.57}
MODELS = {
    "MarkovChainDensity, order 5": {"order": 5},
    "MarkovChainDensity": {},
    "MarkovChainDensity, Witten-Bell": {"smoothing": "witten-bell"},
}
N_FOLDS = 5


def add_arguments(parser):
    pass


def measure(results, args):
    """Measure Markov chains on the sequences that are asked for."""
    only = args.only or ["names", "shakespeare", "sexes"]
    if "names" in only:
        train, _, test = data.names(args.data)
        measure_likelihood(results, "names", train, test, "name", len(test))
    if "shakespeare" in only:
        train, test = data.shakespeare(args.data)
        measure_likelihood(
            results, "shakespeare", train, test, "character", sum(map(len, test)), length="given"
        )
    if "sexes" in only:
        measure_accuracy(results, *data.sexes(args.data))


def measure_likelihood(results, name, train, test, unit, n_units, **params):
    record = {"data": name, "case": "", "version": version_of("sklearn-dgm")}
    for peer, of_peer in MODELS.items():
        results.attempt(
            record | {"peer": peer, "rows": len(train) + len(test), "unit": unit},
            lambda of_peer=of_peer: (
                likelihood_of(MarkovChainDensity(**of_peer, **params), train, test, n_units)
                | {"target": TARGETS[name]}
            ),
        )


def likelihood_of(density, train, test, n_units):
    """Fit a density, and return its log-likelihood of the test sequences by unit."""
    start = time.process_time()
    density.fit(train)
    fitted = time.process_time()
    scores = density.score_samples(test)
    scored = time.process_time()
    figures = mean_of_possible(scores)
    figures["log_likelihood"] = round(figures["log_likelihood"] * len(test) / n_units, 6)
    return figures | {
        "fit_seconds": round(fitted - start, 2),
        "score_seconds": round(scored - fitted, 3),
        "notes": f"order {density.order_}",
    }


def measure_accuracy(results, X, y):
    """Measure how often the sex of a name is told, in folds."""
    X = np.array(X, dtype=object)
    backwards = np.array([name[::-1] for name in X], dtype=object)
    marked = np.array([f"^{name}$" for name in X], dtype=object)
    features = {"analyzer": "char", "ngram_range": (1, 4)}
    peers = {
        "MarkovChainDensity": (BayesRule(), X, "sklearn-dgm"),
        "MarkovChainDensity, backwards": (BayesRule(), backwards, "sklearn-dgm"),
        "MultinomialNB": (
            make_pipeline(CountVectorizer(**features), MultinomialNB()),
            marked,
            "scikit-learn",
        ),
        "LogisticRegression": (
            make_pipeline(CountVectorizer(**features), LogisticRegression(max_iter=1000)),
            marked,
            "scikit-learn",
        ),
    }
    for peer, (classifier, names, package) in peers.items():
        record = {"data": "sexes", "case": "accuracy", "peer": peer, "rows": len(X)}
        results.attempt(
            record | {"version": version_of(package)},
            lambda classifier=classifier, names=names: accuracy_of(classifier, names, y),
        )


def accuracy_of(classifier, X, y):
    """Return the accuracy in all folds, and the CPU seconds of their fits."""
    right, seconds = 0, 0.0
    folds = StratifiedKFold(N_FOLDS, shuffle=True, random_state=0)
    for train, test in folds.split(X, y):
        start = time.process_time()
        classifier.fit(X[train], y[train])
        seconds += time.process_time() - start
        right += (classifier.predict(X[test]) == y[test]).sum()
    figures = {"accuracy": round(float(right / len(X)), 4), "fit_seconds": round(seconds, 2)}
    return figures | ({"target": 0.90} if isinstance(classifier, BayesRule) else {})


class BayesRule:
    """Bayes' rule over one Markov chain for each class."""

    def fit(self, X, y):
        """Fit a density to the sequences of each class, a number from 0 on."""
        schema = MarkovChainDensity().learn_schema(X)
        shares = np.bincount(y) / len(y)
        self.classes = [
            (MarkovChainDensity().fit(X[y == label], schema=schema), np.log(share))
            for label, share in enumerate(shares)
        ]

    def predict(self, X):
        """Return the most probable class of each sequence."""
        return np.argmax([d.score_samples(X) + log_prior for d, log_prior in self.classes], axis=0)
