"""Questions to a grammar: how probable sequences and their beginnings are, trees, and draws."""

from functools import partial
from typing import Any, Literal

import narwhals as nw
import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from sklearn_dgm.columns import Sequences, is_frame
from sklearn_dgm.columns._sequences import read_sequences
from sklearn_dgm.grammar._inside import Pairs, best_derivation, inside, prefixes
from sklearn_dgm.grammar._learning import batches
from sklearn_dgm.grammar._nltk import nltk_grammar
from sklearn_dgm.grammar._rules import Rules
from sklearn_dgm.grammar._trees import as_brackets, as_tuples, built, escaped
from sklearn_dgm.sequence._base import BaseSequenceDensity


def tokens_of(X):
    """Return sequences as lists of what they consist of."""
    _, table, lengths = read_sequences(X)
    if is_frame(table):
        steps = nw.from_native(table, eager_only=True)[:, 0].to_list()
    else:
        steps = table[:, 0].tolist()
    ends = np.cumsum(lengths).tolist()
    return [steps[end - n : end] for end, n in zip(ends, lengths.tolist(), strict=True)]


class GrammarQueriesMixin(BaseSequenceDensity):
    """Mixin of densities with `_rules`, the `_symbols` that they are of, and an `_axis` of words."""

    _rules: Rules
    _symbols: list
    _axis: Any
    symbols_: NDArray[np.str_]
    empty_probability_: float

    def _emission(self, codes):
        """Return the probabilities that symbols emit words, of the shape of codes with symbols before it."""
        return self._rules.emission(codes.ravel()).reshape(-1, *codes.shape)

    def _log_lengths(self, lengths):
        """Return the log-probabilities of lengths; 0 of an empty sequence, which no tree derives."""
        of_length, log_scale = self._rules.length_probabilities(int(lengths.max()))
        with np.errstate(divide="ignore"):
            log_p = np.log(of_length @ self._rules.root) + log_scale
        log_p[0] = 0.0
        return log_p[lengths]

    def _log_empty(self):
        """Return the log-probabilities that a sequence has no step, and that it has one."""
        with np.errstate(divide="ignore"):
            return np.log(self.empty_probability_), np.log1p(-self.empty_probability_)

    def _log_density(self, Z):
        codes, log_within = self._axis.encode(Z.steps[:, 0])
        log_p, pairs = np.zeros(len(Z)), Pairs(self._rules)
        for batch in batches(codes, Z.lengths, self._rules.n_symbols):
            chart = inside(pairs, self._emission(batch.codes))
            log_p[batch.rows] = chart.log_prob(self._rules.root)
        if self._ends:
            log_empty, log_filled = self._log_empty()
            log_p = np.where(Z.lengths > 0, log_p + log_filled, log_empty)
        else:
            possible = log_p > -np.inf
            log_p[possible] -= self._log_lengths(Z.lengths)[possible]
        return log_p + Z.sums(log_within)

    def _log_prob_steps(self, Z):
        codes, log_within = self._axis.encode(Z.steps[:, 0])
        log_ahead = self._log_padded
        if self._ends:
            corners = self._rules.left_corner()
            log_ahead = partial(self._log_prefixes, np.linalg.inv(np.eye(len(corners)) - corners))
        of_steps, of_ends = np.empty(len(codes)), np.zeros(len(Z))
        for batch in batches(codes, Z.lengths, self._rules.n_symbols):
            # Of no step, of the first one, of the first two, ..., and of the whole sequence with its end.
            known = log_ahead(batch.codes)
            log_p = _less(known[:, 1:], known[:, :-1])
            n = batch.codes.shape[1]
            of_steps[Z.starts[batch.rows][:, None] + np.arange(n)] = log_p[:, :n]
            if self._ends:
                of_ends[batch.rows] = log_p[:, n]
        if self._ends:
            log_empty, log_filled = self._log_empty()
            of_steps[Z.starts[Z.lengths > 0]] += log_filled
            of_ends[Z.lengths == 0] = log_empty
        return of_steps + log_within, of_ends

    def _log_prefixes(self, closure, codes):
        """Return the log-probabilities of all beginnings of sequences of one length, and of the sequences."""
        pairs, root = Pairs(self._rules), self._rules.root
        emission = self._emission(codes)
        chart = inside(pairs, emission)
        prefix = prefixes(pairs, closure, chart, emission)
        with np.errstate(divide="ignore"):
            of_prefixes = (
                np.log(np.tensordot(root, prefix.value[:, :, 0], 1)) + prefix.log_scale[:, 0]
            )
        of_prefixes[:, 0] = 0.0
        return np.column_stack([of_prefixes, chart.log_prob(root)])

    def _log_padded(self, codes):
        """Return the log-probabilities of all beginnings of sequences of one length, given that length."""
        n_sequences, n = codes.shape
        known, pairs = np.zeros((n_sequences, n + 1)), Pairs(self._rules)
        for i, own in enumerate(codes):
            # Words that are not known yet may be any.
            padded = np.where(np.arange(n) < np.arange(n + 1)[:, None], own, -1)
            for batch in batches(padded.ravel(), np.full(n + 1, n), len(self._symbols)):
                chart = inside(pairs, self._emission(batch.codes))
                known[i, batch.rows] = chart.log_prob(self._rules.root)
        known[np.isneginf(known[:, 0]), 0] = (
            0.0  # so that of an impossible length the first step is impossible
        )
        return known

    def _draw_lengths(self, n_samples, rng):
        """Draw lengths as those of `fit`, of sequences that the grammar derives."""
        lengths = self.schema_.lengths_
        shares = self.schema_.length_shares_ * (self._log_lengths(lengths) > -np.inf)
        if not shares.any():
            raise ValueError("the grammar derives no sequence as long as those of fit; raise glue.")
        return rng.choice(lengths, n_samples, p=shares / shares.sum())

    def _draw(self, n_samples, rng):
        if self._ends:
            filled = rng.random(n_samples) >= self.empty_probability_
            lengths = np.zeros(n_samples, dtype=np.intp)
            codes, lengths[filled] = self._rules.draw(int(filled.sum()), rng)
        else:
            lengths = self._draw_lengths(n_samples, rng)
            codes = self._rules.draw_of_lengths(lengths, rng)
        steps = self._axis.icdf_within(codes, rng.random(len(codes)))
        return Sequences(steps[:, None], lengths)

    def predict(
        self, X: Any, form: Literal["brackets", "tuples"] = "brackets"
    ) -> NDArray[np.object_]:
        """Return the most probable tree of each sequence.

        Parameters
        ----------
        X : {list, ndarray, Series, DataFrame} of n_sequences sequences
            Sequences.
        form : {"brackets", "tuples"}, default="brackets"
            Trees as strings, which ``nltk.Tree.fromstring`` reads, too, and in which "-LRB-" and "-RRB-" stand for
            brackets that are steps, "-SPACE-" for a space; or as tuples of a label and children, with steps as leaves.

        Returns
        -------
        trees : ndarray of shape (n_sequences,)
            Objects: the trees in the form in which `fit` takes them, as if rules of more than two children and chains
            of nodes with one child had been learnt as they are. A word that `fit` has not seen may be any. None for a
            sequence that has no tree even so, since it is empty, or the grammar does not derive it.

        Raises
        ------
        ValueError
            If there is no such form, or a step cannot be written in brackets: an empty one, or white space that has no
            name.
        """
        if form not in ("brackets", "tuples"):
            raise ValueError(f"form should be 'brackets' or 'tuples', got {form!r}.")
        Z, tokens = self._encode(X)[0], tokens_of(X)
        codes, pairs = self._axis.encode(Z.steps[:, 0])[0], Pairs(self._rules)
        trees = np.full(len(Z), None, dtype=object)
        for batch in batches(codes, Z.lengths, self._rules.n_symbols):
            chart = inside(pairs, self._emission(batch.codes), is_best=True)
            for i, row in enumerate(batch.rows):
                nodes = best_derivation(pairs, chart, i)
                if nodes is None:
                    continue
                if form == "brackets":
                    leaves, make = [escaped(token) for token in tokens[row]], as_brackets
                else:
                    leaves, make = tokens[row], as_tuples
                trees[row] = built(nodes, self._symbols, leaves, make)
        return trees

    def to_nltk(self) -> Any:
        """Return the grammar as one of NLTK.

        Returns
        -------
        grammar : nltk.PCFG
            The grammar in Chomsky's normal form; from its start symbol, "START" unless that is one of `symbols_`,
            follows one of these. Words are strings;
            that a sequence is empty is left out. Since words are smoothed, there may be many rules: each symbol that
            emits any word emits all of them, unless `alpha` is 0.

        Raises
        ------
        ImportError
            If NLTK is not installed.
        ValueError
            If steps are numbers of a range, of which there is no rule for each.
        """
        check_is_fitted(self)
        (column,) = self.schema_.columns_
        if not column.is_categorical:
            raise ValueError("to_nltk needs steps that are categories, such as words.")
        words = [str(word) for word in column.categories]
        return nltk_grammar(self._rules, self.symbols_.tolist(), words)


def _less(log_p, log_q):
    """Return log p - log q of what is no more probable; 0 beside what is impossible."""
    with np.errstate(invalid="ignore"):
        return np.where(np.isneginf(log_q), 0.0, log_p - log_q)
