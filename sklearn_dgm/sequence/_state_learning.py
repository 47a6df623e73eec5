"""Expectation and maximisation of hidden Markov models (Baum, Petrie, Soules and Weiss, 1970)."""

import copy
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from scipy import sparse

from sklearn_dgm._nested.em import ComponentDensities
from sklearn_dgm.mixture._rows import WeightedRows
from sklearn_dgm.sequence._chain import ChainCounts
from sklearn_dgm.sequence._step_order import StepOrder

# Steps of EM for which validation sequences may be worse than before.
PATIENCE = 3
# Of fewer distinct sequences none validates by default.
LEAST_SEQUENCES = 50
# States with less than this share of the weight have no steps.
LEAST_SHARE = 1e-12


class WeightedSequences(NamedTuple):
    """Distinct sequences in a fixed order, as numbers of distinct steps.

    So a fit knows neither the order of sequences nor weights from repeats.

    Attributes
    ----------
    rows : WeightedRows
        The distinct steps.
    place : ndarray of int of shape (n_steps,)
        Which of them each step is.
    labels : ndarray of int of shape (n_steps,)
        The states of steps, -1 where one is unknown.
    lengths : ndarray of int of shape (n_sequences,)
        Numbers of steps.
    weight : ndarray of shape (n_sequences,)
        Weights of the sequences.
    """

    rows: WeightedRows
    place: np.ndarray
    labels: np.ndarray
    lengths: np.ndarray
    weight: np.ndarray

    @classmethod
    def of(cls, Z, sample_weight, labels) -> Self:
        """Take equal sequences together.

        Parameters
        ----------
        Z : Sequences
            Encoded sequences.
        sample_weight : ndarray of shape (n_sequences,) or None
            Their weights.
        labels : ndarray of int of shape (n_steps,) or None
            States of their steps, -1 where one is unknown.
        """
        weight = np.ones(len(Z)) if sample_weight is None else sample_weight
        labels = np.full(len(Z.steps), -1) if labels is None else labels
        rows = WeightedRows.of(Z.steps, Z.of_steps(weight))
        pairs = Z.split(np.stack([np.asarray(rows.place), labels], axis=1))
        total: dict[bytes, float] = {}
        for pair, of_sequence in zip(pairs, weight.tolist(), strict=True):
            key = pair.astype(">i8").tobytes()
            total[key] = total.get(key, 0.0) + of_sequence
        keys = sorted(total)
        place, labels = np.frombuffer(b"".join(keys), ">i8").astype(np.intp).reshape(-1, 2).T
        lengths = np.array([len(key) // 16 for key in keys])
        return cls(rows, place, labels, lengths, np.array([total[key] for key in keys]))

    @property
    def is_unlabelled(self):
        """Flags of sequences that have steps, but no label."""
        number = np.repeat(np.arange(len(self.lengths)), self.lengths)
        n_labels = np.bincount(number, self.labels >= 0, minlength=len(self.lengths))
        return (self.lengths > 0) & (n_labels == 0)

    def part(self, chosen, n_states):
        """Return some of the sequences, given by flags, ready for a chain of so many states."""
        of_steps = np.repeat(chosen, self.lengths)
        return Part(
            self.place[of_steps],
            self.labels[of_steps],
            self.lengths[chosen],
            self.weight[chosen],
            len(self.rows.Z),
            n_states,
        )


def held_out(candidates, n_sequences, n_learnt_from, wanted, fraction, others, rng):
    """Return flags of the distinct sequences that say when to stop.

    Parameters
    ----------
    candidates : ndarray of int of shape (n_candidates,)
        Those that may.
    n_sequences : int
        Number of distinct sequences.
    n_learnt_from : int
        Of how many something is to be learnt; one at least has to be left.
    wanted : "auto" or bool
        Whether some say it; "auto" if there are enough of them.
    fraction : float
        Share of the candidates that do.
    others : str
        What else is asked of sequences, for the message.
    rng : Generator
        Where random numbers come from.

    Raises
    ------
    ValueError
        If it is wanted and there are too few.
    """
    is_valid = np.zeros(n_sequences, dtype=bool)
    if wanted == "auto":
        wanted = len(candidates) >= LEAST_SEQUENCES
    if not wanted:
        return is_valid
    n_valid = max(round(fraction * len(candidates)), 1)
    if n_valid > len(candidates) or n_valid >= n_learnt_from:
        raise ValueError(
            "early_stopping=True needs 2 sequences at least that have steps, are not equal, and "
            f"{others}; X has {len(candidates)}."
        )
    is_valid[rng.choice(candidates, n_valid, replace=False)] = True
    return is_valid


class Part:
    """Sequences that are passed over: in the order of time, which distinct steps they consist of.

    Parameters
    ----------
    place : ndarray of int of shape (n_steps,)
        Which of the distinct steps each step is.
    labels : ndarray of int of shape (n_steps,)
        States, -1 where one is unknown.
    lengths, weight : ndarray of shape (n_sequences,)
        Numbers of steps, and weights.
    n_distinct : int
        Number of distinct steps.
    n_states : int
        Number of states.
    """

    def __init__(self, place, labels, lengths, weight, n_distinct, n_states):
        self.steps = StepOrder(lengths, n_states)
        self.weight = np.repeat(weight, lengths)[self.steps.order]
        self.of_filled, self.empty = weight[lengths > 0], float(weight[lengths == 0].sum())
        self.place, self.labels = place[self.steps.order], labels[self.steps.order]
        self.n_distinct, self.n_states = n_distinct, n_states
        # Steps that are equal and have the same label have the same densities.
        keys, self.rows = np.unique(
            self.place * (n_states + 1) + self.labels + 1, return_inverse=True
        )
        self._place_of_row, label = keys // (n_states + 1), keys % (n_states + 1) - 1
        self._is_other = (label[:, None] >= 0) & (label[:, None] != np.arange(n_states))
        self.total = self.weight.sum()

    @property
    def share_of_ends(self):
        """How many of all steps, the one before the first included, are followed by the end."""
        n_sequences = self.of_filled.sum() + self.empty
        return float(n_sequences / (self.total + n_sequences))

    def log_b(self, log_conditional):
        """Return the log-densities of the rows of this part, given those of distinct steps."""
        return np.where(self._is_other, -np.inf, log_conditional[self._place_of_row])

    def responsibilities(self, posterior):
        """Return the weights of distinct steps in each state, of shape (n_distinct, n_states)."""
        ends = np.arange(len(self.place))
        sums = sparse.csr_array(
            (self.weight, (self.place, ends)), shape=(self.n_distinct, len(ends))
        )
        return sums @ posterior

    def log_likelihood(self, chain, passed):
        """Return the log-likelihood of the sequences, each with its weight."""
        terms = [(self.weight, passed.log_prob), (self.of_filled, passed.log_end)]
        total = sum(weight @ log_p for weight, log_p in terms)
        return float(total + (self.empty * chain.log_empty if self.empty else 0.0))

    def start(self, shares):
        """Return responsibilities of steps to start from: of labels alone, or else those of distinct steps."""
        known = self.labels >= 0
        if not known.any():
            return shares[self.place]
        posterior = np.zeros((len(known), self.n_states))
        posterior[known] = np.eye(self.n_states)[self.labels[known]]
        return posterior

    def counts_of(self, posterior):
        """Return the counts of a chain as if steps were independent given all that is observed."""
        steps, (after, before) = self.steps, self.steps.pairs
        return ChainCounts(
            self.weight[steps.firsts] @ posterior[steps.firsts],
            self.weight[steps.lasts] @ posterior[steps.lasts],
            posterior[before].T @ (posterior[after] * self.weight[after, None]),
            self.empty,
        )


class MixtureLearner:
    """Learns what states emit, as the components of a finite mixture.

    Parameters
    ----------
    emissions : FiniteMixture
        What is fitted.
    rows : WeightedRows
        The distinct steps.
    """

    def __init__(self, emissions, rows):
        self.emissions, self.prepared = emissions, emissions.prepare(rows.Z)

    def log_conditional(self):
        """Return the log-densities of the distinct steps given each state."""
        return self.emissions.log_conditional(self.prepared)

    def maximise(self, responsibilities):
        """Learn from the weights of distinct steps in each state."""
        self.emissions.learn(self.emissions.count(self.prepared, responsibilities))

    def log_prior(self):
        """Return the log-density of the prior of emissions, up to a constant."""
        return self.emissions.log_prior()

    def small_steps(self):
        """Return a context of fits that go on with those before."""
        return nullcontext()


class DensityLearner:
    """Learns what states emit, as a density each.

    Parameters
    ----------
    emissions : DensityEmissions
        What is fitted.
    rows : WeightedRows
        The distinct steps.
    table : {ndarray, DataFrame} of shape (n_distinct, n_columns)
        The same, as densities take them.
    schema : ColumnSchema or None
        What they are told of the columns.
    task : FitTask
        The fit that these are parts of.
    """

    def __init__(self, emissions, rows, table, schema, task):
        self.emissions, self.rows, self.table, self.task = emissions, rows, table, task
        names = [f"state {k}" for k in range(len(emissions.densities))]
        self._parts = ComponentDensities(emissions.densities, names, "fit states", schema=schema)

    def log_conditional(self):
        """Return the log-densities of the distinct steps given each state."""
        return self.emissions.log_conditional(self.rows.Z)

    def maximise(self, responsibilities):
        """Fit each density to the distinct steps, by their weights in its state."""
        parts, total = responsibilities.copy(), responsibilities.sum()
        parts[parts < LEAST_SHARE * self.rows.weight[:, None]] = 0.0
        lost = parts.sum(axis=0) <= LEAST_SHARE * total
        parts[:, lost] = (self.rows.weight / self.rows.weight.sum())[:, None]
        parts[np.isnan(self.rows.Z).all(axis=1)] = 0.0
        self.emissions.densities = self._parts.fit(self.table, parts, self.task)

    def log_prior(self):
        """Return 0: what densities are drawn towards is up to them."""
        return 0.0

    def small_steps(self):
        """Return a context of fits that go on with those before."""
        return self._parts.small_steps()


class StateFit(NamedTuple):
    """A fitted hidden Markov model.

    Attributes
    ----------
    chain : Chain
        The chain of states.
    emissions : {FiniteMixture, DensityEmissions}
        What they emit.
    lower_bounds : list of float
        The objective after each step of EM, in nats a step of the sequences.
    validation_scores : list of float
        The log-likelihood of validation sequences, in the same units; none without such.
    converged : bool
        Whether the fit stopped by itself.
    decoder : StateDecoder or None
        The network that says what states emit, if there is one.
    """

    chain: Any
    emissions: Any
    lower_bounds: list[float]
    validation_scores: list[float]
    converged: bool
    decoder: Any = None

    @property
    def quality(self):
        """What the best of several starts has most of."""
        return max(self.validation_scores, default=self.lower_bounds[-1])


def fit_states(chain, learner, train, valid, shares, alpha, max_iter, tol):
    """Fit a chain of states, and what they emit, to sequences.

    Parameters
    ----------
    chain : Chain
        The chain; it is changed.
    learner : {MixtureLearner, DensityLearner, NetworkLearner}
        Learns emissions; it is changed.
    train : Part
        Sequences to learn from.
    valid : Part or None
        Sequences that say when to stop: when they have become no more probable in some steps.
    shares : ndarray of shape (n_distinct, n_states)
        How much distinct steps belong to each state at the start.
    alpha : float
        Pseudo-counts of the chain.
    max_iter : int
        Steps of EM at most.
    tol : float
        Change of the objective in nats a step of the sequences below which to stop.

    Returns
    -------
    fit : StateFit
        The model after the last step.
    """
    objectives, scores, converged = [], [], False
    posterior = train.start(shares)
    counts = train.counts_of(posterior)
    with learner.small_steps():
        for step in range(max_iter + 1):
            chain.learn(counts, alpha)
            learner.maximise(train.responsibilities(posterior))
            log_conditional = learner.log_conditional()
            passed = chain.forward(train.steps, train.log_b(log_conditional), train.rows)
            objective = train.log_likelihood(chain, passed) + learner.log_prior()
            objectives.append((objective + chain.log_prior(alpha)) / train.total)
            if valid is not None:
                of_valid = chain.forward(valid.steps, valid.log_b(log_conditional), valid.rows)
                scores.append(valid.log_likelihood(chain, of_valid) / valid.total)
                converged = step - int(np.argmax(scores)) >= PATIENCE
            converged |= step > 0 and abs(objectives[-1] - objectives[-2]) < tol
            if converged or step == max_iter:
                break
            posterior, ratio = chain.backward(train.steps, passed)
            counts = chain.count(train.steps, passed, posterior, ratio, train.weight, train.empty)
    decoder = getattr(learner, "decoder", None)
    return StateFit(chain, learner.emissions, objectives, scores, converged, decoder)


@dataclass(frozen=True)
class StateCounts:
    """What a hidden Markov model expects of some sequences; a step of EM learns from the sum over all parts.

    Attributes
    ----------
    chain : ChainCounts
        Expected counts of the chain.
    emissions : Counts
        Those of the mixture that states emit.
    log_likelihood : float
        Of the sequences, each with its weight.
    n_steps : float
        Weight of their steps.
    """

    chain: ChainCounts
    emissions: Any
    log_likelihood: float
    n_steps: float

    @classmethod
    def of(cls, chain, emissions, data) -> Self:
        """Count sequences under the present parameters.

        Parameters
        ----------
        chain : Chain
            The chain.
        emissions : FiniteMixture
            What its states emit.
        data : WeightedSequences
            The sequences.
        """
        learner = MixtureLearner(emissions, data.rows)
        part = data.part(np.ones(len(data.lengths), dtype=bool), len(chain.start))
        passed = chain.forward(part.steps, part.log_b(learner.log_conditional()), part.rows)
        posterior, ratio = chain.backward(part.steps, passed)
        return cls(
            chain.count(part.steps, passed, posterior, ratio, part.weight, part.empty),
            emissions.count(learner.prepared, part.responsibilities(posterior)),
            part.log_likelihood(chain, passed),
            float(part.total),
        )

    def __add__(self, other):
        return StateCounts(
            self.chain.plus(other.chain),
            self.emissions.plus(other.emissions),
            self.log_likelihood + other.log_likelihood,
            self.n_steps + other.n_steps,
        )


def learnt_emissions(emissions, counts, decoder=None):
    """Return the mixture that learns from expected counts, by itself or as the network says that decodes it."""
    if decoder is not None:
        return decoder.maximise(counts)
    emissions.learn(counts)
    return emissions


def add_sequences(chain, emissions, data, alpha, decoder=None):
    """Return a chain of states, and the mixture that they emit, with counts of further sequences in one step of EM.

    Parameters
    ----------
    chain : Chain
        The chain; it is left as it is.
    emissions : FiniteMixture
        What states emit; it is left as it is, too.
    data : WeightedSequences
        The further sequences.
    alpha : float
        Pseudo-counts of the chain.
    decoder : StateDecoder, default=None
        The network that says what states emit, which learns; by default the mixture does.
    """
    further = StateCounts.of(chain, emissions, data)
    chain, emissions = copy.deepcopy(chain), copy.deepcopy(emissions)
    chain.learn(chain.counts.plus(further.chain), alpha)
    counts = emissions.counts.plus(further.emissions)
    return chain, learnt_emissions(emissions, counts, decoder)
