"""Hidden Markov models as an estimator."""

import copy
import warnings
from functools import partial
from numbers import Integral, Real
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.metaestimators import available_if

from sklearn_dgm._callbacks import fit_task, task_of_fit
from sklearn_dgm._nested.em import expectation_maximisation
from sklearn_dgm._nested.fitting import seeded
from sklearn_dgm._sklearn import HasMethods, Interval, StrOptions, fit_context
from sklearn_dgm._typing import RandomState
from sklearn_dgm._validation import check_generator, check_weights, restored_on_failure
from sklearn_dgm.chunks import FitInPassesMixin, SequenceSummary
from sklearn_dgm.columns import Sequences, SequenceSchema
from sklearn_dgm.columns._sequences import read_sequences
from sklearn_dgm.mixture._densities import check_columns_untold, check_component, schema_for
from sklearn_dgm.mixture._finite import FiniteMixture
from sklearn_dgm.mixture._rows import without_unknown
from sklearn_dgm.sequence._base import BaseSequenceDensity
from sklearn_dgm.sequence._chain import Chain
from sklearn_dgm.sequence._emissions import DensityEmissions, fill_states, reads_columns
from sklearn_dgm.sequence._labels import places_of_states, read_labels
from sklearn_dgm.sequence._state_learning import (
    DensityLearner,
    MixtureLearner,
    StateCounts,
    WeightedSequences,
    add_sequences,
    fit_states,
    held_out,
    learnt_emissions,
)
from sklearn_dgm.sequence._state_parameters import StateParametersMixin
from sklearn_dgm.sequence._state_queries import StateQueriesMixin
from sklearn_dgm.tags import DensityTags, common_density_tags

# Of sequences in chunks a sample is fitted first, in memory: a cell takes up so many numbers for each state.
NUMBERS_OF_CELL = 12
CLOSED_FORMS = DensityTags(sequences=True, missing=True, ties=True)


def _is_counted(density):
    """Tell whether expected counts are all that states learn from."""
    return isinstance(density.emission, str)


