"""Latent Dirichlet allocation as a density of counts."""

import warnings
from itertools import product

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse, stats
from scipy.special import gammaln, psi
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline

from sklearn_dgm import LatentDirichletAllocationDensity
from sklearn_dgm.topic._counts import Counts
from sklearn_dgm.topic._lengths import LengthDistribution

TOPICS = np.array(
    [
        [0.5, 0.3, 0.1, 0.05, 0.03, 0.02],
        [0.02, 0.03, 0.05, 0.1, 0.3, 0.5],
        [0.1, 0.4, 0.0, 0.0, 0.4, 0.1],
    ]
)
PRIOR = np.array([0.2, 0.4, 0.1])


def simulated(n=400, mean_length=30, seed=0):
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(PRIOR, n)
    return rng.multinomial(rng.poisson(mean_length, n), shares @ TOPICS)


def fitted(n_components=3, X=None, **params):
    X = simulated() if X is None else X
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LatentDirichletAllocationDensity(
            n_components, **{"n_particles": 100, "random_state": 0, **params}
        ).fit(X)


@pytest.fixture(scope="module")
def density():
    return fitted()


@pytest.fixture(scope="module")
def of_three_words():
    return fitted(2, simulated(200, 4)[:, [0, 4, 5]], n_particles=2000)


def every(n_words, length):
    """Return all counts of a length."""
    return np.array([x for x in product(range(length + 1), repeat=n_words) if sum(x) == length])


def test_topics_and_priors_are_recovered():
    rng = np.random.default_rng(0)
    topics, prior = rng.dirichlet(np.full(200, 0.1), 4), np.array([0.1, 0.2, 0.4, 0.6])
    X = rng.multinomial(rng.poisson(150, 600), rng.dirichlet(prior, 600) @ topics)
    density = fitted(4, X)
    np.testing.assert_allclose(density.components_.sum(axis=1), 1)
    order = [np.abs(density.components_ - topic).sum(axis=1).argmin() for topic in topics]
    assert sorted(order) == [0, 1, 2, 3]
    assert np.abs(density.components_[order] - topics).sum(axis=1).max() < 0.15
    np.testing.assert_allclose(density.doc_topic_prior_[order], prior, atol=0.1)
    assert 0.07 < density.topic_word_prior_ < 0.2
    shares = rng.dirichlet(prior, 100)
    found = density.transform(rng.multinomial(150, shares @ topics))[:, order]
    assert np.abs(found - shares).mean() < 0.05


def test_given_priors_are_kept():
    density = fitted(doc_topic_prior=0.7, topic_word_prior=0.01)
    np.testing.assert_array_equal(density.doc_topic_prior_, np.full(3, 0.7))
    assert density.topic_word_prior_ == 0.01


@pytest.mark.parametrize("length", [0, 1, 2, 5])
def test_counts_of_a_length_have_the_probability_of_the_length(of_three_words, length):
    scores, std = of_three_words.score_samples(every(3, length), return_std=True)
    expected = np.exp(of_three_words._lengths.log_prob(np.array([float(length)])))[0]
    np.testing.assert_allclose(np.exp(scores).sum(), expected, rtol=0.01)
    assert (std < 0.05).all()
    assert length > 1 or (std < 1e-6).all()


def test_draws_follow_the_scores(of_three_words):
    X = np.concatenate([every(3, n) for n in range(5)])
    p = np.exp(of_three_words.score_samples(X))
    drawn = of_three_words.sample(20_000, random_state=0)
    place = {tuple(x): i for i, x in enumerate(X.tolist())}
    found = np.bincount([place.get(tuple(x), len(X)) for x in drawn.tolist()], minlength=len(X) + 1)
    expected = np.append(p, 1 - p.sum()) * len(drawn)
    rare = expected < 5
    found, expected = (np.append(of[~rare], of[rare].sum()) for of in (found, expected))
    assert (
        stats.chi2(len(found) - 1).sf(((found - expected) ** 2 / expected.clip(0.5)).sum()) > 1e-3
    )


def test_one_topic_is_a_multinomial_distribution():
    X = simulated(50)
    density = fitted(1, X)
    scores, std = density.score_samples(X, return_std=True)
    lengths = X.sum(axis=1)
    expected = stats.multinomial.logpmf(X, lengths, density.components_[0])
    expected += density._lengths.log_prob(lengths.astype(float))
    np.testing.assert_allclose(scores, expected)
    np.testing.assert_array_equal(std, np.zeros(50))
    assert density.score_kind_ == "exact"


