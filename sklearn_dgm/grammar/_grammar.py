"""Probabilistic context-free grammars as an estimator."""

import warnings
from functools import partial
from numbers import Integral, Real
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning

from sklearn_dgm._callbacks import fit_task
from sklearn_dgm._sklearn import Interval, StrOptions, fit_context
from sklearn_dgm._typing import RandomState
from sklearn_dgm._validation import check_generator, check_weights, restored_on_failure
from sklearn_dgm.chunks import FitInPassesMixin, SequenceSummary
from sklearn_dgm.counts.axes import axes_of
from sklearn_dgm.grammar._inside import Pairs
from sklearn_dgm.grammar._learning import (
    ChunkedSentences,
    TreeCounts,
    WeightedSentences,
    fit_rules,
    laid_out_as,
    no_counts,
    random_rules,
)
from sklearn_dgm.grammar._proper import expected_lengths, made_proper
from sklearn_dgm.grammar._queries import GrammarQueriesMixin, tokens_of
from sklearn_dgm.grammar._trees import Symbol, read_trees, rows_of_trees, unique_names
from sklearn_dgm.sequence._base import BaseSequenceDensity
from sklearn_dgm.sequence._markov import bins_of_steps
from sklearn_dgm.sequence._state_learning import held_out
from sklearn_dgm.tags import DensityTags

# Of sequences in chunks a sample is parsed first, again and again: of a word, as if it took up so many numbers.
NUMBERS_OF_WORD = 400


