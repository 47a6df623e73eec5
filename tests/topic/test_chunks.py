"""Documents that are read a chunk at a time."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from sklearn_dgm import LatentDirichletAllocationDensity
from sklearn_dgm.chunks import _sampling
from tests.chunks.tables import Given
from tests.topic.test_allocation import simulated, slow_word_counts

CONTAINERS = {
    "dense": lambda X: X,
    "csr": sparse.csr_array,
    "coo": sparse.coo_array,
    "matrix": sparse.csr_matrix,
    "frame": pd.DataFrame,
}
OF_CONTAINERS = pytest.mark.parametrize("name", CONTAINERS)


def chunks(X, n_rows=25, of=CONTAINERS["dense"]):
    return Given(*(of(X[start : start + n_rows]) for start in range(0, len(X), n_rows)))


def density(n_components=3, **params):
    return LatentDirichletAllocationDensity(
        n_components, **{"random_state": 0, "log_likelihood": "bound", **params}
    )


@pytest.fixture
def _small(monkeypatch):
    monkeypatch.setattr(_sampling, "SAMPLE_ROWS", 30)


@OF_CONTAINERS
def test_few_documents_are_fitted_as_in_memory(name):
    X, of = simulated(80), CONTAINERS[name]
    weight = np.arange(80) % 3.0
    for params in ({}, {"sample_weight": weight}):
        whole, chunked = density().fit(of(X), **params), density().fit(chunks(X, of=of), **params)
        np.testing.assert_array_equal(chunked.components_, whole.components_)
        np.testing.assert_array_equal(chunked.score_samples(chunks(X)), whole.score_samples(X))
        assert vars(chunked).keys() == vars(whole).keys()
    assert type(chunked.sample()) is type(whole.sample())


@pytest.mark.usefixtures("_small")
@OF_CONTAINERS
def test_words_of_a_single_topic_are_counted_to_the_last_one(name):
    X, weight = simulated(200), np.arange(200) % 3.0
    params = {"topic_word_prior": 0.5, "doc_topic_prior": 1.0}
    chunked = density(1, **params).fit(chunks(X, of=CONTAINERS[name]), sample_weight=weight)
    whole = density(1, **params).fit(X, sample_weight=weight)
    np.testing.assert_allclose(chunked._word_counts, weight[None] @ X, rtol=1e-12)
    np.testing.assert_allclose(chunked.score_samples(X), whole.score_samples(X), rtol=1e-6)
    assert chunked._lengths.weights_.sum() == weight.sum()


@pytest.mark.usefixtures("_small")
def test_passes_come_to_the_words_that_are_expected_of_topics():
    X, weight = simulated(60), np.arange(60) % 3.0
    chunked = density(max_iter=300, tol=1e-6).fit(chunks(X), sample_weight=weight)
    topics, prior, eta = (
        chunked.components_,
        chunked.doc_topic_prior_,
        chunked.topic_word_prior_,
    )
    counts = eta + sum(
        w * slow_word_counts(document, topics, prior)
        for w, document in zip(weight, X, strict=True)
        if w
    )
    expected = counts / counts.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(topics, expected, atol=1e-3)


@pytest.mark.usefixtures("_small")
def test_how_chunks_are_cut_is_no_matter():
    X = simulated(150)
    with pytest.warns(ConvergenceWarning, match="The last of 8 passes"):
        one, other = (density(max_iter=8, tol=0.0).fit(chunks(X, n)) for n in (7, 150))
    np.testing.assert_allclose(one.components_, other.components_, rtol=1e-9)
    assert one.n_iter_ == 8


@pytest.mark.usefixtures("_small")
def test_all_documents_tell_more_than_a_sample(capsys):
    X, held_out = simulated(600), simulated(900)[600:]
    chunked = density(verbose=1).fit(chunks(X, 100)).score(held_out)
    assert "Iteration 1, words given to other topics" in capsys.readouterr().out
    sample, whole = density().fit(X[:30]).score(held_out), density().fit(X).score(held_out)
    assert chunked > sample + 0.7 * (whole - sample)


def test_samples_are_the_smaller_the_more_topics(monkeypatch):
    monkeypatch.setattr(_sampling, "SAMPLE_CELLS", 2000)
    X = simulated(200)
    sizes = [len(density(n)._start_chunks(chunks(X), None).sample[0].matrix.data) for n in (1, 4)]
    assert 900 < sizes[0] <= 1000
    assert 230 < sizes[1] <= 250


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (Given([[1.0, 2.0]], [[1.0, 2.0], [1.0, -1.0]]), "-1 in column 1, row 2"),
        (Given([[1.0, 2.0]], [[1.0, 2.0], [1.0, 0.5]]), "0.5 in column 1, row 2"),
        (Given(sparse.eye_array(2), np.eye(2)), "X is dense from row 2 on"),
        (Given(np.eye(2), np.eye(3)), "3 columns without names from row 2 on"),
    ],
    ids=["negative", "fraction", "types", "columns"],
)
def test_what_is_no_chunk_of_counts_is_refused(X, message):
    fitted = density(1).fit(simulated(20))
    before = vars(fitted).copy()
    with pytest.raises(ValueError, match=message):
        fitted.fit(X)
    assert vars(fitted) == before


def test_what_can_be_read_but_once_is_refused():
    with pytest.raises(TypeError, match="which can be read but once"):
        density().fit(iter(chunks(simulated(20))))


def test_tables_of_dask_are_refused():
    arrays = pytest.importorskip("dask.array")
    X = simulated(20)
    fitted = density(1).fit(X)
    with pytest.raises(
        TypeError, match="LatentDirichletAllocationDensity takes no collections of Dask"
    ):
        clone(fitted).fit(arrays.from_array(X))