def test_bounds_are_below_estimates(density):
    X = simulated(100, seed=1)
    bound = fitted(log_likelihood="bound")
    assert (density.score_kind_, bound.score_kind_) == ("estimate", "lower bound")
    scores, std = density.score_samples(X, return_std=True)
    below, zero = bound.score_samples(X, return_std=True)
    assert (below < scores + 4 * std).all()
    assert 0 < np.mean(scores - below) < 3
    assert not zero.any()


def test_several_topics_are_worth_more_than_one(density):
    X = simulated(200, seed=1)
    gain = density.score_samples(X) - fitted(1).score_samples(X)
    assert gain.mean() > 2
    truth = fitted(1)
    truth.components_, truth.doc_topic_prior_, truth.score_kind_ = TOPICS, PRIOR, "estimate"
    assert truth.score_samples(X).mean() - density.score_samples(X).mean() < 0.5


def test_sparse_is_dense():
    X = simulated(60, 10)
    density = fitted(X=X)
    for of in (sparse.csr_matrix, sparse.csr_array, sparse.coo_matrix, sparse.csc_array):
        again = fitted(X=of(X))
        np.testing.assert_array_equal(again.components_, density.components_)
        np.testing.assert_array_equal(again.score_samples(X), density.score_samples(X))
        np.testing.assert_array_equal(density.score_samples(of(X)), density.score_samples(X))
        drawn, same = again.sample(5, random_state=0), density.sample(5, random_state=0)
        assert isinstance(
            drawn, sparse.sparray if of.__name__.endswith("array") else sparse.spmatrix
        )
        assert (drawn.format, drawn.dtype) == ("csr", X.dtype)
        np.testing.assert_array_equal(drawn.toarray(), same)


def test_counts_that_are_not_in_order_are_the_same():
    tidy = sparse.csr_array(np.array([[2.0, 0.0, 1.0]]))
    untidy = sparse.csr_array(
        (np.array([1.0, 1.0, 0.0, 1.0]), np.array([2, 0, 1, 0]), np.array([0, 4])), shape=(1, 3)
    )
    before = untidy.copy()
    density = fitted(2, simulated()[:, :3])
    np.testing.assert_array_equal(density.score_samples(untidy), density.score_samples(tidy))
    np.testing.assert_array_equal(untidy.indices, before.indices)


@pytest.mark.parametrize(
    ("of", "rows"),
    [(sparse.coo_matrix, None), (sparse.coo_array, None), (sparse.csr_matrix, [0, 3])],
)
def test_counts_in_parts_are_summed_whatever_their_dtype(density, of, rows):
    counts, words = np.array([200, 100, 200], dtype=np.uint8), np.array([1, 2, 1])
    parts = (counts, (np.zeros(3, dtype=int), words)) if rows is None else (counts, words, rows)
    X = of(parts, shape=(1, 6))
    expected = density.score_samples([[0, 400, 100, 0, 0, 0]])
    np.testing.assert_array_equal(density.score_samples(X), expected)
    assert X.nnz == 3


def test_frames_come_back_as_frames():
    X = pd.DataFrame(simulated(), columns=list("uvwxyz")).astype({"u": "int16", "v": "float32"})
    density = fitted(X=X)
    drawn = density.sample(3, random_state=0)
    pd.testing.assert_series_equal(drawn.dtypes, X.dtypes)
    np.testing.assert_array_equal(density.score_samples(X), fitted().score_samples(simulated()))
    assert list(density.feature_names_in_) == list("uvwxyz")


def test_a_document_has_its_score_in_any_company(density):
    X = simulated(30, seed=2)
    scores, std = density.score_samples(X, return_std=True)
    for i in range(5):
        alone = density.score_samples(X[i : i + 1], return_std=True)
        np.testing.assert_allclose(np.ravel(alone), [scores[i], std[i]], rtol=1e-12)
    shuffled = np.random.default_rng(0).permutation(30)
    np.testing.assert_allclose(density.score_samples(X[shuffled]), scores[shuffled], rtol=1e-12)
    shares = density.transform(X)
    np.testing.assert_allclose(density.transform(X[3:4])[0], shares[3], atol=1e-9)


def test_errors_are_those_of_other_random_numbers(density, monkeypatch):
    X = simulated(20, 60, seed=3)
    key, runs = Counts.key, []
    for seed in range(30):
        monkeypatch.setattr(Counts, "key", lambda self, i, seed=seed: key(self, i) + seed)
        runs.append(density.score_samples(X, return_std=True))
    scores, std = np.array(runs).transpose(1, 0, 2)
    mean = np.log(np.mean(np.exp(scores - scores[0]), axis=0)) + scores[0]
    assert 0.85 < np.sqrt(np.mean(((scores - mean) / std) ** 2)) < 1.35
    assert np.median(std) < 0.2


