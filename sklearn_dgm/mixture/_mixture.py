"""The finite mixture as an estimator."""

from dataclasses import replace
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sklearn_dgm._sklearn import HasMethods, Interval, StrOptions
from sklearn_dgm._typing import MatrixLike, RandomState
from sklearn_dgm.base import BaseDensity, BaseEstimatedDensity
from sklearn_dgm.mixture._component_queries import ComponentQueriesMixin, has_closed_forms
from sklearn_dgm.mixture._densities import (
    DensityMixture,
    check_columns_untold,
    check_component,
    schema_for,
)
from sklearn_dgm.mixture._learning import MixtureLearningMixin
from sklearn_dgm.mixture._parameters import MixtureParametersMixin
from sklearn_dgm.tags import DensityTags, common_density_tags

# What components take that are named.
CLOSED_FORMS = DensityTags(missing=True, ties=True)


class MixtureDensity(
    MixtureLearningMixin, MixtureParametersMixin, ComponentQueriesMixin, BaseEstimatedDensity
):
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
        as two rows and, where columns have covariances, one more for each of them, or as less than that, down to a
        thousandth, if a fifth of the rows say so (which takes several times as long as a fit); and a component that
        loses all rows starts again, once.
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
    have both cells, so that the objective may fall then, and which cells are missing should not depend on the others. A
    rounded number has the normal density at its value, and a standard deviation of at least a step of its grid, so that
    the densities of all values sum to one. Two neighbouring whole numbers, such as 0 and 1, are two categories whatever
    their dtype: there are no others.

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

    Components in closed form learn from tables that are read a chunk at a time, too: all starts, and the choice of
    `alpha` and of the prior of covariances, are those of a sample of 131,072 rows. From the best fit of the sample
    expectation and maximisation goes on, with a pass over all rows for each step, of which `lower_bounds_`, `n_iter_`
    and `converged_` tell. Cells of tables, and the covariance that those of components are drawn towards, remain those
    of the sample.

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
    >>> density.weights_.round(1), density.predict(iris.iloc[[0, 60]]).shape
    (array([0.3, 0.3, 0.4]), (2,))

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
    _shape_params = (
        "n_components",
        "component",
        "covariance_type",
        "n_factors",
        "alpha",
        "reg_covar",
    )

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
            of_component = common_density_tags([self.component])
            # Components start from clusters of a table.
            return replace(of_component, sequences=False, sparse=False)
        except (AttributeError, TypeError, ValueError):  # no density, which fit will say
            return DensityTags(column_kinds=())

    @property
    def _n_subtasks(self):
        return 0 if has_closed_forms(self) else None

    def _make_schema(self):
        if isinstance(self.component, str):
            return super()._make_schema()
        check_component(self.component)
        check_columns_untold(self, "component")
        return schema_for(self.component)

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
        return self._mixture.draw(n_samples, len(self.schema_.columns_), rng)
