"""N-grams against dictionaries of tuples, enumeration and draws."""

from collections import Counter, defaultdict
from itertools import product

import numpy as np
import pytest
from scipy import stats

from sklearn_dgm.counts import ngrams as module
from sklearn_dgm.counts.ngrams import GramCounts, NGrams, best_order

SMOOTHINGS = ("kneser-ney", "witten-bell")
BEGIN, END = "begin", "end"


def sequences(n=40, n_values=3, seed=0, low=0, high=7):
    """Draw sequences in which a symbol depends on the two before it."""
    rng = np.random.default_rng(seed)
    rows = []
    for length in rng.integers(low, high, n):
        row = []
        for _ in range(length):
            follows = (sum(row[-2:]) + 1) % n_values
            row.append(int(follows if rng.random() < 0.6 else rng.integers(n_values)))
        rows.append(row)
    return rows


def stacked(rows):
    return np.array([s for row in rows for s in row], dtype=int), np.array([len(r) for r in rows])


class Slow:
    """Both smoothings as the formulas have them, with a loop per symbol."""

    def __init__(self, rows, weight, n_values, order, smoothing, ends):
        self.order, self.smoothing = order, smoothing
        self.ends, self.n_symbols = ends, n_values + ends
        grams = defaultdict(float)
        for row, w in zip(rows, weight, strict=True):
            for *_, context, symbol in self.terms(row):
                grams[context, symbol] += w
        self.counts = {order - 1: grams}
        for k in reversed(range(order - 1)):
            raw, before = defaultdict(float), defaultdict(float)
            for (context, symbol), count in self.raw(grams, k + 1).items():
                raw[context[1:], symbol] += count
                before[context[1:], symbol] += min(count, 1)
            self.counts[k] = before if smoothing == "kneser-ney" else raw

    @staticmethod
    def raw(grams, k):
        counts = defaultdict(float)
        for (context, symbol), count in grams.items():
            counts[context[len(context) - k :], symbol] += count
        return counts

    def terms(self, row):
        padded = [BEGIN] * (self.order - 1) + list(row) + [END] * self.ends
        for i in range(self.order - 1, len(padded)):
            yield tuple(padded[i - self.order + 1 : i]), padded[i]

    def discount(self, k, count):
        near = [0.0] * 5
        for c in self.counts[k].values():
            for n in range(1, 5):
                near[n] += max(1 - abs(c - n), 0)
        n1, n2, n3, n4 = (near[n] + 1 / (n * n + n) for n in range(1, 5))
        y = n1 / (n1 + 2 * n2)
        d1 = y
        d2 = max(2 - 3 * y * n3 / n2, d1)
        d3 = max(3 - 4 * y * n4 / n3, d2)
        ends = [0, d1, d2, d3, d3]
        below = min(int(count), 3)
        along = min(count - below, 1) if below < 3 else 0
        return ends[below] + along * (ends[below + 1] - ends[below])

    def p(self, symbol, context):
        if context is None:
            return 1 / self.n_symbols
        k = len(context)
        shorter = context[1:] if k else None
        following = {w: c for (of, w), c in self.counts[k].items() if of == context}
        if not following:
            return self.p(symbol, shorter)
        total, count = sum(following.values()), following.get(symbol, 0)
        if self.smoothing == "witten-bell":
            kinds = sum(min(c, 1) for c in following.values())
            return (count + kinds * self.p(symbol, shorter)) / (total + kinds)
        taken = sum(self.discount(k, c) for c in following.values())
        own = count - self.discount(k, count) if count else 0
        return (own + taken * self.p(symbol, shorter)) / total

    def log_prob(self, rows):
        return np.log([self.p(s, context) for row in rows for context, s in self.terms(row)])


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("order", [1, 2, 4])
@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_it_is_the_formula(smoothing, order, weighted, ends):
    rows, others = sequences(), sequences(10, seed=1)
    weight = np.random.default_rng(0).uniform(0.1, 3, len(rows)) if weighted else np.ones(len(rows))
    slow = Slow(rows, weight, 3, order, smoothing, ends)
    fast = NGrams(3, order, smoothing, ends=ends)
    fast.fit(*stacked(rows), weight if weighted else None)
    for part in (rows, others):
        np.testing.assert_allclose(fast.log_prob(*stacked(part)), slow.log_prob(part), rtol=1e-10)


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_distributions_sum_to_one_and_have_what_is_scored(smoothing):
    symbols, lengths = stacked(sequences())
    ngrams = NGrams(3, 4, smoothing, ends=True).fit(symbols, lengths)
    p = ngrams.distributions(ngrams.grams(symbols, lengths)[:, :-1])
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=0, atol=1e-15)
    assert (p > 0).all()
    target = ngrams.grams(symbols, lengths)[:, -1]
    scored = ngrams.log_prob(symbols, lengths)
    np.testing.assert_array_equal(np.log(p[np.arange(len(p)), target]), scored)


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_all_strings_and_longer_ones_sum_to_one(smoothing):
    ngrams = NGrams(2, 3, smoothing, ends=True).fit(*stacked(sequences(n_values=2, high=4)))
    longest = 6
    rows = [list(s) for n in range(longest + 1) for s in product(range(2), repeat=n)]
    symbols, lengths = stacked(rows)
    log_p = ngrams.log_prob(symbols, lengths)
    of_rows = np.bincount(np.repeat(np.arange(len(rows)), lengths + 1), log_p)
    ends = np.cumsum(lengths + 1) - 1
    goes_on = np.log1p(-np.exp(log_p[ends]))
    tail = np.exp(of_rows - log_p[ends] + goes_on)[lengths == longest].sum()
    assert np.exp(of_rows).sum() + tail == pytest.approx(1, abs=1e-12)
    assert tail > 1e-4