def test_weights_are_repeats():
    X = simulated(100)
    count = np.random.default_rng(0).integers(0, 4, 100)
    weighted = LatentDirichletAllocationDensity(3, random_state=0)
    weighted.fit(sparse.csr_array(X), sample_weight=count)
    repeated = fitted(X=np.random.default_rng(1).permutation(np.repeat(X, count, axis=0)))
    np.testing.assert_allclose(weighted.components_, repeated.components_, rtol=1e-5)
    np.testing.assert_allclose(weighted.doc_topic_prior_, repeated.doc_topic_prior_, rtol=1e-5)
    fractions = fitted(X=X)
    fractions.fit(X, sample_weight=np.full(100, 0.25))
    assert np.isfinite(fractions.score_samples(X)).all()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (-1, "Negative values in data passed to X: -1 in column {}, row 2"),
        (0.5, "0.5 in column {}, row 2. Counts are whole"),
        (np.inf, "infinity.* in column {}|inf.* in column {}, row 2"),
        (np.nan, "NaN.* in column {}"),
    ],
)
def test_what_is_no_count_is_an_error(density, value, message):
    X = simulated(5).astype(float)
    X[2, 1] = value
    frame = pd.DataFrame(X, columns=list("uvwxyz"))
    named = fitted(X=pd.DataFrame(simulated(), columns=list("uvwxyz")))
    for model, rows, column in (
        (density, X, "1"),
        (density, sparse.csr_array(X), "1"),
        (density, X.astype(object), "1"),
        (named, frame, "'v'"),
    ):
        with pytest.raises(ValueError, match=message.replace("{}", column)):
            model.score_samples(rows)
        with pytest.raises(ValueError, match=message.replace("{}", column)):
            fitted(X=rows)


def test_documents_without_words_and_words_without_documents():
    X = np.hstack([simulated(100), np.zeros((100, 1), dtype=int)])
    X[:10] = 0
    density = fitted(X=X)
    assert (density.components_ > 0).all()
    unseen = np.eye(7, dtype=int)[[6]]
    assert np.isfinite(density.score_samples(unseen)).all()
    prior = density.doc_topic_prior_
    np.testing.assert_allclose(density.transform(X[:1])[0], prior / prior.sum())
    assert density.score_samples(X[:1])[0] == pytest.approx(np.log(0.1), abs=0.15)
    with pytest.raises(ValueError, match="no word at all"):
        density.perplexity(X[:2])


def test_documents_may_all_be_empty():
    density = fitted(X=np.zeros((30, 2), dtype=int), doc_topic_prior=0.7)
    np.testing.assert_array_equal(density.components_, np.full((3, 2), 0.5))
    np.testing.assert_array_equal(density.doc_topic_prior_, np.full(3, 0.7))
    scores = density.score_samples([[0, 0], [1, 0], [0, 1], [3, 2]])
    assert scores[0] > np.log(0.9)
    assert np.isfinite(scores).all()
    assert scores[1] == pytest.approx(scores[2])
    assert density.sample(4, random_state=0).shape == (4, 2)


def test_perplexity_is_a_mean_over_words(density):
    X = simulated(60, seed=4)
    parts = [X[:1], X[1:20], X[20:]]
    surprise = sum(np.log(density.perplexity(part)) * part.sum() for part in parts)
    assert density.perplexity(X) == pytest.approx(np.exp(surprise / X.sum()))
    lengths = X.sum(axis=1)
    log_orders = gammaln(lengths + 1) - gammaln(X + 1).sum(axis=1)
    of_lengths = density._lengths.log_prob(lengths.astype(float))
    total = (density.score_samples(X) - log_orders - of_lengths).sum()
    assert density.perplexity(X) == pytest.approx(np.exp(-total / X.sum()))


def integrated(counts, topics, prior):
    """Return the log-probability of a sequence of words by quadrature over the log-odds of two topics."""

    def log_joint(log_odds):
        log_shares = -np.logaddexp(0, np.outer([-1, 1], log_odds))
        return prior @ log_shares + counts @ np.log(topics.T @ np.exp(log_shares))

    at = np.linspace(-60, 60, 4_001)
    near = at[log_joint(at) > log_joint(at).max() - 60]
    at = np.linspace(near[0] - 0.1, near[-1] + 0.1, 20_001)
    log_beta = gammaln(prior).sum() - gammaln(prior.sum())
    return np.logaddexp.reduce(log_joint(at)) + np.log(at[1] - at[0]) - log_beta


