"""Charts of a grammar over sequences: inside, most probable and prefix probabilities, and expected counts.

A chart has an entry for each symbol and span, and is filled from short spans to long ones (Baker, 1979), for some
sequences of one length at once. All spans of a length are one product: of the entries of left and right children for
each distinct pair that rules have, summed over the places where the span is split, then summed over the rules. Entries
of a span are divided by the greatest of them, whose logarithm is kept, so that the greatest ones do not underflow;
those of the same span that are smaller by a factor of more than 1e308 become 0.
"""

from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided
from scipy import sparse

from sklearn_dgm.grammar._rules import RuleCounts

# Of so many of all parents and pairs that are rules, a product of matrices is faster than the rules one by one.
SHARE_OF_DENSE = 0.2
# Numbers that are multiplied at once, few enough for the fast memory of a processor; numbers that charts take up.
NUMBERS_AT_ONCE, NUMBERS_OF_CHARTS = 2**15, 2**22


class Chart(NamedTuple):
    """Entries of all spans of sequences of one length.

    Attributes
    ----------
    value : ndarray of shape (n_symbols, n_sequences, n_steps, n_steps + 1)
        By symbol, sequence, first step and length of the span; the greatest of a span is 1.
    log_scale : ndarray of shape (n_sequences, n_steps, n_steps + 1)
        The logarithm of what they are to be multiplied with; `-inf` of a span that nothing derives.
    """

    value: np.ndarray
    log_scale: np.ndarray

    @classmethod
    def empty(cls, n_symbols, n_sequences, n_steps):
        """Make a chart without entries."""
        shape = (n_sequences, n_steps, n_steps + 1)
        return cls(np.zeros((n_symbols, *shape)), np.full(shape, -np.inf))

    def put(self, length, entries, log_scale=0.0):
        """Put in the entries of spans of a length, of shape (n_symbols, n_sequences, n_spans)."""
        peak = entries.max(axis=0)
        n_spans = entries.shape[2]
        self.value[..., :n_spans, length] = entries / np.where(peak > 0, peak, 1.0)
        with np.errstate(divide="ignore"):
            self.log_scale[:, :n_spans, length] = np.log(peak) + log_scale

    def log_prob(self, root):
        """Return the log-probabilities of whole sequences, by the probabilities of their symbols."""
        with np.errstate(divide="ignore"):
            return np.log(root @ self.value[:, :, 0, -1]) + self.log_scale[:, 0, -1]


