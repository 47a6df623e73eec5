"""Small grammars, and all derivations of a sequence one by one."""

import numpy as np

from sklearn_dgm.grammar._rules import Rules


def random_rules(n_symbols=4, n_words=2, branches=0.4, share=0.3, seed=0):
    """Draw a grammar in which some symbols have no rule of two children, and some emit nothing."""
    rng = np.random.default_rng(seed)
    parent, left, right = np.nonzero(rng.random((n_symbols,) * 3) < share)
    keep = parent != 1
    parent, left, right = parent[keep], left[keep], right[keep]
    p = rng.random(len(parent))
    emits = np.full(n_symbols, 1 - branches)
    emits[1], emits[2] = 1.0, 0.0
    p *= ((1 - emits) / np.bincount(parent, p, n_symbols).clip(1e-300))[parent]
    emitters = np.flatnonzero(emits)
    words = rng.dirichlet(np.ones(n_words), len(emitters))
    return Rules(rng.dirichlet(np.ones(n_symbols)), parent, left, right, p, emitters, words, emits)


def length_probabilities(rules, longest):
    """Return the probabilities of the lengths of sequences."""
    of_length, log_scale = rules.length_probabilities(longest)
    return of_length @ rules.root * np.exp(log_scale)


def emission(rules, symbol, word):
    """Return the probability that a symbol emits a word."""
    (row,) = np.nonzero(rules.emitters == symbol)
    return rules.emits[symbol] * rules.words[row[0], word] if len(row) else 0.0


def derivations(rules, symbol, words):
    """Yield all derivations of words from a symbol: spans of symbols, a span before its parts, and probabilities."""
    if len(words) == 1:
        yield [(symbol, 1)], emission(rules, symbol, words[0])
        return
    for a, b, c, p in zip(rules.parent, rules.left, rules.right, rules.p, strict=True):
        if a == symbol:
            for k in range(1, len(words)):
                for first, p_first in derivations(rules, b, words[:k]):
                    for second, p_second in derivations(rules, c, words[k:]):
                        yield [(symbol, len(words)), *first, *second], p * p_first * p_second


def all_parses(rules, words):
    """Return all derivations of a sequence, and their probabilities."""
    found = [
        (spans, rules.root[symbol] * p)
        for symbol in range(rules.n_symbols)
        for spans, p in derivations(rules, symbol, words)
    ]
    return [spans for spans, _ in found], np.array([p for _, p in found])
