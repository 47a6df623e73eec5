"""Rules of a probabilistic context-free grammar as plain arrays, and draws from them.

A symbol has two children, or emits a word: that is Chomsky's normal form.
"""

from typing import NamedTuple

import numpy as np
from scipy import sparse

from sklearn_dgm._state import Stateful


class RuleCounts(NamedTuple):
    """How often rules have been used, or are expected to.

    Attributes
    ----------
    root : ndarray of shape (n_symbols,)
        Weights of the symbols that sequences are derived from.
    rules : ndarray of shape (n_rules,)
        Weights of the rules of two children.
    words : ndarray of shape (n_emitters, n_words)
        Weights of the words by what emits them.
    """

    root: np.ndarray
    rules: np.ndarray
    words: np.ndarray

    def __add__(self, other):
        return RuleCounts(*(mine + its for mine, its in zip(self, other, strict=True)))


class Rules(Stateful):
    """A grammar.

    Parameters
    ----------
    root : ndarray of shape (n_symbols,)
        Probabilities of the symbols that sequences are derived from.
    parent, left, right : ndarray of int of shape (n_rules,)
        Symbols of the rules of two children, sorted.
    p : ndarray of shape (n_rules,)
        Probabilities of these rules, given the parent.
    emitters : ndarray of int of shape (n_emitters,)
        Symbols that may emit words.
    words : ndarray of shape (n_emitters, n_words)
        Probabilities of words, given the symbol that emits one.
    emits : ndarray of shape (n_symbols,)
        Probabilities that a symbol emits a word, so that with its rules they sum to one.
    literals : ndarray of int of shape (n_symbols,), default=None
        The word that a symbol is, -1 of others; by default there are only these. A literal has no rules, is no emitter,
        and `emits` 1.
    """

    def __init__(self, root, parent, left, right, p, emitters, words, emits, literals=None):
        self.root = root
        self.parent, self.left, self.right, self.p = parent, left, right, p
        self.emitters, self.words, self.emits = emitters, words, emits
        self.literals = np.full(len(root), -1) if literals is None else literals

    @property
    def n_symbols(self):
        """Number of symbols."""
        return len(self.root)

    def replaced(self, **parts):
        """Return these rules with other arrays in place of some."""
        return Rules(**{**vars(self), **parts})

    def used(self, counts):
        """Return the rules that have a probability, and their counts."""
        keep = self.p > 0
        names = ("parent", "left", "right", "p")
        rules = self.replaced(**{name: getattr(self, name)[keep] for name in names})
        return rules, counts._replace(rules=counts.rules[keep])

    def emission(self, codes):
        """Return the probabilities that symbols emit words.

        Parameters
        ----------
        codes : ndarray of int of shape (n,)
            Words, -1 for any word at all.

        Returns
        -------
        emission : ndarray of shape (n_symbols, n)
            Probabilities.
        """
        emission = np.zeros((self.n_symbols, len(codes)))
        of_words = np.where(codes < 0, 1.0, self.words[:, codes])
        emission[self.emitters] = self.emits[self.emitters, None] * of_words
        (own,) = np.nonzero(self.literals >= 0)
        emission[own] = (codes < 0) | (codes == self.literals[own, None])
        return emission

    def learnt(self, counts, alpha, base):
        """Return rules whose probabilities are shares of counts.

        Parameters
        ----------
        counts : RuleCounts
            Counts; a symbol that has none keeps its probabilities.
        alpha : float
            How many words of each symbol the distribution of all words counts as.
        base : ndarray of shape (n_words,)
            That distribution.
        """
        of_words = counts.words.sum(axis=1)
        # Of no rules there are whole numbers.
        total = np.bincount(self.parent, counts.rules, self.n_symbols).astype(np.float64)
        total[self.emitters] += of_words
        emits = np.zeros(self.n_symbols)
        emits[self.emitters] = of_words
        p = _share(counts.rules, total[self.parent], self.p)
        words = _share(counts.words + alpha * base, of_words[:, None] + alpha, self.words)
        return self.replaced(
            root=counts.root / counts.root.sum(),
            p=p,
            words=np.where(of_words[:, None] > 0, words, self.words),
            emits=_share(emits, total, self.emits),
        )

    def mean_children(self):
        """Return the mean numbers of children by parent and child, a csr_array of shape (n_symbols, n_symbols)."""
        of_both = (np.tile(self.parent, 2), np.concatenate([self.left, self.right]))
        return sparse.csr_array((np.tile(self.p, 2), of_both), shape=(self.n_symbols,) * 2)

    def left_corner(self):
        """Return the probabilities that the first child of a symbol is another, of shape (n_symbols, n_symbols)."""
        shape = (self.n_symbols,) * 2
        return sparse.csr_array((self.p, (self.parent, self.left)), shape=shape).toarray()

    def length_probabilities(self, longest):
        """Return the probabilities that what a symbol derives has a length.

        Parameters
        ----------
        longest : int
            The greatest length.

        Returns
        -------
        of_length : ndarray of shape (longest + 1, n_symbols)
            Probabilities by length and symbol, over the greatest one of the length.
        log_scale : ndarray of shape (longest + 1,)
            The logarithms of these; `-inf` of a length that no symbol derives.
        """
        of_length = np.zeros((longest + 1, self.n_symbols))
        log_scale = np.full(longest + 1, -np.inf)
        for n in range(1, longest + 1):
            own, scale = self.emits, 0.0
            if n > 1:
                weight, scale = split_weights(log_scale, n)
                left, right = of_length[1:n, self.left], of_length[n - 1 : 0 : -1, self.right]
                of_rules = self.p * np.einsum("k,kr,kr->r", weight, left, right)
                own = np.bincount(self.parent, of_rules, self.n_symbols)
            if own.any():
                of_length[n], log_scale[n] = own / own.max(), np.log(own.max()) + scale
        return of_length, log_scale

    def draw(self, n_samples, rng):
        """Draw sequences of one word at least, all of them at once, a level of their trees after the other.

        Parameters
        ----------
        n_samples : int
            Number of sequences.
        rng : Generator
            Where random numbers come from.

        Returns
        -------
        codes : ndarray of int of shape (n_steps,)
            Words, sequence after sequence.
        lengths : ndarray of int of shape (n_samples,)
            Their lengths.
        """
        # The rules of a symbol, and after them that it emits a word.
        n_rules = len(self.p)
        order = np.argsort(np.append(self.parent, np.arange(self.n_symbols)), kind="stable")
        options = Options.of(
            np.append(self.p, self.emits)[order], _starts(self.parent, self.n_symbols)
        )
        row, symbol = np.arange(n_samples), _chosen(self.root, n_samples, rng)
        is_open = np.ones(n_samples, dtype=bool)
        while is_open.any():
            chosen = order[options.draw(symbol[is_open], rng)]
            opened = np.flatnonzero(is_open)
            branches = chosen < n_rules
            is_open[opened[~branches]] = False
            widths = np.ones(len(row), dtype=np.intp)
            widths[opened[branches]] = 2
            place = np.cumsum(widths) - widths
            row, symbol, is_open = (np.repeat(part, widths) for part in (row, symbol, is_open))
            at, rule = place[opened[branches]], chosen[branches]
            symbol[at], symbol[at + 1] = self.left[rule], self.right[rule]
        return self._drawn_words(symbol, rng), np.bincount(row, minlength=n_samples)

    def draw_of_lengths(self, lengths, rng):
        """Draw sequences of given lengths.

        Parameters
        ----------
        lengths : ndarray of int of shape (n_samples,)
            Numbers of words, which some tree has.
        rng : Generator
            Where random numbers come from.

        Returns
        -------
        codes : ndarray of int of shape (n_steps,)
            Words, sequence after sequence.
        """
        of_length = self.length_probabilities(int(lengths.max()))
        size = lengths[lengths > 0]
        symbol = np.empty(len(size), dtype=np.intp)
        for n in np.unique(size):
            (which,) = np.nonzero(size == n)
            symbol[which] = _chosen(self.root * of_length[0][n], len(which), rng)
        while (size > 1).any():
            widths = np.where(size > 1, 2, 1)
            place = np.cumsum(widths) - widths
            pairs, which = np.unique(np.stack([symbol, size]), axis=1, return_inverse=True)
            new_symbol, new_size = np.repeat(symbol, widths), np.repeat(size, widths)
            for number, (parent, n) in enumerate(pairs.T):
                if n > 1:
                    at = place[which.ravel() == number]
                    children = self._drawn_children(parent, n, len(at), of_length, rng)
                    for child, (its_symbol, its_size) in enumerate(children):
                        new_symbol[at + child], new_size[at + child] = its_symbol, its_size
            symbol, size = new_symbol, new_size
        return self._drawn_words(symbol, rng)

    def _drawn_children(self, parent, n, n_samples, of_length, rng):
        """Draw the symbols of both children of a parent that derives n words, and their numbers of words."""
        of_length, log_scale = of_length
        rules = np.flatnonzero(self.parent == parent)
        left, right = self.left[rules], self.right[rules]
        weight = self.p[rules] * of_length[1:n, left] * of_length[n - 1 : 0 : -1, right]
        weight *= split_weights(log_scale, n)[0][:, None]
        split, rule = np.divmod(_chosen(weight.ravel(), n_samples, rng), len(rules))
        return (left[rule], split + 1), (right[rule], n - 1 - split)

    def _drawn_words(self, symbols, rng):
        """Draw the word that each symbol emits."""
        n_words = self.words.shape[1]
        starts = np.arange(len(self.emitters) + 1) * n_words
        number = np.zeros(self.n_symbols, dtype=np.intp)
        number[self.emitters] = np.arange(len(self.emitters))
        codes = self.literals[symbols]
        is_open = codes < 0
        options = Options.of(self.words.ravel(), starts)
        codes[is_open] = options.draw(number[symbols[is_open]], rng) % n_words
        return codes