@pytest.mark.parametrize("order", [1, 3])
@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_draws_are_as_frequent_as_they_are_probable(smoothing, order):
    ngrams = NGrams(2, order, smoothing, ends=True).fit(*stacked(sequences(n_values=2, high=4)))
    n = 20_000
    symbols, lengths = ngrams.sample(n, np.random.default_rng(0))
    drawn = Counter(tuple(row.tolist()) for row in np.split(symbols, np.cumsum(lengths)[:-1]))
    rows = [list(s) for k in range(5) for s in product(range(2), repeat=k)]
    all_symbols, all_lengths = stacked(rows)
    log_p = np.bincount(
        np.repeat(np.arange(len(rows)), all_lengths + 1), ngrams.log_prob(all_symbols, all_lengths)
    )
    expected = n * np.exp(log_p)
    observed = np.array([drawn[tuple(row)] for row in rows])
    often = expected > 5
    expected = np.append(expected[often], n - expected[often].sum())
    observed = np.append(observed[often], n - observed[often].sum())
    assert stats.chisquare(observed, expected).pvalue > 1e-3


def test_given_lengths_are_kept_in_draws():
    ngrams = NGrams(3, 3).fit(*stacked(sequences()))
    lengths = np.array([3, 0, 5, 1])
    symbols, drawn = ngrams.sample(4, np.random.default_rng(0), lengths)
    np.testing.assert_array_equal(drawn, lengths)
    assert len(symbols) == 9
    assert set(symbols) <= {0, 1, 2}
    empty, none = ngrams.sample(2, np.random.default_rng(0), np.zeros(2, dtype=int))
    assert len(empty) == 0
    assert none.tolist() == [0, 0]


def test_counts_of_parts_add_up_whatever_the_size_of_the_keys(monkeypatch):
    rows = sequences()
    whole = NGrams(3, 4).count(*stacked(rows))
    monkeypatch.setattr(module, "MAX_KEY", 50)  # so that keys are compressed on the way
    parts = [NGrams(3, 4).count(*stacked(part)) for part in (rows[:15], rows[15:])]
    total = parts[0] + parts[1]
    assert dict(zip(map(tuple, total.grams.tolist()), total.weight, strict=True)) == dict(
        zip(map(tuple, whole.grams.tolist()), whole.weight, strict=True)
    )
    for counts in (whole, total):
        assert len({tuple(gram) for gram in counts.grams.tolist()}) == len(counts.grams)
    symbols, lengths = stacked(rows)
    np.testing.assert_array_equal(
        NGrams(3, 4).set_counts(total).log_prob(symbols, lengths),
        NGrams(3, 4).set_counts(whole).log_prob(symbols, lengths),
    )


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_weights_are_repeats_and_change_nothing_by_jumps(smoothing):
    rows, weight = sequences(), np.arange(40) % 3 + 1
    repeated = [row for row, n in zip(rows, weight, strict=True) for _ in range(n)]

    def scores(rows, weight=None):
        ngrams = NGrams(3, 3, smoothing, ends=True).fit(*stacked(rows), weight)
        return ngrams.log_prob(*stacked(sequences(seed=2)))

    np.testing.assert_allclose(scores(rows, weight), scores(repeated), rtol=1e-12)
    nearly_gone = np.where(np.arange(40) < 20, 1.0, 1e-9)
    np.testing.assert_allclose(scores(rows, nearly_gone), scores(rows[:20]), atol=1e-6)
    np.testing.assert_allclose(scores(rows, weight + 1e-9), scores(rows, weight), atol=1e-6)


