"""Symbols given those before them, by counts of n-grams that lower orders smooth."""

import functools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sklearn_dgm._state import Stateful

KNESER_NEY, WITTEN_BELL = "kneser-ney", "witten-bell"
# Keys of n-grams are integers of 64 bits.
MAX_KEY = 2**62
# Orders beyond are not tried where the best one is looked for.
MAX_ORDER = 10
# What is less than this share of a sum is left of it by rounding.
NOTHING = 1e-12


@dataclass(frozen=True)
class GramCounts:
    """Weights of distinct n-grams.

    Attributes
    ----------
    grams : ndarray of int of shape (n_grams, order)
        Distinct n-grams: a symbol in the last column, and those before it.
    weight : ndarray of shape (n_grams,)
        How often each occurred.
    """

    grams: np.ndarray
    weight: np.ndarray

    @classmethod
    def of(cls, grams, weight=None):
        """Count n-grams, which have a weight each."""
        key, bound = np.zeros(len(grams), dtype=np.int64), 1
        size = int(grams.max(initial=0)) + 1
        for column in grams.T:
            if bound * size > MAX_KEY:
                keys, key = np.unique(key, return_inverse=True)
                bound = len(keys)
            key, bound = key * size + column, bound * size
        _, first, place = np.unique(key, return_index=True, return_inverse=True)
        return cls(grams[first], np.bincount(place, weight, len(first)).astype(np.float64))

    def __add__(self, other):
        return self.of(
            np.concatenate([self.grams, other.grams]), np.concatenate([self.weight, other.weight])
        )


class Table(NamedTuple):
    """How often n-grams of an order occurred.

    Attributes
    ----------
    contexts : ndarray of int of shape (n_contexts,)
        Keys of the contexts, increasing.
    grams : ndarray of int of shape (n_grams,)
        Keys of the contexts with the symbols that follow them, increasing.
    context : ndarray of int of shape (n_grams,)
        Number of the context of each.
    weight : ndarray of shape (n_grams,)
        How often it occurred.
    shorter : ndarray of int of shape (n_grams,)
        Place of the gram without its first symbol in the table of the lower order.
    """

    contexts: np.ndarray
    grams: np.ndarray
    context: np.ndarray
    weight: np.ndarray
    shorter: np.ndarray

    def sums(self, of_grams):
        """Sum up numbers of grams by context."""
        return np.bincount(self.context, of_grams, len(self.contexts))


class Level(NamedTuple):
    """Counts of the symbols that follow contexts of one length, as shares of their probabilities.

    A context is a number, by which the grams are sorted. It is found by that of the context without its first symbol,
    and this symbol.

    Attributes
    ----------
    contexts : ndarray of int of shape (n_contexts,)
        Keys of the contexts, increasing.
    lower : ndarray of shape (n_contexts,)
        Share of each context's probability that is distributed as it is in the lower order.
    grams : ndarray of int of shape (n_grams,)
        Keys of the contexts with the symbols that follow them, increasing.
    symbols : ndarray of int of shape (n_grams,)
        These symbols.
    own : ndarray of shape (n_grams,)
        Probability of the symbol in its context beside what comes from the lower order.
    starts : ndarray of int of shape (n_contexts + 1,)
        Where the grams of each context begin.
    reached : ndarray of shape (n_grams + 1,)
        Sums of `own` before each gram.
    """

    contexts: np.ndarray
    lower: np.ndarray
    grams: np.ndarray
    symbols: np.ndarray
    own: np.ndarray
    starts: np.ndarray
    reached: np.ndarray

    @classmethod
    def of(cls, contexts, grams, n_symbols, own, lower):
        """Lay out the table of grams, given their probabilities."""
        context, symbols = np.divmod(grams, n_symbols)
        starts = np.searchsorted(context, np.arange(len(contexts) + 1))
        reached = np.concatenate([[0.0], np.cumsum(own)])
        return cls(contexts, lower, grams, symbols, own, starts, reached)

    def grams_of(self, context):
        """Return the places of the grams of contexts, and the number of grams of each."""
        n = np.diff(self.starts)[context]
        return np.arange(n.sum()) + np.repeat(self.starts[context] - np.cumsum(n) + n, n), n


