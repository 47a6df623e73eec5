"""Every private name of scikit-learn that this package uses, but for callbacks, which have an adapter of their own.

Private names move without notice. A test holds that they stand in these two files alone, so that a new release of
scikit-learn, or an old one, is met here.
"""

import sys

from sklearn.base import _fit_context as fit_context
from sklearn.utils import _safe_indexing as safe_indexing
from sklearn.utils._optional_dependencies import check_matplotlib_support, check_pandas_support
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    StrOptions,
    validate_parameter_constraints,
    validate_params,
)
from sklearn.utils.metaestimators import _BaseComposition
from sklearn.utils.validation import _check_method_params as check_method_params
from sklearn.utils.validation import _check_sample_weight as check_sample_weight
from sklearn.utils.validation import _num_samples as num_samples

__all__ = [
    "HasMethods",
    "Interval",
    "NamedEstimatorsMixin",
    "StrOptions",
    "check_matplotlib_support",
    "check_method_params",
    "check_pandas_support",
    "check_parameters",
    "check_sample_weight",
    "estimator_of_scorer",
    "fit_context",
    "input_indices",
    "is_search",
    "num_samples",
    "safe_indexing",
    "scaler_after_powers",
    "validate_parameter_constraints",
    "validate_params",
    "without_frames",
]


class NamedEstimatorsMixin(_BaseComposition):
    """Parameters of estimators that a parameter holds as pairs of a name and an estimator, as a Pipeline has them."""

    def _params_with_named(self, parameter, deep):
        """Return the parameters of an estimator and, if `deep`, those of the named ones."""
        return self._get_params(parameter, deep=deep)

    def _set_params_of_named(self, parameter, params):
        """Set parameters of an estimator, of the named ones, or these themselves by their names."""
        return self._set_params(parameter, **params)

    def _check_names(self, names):
        """Refuse names that are given twice, are parameters of the estimator, or contain two underscores."""
        self._validate_names(names)


def check_parameters(estimator):
    """Refuse constructor arguments that the constraints of an estimator do not allow, as its `fit` does.

    Parameters
    ----------
    estimator : estimator instance
        The estimator, with its `_parameter_constraints`.

    Raises
    ------
    ValueError
        If one of them is invalid.
    """
    estimator._validate_params()


def is_search(estimator):
    """Tell whether an estimator is a search over parameters of another one.

    Parameters
    ----------
    estimator : estimator instance
        Any estimator.

    Returns
    -------
    bool
        True of `GridSearchCV` and its kind.
    """
    from sklearn.model_selection._search import (
        BaseSearchCV,  # which importing the package need not wait for
    )

    return isinstance(estimator, BaseSearchCV)


def estimator_of_scorer(scorer):
    """Return the estimator whose `score` a scorer asks for; None of any other object.

    Parameters
    ----------
    scorer : object
        What :func:`sklearn.metrics.check_scoring` gave, say.

    Returns
    -------
    estimator : estimator instance or None
        The estimator that it was given.
    """
    module = sys.modules.get("sklearn.metrics._scorer")
    is_one = module is not None and type(scorer) is module._PassthroughScorer
    return scorer._estimator if is_one else None


def scaler_after_powers(transformer):
    """Return the scaler that a `PowerTransformer` with `standardize=True` applies after its powers.

    Parameters
    ----------
    transformer : PowerTransformer
        The fitted transformer.

    Returns
    -------
    scaler : StandardScaler
        With `mean_` and `scale_`.
    """
    return transformer._scaler


def input_indices(transformer, name):
    """Return the columns that one transformer of a fitted `ColumnTransformer` is given.

    Parameters
    ----------
    transformer : ColumnTransformer
        The fitted transformer.
    name : str
        Name of the one within.

    Returns
    -------
    indices : list of int
        Positions among the columns of X.
    """
    return list(transformer._transformer_to_input_indices[name])


def without_frames(transformer):
    """Make a fitted transformer take and give arrays alone, whatever it was fitted on and told to give.

    Parameters
    ----------
    transformer : transformer instance
        The transformer, which is changed.

    Returns
    -------
    transformer : transformer instance
        The same.
    """
    for of_frames in ("feature_names_in_", "_sklearn_output_config"):
        vars(transformer).pop(of_frames, None)
    return transformer
