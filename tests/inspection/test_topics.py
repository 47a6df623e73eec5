"""The picture of topics shows the words that are most probable."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import LatentDirichletAllocation
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sklearn_dgm import HistogramDensity, LatentDirichletAllocationDensity, TopicsDisplay

TEXTS = ["tea milk tea", "milk sugar tea", "sun rain sun", "rain wind sun"] * 5


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.mark.parametrize("model", [LatentDirichletAllocationDensity, LatentDirichletAllocation])
def test_words_are_the_most_probable_ones(model):
    pipeline = make_pipeline(CountVectorizer(), model(5, random_state=0)).fit(TEXTS)
    display = TopicsDisplay.from_estimator(pipeline, n_top_words=3)
    counter, density = pipeline[0], pipeline[-1]
    topics = density.components_ / density.components_.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(display.probabilities, -np.sort(-topics)[:, :3])
    names = counter.get_feature_names_out().tolist()
    for k, words in enumerate(display.words):
        found = topics[k, [names.index(word) for word in words]]
        np.testing.assert_array_equal(found, display.probabilities[k])
        np.testing.assert_array_equal([bar.get_width() for bar in display.bars_[k]], found)
        labels = [label.get_text() for label in display.axes_[k].get_yticklabels()]
        assert labels == words.tolist()
    assert len(display.axes_) == len(display.figure_.axes) == 5
    assert display.shares.sum() == pytest.approx(1)


def test_words_of_pipelines_without_names_are_those_of_the_last_step():
    X = pd.DataFrame(CountVectorizer().fit_transform(TEXTS).toarray()).add_prefix("word")
    density = LatentDirichletAllocationDensity(2, random_state=0)
    display = TopicsDisplay.from_estimator(make_pipeline(density).fit(X), n_top_words=1)
    assert set(display.words[:, 0]) <= set(X.columns)
    nameless = make_pipeline(CountVectorizer(), FunctionTransformer(accept_sparse=True), density)
    display = TopicsDisplay.from_estimator(nameless.fit(TEXTS), n_top_words=1)
    assert all(word.isdigit() for word in display.words[:, 0])


def test_words_are_names_of_columns_positions_or_given():
    X = CountVectorizer().fit_transform(TEXTS).toarray()
    density = LatentDirichletAllocationDensity(2, random_state=0)
    numbers = TopicsDisplay.from_estimator(density.fit(X), n_top_words=2)
    assert set(numbers.words.ravel()) <= set("012345")
    frame = pd.DataFrame(X, columns=list("abcdef"))
    letters = TopicsDisplay.from_estimator(density.fit(frame), n_top_words=2)
    given = TopicsDisplay.from_estimator(density, feature_names=list("uvwxyz"), n_top_words=2)
    for a, b, c in zip(*(d.words.ravel() for d in (numbers, letters, given)), strict=True):
        assert (b, c) == ("abcdef"[int(a)], "uvwxyz"[int(a)])


def test_what_cannot_be_drawn_is_an_error():
    X = CountVectorizer().fit_transform(TEXTS)
    density = LatentDirichletAllocationDensity(2, random_state=0).fit(X)
    with pytest.raises(ValueError, match="feature_names has 2 words, but the estimator .* to 6"):
        TopicsDisplay.from_estimator(density, feature_names=["a", "b"])
    with pytest.raises(ValueError, match="n_top_words should be a positive integer"):
        TopicsDisplay.from_estimator(density, n_top_words=0)
    with pytest.raises(ValueError, match="axes should be 2"):
        TopicsDisplay.from_estimator(density, axes=[plt.gca()])
    with pytest.raises(TypeError, match="HistogramDensity has no topics"):
        TopicsDisplay.from_estimator(HistogramDensity().fit([[1.0], [2.0]]))