class ContextFreeGrammarDensity(FitInPassesMixin, GrammarQueriesMixin, BaseSequenceDensity):
    """Distribution of sequences that a probabilistic context-free grammar derives.

    A symbol has two children, which derive a part of the sequence each, or emits a word. So a sequence has trees, and
    its probability is the sum over all of them, which the inside algorithm finds exactly [1]_. Where trees are known,
    rules are counted; where they are not, expectation and maximisation finds them. A grammar tells what belongs
    together in a sequence: `predict` returns the most probable tree. As a model of language it is behind any bigram,
    which sees the word before (:class:`~sklearn_dgm.MarkovChainDensity`): on the Penn treebank sample 5.5 nats a word
    beside 5.1.

    Parameters
    ----------
    n_symbols : int, default=8
        Number of symbols where no trees are known, each of which may have any children and emit any words. With trees
        `y` their labels are the symbols.
    markov_order : int, default=1
        What a rule of more than two children of a node is: one of two after the other, of which each knows so many of
        the children to come.
    alpha : float, default=3.0
        How many words of a symbol the distribution of all words counts as, towards which its words are drawn. Rules are
        not smoothed, nor are leaves that have siblings and no label of their own, each of which is its word.
    glue : float, default=1.0
        How many sequences are counted beside those whose trees are known, each of them a constituent of the others and
        a word that nothing joins. So every sequence of known words has a tree: where no other one has any
        probability, constituents in a row below nodes "GLUE". 0 for none.
    n_init : int, default=1
        Number of starts where no trees are known, of which the best is kept: by validation sequences, where there are
        such, else by the objective.
    max_iter : int, default=100
        Steps of expectation and maximisation at most.
    tol : float, default=0.0001
        Change of the objective, in nats a word, below which to stop.
    early_stopping : "auto" or bool, default="auto"
        Whether some sequences without trees are held out at first, to see after which step they are most probable; the
        fit is made anew with all sequences and as many steps then. "auto" does so with 50 distinct ones or more.
    validation_fraction : float, default=0.1
        Share of the distinct sequences without trees that are held out.
    length : {"auto", "fixed", "stop", "given"}, default="auto"
        What the length of a sequence is; see :class:`~sklearn_dgm.BaseSequenceDensity`. The grammar says when a
        sequence ends; unless that is "stop", scores are those given the length, of a grammar that is fitted to both.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the starts, and of what is held out.
    categorical_features : "from_dtype", array-like or None, default="from_dtype"
        ``[0]`` makes labels of whole numbers, such as the indices of words.
    integer_features : "from_dtype", array-like or None, default="from_dtype"
        ``[0]`` makes whole numbers of floats, ``None`` continuous ones of whole numbers.
    column_kinds : dict, default=None
        The kind of the column by its index, 0.
    handle_unknown : {"impossible", "error", "rare"}, default="impossible"
        What a word is that `fit` has not seen: impossible, an error, or as likely anywhere as a new one was at the end
        of the fitted sequences; see :class:`~sklearn_dgm.columns.ColumnSchema`. Trees do not depend on it.

    Attributes
    ----------
    symbols_ : ndarray of str of shape (n_symbols,)
        Names of the symbols: labels of nodes, of chains of nodes with one child each ("S+VP"), and of intermediate
        symbols with the children to come ("NP|<NN>"). Of several that would be named alike the further ones have a
        number, such as "X#2".
    root_probabilities_ : ndarray of shape (n_symbols,)
        Probabilities of the symbols that sequences are derived from.
    n_rules_ : int
        Number of rules of two children.
    expected_length_ : float
        Mean length of what the grammar derives.
    empty_probability_ : float
        Share of the sequences without any step, which no tree derives, if the length is "stop".
    lower_bounds_ : ndarray of shape (n_iter_ + 1,)
        The objective after each step of expectation and maximisation: the log-likelihood, and the log-density of the
        prior up to a constant, in nats a word. Empty where all trees are known.
    validation_scores_ : ndarray of shape (n_steps + 1,) or None
        Log-likelihoods of the sequences held out, in nats a word, after each step of the fit without them. Those that
        it does not derive, such as with new words and ``alpha=0``, are left out; None if no others are held out.
    n_iter_ : int
        Number of steps of expectation and maximisation.
    converged_ : bool
        Whether `max_iter` was not needed.
    schema_ : SequenceSchema
        The kind of the steps, and the lengths.
    score_kind_ : {"exact"}
        `score_samples` returns exact log-densities.
    n_features_in_ : int
        Number of columns of a table seen in `fit`; of other containers there is none.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has string column names.

    See Also
    --------
    BaseSequenceDensity : What rows and lengths are, and `score_steps`.
    HiddenMarkovDensity : States in a chain rather than in a tree.
    ParseTreeDisplay : A picture of a tree.

    Notes
    -----
    Time grows with the number of rules and the cube of the length of a sequence: 25 words by 4,400 rules take about
    1/20 second. Steps have one column; numbers are cut into cells as ``MarkovChainDensity(bins="auto")`` does it. Steps
    must not be missing.

    Derivations of grammars that are counted, or found by expectation and maximisation, end with probability one [2]_;
    so draws do. `score_steps` takes the probabilities of all sequences that begin alike [3]_; after a known word that
    is impossible where it stands nothing can be said, and others have a log-density of 0. After an unknown word, which
    may be any, they have that of such beginnings.

    Of two symbols that derive the same part of a sequence the less probable one is lost if its probability is smaller
    by a factor of more than 1e308. A sequence that needs it has a log-density of `-inf`.

    References
    ----------
    .. [1] K. Lari and S. J. Young, "The estimation of stochastic context-free grammars using the inside-outside
       algorithm", Computer Speech & Language 4 (1990), https://doi.org/10.1016/0885-2308(90)90022-X
    .. [2] Z. Chi and S. Geman, "Estimation of probabilistic context-free grammars", Computational Linguistics 24
       (1998), https://aclanthology.org/J98-2005
    .. [3] F. Jelinek and J. D. Lafferty, "Computation of the probability of initial substring generation by stochastic
       context-free grammars", Computational Linguistics 17 (1991), https://aclanthology.org/J91-3004

    Examples
    --------
    >>> from sklearn_dgm import ContextFreeGrammarDensity
    >>> sentences = [["the", "dog", "barks"], ["the", "cat", "sees", "the", "dog"]]
    >>> trees = [
    ...     "(S (NP (DT the) (NN dog)) (VP (VB barks)))",
    ...     "(S (NP (DT the) (NN cat)) (VP (VB sees) (NP (DT the) (NN dog))))",
    ... ]
    >>> density = ContextFreeGrammarDensity(alpha=0.1).fit(sentences, trees)
    >>> density.predict([["the", "dog", "sees", "the", "cat"]])[0]
    '(S (NP (DT the) (NN dog)) (VP (VB sees) (NP (DT the) (NN cat))))'
    >>> density.score_samples([["the", "cat", "barks"], ["barks", "cat", "the"]]).round(1)
    array([-2.3, -9.2])
    """

    _parameter_constraints: dict = {
        **BaseSequenceDensity._parameter_constraints,
        "n_symbols": [Interval(Integral, 1, None, closed="left")],
        "markov_order": [Interval(Integral, 0, None, closed="left")],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "glue": [Interval(Real, 0, None, closed="left")],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "early_stopping": [StrOptions({"auto"}), "boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "random_state": ["random_state", np.random.Generator],
        "handle_unknown": [StrOptions({"impossible", "error", "rare"})],
    }
    _density_tags = DensityTags(sequences=True, ties=True)
    _shape_params = (*BaseSequenceDensity._shape_params, "n_symbols", "markov_order")
    _summarise = partial(SequenceSummary, numbers=NUMBERS_OF_WORD)

    def __init__(
        self,
        n_symbols: int = 8,
        *,
        markov_order: int = 1,
        alpha: float = 3.0,
        glue: float = 1.0,
        n_init: int = 1,
        max_iter: int = 100,
        tol: float = 1e-4,
        early_stopping: Literal["auto"] | bool = "auto",
        validation_fraction: float = 0.1,
        length: Literal["auto", "fixed", "stop", "given"] = "auto",
        random_state: RandomState = None,
        categorical_features: Any = "from_dtype",
        integer_features: Any = "from_dtype",
        column_kinds: dict[Any, Any] | None = None,
        handle_unknown: Literal["impossible", "error", "rare"] = "impossible",
    ) -> None:
        super().__init__(
            length=length,
            categorical_features=categorical_features,
            integer_features=integer_features,
            column_kinds=column_kinds,
        )
        self.n_symbols = n_symbols
        self.markov_order = markov_order
        self.alpha = alpha
        self.glue = glue
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.handle_unknown = handle_unknown

    @fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: ArrayLike | None = None,
        *,
        schema: Any = None,
    ) -> Self:
        """Fit the grammar to sequences.

        Parameters
        ----------
        X : {list, ndarray, Series, DataFrame} of n_sequences sequences
            Sequences to learn from, such as lists of words. Without `y`, they may be read a chunk at a
            time: an object that gives such containers in a loop, the same ones each time, or paths of Parquet files; EM
            goes on from a fit of a sample, then, in a pass over all for each step.
        y : {list, ndarray, Series, DataFrame of one column} or None, default=None
            For each sequence its tree, whose leaves are its steps, or None where it is unknown. A tree is a string
            in brackets, such as ``"(S (NP (PRP it)) (VP (VBZ works)))"``, an ``nltk.Tree``, or tuples of a label and
            children. In brackets "-LRB-" and "-RRB-" stand for brackets that are steps, "-SPACE-" for a space. If all
            trees are known, the fit is counting; if some are, the grammar of these is where expectation and
            maximisation begin. Other containers that have a length and an order will do, such as NLTK's views of
            corpora. One number for each sequence is no tree, and ignored.
        sample_weight : array-like of shape (n_sequences,), default=None
            Non-negative weights: a weight of 2 counts as the sequence twice, 0 as its absence.
        schema : SequenceSchema, default=None
            What :meth:`learn_schema` has learnt from more sequences than these.

        Returns
        -------
        self : estimator
            The fitted model. If anything fails, the estimator is as it was before.

        Raises
        ------
        ValueError
            If a parameter is invalid, a step is missing, steps have several columns, y holds neither trees nor one
            number for each sequence, a tree is malformed or has other leaves, or weights are negative or all zero.
        TypeError
            If y is no container of known size, such as a generator.

        Warns
        -----
        ConvergenceWarning
            If the objective still changed after `max_iter` steps.
        UserWarning
            If the grammar of the known trees, with ``glue=0``, does not derive some sequences without trees.
        """
        with fit_task(self, X, y, sample_weight, n_subtasks=self._n_subtasks):
            return self._fit_or_restore(X, sample_weight, schema, y)

    def _fit_or_restore(self, X, sample_weight, schema, y=None):
        if self._fits_chunks(X):
            if rows_of_trees(y) is not None:
                raise ValueError(
                    "y has trees of sequences in memory, but X is to be read a chunk at a time; hand in those with trees "
                    "by partial_fit, part by part."
                )
            return super()._fit_or_restore(X, sample_weight, schema)
        with restored_on_failure(self):
            Z, weight = self._start_fit(X, sample_weight, schema=schema)
            self._fit(Z, weight, self._read_trees(X, y, sample_weight))
        return self

    def _read_trees(self, X, y, sample_weight):
        """Return the trees of sequences that have weight, None where one is unknown, or None without any."""
        rows = rows_of_trees(y)
        if rows is None:
            return None
        counted = None if sample_weight is None else check_weights(X, sample_weight) > 0
        trees = read_trees(rows, tokens_of(self._validate(X, reset=False)), counted)
        if counted is not None:
            trees = [tree for tree, one in zip(trees, counted, strict=True) if one]
        return trees

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: ArrayLike | None = None,
        *,
        schema: Any = None,
    ) -> Self:
        """Add further sequences: the rules of their trees, or those that are expected under the grammar so far.

        The first call is a :meth:`fit`, of which `lower_bounds_`, `validation_scores_`, `n_iter_` and `converged_`
        remain, and settles the words; later ones add counts. Trees may bring further symbols and rules, and are counted
        as those of one fit are; without trees, counts are expected ones, in one step. Words that the first call has not
        seen are not counted, as if they were missing, and with ``handle_unknown="error"`` they raise; a tree with such
        a word is none that is known. Numbers beyond the range of the first call are counted in the outer cells.

        Parameters
        ----------
        X : {list, ndarray, Series, DataFrame} of n_sequences sequences
            Sequences to add.
        y : {list, ndarray, Series, DataFrame of one column} or None, default=None
            Their trees, as :meth:`fit` takes them, if the first call had some.
        sample_weight : array-like of shape (n_sequences,), default=None
            Non-negative weights.
        schema : SequenceSchema, default=None
            In the first call, what :meth:`learn_schema` has learnt from more sequences than these, so that categories
            and ranges to come are known.

        Returns
        -------
        self : estimator
            The model of all sequences so far.

        Raises
        ------
        ValueError
            If there are trees, but none in the first call, a parameter that it settles has changed (`n_symbols`,
            `markov_order`, `length`, those of the column), a tree is malformed, a step is missing, or a schema is
            handed in later than in the first call; nothing is added then.
        TypeError
            If X is to be read a chunk at a time; this is what :meth:`fit` does.

        Warns
        -----
        UserWarning
            If the grammar so far, with ``glue=0``, does not derive some sequences without trees.
        """
        is_first = not hasattr(self, "_rules")
        self._check_part(X, schema, is_first=is_first)
        if is_first:
            return self._fit_or_restore(X, sample_weight, schema, y)
        with restored_on_failure(self):
            Z, weight = self._start_fit(X, sample_weight, reset=False)
            trees = self._read_trees(X, y, sample_weight)
            if self._trees is None and any(tree is not None for tree in trees or []):
                raise ValueError(
                    "y has trees, but the first call had none, so that symbols have no names; fit anew with all trees."
                )
            self._add(Z, np.ones(len(Z)) if weight is None else weight, trees)
        return self

    def _add(self, Z, weight, trees):
        """Count further sequences and their trees."""
        symbols, rules, expected = self._symbols, self._rules, self._expected
        trees, codes, unknown = self._count_words(Z, weight, trees)
        if len(unknown.weight):
            expected = expected + _derived(unknown, rules).expectation(Pairs(rules))[1]
        known = no_counts(rules)
        if self._trees is not None:
            counted = TreeCounts.of(trees, codes, weight, self.markov_order)
            known = self._lay_out_trees(self._trees + counted)
            expected = laid_out_as(expected, symbols, rules, self._symbols, self._rules)
        learnt = self._rules.learnt(known + expected, float(self.alpha), self._base)
        self._take_over(learnt, expected)

    def _fit(self, Z, sample_weight, trees=None):
        columns = self.schema_.columns_
        if len(columns) != 1:
            raise ValueError(
                f"steps of X have {len(columns)} columns, but the words of ContextFreeGrammarDensity have one; hand in one "
                "of them."
            )
        rng = check_generator(self.random_state)
        weight = np.ones(len(Z)) if sample_weight is None else sample_weight
        bins = bins_of_steps(columns[0])
        (self._axis,) = axes_of(columns, Z.steps, Z.of_steps(weight), bins)
        self._start_counting()
        trees, codes, unknown = self._count_words(Z, weight, trees)
        if any(tree is not None for tree in trees):
            known = self._lay_out_trees(TreeCounts.of(trees, codes, weight, self.markov_order))
            starts = [self._rules.learnt(known, float(self.alpha), self._base)]
        else:
            self._trees, self._symbols = None, [Symbol((f"N{k}",)) for k in range(self.n_symbols)]
            mean_length = unknown.n_words / unknown.weight.sum()
            starts = [
                random_rules(self.n_symbols, len(self._words), mean_length, self._base, rng)
                for _ in range(self.n_init)
            ]
            known = no_counts(starts[0])
        self._take_over(*self._learnt(starts, known, unknown, self._base, rng))

    def _fit_in_passes(self, rows):
        self._start_counting()
        for Z, weight in rows:
            self._count_words(Z, np.ones(len(Z)) if weight is None else weight, None)
        sentences = ChunkedSentences(rows, self._axis, float(self._words.sum()))
        rules, alpha = self._rules, float(self.alpha)
        known = no_counts(rules)
        fit = fit_rules(rules, known, sentences, None, alpha, self._base, self.max_iter, self.tol)
        self._keep_record(fit)
        self._take_over(fit.rules, fit.expected)

    def _start_counting(self):
        self._words, self._n_empty, self._n_sequences = np.zeros(self._axis.n_levels), 0.0, 0.0

    def _count_words(self, Z, weight, trees):
        """Count words and empty sequences.

        Returns
        -------
        trees : list of {Node, None}
            Trees of the sequences, as far as they are known and have known words alone.
        codes : list of ndarray of int
            Words of each sequence, -1 of unknown ones.
        unknown : WeightedSentences
            The distinct sequences that have steps, but no tree.
        """
        symbols = self._axis.encode(Z.steps[:, 0])[0]
        seen = symbols >= 0
        of_steps = Z.of_steps(weight)[seen]
        self._words = self._words + np.bincount(symbols[seen], of_steps, len(self._words))
        self._n_empty += float(weight[Z.lengths == 0].sum())
        self._n_sequences += float(weight.sum())
        self.empty_probability_ = self._n_empty / self._n_sequences
        codes = Z.split(symbols)
        pairs = zip(trees or [None] * len(Z), codes, strict=True)
        trees = [None if (own < 0).any() else tree for tree, own in pairs]
        is_unknown = np.array([tree is None for tree in trees])
        others = [own for own, one in zip(codes, is_unknown, strict=True) if one]
        return trees, codes, WeightedSentences.of(others, weight[is_unknown])

    @property
    def _base(self):
        """Probabilities of words, with a word more, which may be any one."""
        n_words = len(self._words)
        return (self._words + 1 / n_words) / (self._words.sum() + 1)

    def _lay_out_trees(self, trees):
        """Take over the counts of trees, and their symbols and rules; return the counts of these, with glue."""
        self._trees = trees
        glued = trees.glued(float(self.glue), self._base)
        self._symbols, self._rules, known = glued.laid_out(len(self._words))
        return known

    def _take_over(self, rules, expected):
        """Take over rules, the counts that were expected of sequences without trees, and what follows."""
        rules, self._expected = rules.used(expected)
        self._rules = made_proper(rules)
        self.symbols_ = np.array(unique_names(self._symbols))
        self.root_probabilities_, self.n_rules_ = self._rules.root, len(self._rules.p)
        lengths = expected_lengths(self._rules)
        self.expected_length_ = np.inf if lengths is None else float(self._rules.root @ lengths)

    def _learnt(self, starts, known, unknown, base, rng):
        """Return rules that are learnt from sequences without trees and counts of known ones, and what is expected."""
        self.lower_bounds_, self.validation_scores_ = np.empty(0), None
        self.n_iter_, self.converged_ = 0, True
        if known.root.any() and not self.glue:
            unknown = _derived(unknown, starts[0])
        if not len(unknown.weight):
            return starts[0], no_counts(starts[0])
        is_valid = self._validation(len(unknown.weight), known, rng)
        train, valid, alpha = unknown, None, float(self.alpha)
        if is_valid.any():
            train, valid = unknown.part(~is_valid), unknown.part(is_valid)
            # What the grammar does not derive after a step it never will, and says nothing of when to stop.
            counts = train.expectation(Pairs(starts[0]))[1] + known
            valid = valid.part(valid.have_parse(Pairs(starts[0].learnt(counts, alpha, base))))
            if not len(valid.weight):
                train, valid = unknown, None
        fits = [
            fit_rules(rules, known, train, valid, alpha, base, self.max_iter, self.tol)
            for rules in starts
        ]
        best = int(np.argmax([fit.quality for fit in fits]))
        fit = fits[best]
        self._keep_record(fit)
        if valid is not None:  # as many steps with all sequences
            self.validation_scores_ = np.array(fit.validation_scores)
            n_steps = fit.best_step
            fit = fit_rules(starts[best], known, unknown, None, alpha, base, n_steps, 0.0)
            self._keep_bounds(fit)
        return fit.rules, fit.expected

    def _keep_record(self, fit):
        """Keep how a fit went, and warn of one that did not converge."""
        self._keep_bounds(fit)
        self.converged_ = fit.converged
        if not fit.converged and self.max_iter > 1:
            warnings.warn(
                f"The likelihood still changed after max_iter={self.max_iter} steps; raise max_iter, or tol.",
                ConvergenceWarning,
                stacklevel=3,
            )

    def _keep_bounds(self, fit):
        self.lower_bounds_ = np.array(fit.lower_bounds)
        self.n_iter_ = len(fit.lower_bounds) - 1

    def _validation(self, n_sequences, known, rng):
        """Return flags of the distinct sequences that say when to stop."""
        return held_out(
            np.arange(n_sequences),
            n_sequences,
            n_sequences + int(known.root.any()),
            self.early_stopping,
            self.validation_fraction,
            "have no trees",
            rng,
        )


def _derived(sentences, rules):
    """Return the sentences that a grammar derives, and warn of others."""
    have_parse = sentences.have_parse(Pairs(rules))
    if not have_parse.all():
        warnings.warn(
            f"The grammar so far does not derive {(~have_parse).sum()} distinct sequence(s) without a tree, from which "
            "nothing is learnt; where trees are known, raise glue.",
            UserWarning,
            stacklevel=2,
        )
    return sentences.part(have_parse)
