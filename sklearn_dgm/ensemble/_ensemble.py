"""A mixture of densities of any kind, whose weights say how far each is to be trusted."""

from dataclasses import dataclass
from numbers import Integral
from typing import Any, Self

import numpy as np
from sklearn.utils import Bunch

from sklearn_dgm._choice import folds_to_choose_by, suitable_densities
from sklearn_dgm._nested.checks import check_densities, check_pairs, is_dropped
from sklearn_dgm._nested.fitting import learn_schema, seeded
from sklearn_dgm._nested.held_out import (
    fit_densities,
    folds_of,
    held_out_log_densities,
)
from sklearn_dgm._nested.meta import BaseMetaDensity
from sklearn_dgm._nested.rows import TableView, check_cells, schema_of_numbers
from sklearn_dgm._nested.scores import scores_and_std, scores_of_mixture
from sklearn_dgm._sklearn import Interval, NamedEstimatorsMixin, StrOptions, safe_indexing
from sklearn_dgm._typing import RandomState
from sklearn_dgm._validation import check_generator
from sklearn_dgm.columns import ColumnSchema, stacked
from sklearn_dgm.ensemble._stacking import stacking_weights
from sklearn_dgm.tags import DensityTags, last_step, with_density_tags

# A member that was chosen by the ensemble is not worth its fit and its scores with a smaller weight.
LEAST_WEIGHT = 0.01


@dataclass(frozen=True)
class EnsembleSchema:
    """What members are told of the columns.

    Attributes
    ----------
    numbers : ColumnSchema or None
        The way from a table to the numbers that some of the members want.
    members : dict
        By name what a member is to be told, None where it learns nothing of the kind.
    chosen : list of tuple, default=None
        Names and members, if the table chooses them.
    """

    numbers: ColumnSchema | None
    members: dict[str, Any]
    chosen: list[tuple[str, Any]] | None = None


