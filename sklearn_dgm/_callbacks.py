"""Scikit-learn's callbacks, for estimators that are fitted within the fit of another one.

Before scikit-learn 1.9 there are none: estimators have no `set_callbacks`, and a fit tells nobody.
"""

from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from sklearn.frozen import FrozenEstimator

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # scikit-learn before 1.9
    # One name for either, which mypy takes for two definitions.
    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands in where scikit-learn has no callbacks."""

        def _init_callback_context(self, **kwargs):
            return None


def has_callbacks(estimator):
    """Tell whether an estimator was given callbacks."""
    return bool(getattr(estimator, "_skl_callbacks", []))


def init_context(estimator, n_subtasks=0):
    """Return the context of the fit that an estimator begins, or None before scikit-learn 1.9."""
    return estimator._init_callback_context(max_subtasks=n_subtasks)


def context_of_fit(estimator):
    """Return the context of the fit that an estimator is in, or None before scikit-learn 1.9."""
    return getattr(estimator, "_callback_fit_ctx", None)


@dataclass(frozen=True)
class FitTask:
    """A part of an estimator's fit, of which its callbacks are told; of no estimator, nobody is.

    Attributes
    ----------
    owner : estimator instance or None
        The one that is fitted.
    context : sklearn.callback.CallbackContext or None
        The task among those of the whole fit.
    """

    owner: Any = None
    context: Any = None

    def subtask(self, name):
        """Return the next part of this task, in which an estimator can be fitted.

        Parameters
        ----------
        name : str
            What callbacks call it.

        Returns
        -------
        task : FitTask
            The part.
        """
        return self if self.context is None else FitTask(self.owner, self.context.subcontext(name))

    @contextmanager
    def side_by_side(self, name, names, X):
        """Return the next part of this task, whose own parts may run at the same time, in processes of their own.

        Parameters
        ----------
        name : str
            What callbacks call it.
        names : list of str
            What they call its parts.
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows.

        Yields
        ------
        tasks : list of FitTask
            The parts.
        """
        if self.context is None:
            yield [self] * len(names)
            return
        context = self.context.subcontext(name, max_subtasks=len(names), sequential_subtasks=False)
        parts = [context.subcontext(part, task_id=i) for i, part in enumerate(names)]
        with FitTask(self.owner, context).running(X):
            yield [FitTask(self.owner, part) for part in parts]

    @contextmanager
    def running(self, X, *, is_whole=False, **hooks):
        """Tell callbacks when the block begins and, unless it fails, ends; after the whole fit they may score."""
        if self.context is None:
            yield
            return
        hooks = {"estimator": self.owner, "X": X, **hooks}
        self.context.call_on_fit_task_begin(**hooks)
        yield
        fitted = {"reconstruction_attributes": dict} if is_whole else {}
        self.context.call_on_fit_task_end(**hooks, **fitted)

    def fit(self, estimator, X, y=None, **fit_params):
        """Fit an estimator, to which callbacks that propagate are handed on as far as it takes such.

        Parameters
        ----------
        estimator : estimator instance
            The estimator.
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows.
        y : array-like or None, default=None
            Their targets.
        **fit_params : dict
            What else its `fit` is given.

        Returns
        -------
        estimator : estimator instance
            What its `fit` returns.

        Raises
        ------
        TypeError
            If it has callbacks that propagate itself; they belong to the outermost estimator.
        """
        takes = hasattr(estimator, "set_callbacks") and not isinstance(estimator, FrozenEstimator)
        is_linked = takes and self.context is not None
        link = self.context.propagate_callback_context(estimator) if is_linked else nullcontext()
        with link, self.running(X, y=y):
            return estimator.fit(X, y, **fit_params)


# The default of functions that may be called outside of any fit.
UNTOLD = FitTask()


def task_of_fit(estimator):
    """Return the fit that an estimator is in, as a whole; see :func:`fit_task`."""
    # Whom nobody listens to does not have to travel to other processes with each of its tasks.
    return FitTask(estimator if has_callbacks(estimator) else None, context_of_fit(estimator))


@contextmanager
def fit_task(estimator, X, y=None, sample_weight=None, *, n_subtasks=0):
    """Tell an estimator's callbacks when its fit begins and, if nothing fails, when it ends.

    Parameters
    ----------
    estimator : estimator instance
        One with :class:`CallbackSupportMixin`, whose `fit` has scikit-learn's `_fit_context`, which tears callbacks
        down.
    X : {array-like, DataFrame} of shape (n_samples, n_features)
        Rows.
    y : array-like or None, default=None
        Their targets.
    sample_weight : array-like or None, default=None
        Their weights.
    n_subtasks : int or None, default=0
        Number of parts that the fit will have, None if that is not known.

    Yields
    ------
    task : FitTask
        The fit as a whole.
    """
    init_context(estimator, n_subtasks)
    task = task_of_fit(estimator)
    metadata = None if sample_weight is None else {"sample_weight": sample_weight}
    with task.running(X, y=y, metadata=metadata, is_whole=True):
        yield task
