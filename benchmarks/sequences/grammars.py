"""Grammars counted in the Penn treebank sample, beside n-grams of the same words, and their charts beside NLTK's.

The first 3,514 sentences are learnt from; the first 120 of the others with at most 25 words are scored and parsed.
Log-likelihoods are in nats a word, with the end of the sentence. `f1` is that of labelled brackets as evalb counts
them: all nodes but those of single words, by their labels and spans, as if punctuation were not there; notes have it
with punctuation. On the last 350 sentences of training, by grammars of the others, the defaults have the best trees,
and `BEST_SCORE` the best log-likelihood (docs/measurements.md).

NLTK's ViterbiParser gets the same grammar, in which words of no sentence that it parses are one word; `ratio` is its
time over ours in one run.
"""

import time
from collections import Counter

import numpy as np

from benchmarks.results import version_of
from benchmarks.sequences import data
from sklearn_dgm import ContextFreeGrammarDensity, MarkovChainDensity

OURS, PEER = "ContextFreeGrammarDensity", "NLTK, ViterbiParser"
N_SENTENCES, LONGEST, SHORT, N_SHORT = 120, 25, 6, 3
BEST_SCORE = {"markov_order": 2, "alpha": 10.0}
TARGETS = {"log_likelihood": -5.55, "f1": 71.0, "seconds": 0.05}
PUNCTUATION = {",", ":", "``", "''", "."}


def add_arguments(parser):
    """Add none."""


def measure(results, args):
    """Measure grammars and n-grams on sentences."""
    if "treebank" not in (args.only or ["treebank"]):
        return
    train, others = data.treebank(args.data)
    test = [pair for pair in others if len(pair[0]) <= LONGEST][:N_SENTENCES]
    X_train, y_train = [words for words, _ in train], [data.in_brackets(tree) for _, tree in train]
    grammar, second = ContextFreeGrammarDensity(), ContextFreeGrammarDensity(**BEST_SCORE)
    record = {"data": "treebank", "rows": len(train), "unit": "word"}
    ours = record | {"version": version_of("sklearn-dgm")}
    measured = ours | {"peer": OURS, "target": TARGETS["log_likelihood"]}
    results.attempt(measured, lambda: parsed(grammar, X_train, y_train, test))
    measured |= {"peer": f"{OURS}, markov_order=2, alpha=10"}
    results.attempt(measured, lambda: parsed(second, X_train, y_train, test))
    for order, name in ((2, "bigram"), (3, "trigram")):
        chain = MarkovChainDensity(order)
        peer = ours | {"peer": f"MarkovChainDensity, {name}"}
        results.attempt(peer, lambda chain=chain: likelihood(chain, (X_train, None), test))
    case = ours | {"data": f"treebank, sentences of {LONGEST} words", "unit": "sentence"}
    long = [words for words, _ in others if len(words) == LONGEST]
    results.attempt(case | {"peer": OURS}, lambda: timed(grammar, long))
    measure_nltk(results, ours | {"data": f"treebank, trees of {SHORT} words"}, train, others)


def likelihood(density, fit_to, test):
    """Fit a density to sentences, and score others."""
    start = time.process_time()
    density.fit(*fit_to)
    fitted = time.process_time()
    log_p = density.score_samples([words for words, _ in test])
    scored = time.process_time()
    return {
        "log_likelihood": float(log_p.sum() / sum(len(words) for words, _ in test)),
        "impossible": int(np.isneginf(log_p).sum()),
        "fit_seconds": round(fitted - start, 2),
        "score_seconds": round(scored - fitted, 3),
    }


def parsed(grammar, X, y, test):
    """Fit a grammar to trees; score and parse others."""
    figures = likelihood(grammar, (X, y), test)
    start = time.process_time()
    found = grammar.predict([words for words, _ in test], form="tuples")
    seconds = (time.process_time() - start) / len(test)
    pairs = list(zip([tree for _, tree in test], found, strict=True))
    n_parsed = sum(tree is not None and tree[0] != "GLUE" for tree in found)
    plain = f1_of(pairs, ())
    return figures | {
        "f1": f1_of(pairs, PUNCTUATION),
        "notes": f"F1 {plain:.1f} with punctuation, target {TARGETS['f1']:.0f}; parsed {n_parsed} of {len(test)}; "
        f"{seconds:.3f} s a tree; {len(grammar.symbols_):,} symbols, {grammar.n_rules_:,} rules",
    }