class Pairs:
    """The distinct pairs of children of rules.

    Parameters
    ----------
    rules : Rules
        The grammar.

    Attributes
    ----------
    left, right : ndarray of int of shape (n_pairs,)
        Symbols.
    of_rule : ndarray of int of shape (n_rules,)
        The pair of each rule.
    weights : csr_array of shape (n_symbols, n_pairs)
        Probabilities of the rules.
    """

    def __init__(self, rules):
        self.rules = rules
        keys, self.of_rule = np.unique(
            rules.left * rules.n_symbols + rules.right, return_inverse=True
        )
        self.left, self.right = keys // rules.n_symbols, keys % rules.n_symbols
        shape = (rules.n_symbols, len(keys))
        self.weights = sparse.csr_array((rules.p, (rules.parent, self.of_rule)), shape=shape)
        # Rules are sorted by their parents.
        self._first_rules = np.flatnonzero(np.diff(rules.parent, prepend=-1))
        self._by_right = np.argsort(self.right, kind="stable")

    def blocks(self, n_columns, order=slice(None)):
        """Yield the numbers of pairs in blocks of which so many columns are multiplied at once."""
        numbers = np.arange(len(self.left))[order]
        step = max(NUMBERS_AT_ONCE // n_columns, 1)
        for start in range(0, len(numbers), step):
            yield numbers[start : start + step]

    def joined(self, splits, is_best=False):
        """Return the sums, or the greatest, of products of both children over splits, of shape (n_pairs, n_spans)."""
        left, right, n_splits = splits.left, splits.right, splits.weight.shape[-1]
        of_pairs = np.empty((len(self.left), left.shape[1] // n_splits))
        for block in self.blocks(left.shape[1]):
            of_left = left.take(self.left[block], axis=0).reshape(len(block), -1, n_splits)
            of_right = right.take(self.right[block], axis=0).reshape(of_left.shape)
            if is_best:
                of_pairs[block] = (of_left * of_right).max(axis=2)
            else:
                of_pairs[block] = np.einsum("psk,psk->ps", of_left, of_right)
        return of_pairs

    def best(self, of_pairs):
        """Return the greatest products of pairs with a rule for each symbol, of shape (n_symbols, n_spans)."""
        best = np.zeros((self.rules.n_symbols, of_pairs.shape[1]))
        if len(self._first_rules):
            of_rules = self.rules.p[:, None] * of_pairs[self.of_rule]
            parents = self.rules.parent[self._first_rules]
            best[parents] = np.maximum.reduceat(of_rules, self._first_rules, axis=0)
        return best

    def sums_by_rule(self, of_parents, of_pairs):
        """Return for each rule the sum over spans of what its parent has times what its pair has."""
        parent = self.rules.parent
        if SHARE_OF_DENSE * self.weights.shape[0] * self.weights.shape[1] < len(parent):
            return (of_parents @ of_pairs.T)[parent, self.of_rule]
        return np.einsum("rs,rs->r", of_parents[parent], of_pairs[self.of_rule])

    def passed_down(self, above, splits, is_left):
        """Return what pairs of all spans, of shape (n_pairs, n_spans), pass down to one child.

        Returns
        -------
        below : ndarray of shape (n_symbols, n_spans * n_splits)
            By symbol of the child.
        """
        to, by, order = self.left, self.right, slice(None)
        sibling = splits.right
        if not is_left:
            to, by, order, sibling = self.right, self.left, self._by_right, splits.left
        below, n_splits = np.zeros(sibling.shape), splits.weight.shape[-1]
        for block in self.blocks(sibling.shape[1], order):
            terms = sibling.take(by[block], axis=0).reshape(len(block), -1, n_splits)
            terms *= above[block][:, :, None]
            firsts = np.flatnonzero(np.diff(to[block], prepend=-1))
            sums = np.add.reduceat(terms.reshape(len(block), -1), firsts, axis=0)
            below[to[block][firsts]] += sums
        return below


class Splits(NamedTuple):
    """All ways to split the spans of a length in two.

    Attributes
    ----------
    left, right : ndarray of shape (n_symbols, n_sequences * n_spans * n_splits)
        Entries of both parts; one of them times the weight.
    weight : ndarray of shape (n_sequences, n_spans, n_splits)
        What their product is to be multiplied with, over the scale.
    log_scale : ndarray of shape (n_sequences, n_spans)
        The logarithm of that scale.
    """

    left: np.ndarray
    right: np.ndarray
    weight: np.ndarray
    log_scale: np.ndarray

    @classmethod
    def of(cls, first, second, length, log_scale=None):
        """Split spans.

        Parameters
        ----------
        first, second : Chart
            Charts of the left parts, and of the right ones.
        length : int
            Length of the spans.
        log_scale : ndarray of shape (n_sequences, n_spans), default=None
            The scale; by default that of the greatest product.
        """
        n_spans = first.value.shape[2] - length + 1
        scales = first.log_scale[:, :n_spans, 1:length] + after(second.log_scale, length)
        if log_scale is None:
            log_scale = scales.max(axis=-1)
        weight = np.exp(scales - np.where(log_scale > -np.inf, log_scale, 0.0)[..., None])
        left = first.value[:, :, :n_spans, 1:length] * weight
        right = np.ascontiguousarray(after(second.value, length))
        n_symbols = len(left)
        return cls(left.reshape(n_symbols, -1), right.reshape(n_symbols, -1), weight, log_scale)


def after(of_spans, length):
    """Return a view of what right parts of the spans of a length have, by span and length of the left part.

    Parameters
    ----------
    of_spans : ndarray of shape (..., n_steps, n_steps + 1)
        By first step and length.
    length : int
        Length of the spans, of n_spans.

    Returns
    -------
    view : ndarray of shape (..., n_spans, length - 1)
        A left part that is one step longer leaves a right part that begins a step later and is one step shorter.
    """
    *others, n_steps, _ = of_spans.shape
    *strides, of_step, of_length = of_spans.strides
    return as_strided(
        of_spans[..., 1:, length - 1 :],
        shape=(*others, n_steps - length + 1, length - 1),
        strides=(*strides, of_step, of_step - of_length),
    )


def inside(pairs, emission, is_best=False):
    """Return the probabilities that symbols derive spans.

    Parameters
    ----------
    pairs : Pairs
        Of the grammar.
    emission : ndarray of shape (n_symbols, n_sequences, n_steps)
        Probabilities that symbols emit the words.
    is_best : bool, default=False
        Whether they are those of the most probable derivation, rather than of all together.

    Returns
    -------
    chart : Chart
        The chart.
    """
    chart = Chart.empty(*emission.shape)
    chart.put(1, emission)
    for length in range(2, emission.shape[2] + 1):
        splits = Splits.of(chart, chart, length)
        of_pairs = pairs.joined(splits, is_best)
        entries = pairs.best(of_pairs) if is_best else pairs.weights @ of_pairs
        chart.put(length, entries.reshape(len(entries), *splits.log_scale.shape), splits.log_scale)
    return chart


def prefixes(pairs, closure, chart, emission):
    """Return the probabilities that what symbols derive begins with spans (Jelinek and Lafferty, 1991).

    Parameters
    ----------
    pairs : Pairs
        Of a grammar each of whose symbols derives something with probability one.
    closure : ndarray of shape (n_symbols, n_symbols)
        How often a symbol is on the way from another one to its first word, in the mean: the inverse of one less the
        left corners.
    chart : Chart
        Inside probabilities.
    emission : ndarray of shape (n_symbols, n_sequences, n_steps)
        Probabilities that symbols emit the words.

    Returns
    -------
    prefix : Chart
        Of the same spans.
    """
    prefix = Chart.empty(*emission.shape)
    prefix.put(1, np.tensordot(closure, emission, 1))
    for length in range(2, emission.shape[2] + 1):
        # The first child derives a part, and the second one begins with the rest.
        splits = Splits.of(chart, prefix, length)
        entries = closure @ (pairs.weights @ pairs.joined(splits))
        prefix.put(length, entries.reshape(len(entries), *splits.log_scale.shape), splits.log_scale)
    return prefix


def expected_counts(pairs, chart, codes, weight):
    """Return how often rules are expected to be used, given the sequences (Lari and Young, 1990).

    Parameters
    ----------
    pairs : Pairs
        Of the grammar.
    chart : Chart
        Inside probabilities; each sequence has a derivation.
    codes : ndarray of int of shape (n_sequences, n_steps)
        Words, -1 for any word at all, which counts as those that are expected.
    weight : ndarray of shape (n_sequences,)
        Weights of the sequences.

    Returns
    -------
    counts : RuleCounts
        Expected counts.
    """
    rules, n_steps = pairs.rules, codes.shape[1]
    # Outside probabilities, times the scale of the inside ones, over the probability of the sequence.
    outside = np.zeros_like(chart.value)
    top = rules.root[:, None] * (weight / (rules.root @ chart.value[:, :, 0, -1]))
    outside[:, :, 0, -1] = top
    of_rules = np.zeros(len(rules.p))
    for length in range(n_steps, 1, -1):
        n_spans = n_steps - length + 1
        splits = Splits.of(chart, chart, length, chart.log_scale[:, :n_spans, length])
        own = outside[..., :n_spans, length].reshape(rules.n_symbols, -1)
        of_pairs = pairs.joined(splits)
        of_rules += pairs.sums_by_rule(own, of_pairs)
        above, shape = pairs.weights.T @ own, (rules.n_symbols, *splits.weight.shape)
        below = pairs.passed_down(above, splits, is_left=True).reshape(shape)
        outside[..., :n_spans, 1:length] += below * splits.weight
        below = pairs.passed_down(above, splits, is_left=False).reshape(shape)
        after(outside, length)[...] += below
    words = np.zeros_like(rules.words)
    used = outside[rules.emitters, :, :, 1] * chart.value[rules.emitters, :, :, 1]
    used, known = used.reshape(len(words), codes.size), codes.ravel() >= 0
    np.add.at(words.T, codes.ravel()[known], used[:, known].T)
    words += used[:, ~known].sum(axis=1, keepdims=True) * rules.words
    return RuleCounts((top * chart.value[:, :, 0, -1]).sum(axis=1), rules.p * of_rules, words)


def best_derivation(pairs, chart, i):
    """Return the most probable derivation of a sequence.

    Parameters
    ----------
    pairs : Pairs
        Of the grammar.
    chart : Chart
        Of :func:`inside` with `is_best`.
    i : int
        Which sequence.

    Returns
    -------
    nodes : list of (int, int, int) or None
        The symbol, first step and length of each span of the derivation, a span before its parts, and the left one of
        these first; None if there is none.
    """
    rules, value, log_scale = pairs.rules, chart.value[:, i], chart.log_scale[i]
    whole = rules.root * value[:, 0, -1]
    if not whole.max() > 0:
        return None
    nodes, stack = [], [(int(whole.argmax()), 0, value.shape[1])]
    while stack:
        symbol, start, length = node = stack.pop()
        nodes.append(node)
        if length == 1:
            continue
        k = np.arange(1, length)
        own = slice(*np.searchsorted(rules.parent, [symbol, symbol + 1]))
        scale = log_scale[start, k] + log_scale[start + k, length - k]
        joint = value[rules.left[own], start, 1:length] * np.exp(scale - scale.max())
        joint *= value[rules.right[own]][:, start + k, length - k] * rules.p[own, None]
        rule, split = np.unravel_index(joint.argmax(), joint.shape)
        rule, split = rule + own.start, int(split) + 1
        stack.append((int(rules.right[rule]), start + split, length - split))
        stack.append((int(rules.left[rule]), start, split))
    return nodes
