"""A causal network over the steps of sequences: what it has seen of one is the context of the step that comes next."""

import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from sklearn_dgm.nn.ancestral import FARTHEST
from sklearn_dgm.nn.config import plain
from sklearn_dgm.nn.heads.outcomes import choose
from sklearn_dgm.nn.inputs import TableInputs
from sklearn_dgm.nn.made import MADE
from sklearn_dgm.nn.randomness import dropout

# Log-odds of the end of a sequence at most and at least, so that every sequence ends.
MAX_LOG_ODDS = 16.0
# Heads of attention, units of the layer between per number of a step, and the longest period of a position's angles.
N_HEADS, WIDENING, MAX_PERIOD = 4, 4, 10_000.0


class Recurrence(nn.Module):
    """Contexts by gated recurrent units.

    Parameters
    ----------
    embed : callable
        Given a size, makes the layer that embeds steps.
    size : int
        Numbers of a context.
    n_layers : int
        Layers, one over the other.
    dropout : float
        Share of the numbers between layers that are dropped in training.
    """

    def __init__(self, embed, size, n_layers, dropout):
        super().__init__()
        self.dropout = dropout
        sizes = [-(-size // 2)] + [size] * n_layers
        self.embed = embed(sizes[0])
        self.layers = nn.ModuleList(nn.GRU(k, size, batch_first=True) for k in sizes[:-1])

    def __setstate__(self, state):
        """Be a copy, whose weights lie in one piece, too, without which cuDNN gathers them anew in each call."""
        super().__setstate__(state)
        for layer in self.layers:
            layer.flatten_parameters()

    def forward(self, x, state=None):
        """Continue sequences.

        Parameters
        ----------
        x : Tensor of shape (n, n_steps, n_inputs)
            Steps.
        state : list of tuple of Tensor, default=None
            What is kept of the steps before, with an entry for each sequence; None at the begin.

        Returns
        -------
        contexts : Tensor of shape (n, n_steps, size)
            What has been seen up to each step, with it.
        state : list of tuple of Tensor
            What is kept of all steps.
        """
        x, after = self.embed(x), []
        for i, layer in enumerate(self.layers):
            x = dropout(x, self.dropout, self.training)
            x, h = layer(x, None if state is None else state[i][0][None])
            after.append((h[0],))
        return x, after


class Block(nn.Module):
    """Attention to a step and those before it, and a layer of units; both are added to what they are made of.

    Parameters
    ----------
    size : int
        Numbers of a step.
    dropout : float
        Share of what is added that is dropped in training.
    """

    def __init__(self, size, dropout):
        super().__init__()
        self.dropout = dropout
        self.of_attention, self.of_units = nn.LayerNorm(size), nn.LayerNorm(size)
        self.attend, self.attended = nn.Linear(size, 3 * size), nn.Linear(size, size)
        self.widen, self.narrow = nn.Linear(size, WIDENING * size), nn.Linear(WIDENING * size, size)

    def forward(self, x, past):
        """Return steps of shape (n, n_steps, size) anew, and the keys and values of these and of the past ones."""
        n, n_steps, size = x.shape
        heads = self.attend(self.of_attention(x)).view(n, n_steps, 3, N_HEADS, size // N_HEADS)
        query, key, value = heads.permute(2, 0, 3, 1, 4)
        n_past = 0 if past is None else past[0].shape[2]
        query, key = rotated(query, n_past), rotated(key, n_past)
        if past is not None:
            key, value = (torch.cat(pair, dim=2) for pair in zip(past, (key, value), strict=True))
        # A single step may see all.
        seen = F.scaled_dot_product_attention(query, key, value, is_causal=past is None)
        seen = self.attended(seen.transpose(1, 2).reshape(n, n_steps, size))
        x = x + dropout(seen, self.dropout, self.training)
        units = self.narrow(F.gelu(self.widen(self.of_units(x))))
        return x + dropout(units, self.dropout, self.training), (key, value)


class Transformer(nn.Module):
    """Contexts by attention; see :class:`Recurrence`, whose parameters it has.

    Positions are angles by which queries and keys are rotated, so that attention depends on distances alone (RoPE: Su
    et al., 2021, https://arxiv.org/abs/2104.09864).
    """

    def __init__(self, embed, size, n_layers, dropout):
        super().__init__()
        if size % (2 * N_HEADS):
            raise ValueError(
                f"hidden_size={size} should be a multiple of {2 * N_HEADS} for a transformer."
            )
        self.embed, self.norm = embed(size), nn.LayerNorm(size)
        self.blocks = nn.ModuleList(Block(size, dropout) for _ in range(n_layers))

    def forward(self, x, state=None):
        """Continue sequences, by one step each if any are before it; see :meth:`Recurrence.forward`."""
        x, after = self.embed(x), []
        for i, block in enumerate(self.blocks):
            x, kept = block(x, None if state is None else state[i])
            after.append(kept)
        return self.norm(x), after


def rotated(x, n_past):
    """Rotate pairs of numbers of shape (..., n_steps, size) by angles that are proportional to the place of a step."""
    n_steps, n_pairs = x.shape[-2], x.shape[-1] // 2
    frequency = MAX_PERIOD ** (-torch.arange(n_pairs, device=x.device, dtype=x.dtype) / n_pairs)
    place = torch.arange(n_past, n_past + n_steps, device=x.device, dtype=x.dtype)
    angle = place[:, None] * frequency
    cos, sin = torch.cos(angle), torch.sin(angle)
    u, v = x[..., :n_pairs], x[..., n_pairs:]
    return torch.cat([u * cos - v * sin, u * sin + v * cos], dim=-1)


CELLS = {"gru": Recurrence, "transformer": Transformer}


class CausalNetwork(nn.Module):
    """Density of sequences whose steps have one or several columns, each given all steps before it.

    ``p(sequence) = prod_t p(z_t | z_<t)``: a causal network makes a context of the steps before, and a masked network
    computes the conditionals of the columns of a step, one after the other, given the context and the last step (so
    that training can start from a chain of first order). From the context comes the probability that the sequence ends,
    too, and the share that this density has beside another one, where there is one.

    Parameters
    ----------
    variables : list of Variable, or of tuples
        The columns of a step.
    cell : {"gru", "transformer"}
        What makes contexts.
    size, n_layers : int
        Numbers of a context, and layers.
    hidden_sizes : tuple of int
        Units of the hidden layers of the masked network.
    dropout : float
        Share of units, and of numbers of a context, that are dropped in training.
    ends : bool
        Whether the end of a sequence is a part of it.
    mixes : bool
        Whether there is another density of single steps and ends, which this one is mixed with.
    """

    def __init__(self, variables, cell, size, n_layers, hidden_sizes, dropout, ends, mixes=False):
        super().__init__()
        self.inputs = TableInputs(variables)
        self.variables = self.inputs.variables
        self._cell, self.size, self.n_layers = cell, size, n_layers
        self._hidden_sizes, self.dropout, self.ends, self.mixes = hidden_sizes, dropout, ends, mixes
        self.cell = CELLS[cell](self._embedding, size, n_layers, dropout)
        d = len(self.variables)
        adjacency = np.triu(np.ones((2 * d, 2 * d), dtype=bool), 1)
        adjacency[:d, :d] = False
        self.steps = MADE(
            [*self.variables, *self.variables],
            adjacency,
            hidden_sizes,
            "relu",
            8,
            "logistic",
            dropout,
            targets=list(range(d, 2 * d)),
            n_context=size,
        )
        self.end = nn.Linear(size, 1) if ends else None
        self.gate = nn.Linear(size, 1) if mixes else None
        # What stands in the place of the step before the first one.
        before = [-1.0 if v.has_indicators else v.location for v in self.variables]
        self.register_buffer("before", torch.tensor(before, dtype=torch.float64))

    @property
    def config(self):
        """Plain values that build it anew; see :class:`~sklearn_dgm.nn.density.RowDensity`."""
        return plain(
            {
                **self.inputs.config,
                "cell": self._cell,
                "size": self.size,
                "n_layers": self.n_layers,
                "hidden_sizes": self._hidden_sizes,
                "dropout": self.dropout,
                "ends": self.ends,
                "mixes": self.mixes,
            }
        )

    @property
    def width(self):
        """Memory of a step in numbers, at most."""
        return max(3 * WIDENING * self.size, self.inputs.n_inputs, self.steps.width)

    def _embedding(self, size):
        """Make a layer that embeds what is seen of a step: a sum of vectors, one or more of each column."""
        layer = nn.Linear(self.inputs.n_inputs + 1, size)
        nn.init.normal_(layer.weight, std=len(self.variables) ** -0.5)
        return layer

    @torch.no_grad()
    def start_from(self, mean_length):
        """Start from the mean length of sequences, and from equal shares of both densities.

        Parameters
        ----------
        mean_length : float
            Steps of a sequence.
        """
        if self.ends:
            self.end.weight.mul_(0.1)
            self.end.bias.fill_(-math.log(max(mean_length, 0.01)))
        if self.mixes:
            self.gate.weight.zero_()
            self.gate.bias.zero_()

    def pairs(self, steps, lengths):
        """Return steps of shape (n_steps, d) behind those before them, as rows of the masked network."""
        before = steps.roll(1, dims=0)
        firsts = (lengths.cumsum(0) - lengths)[lengths > 0]
        before[firsts] = self.before.to(before)
        return torch.cat([_bounded(before), steps], dim=1)

    def seen(self, steps):
        """Return what the cell sees of steps, with a flag that is none of the begin."""
        return F.pad(self.inputs(_bounded(steps)), (0, 1))

    def begin(self, n):
        """Return what the cell sees of the begin of sequences."""
        begin = self.before.new_zeros(n, 1, self.inputs.n_inputs + 1)
        begin[..., -1] = 1.0
        return begin.to(self.steps.bias)

    def contexts(self, padded, is_step):
        """Return the contexts of the steps and the ends of sequences.

        Parameters
        ----------
        padded : Tensor of shape (n, n_steps, d)
            Encoded sequences; what stands behind their ends plays no part.
        is_step : Tensor of bool of shape (n, n_steps)
            What belongs to them.

        Returns
        -------
        of_steps : Tensor of shape (n_all_steps, size)
            What is seen before each step.
        of_ends : Tensor of shape (n, size)
            What is seen of each sequence in all.
        """
        n = len(padded)
        contexts, _ = self.cell(torch.cat([self.begin(n), self.seen(padded)], dim=1))
        contexts = dropout(contexts, self.dropout, self.training)
        return contexts[:, :-1][is_step], contexts[torch.arange(n), is_step.sum(dim=1)]

    def log_prob_steps(self, padded, lengths, sums_out_unknown=False):
        """Return log-densities of steps and ends, and of both the log-odds of the gate.

        Parameters
        ----------
        padded : Tensor of shape (n, n_steps, d)
            Encoded sequences; what stands behind their ends plays no part.
        lengths : Tensor of int of shape (n,)
            Numbers of steps.
        sums_out_unknown : bool, default=False
            Whether a category that is none of the codes is any of them, and not impossible.

        Returns
        -------
        log_prob : Tensor of shape (n_all_steps + n,)
            Of each step given those before it, and then of each end, 0 if that is no part of a sequence. If it is,
            those of the steps contain that the sequence goes on.
        gate : Tensor of shape (n_all_steps + n,) or None
            Log-odds of this density against another one.
        """
        is_step = steps_of(padded, lengths)
        of_steps, of_ends = self.contexts(padded, is_step)
        pairs = self.pairs(padded[is_step], lengths)
        of_columns = self.steps.log_prob_features(pairs, of_steps)
        if sums_out_unknown:
            of_columns = of_columns.masked_fill(self._is_unknown(pairs), 0.0)
        log_p = of_columns.sum(dim=1)
        log_end = log_p.new_zeros(len(lengths))
        if self.ends:
            log_p = log_p + F.logsigmoid(-self.end_log_odds(of_steps))
            log_end = F.logsigmoid(self.end_log_odds(of_ends))
        gate = self.gate(torch.cat([of_steps, of_ends]))[:, 0] if self.mixes else None
        return torch.cat([log_p, log_end]), gate

    def _is_unknown(self, pairs):
        """Flag categories that are none of the codes, in what :meth:`pairs` returns."""
        is_category = [v.is_categorical for v in self.variables] * 2
        return (pairs < 0) & torch.tensor(is_category, device=pairs.device)

    def end_log_odds(self, contexts):
        """Return the log-odds of the end after contexts of shape (n, size)."""
        return MAX_LOG_ODDS * torch.tanh(self.end(contexts)[:, 0] / MAX_LOG_ODDS)

    def log_prob(self, batch):
        """Return the log-densities of the steps and ends of sequences, mixed with another's where there is one.

        Parameters
        ----------
        batch : tuple of Tensor
            Padded sequences and their lengths, and the log-densities that another density gives their steps, of shape
            (n, n_steps), and ends, (n,).

        Returns
        -------
        log_prob : Tensor of shape (n_all_steps + n,)
            In nats; see :meth:`log_prob_steps`.
        """
        return self._own_and_mixed(*batch, sums_out_unknown=False)[1]

    def _own_and_mixed(self, padded, lengths, of_steps=None, of_ends=None, *, sums_out_unknown):
        own, gate = self.log_prob_steps(padded, lengths, sums_out_unknown)
        if not self.mixes:
            return own, own
        other = torch.cat([of_steps[steps_of(of_steps, lengths)], of_ends])
        return own, mixed(own, gate, other)

    def forward(self, batch):
        """Return the loss of each sequence; in training the mean of the mixture's and of the network's own.

        So it learns to stand alone. Trained by the mixture, it would leave to the other density what that knows, and
        the two together say less. An unknown category, of further sequences, is not counted, but as what is seen before
        others.
        """
        own, log_p = self._own_and_mixed(*batch, sums_out_unknown=True)
        if self.training and self.mixes:
            log_p = (log_p + own) / 2
        lengths = batch[1]
        rows = torch.arange(len(lengths), device=lengths.device)
        of_terms = torch.cat([rows.repeat_interleave(lengths), rows])
        return -log_p.new_zeros(len(lengths)).index_add(0, of_terms, log_p)

    @torch.no_grad()
    def sample(
        self,
        n_samples,
        generator,
        lengths=None,
        prefix=None,
        temperature=1.0,
        other=None,
        max_steps=None,
    ):
        """Draw sequences, all of them step by step.

        Parameters
        ----------
        n_samples : int
            Number of sequences.
        generator : torch.Generator
            Source of randomness, on the module's device.
        lengths : Tensor of int of shape (n_samples,), default=None
            Numbers of steps, unless the end is a part of sequences.
        prefix : Tensor of shape (n_steps, d), default=None
            What all of them begin with.
        temperature : float, default=1.0
            Of each conditional, what is drawn from is proportional to the power of one over this; of categories alone.
        other : object, default=None
            What the network is mixed with: `distributions()` returns the probabilities of the codes of the next step,
            and of the end in the last column, of shape (n, n_codes); `advance(rows, codes)` keeps some of the
            sequences, which had these codes next.
        max_steps : int, default=None
            Steps after which all sequences end; None for none.

        Returns
        -------
        steps : Tensor of shape (n_steps, d)
            Encoded steps of all sequences under each other.
        lengths : Tensor of int of shape (n_samples,)
            Numbers of steps.
        """
        if prefix is None:
            prefix = self.before.new_zeros(0, len(self.variables))
        rows = torch.arange(n_samples, device=prefix.device)
        before, context, state = self._after(prefix, n_samples)
        drawn = [prefix.repeat(n_samples, 1)]
        of_rows = [rows.repeat_interleave(len(prefix))]
        while True:
            log_p = None
            if other is not None or (temperature != 1 and len(self.variables) == 1):
                others = None if other is None else other.distributions()
                log_p = _tempered(self.log_prob_codes(before, context, others), temperature)
            if self.ends:
                uniforms = self._uniforms(len(rows), generator)
                goes_on = uniforms > self._stop_probability(context, log_p, temperature)
            else:
                goes_on = lengths[rows] > len(prefix) + len(drawn) - 1
            if max_steps is not None and len(drawn) > max_steps:
                goes_on = torch.zeros_like(goes_on)
            rows, context, before = rows[goes_on], context[goes_on], before[goes_on]
            if not len(rows):
                break
            uniforms = self._uniforms((len(rows), len(self.variables)), generator)
            if log_p is None:
                z = self._draw_columns(before, context, uniforms, temperature)
            else:
                z = _drawn(log_p[goes_on][:, : self.variables[0].n_levels], uniforms)
                if other is not None:
                    other.advance(goes_on, z[:, 0])
            context, state = self.cell(self.seen(z)[:, None], _of_rows(state, goes_on))
            context, before = context[:, -1], z
            drawn.append(z)
            of_rows.append(rows)
        order = torch.cat(of_rows).argsort(stable=True)
        return torch.cat(drawn)[order], torch.bincount(torch.cat(of_rows), minlength=n_samples)

    def _stop_probability(self, context, log_p, temperature):
        """Return the probabilities of the end; of symbols it is one, which a temperature weighs with the others."""
        if log_p is None:
            return torch.sigmoid(self.end_log_odds(context) / temperature)
        return torch.sigmoid(log_p[:, -1] - log_p[:, :-1].logsumexp(dim=1))

    def _after(self, prefix, n):
        """Return the last step, the context and the state of n sequences that have begun alike."""
        seen = torch.cat([self.begin(1), self.seen(prefix)[None]], dim=1)
        contexts, state = self.cell(seen)
        first = torch.zeros(n, dtype=torch.long, device=prefix.device)
        before = prefix[-1] if len(prefix) else self.before
        return before.expand(n, -1), contexts[first, -1], _of_rows(state, first)

    def _uniforms(self, shape, generator):
        """Return float64 numbers between 0 and 1."""
        device = self.before.device
        return torch.rand(shape, generator=generator, device=device, dtype=torch.float64)

    def _draw_columns(self, before, context, uniforms, temperature):
        """Draw a step of each sequence, column by column, of shape (n, d)."""
        d = len(self.variables)
        z = torch.cat([before, torch.zeros_like(before)], dim=1)
        for j, conditional in self.steps.visit(z, context):
            if conditional is None:
                continue
            u = uniforms[:, j - d]
            if temperature == 1:
                z[:, j] = conditional.sample(u)
            else:
                log_p = _log_prob_codes(conditional, self.variables[j - d].n_levels)
                z[:, j] = _drawn(_tempered(log_p, temperature), u[:, None])[:, 0]
        return z[:, d:]

    def log_prob_codes(self, before, context, others=None):
        """Return the log-probabilities of all codes of the next step, and then of the end if that is a part.

        Parameters
        ----------
        before : Tensor of shape (n, 1)
            The codes of the last steps.
        context : Tensor of shape (n, size)
            What has been seen.
        others : array-like of shape (n, n_symbols), default=None
            The probabilities that the other density of the mixture gives these, where there is one.
        """
        z = torch.cat([before, torch.zeros_like(before)], dim=1)
        *_, (_, conditional) = self.steps.visit(z, context)
        log_p = _log_prob_codes(conditional, self.variables[0].n_levels)
        if self.ends:
            log_odds = self.end_log_odds(context)[:, None]
            log_p = torch.cat([log_p + F.logsigmoid(-log_odds), F.logsigmoid(log_odds)], dim=1)
        if others is None:
            return log_p
        others = torch.as_tensor(others, device=log_p.device).log()
        return mixed(log_p, self.gate(context), others)


def steps_of(padded, lengths):
    """Flag what belongs to sequences of some lengths, of shape (n, n_steps), in an array of shape (n, n_steps, ...)."""
    return torch.arange(padded.shape[1], device=lengths.device) < lengths[:, None]


def _log_prob_codes(conditional, n_levels):
    """Return the log-probabilities of all codes of a categorical column, of shape (n, n_levels)."""
    params = conditional.params
    codes = torch.arange(n_levels, dtype=params.dtype, device=params.device)
    column = slice(conditional.place, conditional.place + 1)
    return conditional.head.log_prob(params[:, None, None], codes[:, None], column)[..., 0]


def _tempered(log_p, temperature):
    """Return the logarithms of powers of probabilities, up to a factor; the largest one is one."""
    return (log_p - log_p.max(dim=1, keepdim=True).values) / temperature


def _drawn(log_p, uniforms):
    """Draw codes by log-probabilities of shape (n, n_codes), up to a factor, and numbers of shape (n, 1)."""
    code, _ = choose(torch.softmax(log_p, dim=1), uniforms[:, 0])
    return code.to(log_p.dtype)


def _bounded(steps):
    """Bound steps that are known, so that what is made of them is finite."""
    bound = min(FARTHEST, torch.finfo(steps.dtype).max) / 2
    return steps.clamp(-bound, bound)


def _of_rows(state, rows):
    """Return the state of some sequences."""
    return [tuple(part[rows] for part in layer) for layer in state]


def mixed(own, gate, other):
    """Mix log-densities by the log-odds of the first."""
    return torch.logaddexp(F.logsigmoid(gate) + own, F.logsigmoid(-gate) + other)