@pytest.mark.parametrize("length", [600, 3_000, 10_000, 30_000])
@pytest.mark.parametrize("overlap", [0.0, 0.9])
def test_long_documents_have_the_probability_of_a_quadrature(length, overlap):
    rng = np.random.default_rng(0)
    own = rng.dirichlet(np.full(40, 0.3), 2)
    topics = (1 - overlap) * own + overlap * own.mean(axis=0)
    prior = np.array([0.2, 0.5])
    density = fitted(2, rng.poisson(1.0, (20, 40)), max_iter=1, tol=1e9, n_particles=500)
    density.components_, density.doc_topic_prior_ = topics, prior
    shares = np.array([[0.3, 0.7], [0.002, 0.998], [1.0, 0.0]])
    X = rng.multinomial(length, shares @ topics)
    log_prob, std = density._log_prob_words(density._encode(X)[0])
    exact = np.array([integrated(x, topics, prior) for x in X])
    assert (std < 0.15).all()
    np.testing.assert_array_less(np.abs(log_prob - exact), 4 * std + 1e-3)
    alone = density._log_prob_words(density._encode(X[1:2])[0])
    np.testing.assert_allclose(np.ravel(alone), [log_prob[1], std[1]], rtol=1e-9)


def test_it_warns_if_topics_still_change():
    with pytest.warns(ConvergenceWarning, match="raise max_iter"):
        LatentDirichletAllocationDensity(3, max_iter=2, random_state=0).fit(simulated())


def test_it_stands_behind_a_vectorizer():
    words = np.array(["tea", "milk", "sugar", "sun", "rain", "wind"])
    texts = [" ".join(np.repeat(words, x)) for x in simulated(120, 12)]
    topics = LatentDirichletAllocationDensity(
        2, n_particles=50, max_iter=50, tol=0.01, random_state=0
    )
    pipeline = make_pipeline(CountVectorizer(), topics)
    scores = cross_val_score(pipeline, texts, cv=3)
    assert np.isfinite(scores).all()
    search = GridSearchCV(
        pipeline, {"latentdirichletallocationdensity__n_components": [1, 2]}, cv=2
    ).fit(texts)
    assert search.best_params_ == {"latentdirichletallocationdensity__n_components": 2}
    assert search.transform(texts[:3]).shape == (3, 2)
    assert list(search.best_estimator_[-1].get_feature_names_out()) == [
        "latentdirichletallocationdensity0",
        "latentdirichletallocationdensity1",
    ]


def test_progress_is_printed(capsys):
    fitted(max_iter=3, verbose=1)
    assert "Iteration 3, words given to other topics" in capsys.readouterr().out


def test_priors_are_learnt_also_where_topics_settle_at_once():
    rng = np.random.default_rng(0)
    topics = rng.dirichlet(np.full(6, 0.3), 3)
    X = rng.multinomial(rng.poisson(200, 200), np.full((200, 3), 1 / 3) @ topics)
    density = LatentDirichletAllocationDensity(3, random_state=0).fit(X)
    assert (density.doc_topic_prior_ > 0.5).all()
    assert density.topic_word_prior_ != 0.1


def test_a_single_word_is_drawn_by_several_topics():
    density = LatentDirichletAllocationDensity(3, random_state=0).fit(np.full((20, 1), 3))
    assert density.sample(50, random_state=0).shape == (50, 1)


def test_too_few_particles_are_refused_after_the_fit():
    density = LatentDirichletAllocationDensity(2, random_state=0).fit(np.eye(4, dtype=int))
    with pytest.raises(ValueError, match="n_particles should be at least 20, got 5"):
        density.set_params(n_particles=5).score_samples(np.eye(4, dtype=int))


def test_small_weights_do_not_lengthen_documents():
    lengths, weight = np.array([3.0, 4.0, 4.0, 9.0, 50.0]), np.full(5, 1e-9)
    assert LengthDistribution().fit(lengths, weight).mean_ == pytest.approx(14)


def test_errors_reach_from_estimates_to_the_bound():
    rng = np.random.default_rng(0)
    topics = rng.dirichlet(np.full(50, 0.1), 5)
    shares = rng.dirichlet(np.full(5, 0.3), 60)
    X = rng.multinomial(80, shares @ topics)
    density = LatentDirichletAllocationDensity(5, n_particles=20, random_state=0).fit(X)
    long = rng.multinomial(2000, shares[:4] @ topics)
    estimates, std = density.score_samples(long, return_std=True)
    bound = LatentDirichletAllocationDensity(5, log_likelihood="bound", random_state=0).fit(X)
    assert (estimates + std >= bound.score_samples(long) - 0.1).all()


