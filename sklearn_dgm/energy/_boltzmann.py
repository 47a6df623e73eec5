"""The restricted Boltzmann machine as an estimator."""

import copy
from numbers import Integral
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from sklearn_dgm._sklearn import Interval
from sklearn_dgm._typing import MatrixLike, RandomState
from sklearn_dgm._validation import check_generator
from sklearn_dgm.energy._base import BaseBoltzmannDensity, encoded_to_score
from sklearn_dgm.energy._contrastive import ContrastiveDivergence, initial_machine
from sklearn_dgm.energy._marginals import hidden_means, log_marginals
from sklearn_dgm.energy._partition import draw_features
from sklearn_dgm.energy._pseudo import pseudo_log_likelihoods
from sklearn_dgm.tags import DensityTags


class RestrictedBoltzmannDensity(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseBoltzmannDensity
):
    """Density from a restricted Boltzmann machine, trained by persistent contrastive divergence.

    ``p(x) = sum_h exp(-E(x, h)) / Z`` with binary hidden units h, which are independent given the row, as its columns
    are given them [1]_. The parameters have the names of :class:`sklearn.neural_network.BernoulliRBM`, for which it
    stands in; but its scores are log-likelihoods, since log Z is enumerated, or estimated, too.

    Parameters
    ----------
    n_components : int, default=256
        Number of binary hidden units.
    learning_rate : "auto" or float, default="auto"
        Size of the first step; it falls to zero in even steps. "auto" is the inverse of the largest variance of the
        rows along any direction, and at most 1.
    n_gibbs_steps : int, default=1
        Steps of the chains for each step of the weights.
    n_chains : int, default=100
        Number of persistent chains [2]_.
    batch_size : int, default=100
        Rows of a step.
    max_iter : "auto" or int, default="auto"
        Passes through the rows. "auto" makes 30 of them, and at least 10,000 steps.
    weight_decay : float, default=0.0001
        Share of the weights that a step of size 1 takes away.
    log_partition : {"auto", "exact", "ais"}, default="auto"
        How log Z is found. "exact" sums over all states of the hidden units, or of the columns, if there are at most
        2**20, which is an error else; "ais" takes annealed importance sampling [4]_; "auto" is the first one that can
        be had. A fitted model keeps the probabilities of the states, of up to 8 MB.
    n_ais_chains : int, default=200
        Particles that are annealed.
    n_temperatures : int, default=5000
        Temperatures at most that they pass. A sixteenth of them are tried first, and a quarter; they are enough if the
        standard error and the width of the bracket are below 0.1, and the particles are worth 20 at least.
    verbose : int, default=0
        Whether to print a line for each pass.
    random_state : int, RandomState, Generator or None, default=None
        Seed of all draws in `fit`.
    categorical_features : "from_dtype", array-like or None, default="from_dtype"
        Columns that hold categories, by dtype, name, index or mask; see :class:`~sklearn_dgm.columns.ColumnSchema`.
    integer_features : "from_dtype", array-like or None, default="from_dtype"
        Columns that hold counts, in the same form.
    column_kinds : dict, default=None
        Kinds of columns, by name or index, that overrule what dtypes and values say: "continuous", "rounded", "mixed",
        "integer" or "categorical"; see :class:`~sklearn_dgm.columns.ColumnSchema`.
    handle_unknown : {"impossible", "error", "rare"}, default="impossible"
        What a category that `fit` has not seen is; see :class:`~sklearn_dgm.columns.ColumnSchema`. With "rare" it has a
        small probability, whatever the other cells are, which are scored as if it were missing. This goes for numbers
        that were all the same in `fit`, too, such as pixels at the rim.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_visible)
        Weights between hidden and visible units. There is one of these for a column of two values or of numbers, one
        for each category of other ones, and for mixed columns one for each atom, for any other number, and for its
        value.
    intercept_visible_ : ndarray of shape (n_visible,)
        Biases of the visible units; they are natural parameters of the standardised values of numbers.
    intercept_hidden_ : ndarray of shape (n_components,)
        Biases of the hidden units.
    visible_std_ : ndarray of shape (n_numbers,)
        Standard deviations of the numbers given the hidden units, in the units of the table.
    log_partition_ : float
        log Z.
    log_partition_std_error_ : float
        Its standard error, at least half the width of the bracket; 0 where it is exact. It is the error of all scores,
        which are off by the same amount, so that no average over rows makes it smaller.
    log_partition_bracket_ : tuple of float
        Estimates of log Z by annealing forwards, which tends to be too low, and backwards from draws of the model,
        which tends to be too high [5]_. A mode that no particle has found is outside of both.
    effective_sample_size_ : float
        How many annealed particles the weighted ones are worth; with few of them the standard error means nothing.
    free_energy_gaps_ : ndarray of shape (n_iter_,)
        By how many standard deviations the free energy of rows lay above that of the chains after each pass.
    n_iter_ : int
        Number of passes.
    schema_ : ColumnSchema
        Kinds and scales of the columns.
    score_kind_ : {"exact", "estimate"}
        "estimate" where log Z is one.
    n_features_in_ : int
        Number of columns seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has string column names.

    See Also
    --------
    DeepBeliefDensity : A stack of machines.
    sklearn.neural_network.BernoulliRBM : A machine of binary columns, whose score is a pseudo-log-likelihood.

    Notes
    -----
    **Columns.** Two categories, or two neighbouring integer or rounded numbers, are a Bernoulli unit; other categories,
    and integer or rounded numbers of a range of at most 20 steps, a softmax unit. Integers and rounded numbers beyond
    the fitted range keep a little probability, but for columns of two values. Other numbers are normal given the hidden
    units, with a standard deviation for each column that is learnt; that of integer and rounded ones is at least a
    step, so that the probabilities of all values sum to one. Mixed columns are a softmax unit of their atoms and of a
    number, which is normal. With few hidden units, say 8, and columns of numbers it is a mixture of 2**8 normals that
    share their covariance.

    **Training.** The gradient is centred [3]_, the biases of the visible units start where independent columns have
    them, and weights are averaged over about the last fifth of the steps. A row comes up as often as its weight says.
    Missing cells of rows to learn from are drawn anew, given the hidden units, whenever their row comes up. Tables
    larger than memory are read a chunk at a time, in random order, and a pass takes as many rows as the sample has.

    **Missing cells** couple the hidden units. With at most 12 of these, any cells may be missing of rows that are
    scored; with more, categories of up to 256 joint outcomes, and all else is an error that names the columns.

    **Estimates of log Z.** Where the annealed particles are worth fewer than 20, or the bracket is wider than 0.5,
    there is a :class:`~sklearn.exceptions.ConvergenceWarning`; more temperatures are what helps most.

    Where log Z is exact, `sample` draws independent rows. Else it goes on for 100 steps of Gibbs sampling from
    resampled particles, so that rows are not quite independent, nor quite from the model.

    References
    ----------
    .. [1] P. Smolensky, "Information processing in dynamical systems: Foundations of harmony theory", in Parallel
       Distributed Processing 1, MIT Press, 1986
    .. [2] T. Tieleman, "Training restricted Boltzmann machines using approximations to the likelihood gradient", ICML
       2008, https://doi.org/10.1145/1390156.1390290
    .. [3] J. Melchior, A. Fischer, L. Wiskott, "How to center deep Boltzmann machines", Journal of Machine Learning
       Research 17 (2016), https://jmlr.org/papers/v17/14-237.html
    .. [4] R. Salakhutdinov, I. Murray, "On the quantitative analysis of deep belief networks", ICML 2008,
       https://doi.org/10.1145/1390156.1390266
    .. [5] Y. Burda, R. Grosse, R. Salakhutdinov, "Accurate and conservative estimates of MRF log-likelihood using
       reverse annealing", AISTATS 2015, https://proceedings.mlr.press/v38/burda15.html

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_dgm import RestrictedBoltzmannDensity
    >>> X = load_digits().data[:500] > 7
    >>> density = RestrictedBoltzmannDensity(12, max_iter=100, random_state=0).fit(X)
    >>> density.score_kind_, density.transform(X).shape
    ('exact', (500, 12))

    What a pseudo-log-likelihood says is not what the log-likelihood is:

    >>> bool(density.pseudo_log_likelihood(X).mean() > density.score_samples(X).mean())
    True
    """

    _parameter_constraints: dict = {
        **BaseBoltzmannDensity._parameter_constraints,
        "n_components": [Interval(Integral, 1, None, closed="left")],
    }
    _density_tags = DensityTags(missing=True, ties=True, latents=True)
    _shape_params = (*BaseBoltzmannDensity._shape_params, "n_components")

    def __init__(
        self,
        n_components: int = 256,
        *,
        learning_rate: Literal["auto"] | float = "auto",
        n_gibbs_steps: int = 1,
        n_chains: int = 100,
        batch_size: int = 100,
        max_iter: Literal["auto"] | int = "auto",
        weight_decay: float = 1e-4,
        log_partition: Literal["auto", "exact", "ais"] = "auto",
        n_ais_chains: int = 200,
        n_temperatures: int = 5000,
        verbose: int = 0,
        random_state: RandomState = None,
        categorical_features: Any = "from_dtype",
        integer_features: Any = "from_dtype",
        column_kinds: dict[Any, Any] | None = None,
        handle_unknown: Literal["impossible", "error", "rare"] = "impossible",
    ) -> None:
        super().__init__(
            categorical_features,
            integer_features,
            column_kinds,
            learning_rate=learning_rate,
            n_gibbs_steps=n_gibbs_steps,
            n_chains=n_chains,
            batch_size=batch_size,
            max_iter=max_iter,
            weight_decay=weight_decay,
            log_partition=log_partition,
            n_ais_chains=n_ais_chains,
            n_temperatures=n_temperatures,
            verbose=verbose,
            random_state=random_state,
            handle_unknown=handle_unknown,
        )
        self.n_components = n_components

    def _fit(self, Z, sample_weight):
        rng = check_generator(self.random_state)
        rows, training = self._start(Z, sample_weight, rng)
        self.free_energy_gaps_ = self._train(training, rows, rng)
        self._take_over(training, rng)

    def _start(self, Z, sample_weight, rng):
        """Return the rows to learn from, and the training of a machine of nearly independent columns."""
        units, self._base, rows = self._first_rows(Z, sample_weight, rng)
        self._check_partition(units, self.n_components)
        machine = initial_machine(units, self.n_components, self._base, rng)
        return rows, ContrastiveDivergence(machine, rows.means(rng), self.n_chains, rng)

    def _take_over(self, training, rng):
        """Take over a machine that was trained, and settle its partition function."""
        self._training = training
        self._machine = machine = training.averaged.astype(np.float64)
        self.components_, self.intercept_hidden_ = machine.weights.T, machine.hidden
        self.intercept_visible_ = machine.visible
        self.visible_std_ = machine.units.std_of(machine.precision, self.schema_.columns_)
        self.n_iter_ = len(self.free_energy_gaps_)
        self._settle_partition(machine, self._base, rng)
        self.score_kind_ = "estimate" if self._partition.of == "particles" else "exact"

    @property
    def _n_features_out(self):
        return len(self.intercept_hidden_)

    def _take_pass(self, Z, sample_weight, rng, is_first):
        if is_first:
            (rows, training), before = self._start(Z, sample_weight, rng), ()
        else:
            units, base = self._machine.units, self._base
            rows = self._further_rows(units, base, Z, sample_weight, rng)
            training, before = copy.deepcopy(self._training), self.free_energy_gaps_
        gaps = self._train_further(training, rows, rng)
        self.free_energy_gaps_ = np.append(before, gaps)
        self._take_over(training, rng)

    def _log_density_and_std(self, Z):
        log_p = self._log_unnormalised(Z) - self.log_partition_
        return log_p, np.where(np.isneginf(log_p), 0.0, self.log_partition_std_error_)

    def _log_unnormalised(self, Z):
        """Return the log-densities of encoded rows up to log Z."""
        F, missing, log_within = encoded_to_score(self._machine.units, Z)
        return log_marginals(self._machine, F, missing) + log_within

    def _draw(self, n_samples, rng):
        F = draw_features(self._machine, self._partition, n_samples, rng, to_decode=True)
        return self._machine.units.decode(F, rng)

    def free_energy(self, X: MatrixLike) -> NDArray[np.float64]:
        """Compute the free energy of each row, into which log Z does not enter.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        free_energy : ndarray of shape (n_samples,)
            ``-score_samples(X) - log_partition_``, in nats.

        Raises
        ------
        ValueError
            If the missing cells of a row cannot be summed over, or the columns are not those of `fit`.
        """
        Z, log_det = self._encode(X)
        return -self._log_unnormalised(Z) - log_det

    def pseudo_log_likelihood(self, X: MatrixLike) -> NDArray[np.float64]:
        """Compute the pseudo-log-likelihood of each row: the sum over columns of log p(cell | all other cells).

        It is no log-likelihood, needs no log Z, and is mostly far above it, all the more the better cells say what
        their neighbours are. The score of :class:`sklearn.neural_network.BernoulliRBM` is an estimate of it.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows without missing cells.

        Returns
        -------
        log_p : ndarray of shape (n_samples,)
            Sums in nats.

        Raises
        ------
        ValueError
            If a column has numbers of more than a few values, or a cell is missing.
        """
        Z, _ = self._encode(X)
        return pseudo_log_likelihoods(self._machine, *encoded_to_score(self._machine.units, Z))

    def transform(self, X: MatrixLike) -> NDArray[np.float64]:
        """Compute the probabilities of the hidden units given the observed cells of rows.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        H : ndarray of shape (n_samples, n_components)
            Probabilities.

        Raises
        ------
        ValueError
            If the missing cells of a row cannot be summed over, or the columns are not those of `fit`.
        """
        check_is_fitted(self)
        if self._is_chunked(X):
            return self._by_chunk(X, self.transform, of_none=np.empty((0, self._n_features_out)))
        Z, _ = self._encode(X)
        F, missing, _ = self._machine.units.encode(Z)
        return hidden_means(self._machine, F, missing)

    def gibbs(self, X: MatrixLike, random_state: RandomState = None) -> MatrixLike:
        """Take a step of Gibbs sampling: draw hidden units given rows, and new rows given these.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows without missing cells and values that `fit` did not know.
        random_state : int, RandomState, Generator or None, default=None
            Seed for reproducible rows.

        Returns
        -------
        X : {ndarray, DataFrame} of shape (n_samples, n_features)
            New rows.

        Raises
        ------
        ValueError
            If a cell is missing or unknown.
        """
        Z, _ = self._encode(X)
        units, rng = self._machine.units, check_generator(random_state)
        F, missing, _ = units.encode(Z)
        if missing.any():
            where = units.labels[int(missing.any(axis=0).argmax())]
            raise ValueError(
                f"gibbs needs complete rows, but a cell of {where} is missing or unknown."
            )
        H = self._machine.draw_hidden(F, rng)
        F = self._machine.draw_visible(H, rng, to_decode=True)
        return self.schema_.decode(units.decode(F, rng))
