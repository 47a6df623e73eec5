"""What an estimator takes and what its scores are: tags, and the questions that others ask of them.

A family says it once, in the class attribute `_density_tags`; everybody else asks :func:`get_density_tags`, of any
estimator: of scikit-learn's densities, of pipelines, searches and frozen estimators, and of what is built on densities.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import sklearn.utils
from sklearn.utils import get_tags

from sklearn_dgm._sklearn import is_search

ScoreKind = Literal["exact", "lower bound", "estimate", "unnormalised", "none"]
# From the one that says most to the one that says least.
SCORE_KINDS: tuple[ScoreKind, ...] = ("exact", "lower bound", "estimate", "unnormalised", "none")


@dataclass(slots=True)
class DensityTags:
    """Tags of a density or a generator: what it takes, and what its scores are.

    Parameters
    ----------
    column_kinds : tuple of str, default=("continuous", "integer", "categorical")
        Kinds of columns that it takes: of these, and "binary" for categorical columns of two categories. Rounded and
        mixed columns are continuous ones in which values repeat.
    missing : bool, default=False
        Whether cells may be missing. The score of a row is the marginal log-density of its other cells then.
    ties : bool, default=False
        Whether rounded and mixed columns are looked for, in which values repeat and have a probability.
    sequences : bool, default=False
        Whether rows are sequences rather than rows of a table.
    sparse : bool, default=False
        Whether X may be a sparse matrix of SciPy.
    latents : bool, default=False
        Whether `transform` gives each row a latent representation.
    conditional : bool, default=False
        Whether scores are given the columns that the parameter `given` names, which have no density themselves, and
        `conditional_sample` draws the other ones in place of `sample`.
    warm_start_within : bool, default=False
        Whether `fit` goes on with the training of the density inside, `estimator`, if that has ``warm_start=True``.
    score_kind : {"exact", "lower bound", "estimate", "unnormalised", "none"}, default="exact"
        What `score_samples` returns at best: the log-density, a lower bound of it, an estimate, the log-density up to a
        constant of the fitted model, or nothing, since a generator has no such method. What it is after a fit,
        `score_kind_` says.
    """

    column_kinds: tuple[str, ...] = ("continuous", "integer", "categorical")
    missing: bool = False
    ties: bool = False
    sequences: bool = False
    sparse: bool = False
    latents: bool = False
    conditional: bool = False
    warm_start_within: bool = False
    score_kind: ScoreKind = "exact"

    @property
    def takes_categories(self):
        """Whether there may be categorical columns, if only of two categories."""
        return bool({"categorical", "binary"}.intersection(self.column_kinds))


@dataclass(slots=True)
class Tags(sklearn.utils.Tags):
    """Scikit-learn's tags, and those of densities and generators.

    Parameters
    ----------
    density_tags : DensityTags, default=None
        See :class:`DensityTags`.
    """

    density_tags: DensityTags | None = None


def with_density_tags(tags: sklearn.utils.Tags, density_tags: DensityTags) -> Tags:
    """Hang density tags on scikit-learn's tags, and derive those of the input from them.

    Parameters
    ----------
    tags : sklearn.utils.Tags
        Scikit-learn's.
    density_tags : DensityTags
        Those of the density; they are copied.

    Returns
    -------
    tags : Tags
        Both.
    """
    given = {field.name: getattr(tags, field.name) for field in fields(sklearn.utils.Tags)}
    given["density_tags"] = replace(density_tags)
    given["input_tags"] = replace(
        tags.input_tags,
        categorical=density_tags.takes_categories,
        string=density_tags.takes_categories or density_tags.sequences,
        three_d_array=density_tags.sequences,
        allow_nan=density_tags.missing,
        sparse=density_tags.sparse,
    )
    return Tags(**given)


def get_density_tags(estimator: Any) -> DensityTags:
    """Return the density tags of any estimator.

    Parameters
    ----------
    estimator : estimator instance
        Any scikit-learn estimator. Of a Pipeline, a search or a frozen estimator what stands at its end is asked.

    Returns
    -------
    density_tags : DensityTags
        Its own, if it has such. Any other estimator takes columns of numbers, and what it is built on tells whether
        ties are looked for; its scores are exact if it is a density.

    Raises
    ------
    TypeError
        If it is no estimator.
    """
    _check_estimator(estimator)
    last = last_step(estimator)
    if not hasattr(last, "fit"):  # a pipeline that ends in "passthrough"
        return DensityTags(score_kind="none")
    tags = get_tags(last)
    own = getattr(tags, "density_tags", None)
    if own is not None:
        return own
    has_names = tags.input_tags.categorical or tags.input_tags.string
    return DensityTags(
        column_kinds=("continuous", "integer", "categorical")[: 3 if has_names else 2],
        missing=tags.input_tags.allow_nan,
        ties=any(get_density_tags(density).ties for density in list(densities_within(last))[1:]),
        score_kind="exact" if is_density(last) else "none",
    )


def _check_estimator(estimator):
    if not hasattr(estimator, "fit"):
        raise TypeError(f"{estimator!r} is no estimator: it has no method fit.")


def common_density_tags(estimators: Iterable[Any]) -> DensityTags:
    """Return the density tags of a density that is built on others, and takes what all of them take.

    Parameters
    ----------
    estimators : iterable of estimator instances
        At least one.

    Returns
    -------
    density_tags : DensityTags
        Ties are looked for if one of them does; the kind of the score is the one that says least.
    """
    first, *others = map(get_density_tags, estimators)
    tags = replace(first, latents=False, warm_start_within=False)
    for of in others:
        kinds = [kind for kind in tags.column_kinds if kind in of.column_kinds]
        both_take_flags = tags.takes_categories and of.takes_categories
        tags.column_kinds = tuple(kinds)
        if both_take_flags and not tags.takes_categories:
            tags.column_kinds = (*kinds, "binary")
        tags.missing = tags.missing and of.missing
        tags.ties = tags.ties or of.ties
        tags.sequences = tags.sequences and of.sequences
        tags.sparse = tags.sparse and of.sparse
        tags.conditional = tags.conditional or of.conditional
        tags.score_kind = max(tags.score_kind, of.score_kind, key=SCORE_KINDS.index)
    return tags


def unwrapped(estimator):
    """Return the estimator inside a search or FrozenEstimator.

    Parameters
    ----------
    estimator : estimator instance
        Any scikit-learn estimator.

    Returns
    -------
    estimator : estimator instance
        Of a fitted search the best one; the same if it is neither a search nor frozen.
    """
    from sklearn.frozen import FrozenEstimator

    if isinstance(estimator, FrozenEstimator) or is_search(estimator):
        return unwrapped(getattr(estimator, "best_estimator_", estimator.estimator))
    return estimator


def last_step(estimator):
    """Return the estimator at the end of pipelines and inside searches.

    Parameters
    ----------
    estimator : estimator instance
        Any scikit-learn estimator.

    Returns
    -------
    estimator : estimator instance
        The one whose `score_samples` answers in the end.
    """
    from sklearn.pipeline import Pipeline

    estimator = unwrapped(estimator)
    return last_step(estimator.steps[-1][1]) if isinstance(estimator, Pipeline) else estimator


def densities_within(estimator: Any) -> Iterator[Any]:
    """Yield the density at the end of pipelines and searches, and those that it is built on.

    Parameters
    ----------
    estimator : estimator instance
        Any scikit-learn estimator.

    Yields
    ------
    density : estimator instance
        The outermost first.
    """
    density = last_step(estimator)
    yield density
    inside = [member for _, member in getattr(density, "estimators", None) or []]
    inside += [density.estimator] if hasattr(density, "estimator") else []
    for member in inside:
        if hasattr(member, "fit"):  # or it is "drop", or None
            yield from densities_within(member)


def is_density(estimator: Any) -> bool:
    """Tell whether an estimator's `score_samples` is a log-density that it can also sample from.

    Parameters
    ----------
    estimator : estimator instance
        Any scikit-learn estimator. Of a Pipeline, a search or a frozen estimator what stands at its end is asked.

    Returns
    -------
    bool
        True for the densities of this package, for `KernelDensity` and for `GaussianMixture`.

    Examples
    --------
    >>> from sklearn.ensemble import IsolationForest
    >>> from sklearn.neighbors import KernelDensity
    >>> from sklearn_dgm import is_density
    >>> is_density(KernelDensity()), is_density(IsolationForest())
    (True, False)
    """
    estimator = last_step(estimator)
    if estimator == "passthrough":
        return False
    if get_tags(estimator).estimator_type == "density_estimator":
        return True
    return hasattr(estimator, "score_samples") and hasattr(estimator, "sample")


def is_generator(estimator: Any) -> bool:
    """Tell whether an estimator learns a distribution that it can sample from, whether it scores rows or not.

    Parameters
    ----------
    estimator : estimator instance
        Any scikit-learn estimator. Of a Pipeline, a search or a frozen estimator what stands at its end is asked.

    Returns
    -------
    bool
        True for the densities and generators of this package, but for those built on a density that cannot draw; for
        `KernelDensity` and for `GaussianMixture`.

    Examples
    --------
    >>> from sklearn.ensemble import IsolationForest
    >>> from sklearn.neighbors import KernelDensity
    >>> from sklearn_dgm import is_generator
    >>> is_generator(KernelDensity()), is_generator(IsolationForest())
    (True, False)
    """
    estimator = last_step(estimator)
    return hasattr(estimator, "fit") and hasattr(estimator, "sample")


def takes_tables(density):
    """Tell whether a density takes categories and times, and gives such back, or wants numbers alone.

    Parameters
    ----------
    density : estimator instance
        A density, or a pipeline or search that ends in one.

    Returns
    -------
    bool
        As its tags say.
    """
    tags = get_tags(last_step(density)).input_tags
    return tags.categorical or tags.string


def score_kind(estimator: Any) -> ScoreKind:
    """Return the score kind of a density: after a fit `score_kind_`, before it that of its tags.

    Parameters
    ----------
    estimator : estimator instance
        A density, or a pipeline or search that ends in one.

    Returns
    -------
    score_kind : {"exact", "lower bound", "estimate", "unnormalised", "none"}
        See :class:`DensityTags`.
    """
    last = last_step(estimator)
    return getattr(last, "score_kind_", None) or get_density_tags(last).score_kind


def worst_score_kind(
    densities: Iterable[Any], kind_of: Callable[[Any], ScoreKind] = score_kind
) -> ScoreKind:
    """Return the joint score kind of several densities.

    Parameters
    ----------
    densities : iterable of estimator instances
        Densities.
    kind_of : callable, default=score_kind
        The score kind of one of them.

    Returns
    -------
    score_kind : {"exact", "lower bound", "estimate", "unnormalised", "none"}
        The one of theirs that says least.
    """
    return max(map(kind_of, densities), key=SCORE_KINDS.index)


def require_normalised(estimators: Iterable[Any], who: str) -> None:
    """Refuse scores that are no log-densities, for whoever averages them or compares those of several models.

    Parameters
    ----------
    estimators : iterable of estimator instances
        Densities, fitted or not, or pipelines or searches that end in one.
    who : str
        Name of the function or estimator that asks.

    Raises
    ------
    TypeError
        If one of them is no estimator, or `estimators` is a single one.
    ValueError
        If the scores of one of them are unnormalised, or it has none.
    """
    if hasattr(estimators, "fit"):
        raise TypeError(f"estimators should be a list of densities, got {estimators!r} alone.")
    for estimator in estimators:
        _check_estimator(estimator)
        kind, name = score_kind(estimator), type(last_step(estimator)).__name__
        if kind == "none":
            what = "generates rows and has none" if is_generator(estimator) else "is no density"
            raise ValueError(f"{who} needs log-densities, but {name} {what}.")
        if kind == "unnormalised":
            raise ValueError(
                f"{who} needs log-densities, but the scores of {name} are unnormalised: a constant that is another "
                "one for each fitted model is unknown, so that they rank rows and compare with no other model's."
            )


def require_joint(estimators: Iterable[Any], who: str) -> None:
    """Refuse densities of some columns given others, for whoever needs that of all columns, or rows drawn from it.

    Parameters
    ----------
    estimators : iterable of estimator instances
        Densities, fitted or not, or pipelines or searches that end in one.
    who : str
        Name of the function or estimator that asks.

    Raises
    ------
    ValueError
        If one of them is conditional.
    """
    for estimator in estimators:
        if get_density_tags(estimator).conditional:
            raise ValueError(
                f"{who} needs a density of all columns, but {type(last_step(estimator)).__name__} has one of some columns given "
                "others; set given=None."
            )
