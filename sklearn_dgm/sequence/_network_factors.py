"""Networks over sequences step by step, as a codec asks for them."""

from typing import Any, NamedTuple

import numpy as np
import torch

from sklearn_dgm._queries.factors import StepFactors
from sklearn_dgm._training.factors import NetworkConditional
from sklearn_dgm._training.seeding import one_thread
from sklearn_dgm.counts.axes import CategoryAxis
from sklearn_dgm.sequence._factors import CellConditional


class NetworkState(NamedTuple):
    """What a network knows of some sequences.

    Attributes
    ----------
    cell : list of tuple of Tensor
        What the cell keeps of all steps.
    context : Tensor of shape (n, size)
        What it has seen.
    before : Tensor of shape (n, d)
        The last step.
    grams : ndarray of int of shape (n, order - 1) or None
        Contexts of the n-gram that it is mixed with.
    log_p : Tensor of shape (n, n_symbols) or None
        The log-probabilities of the symbols in the mixture.
    """

    cell: list[tuple[Any, ...]]
    context: Any
    before: Any
    grams: np.ndarray | None = None
    log_p: Any = None


class NetworkStepFactors(StepFactors):
    """Conditionals of steps under a causal network, mixed with an n-gram where there is one.

    All is computed in one thread and in memory that torch aligns, so that the same calls give the same bits.

    Parameters
    ----------
    module : CausalNetwork
        The fitted network, in double precision.
    ngrams : NGrams or None
        What it is mixed with.
    rows_at_once : int
        How many sequences to ask of at most.
    """

    def __init__(self, module, ngrams, rows_at_once):
        self.module, self.ngrams, self.rows_at_once = module, ngrams, rows_at_once

    def parameters(self):
        """Yield the parameters of all probabilities; see :class:`~sklearn_dgm._queries.factors.StepFactors`."""
        yield repr(self.module.config)
        for name, tensor in self.module.state_dict().items():
            yield name
            yield tensor.cpu().numpy()
        if self.ngrams is not None:
            yield from (array for level in self.ngrams.levels_ for array in level)

    def start(self, n):
        """Return what is known of the begin of sequences."""
        module = self.module
        with one_thread(), torch.no_grad():
            contexts, cell = module.cell(module.begin(n))
        before = module.before.expand(n, -1)
        grams = None if self.ngrams is None else self.ngrams.first_contexts(n)
        return self._mixed(NetworkState(cell, contexts[:, -1], before, grams))

    def _mixed(self, state):
        """Return the state with the probabilities of the mixture, where there is one."""
        if state.grams is None or not len(state.before):
            return state
        others = self.ngrams.distributions(state.grams)
        with one_thread(), torch.no_grad():
            log_p = self.module.log_prob_codes(state.before, state.context, others)
        return state._replace(log_p=log_p)

    def take(self, state, rows):
        """Return what is known of some of the sequences."""
        place = torch.as_tensor(rows, device=self.module.before.device)
        return NetworkState(
            [tuple(part[place] for part in layer) for layer in state.cell],
            state.context[place],
            state.before[place],
            None if state.grams is None else state.grams[rows],
            None if state.log_p is None else state.log_p[place],
        )

    def stop_probability(self, state):
        """Return the probabilities that sequences end here."""
        if not self.module.ends:
            return None
        with one_thread(), torch.no_grad():
            if state.log_p is not None:
                return state.log_p[:, -1].exp().cpu().numpy()
            return torch.sigmoid(self.module.end_log_odds(state.context)).cpu().numpy()

    def visit(self, state, z):
        """Go through the columns of the next step."""
        d = len(self.module.variables)
        if state.log_p is not None:
            n_values = self.ngrams.n_values
            p = state.log_p[:, :n_values].softmax(dim=1).cpu().numpy()
            yield 0, CellConditional(p, CategoryAxis(n_values))
            return
        pair = torch.cat([state.before, torch.zeros_like(state.before)], dim=1)
        columns = self.module.steps.visit(pair, state.context)
        while True:
            with one_thread(), torch.no_grad():
                j, conditional = next(columns, (None, None))
            if j is None:
                return
            if conditional is not None:
                yield j - d, NetworkConditional(conditional, pair)
                pair[:, j] = torch.tensor(z[:, j - d], device=pair.device)

    def advance(self, state, z):
        """Return what is known after a step."""
        step = torch.tensor(z, device=self.module.before.device)
        with one_thread(), torch.no_grad():
            contexts, cell = self.module.cell(self.module.seen(step)[:, None], state.cell)
        grams = state.grams
        if grams is not None:
            grams = self.ngrams.contexts_after(grams, z[:, 0].astype(int))
        return self._mixed(NetworkState(cell, contexts[:, -1], step, grams))