class HiddenMarkovDensity(
    FitInPassesMixin, StateQueriesMixin, StateParametersMixin, BaseSequenceDensity
):
    """Density of sequences from a hidden Markov model.

    A chain of hidden states, of which each depends on the one before, emits the steps of a sequence, each given its
    state [1]_. So a sequence is a mixture of steps whose components follow a chain, and what a state emits is what a
    component of :class:`~sklearn_dgm.MixtureDensity` is, or any density that takes weights. Scores, marginals of
    missing cells and steps, the probabilities of the states, and draws of missing cells are exact.

    Parameters
    ----------
    n_states : int, default=8
        Number of states; with labels `y` the labels are the states.
    emission : {"auto", "gaussian", "tree", "network"} or density, default="auto"
        What a state emits. "auto": columns that are independent given the state, each by its kind: numbers are normal;
        categories, counts of few values and the atoms of mixed columns have tables. "gaussian": numbers are jointly
        normal. "tree": all columns have tables, numbers of bins, along a tree for each state. "network": columns
        as of "auto", but all states share one network, which decodes an embedding of each, so that they learn from
        each other, which pays where states are many and steps few; gradient steps take the place of maximisation [2]_,
        and of counting where labels are known. A density: each state has a clone of it, which
        is fitted with weights; a :class:`~sklearn_dgm.MixtureDensity` for mixtures.
    covariance_type : {"full", "tied", "diag", "spherical", "factor"}, default="full"
        Form of the covariances if `emission` is "gaussian"; see :class:`~sklearn_dgm.MixtureDensity`.
    n_factors : int, default=2
        Factors of each state, if the covariance is "factor".
    alpha : float, default=3.0
        How many steps of a state the table of all steps counts as, towards which its tables are drawn.
    transition_alpha : float, default=3.0
        Pseudo-count of each state, and of the start, spread evenly over the states that may follow. It is also that of
        the end, as frequent as it is among all steps. With 0 a transition that is in no sequence is impossible; a state
        that a step makes less probable than another by 670 nats is lost then, even if it alone could go on.
    reg_covar : "auto" or float, default="auto"
        What is added to the variances of numbers, in the units of X, squared. "auto" adds nothing and draws the
        covariance of a state towards that of all steps, which counts as two steps and, where columns have covariances,
        one more for each of them.
    init : {"auto", "k-means++", "random"}, default="auto"
        Where to start: each step in the state of the nearest of some steps that are chosen far from each other, or
        random responsibilities. "auto" is "random" where steps are single categories, of which k-means++ would make
        one state each.
    n_init : int, default=1
        Number of starts, of which the best is kept: by validation sequences, where there are such, else by the
        objective.
    max_iter : int, default=100
        Steps of expectation and maximisation at most.
    tol : float, default=0.0001
        Change of the objective, in nats a step of the sequences, below which to stop.
    early_stopping : "auto" or bool, default="auto"
        Whether some sequences are held out at first, to see after which step of EM they are most probable; the fit is
        made anew with all sequences and as many steps then. Models with many states would learn sequences by heart.
        "auto" does so with 50 distinct sequences without labels or more.
    validation_fraction : float, default=0.1
        Share of the distinct sequences that are held out.
    length : {"auto", "fixed", "stop", "given"}, default="auto"
        What the length of a sequence is; see :class:`~sklearn_dgm.BaseSequenceDensity`. If it is "stop", each state
        has a probability that the sequence ends after it.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the starts, and of what is held out.
    categorical_features : "from_dtype", array-like or None, default="from_dtype"
        Columns of a step that hold categories; see :class:`~sklearn_dgm.columns.ColumnSchema`.
    integer_features : "from_dtype", array-like or None, default="from_dtype"
        Columns of a step that hold counts.
    column_kinds : dict, default=None
        Kinds of columns of a step by name or index.
    handle_unknown : {"impossible", "error", "rare"}, default="impossible"
        What a category that `fit` has not seen is; see :class:`~sklearn_dgm.columns.ColumnSchema`.

    Attributes
    ----------
    states_ : ndarray of shape (n_states,)
        The states: numbers, or the labels of `y`, sorted.
    start_probabilities_ : ndarray of shape (n_states,)
        Probabilities of the first state, of sequences that have one.
    transition_matrix_ : ndarray of shape (n_states, n_states)
        Probabilities of the next state given the one before, of sequences that go on.
    stop_probabilities_ : ndarray of shape (n_states,)
        Probabilities that a sequence ends after a step in each state, if the length is "stop".
    empty_probability_ : float
        Probability of a sequence without any step, if the length is "stop".
    gaussian_features_ : ndarray of int of shape (n_numbers,)
        Columns of a step whose numbers are normal.
    means_ : ndarray of shape (n_states, n_numbers)
        Their means, in the units of X.
    covariances_ : ndarray
        Their covariances, in these units, of shape (n_states, n_numbers, n_numbers) if "full" or "factor", (n_numbers,
        n_numbers) if "tied"; if "diag", "spherical", or `emission` is "auto", variances of shape (n_states, n_numbers).
    precisions_ : ndarray
        Inverses of the covariances, in the same form.
    tables_ : list of ndarray of shape (n_states, n_levels) or None
        For each column the probabilities of its cells in each state; None where it has no table.
    estimators_ : list of estimators
        The density of each state, if `emission` is a density.
    n_parameters_ : int
        Number of free parameters, where densities count theirs.
    lower_bounds_ : ndarray of shape (n_iter_ + 1,)
        The objective after each step of the fit: the log-likelihood, and the log-density of the prior up to a constant,
        in nats a step of the sequences, and in units of the schema.
    validation_scores_ : ndarray of shape (n_steps + 1,) or None
        Log-likelihoods of the sequences held out, in nats a step, after each step of the fit without them.
    n_iter_ : int
        Number of steps of expectation and maximisation.
    converged_ : bool
        Whether `max_iter` was not needed.
    schema_ : SequenceSchema
        Kinds and scales of the columns of a step, and the lengths.
    score_kind_ : {"exact", "lower bound", "estimate"}
        What `score_samples` returns.
    n_features_in_ : int
        Number of columns of a table seen in `fit`; of other containers there is none.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has string column names.

    See Also
    --------
    MixtureDensity : The same components of rows that do not follow each other.

    Notes
    -----
    All sequences take a step at once in the forward and backward passes, and a few long ones are cut into pieces that
    do; so the fit takes long only where there are both many steps and many states. Equal steps are taken together, and
    equal sequences, so that the fit depends neither on their order nor on whether one is repeated or has a weight.

    There is `partial_fit` where expected counts are all that states learn from, which is so but for a density: that may
    learn from all rows alone.

    A script with ``hmmlearn`` needs no `lengths`: hand in a list of arrays. ``GaussianHMM(3, "full")`` is about
    ``HiddenMarkovDensity(3, "gaussian", length="given", reg_covar=1e-3, early_stopping=False)``.

    References
    ----------
    .. [1] L. R. Rabiner, "A tutorial on hidden Markov models and selected applications in speech recognition",
       Proceedings of the IEEE 77 (1989), https://doi.org/10.1109/5.18626
    .. [2] R. Salakhutdinov, S. Roweis and Z. Ghahramani, "Optimization with EM and expectation-conjugate-gradient",
       International Conference on Machine Learning (2003), pages 672-679

    Examples
    --------
    >>> from sklearn_dgm import HiddenMarkovDensity
    >>> words = ["banana", "cabana", "panama", "canal", "banal", "alabama"]
    >>> density = HiddenMarkovDensity(2, random_state=0).fit(words)
    >>> density.predict(["banal"])[0].tolist() in ([0, 1, 0, 1, 0], [1, 0, 1, 0, 1])
    True
    >>> bool(density.score_samples(["banana"])[0] > density.score_samples(["bnnaaa"])[0])
    True

    Labels of states, of which some are unknown, name the states; steps may be missing.

    >>> steps, labels = [[1.0, 1.2, 9.1], [9.0, 8.8, 1.1, 0.9]], [["low", None, None], ["high", None, None, None]]
    >>> density = HiddenMarkovDensity(random_state=0).fit(steps, labels)
    >>> density.predict([[1.1, float("nan"), 8.7]])[0][[0, 2]].tolist()
    ['low', 'high']
    """

    _parameter_constraints: dict = {
        **BaseSequenceDensity._parameter_constraints,
        "n_states": [Interval(Integral, 1, None, closed="left")],
        "emission": [
            StrOptions({"auto", "gaussian", "tree", "network"}),
            HasMethods(["fit", "score_samples"]),
        ],
        "covariance_type": [StrOptions({"full", "tied", "diag", "spherical", "factor"})],
        "n_factors": [Interval(Integral, 1, None, closed="left")],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "transition_alpha": [Interval(Real, 0, None, closed="left")],
        "reg_covar": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "init": [StrOptions({"auto", "k-means++", "random"})],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "early_stopping": [StrOptions({"auto"}), "boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "random_state": ["random_state", np.random.Generator],
        "handle_unknown": [StrOptions({"impossible", "error", "rare"})],
    }
    _shape_params = (
        *BaseSequenceDensity._shape_params,
        "n_states",
        "emission",
        "covariance_type",
        "n_factors",
        "alpha",
        "reg_covar",
    )

    def __init__(
        self,
        n_states: int = 8,
        emission: Any = "auto",
        *,
        covariance_type: Literal["full", "tied", "diag", "spherical", "factor"] = "full",
        n_factors: int = 2,
        alpha: float = 3.0,
        transition_alpha: float = 3.0,
        reg_covar: Literal["auto"] | float = "auto",
        init: Literal["auto", "k-means++", "random"] = "auto",
        n_init: int = 1,
        max_iter: int = 100,
        tol: float = 1e-4,
        early_stopping: Literal["auto"] | bool = "auto",
        validation_fraction: float = 0.1,
        length: Literal["auto", "fixed", "stop", "given"] = "auto",
        random_state: RandomState = None,
        categorical_features: Any = "from_dtype",
        integer_features: Any = "from_dtype",
        column_kinds: dict[Any, Any] | None = None,
        handle_unknown: Literal["impossible", "error", "rare"] = "impossible",
    ) -> None:
        super().__init__(
            length=length,
            categorical_features=categorical_features,
            integer_features=integer_features,
            column_kinds=column_kinds,
        )
        self.n_states = n_states
        self.emission = emission
        self.covariance_type = covariance_type
        self.n_factors = n_factors
        self.alpha = alpha
        self.transition_alpha = transition_alpha
        self.reg_covar = reg_covar
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.handle_unknown = handle_unknown

    @property
    def _density_tags(self):
        if isinstance(self.emission, str):
            return CLOSED_FORMS
        try:
            tags = common_density_tags([self.emission])
        except (AttributeError, TypeError, ValueError):  # no density, which fit will say
            return DensityTags(column_kinds=(), sequences=True)
        tags.sequences = True
        return tags

    def _make_schema(self):
        if isinstance(self.emission, str):
            return super()._make_schema()
        check_component(self.emission, "HiddenMarkovDensity", "emission", "state")
        if not reads_columns(self.emission):
            return super()._make_schema()
        check_columns_untold(self, "emission")
        return SequenceSchema(schema_for(self.emission), self.length)

    @fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: ArrayLike | None = None,
        *,
        schema: Any = None,
    ) -> Self:
        """Fit the model to sequences.

        Parameters
        ----------
        X : {list, ndarray, Series, DataFrame} of n_sequences sequences
            Sequences to learn from. Missing cells and steps are summed out. Without `y`, and where states emit no
            densities, they may be read a chunk at a time: an object that gives such containers in a loop, the same ones
            each time, or paths of Parquet files; EM goes on from a fit of a sample, then, in a pass over all for each
            step.
        y : {list, ndarray, Series, DataFrame} or None, default=None
            Labels of the states: for each sequence a list or an array with one label for each step, or None where none
            is known; a table for a table. Single labels that are unknown are None, NaN or -1. If all are known, the
            fit is counting. One number or string for each sequence is no label of states, and ignored.
        sample_weight : array-like of shape (n_sequences,), default=None
            Non-negative weights: a weight of 2 counts as the sequence twice, 0 as its absence.
        schema : SequenceSchema, default=None
            What :meth:`learn_schema` has learnt from more sequences than these.

        Returns
        -------
        self : estimator
            The fitted model. If anything fails, the estimator is as it was before.

        Raises
        ------
        ValueError
            If a parameter is invalid, a value is infinite, labels are not as many as steps, or weights are negative or
            all zero.

        Warns
        -----
        ConvergenceWarning
            If the objective still changed after `max_iter` steps.
        """
        with fit_task(self, X, y, sample_weight, n_subtasks=self._n_subtasks):
            return self._fit_or_restore(X, sample_weight, schema, y)

    @property
    def _n_subtasks(self):
        return 0 if isinstance(self.emission, str) else None

    def _fit_or_restore(self, X, sample_weight, schema, y=None):
        if self._fits_chunks(X):
            if y is not None:
                raise ValueError(
                    "y labels the states of sequences in memory, but X is to be read a chunk at a time; hand in labelled "
                    "ones by partial_fit, part by part."
                )
            return super()._fit_or_restore(X, sample_weight, schema)
        with restored_on_failure(self):
            Z, weight = self._start_fit(X, sample_weight, schema=schema)
            states, labels = self._read_labels(X, y, sample_weight)
            self.states_ = np.arange(self.n_states) if states is None else states
            self._fit(Z, weight, labels)
        return self

    _decoder: Any = None  # as in files of models that did not keep one

    @property
    def _summarise(self):
        return partial(SequenceSummary, numbers=NUMBERS_OF_CELL * self.n_states)

    def _check_takes_chunks(self):
        if not _is_counted(self):
            raise TypeError(
                "HiddenMarkovDensity reads sequences a chunk at a time where states learn from expected counts, but "
                f"emission={self.emission!r} is fitted to steps in memory; hand in a sample of the sequences."
            )

    def _fit_chunks(self, rows):
        self.states_ = np.arange(self.n_states)
        super()._fit_chunks(rows)

    def _fit_in_passes(self, rows):
        chain, alpha = self._chain, float(self.transition_alpha)
        if chain.stops:
            mean_length = float(self.schema_.lengths_ @ self.schema_.length_shares_)
            chain.share_of_ends = 1 / (1 + mean_length)

        def expect():
            every = rows.total(self._count)
            prior = self._log_prior() + chain.log_prior(alpha)
            return every, (every.log_likelihood + prior) / every.n_steps

        def maximise(every):
            chain.learn(every.chain, alpha)
            self._mixture = learnt_emissions(self._mixture, every.emissions, self._decoder)

        objectives = expectation_maximisation(
            expect, maximise, max_iter=self.max_iter, tol=self.tol
        )
        self.lower_bounds_, self.n_iter_ = np.array(objectives), len(objectives) - 1
        self.converged_ = bool(abs(objectives[-1] - objectives[-2]) < self.tol)

    def _log_prior(self):
        """Return the log-density of the prior of emissions, up to a constant."""
        if self._decoder is None:
            return self._mixture.log_prior()
        return self._decoder.log_prior(self._mixture)

    def _count(self, Z, weight):
        """Return what the present model expects of encoded sequences; that of parts adds up."""
        return StateCounts.of(self._chain, self._mixture, WeightedSequences.of(Z, weight, None))

    def _read_labels(self, X, y, sample_weight):
        """Return the labels that y has, and the numbers of those of steps that have weight; None without any."""
        if y is None:
            return None, None
        lengths = read_sequences(self._validate(X, reset=False))[2]
        counted = None if sample_weight is None else check_weights(X, sample_weight) > 0
        states, labels = read_labels(y, lengths, counted)
        if labels is not None and counted is not None:
            labels = labels[np.repeat(counted, lengths)]
        return states, labels

    @available_if(_is_counted)
    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: ArrayLike | None = None,
        *,
        schema: Any = None,
    ) -> Self:
        """Add further sequences, whose states are expected under the model so far.

        The first call is a :meth:`fit`, of which `lower_bounds_`, `validation_scores_`, `n_iter_`, `converged_` and the
        lengths of draws remain, and settles the states and the cells of tables; later ones add expected counts, in one
        step. Where all labels are known, these are counts. Categories that the first call has not seen are not counted,
        as if their cells were missing, and with ``handle_unknown="error"`` they raise; numbers beyond its range are
        counted in the outer cells.

        Parameters
        ----------
        X : {list, ndarray, Series, DataFrame} of n_sequences sequences
            Sequences to add.
        y : {list, ndarray, Series, DataFrame} or None, default=None
            Labels of states, as :meth:`fit` takes them, among those of the first call.
        sample_weight : array-like of shape (n_sequences,), default=None
            Non-negative weights.
        schema : SequenceSchema, default=None
            In the first call, what :meth:`learn_schema` has learnt from more sequences than these, so that categories
            and ranges to come are known.

        Returns
        -------
        self : estimator
            The model of all sequences so far.

        Raises
        ------
        ValueError
            If steps have other columns than those of the first call, a parameter that it settles has changed (but for
            `transition_alpha`, all that say what the model is), a label is new, a value is infinite, there is no whole
            number in an integer column, or a schema is handed in later than in the first call; nothing is added then.
        TypeError
            If X is to be read a chunk at a time; this is what :meth:`fit` does.
        """
        is_first = not hasattr(self, "_chain")
        self._check_part(X, schema, is_first=is_first)
        if is_first:
            return self._fit_or_restore(X, sample_weight, schema, y)
        if getattr(self._mixture, "counts", None) is None:
            raise ValueError(
                "partial_fit adds to expected counts, which this model was saved without, or has not learnt; call fit "
                "to start anew."
            )
        with restored_on_failure(self):
            Z, weight = self._start_fit(X, sample_weight, reset=False)
            states, labels = self._read_labels(X, y, sample_weight)
            if labels is not None:
                labels = np.append(places_of_states(states, self.states_), -1)[labels]
            Z = Sequences(without_unknown(self.schema_.columns_, Z.steps), Z.lengths)
            data = WeightedSequences.of(Z, weight, labels)
            decoder = self._decoder = copy.deepcopy(self._decoder)
            alpha = float(self.transition_alpha)
            self._chain, self._mixture = add_sequences(
                self._chain, self._mixture, data, alpha, decoder
            )
        return self

    def _fit(self, Z, sample_weight, labels=None):
        rng = check_generator(self.random_state)
        data, n_states = WeightedSequences.of(Z, sample_weight, labels), len(self.states_)
        is_valid = self._validation(data, rng)
        every = data.part(np.ones(len(is_valid), dtype=bool), n_states)
        train, valid = every, None
        if is_valid.any():
            train, valid = (data.part(of, n_states) for of in (~is_valid, is_valid))
        seeds = rng.integers(2**31, size=self.n_init)
        fits = [
            self._fit_from(data.rows, train, valid, seed, self.max_iter, self.tol) for seed in seeds
        ]
        best = int(np.argmax([fit.quality for fit in fits]))
        fit, scores = fits[best], fits[best].validation_scores
        self.converged_ = fit.converged
        if not fit.converged and self.max_iter > 1:
            warnings.warn(
                f"The likelihood still changed after max_iter={self.max_iter} steps; raise max_iter, or tol.",
                ConvergenceWarning,
                stacklevel=2,
            )
        if valid is not None:  # as many steps with all sequences
            n_steps = int(np.argmax(scores))
            fit = self._fit_from(data.rows, every, None, seeds[best], n_steps, 0.0)
        self._chain, self._mixture, self._decoder = fit.chain, fit.emissions, fit.decoder
        self.lower_bounds_ = np.array(fit.lower_bounds)
        self.validation_scores_ = np.array(scores) if valid is not None else None
        self.n_iter_ = len(fit.lower_bounds) - 1

    def _fit_from(self, rows, train, valid, seed, max_iter, tol):
        """Return a fit from the start that a seed gives."""
        rng, n_states = np.random.default_rng(seed), len(self.states_)
        columns = self.schema_.columns_
        how = self.init
        if how == "auto":
            of_one = len(columns) == 1 and (columns[0].is_categorical or columns[0].is_flag)
            how = "random" if of_one else "k-means++"
        shares = rows.started(columns, how, n_states, rng).start
        chain = Chain(n_states, train.share_of_ends if self._ends else None)
        learner = self._learner(rows, n_states, rng)
        alpha = float(self.transition_alpha)
        return fit_states(chain, learner, train, valid, shares, alpha, max_iter, tol)

    def _validation(self, data, rng):
        """Return flags of the sequences that say when to stop; those that have labels are all learnt from."""
        return held_out(
            np.flatnonzero(data.is_unlabelled),
            len(data.lengths),
            np.count_nonzero(data.lengths),
            self.early_stopping,
            self.validation_fraction,
            "of which one has no labels",
            rng,
        )

    def _learner(self, rows, n_states, rng):
        """Return what learns emissions."""
        if self.emission == "network":
            from sklearn_dgm.sequence._network_emissions import NetworkLearner

            alpha, columns = float(self.alpha), self.schema_.columns_
            return NetworkLearner(columns, rows, n_states, alpha, self.reg_covar, rng)
        if isinstance(self.emission, str):
            is_auto = self.emission == "auto"
            mixture = FiniteMixture.of(
                self.schema_.columns_,
                rows,
                n_states,
                component="gaussian" if is_auto else self.emission,
                covariance_type="diag" if is_auto else self.covariance_type,
                n_factors=self.n_factors,
                reg_covar=self.reg_covar,
            )
            if mixture.tables is not None:
                mixture.tables.alpha = float(self.alpha)
            return MixtureLearner(mixture, rows)
        densities = [seeded(self.emission, rng) for _ in range(n_states)]
        schema = self.schema_.steps if reads_columns(self.emission) else None
        table = rows.Z if schema is None else schema.decode(rows.Z)
        return DensityLearner(DensityEmissions(densities), rows, table, schema, task_of_fit(self))

    def _log_prob_steps(self, Z):
        of_steps, of_ends = np.empty(len(Z.steps)), np.full(len(Z), self._chain.log_empty)
        for steps, block, sequences in self._step_blocks(Z):
            passed = self._forward(steps, Z.steps[block])
            of_steps[block] = steps.back(passed.log_prob)
            of_ends[sequences[Z.lengths[sequences] > 0]] = passed.log_end
        return of_steps, of_ends

    def _draw(self, n_samples, rng):
        lengths = None if self._ends else self._draw_lengths(n_samples, rng)
        states, lengths = self._chain.draw(n_samples, lengths, rng)
        nothing = np.full((len(states), len(self.schema_.columns_)), np.nan)
        return Sequences(fill_states(self._mixture, nothing, states, rng), lengths)
