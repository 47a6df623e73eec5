"""What hidden states emit, as one network says: a decoder of the embeddings of states."""

from contextlib import nullcontext

import numpy as np
import torch

from sklearn_dgm._state import Stateful
from sklearn_dgm._training.seeding import one_thread, reproducible
from sklearn_dgm.mixture._layout import DecoderLayout
from sklearn_dgm.mixture._normals import normal_columns
from sklearn_dgm.nn.config import module_of_state, state_of
from sklearn_dgm.nn.continuous_mixture import ContinuousMixture

# Numbers of the embedding of a state, and units of the hidden layer.
EMBEDDING_SIZE, HIDDEN_SIZES = 16, (64,)
# Steps of L-BFGS for the first step of EM, which start from what all states have in common, and for each further one.
FIRST_STEPS, N_STEPS = 200, 40


class StateDecoder(Stateful):
    """A network that decodes an embedding of each state to what it emits.

    A step of maximisation is some gradient steps on the expected log-likelihood of steps and states, whose gradient is
    that of the likelihood of the sequences, the forward pass included (Salakhutdinov, Roweis and Ghahramani,
    "Optimization with EM and Expectation-Conjugate-Gradient", 2003). It is a function of expected counts, so that a
    gradient step takes no longer where there are many rows.

    Parameters
    ----------
    layout : DecoderLayout
        What is decoded.
    n_states : int
        Number of states.
    alpha : float
        How many steps of a state the tables of all steps count as.
    rng : Generator
        Where the first weights come from.
    """

    def __init__(self, layout, n_states, alpha, rng):
        self.layout, self.alpha = layout, alpha
        cells, normals = layout.cells, layout.normals
        with reproducible(rng, torch.device("cpu")):
            self.module = ContinuousMixture(
                cells.n_levels,
                cells.parents,
                layout.reference,
                () if normals is None else normals.cell,
                EMBEDDING_SIZE,
                HIDDEN_SIZES,
                n_states,
            ).double()
            self.module.start_from(layout.log_cells)
            self.embeddings = torch.randn(n_states, EMBEDDING_SIZE, dtype=torch.float64)

    @property
    def pseudo_counts(self):
        """What the tables of all steps count as, of shape (n_cells,)."""
        return self.alpha * np.exp(self.layout.log_cells)

    @torch.no_grad()
    def decoded(self, counts=None):
        """Return the mixture of what the network says of each state, which was learnt from some counts."""
        logits, *normals = self.module.decode(self.embeddings)
        arrays = self.embeddings, self.module.tables.log_cells(logits), *normals
        mixture = self.layout.mixture(*(array.numpy().copy() for array in arrays))
        mixture.counts = counts
        return mixture

    def maximise(self, counts, n_steps=N_STEPS):
        """Learn from expected counts, and return the mixture that is decoded then."""
        self.embeddings.requires_grad_()
        optimizer = torch.optim.LBFGS(
            [self.embeddings, *self.module.parameters()],
            max_iter=n_steps,
            line_search_fn="strong_wolfe",
        )

        def closure():
            optimizer.zero_grad()
            loss = self.loss(counts) / counts.weight.sum()
            loss.backward()
            return loss

        with torch.enable_grad(), one_thread():
            optimizer.step(closure)
        self.embeddings = self.embeddings.detach()
        return self.decoded(counts)

    def loss(self, counts):
        """Return minus the expected log-density of counts and of the prior, up to a constant."""
        logits, means, scales = self.module.decode(self.embeddings)
        loss = logits.new_zeros(())
        if counts.cells is not None:
            cells = torch.from_numpy(counts.cells + self.pseudo_counts)
            loss = loss - (cells * self.module.tables.log_cells(logits)).sum()
        if counts.moments is not None:
            weight, first, second = map(torch.from_numpy, counts.moments)
            prior = self.layout.normals.covariances.prior
            variances, ridge = map(torch.from_numpy, (prior.variances, prior.ridge))
            total = weight + prior.rows
            squares = second - 2 * means * first + weight * means.square()
            squares = squares + prior.rows * variances + total * ridge
            loss = loss + (total * scales.log() + squares / scales.square() / 2).sum()
        return loss

    def log_prior(self, emissions):
        """Return the log-density of the prior of tables and variances, up to a constant."""
        tables, normals = emissions.tables, emissions.normals
        of_tables = 0.0 if tables is None else np.sum(self.pseudo_counts * tables.log_cells)
        return of_tables + (0.0 if normals is None else normals.log_prior())

    def _to_state(self):
        state = super()._to_state()
        return {
            **state,
            "module": state_of(self.module),
            "embeddings": self.embeddings.numpy().copy(),
        }

    def _set_state(self, state):
        super()._set_state(state)
        self.module = module_of_state(state["module"])
        self.embeddings = torch.from_numpy(np.array(state["embeddings"]))

    # Without torch in a pickle skops can read it.
    __getstate__, __setstate__ = _to_state, _set_state


class NetworkLearner:
    """Learns what states emit, as one network that decodes an embedding of each; see :class:`StateDecoder`.

    Parameters
    ----------
    columns : list of Column
        What the schema knows of the columns of a step.
    rows : WeightedRows
        The distinct steps.
    n_states : int
        Number of states.
    alpha : float
        How many steps of a state the tables of all steps count as.
    reg_covar : "auto" or float
        What is added to variances; see :class:`~sklearn_dgm.mixture._normals.Normals`.
    rng : Generator
        Where the first weights come from.

    Attributes
    ----------
    decoder : StateDecoder
        The network.
    emissions : PointMixture
        What it says of each state.
    """

    def __init__(self, columns, rows, n_states, alpha, reg_covar, rng):
        normal = normal_columns(columns, rows.Z, rows.weight)
        of_rows = rows.Z, rows.weight, n_states, reg_covar, normal
        layout = DecoderLayout(columns, "independent", *of_rows)
        layout.learn(rows.Z, rows.weight)
        self.decoder, self._n_steps = StateDecoder(layout, n_states, alpha, rng), FIRST_STEPS
        self.emissions = self.decoder.decoded()
        self._prepared = self.emissions.prepare(rows.Z)

    def log_conditional(self):
        """Return the log-densities of the distinct steps given each state."""
        return self.emissions.log_conditional(self._prepared)

    def log_prior(self):
        """Return the log-density of the prior of tables and variances, up to a constant."""
        return self.decoder.log_prior(self.emissions)

    def maximise(self, responsibilities):
        """Learn from the weights of distinct steps in each state."""
        counts = self.emissions.count(self._prepared, responsibilities)
        self.emissions = self.decoder.maximise(counts, self._n_steps)
        self._n_steps = N_STEPS

    def small_steps(self):
        """Return a context of fits that go on with those before, as all of these do."""
        return nullcontext()