class EnsembleDensity(BaseMetaDensity, NamedEstimatorsMixin):
    """Mixture of different densities, weighted by what they say of held-out rows.

    The density of a row is the weighted mean of its densities under the members, such as a kernel density, a histogram
    and a network. The default weights, by stacking [1]_ [2]_, maximise the likelihood of rows that were held out in
    cross-validation, where the mixture is at least as likely as its best member.

    Without any densities, it tries those that suit the kinds of the columns: ``EnsembleDensity()`` is the density for a
    table of which nothing is known.

    Parameters
    ----------
    estimators : list of tuple, default=None
        Names and densities, as in :class:`sklearn.ensemble.VotingClassifier`. One that is "drop" is left out, which
        :meth:`set_params` can do, too. Searches over a density are taken, pipelines are not: see the notes. None is
        for densities of this package that suit the table.
    weights : {"stacking", "equal"} or array-like of shape (n_estimators,), default="stacking"
        How the weights are found; or the weights themselves, which are scaled to a sum of 1. Those of dropped densities
        do not count.
    cv : "auto", int, cross-validation generator or iterable, default="auto"
        How rows are held out for stacking, each of them once. With an int, they are shuffled into so many folds. "auto"
        takes of five folds as many as hold out 500 rows: one, beyond 2,500 rows.
    max_members : int, default=None
        How many densities are tried at most, if `estimators` is None: the network comes first, then what is fitted in
        seconds, then what is not. None tries all that suit the table, which are three to seven. Each is fitted once for
        each fold, and once more if it has a weight.
    n_jobs : int, default=None
        Number of densities fitted at the same time; None is 1, -1 all processors. The result does not depend on it.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the folds, and of those members whose own `random_state` is None.

    Attributes
    ----------
    estimators_ : list of estimators
        The members, fitted to all rows.
    named_estimators_ : :class:`~sklearn.utils.Bunch`
        The same by name; "drop" where one is left out, or has been tried in vain.
    weights_ : ndarray of shape (n_members,)
        Their weights, which are not negative and sum to 1.
    cv_log_likelihood_ : ndarray of shape (n_members,)
        Mean log-density of held-out rows under each member, in nats per row, by which stacking chose; `-inf` of one
        that calls a row impossible. Only with ``weights="stacking"``.
    schema_ : ColumnSchema
        Kinds of the columns, as the first member has them that knows of kinds.
    score_kind_ : {"exact", "lower bound", "estimate"}
        What `score_samples` returns: the weakest that a member has.
    n_features_in_ : int
        Number of columns seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has string column names.

    See Also
    --------
    sklearn_dgm.metrics.compare_densities : Whether differences between densities are real.

    Notes
    -----
    The members have to be densities on one reference measure. The densities of scikit-learn take every column for
    continuous, those of this package count integers and categories. Where members differ, `fit` raises an error that
    names the column, and ``integer_features=None`` or `column_kinds` makes them agree. Conditional members have to be
    given the same columns, and so is the mixture. A pipeline with a scaler has a density per standard deviation, not
    per unit of X, so that it is an error, too; use :class:`~sklearn_dgm.TransformedDensity` in its place.

    Stacking weights are found by expectation and maximisation. A row that every member calls impossible has no say
    in them. A member that was fitted beforehand (:class:`~sklearn.frozen.FrozenEstimator`) gets too much weight if it
    has seen the rows.

    Categories and times go to the members that take them; the others are given numbers. Weights of rows count in
    stacking, and in the fits of the members that take such; :class:`~sklearn.mixture.GaussianMixture` does not, and
    sees all rows of a positive weight alike. How many rows of a sample are of which member is drawn by `weights_`; they
    are in random order.

    References
    ----------
    .. [1] P. Smyth, D. Wolpert, "Stacked density estimation", Advances in Neural Information Processing Systems 10
       (1998)
    .. [2] P. Smyth, D. Wolpert, "Linearly combining density estimators via stacking", Machine Learning 36 (1999),
       https://doi.org/10.1023/A:1007511322260

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.mixture import GaussianMixture
    >>> from sklearn.neighbors import KernelDensity
    >>> from sklearn_dgm import EnsembleDensity
    >>> X = load_iris().data
    >>> members = [("kernel", KernelDensity(bandwidth=0.3)), ("mixture", GaussianMixture(3))]
    >>> ensemble = EnsembleDensity(members, random_state=0).fit(X)
    >>> ensemble.cv_log_likelihood_.round(1), ensemble.weights_.round(1)
    (array([-2.2, -1.6]), array([0.1, 0.9]))
    >>> ensemble.score_samples(X).shape, ensemble.sample(5, random_state=0).shape
    ((150,), (5, 4))
    """

    _parameter_constraints: dict = {
        "estimators": [list, None],
        "weights": [StrOptions({"stacking", "equal"}), "array-like"],
        "cv": [StrOptions({"auto"}), "cv_object"],
        "max_members": [Interval(Integral, 1, None, closed="left"), None],
        "n_jobs": [None, Integral],
        "random_state": ["random_state", np.random.Generator],
    }

    def __init__(
        self,
        estimators: list[Any] | None = None,
        *,
        weights: Any = "stacking",
        cv: Any = "auto",
        max_members: int | None = None,
        n_jobs: int | None = None,
        random_state: RandomState = None,
    ) -> None:
        self.estimators = estimators
        self.weights = weights
        self.cv = cv
        self.max_members = max_members
        self.n_jobs = n_jobs
        self.random_state = random_state

    def get_params(self, deep: bool = True) -> dict[Any, Any]:
        """Return the parameters of the ensemble and of its members.

        Parameters
        ----------
        deep : bool, default=True
            Whether the members and their parameters are among them, under their names.

        Returns
        -------
        params : dict
            Values by name.
        """
        if self.estimators is None:
            return super().get_params(deep=deep)
        return self._params_with_named("estimators", deep)

    def set_params(self, **params: Any) -> Self:
        """Set parameters of the ensemble, of members (``kernel__bandwidth=0.2``), or whole members (``kernel="drop"``).

        Parameters
        ----------
        **params : dict
            Values by name.

        Returns
        -------
        self : estimator
            The ensemble.
        """
        if params.get("estimators", self.estimators) is None:
            return super().set_params(**params)
        self._set_params_of_named("estimators", params)
        return self

    @property
    def _n_subtasks(self):
        return 1 + (isinstance(self.weights, str) and self.weights == "stacking")

    def _members(self):
        if self.estimators is None:
            found = getattr(self, "named_estimators_", {})
            return [(name, one) for name, one in found.items() if not is_dropped(one)]
        return [pair for pair in self.estimators if not is_dropped(pair[1])]

    def _check_members(self):
        if self.estimators is None:
            if not isinstance(self.weights, str):
                raise ValueError("weights should be 'stacking' or 'equal' if estimators is None.")
            return
        check_pairs(self.estimators)
        self._check_names([name for name, _ in self.estimators])
        if not self._members():
            raise ValueError("estimators should hold at least one density that is not dropped.")
        check_densities(self._members(), "EnsembleDensity")
        self._given_weights(self._members())

    def _weighted(self, X, sample_weight):
        # Members that take no weights see all rows alike, and folds are told by all rows.
        return X, sample_weight

    def _learn_schema(self, X, sample_weight):
        chosen, members = None, self._members()
        if self.estimators is None:
            chosen = members = suitable_densities(X, sample_weight)[: self.max_members]
        view = TableView.of([density for _, density in members], X, sample_weight)
        of_members = {
            name: learn_schema(density, view.rows_for(density, X), sample_weight)
            for name, density in members
        }
        learns = any(schema is not None for schema in of_members.values())
        return EnsembleSchema(view.numbers, of_members, chosen) if learns else None

    def _fit_within(self, X, sample_weight, schema, task):
        if schema is None and self.estimators is None:
            schema = self._learn_schema(X, sample_weight)
        members = self._members_told(schema)
        rng = check_generator(self.random_state)
        named = [(name, seeded(density, rng)) for name, density in members]
        given = self._given_weights(members)
        folds = self._folds(X, rng) if given is None else []
        if sample_weight is not None:
            X, folds, sample_weight = _without_weight_zero(X, folds, sample_weight)
        densities = [density for _, density in members]
        check_cells(densities, X)
        if schema is None:
            schema = EnsembleSchema(schema_of_numbers(densities, X), {})
        self._view, schemas = TableView.by(schema.numbers, X), schema.members
        if given is None:
            named, given = self._stack(named, X, folds, schemas, sample_weight, task)
        elif hasattr(self, "cv_log_likelihood_"):
            del self.cv_log_likelihood_
        self.estimators_ = fit_densities(
            named, X, self._view, schemas, sample_weight, self.n_jobs, task
        )
        self.weights_ = given
        fitted = dict(zip([name for name, _ in named], self.estimators_, strict=True))
        names = [name for name, _ in self.estimators or members]
        self.named_estimators_ = Bunch(**{name: fitted.get(name, "drop") for name in names})
        kinds = [getattr(last_step(density), "schema_", None) for density in self.estimators_]
        self.schema_ = next((schema for schema in kinds if schema is not None), self._view.numbers)

    def _members_told(self, schema):
        """Return the members that a schema is of, if there is one."""
        chooses = self.estimators is None
        members = getattr(schema, "chosen", None) if chooses else self._members()
        is_of_them = isinstance(schema, EnsembleSchema) and members is not None
        if schema is not None and not (
            is_of_them and [*schema.members] == [name for name, _ in members]
        ):
            raise ValueError(
                "schema should be what learn_schema of an ensemble with the same parameters returns."
            )
        return members

    def _folds(self, X, rng):
        return folds_to_choose_by(X, rng) if isinstance(self.cv, str) else folds_of(self.cv, X, rng)

    def _stack(self, named, X, folds, schemas, sample_weight, task):
        """Return the members that are worth it, and their weights."""
        log_density, *_ = held_out_log_densities(
            named, X, self._view, folds, schemas, sample_weight, self.n_jobs, task
        )
        if sample_weight is not None:
            sample_weight = sample_weight[np.sort(np.concatenate([test for _, test in folds]))]
        weights = stacking_weights(log_density, sample_weight)
        means = np.average(log_density, axis=0, weights=sample_weight)
        is_kept = np.full(len(named), True)
        if self.estimators is None:
            is_kept = weights >= LEAST_WEIGHT
            weights = stacking_weights(log_density[:, is_kept], sample_weight)
        self.cv_log_likelihood_ = means[is_kept]
        return [one for one, kept in zip(named, is_kept, strict=True) if kept], weights

    def _given_weights(self, members):
        """Return the weights of the members that are not dropped, None for stacking."""
        if isinstance(self.weights, str):
            n = len(members)
            return None if self.weights == "stacking" else np.full(n, 1 / n)
        kept = np.array([not is_dropped(density) for _, density in self.estimators])
        weights = np.asarray(self.weights, dtype=np.float64)
        if weights.shape != kept.shape:
            raise ValueError(
                f"weights should be one number for each of {len(kept)} estimators, got {self.weights!r}."
            )
        weights = weights[kept]
        if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any()):
            raise ValueError(
                f"weights should be finite, not negative, and not all zero, got {self.weights!r}."
            )
        return weights / weights.sum()

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        if self.estimators is None and not hasattr(self, "estimators_"):
            return with_density_tags(tags, DensityTags(missing=True, ties=True))
        return tags

    def _score_rows(self, X):
        log_terms, std = [], []
        for weight, density in zip(self.weights_, self.estimators_, strict=True):
            if weight > 0:
                with np.errstate(over="ignore"):  # of a point far away, which is an impossible one
                    found = scores_and_std(density, self._view.rows_for(density, X))
                log_terms.append(np.log(weight) + found[0])
                std.append(found[1])
        log_density, std = scores_of_mixture(log_terms, std)
        return log_density.astype(np.float64, copy=False), std

    def _sample_rows(self, n_samples, rng):
        counts = rng.multinomial(n_samples, self.weights_)
        drawn = [
            self._view.draw(last_step(density), count, rng)
            for density, count in zip(self.estimators_, counts, strict=True)
            if count
        ]
        return stacked(drawn, rng.permutation(n_samples))


def _without_weight_zero(X, folds, sample_weight):
    """Return the rows of a positive weight, what is left of the folds, and their weights."""
    kept = sample_weight > 0
    place = np.cumsum(kept) - 1
    folds = [tuple(place[rows[kept[rows]]] for rows in fold) for fold in folds]
    folds = [(train, test) for train, test in folds if len(test)]
    if not all(len(train) for train, _ in folds):
        raise ValueError(
            "sample_weight leaves a fold of cv no rows to fit to; use fewer folds, or weights='equal'."
        )
    return safe_indexing(X, np.flatnonzero(kept)), folds, sample_weight[kept]
