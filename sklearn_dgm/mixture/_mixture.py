"""The finite mixture as an estimator."""

import copy
from inspect import signature
from numbers import Integral, Real
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.metaestimators import available_if

from sklearn_dgm._callbacks import task_of_fit
from sklearn_dgm._nested.fitting import seeded
from sklearn_dgm._sklearn import HasMethods, Interval, StrOptions, fit_context, safe_indexing
from sklearn_dgm._typing import MatrixLike, RandomState
from sklearn_dgm._validation import check_generator, check_weights, restored_on_failure
from sklearn_dgm.base import COLUMN_PARAMS, BaseDensity, BaseEstimatedDensity
from sklearn_dgm.mixture._component_queries import ComponentQueriesMixin, has_closed_forms
from sklearn_dgm.mixture._densities import (
    DensityMixture,
    check_component,
    fit_densities,
    rows_to_start_from,
    schema_for,
)
from sklearn_dgm.mixture._finite import FiniteMixture
from sklearn_dgm.mixture._fitting import choose_alpha, fit_all
from sklearn_dgm.mixture._normals import Normals, normal_columns
from sklearn_dgm.mixture._parameters import MixtureParametersMixin
from sklearn_dgm.mixture._rows import WeightedRows, given_start
from sklearn_dgm.mixture._tables import ColumnTables
from sklearn_dgm.mixture._trees import ColumnTrees
from sklearn_dgm.tags import DensityTags, common_density_tags, worst_score_kind

# What components take that are named.
CLOSED_FORMS = DensityTags(missing=True, ties=True)