def f1_of(pairs, left_out):
    """Return the F1 of labelled brackets, in percent, of pairs of a tree that is right and one that was found."""
    n_right, n_found, n_both = 0, 0, 0
    for right, found in pairs:
        of_right = brackets(right, left_out)
        of_found = Counter() if found is None else brackets(found, left_out)
        n_right, n_found = n_right + of_right.total(), n_found + of_found.total()
        n_both += (of_right & of_found).total()
    return 200 * n_both / (n_right + n_found)


def brackets(tree, left_out):
    """Count the labels and spans of nodes, but those of single words; words of some labels are as if they were not."""
    counts = Counter()

    def visit(node, start):
        label, *children = node
        if isinstance(children[0], str):
            return start + (label not in left_out)
        end = start
        for child in children:
            end = visit(child, end)
        if end > start:
            counts[label, start, end] += 1
        return end

    visit(tree, 0)
    return counts


def timed(grammar, sentences):
    """Time the score of single sentences, and their trees."""
    seconds = {}
    for name, ask in (("score", grammar.score_samples), ("tree", grammar.predict)):
        times = []
        for words in sentences:
            start = time.process_time()
            ask([words])
            times.append(time.process_time() - start)
        seconds[name] = float(np.median(times))
    return {
        "score_seconds": round(seconds["score"], 4),
        "notes": f"median of {len(sentences)}, target {TARGETS['seconds']} s; {seconds['tree']:.3f} s a tree; "
        f"{grammar.n_rules_:,} rules",
    }


def measure_nltk(results, record, train, others):
    """Parse a few short sentences with the same grammar."""
    short = [words for words, _ in others if len(words) == SHORT][:N_SHORT]
    kept = {word for words in short for word in words}

    def merged(tree):
        label, *children = tree
        if isinstance(children[0], str):
            return [label, children[0] if children[0] in kept else "<other>"]
        return [label, *map(merged, children)]

    trees = [merged(tree) for _, tree in train]
    grammar = ContextFreeGrammarDensity().fit(
        list(map(data.words_of, trees)), list(map(data.in_brackets, trees))
    )
    seconds, log_p = {}, {}

    def ours():
        start = time.process_time()
        found = grammar.predict(short)
        seconds[OURS] = (time.process_time() - start) / len(short)
        # Of one derivation: that of the tree.
        log_p[OURS] = found
        return {"score_seconds": round(seconds[OURS], 4)}

    def peer():
        from nltk import Tree, ViterbiParser

        parser = ViterbiParser(grammar.to_nltk(), max_time=None)
        start = time.process_time()
        found = [next(iter(parser.parse(words))) for words in short]
        seconds[PEER] = (time.process_time() - start) / len(short)
        n_equal = sum(
            Tree.fromstring(mine) == unbinarised(its)
            for mine, its in zip(log_p[OURS], found, strict=True)
        )
        return {
            "score_seconds": round(seconds[PEER], 3),
            "ratio": seconds[PEER] / seconds[OURS],
            "notes": f"{n_equal} of {len(short)} trees are equal",
        }

    results.attempt(record | {"peer": OURS}, ours)
    results.attempt(record | {"peer": PEER, "version": version_of("nltk")}, peer)


def unbinarised(tree):
    """Return a tree of NLTK without its start, intermediate symbols and joint labels."""
    from nltk import Tree

    def forest(node):
        if isinstance(node, str):
            return [node]
        below = [part for child in node for part in forest(child)]
        if "|<" in node.label() or node.label() == "START":
            return below
        for label in reversed(node.label().split("+")):
            below = [Tree(label, below)]
        return below

    (root,) = forest(tree)
    return root
