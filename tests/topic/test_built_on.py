"""What is built on densities takes sparse counts where these do, or says that it does not."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import train_test_split

from sklearn_dgm import (
    DensityImputer,
    DensityOutlierDetector,
    EnergyDensity,
    EnsembleDensity,
    GenerativeClassifier,
    GenerativeOverSampler,
    HistogramDensity,
    LatentDirichletAllocationDensity,
    MixtureDensity,
    TransformedDensity,
    bits_per_dim,
    compare_densities,
    mean_log_likelihood,
)


def topics(n_components=2):
    return LatentDirichletAllocationDensity(
        n_components, n_particles=20, max_iter=30, tol=0.05, random_state=0
    )


@pytest.fixture(scope="module")
def counts():
    rng = np.random.default_rng(0)
    words = rng.dirichlet(np.full(20, 0.1), 3)
    shares = rng.dirichlet(np.full(3, 0.2), 120)
    return rng.multinomial(rng.poisson(12, 120), shares @ words), shares.argmax(axis=1) == 0


def test_scores_are_those_of_dense_counts(counts):
    X, y = counts
    rows = sparse.csr_matrix(X)
    classes = GenerativeClassifier(topics())
    dense = classes.fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(classes.fit(rows, y).predict_proba(rows), dense)
    assert classes.score(rows, y) > 0.8
    for nested in (
        EnsembleDensity([("two", topics()), ("three", topics(3))], weights="equal"),
        EnsembleDensity([("two", topics()), ("three", topics(3))], cv=2, random_state=0),
        DensityOutlierDetector(topics()),
    ):
        dense = nested.fit(X).score_samples(X)
        np.testing.assert_array_equal(nested.fit(rows).score_samples(rows), dense)
    for metric in (mean_log_likelihood, bits_per_dim):
        density = topics().fit(rows)
        assert metric(density, rows) == metric(density, X)


def test_frames_of_sparse_columns_are_taken(counts):
    X, y = counts
    sparse_columns = pd.DataFrame.sparse.from_spmatrix(sparse.csr_matrix(X)).add_prefix("word")
    some_are = pd.DataFrame(X, columns=sparse_columns.columns).astype(
        {"word3": pd.SparseDtype(int, 0)}
    )
    for rows in (sparse_columns, some_are):
        for nested in (
            EnsembleDensity([("two", topics()), ("three", topics(3))], cv=2, random_state=0),
            DensityOutlierDetector(topics()),
        ):
            dense = nested.fit(X).score_samples(X)
            np.testing.assert_array_equal(nested.fit(rows).score_samples(rows), dense)
            if hasattr(nested, "sample"):
                pd.testing.assert_series_equal(nested.sample(2).dtypes, rows.dtypes)
        classes = GenerativeClassifier(topics()).fit(rows, y)
        assert classes.score(rows, y) > 0.8
        assert len(compare_densities({"two": topics(), "three": topics(3)}, rows, cv=2)) == 2
    with pytest.raises(TypeError, match="sparse.to_dense"):
        DensityOutlierDetector(HistogramDensity()).fit(sparse_columns)


def test_draws_are_sparse(counts):
    rows, y = sparse.csr_matrix(counts[0]), counts[1]
    both = EnsembleDensity([("two", topics()), ("three", topics(3))], weights="equal").fit(rows)
    classes = GenerativeClassifier(topics()).fit(rows, y)
    for drawn in (both.sample(5), classes.sample(5)):
        assert sparse.issparse(drawn)
        assert (drawn.shape, drawn.dtype) == ((5, 20), rows.dtype)


def test_resampled_rows_are_sparse(counts):
    pytest.importorskip("imblearn")
    rows, y = sparse.csr_matrix(counts[0]), counts[1]
    more, labels = GenerativeOverSampler(topics()).fit_resample(rows, y)
    assert sparse.issparse(more)
    assert more.shape[0] == len(labels) == 2 * max(np.bincount(y))


def test_a_class_may_have_no_words(counts):
    X, y = counts
    X = np.where(y[:, None], 0, X)
    classes = GenerativeClassifier(topics()).fit(sparse.csr_matrix(X), y)
    assert classes.score(X, y) > 0.9
    assert classes.predict(X[~y]).mean() < 0.1


def test_they_are_compared(counts):
    train, test = train_test_split(sparse.csr_matrix(counts[0]), random_state=0)
    frozen = {name: FrozenEstimator(topics(k).fit(train)) for name, k in (("one", 1), ("three", 3))}
    table = compare_densities(frozen, test)
    assert set(table.index) == {"one", "three"}
    assert set(table["score_kind"]) == {"exact", "estimate"}


@pytest.mark.parametrize(
    "nested",
    [
        MixtureDensity(2, topics()),
        TransformedDensity(None, topics()),
        EnergyDensity(topics()),
        DensityOutlierDetector(HistogramDensity()),
        EnsembleDensity([("topics", topics()), ("histogram", HistogramDensity())]),
    ],
)
def test_others_say_that_they_take_none(counts, nested):
    with pytest.raises(TypeError, match="Sparse data was passed for X, but dense data is required"):
        nested.fit(sparse.csr_matrix(counts[0]))


def test_what_topics_cannot_do_is_said(counts):
    with pytest.raises(TypeError, match="conditional_sample"):
        DensityImputer(topics()).fit(counts[0].astype(float))