class MixtureDensity(MixtureParametersMixin, ComponentQueriesMixin, BaseEstimatedDensity):
    """Density from a finite mixture, fitted by expectation and maximisation.

    ``p(x) = sum_k w_k p(x | k)``. Given its component, or latent class, the columns of a row are independent of each
    other, each with a table of its cells (latent class analysis [1]_), or follow a tree, or its numbers are jointly
    normal, and categories and counts independent of these (a Gaussian mixture, extended to mixed columns). Scores,
    marginals, conditionals and rows with missing cells are exact. A component may also be any other density.

    Parameters
    ----------
    n_components : int, default=8
        Number of components.
    component : {"independent", "gaussian", "tree"} or density, default="independent"
        What a component is. "independent": a product of the columns; numbers are binned, as tables of
        :class:`~sklearn_dgm.BayesianNetworkDensity` bin them by default. "gaussian": numbers of continuous, rounded and
        mixed columns are jointly normal; categories, counts and the atoms of mixed columns have tables. "tree": cells
        as for "independent", but each column has another one as its parent, along the tree of highest likelihood in
        each component [5]_.
    covariance_type : {"full", "tied", "diag", "spherical", "factor"}, default="full"
        Form of the covariances, as :class:`sklearn.mixture.GaussianMixture` has them, of components that are
        "gaussian": free; one for all components; without correlations; with one variance for all columns, in units of
        their standard deviations; or that of `n_factors` factors and a variance beside these for each column, a
        mixture of factor analysers [2]_.
    n_factors : int, default=2
        Factors of each component, if the covariance is "factor"; at most one less than there are columns of numbers.
    alpha : "auto" or float, default="auto"
        How many rows of a component the table of all rows counts as, towards which its tables are drawn. "auto" chooses
        among 1, 3, 10 and 30 by a fifth of the rows.
    reg_covar : "auto" or float, default="auto"
        What is added to the variances of numbers, in the units of the table, squared. "auto" adds nothing and draws the
        covariance of a component towards that of all rows, of the size of one of so many components [3]_, which counts
        as two rows and, where columns have covariances, one more for each of them; and a component that loses all rows
        starts again, once.
    init : {"k-means++", "random"} or array-like of shape (n_samples, n_components), default="k-means++"
        Where to start: each row in the component of the nearest of some rows that are chosen far from each other;
        random responsibilities; or given ones, how much each row belongs to each component.
    n_init : int, default=1
        Number of starts, of which the best fit is kept; with given responsibilities, or a `warm_start`, there is one.
    max_iter : int, default=200
        Steps of expectation and maximisation at most. Of densities that take long to fit, fewer will do.
    tol : float, default=0.0001
        Change of the objective, in nats a row, below which to stop.
    warm_start : bool, default=False
        Whether `fit` starts from the responsibilities of the rows under the previous fit.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the starts.
    categorical_features : "from_dtype", array-like or None, default="from_dtype"
        Columns that hold categories, by dtype, name, index or mask; see :class:`~sklearn_dgm.columns.ColumnSchema`.
    integer_features : "from_dtype", array-like or None, default="from_dtype"
        Columns that hold counts, in the same form.
    column_kinds : dict, default=None
        Kinds of columns, by name or index, that overrule what dtypes and values say: "continuous", "rounded", "mixed",
        "integer" or "categorical"; see :class:`~sklearn_dgm.columns.ColumnSchema`.
    handle_unknown : {"impossible", "error", "rare"}, default="impossible"
        What a category that `fit` has not seen is; see :class:`~sklearn_dgm.columns.ColumnSchema`.

    Attributes
    ----------
    weights_ : ndarray of shape (n_components,)
        Shares of the components.
    tables_ : list of ndarray of shape (n_components, n_levels) or None
        For each column the probabilities of its cells (categories in the order of the schema, bins of numbers, atoms
        first) in each component; None where it has no table.
    estimators_ : list of estimators
        The fitted densities, None of a component without rows, if `component` is a density.
    parents_ : ndarray of int of shape (n_components, n_features_in_)
        Parent of each column in the tree of each component, -1 for roots, if components are trees.
    gaussian_features_ : ndarray of int of shape (n_numbers,)
        Columns whose numbers are normal.
    means_ : ndarray of shape (n_components, n_numbers)
        Their means, in the units of the table.
    covariances_ : ndarray
        Their covariances, in these units, of shape (n_components, n_numbers, n_numbers) if "full" or "factor",
        (n_numbers, n_numbers) if "tied"; if "diag" or "spherical" variances of shape (n_components, n_numbers).
    precisions_ : ndarray
        Inverses of the covariances, in the same form.
    alpha_ : float or None
        How many rows the tables of all rows count as; None without tables.
    n_parameters_ : int
        Number of free parameters, where components count theirs.
    lower_bound_ : float
        The objective of the best fit, in nats a row, and in units of the schema: the log-likelihood, and the
        log-density of the prior up to a constant.
    lower_bounds_ : list of ndarray of shape (n_steps + 1,)
        The objective after each step, of each start that led to a mixture. It does not fall, but with a `reg_covar`,
        where a component that has lost all rows starts again, or where components are densities that smooth.
    n_iter_ : int
        Number of steps of the best fit.
    converged_ : bool
        Whether the best fit stopped before `max_iter`.
    schema_ : ColumnSchema
        Kinds and scales of the columns.
    score_kind_ : {"exact", "lower bound", "estimate"}
        What `score_samples` returns: exact log-densities, but where a density as component has none.
    n_features_in_ : int
        Number of columns seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has string column names.

    See Also
    --------
    sklearn.mixture.GaussianMixture : The same model of columns of numbers, without weights and missing cells.
    AutoregressiveDensity : A density by networks, which takes longer to fit.

    Notes
    -----
    Cells may be missing, in `fit`, too: they are summed out [4]_; but the tables of trees are learnt from the rows that
    have both cells, so that the objective may fall then. A rounded number has the normal density at its value,
    and a standard deviation of at least a step of its grid, so that the densities of all values sum to one.

    A script with :class:`~sklearn.mixture.GaussianMixture` needs one other line: ``GaussianMixture(3)`` is about
    ``MixtureDensity(3, "gaussian", reg_covar=1e-6, column_kinds=...)``, with each column "continuous" where values
    repeat in the table; `score` is a sum here, `sample` returns rows alone, and `init` takes responsibilities in place
    of `weights_init`, `means_init` and `precisions_init`.

    **Densities as components** are fitted by generalised expectation and maximisation: every step fits them anew, or
    lets those with a parameter `warm_start` go on by five epochs. They say themselves what the columns are, by their
    own parameters, and share what all rows say of these. Cells may be missing, there are marginals and conditionals,
    where there are in the density; not for what is built on densities, such as an
    :class:`~sklearn_dgm.EnsembleDensity`. `covariance_type`, `n_factors`, `alpha` and `reg_covar` are for the
    components that have names. Of kernel densities with one bandwidth any mixture is that of all rows.

    Equal rows are taken together before the fit, so that it depends neither on the order of the rows nor on whether one
    is repeated or has a weight.

    References
    ----------
    .. [1] J. K. Vermunt, J. Magidson, "Latent class cluster analysis", in Applied Latent Class Analysis, Cambridge
       University Press, 2002, https://doi.org/10.1017/CBO9780511499531.004
    .. [2] Z. Ghahramani, G. E. Hinton, "The EM algorithm for mixtures of factor analyzers", University of Toronto, 1996
    .. [3] C. Fraley, A. E. Raftery, "Bayesian regularization for normal mixture estimation and model-based clustering",
       Journal of Classification 24 (2007), https://doi.org/10.1007/s00357-007-0004-5
    .. [4] Z. Ghahramani, M. I. Jordan, "Supervised learning from incomplete data via an EM approach", NIPS 1994
    .. [5] M. Meila, M. I. Jordan, "Learning with mixtures of trees", Journal of Machine Learning Research 1 (2000)

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_dgm import MixtureDensity
    >>> iris = load_iris(as_frame=True).data
    >>> density = MixtureDensity(3, component="gaussian", random_state=0).fit(iris)
    >>> density.weights_.round(2), density.predict(iris.iloc[[0, 60]]).shape
    (array([0.34, 0.33, 0.32]), (2,))

    A row with a missing cell has a score, too, and the cell an expectation:

    >>> row = iris.iloc[[0]].assign(**{"petal length (cm)": None}).astype(float)
    >>> density.conditional_mean(row)["petal length (cm)"].round(1).tolist()
    [1.4]
    """

    _parameter_constraints: dict = {
        **BaseDensity._parameter_constraints,
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "component": [
            StrOptions({"independent", "gaussian", "tree"}),
            HasMethods(["fit", "score_samples"]),
        ],
        "covariance_type": [StrOptions({"full", "tied", "diag", "spherical", "factor"})],
        "n_factors": [Interval(Integral, 1, None, closed="left")],
        "alpha": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "reg_covar": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "init": [StrOptions({"k-means++", "random"}), "array-like"],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "warm_start": ["boolean"],
        "random_state": ["random_state", np.random.Generator],
        "handle_unknown": [StrOptions({"impossible", "error", "rare"})],
    }

    def __init__(
        self,
        n_components: int = 8,
        component: Any = "independent",
        *,
        covariance_type: Literal["full", "tied", "diag", "spherical", "factor"] = "full",
        n_factors: int = 2,
        alpha: Literal["auto"] | float = "auto",
        reg_covar: Literal["auto"] | float = "auto",
        init: Any = "k-means++",
        n_init: int = 1,
        max_iter: int = 200,
        tol: float = 1e-4,
        warm_start: bool = False,
        random_state: RandomState = None,
        categorical_features: Any = "from_dtype",
        integer_features: Any = "from_dtype",
        column_kinds: dict[Any, Any] | None = None,
        handle_unknown: Literal["impossible", "error", "rare"] = "impossible",
    ) -> None:
        super().__init__(
            categorical_features=categorical_features,
            integer_features=integer_features,
            column_kinds=column_kinds,
        )
        self.n_components = n_components
        self.component = component
        self.covariance_type = covariance_type
        self.n_factors = n_factors
        self.alpha = alpha
        self.reg_covar = reg_covar
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.warm_start = warm_start
        self.random_state = random_state
        self.handle_unknown = handle_unknown

    @property
    def _density_tags(self):
        if isinstance(self.component, str):
            return CLOSED_FORMS
        try:
            return common_density_tags([self.component])
        except (AttributeError, TypeError, ValueError):  # no density, which fit will say
            return DensityTags(column_kinds=())

    @property
    def _n_subtasks(self):
        return 0 if has_closed_forms(self) else None

    def _make_schema(self):
        if isinstance(self.component, str):
            return super()._make_schema()
        check_component(self.component)
        for name in COLUMN_PARAMS:
            default = getattr(signature(MixtureDensity).parameters.get(name), "default", None)
            value = getattr(self, name, None)
            if value is not default and not (isinstance(value, str) and value == default):
                raise ValueError(
                    f"{name} should stay {default!r}, since component={self.component!r} says what the columns are; "
                    "set its own parameters."
                )
        return schema_for(self.component)

    def _fit_or_restore(self, X, sample_weight, schema):
        with restored_on_failure(self):
            start = self._given_start(X)
            Z, weight = self._start_fit(X, sample_weight, schema=schema)
            kept = slice(None) if weight is None else check_weights(X, sample_weight) > 0
            start = None if start is None else start[kept]
            if isinstance(self.component, str):
                self._fit(Z, weight, start)
            else:
                X = self._validate(X, reset=False)
                X = X if weight is None else safe_indexing(X, np.flatnonzero(kept))
                self._fit_densities(X, Z, weight, start)
        return self

    def _check_n_components(self, n_fitted, what):
        if n_fitted != self.n_components:
            raise ValueError(
                f"{what} continues a fit of {n_fitted} components, but n_components={self.n_components}."
            )

    def _given_start(self, X):
        """Return responsibilities to start from, of shape (n_samples, n_components), or None."""
        if self.warm_start and hasattr(self, "_mixture"):
            self._check_n_components(len(self.weights_), "warm_start")
            try:
                return self.predict_proba(X)
            except ValueError as error:
                raise ValueError(
                    f"warm_start goes on from the previous fit, which does not take these rows: {error}"
                ) from error
        return None if isinstance(self.init, str) else given_start(self.init, X, self.n_components)

    def _starts(self, columns, rows, rng):
        """Return the rows with responsibilities to start from, of each start."""
        if rows.start is not None:
            return [rows]
        return [
            rows.started(columns, self.init, self.n_components, rng) for _ in range(self.n_init)
        ]

    def _fit(self, Z, sample_weight, start=None):
        rows = WeightedRows.of(Z, sample_weight, start)
        mixture, rng = self._layout(rows), check_generator(self.random_state)
        starts = self._starts(self.schema_.columns_, rows, rng)
        if mixture.tables is not None:
            is_auto = self.alpha == "auto"
            mixture.tables.alpha = (
                choose_alpha(mixture, starts[0], self.max_iter, self.tol)
                if is_auto
                else float(self.alpha)
            )
        self._keep_best(fit_all(mixture, starts, self.max_iter, self.tol))

    def _fit_densities(self, X, Z, sample_weight, start):
        columns, Z = rows_to_start_from(self.schema_, X, Z)
        rows = WeightedRows.of(Z, sample_weight, start)
        X, rng = safe_indexing(X, rows.first), check_generator(self.random_state)
        fits = []
        for started in self._starts(columns, rows, rng):
            densities = [seeded(self.component, rng) for _ in range(self.n_components)]
            fits.append(
                fit_densities(
                    densities, self.schema_, X, started, self.max_iter, self.tol, task_of_fit(self)
                )
            )
        self._keep_best(fits)
        self.score_kind_ = worst_score_kind([d for _, d in self._mixture.fitted])

    def _keep_best(self, fits):
        """Keep the fit of the highest objective, and what became of the others."""
        self.lower_bounds_ = [objectives for _, objectives in fits]
        best = int(np.argmax([objectives[-1] for objectives in self.lower_bounds_]))
        self._mixture, objectives = fits[best]
        self.lower_bound_ = float(objectives[-1])
        self.n_iter_ = len(objectives) - 1
        self.converged_ = bool(abs(objectives[-1] - objectives[-2]) < self.tol)

    def _layout(self, rows):
        """Return a mixture that says which columns have tables, and which are normal."""
        columns = self.schema_.columns_
        of_gaussian = self.component == "gaussian"
        numbers = normal_columns(columns, rows.Z, rows.weight) if of_gaussian else []
        tabled = [j for j, c in enumerate(columns) if j not in numbers or c.atoms is not None]
        tables = normals = None
        if self.component == "tree":
            tables = ColumnTrees(columns, rows.Z, rows.weight, self.n_components)
        elif tabled:
            tables = ColumnTables(
                columns, tabled, of_gaussian, rows.Z, rows.weight, self.n_components
            )
        if numbers:
            normals = Normals(
                columns,
                numbers,
                rows.Z,
                rows.weight,
                self.n_components,
                self.covariance_type,
                self.n_factors,
                self.reg_covar,
            )
        return FiniteMixture(self.n_components, tables, normals)

    @available_if(has_closed_forms)
    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self, X: MatrixLike, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Add further rows, each by how probable the components are for it under the model so far.

        The first call is a :meth:`fit`, of which `lower_bound_`, `n_iter_` and `converged_` remain, and settles the
        cells of tables; later ones add expected counts, in one step.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows to add.
        y : None
            Ignored, present for API consistency by convention.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights.

        Returns
        -------
        self : estimator
            The model of all rows so far.

        Raises
        ------
        ValueError
            If the columns are not those of the first call, `n_components` has changed, or a value is infinite; nothing
            is added then.
        """
        if not hasattr(self, "_mixture"):
            return self._fit_or_restore(X, sample_weight, None)
        self._check_n_components(len(self._mixture.weights), "partial_fit")
        with restored_on_failure(self):
            Z, sample_weight = self._start_fit(X, sample_weight, reset=False)
            weight = np.ones(len(Z)) if sample_weight is None else np.asarray(sample_weight)
            shares = np.exp(self._mixture.log_posterior_of(Z)) * weight[:, None]
            mixture = copy.deepcopy(self._mixture)
            mixture.learn(mixture.counts.plus(mixture.count(mixture.prepare(Z), shares)))
            self._mixture = mixture
        return self

    def fit_predict(
        self, X: MatrixLike, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> NDArray[np.intp]:
        """Fit the mixture, and return the most probable component of each row.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows.
        y : None
            Ignored, present for API consistency by convention.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights.

        Returns
        -------
        component : ndarray of int of shape (n_samples,)
            Numbers of components, from 0 on.
        """
        return self.fit(X, sample_weight=sample_weight).predict(X)

    def _log_density_and_std(self, Z):
        return self._mixture.log_prob_and_std(Z)

    def _draw(self, n_samples, rng):
        if isinstance(self._mixture, DensityMixture):
            return self._mixture.draw(n_samples, rng)
        d = len(self.schema_.columns_)
        return self._mixture.fill(
            np.full((n_samples, d), np.nan), rng.random((n_samples, 2 * d + 1))
        )
