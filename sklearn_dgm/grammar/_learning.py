"""Learning grammars: from trees by counting, from sequences alone by expectation and maximisation."""

from typing import Any, NamedTuple

import numpy as np

from sklearn_dgm._state import Stateful
from sklearn_dgm.chunks import Sums
from sklearn_dgm.grammar._inside import NUMBERS_OF_CHARTS, Pairs, expected_counts, inside
from sklearn_dgm.grammar._rules import RuleCounts, Rules
from sklearn_dgm.grammar._trees import Symbol, productions
from sklearn_dgm.sequence._state_learning import PATIENCE

# What sequences are derived from that have no parse otherwise: any constituents in a row, and a last word.
GLUE = Symbol(("GLUE",))


class Batch(NamedTuple):
    """Sequences of one length, as many as one chart is to hold.

    Attributes
    ----------
    rows : ndarray of int of shape (n_sequences,)
        Which sequences they are.
    codes : ndarray of int of shape (n_sequences, n_steps)
        Their words.
    """

    rows: np.ndarray
    codes: np.ndarray


def batches(codes, lengths, n_symbols):
    """Yield sequences that have steps in batches.

    Parameters
    ----------
    codes : ndarray of int of shape (n_steps,)
        Words, sequence after sequence.
    lengths : ndarray of int of shape (n_sequences,)
        Numbers of words.
    n_symbols : int
        Number of symbols of the grammar.
    """
    starts = np.cumsum(lengths) - lengths
    for n in np.unique(lengths[lengths > 0]).tolist():
        (rows,) = np.nonzero(lengths == n)
        size = max(NUMBERS_OF_CHARTS // (n_symbols * n * n), 1)
        for first in range(0, len(rows), size):
            block = rows[first : first + size]
            yield Batch(block, codes[starts[block][:, None] + np.arange(n)])


class WeightedSentences(NamedTuple):
    """Distinct sequences in a fixed order, so that a fit knows neither the order of sequences nor weights from repeats.

    Attributes
    ----------
    codes : ndarray of int of shape (n_steps,)
        Words, sequence after sequence.
    lengths : ndarray of int of shape (n_sequences,)
        Numbers of words, of one at least.
    weight : ndarray of shape (n_sequences,)
        Weights of the sequences.
    """

    codes: np.ndarray
    lengths: np.ndarray
    weight: np.ndarray

    @classmethod
    def of(cls, codes, weight):
        """Take equal sequences together; those without steps are left out.

        Parameters
        ----------
        codes : list of ndarray of int
            Words of each sequence.
        weight : ndarray of shape (n_sequences,)
            Weights.
        """
        total: dict[bytes, float] = {}
        for own, of_sequence in zip(codes, weight.tolist(), strict=True):
            key = own.astype(">i8").tobytes()
            total[key] = total.get(key, 0.0) + of_sequence
        keys = sorted(filter(None, total))
        joined = np.frombuffer(b"".join(keys), ">i8").astype(np.intp)
        return cls(
            joined,
            np.array([len(key) // 8 for key in keys], int),
            np.array([*map(total.get, keys)]),
        )

    def part(self, chosen):
        """Return some of them, given by flags."""
        of_steps = np.repeat(chosen, self.lengths)
        return WeightedSentences(self.codes[of_steps], self.lengths[chosen], self.weight[chosen])

    @property
    def n_words(self):
        """Weight of all words."""
        return float(self.weight @ self.lengths)

    def expectation(self, pairs):
        """Return the log-likelihood under a grammar, and expected counts; what has no parse counts for nothing."""
        rules = pairs.rules
        total, counts = 0.0, no_counts(rules)
        for batch in batches(self.codes, self.lengths, rules.n_symbols):
            chart, log_p = charted(pairs, batch)
            has_parse = np.isfinite(log_p)
            if not has_parse.all():
                batch = Batch(batch.rows[has_parse], batch.codes[has_parse])
                if not len(batch.rows):
                    continue
                chart, log_p = charted(pairs, batch)
            weight = self.weight[batch.rows]
            total += float(weight @ log_p)
            counts += expected_counts(pairs, chart, batch.codes, weight)
        return total, counts

    def have_parse(self, pairs):
        """Return flags of those that a grammar derives."""
        found = np.zeros(len(self.lengths), dtype=bool)
        for batch in batches(self.codes, self.lengths, pairs.rules.n_symbols):
            found[batch.rows] = np.isfinite(charted(pairs, batch)[1])
        return found

    def log_likelihood(self, pairs):
        """Return the log-likelihood under a grammar."""
        of_batches = batches(self.codes, self.lengths, pairs.rules.n_symbols)
        return sum(float(self.weight[b.rows] @ charted(pairs, b)[1]) for b in of_batches)


class ChunkedSentences:
    """Sequences that are read a chunk at a time, anew for each step of EM.

    Parameters
    ----------
    rows : EncodedChunks
        The sequences.
    axis : {CategoryAxis, NumberAxis}
        Which word a step is.
    n_words : float
        Weight of all words.
    """

    def __init__(self, rows, axis, n_words):
        self.rows, self.axis, self.n_words = rows, axis, n_words

    def expectation(self, pairs):
        """Return the log-likelihood under a grammar, and expected counts; see :class:`WeightedSentences`."""

        def of_chunk(Z, weight):
            codes = Z.split(self.axis.encode(Z.steps[:, 0])[0])
            weight = np.ones(len(Z)) if weight is None else weight
            return Sums(WeightedSentences.of(codes, weight).expectation(pairs))

        return self.rows.total(of_chunk)


def charted(pairs, batch):
    """Return the inside probabilities of a batch, and the log-probabilities of its sequences."""
    rules = pairs.rules
    emission = rules.emission(batch.codes.ravel()).reshape(rules.n_symbols, *batch.codes.shape)
    chart = inside(pairs, emission)
    return chart, chart.log_prob(rules.root)


def no_counts(rules):
    """Return counts of nothing."""
    return RuleCounts(np.zeros_like(rules.root), np.zeros_like(rules.p), np.zeros_like(rules.words))


def random_rules(n_symbols, n_words, mean_length, base, rng):
    """Draw a grammar all of whose symbols have any children and emit any words, where EM begins.

    Parameters
    ----------
    n_symbols, n_words : int
        Numbers of symbols and of words.
    mean_length : float
        What sequences have in the mean.
    base : ndarray of shape (n_words,)
        Probabilities of words.
    rng : Generator
        Where random numbers come from.

    Returns
    -------
    rules : Rules
        The grammar; its derivations end with probability one.
    """
    parent, left, right = np.indices((n_symbols,) * 3).reshape(3, -1)
    p = rng.standard_exponential((n_symbols, n_symbols**2))
    words = base * rng.standard_exponential((n_symbols, n_words))
    root = rng.standard_exponential(n_symbols)
    # A tree of n words has n - 1 nodes above.
    branches = (mean_length - 1) / (2 * mean_length - 1)
    return Rules(
        root / root.sum(),
        parent,
        left,
        right,
        (branches * p / p.sum(axis=1, keepdims=True)).ravel(),
        np.arange(n_symbols),
        words / words.sum(axis=1, keepdims=True),
        np.full(n_symbols, 1 - branches),
    )


class TreeCounts(Stateful):
    """How often trees use what: symbols at their roots, parents with two children, and symbols with words.

    Counts of parts of the trees add up.

    Parameters
    ----------
    root : dict of Symbol to float
        By symbol.
    pairs : dict of tuple of Symbol to float
        By parent and children.
    words : dict of tuple to float
        By symbol and word.
    """

    def __init__(self, root, pairs, words):
        self.root, self.pairs, self.words = root, pairs, words

    @classmethod
    def of(cls, trees, codes, weight, markov_order):
        """Count the rules of trees.

        Parameters
        ----------
        trees : list of {Node, None}
            Trees of sequences.
        codes : list of ndarray of int
            Their words.
        weight : ndarray of shape (n_sequences,)
            Weights of the sequences.
        markov_order : int
            How many of the children to come intermediate symbols know.
        """
        root: dict[Symbol, float] = {}
        of_pairs: dict[tuple, float] = {}
        of_words: dict[tuple, float] = {}
        for tree, own, of_tree in zip(trees, codes, weight.tolist(), strict=True):
            if tree is None:
                continue
            root[tree.symbol] = root.get(tree.symbol, 0.0) + of_tree
            for parent, *children in productions(tree, markov_order):
                counted = of_pairs if len(children) == 2 else of_words
                key = (parent, *children) if len(children) == 2 else (parent, int(own[children[0]]))
                counted[key] = counted.get(key, 0.0) + of_tree
        return cls(root, of_pairs, of_words)

    def __add__(self, other):
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return TreeCounts(*(_sum(own, its) for own, its in pairs))

    def glued(self, glue, base):
        """Return these counts, and those of sequences of a constituent, as frequent as in trees, and a word.

        Parameters
        ----------
        glue : float
            How many sequences more count; no symbol joins their constituents and words but :data:`GLUE`.
        base : ndarray of shape (n_words,)
            Probabilities of words.
        """
        if not glue:
            return self
        constituents: dict[Symbol, float] = dict(self.root)
        for (_, *children), count in self.pairs.items():
            for child in children:
                if not child.is_intermediate:
                    constituents[child] = constituents.get(child, 0.0) + count
        total = sum(constituents.values())
        of_glue = {
            (GLUE, symbol, GLUE): glue * constituents[symbol] / total
            for symbol in sorted(constituents)
        }
        of_words = {(GLUE, code): glue * share for code, share in enumerate(base.tolist())}
        return self + TreeCounts({GLUE: glue}, of_glue, of_words)

    def laid_out(self, n_words):
        """Lay out what has been counted as arrays.

        Parameters
        ----------
        n_words : int
            Number of words.

        Returns
        -------
        symbols : list of Symbol
            Symbols in a fixed order.
        rules : Rules
            Rules that have been counted, of no probability so far.
        counts : RuleCounts
            The counts.
        """
        symbols = sorted(
            {symbol for key in self.pairs for symbol in key} | {key[0] for key in self.words}
        )
        number = {symbol: k for k, symbol in enumerate(symbols)}
        keys = sorted(self.pairs)
        parent, left, right = (
            np.array([[number[s] for s in key] for key in keys], int).reshape(-1, 3).T
        )
        literals = np.full(len(symbols), -1)
        for symbol, code in self.words:
            if not symbol.labels:
                literals[number[symbol]] = code
        emitters = sorted({number[symbol] for symbol, _ in self.words if symbol.labels})
        words = np.zeros((len(emitters), n_words))
        row = {k: i for i, k in enumerate(emitters)}
        for (symbol, code), count in self.words.items():
            if symbol.labels:
                words[row[number[symbol]], code] = count
        counts = RuleCounts(
            np.array([self.root.get(symbol, 0.0) for symbol in symbols]),
            np.array([self.pairs[key] for key in keys], dtype=np.float64),
            words,
        )
        nothing = RuleCounts(*map(np.zeros_like, counts))
        rules = Rules(
            nothing.root,
            parent,
            left,
            right,
            nothing.rules,
            np.array(emitters, dtype=np.intp),
            nothing.words,
            (literals >= 0).astype(np.float64),
            literals,
        )
        return symbols, rules, counts


def _sum(counts, others):
    """Return the sums of counts by key."""
    total = dict(counts)
    for key, count in others.items():
        total[key] = total.get(key, 0.0) + count
    return total


def laid_out_as(counts, symbols, rules, of_symbols, of_rules):
    """Lay out counts of a grammar as those of one that has all of its symbols and rules.

    Parameters
    ----------
    counts : RuleCounts
        Counts.
    symbols, of_symbols : list of Symbol
        Symbols of the grammar that was counted, and of the other one.
    rules, of_rules : Rules
        Their rules.
    """
    number = {symbol: k for k, symbol in enumerate(of_symbols)}
    place = np.array([number[symbol] for symbol in symbols])
    keys = _keys(of_rules.parent, of_rules.left, of_rules.right, len(of_symbols))
    own = _keys(place[rules.parent], place[rules.left], place[rules.right], len(of_symbols))
    laid_out = no_counts(of_rules)
    laid_out.root[place] = counts.root
    laid_out.rules[np.searchsorted(keys, own)] = counts.rules
    laid_out.words[np.searchsorted(of_rules.emitters, place[rules.emitters])] = counts.words
    return laid_out


def _keys(parent, left, right, n):
    return (parent * n + left) * n + right


class GrammarFit(NamedTuple):
    """A grammar that EM has found.

    Attributes
    ----------
    rules : Rules
        The grammar.
    lower_bounds : list of float
        The objective before each step of EM, and after the last one, in nats a word.
    validation_scores : list of float
        The log-likelihood of validation sequences, in the same units; none without such.
    converged : bool
        Whether the fit stopped by itself.
    expected : RuleCounts
        What the rules were learnt from, beside the trees that are known.
    """

    rules: Any
    lower_bounds: list[float]
    validation_scores: list[float]
    converged: bool
    expected: RuleCounts

    @property
    def quality(self):
        """What the best of several starts has most of."""
        return max(self.validation_scores, default=self.lower_bounds[-1])

    @property
    def best_step(self):
        """The step after which validation sequences are most probable, the start left out."""
        return 1 + int(np.argmax(self.validation_scores[1:]))


def fit_rules(rules, known, train, valid, alpha, base, max_iter, tol):
    """Fit a grammar to sequences by expectation and maximisation: the inside-outside algorithm.

    Parameters
    ----------
    rules : Rules
        Where to begin.
    known : RuleCounts
        Counts of trees that are known.
    train : WeightedSentences
        Sequences whose trees are not.
    valid : WeightedSentences or None
        Sequences that say when to stop: when they have become no more probable in some steps.
    alpha : float
        How many words of each symbol the distribution of all words counts as.
    base : ndarray of shape (n_words,)
        That distribution.
    max_iter : int
        Steps of EM at most.
    tol : float
        Change of the objective in nats a word below which to stop.

    Returns
    -------
    fit : GrammarFit
        The grammar after the last step.
    """
    objectives, scores, converged, expected = [], [], False, no_counts(rules)
    # A tree has a word more than rules.
    n_words = train.n_words + known.root.sum() + known.rules.sum()
    for step in range(max_iter + 1):
        pairs = Pairs(rules)
        log_likelihood, counts = train.expectation(pairs)
        log_prior = _log_prior(rules, known, alpha, base)
        objectives.append((log_likelihood + log_prior) / n_words)
        if valid is not None:
            scores.append(valid.log_likelihood(pairs) / valid.n_words)
            converged = step - int(np.argmax(scores)) >= PATIENCE
        converged |= step > 0 and abs(objectives[-1] - objectives[-2]) < tol
        if converged or step == max_iter:
            break
        expected, rules = counts, rules.learnt(counts + known, alpha, base)
    return GrammarFit(rules, objectives, scores, converged, expected)


def _log_prior(rules, known, alpha, base):
    """Return the log-probability of known trees, and the log-density of the prior of words, up to a constant."""
    share = rules.emits[rules.emitters]
    terms = [(known.root, rules.root), (known.rules, rules.p), (known.words.sum(axis=1), share)]
    terms.append((known.words + alpha * base * (share > 0)[:, None], rules.words))
    return sum(
        float(counts[counts > 0] @ np.log(p[counts > 0])) for counts, p in terms if counts.any()
    )
