"""Picture of topics by their most probable words."""

from typing import Any, Self

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from sklearn_dgm._sklearn import check_matplotlib_support
from sklearn_dgm._validation import check_count
from sklearn_dgm.tags import last_step, unwrapped


class TopicsDisplay:
    """The most probable words of each topic, as bars.

    It is recommended to use :meth:`from_estimator` to create a display. All parameters are stored as attributes.

    Parameters
    ----------
    words : ndarray of str of shape (n_topics, n_top_words)
        Words of each topic, the most probable one first.
    probabilities : ndarray of shape (n_topics, n_top_words)
        Their probabilities given the topic.
    shares : ndarray of shape (n_topics,)
        Expected shares of the topics in a document.

    Attributes
    ----------
    axes_ : ndarray of Axes of shape (n_topics,)
        The axes, one for each topic.
    figure_ : matplotlib Figure
        The figure.
    bars_ : list of BarContainer
        The bars of each topic.

    See Also
    --------
    sklearn_dgm.LatentDirichletAllocationDensity : The density that has topics.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.feature_extraction.text import CountVectorizer
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn_dgm import LatentDirichletAllocationDensity, TopicsDisplay
    >>> texts = ["tea milk tea", "milk sugar tea", "sun rain sun", "rain wind sun"] * 5
    >>> topics = make_pipeline(CountVectorizer(), LatentDirichletAllocationDensity(2, random_state=0)).fit(texts)
    >>> display = TopicsDisplay.from_estimator(topics, n_top_words=2)
    >>> display.words.shape
    (2, 2)
    >>> plt.close("all")
    """

    def __init__(self, *, words: Any, probabilities: Any, shares: Any) -> None:
        self.words = words
        self.probabilities = probabilities
        self.shares = shares

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, feature_names: Any = None, n_top_words: int = 8, axes: Any = None
    ) -> Self:
        """Draw the topics of a fitted estimator.

        Parameters
        ----------
        estimator : estimator instance
            A fitted :class:`~sklearn_dgm.LatentDirichletAllocationDensity`, scikit-learn's
            :class:`~sklearn.decomposition.LatentDirichletAllocation`, or a pipeline or search that ends in one.
        feature_names : array-like of str of shape (n_features,), default=None
            The words. By default those of the steps before it in a pipeline, those of the columns in `fit`, or else
            their positions.
        n_top_words : int, default=8
            How many words of each topic are drawn.
        axes : array-like of matplotlib Axes of shape (n_topics,), default=None
            Axes to draw on; by default a new figure is made.

        Returns
        -------
        display : TopicsDisplay
            The picture and what it shows.

        Raises
        ------
        TypeError
            If the estimator has no topics.
        ValueError
            If there is not a name for each word, or `n_top_words` is not positive.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        check_count(n_top_words, "n_top_words")
        check_is_fitted(estimator)
        topics, prior = _topics_of(last_step(estimator))
        words = np.asarray(_words_of(estimator) if feature_names is None else feature_names)
        if len(words) != topics.shape[1]:
            raise ValueError(
                f"feature_names has {len(words)} words, but the estimator was fitted to {topics.shape[1]}."
            )
        top = np.argsort(-topics, axis=1, kind="stable")[:, :n_top_words]
        display = cls(
            words=words[top],
            probabilities=np.take_along_axis(topics, top, axis=1),
            shares=prior / prior.sum(),
        )
        return display.plot(axes=axes)

    def plot(self, *, axes: Any = None) -> Self:
        """Draw the topics.

        Parameters
        ----------
        axes : array-like of matplotlib Axes of shape (n_topics,), default=None
            Axes to draw on; by default a new figure is made.

        Returns
        -------
        display : TopicsDisplay
            This one, with what was drawn.

        Raises
        ------
        ValueError
            If there is not one of the axes for each topic.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        n_topics, n_words = np.shape(self.words)
        if axes is None:
            import matplotlib.pyplot as plt

            n_columns = min(n_topics, 4)
            n_rows = -(-n_topics // n_columns)
            _, axes = plt.subplots(
                n_rows,
                n_columns,
                squeeze=False,
                figsize=(2.6 * n_columns, (0.8 + 0.22 * n_words) * n_rows),
                layout="constrained",
            )
            for ax in axes.flat[n_topics:]:
                ax.remove()
            axes = axes.ravel()[:n_topics]
        axes = np.asarray(axes, dtype=object).ravel()
        if len(axes) != n_topics:
            raise ValueError(f"axes should be {n_topics}, one for each topic, got {len(axes)}.")
        self.bars_ = []
        for k, ax in enumerate(axes):
            places = np.arange(n_words)
            self.bars_.append(ax.barh(places, self.probabilities[k]))
            ax.set_yticks(places, self.words[k])
            ax.invert_yaxis()
            ax.set(title=f"topic {k}, share {self.shares[k]:.2f}", xlabel="probability")
        self.axes_, self.figure_ = axes, axes[0].figure
        return self


def _topics_of(model):
    """Return probabilities of words of each topic, and the prior of their shares."""
    prior = getattr(model, "doc_topic_prior_", None)
    if prior is None or not hasattr(model, "components_"):
        raise TypeError(f"{type(model).__name__} has no topics, of which words could be drawn.")
    components = model.components_
    topics = components / components.sum(axis=1, keepdims=True)
    return topics, np.broadcast_to(prior, len(topics))


def _words_of(estimator):
    """Return the words that are counted, as far as the estimator knows them."""
    estimator = unwrapped(estimator)
    if isinstance(estimator, Pipeline):
        if len(estimator) > 1 and hasattr(estimator[:-1], "get_feature_names_out"):
            try:
                return estimator[:-1].get_feature_names_out()
            except AttributeError:  # of a step before that has no names
                pass
        estimator = estimator[-1]
    names = getattr(estimator, "feature_names_in_", None)
    return np.arange(estimator.n_features_in_).astype(str) if names is None else names
