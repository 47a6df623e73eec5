"""Picture of the scores of an outlier detector."""

from typing import Any, Self

import numpy as np
from sklearn.utils.multiclass import unique_labels
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d

from sklearn_dgm._sklearn import check_matplotlib_support
from sklearn_dgm._typing import MatrixLike
from sklearn_dgm.tags import last_step

N_BINS = 40
# The axis ends that many times as far below the threshold as the highest score is above it.
ROOM_FOR_OUTLIERS = 2


class OutlierDisplay:
    """Histogram of the scores of rows, with the threshold below which they are outliers.

    It is recommended to use :meth:`from_estimator` to create a display. All parameters are stored as attributes.

    Parameters
    ----------
    scores : ndarray of shape (n_samples,)
        Scores of the rows, low for outliers.
    threshold : float
        Scores below it are those of outliers.
    labels : ndarray of shape (n_samples,), default=None
        What the rows are known to be; each label has a histogram of its own.
    xlabel : str, default="score"
        Label of the x axis.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes.
    figure_ : matplotlib Figure
        The figure.
    bars_ : list of BarContainer
        The histograms.
    threshold_line_ : matplotlib Line2D
        The line at the threshold.

    See Also
    --------
    DensityOutlierDetector : Outliers are rows of low density.

    Notes
    -----
    The axis ends below the threshold, at twice the distance of the highest score above it; the first bar counts the
    rows that are beyond, also those that are impossible.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neighbors import KernelDensity
    >>> from sklearn_dgm import DensityOutlierDetector, OutlierDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> detector = DensityOutlierDetector(KernelDensity(bandwidth="scott")).fit(X[y == 0])
    >>> display = OutlierDisplay.from_estimator(detector, X, y=y)
    >>> len(display.bars_)
    3
    >>> plt.close("all")
    """

    def __init__(
        self, *, scores: Any, threshold: float, labels: Any = None, xlabel: str = "score"
    ) -> None:
        self.scores = scores
        self.threshold = threshold
        self.labels = labels
        self.xlabel = xlabel

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: MatrixLike, *, y: Any = None, ax: Any = None
    ) -> Self:
        """Draw the scores that a detector gives to rows.

        Parameters
        ----------
        estimator : estimator instance
            A fitted outlier detector with `score_samples` and `offset_`: a
            :class:`~sklearn_dgm.DensityOutlierDetector`, or one of scikit-learn's, such as
            :class:`~sklearn.ensemble.IsolationForest`; or a pipeline or search that ends in one.
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows to score.
        y : array-like of shape (n_samples,), default=None
            What they are known to be, such as 1 for inliers and -1 for outliers; labels are drawn apart.
        ax : matplotlib Axes, default=None
            Axes to draw on; by default a new figure is made.

        Returns
        -------
        display : OutlierDisplay
            The picture and what it shows.

        Raises
        ------
        TypeError
            If the estimator is no such detector.
        ValueError
            If `y` is not as long as X.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        name = type(estimator).__name__
        if not hasattr(estimator, "score_samples") or not hasattr(estimator, "decision_function"):
            raise TypeError(
                f"OutlierDisplay needs an outlier detector with score_samples and offset_; {name} is none."
            )
        detector = last_step(estimator)
        check_is_fitted(detector, "offset_")
        if y is not None:
            check_consistent_length(X, y)
            y = column_or_1d(y)
        # The scores of a committee have no unit.
        is_density = getattr(detector, "score_type", None) == "log_density" and not hasattr(
            detector, "score_members"
        )
        return cls(
            scores=np.asarray(estimator.score_samples(X)),
            threshold=float(detector.offset_),
            labels=y,
            xlabel="log-density (nats)" if is_density else "score",
        ).plot(ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw the histograms and the threshold.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; by default a new figure is made.

        Returns
        -------
        display : OutlierDisplay
            The display itself.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        import matplotlib.pyplot as plt

        if ax is None:
            _, ax = plt.subplots(layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        edges = self._edges()
        scores = np.clip(self.scores, edges[0], edges[-1])
        groups = [("rows", scores)]
        if self.labels is not None:
            groups = [(str(k), scores[self.labels == k]) for k in unique_labels(self.labels)]
        self.bars_ = [ax.hist(part, bins=edges, alpha=0.5)[2] for _, part in groups]
        for bars, (label, part) in zip(self.bars_, groups, strict=True):
            share = np.mean(part < self.threshold)
            bars.set_label(f"{label} ({len(part)}): {share:.1%} below")
        self.threshold_line_ = ax.axvline(
            self.threshold, color="black", linestyle="--", label="threshold"
        )
        if self.scores.min() < edges[0]:
            ax.annotate("and below", (edges[0], 1), xycoords=("data", "axes fraction"), va="top")
        ax.set(xlabel=self.xlabel, ylabel="rows")
        # Below the axes, where it covers neither bars nor threshold.
        ax.legend(
            handles=[*self.bars_, self.threshold_line_],
            loc="upper center",
            bbox_to_anchor=(0.5, -0.12),
            ncols=3,
            frameon=False,
        )
        return self

    def _edges(self):
        """Return the edges of the bins."""
        finite = self.scores[np.isfinite(self.scores)]
        ends = [*finite, self.threshold] if np.isfinite(self.threshold) else [*finite, 0.0]
        low, high = min(ends), max(ends)
        if np.isfinite(self.threshold):
            low = max(low, self.threshold - ROOM_FOR_OUTLIERS * (high - self.threshold))
        return np.linspace(low, high if high > low else low + 1, N_BINS + 1)