class NGrams(Stateful):
    """The distribution of a symbol given up to ``order - 1`` symbols before it in its sequence.

    Counts of long contexts are interpolated with those of shorter ones, down to the uniform distribution::

        p(w | context) = own(w, context) + lower(context) * p(w | context without its first symbol)

    so that each distribution sums to one, and nothing is impossible. Kneser-Ney: of each count a discount is taken off,
    ``own = (c - D(c)) / C`` where C is the sum of the context's counts, and in lower orders a count is that of the
    distinct symbols that precede a gram, so that what is frequent in a single context is not likely elsewhere [1]_. The
    discounts of counts of 1, of 2 and of more follow from the numbers n1 to n4 of grams of an order that have been
    counted once to four times [2]_::

        D(1) = Y    D(2) = 2 - 3 Y n3 / n2    D(3) = 3 - 4 Y n4 / n3    where Y = n1 / (n1 + 2 n2)

    Witten-Bell: ``own = c / (C + T)``, where T counts the distinct symbols that follow the context [3]_.

    Before a sequence there is a symbol of contexts alone, `order - 1` times.

    Parameters
    ----------
    n_values : int
        Number of values of a step; symbols are 0 to ``n_values - 1``, in contexts also -1, for any unknown one.
    order : int
        Number of symbols of an n-gram: 1 for none before it.
    smoothing : {"kneser-ney", "witten-bell"}, default="kneser-ney"
        How orders are interpolated.
    ends : bool, default=False
        Whether the end of a sequence is a symbol, too, of number `n_values`.

    Attributes
    ----------
    n_symbols : int
        Number of symbols, with that of the end.
    levels_ : list of Level
        Tables of each order.

    Notes
    -----
    Weights are counts, and between whole numbers there is no jump: what counts distinct grams takes ``min(c, 1)`` of a
    count c, and discounts and the numbers n1 to n4 are interpolated. To these numbers ``1 / (n (n + 1))`` is added, and
    no discount is smaller than that of a smaller count, so that all are between 0 and the count.

    References
    ----------
    .. [1] R. Kneser and H. Ney, "Improved backing-off for m-gram language modeling", ICASSP 1995,
       https://doi.org/10.1109/ICASSP.1995.479394
    .. [2] S. F. Chen and J. Goodman, "An empirical study of smoothing techniques for language modeling", Computer
       Speech & Language 13 (1999), https://doi.org/10.1006/csla.1999.0128
    .. [3] I. H. Witten and T. C. Bell, "The zero-frequency problem", IEEE Transactions on Information Theory 37 (1991),
       https://doi.org/10.1109/18.87000

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_dgm.counts.ngrams import NGrams
    >>> symbols, lengths = np.array([0, 1, 0, 1, 1]), np.array([4, 1])
    >>> ngrams = NGrams(2, order=2, smoothing="witten-bell").fit(symbols, lengths)
    >>> np.exp(ngrams.log_prob(symbols, lengths)).round(2)
    array([0.46, 0.86, 0.71, 0.86, 0.54])
    """

    def __init__(self, n_values, order, smoothing=KNESER_NEY, *, ends=False):
        self.n_values, self.order, self.smoothing, self.ends = n_values, order, smoothing, ends
        self.n_symbols = n_values + ends

    def fit(self, symbols, lengths, weight=None):
        """Count the n-grams of sequences.

        Parameters
        ----------
        symbols : ndarray of int of shape (n_steps,)
            Symbols of all sequences under each other; those that are -1 are not counted.
        lengths : ndarray of int of shape (n_sequences,)
            Numbers of steps.
        weight : ndarray of shape (n_sequences,), default=None
            Positive weights of the sequences.

        Returns
        -------
        self : NGrams
            The fitted distribution.
        """
        return self.set_counts(self.count(symbols, lengths, weight))

    def count(self, symbols, lengths, weight=None):
        """Count the n-grams of sequences, see :meth:`fit`; return them as :class:`GramCounts`."""
        grams = self.grams(symbols, lengths)
        of_terms = None if weight is None else np.repeat(weight, lengths + self.ends)
        known = grams[:, -1] < self.n_symbols
        if not known.all():
            grams, of_terms = grams[known], None if of_terms is None else of_terms[known]
        return GramCounts.of(grams, of_terms)

    def grams(self, symbols, lengths):
        """Return the n-gram of each term of sequences: of each step, and of the end after them if that is a symbol.

        Parameters
        ----------
        symbols : ndarray of int of shape (n_steps,)
            Symbols of all sequences under each other.
        lengths : ndarray of int of shape (n_sequences,)
            Numbers of steps.

        Returns
        -------
        grams : ndarray of int of shape (n_terms, order)
            The symbol of each term in the last column, those before it in the others.
        """
        n_terms = lengths + self.ends
        firsts = np.cumsum(n_terms) - n_terms
        padded = np.full(n_terms.sum(), self.n_values, dtype=np.int32)
        place = np.arange(len(padded)) - np.repeat(firsts, n_terms)
        is_step = place < np.repeat(lengths, n_terms)
        padded[is_step] = np.where(symbols < 0, self._unknown, symbols)
        grams = np.empty((len(padded), self.order), dtype=np.int32)
        for k in range(self.order):
            column = grams[:, self.order - 1 - k]
            column[k:] = padded[: max(len(padded) - k, 0)]
            column[place < k] = self._begin
        return grams

    @property
    def _begin(self):
        """Symbol of contexts before the first step."""
        return self.n_values + 1

    @property
    def _unknown(self):
        """Symbol of steps of another value than the known ones."""
        return self.n_values + 2

    def _keys(self, context, symbols):
        """Return the keys of contexts, by those without their first symbols, and these."""
        return context * (self.n_values + 3) + symbols

    def set_counts(self, counts):
        """Make the tables of all orders of the counts of the highest one; return self."""
        return self._smooth(list(self._tables(counts)))

    def _tables(self, counts):
        """Yield the counts of each order as :class:`Table`."""
        grams, weight = counts.grams.astype(np.int64), counts.weight
        contexts, context = np.zeros(1, dtype=np.int64), np.zeros(len(grams), dtype=np.int64)
        place = context
        for k in range(self.order):
            if k > 0:
                keys = self._keys(context, grams[:, -1 - k])
                contexts, context = np.unique(keys, return_inverse=True)
            keys = context * self.n_symbols + grams[:, -1]
            keys, its_place = np.unique(keys, return_inverse=True)
            shorter = np.empty(len(keys), dtype=np.int64)
            shorter[its_place], place = place, its_place
            of_grams = np.bincount(place, weight, len(keys))
            yield Table(contexts, keys, keys // self.n_symbols, of_grams, shorter)

    def _smooth(self, tables):
        self.levels_ = [
            self._level(table, self._counts_in(table, longer))
            for table, longer in zip(tables, [*tables[1:], None], strict=True)
        ]
        return self

    def _counts_in(self, table, longer):
        """Return the counts of an order that are smoothed, given the table of the next one, None for the highest."""
        if longer is None or self.smoothing == WITTEN_BELL:
            return table.weight
        return np.bincount(longer.shorter, np.minimum(longer.weight, 1))

    def _level(self, table, count):
        share = self._passed_on(count)(count)
        total, lower = table.sums(count), table.sums(share)
        own = count - share if self.smoothing == KNESER_NEY else count
        total = total if self.smoothing == KNESER_NEY else total + lower
        own = own / total[table.context]
        return Level.of(table.contexts, table.grams, self.n_symbols, own, lower / total)

    def _passed_on(self, count):
        """Return the function that gives for counts of an order what they leave to the lower one."""
        if self.smoothing == WITTEN_BELL:
            return functools.partial(np.minimum, 1)
        return functools.partial(np.interp, xp=range(4), fp=_discounts(count))

    def _log_prob_left_out(self, tables):
        """Return the log-probability of each gram of the highest order by the counts without one of its occurrences."""
        places = [np.arange(len(tables[-1].grams))]
        for table in tables[:0:-1]:
            places.insert(0, table.shorter[places[0]])
        p, once = np.full(len(places[-1]), 1 / self.n_symbols), np.minimum(tables[-1].weight, 1)
        for k, (table, place) in enumerate(zip(tables, places, strict=True)):
            longer = tables[k + 1] if k + 1 < len(tables) else None
            count, left_out = self._counts_in(table, longer), once
            if longer is not None and self.smoothing == KNESER_NEY:
                occurred = longer.weight[places[k + 1]]
                left_out = np.minimum(occurred, 1) - np.clip(occurred - once, 0, 1)
            passed_on, context = self._passed_on(count), table.context[place]
            before, after = count[place], np.maximum(count[place] - left_out, 0)
            total = table.sums(count)[context]
            rest = total - left_out
            lower = table.sums(passed_on(count))[context] - passed_on(before) + passed_on(after)
            own = after - passed_on(after) if self.smoothing == KNESER_NEY else after
            rest = rest if self.smoothing == KNESER_NEY else rest + lower
            seen = rest > NOTHING * total
            p[seen] = (own + lower * p)[seen] / rest[seen]
        return np.log(p)

    def _walk(self, contexts):
        """Yield the table of each order with the rows whose contexts it has, and their numbers in it."""
        rows, context = np.arange(len(contexts)), np.zeros(len(contexts), dtype=np.int64)
        for k, level in enumerate(self.levels_):
            if k > 0:
                place, found = _find(level.contexts, self._keys(context, contexts[rows, -k]))
                rows, context = rows[found], place[found]
            yield level, rows, context

    def log_prob(self, symbols, lengths):
        """Return the log-probability of each term of sequences given those before it.

        Parameters
        ----------
        symbols : ndarray of int of shape (n_steps,)
            Symbols of all sequences under each other; -1 for an unknown one.
        lengths : ndarray of int of shape (n_sequences,)
            Numbers of steps.

        Returns
        -------
        log_prob : ndarray of shape (n_terms,)
            Of each step, and of the end after them if that is a symbol, in nats. An unknown symbol is any: what is
            scored is that the sequence goes on.
        """
        return self.log_prob_of_grams(self.grams(symbols, lengths))

    def log_prob_of_grams(self, grams):
        """Return the log-probabilities of the last symbols of n-grams, see :meth:`grams`, given those before."""
        is_unknown = grams[:, -1] == self._unknown
        symbol = np.where(is_unknown, self.n_symbols - 1, grams[:, -1])
        p = np.full(len(grams), 1 / self.n_symbols)
        for level, rows, context in self._walk(grams[:, :-1]):
            of_level = p[rows] * level.lower[context]
            place, found = _find(level.grams, context * self.n_symbols + symbol[rows])
            of_level[found] += level.own[place[found]]
            p[rows] = of_level
        log_p = np.log(p)
        log_p[is_unknown] = np.log1p(-p[is_unknown]) if self.ends else 0.0
        return log_p

    def distributions(self, contexts):
        """Return the distributions of the symbols after contexts.

        Parameters
        ----------
        contexts : ndarray of int of shape (n, order - 1)
            Contexts, such as :meth:`grams` has in all columns but the last one.

        Returns
        -------
        p : ndarray of shape (n, n_symbols)
            Probabilities, equal to those of :meth:`log_prob` to the last bit.
        """
        p = np.full((len(contexts), self.n_symbols), 1 / self.n_symbols)
        for level, rows, context in self._walk(contexts):
            p[rows] *= level.lower[context, None]
            place, n = level.grams_of(context)
            p[np.repeat(rows, n), level.symbols[place]] += level.own[place]
        return p

    def first_contexts(self, n_sequences):
        """Return the contexts of first steps, of shape (n_sequences, order - 1)."""
        return np.full((n_sequences, self.order - 1), self._begin)

    def contexts_after(self, contexts, symbols):
        """Return contexts, of shape (n, order - 1), after a further symbol of each, -1 for an unknown one."""
        return np.column_stack([contexts, np.where(symbols < 0, self._unknown, symbols)])[:, 1:]

    def sample(self, n_sequences, rng, lengths=None):
        """Draw sequences, all of them step by step.

        Parameters
        ----------
        n_sequences : int
            Number of sequences.
        rng : numpy.random.Generator
            What draws them.
        lengths : ndarray of int of shape (n_sequences,), default=None
            Numbers of steps, unless the end is a symbol.

        Returns
        -------
        symbols : ndarray of int of shape (n_steps,)
            Symbols of all sequences under each other.
        lengths : ndarray of int of shape (n_sequences,)
            Numbers of steps.
        """
        rows, drawn, of_rows = np.arange(n_sequences), [], []
        contexts = self.first_contexts(n_sequences)
        while True:
            if lengths is not None:
                rows = rows[lengths[rows] > len(drawn)]
            symbol = self.draw(contexts[rows], rng)
            rows, symbol = rows[symbol < self.n_values], symbol[symbol < self.n_values]
            if not len(rows):
                break
            contexts[rows] = self.contexts_after(contexts[rows], symbol)
            drawn.append(symbol)
            of_rows.append(rows)
        of_steps = np.concatenate([*of_rows, rows])
        symbols = np.concatenate([*drawn, rows])[np.argsort(of_steps, kind="stable")]
        return symbols, np.bincount(of_steps, minlength=n_sequences)

    def draw(self, contexts, rng):
        """Draw a symbol after each context.

        Parameters
        ----------
        contexts : ndarray of int of shape (n, order - 1)
            Contexts, as :meth:`distributions` takes them.
        rng : numpy.random.Generator
            What draws them.

        Returns
        -------
        symbols : ndarray of int of shape (n,)
            One of each context's distribution.
        """
        symbols = np.full(len(contexts), -1)
        for level, rows, context in reversed(list(self._walk(contexts))):
            rest = symbols[rows] < 0
            rows, context = rows[rest], context[rest]
            aim = level.reached[level.starts[context]] + rng.random(len(rows))
            place = np.searchsorted(level.reached, aim, side="right") - 1
            is_own = place < level.starts[context + 1]  # else the lower order is drawn from
            symbols[rows[is_own]] = level.symbols[place[is_own]]
        (rest,) = np.nonzero(symbols < 0)
        symbols[rest] = rng.integers(self.n_symbols, size=len(rest))
        return symbols


def _find(keys, wanted):
    """Return where keys stand among increasing ones, and which of them do."""
    place = np.searchsorted(keys, wanted)
    return place, np.append(keys, -1)[place] == wanted


def _discounts(count):
    """Return what is taken off counts of 0 to 3 of an order."""
    # With a gram more, spread as by Zipf's law, there is a number of each.
    n1, n2, n3, n4 = (
        np.maximum(1 - np.abs(count - n), 0).sum() + 1 / (n * (n + 1)) for n in (1, 2, 3, 4)
    )
    share = n1 / (n1 + 2 * n2)
    return np.maximum.accumulate([0.0, share, 2 - 3 * share * n3 / n2, 3 - 4 * share * n4 / n3])


def best_order(symbols, lengths, weight, n_values, smoothing=KNESER_NEY, *, ends=False):
    """Choose the order under which each term of sequences is predicted best by all other terms.

    Weights are counted in units of that of the rarest sequence, so that neither their scale matters, nor whether all
    sequences are repeated as often: a term is not to be predicted by its own repeats. Orders are tried from 1 on, until
    two in succession have been no better, up to 10.

    Parameters
    ----------
    symbols, lengths, weight : ndarray
        Sequences, as :meth:`NGrams.fit` takes them.
    n_values, smoothing, ends
        As :class:`NGrams` takes them.

    Returns
    -------
    order : int
        The order.
    """
    weight = _in_units_of_rarest(symbols, lengths, weight)
    # Before all terms of the longest sequence there is only its begin.
    highest_order = min(MAX_ORDER, int(lengths.max()) + ends + 1)
    longest = NGrams(n_values, highest_order, smoothing, ends=ends)
    tables, best, best_score = [], 0, -np.inf
    for table in longest._tables(longest.count(symbols, lengths, weight)):
        tables.append(table)
        score = table.weight @ longest._log_prob_left_out(tables)
        if score > best_score:
            best, best_score = len(tables), score
        elif len(tables) == best + 2:
            break
    return best


def _in_units_of_rarest(symbols, lengths, weight):
    """Return weights of sequences in units of the least weight that a distinct one has in all."""
    weight = np.ones(len(lengths)) if weight is None else weight
    symbols, ends = symbols.astype(np.int64), np.cumsum(lengths).tolist()
    pairs = zip(lengths.tolist(), ends, strict=True)
    numbers: dict[bytes, int] = {}
    place = [numbers.setdefault(symbols[end - n : end].tobytes(), len(numbers)) for n, end in pairs]
    return weight / np.bincount(place, weight).min()
