"""Imputation by a density: missing cells are filled with what the density says of them, given the others."""

from typing import Any, Literal, Self

import numpy as np
from sklearn.base import (
    BaseEstimator,
    MetaEstimatorMixin,
    OneToOneFeatureMixin,
    TransformerMixin,
    clone,
)
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from sklearn_dgm._callbacks import CallbackSupportMixin
from sklearn_dgm._choice import best_density, suitable_densities
from sklearn_dgm._nested.fitting import fit_density, meta_fit_task
from sklearn_dgm._sklearn import HasMethods, StrOptions, fit_context
from sklearn_dgm._typing import MatrixLike, RandomState
from sklearn_dgm._validation import check_count, check_generator, validate_table
from sklearn_dgm.chunks import check_in_memory
from sklearn_dgm.columns import check_container, is_table
from sklearn_dgm.persistence import SaveMixin
from sklearn_dgm.tags import get_density_tags, unwrapped

METHODS = {"draw": "conditional_sample", "mean": "conditional_mean", "mode": "conditional_mode"}


class DensityImputer(
    CallbackSupportMixin,
    OneToOneFeatureMixin,
    TransformerMixin,
    SaveMixin,
    MetaEstimatorMixin,
    BaseEstimator,
):
    """Fill in missing cells with draws from a density, or with what it expects.

    It stands where :class:`sklearn.impute.IterativeImputer` stands, and also takes tables of numbers, counts,
    categories and times, which come back with their dtypes.

    Parameters
    ----------
    estimator : estimator, default=None
        A density that can condition, such as :class:`~sklearn_dgm.AutoregressiveDensity`, or a search over one. None
        tries those that suit the table, on 20,000 rows at most, and takes the one under which rows that it has not seen
        are most likely.
    strategy : {"draw", "mean", "mode"}, default="draw"
        What a missing cell becomes: a draw given the observed cells of its row, which leaves the distribution of the
        table as it is, or its expectation (of a category the most probable one), which is closest to the truth but
        makes columns less variable and more dependent than they are; or, with "mode", all missing cells of a row
        together become the most probable of their completions. Whole numbers stay whole.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the draws; a density that is given has its own. With an int, two calls of `transform` give the same.

    Attributes
    ----------
    estimator_ : estimator
        The fitted density.
    n_features_in_ : int
        Number of columns seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has string column names.

    See Also
    --------
    sklearn.impute.IterativeImputer : Regressions of each column on the others, in turns.

    Notes
    -----
    What is estimated from a table that was filled in once looks more certain than it is. Estimate it from several
    imputations, as :meth:`multiple_impute` gives them, and combine the estimates by Rubin's rules [1]_.

    References
    ----------
    .. [1] D. B. Rubin, "Multiple Imputation for Nonresponse in Surveys", Wiley 1987,
       https://doi.org/10.1002/9780470316696

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_dgm import AutoregressiveDensity, DensityImputer
    >>> x = np.random.default_rng(0).normal(size=300)
    >>> X = np.column_stack([x, 10 * x])
    >>> X[::3, 1] = np.nan
    >>> density = AutoregressiveDensity((16,), n_orders=2, max_epochs=3, random_state=0)
    >>> imputer = DensityImputer(density, strategy="mean").fit(X)
    >>> imputer.transform([[1.0, np.nan], [1.0, 7.0]]).round()
    array([[ 1., 10.],
           [ 1.,  7.]])
    """

    _parameter_constraints: dict = {
        "estimator": [HasMethods("fit"), None],
        "strategy": [StrOptions({*METHODS})],
        "random_state": ["random_state", np.random.Generator],
    }

    def __init__(
        self,
        estimator: Any = None,
        *,
        strategy: Literal["draw", "mean", "mode"] = "draw",
        random_state: RandomState = None,
    ) -> None:
        self.estimator = estimator
        self.strategy = strategy
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: MatrixLike, y: Any = None) -> Self:
        """Fit the density to rows, the missing cells left out.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows to learn from.
        y : None
            Ignored, present for API consistency by convention.

        Returns
        -------
        self : estimator
            The fitted imputer.

        Raises
        ------
        TypeError
            If the estimator cannot condition as `strategy` asks, or takes no missing cells.
        ValueError
            If all values of a column are missing, or the density cannot be fitted to X.
        """
        if self.estimator is not None:
            self._check_conditions(self.estimator)
            if get_density_tags(self.estimator).sequences and not is_table(X):
                raise ValueError(
                    "DensityImputer fills in the cells of a table, but the rows of X are sequences; ask "
                    f"{METHODS[self.strategy]} of the density for what is missing of them."
                )
        check_in_memory(self, X, reset=True)
        with meta_fit_task(self, X, y, n_subtasks=1 + (self.estimator is None)) as task:
            if is_table(X):
                check_container(X)
            density = self._chosen(X, task) if self.estimator is None else clone(self.estimator)
            fitted = fit_density(density, X, task=task.subtask("fit density"))
            schema = getattr(unwrapped(fitted), "schema_", None)
            for column in schema.columns_ if schema else []:
                if column.empty:
                    raise ValueError(
                        f"{column.where} has no observed value to impute from; drop it."
                    )
            validate_table(self, X, reset=True)
            self.estimator_ = fitted
        return self

    def _chosen(self, X, task):
        """Choose the density, of those that fill in what is missing."""
        X = validate_table(self, X, reset=True)
        able = [
            (name, density)
            for name, density in suitable_densities(X)
            if get_tags(density).input_tags.allow_nan
        ]
        return best_density(able, X, check_generator(self.random_state), task)

    def _check_conditions(self, estimator):
        """Refuse what cannot fill in any missing cells."""
        density = unwrapped(estimator)
        name = type(density).__name__
        for method in ("conditional_sample", METHODS[self.strategy]):
            if not hasattr(density, method):
                raise TypeError(
                    f"estimator should be a density that has {method}, such as AutoregressiveDensity; {name} has none."
                )
        if not get_tags(density).input_tags.allow_nan:
            raise TypeError(
                f"estimator should be a density that takes missing cells, such as AutoregressiveDensity; {name} does not."
            )

    def transform(self, X: MatrixLike) -> MatrixLike:
        """Fill in the missing cells.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        completed : {ndarray, DataFrame} of shape (n_samples, n_features)
            The rows, in the container and with the dtypes seen in `fit`. Observed cells are as given.

        Raises
        ------
        ValueError
            If the columns are not those of `fit`, or the observed cells of a row have density 0.
        """
        density = self._check(X)
        seed = {"random_state": self.random_state} if self.strategy == "draw" else {}
        return getattr(density, METHODS[self.strategy])(X, **seed)

    def multiple_impute(self, X: MatrixLike, n_imputations: int = 5) -> MatrixLike:
        """Fill in the missing cells several times, by independent draws whatever the strategy.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows.
        n_imputations : int, default=5
            Number of imputations.

        Returns
        -------
        imputations : list of {ndarray, DataFrame}
            Completed tables, as `transform` gives them with ``strategy="draw"``.

        Raises
        ------
        ValueError
            If `n_imputations` is not a positive integer, and as `transform` does.
        """
        density = self._check(X)
        check_count(n_imputations, "n_imputations")
        rng = check_generator(self.random_state)
        return [density.conditional_sample(X, random_state=rng) for _ in range(n_imputations)]

    def _check(self, X):
        check_is_fitted(self)
        check_in_memory(self, X, reset=False)
        validate_table(self, X, reset=False)
        return unwrapped(self.estimator_)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        if self.estimator is None:
            of = tags.input_tags
            of.allow_nan = of.categorical = of.string = True
        else:
            tags.input_tags = get_tags(self.estimator).input_tags
        tags.non_deterministic = self.strategy == "draw" and self.random_state is None
        tags.transformer_tags.preserves_dtype = []
        return tags