def test_an_unknown_symbol_is_any_and_shortens_what_is_known():
    ngrams = NGrams(2, 3, ends=True).fit(*stacked(sequences(n_values=2)))
    log_p = ngrams.log_prob(np.array([-1, 0]), np.array([2]))
    p_end = np.exp(ngrams.log_prob(np.array([], dtype=int), np.array([0])))[0]
    assert log_p[0] == pytest.approx(np.log1p(-p_end))
    begin, unknown, of_any = 3, 4, ngrams.distributions(np.full((1, 2), 4))
    np.testing.assert_array_equal(ngrams.distributions(np.array([[begin, unknown]])), of_any)
    assert np.exp(log_p[1]) == pytest.approx(of_any[0, 0])
    given = NGrams(2, 3).fit(*stacked(sequences(n_values=2, low=1)))
    assert given.log_prob(np.array([-1]), np.array([1])).tolist() == [0]
    # What follows an unknown symbol is counted, the symbol itself is not.
    counts = NGrams(2, 2).count(np.array([-1, 1]), np.array([2]))
    assert counts.grams.tolist() == [[unknown, 1]]


def test_a_large_alphabet_has_room_in_the_keys():
    rng = np.random.default_rng(0)
    symbols, lengths = rng.integers(0, 100_000, 3000), np.full(30, 100)
    ngrams = NGrams(100_000, 8, "witten-bell").fit(symbols, lengths)
    # After the first one, all that precedes a symbol has been seen once.
    first = np.arange(3000) % 100 == 0
    assert (ngrams.log_prob(symbols, lengths)[~first] > np.log(0.5)).all()
    assert len(ngrams.count(symbols, lengths).grams) == 3000


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_the_best_order_is_found(smoothing):
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2, (300, 20))
    for t in range(2, 20):  # nothing is learnt from a single step before
        noise = rng.random(300) < 0.05
        bits[:, t] = bits[:, t - 2] ^ bits[:, t - 1] ^ noise
    symbols, lengths = bits.ravel(), np.full(300, 20)
    assert best_order(symbols, lengths, None, 2, smoothing) == 3
    rows, weight = rng.permutation(300), rng.integers(1, 3, 300)
    chosen = best_order(symbols, lengths, weight, 2, smoothing)
    repeated = np.repeat(bits[rows], weight[rows], axis=0)
    assert chosen == best_order(repeated.ravel(), np.full(len(repeated), 20), None, 2, smoothing)
    noise = rng.integers(0, 30, 5000)
    assert best_order(noise, np.array([5000]), None, 30, smoothing) == 1
    assert best_order(np.array([0]), np.array([1]), None, 2, smoothing) == 1


@pytest.mark.parametrize("order", [1, 2, 4])
@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_what_is_left_out_is_predicted_by_counts_without_it(smoothing, order, monkeypatch):
    # Discounts are those of all counts.
    monkeypatch.setattr(module, "_discounts", lambda count: [0, 0.4, 0.9, 1.1])
    rows = sequences()
    weight = np.random.default_rng(0).choice([0.5, 1, 2], len(rows))
    ngrams = NGrams(3, order, smoothing, ends=True)
    counts = ngrams.count(*stacked(rows), weight)
    tables = list(ngrams._tables(counts))
    actual = dict(zip(tables[-1].grams.tolist(), ngrams._log_prob_left_out(tables), strict=True))
    expected = {}
    for i, gram in enumerate(counts.grams):
        rest = counts.weight - np.minimum(counts.weight, 1) * (np.arange(len(counts.weight)) == i)
        ngrams.set_counts(GramCounts(counts.grams[rest > 0], rest[rest > 0]))
        (key,) = tables[-1].grams[_place_of(gram, tables)]
        expected[key] = ngrams.log_prob_of_grams(gram[None])[0]
    assert actual.keys() == expected.keys()
    for key, log_p in expected.items():
        assert actual[key] == pytest.approx(log_p, rel=1e-9)


def _place_of(gram, tables):
    """Return where an n-gram stands in the table of the highest order, found by its symbols alone."""
    context = 0
    for k in range(1, len(gram)):
        key = context * 6 + gram[-1 - k]
        (context,) = np.flatnonzero(tables[k].contexts == key)
    return np.flatnonzero(tables[-1].grams == context * 4 + gram[-1])