class Options(NamedTuple):
    """What is drawn from, group after group.

    Attributes
    ----------
    reached : ndarray of shape (n_options + 1,)
        Sums of the weights before each option.
    starts : ndarray of int of shape (n_groups + 1,)
        Where the options of groups begin.
    """

    reached: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, weights, starts):
        """Lay out options by their weights."""
        return cls(np.append(0.0, np.cumsum(weights)), starts)

    def draw(self, groups, rng):
        """Draw an option of each group."""
        first, last = self.reached[self.starts[groups]], self.reached[self.starts[groups + 1]]
        aim = first + rng.random(len(groups)) * (last - first)
        option = np.searchsorted(self.reached, aim, side="right") - 1
        return np.clip(option, self.starts[groups], self.starts[groups + 1] - 1)


def split_weights(log_scale, n):
    """Return what products of entries of both children of n words are to be multiplied with.

    Parameters
    ----------
    log_scale : ndarray of shape (n_lengths,)
        Logarithms of the scales of lengths.
    n : int
        Number of words.

    Returns
    -------
    weight : ndarray of shape (n - 1,)
        By the number of words of the left child; the greatest is 1.
    log_scale : float
        The logarithm of what it is to be multiplied with.
    """
    scales = log_scale[1:n] + log_scale[n - 1 : 0 : -1]
    greatest = scales.max()
    if np.isneginf(greatest):
        return np.zeros(n - 1), greatest
    return np.exp(scales - greatest), greatest


def _starts(parent, n_symbols):
    """Return where the options of symbols begin: their rules, and one more."""
    return np.append(0, np.cumsum(np.bincount(parent, minlength=n_symbols) + 1))


def _chosen(weights, n_samples, rng):
    """Draw places by their weights."""
    return Options.of(weights, np.array([0, len(weights)])).draw(
        np.zeros(n_samples, dtype=int), rng
    )


def _share(counts, total, otherwise):
    """Return shares; other ones where there is nothing to count."""
    counts, total = np.broadcast_arrays(np.asarray(counts, dtype=np.float64), total)
    return np.divide(
        counts, total, out=np.array(np.broadcast_to(otherwise, counts.shape)), where=total > 0
    )
