"""Topics of newswire beside scikit-learn and tomotopy: perplexity of test documents, and seconds.

Documents of Reuters on grain, and others (1,554 train, 604 test), as counts of words of at least three letters, without
stop words, that are in at least five training documents (2,406). Topics and priors of all peers are scored by the same
particle filters, those of LatentDirichletAllocationDensity. The word prior of the others is their default, or the best
one on a tenth of the training documents. The 100 test documents are drawn with seed 0; beside stands what
scikit-learn's own `perplexity` says of them, and of one alone.
"""

import copy
import csv
import gzip
import sys
import time
from pathlib import Path

import numpy as np
from sklearn.decomposition import LatentDirichletAllocation
from sklearn.feature_extraction.text import CountVectorizer

from benchmarks.results import Results, version_of
from sklearn_dgm import LatentDirichletAllocationDensity

OURS = "LatentDirichletAllocationDensity"
# By number of topics.
TARGETS = {20: 530.0, 50: 505.0}
N_DRAWN, N_SWEEPS, N_PASSES, VALIDATION_SHARE = 100, 500, 30, 0.1


def add_arguments(parser):
    parser.add_argument("--data", type=Path, required=True, help="folder of the sequences")
    parser.add_argument("--topics", nargs="+", type=int, default=[20, 50], help="numbers of topics")
    parser.add_argument("--seeds", type=int, default=3, help="fits of ours and of tomotopy")


def run(args):
    train, test = reuters(args.data)
    results = Results("topics", args.results)
    about = {"data": "reuters, grain", "rows": train.shape[0] + test.shape[0]}
    for n_topics in args.topics:
        about["case"] = f"{n_topics} topics"
        for seed in range(args.seeds):
            for peer, (package, fit) in PEERS.items():
                if seed and peer.startswith("scikit-learn"):
                    continue
                results.attempt(
                    about | {"peer": peer, "seed": seed, "version": version_of(package)},
                    lambda fit=fit, seed=seed, k=n_topics: figures_of(fit, train, test, k, seed),
                )


def reuters(folder):
    """Return counts of the words of training and of test documents, sparse."""
    csv.field_size_limit(sys.maxsize)
    with gzip.open(folder / "sequences" / "reuters_grain.csv.gz", "rt", encoding="utf8") as file:
        rows = list(csv.DictReader(file))
    counter = CountVectorizer(stop_words="english", min_df=5, token_pattern=r"[a-z]{3,}")
    texts = {part: [r["text"] for r in rows if r["split"] == part] for part in ("train", "test")}
    return counter.fit_transform(texts["train"]), counter.transform(texts["test"])


def figures_of(fit, train, test, n_topics, seed):
    start = time.process_time()
    topics, prior, figures = fit(train, n_topics, seed)
    fitted = time.process_time()
    drawn = test[np.random.default_rng(0).choice(test.shape[0], N_DRAWN, replace=False)]
    figures = {"fit_seconds": round(fitted - start, 1), **figures}
    figures["perplexity"] = round(perplexity(topics, prior, drawn), 2)
    figures["score_seconds"] = round(time.process_time() - fitted, 2)
    figures["perplexity_of_all"] = round(perplexity(topics, prior, test), 2)
    own = figures.pop("own", None)
    if own:
        figures["own_perplexity"] = round(own(drawn), 1)
        figures["notes"] += f"; its own perplexity of one document: {own(drawn[:1]):.3g}"
    return figures | {"target": TARGETS.get(n_topics)}


def perplexity(topics, prior, X):
    """Return the perplexity of documents by particle filters, whatever has found the topics."""
    density = LatentDirichletAllocationDensity(len(topics), max_iter=1, tol=1e9).fit(X)
    density = copy.copy(density)
    density.components_, density.doc_topic_prior_ = topics, prior
    return density.perplexity(X)


def fit_ours(train, n_topics, seed):
    density = LatentDirichletAllocationDensity(n_topics, random_state=seed).fit(train)
    notes = f"{density.n_iter_} passes, word prior {density.topic_word_prior_:.3f}"
    return density.components_, density.doc_topic_prior_, {"notes": notes}


def fit_scikit_learn(train, n_topics, seed, word_prior=None):
    model = LatentDirichletAllocation(
        n_topics,
        topic_word_prior=word_prior,
        learning_method="batch",
        max_iter=N_PASSES,
        random_state=seed,
    ).fit(train)
    topics = model.components_ / model.components_.sum(axis=1, keepdims=True)
    notes = f"{N_PASSES} passes, word prior {model.topic_word_prior_:.3f}"
    figures = {"notes": notes, "own": model.perplexity}
    return topics, np.full(n_topics, model.doc_topic_prior_), figures


def fit_tomotopy(train, n_topics, seed, word_prior=0.01):
    import tomotopy

    model = tomotopy.LDAModel(k=n_topics, seed=seed, eta=word_prior)
    for start, end in zip(train.indptr, train.indptr[1:], strict=False):
        words = np.repeat(train.indices[start:end], train.data[start:end])
        model.add_doc([str(word) for word in words])
    model.train(N_SWEEPS, workers=1)
    # Words that are in no training document are possible to the others, too.
    topics = np.full((n_topics, train.shape[1]), 1e-12)
    for k in range(n_topics):
        topics[k, [int(word) for word in model.used_vocabs]] = model.get_topic_word_dist(k)
    notes = f"{N_SWEEPS} sweeps, word prior {model.eta:.3f}"
    return topics, np.array(model.alpha, dtype=np.float64), {"notes": notes}


def choosing(fit, word_priors):
    """Return a fit whose word prior is the best one for a tenth of the training documents."""

    def choose_and_fit(train, n_topics, seed):
        start = time.process_time()
        order = np.random.default_rng(0).permutation(train.shape[0])
        valid, part = np.split(order, [round(VALIDATION_SHARE * len(order))])
        found = [
            perplexity(*fit(train[part], n_topics, seed, prior)[:2], train[valid])
            for prior in word_priors
        ]
        chosen = time.process_time()
        topics, prior, figures = fit(train, n_topics, seed, word_priors[np.argmin(found)])
        end = time.process_time()
        figures["fit_seconds"] = round(end - chosen, 1)
        return topics, prior, figures | {"all_seconds": round(end - start, 1)}

    return choose_and_fit


PEERS = {
    OURS: ("sklearn-dgm", fit_ours),
    "scikit-learn": ("scikit-learn", fit_scikit_learn),
    "scikit-learn, word prior chosen": (
        "scikit-learn",
        choosing(fit_scikit_learn, (None, 0.1, 0.5)),
    ),
    "tomotopy": ("tomotopy", fit_tomotopy),
    "tomotopy, word prior chosen": ("tomotopy", choosing(fit_tomotopy, (0.01, 0.05, 0.1, 0.2))),
}
