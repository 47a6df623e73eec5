"""Latent Dirichlet allocation as a density of counts."""

import warnings
from functools import partial
from numbers import Integral, Real
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.special import entr
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from sklearn_dgm._sklearn import Interval, StrOptions, fit_context
from sklearn_dgm._typing import MatrixLike, RandomState
from sklearn_dgm._validation import check_generator, restored_on_failure
from sklearn_dgm.base import BaseEstimatedDensity
from sklearn_dgm.chunks import FitInPassesMixin, is_dask, no_dask
from sklearn_dgm.counts.ngrams import GramCounts
from sklearn_dgm.tags import DensityTags
from sklearn_dgm.topic._collapsed import allocate, topics_of
from sklearn_dgm.topic._counts import Counts, CountSchema, CountSummary
from sklearn_dgm.topic._documents import Documents, parts
from sklearn_dgm.topic._lengths import LengthDistribution
from sklearn_dgm.topic._particles import N_FILTERS, filtered_log_prob, log_mean_and_std
from sklearn_dgm.topic._shares import sampled_log_prob

# Words of a document whose probability a particle filter estimates; shares of longer ones are sampled, so many a
# particle.
MOST_FILTERED, N_SHARES = 500, 10
# Of documents in chunks a sample is learnt from at first, and is smaller the more topics there are: a cell of it counts
# as so many for each.
NUMBERS_OF_CELL = 2
# Documents times words that are drawn at once.
NUMBERS_AT_ONCE = 2**22