def frames(X):
    """Return frames of counts whose columns are numbers, of several dtypes."""
    names = ["sparse", "u", "v", "w", "x", "y"]
    plain = pd.DataFrame(X, columns=names)
    polars = pl.DataFrame(X, schema=names)
    return {
        "pandas": plain,
        "mixed": plain.astype({"u": "uint8", "v": "float32"}),
        "nullable": plain.astype({"u": "Int64", "v": "Float32"}),
        "sparse": pd.DataFrame.sparse.from_spmatrix(sparse.csr_array(X), columns=names),
        "sparse, missing": plain.astype(pd.SparseDtype(float, np.nan)),
        "polars": polars,
        "polars, mixed": polars.with_columns(u=pl.col("u").cast(pl.Float32)),
    }


@pytest.mark.parametrize("kind", frames(simulated(1)))
def test_frames_of_numbers_are_read_at_once(kind, monkeypatch):
    X = simulated(40)
    expected = fitted(X=X).score_samples(X)
    if kind != "sparse, missing":
        monkeypatch.setattr("sklearn_dgm.topic._counts.raw_columns", None)
    frame = frames(X)[kind]
    density = fitted(X=frame)
    np.testing.assert_array_equal(density.score_samples(frame), expected)
    assert density.sample(2).shape == (2, 6)


def test_missing_counts_of_frames_are_named():
    density = fitted(X=pl.DataFrame(simulated(40), schema=list("uvwxyz")))
    rows = simulated(4).tolist()
    rows[2][1] = None
    for frame in (
        pl.DataFrame(rows, schema=list("uvwxyz"), orient="row"),
        pd.DataFrame(rows, columns=list("uvwxyz")).astype("Int64"),
    ):
        with pytest.raises(ValueError, match="NaN in column 'v', row 2"):
            density.score_samples(frame)


def test_flags_of_frames_are_counts():
    X = simulated(40) > 0
    expected = fitted(2, X.astype(int)).score_samples(X.astype(int))
    for frame in (pd.DataFrame(X), pl.DataFrame(X), pd.DataFrame(X).astype("boolean")):
        np.testing.assert_array_equal(fitted(2, frame).score_samples(frame), expected)


def slow_word_counts(document, topics, prior):
    """Expected numbers of words in each topic by coordinate ascent, a word after the other (Blei et al., 2003)."""
    (words,) = np.nonzero(document)
    of_topics = prior + document.sum() / len(prior)
    for _ in range(2000):
        power = np.exp(psi(of_topics) - psi(of_topics.sum()))
        shares = [topics[:, word] * power for word in words]
        shares = np.array([share / share.sum() for share in shares])
        of_topics = prior + document[words] @ shares
    counts = np.zeros(topics.shape)
    counts[:, words] = (shares * document[words, None]).T
    return counts


def test_further_documents_add_the_words_expected_of_topics(monkeypatch):
    monkeypatch.setattr("sklearn_dgm.topic._documents.NUMBERS_AT_ONCE", 50)  # in several parts
    X = simulated(60)
    density = fitted(X=X[:40])
    topics, prior, eta = (
        density.components_,
        density.doc_topic_prior_,
        density.topic_word_prior_,
    )
    weight = np.arange(20) % 3
    counts = density._word_counts + sum(
        w * slow_word_counts(document, topics, prior)
        for w, document in zip(weight, X[40:], strict=True)
    )
    density.partial_fit(X[40:], sample_weight=weight)
    expected = (counts + eta) / (counts + eta).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(density.components_, expected, rtol=1e-5)
    assert (density.topic_word_prior_, density.score_kind_) == (eta, "estimate")
    assert density._lengths.weights_.sum() == 40 + weight.sum()
    density.set_params(n_components=2)
    with pytest.raises(ValueError, match="with n_components=3, which cannot become 2"):
        density.partial_fit(X)


def test_documents_of_one_topic_are_counted_as_all_at_once():
    X = sparse.csr_array(simulated(60))
    params = {"topic_word_prior": 0.5, "doc_topic_prior": 1.0}
    whole, counted = fitted(1, X, **params), fitted(1, X[:30], **params)
    counted.partial_fit(X[30:50]).partial_fit(X[50:])
    np.testing.assert_allclose(counted.components_, whole.components_, rtol=1e-6)
    np.testing.assert_allclose(counted.score_samples(X), whole.score_samples(X), rtol=1e-6)
    assert counted.score_kind_ == "exact"
