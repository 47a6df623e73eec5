"""Picture of the course of training."""

from typing import Any, Self

import numpy as np
from sklearn.mixture import GaussianMixture
from sklearn.utils.validation import check_is_fitted

from sklearn_dgm._sklearn import check_matplotlib_support
from sklearn_dgm.tags import last_step


class TrainingDisplay:
    """Log-likelihood, or another objective, in the course of training.

    Where several networks were trained one after the other, each has its curve, and a mark at its best epoch.

    It is recommended to use :meth:`from_estimator` to create a display. All parameters are stored as attributes.

    Parameters
    ----------
    epochs : ndarray of shape (n_epochs,)
        Numbers of the epochs, or of the iterations; of several networks side by side, with a NaN between.
    train_log_likelihood : ndarray of shape (n_epochs,) or None
        Mean log-likelihood of the training rows, or what else `ylabel` says; None where it is not recorded.
    valid_log_likelihood : ndarray of shape (n_epochs,), default=None
        That of the rows kept for validation.
    best_epoch : int or ndarray of shape (n_networks,), default=None
        The epoch whose weights were kept, 0 for the start of training.
    xlabel : str, default="epoch"
        Label of the x axis.
    ylabel : str, default="log-likelihood (nats per row)"
        Label of the y axis.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes.
    figure_ : matplotlib Figure
        The figure.
    train_line_ : matplotlib Line2D or None
        The curve of the training rows.
    valid_line_ : matplotlib Line2D or None
        The curve of the validation rows.
    best_line_ : matplotlib Line2D or None
        The vertical line at the best epoch, or the marks at several.

    See Also
    --------
    DensityDisplay : The density itself.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_dgm import AutoregressiveDensity, TrainingDisplay
    >>> density = AutoregressiveDensity(order="given", max_epochs=5, random_state=0)
    >>> display = TrainingDisplay.from_estimator(density.fit(load_iris().data))
    >>> display.epochs
    array([1, 2, 3, 4, 5])
    >>> plt.close("all")
    """

    def __init__(
        self,
        *,
        epochs: Any,
        train_log_likelihood: Any,
        valid_log_likelihood: Any = None,
        best_epoch: Any = None,
        xlabel: str = "epoch",
        ylabel: str = "log-likelihood (nats per row)",
    ) -> None:
        self.epochs = epochs
        self.train_log_likelihood = train_log_likelihood
        self.valid_log_likelihood = valid_log_likelihood
        self.best_epoch = best_epoch
        self.xlabel = xlabel
        self.ylabel = ylabel

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None) -> Self:
        """Draw what a fitted estimator has recorded of its training.

        Parameters
        ----------
        estimator : estimator instance
            A fitted estimator with `history_`, whose `objective_` says what that is of (without it, the
            log-likelihood); or a mixture of scikit-learn with `lower_bounds_`; or a :class:`~sklearn.pipeline.Pipeline`
            or a search that ends in one.
        ax : matplotlib Axes, default=None
            Axes to draw on; by default a new figure is made.

        Returns
        -------
        display : TrainingDisplay
            The picture and what it shows.

        Raises
        ------
        TypeError
            If the estimator keeps no record of an iterative training.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        check_is_fitted(estimator)
        estimator = last_step(estimator)
        if hasattr(estimator, "history_"):
            data = cls._from_history(estimator.history_, getattr(estimator, "objective_", None))
        elif hasattr(estimator, "lower_bounds_"):
            bounds = np.asarray(estimator.lower_bounds_)
            data = {
                "epochs": np.arange(1, len(bounds) + 1),
                "train_log_likelihood": bounds,
                "xlabel": "iteration",
            }
            if not isinstance(estimator, GaussianMixture):  # a variational bound, and of all rows
                data["ylabel"] = "lower bound"
        else:
            raise TypeError(
                f"{type(estimator).__name__} keeps no record of an iterative training "
                "(history_ or lower_bounds_), so there is nothing to draw."
            )
        return cls(**data).plot(ax=ax)

    @staticmethod
    def _from_history(history, objective):
        name = "log_likelihood" if objective is None else objective.name
        train, valid = f"train_{name}", f"valid_{name}"
        if objective is not None and not any(valid in record for record in history):
            train = objective.train_key
        networks = _chosen_networks(
            history, valid, falls=objective is not None and not objective.rises
        )

        def curve(key):
            parts = [[record.get(key, np.nan) for record in records] for records in networks]
            return np.concatenate([values for part in parts for values in (part, [np.nan])][:-1])

        # What training rows are recorded by may be another quantity.
        is_recorded = any(train in record for record in history)
        data = {
            "epochs": curve("epoch"),
            "train_log_likelihood": curve(train) if is_recorded else None,
        }
        if objective is not None:
            label = objective.label_of(train if is_recorded else valid)
            data["ylabel"] = label + (f" ({objective.unit})" if objective.unit else "")
        # Without validation every epoch counts as the best so far.
        if any(valid in record for record in history):
            data["valid_log_likelihood"] = curve(valid)
            # Where no epoch was better than the start, its weights were kept.
            best = [max((r["epoch"] for r in n if r["best"]), default=0) for n in networks]
            data["best_epoch"] = best[0] if len(networks) == 1 else np.array(best)
        return data

    def plot(self, ax: Any = None) -> Self:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; by default a new figure is made.

        Returns
        -------
        display : TrainingDisplay
            The display, with its artists.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        import matplotlib.pyplot as plt

        if ax is None:
            _, ax = plt.subplots(layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        are_several = np.isnan(self.epochs).any()
        # A single epoch has no line to show.
        style = {
            "marker": "o" if len(self.epochs) == 1 else None,
            "alpha": 0.5 if are_several else None,
            "linewidth": 1.0 if are_several else None,
        }
        self.train_line_ = self.valid_line_ = self.best_line_ = None
        if self.train_log_likelihood is not None:
            (self.train_line_,) = ax.plot(
                self.epochs, self.train_log_likelihood, label="training", **style
            )
        if self.valid_log_likelihood is not None:
            (self.valid_line_,) = ax.plot(
                self.epochs, self.valid_log_likelihood, label="validation", **style
            )
        if self.best_epoch is not None and are_several:
            # At the foot of the axes, as the likelihood of a start is not recorded.
            (self.best_line_,) = ax.plot(
                self.best_epoch,
                np.zeros(len(self.best_epoch)),
                "^",
                color="0.5",
                clip_on=False,
                transform=ax.get_xaxis_transform(),
                label="best epochs",
            )
        elif self.best_epoch is not None:
            self.best_line_ = ax.axvline(
                self.best_epoch, color="0.5", linestyle="--", label=f"best epoch: {self.best_epoch}"
            )
        ax.set(xlabel=self.xlabel, ylabel=self.ylabel)
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.legend()
        return self


def _chosen_networks(history, valid, falls):
    """Return the records of each network; where several settings were tried, those of the best."""
    runs = {}
    for record in history:
        run = runs.setdefault(record.get("member", 0), {})
        run.setdefault(record.get("setting"), []).append(record)

    def best_score(records):
        values = [r.get(valid, 0.0) for r in records if r["best"]]
        return max((-value if falls else value for value in values), default=-np.inf)

    return [max(tried.values(), key=best_score) for tried in runs.values()]