class LatentDirichletAllocationDensity(
    FitInPassesMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BaseEstimatedDensity,
):
    """Density of documents as bags of words, from latent Dirichlet allocation.

    A row holds how often each word occurs in a document, as :class:`~sklearn.feature_extraction.text.CountVectorizer`
    counts them, sparse or dense. The length of a document has a distribution of its own; its topic shares are drawn
    from a Dirichlet distribution, and each of its words from one of `n_components` topics, which is drawn by the shares
    [1]_. A score is the log-probability of the counts::

        log p(counts) = log p(length) + log(length! / prod counts!) + log p(words | length)

    The last term is an integral over the shares, which is estimated, with a standard error, by particle filters, and of
    long documents by importance sampling.

    Parameters
    ----------
    n_components : int, default=10
        Number of topics.
    doc_topic_prior : float, default=None
        Parameter of the Dirichlet distribution of topic shares, the same for all topics. With None it is learnt, one
        for each topic.
    topic_word_prior : float, default=None
        Parameter of the Dirichlet distribution of the words of a topic, the same for all words. With None it is learnt.
    max_iter : int, default=300
        Passes through the documents at most.
    tol : float, default=0.001
        Passes end when the share of the words that the last one has given to other topics is smaller.
    log_likelihood : {"particles", "bound"}, default="particles"
        What scores are: estimates, or the lower bound of variational Bayes for each document, which is quick, and some
        nats too low.
    n_particles : int, default=500
        Particles of a document, 20 at least, in ten filters of as many each; of a document of more than 500 words a
        tenth of the topic shares that are sampled. It may be changed after `fit`.
    verbose : int, default=0
        Whether to print a line for each pass.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the topics that words start with.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        Probabilities of the words of each topic; rows sum to one, and no word is impossible.
    doc_topic_prior_ : ndarray of shape (n_components,)
        Parameters of the Dirichlet distribution of topic shares.
    topic_word_prior_ : float
        Parameter of the Dirichlet distribution of the words of a topic.
    n_iter_ : int
        Number of passes.
    schema_ : CountSchema
        The container of the counts.
    score_kind_ : {"exact", "lower bound", "estimate"}
        What `score_samples` returns; "exact" with a single topic.
    n_features_in_ : int
        Number of words.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has string column names.

    See Also
    --------
    sklearn.decomposition.LatentDirichletAllocation : The model without scores of documents: its `perplexity` depends on
        how many of them are scored at once. Its `components_` are pseudo-counts, whose rows do not sum to one.
    sklearn_dgm.inspection.TopicsDisplay : The most probable words of topics.

    Notes
    -----
    **Learning** is collapsed variational Bayes of order zero [2]_: a posterior of the topic of each word of a document,
    given the expected topics of all others. It takes about ``18 * n_components`` bytes for each cell of X that is not
    zero. Both priors follow by a fixed point [3]_ of the expected counts, in which the probability that a count is zero
    is that of the posteriors [4]_. Equal documents are learnt from as one, so that a weight of 2 is the document twice.
    The document prior is too large where topics share most of their words, by a factor of three to six with six words
    and three topics, and by half with documents of ten words of 200; held-out documents score as well as with the true
    one given.

    Documents that are read a chunk at a time are dense or sparse matrices, such as those that an object gives in a
    loop, the same ones each time. Both priors, and the topics to start from, are those of a sample; then topics have
    the words that variational Bayes expects of them, in a pass over all documents for each round.

    **Particle filters.** A filter reads the words of a document, those that tell most of their topic first; see [5]_
    for estimates of this kind. Particles look ahead to the topics that are expected of later words, and are resampled
    where their weights are worth less than half of them. The expectation of the estimate of ``p(words | length)`` is
    the probability itself. That of the left-to-right estimator of [6]_ with a single sweep at each position is larger,
    by a factor of 1.6 for a document of 8 words: averages at a position over particles that were moved together are not
    independent of those before. The random numbers follow from the words of a document: it has the same score in any
    company. The standard error is that of the mean of ten filters, whose estimates are taken for log-normal, which
    takes 10 particles in each; where the mean is below the lower bound, at least the distance to that.

    **Documents of more than 500 words** would take filters a time that grows with the square of the length, for
    estimates that are nats too low. In place of particles there are ten times as many topic shares, drawn about those
    of :meth:`transform` and weighted [7]_. Their estimates are unbiased, too, and cost as much as there are distinct
    words. Those of ten thousands of words, or with 50 topics, have errors of some tenths of a nat, twice those stated.

    **Lengths** have a negative binomial distribution, beside those seen in `fit`. Where all of these are zero, such as
    those of one class of several, all words are as probable as each other.

    References
    ----------
    .. [1] D. M. Blei, A. Y. Ng, M. I. Jordan, "Latent Dirichlet Allocation", Journal of Machine Learning Research 3
       (2003), https://jmlr.org/papers/v3/blei03a.html
    .. [2] A. Asuncion, M. Welling, P. Smyth, Y. W. Teh, "On Smoothing and Inference for Topic Models", UAI 2009,
       https://arxiv.org/abs/1205.2662
    .. [3] T. P. Minka, "Estimating a Dirichlet distribution", 2000,
       https://tminka.github.io/papers/dirichlet/minka-dirichlet.pdf
    .. [4] Y. W. Teh, D. Newman, M. Welling, "A Collapsed Variational Bayesian Inference Algorithm for Latent Dirichlet
       Allocation", NIPS 2006
    .. [5] W. Buntine, "Estimating Likelihoods for Topic Models", ACML 2009,
       https://doi.org/10.1007/978-3-642-05224-8_6
    .. [6] H. M. Wallach, I. Murray, R. Salakhutdinov, D. Mimno, "Evaluation Methods for Topic Models", ICML 2009,
       https://doi.org/10.1145/1553374.1553515
    .. [7] A. B. Owen, "Monte Carlo theory, methods and examples", 2013, chapter 9, https://artowen.su.domains/mc/

    Examples
    --------
    >>> from sklearn.feature_extraction.text import CountVectorizer
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn_dgm import LatentDirichletAllocationDensity
    >>> texts = ["tea and milk", "milk and sugar", "sun and rain", "rain and wind"] * 5
    >>> topics = make_pipeline(CountVectorizer(), LatentDirichletAllocationDensity(2, random_state=0)).fit(texts)
    >>> usual, odd = topics.score_samples(["tea and sugar", "tea and wind"])
    >>> bool(usual > odd)
    True
    >>> topics.transform(["wind and sun"]).shape
    (1, 2)
    """

    _parameter_constraints: dict = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        # Of which gamma functions keep their digits.
        "doc_topic_prior": [None, Interval(Real, 1e-8, 1e8, closed="both")],
        "topic_word_prior": [None, Interval(Real, 1e-8, 1e8, closed="both")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "log_likelihood": [StrOptions({"particles", "bound"})],
        "n_particles": [Interval(Integral, 2 * N_FILTERS, None, closed="left")],
        "verbose": ["verbose"],
        "random_state": ["random_state", np.random.Generator],
    }
    # Exact at best: with a single topic.
    _density_tags = DensityTags(column_kinds=("integer",), sparse=True, latents=True)
    _shape_params = ("n_components", "doc_topic_prior", "topic_word_prior")

    def __init__(
        self,
        n_components: int = 10,
        *,
        doc_topic_prior: float | None = None,
        topic_word_prior: float | None = None,
        max_iter: int = 300,
        tol: float = 1e-3,
        log_likelihood: Literal["particles", "bound"] = "particles",
        n_particles: int = 500,
        verbose: int = 0,
        random_state: RandomState = None,
    ) -> None:
        super().__init__()
        self.n_components = n_components
        self.doc_topic_prior = doc_topic_prior
        self.topic_word_prior = topic_word_prior
        self.max_iter = max_iter
        self.tol = tol
        self.log_likelihood = log_likelihood
        self.n_particles = n_particles
        self.verbose = verbose
        self.random_state = random_state

    def _make_schema(self):
        return CountSchema()

    def _measures(self):
        return ["counted"] * self.n_features_in_

    def _fit(self, Z, sample_weight):
        weight = np.ones(len(Z)) if sample_weight is None else sample_weight
        self._lengths = LengthDistribution().fit(Z.lengths, weight)
        documents, place = Z[Z.lengths > 0].distinct()
        weight = np.bincount(place, weight[Z.lengths > 0])
        found = allocate(
            documents,
            weight,
            self.n_components,
            self.doc_topic_prior,
            self.topic_word_prior,
            self.max_iter,
            self.tol,
            check_generator(self.random_state),
            self._tell if self.verbose else lambda *_: None,
        )
        self._word_counts, self.components_ = found.counts, found.topics
        self.n_iter_ = found.n_iter
        self.doc_topic_prior_ = found.doc_topic_prior
        self.topic_word_prior_ = found.topic_word_prior
        self._settle_score_kind()
        if found.change >= self.tol:
            self._warn_of_change(found.change)

    @property
    def _summarise(self):
        return partial(CountSummary, numbers=NUMBERS_OF_CELL * self.n_components)

    def _fits_chunks(self, X):
        if is_dask(X):
            raise no_dask(self)
        return super()._fits_chunks(X)

    def _fit_in_passes(self, rows):
        lengths = rows.total(_count_lengths)
        self._lengths = LengthDistribution().fit(lengths.grams[:, 0].astype(float), lengths.weight)
        for i in range(1, self.max_iter + 1):
            before = self._word_counts / self._word_counts.sum()
            self._word_counts = rows.total(self._count_words)
            self.components_ = topics_of(self._word_counts, self.topic_word_prior_)
            self.n_iter_ = i
            change = np.abs(self._word_counts / self._word_counts.sum() - before).sum() / 2
            if self.verbose:
                self._tell(i, change)
            if change < self.tol:
                return
        self._warn_of_change(change)

    def _count_words(self, Z, weight):
        """Return the numbers of words that are expected of topics, of shape (n_components, n_features)."""
        weight = np.ones(len(Z)) if weight is None else weight
        return sum(
            Documents(Z[part], self.components_, self.doc_topic_prior_).word_counts(weight[part])
            for part in parts(Z, self.n_components)
        )

    def _warn_of_change(self, change):
        warnings.warn(
            f"The last of {self.max_iter} passes has given {change:.2%} of the words to other topics; raise max_iter, or "
            "tol.",
            ConvergenceWarning,
            stacklevel=3,
        )

    def _settle_score_kind(self):
        if len(self.components_) > 1:
            self.score_kind_ = "estimate" if self.log_likelihood == "particles" else "lower bound"

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self,
        X: MatrixLike,
        y: Any = None,
        sample_weight: ArrayLike | None = None,
        *,
        schema: Any = None,
    ) -> Self:
        """Add further documents, whose topics are expected under the topics so far.

        The first call is a :meth:`fit`, of which the words, both priors and `n_iter_` remain; later ones add the
        numbers of words that variational Bayes expects of each topic, in one step, and lengths. There are no words or
        counts that the first call rules out.

        Parameters
        ----------
        X : {array-like, DataFrame, sparse matrix} of shape (n_samples, n_features)
            Counts of words.
        y : None
            Ignored, present for API consistency by convention.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights.
        schema : CountSchema, default=None
            In the first call, what :meth:`learn_schema` has learnt from other documents, whose container draws have.

        Returns
        -------
        self : estimator
            The model of all documents so far.

        Raises
        ------
        ValueError
            If the columns are not those of the first call, `n_components` or a prior has changed, a cell is no count,
            or a schema is handed in later than in the first call; nothing is added then.
        TypeError
            If X is to be read a chunk at a time; this is what :meth:`fit` does.
        """
        is_first = not hasattr(self, "_word_counts")
        self._check_part(X, schema, is_first=is_first)
        if is_first:
            return self._fit_or_restore(X, sample_weight, schema)
        with restored_on_failure(self):
            Z, sample_weight = self._start_fit(X, sample_weight, reset=False)
            self._settle_score_kind()
            self._add(Z, np.ones(len(Z)) if sample_weight is None else sample_weight)
        return self

    def _check_further(self, Z, counted):
        """Refuse nothing: all counts of words are possible."""

    def _add(self, Z, weight):
        """Count lengths, and the words that are expected of topics."""
        self._lengths = self._lengths.fit_further(Z.lengths, weight)
        self._word_counts = self._word_counts + self._count_words(Z, weight)
        self.components_ = topics_of(self._word_counts, self.topic_word_prior_)

    def _tell(self, i, change):
        print(f"[{type(self).__name__}] Iteration {i}, words given to other topics = {change:.4%}")

    def _log_density_and_std(self, Z):
        log_prob, std = self._log_prob_words(Z)
        log_prob += Z.log_orders() + self._lengths.log_prob(Z.lengths)
        return log_prob, std

    def _log_prob_words(self, Z):
        """Return the log-probabilities of sequences of the words, given the lengths, and standard errors."""
        estimated = (self.score_kind_ == "estimate") & (Z.lengths > 0)
        log_prob, std = np.empty(len(Z)), np.zeros(len(Z))
        log_prob[~estimated] = self._of_parts(Z[~estimated], Documents.lower_bounds)
        if estimated.any():
            if self.n_particles < 2 * N_FILTERS:  # as it may be changed after a fit
                raise ValueError(
                    f"n_particles should be at least {2 * N_FILTERS}, got {self.n_particles}."
                )
            distinct, place = Z[estimated].distinct()
            found, is_long = np.empty((len(distinct), 2)), distinct.lengths > MOST_FILTERED
            # Where shares are drawn about those that are found, these should be exact.
            for at, ask, tol in ((~is_long, self._filtered, 1e-3), (is_long, self._sampled, 1e-6)):
                if at.any():
                    found[at] = self._of_parts(distinct[at], ask, tol=tol)
            log_prob[estimated], std[estimated] = found[place].T
        return log_prob, std

    def _filtered(self, documents):
        """Return the log-probabilities of sequences of words by particle filters, and their errors, in columns."""
        topics, prior, Z = self.components_, self.doc_topic_prior_, documents.Z
        joint = topics * prior[:, None]
        posterior = joint / joint.sum(axis=0)
        # Words that tell most of their topic come first.
        entropy = entr(posterior).sum(axis=0)
        expected, n_particles = documents.responsibilities(), self.n_particles // N_FILTERS
        log_prob = np.empty((len(Z), N_FILTERS))
        for i, start in enumerate(Z.matrix.indptr[:-1]):
            (words, counts), rng = Z.document(i), np.random.default_rng(Z.key(i))
            order = np.argsort(entropy[words], kind="stable")
            order = np.repeat(order, counts[order].astype(np.intp))
            ahead = expected[start + order]
            log_prob[i] = filtered_log_prob(words[order], topics, prior, ahead, n_particles, rng)
        return _with_errors(log_prob, documents)

    def _sampled(self, documents):
        """Return the log-probabilities of sequences of words by sampled shares, and their errors, in columns."""
        topics, prior, Z = self.components_, self.doc_topic_prior_, documents.Z
        n_draws, log_prob = N_SHARES * self.n_particles // N_FILTERS, np.empty((len(Z), N_FILTERS))
        for i, posterior in enumerate(documents.posterior):
            rng = np.random.default_rng(Z.key(i))
            log_prob[i] = sampled_log_prob(*Z.document(i), topics, prior, posterior, n_draws, rng)
        return _with_errors(log_prob, documents)

    def _of_parts(self, Z, ask, **tol):
        """Ask about documents, of which not too many are looked at at once."""
        found = [
            ask(Documents(Z[part], self.components_, self.doc_topic_prior_, **tol))
            for part in parts(Z, self.n_components)
        ]
        return np.concatenate(found) if found else np.empty(0)

    def perplexity(self, X: MatrixLike) -> float:
        """Compute the perplexity of documents, per word, as papers do.

        Parameters
        ----------
        X : {array-like, DataFrame, sparse matrix} of shape (n_samples, n_features)
            Counts of words.

        Returns
        -------
        perplexity : float
            ``exp(-sum(log p(words | length)) / n_words)``. It leaves the number of orders of the words and the
            probability of the length out, and depends on other documents only as a mean does.

        Raises
        ------
        ValueError
            If X holds no word, or as :meth:`score_samples`.
        """
        Z, _ = self._encode(X)
        if not Z.lengths.any():
            raise ValueError("X holds no word at all, and nothing has a perplexity.")
        return float(np.exp(-self._log_prob_words(Z)[0].sum() / Z.lengths.sum()))

    def transform(self, X: MatrixLike) -> NDArray[np.float64]:
        """Return expected topic shares of documents, by variational Bayes given the topics.

        Parameters
        ----------
        X : {array-like, DataFrame, sparse matrix} of shape (n_samples, n_features)
            Counts of words.

        Returns
        -------
        shares : ndarray of shape (n_samples, n_components)
            Rows sum to one. Those of a document without words are the shares expected of any.

        Raises
        ------
        ValueError
            As :meth:`score_samples`.
        """
        check_is_fitted(self)
        if self._is_chunked(X):
            return self._by_chunk(X, self.transform, of_none=np.empty((0, self._n_features_out)))
        Z, _ = self._encode(X)
        return self._of_parts(Z, Documents.shares)

    @property
    def _n_features_out(self):
        return self.n_components

    def _draw(self, n_samples, rng):
        lengths = self._lengths.draw(n_samples, rng)
        n_at_once = max(1, NUMBERS_AT_ONCE // self.n_features_in_)
        drawn = []
        for start in range(0, n_samples, n_at_once):
            part = lengths[start : start + n_at_once]
            shares = rng.dirichlet(self.doc_topic_prior_, len(part))
            p = np.minimum(shares @ self.components_, 1.0)  # but for rounding
            drawn.append(sparse.csr_array(rng.multinomial(part, p)))
        return Counts(sparse.csr_array(sparse.vstack(drawn), dtype=np.float64))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        # Counts, as scikit-learn's tags say it: whole numbers from 0 on.
        tags.input_tags.positive_only = tags.input_tags.categorical = True
        return tags


def _count_lengths(Z, weight):
    """Count the lengths of documents."""
    return GramCounts.of(Z.lengths.astype(np.int64)[:, None], weight)


def _with_errors(log_prob, documents):
    """Return means of estimates, and standard errors that reach to the lower bounds, in columns."""
    found = np.array([log_mean_and_std(of_one) for of_one in log_prob])
    found[:, 1] = np.maximum(found[:, 1], documents.lower_bounds() - found[:, 0])
    return found
