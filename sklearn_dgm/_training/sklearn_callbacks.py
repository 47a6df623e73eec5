"""Scikit-learn's callbacks, which are told of every epoch of a training."""

import copy

from sklearn_dgm._training.net import as_fitted


class EpochReport:
    """Tells scikit-learn's callbacks of the epochs of a fit, one after the other.

    Parameters
    ----------
    context : sklearn.callback.CallbackContext
        The task of the whole fit.
    hooks : dict
        Arguments that all their hooks are given: `estimator`, `X`, `y` and, with weights, `metadata`.
    fitted_attributes : callable
        Given a net, modules and the record, returns what a fitted copy of the estimator has. It is called only if they
        ask for such a copy.
    """

    def __init__(self, context, hooks, fitted_attributes):
        self.context, self.hooks = context, hooks
        self.fitted_attributes = fitted_attributes

    def begin(self):
        """Tell of the beginning of an epoch."""
        self.epoch = self.context.subcontext(task_name="epoch")
        self.epoch.call_on_fit_task_begin(**self.hooks)

    def end(self, net, modules, history):
        """Tell of the end of an epoch.

        Parameters
        ----------
        net : RowNet
            The net in training.
        modules : list of nn.Module
            Modules that have been trained before.
        history : list of dict
            The record so far.

        Returns
        -------
        stop : bool
            Whether they ask for the end of training.
        """

        def attributes():
            current = as_fitted(copy.deepcopy(net.average.module))
            return self.fitted_attributes(copy.copy(net), [*modules, current], history)

        return self.epoch.call_on_fit_task_end(**self.hooks, reconstruction_attributes=attributes)
