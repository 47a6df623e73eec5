"""Refuse what is no density, or none that can be fitted as one inside another estimator."""

from inspect import isclass

from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from sklearn_dgm.tags import is_density, require_joint, require_normalised, unwrapped


def check_pairs(estimators, parameter="estimators"):
    """Refuse what is no list of pairs of a name and something else."""
    if not all(
        isinstance(pair, list | tuple) and len(pair) == 2 and isinstance(pair[0], str)
        for pair in estimators
    ):
        raise ValueError(f"{parameter} should be a list of tuples of a name and a density.")


def is_dropped(member):
    """Tell whether the word that leaves a member out stands in place of it."""
    return isinstance(member, str) and member == "drop"


def check_densities(estimators, who):
    """Refuse what is no list of names and densities of the same rows.

    Parameters
    ----------
    estimators : list of tuple
        Names and unfitted densities.
    who : str
        Name of the function or estimator that asks.

    Raises
    ------
    TypeError
        If an estimator is no density.
    ValueError
        If two have the same name, one is a Pipeline, whose density is one of other rows, or its scores are
        unnormalised.
    """
    check_pairs(estimators)
    names = [name for name, _ in estimators]
    if len(set(names)) < len(names):
        raise ValueError(f"estimators have to have different names, got {names}.")
    for name, estimator in estimators:
        if isclass(estimator):
            raise TypeError(f"{name!r} is the class {estimator.__name__}; hand in an instance.")
        if not hasattr(estimator, "fit"):
            raise TypeError(f"{name!r} should be a density, got {estimator!r}.")
        if isinstance(unwrapped(estimator), Pipeline):
            raise ValueError(
                f"{name!r} is a Pipeline, whose density is one of the transformed rows, in their units, and no match "
                "for those of X; use TransformedDensity(transformer, estimator), which has that of X."
            )
        if not is_density(estimator):
            raise TypeError(f"{name!r} should be a density, {type(estimator).__name__} is none.")
    require_normalised([estimator for _, estimator in estimators], who)


def check_density_of_parts(estimator, who, is_one=is_density, parameter="estimator", part="class"):
    """Refuse an estimator of which no clones can be fitted to the rows of each class, as densities of these rows.

    Parameters
    ----------
    estimator : estimator instance
        What was given as such.
    who : str
        Name of the estimator that asks.
    is_one : callable, default=is_density
        Tells what will do; `is_generator` where nothing is scored.
    parameter : str, default="estimator"
        The parameter that it was given as.
    part : str, default="class"
        What each clone is fitted to.

    Raises
    ------
    TypeError
        If it is no density, a Pipeline, or frozen.
    ValueError
        If it is a density of some columns given others.
    """
    density = unwrapped(estimator)
    name = type(density).__name__
    if isinstance(estimator, FrozenEstimator):
        raise TypeError(
            f"{parameter} is a FrozenEstimator, but one {name} is to be fitted for each {part}; give it unfrozen."
        )
    frozen = [
        value
        for value in estimator.get_params().values()
        if isinstance(value, FrozenEstimator) and is_one(value)
    ]
    if frozen:
        raise TypeError(
            f"{name} has {frozen[0]!r} in it, which would be the same for each {part}; give it unfrozen."
        )
    if isinstance(density, Pipeline):
        raise TypeError(
            f"{parameter} is a Pipeline, which has the density of transformed rows: the transformers of each {part} would "
            "have a scale of their own, so that these do not compare. Use TransformedDensity(transformer, estimator) "
            "in its place, which has that of the rows themselves."
        )
    require_joint([density], who)
    if not is_one(density):
        what = is_one.__name__
        raise TypeError(
            f"{parameter} should be a {what.removeprefix('is_')}, which {name} is not: see sklearn_dgm.{what}."
        )
