"""A generator of the rows of a table, and the critic that it learns from."""

from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from sklearn_dgm.nn.config import plain
from sklearn_dgm.nn.layers import SkipPerceptron
from sklearn_dgm.nn.neighbours import nearest_neighbour_accuracy
from sklearn_dgm.nn.normal_scores import NormalScores
from sklearn_dgm.nn.randomness import current_generator

# Temperature of the relaxed categories, whose gradients the generator follows.
TEMPERATURE = 0.5
# Logit of a category that no row has.
NEVER = -1e9
# Slope of the critic's units below zero.
SLOPE = 0.2
# Held-out rows at most, and drawn ones, that the generator is judged by.
MAX_JUDGED = 1000
# Packs in which a row is shown to the critic to be scored.
N_PACKS = 16
# Rows that are drawn to find out how often categories are, and how many times.
N_SETTLED, N_SETTLING = 4000, 12


class Group(NamedTuple):
    """Columns of as many categories each.

    Attributes
    ----------
    columns : list of int
        Which columns.
    n_levels : int
        The number of categories of each.
    place : slice
        Where their indicators stand among the features, column by column.
    """

    columns: list
    n_levels: int
    place: slice

    def of(self, features):
        """Return their indicators, of shape (n, n_columns, n_levels), among features (n, n_features)."""
        return features[:, self.place].unflatten(1, (len(self.columns), self.n_levels))


class TableFeatures(nn.Module):
    """Rows of a table as generator and critic see them: normal scores of numbers, then indicators of categories.

    Parameters
    ----------
    n_levels : tuple of int or None
        For each column the number of its categories, None for one of numbers.
    n_knots : int
        Knots of the distribution functions of numbers; see :class:`~sklearn_dgm.nn.normal_scores.NormalScores`.
    whole : tuple of bool
        For each column of numbers whether these are whole.
    """

    def __init__(self, n_levels, n_knots, whole):
        super().__init__()
        self.n_levels = plain(tuple(n_levels))
        self.numbers = [j for j, n in enumerate(self.n_levels) if n is None]
        self.scores = NormalScores(whole, n_knots)
        # Columns of as many categories stand side by side, and are one array.
        self.groups, start = [], len(self.numbers)
        for size in sorted(set(self.n_levels) - {None}):
            columns = [j for j, n in enumerate(self.n_levels) if n == size]
            stop = start + size * len(columns)
            self.groups.append(Group(columns, size, slice(start, stop)))
            start = stop
        self.n_features = start
        # Of each category, how often rows have it; one that none has is not drawn. Of numbers, one.
        self.register_buffer("shares", torch.ones(start))

    @property
    def config(self):
        """Plain values that build it anew."""
        return {
            "n_levels": self.n_levels,
            "n_knots": self.scores.n_knots,
            "whole": self.scores.whole,
        }

    def forward(self, z, uniforms):
        """Return the features, of shape (n, n_features), of encoded rows.

        Parameters
        ----------
        z : Tensor of shape (n, d)
            Encoded rows, in double precision.
        uniforms : Tensor of shape (n, d)
            Numbers between 0 and 1; see :meth:`~sklearn_dgm.nn.normal_scores.NormalScores.scores`.
        """
        parts = [self.scores.scores(z[:, self.numbers], uniforms[:, self.numbers])]
        parts += [_indicators(z[:, of.columns], of.n_levels).flatten(1) for of in self.groups]
        return torch.cat(parts, dim=1)

    def rows(self, features):
        """Return the encoded rows, of shape (n, d), of features."""
        z = features.new_zeros(len(features), len(self.n_levels), dtype=torch.float64)
        z[:, self.numbers] = self.scores.values(features[:, : len(self.numbers)])
        for group in self.groups:
            z[:, group.columns] = group.of(features).argmax(dim=2).double()
        return z

    def points(self, features):
        """Return features as points, in which two categories are as far apart as numbers one standard deviation."""
        scale = features.new_full((self.n_features,), 0.5**0.5)
        scale[: len(self.numbers)] = 1.0
        return features * scale


def _indicators(codes, n_levels):
    """Return indicators of codes, of shape (..., n_levels), in double precision."""
    return (codes[..., None] == torch.arange(n_levels, device=codes.device)).double()


class Conditions(nn.Module):
    """Categories that may be given to a generator: of one column, one category.

    Parameters
    ----------
    columns : tuple of int
        Columns of categories.
    n_levels : tuple of int
        Their numbers of categories.
    """

    def __init__(self, columns, n_levels):
        super().__init__()
        self.columns, self.n_levels = plain(tuple(columns)), plain(tuple(n_levels))
        self.n_given = sum(self.n_levels)
        self.place_of = {j: k for k, j in enumerate(self.columns)}
        self.register_buffer("starts", torch.tensor([0, *accumulate(self.n_levels)][:-1]).long())
        self.register_buffer("shares", torch.zeros(self.n_given))

    def indicators(self, which, codes):
        """Return indicators of the given categories, of shape (n, n_given)."""
        if not self.columns:
            return self.shares.new_zeros(len(which), 0)
        return F.one_hot(self.starts[which] + codes, self.n_given).to(self.shares)

    def flags(self, which):
        """Return indicators of the columns that are given, of shape (n, n_columns)."""
        if not self.columns:
            return self.shares.new_zeros(len(which), 0)
        return F.one_hot(which, len(self.columns)).to(self.shares)

    def of_rows(self, z):
        """Split rows with a last entry that says what is given into rows, and the columns and the codes given."""
        z, which = z[:, :-1], z[:, -1].long()
        if not self.columns:
            return z, which, which
        columns = torch.tensor(self.columns, device=z.device)
        return z, which, z.gather(1, columns[which][:, None])[:, 0].long()

    def draw(self, uniforms):
        """Draw columns, all equally likely, and their categories, by their shares, from numbers of shape (n, 2)."""
        n = max(len(self.columns), 1)
        which = (uniforms[:, 0] * n).long().clamp(max=n - 1)
        codes = torch.zeros_like(which)
        shares = self.shares.to(uniforms).split(self.n_levels) if self.columns else ()
        for k, of_column in enumerate(shares):
            at = which == k
            codes[at] = chosen(of_column, uniforms[at, 1])
        return which, codes


def chosen(shares, uniforms):
    """Return the codes, of shape (n,), that numbers between 0 and 1 choose, by their shares of shape (n_levels,)."""
    reached = shares.cumsum(0)
    (possible,) = torch.nonzero(shares, as_tuple=True)
    codes = torch.searchsorted(reached, (uniforms * reached[-1]).contiguous(), right=True)
    return codes.clamp(max=int(possible[-1]))


class AdversarialPair(nn.Module):
    """A generator of rows and the critic that it learns from (Goodfellow et al., 2014), of a table.

    The critic's expectations are to differ as much as they can between rows of the table and drawn ones, with gradients
    of length one (Gulrajani, Ahmed, Arjovsky, Dumoulin and Courville, "Improved Training of Wasserstein GANs", 2017).
    It may see several rows at once, so that a generator that draws the same again and again is found out (Lin, Khetan,
    Fanti and Oh, "PacGAN", 2018). Categories are relaxed in the generator's gradients alone (Jang, Gu and Poole,
    "Categorical Reparameterization with Gumbel-Softmax", 2017).

    Parameters
    ----------
    n_levels, n_knots, whole
        See :class:`TableFeatures`.
    conditions : tuple of int
        Columns of categories of which one may be given.
    n_latents : int
        Standard normals that a row is made of.
    hidden_layer_sizes : tuple of int
        Units of the hidden layers of each of the two.
    pac : int
        Rows that the critic sees at once.
    gradient_penalty : float
        Weight of the squared difference of the gradients' lengths from one.
    n_critic : int
        Steps of the critic for one of the generator.
    """

    def __init__(
        self,
        n_levels,
        n_knots,
        whole,
        conditions,
        n_latents,
        hidden_layer_sizes,
        pac,
        gradient_penalty=10.0,
        n_critic=1,
    ):
        super().__init__()
        self.features = TableFeatures(n_levels, n_knots, whole)
        self.conditions = Conditions(conditions, [self.features.n_levels[j] for j in conditions])
        self.n_latents, self.pac, self.n_critic = n_latents, pac, n_critic
        self.gradient_penalty = gradient_penalty
        self.hidden_layer_sizes = plain(tuple(hidden_layer_sizes))
        n_features, n_given = self.features.n_features, self.conditions.n_given
        n_inputs = n_latents + n_given
        self.generator = SkipPerceptron(n_inputs, n_inputs, hidden_layer_sizes, n_features)
        self._n_seen = n_features + len(self.features.numbers) + len(self.conditions.columns)
        sizes = (pac * self._n_seen, *hidden_layer_sizes)
        layers = [
            part for pair in pairwise(sizes) for part in (nn.Linear(*pair), nn.LeakyReLU(SLOPE))
        ]
        self.critic = nn.Sequential(*layers, nn.Linear(sizes[-1], 1))
        self.n_steps, self.reference = 0, None
        self.progress = ("n_steps",)  # what training changes beside the weights

    @property
    def config(self):
        """Plain values that build it anew."""
        return {
            **self.features.config,
            "conditions": self.conditions.columns,
            "n_latents": self.n_latents,
            "hidden_layer_sizes": self.hidden_layer_sizes,
            "pac": self.pac,
            "gradient_penalty": self.gradient_penalty,
            "n_critic": self.n_critic,
        }

    @property
    def width(self):
        """Memory of a row in numbers, at most: that of a pack in which it is scored."""
        return max(self.pac * self._n_seen, *self.hidden_layer_sizes, 1)

    @torch.no_grad()
    def start_from(self, z, weight):
        """Start from independent categories and from numbers whose normal scores are jointly normal.

        Parameters
        ----------
        z : ndarray of shape (n, d)
            Encoded rows.
        weight : ndarray of shape (n,)
            How many rows each stands for.
        """
        features, numbers = self.features, z[:, self.features.numbers]
        features.scores.learn(numbers, weight)
        share, of_conditions = self._shares_in(z, weight)
        weight = weight / weight.sum()
        numbers = torch.from_numpy(numbers)
        uniforms = torch.rand(numbers.shape, generator=current_generator(), dtype=numbers.dtype)
        scores = features.scores.scores(numbers, uniforms)
        variances, axes = torch.linalg.eigh(scores.T @ (torch.from_numpy(weight)[:, None] * scores))
        n_numbers, n_axes = len(features.numbers), min(len(features.numbers), self.n_latents)
        start = torch.zeros_like(self.generator.skip.weight, dtype=scores.dtype)
        start[:n_numbers, :n_axes] = (axes * variances.clamp(min=0).sqrt())[:, -n_axes:]
        features.shares.copy_(share)
        self.generator.start_from(start, share.clamp(min=share[share > 0].min()).log())
        self.conditions.shares.copy_(of_conditions)

    @torch.no_grad()
    def add_rows(self, z, weight, n_before):
        """Let categories be as frequent as they are in earlier rows and in further ones together.

        Parameters
        ----------
        z : ndarray of shape (n, d)
            Further rows, encoded.
        weight : ndarray of shape (n,)
            How many rows each stands for.
        n_before : float
            Number of the earlier rows.
        """
        share = weight.sum() / (n_before + weight.sum())
        of_rows = self._shares_in(z, weight)
        for mine, further in zip(
            (self.features.shares, self.conditions.shares), of_rows, strict=True
        ):
            mine.lerp_(further.to(mine), share)

    def _shares_in(self, z, weight):
        """Return the shares of categories in rows, as features have them and as conditions do."""
        features, weight = self.features, weight / weight.sum()
        shares = {
            j: np.bincount(z[:, j].astype(np.intp), weight, n)
            for j, n in enumerate(features.n_levels)
            if n is not None
        }
        of_features = [np.concatenate([shares[j] for j in of.columns]) for of in features.groups]
        of_conditions = [shares[j] for j in self.conditions.columns]
        pair = np.ones(len(features.numbers)), np.empty(0)
        return tuple(
            torch.from_numpy(np.concatenate([first, *parts]))
            for first, parts in zip(pair, (of_features, of_conditions), strict=True)
        )

    def generate(self, latents, uniforms, which, codes):
        """Return the features of drawn rows, whose gradients are those of relaxed categories.

        Parameters
        ----------
        latents : Tensor of shape (n, n_latents)
            Standard normals.
        uniforms : Tensor of shape (n, n_features)
            Numbers between 0 and 1 that choose categories.
        which, codes : Tensor of int of shape (n,)
            Which of the conditional columns is given, and its category.
        """
        inputs = torch.cat([latents, self.conditions.indicators(which, codes).to(latents)], dim=1)
        raw = self.generator(inputs, inputs)
        raw = raw.masked_fill(self.features.shares == 0, NEVER)
        parts = [raw[:, : len(self.features.numbers)]]
        place = self.conditions.place_of
        for group in self.features.groups:
            drawn = _relaxed(group.of(raw), group.of(uniforms))
            places = torch.tensor([place.get(j, -1) for j in group.columns], device=raw.device)
            is_given = (which[:, None] == places)[..., None]
            known = _indicators(codes, group.n_levels).to(drawn)[:, None]
            parts.append(torch.where(is_given, known, drawn).flatten(1))
        return torch.cat(parts, dim=1)

    def seen(self, features):
        """Return what the critic sees of rows: features, and how far apart numbers are."""
        smooth = self.features.scores.smooth_values(features[:, : len(self.features.numbers)])
        return torch.cat([features, smooth], dim=1)

    def criticise(self, seen, which):
        """Return what the critic says of packs of rows, of shape (n // pac,), given which column is given in each."""
        rows = torch.cat([seen, self.conditions.flags(which).to(seen)], dim=1)
        return self.critic(rows.reshape(-1, self.pac * self._n_seen))[:, 0]

    def _draw_like(self, which, codes):
        """Draw features with what is given, in training."""
        kind = {"generator": current_generator(), **_kind_of(self.generator.skip.weight)}
        latents = torch.randn(len(which), self.n_latents, **kind)
        uniforms = torch.rand(len(which), self.features.n_features, **kind)
        return self.generate(latents, uniforms, which, codes)

    def critic_loss(self, z):
        """Return the loss of the critic, and how far apart it says rows and drawn ones are.

        Parameters
        ----------
        z : Tensor of shape (n, d + 1)
            Encoded rows; the last entry of each says which column is given.

        Returns
        -------
        loss, distance : Tensor of shape ()
            The distance is an estimate of Wasserstein's, as far as the critic knows.
        """
        z, which, codes = self.conditions.of_rows(z)
        generator = current_generator()
        numbers = torch.rand(z.shape, generator=generator, **_kind_of(z))
        with torch.no_grad():
            drawn = self._draw_like(which, codes)
            rows = self.seen(self.features(z, numbers).to(drawn))
            drawn = self.seen(drawn)
        distance = (self.criticise(rows, which) - self.criticise(drawn, which)).mean()
        share = torch.rand(len(z) // self.pac, 1, generator=generator, **_kind_of(drawn))
        share = share.repeat_interleave(self.pac, dim=0)
        between = (share * rows + (1 - share) * drawn).requires_grad_()
        said = self.criticise(between, which).sum()
        (gradient,) = torch.autograd.grad(said, between, create_graph=True)
        length = gradient.reshape(len(z) // self.pac, -1).norm(dim=1)
        penalty = self.gradient_penalty * (length - 1).square().mean()
        return penalty - distance, distance.detach()

    def generator_loss(self, z):
        """Return the loss of the generator, with what is given in rows as in :meth:`critic_loss`."""
        _, which, codes = self.conditions.of_rows(z)
        return -self.criticise(self.seen(self._draw_like(which, codes)), which).mean()

    @torch.no_grad()
    def _draw(self, n_samples, generator, given=None):
        """Draw the features of rows, and which of the conditional columns is given in each."""
        kind = {"generator": generator, **_kind_of(self.generator.skip.weight)}
        latents = torch.randn(n_samples, self.n_latents, **kind)
        uniforms = torch.rand(n_samples, 2 + self.features.n_features, **kind)
        which, codes = self.conditions.draw(uniforms[:, :2])
        if given is not None:
            which, codes = (torch.full_like(which, of_all) for of_all in given)
        return self.generate(latents, uniforms[:, 2:], which, codes), which

    @torch.no_grad()
    def settle(self):
        """Move the constants of categories until these are drawn as often as they are in the table."""
        n_numbers, device = len(self.features.numbers), self.generator.skip.bias.device
        shares = self.features.shares[n_numbers:]
        for _ in range(N_SETTLING):
            drawn = self._draw(N_SETTLED, _same_numbers(device))[0][:, n_numbers:].mean(dim=0)
            step = torch.log((shares + 1 / N_SETTLED) / (drawn + 1 / N_SETTLED))
            self.generator.skip.bias[n_numbers:] += step.clamp(-1, 1)

    def sample(self, n_samples, generator, given=None):
        """Draw encoded rows.

        Parameters
        ----------
        n_samples : int
            Number of rows.
        generator : torch.Generator
            Source of randomness, on the module's device.
        given : tuple of int, default=None
            Which conditional column is given in all rows, and its category; random ones by default.

        Returns
        -------
        z : Tensor of shape (n_samples, d)
            Encoded rows.
        """
        return self.features.rows(self._draw(n_samples, generator, given)[0])

    def keep_reference(self, z, weight):
        """Keep some of the rows that are learnt from, by their weights, to judge drawn ones beside.

        Parameters
        ----------
        z : Tensor of shape (n, d)
            Encoded rows.
        weight : ndarray of shape (n,)
            Their weights.
        """
        reached = np.cumsum(weight)
        n_kept = min(len(z), MAX_JUDGED)
        at = np.searchsorted(reached, (np.arange(n_kept) + 0.5) / n_kept * reached[-1])
        self.reference = self._points(z[torch.from_numpy(at).to(z.device)])

    def _points(self, z):
        """Return encoded rows as points, with the scores of their numbers by numbers that are always the same."""
        uniforms = torch.rand(z.shape, generator=_same_numbers(z.device), **_kind_of(z))
        return self.features.points(self.features(z, uniforms))

    @torch.no_grad()
    def distance(self, z, weight):
        """Return how well nearest neighbours tell rows from drawn ones, NaN before there is a reference.

        See :func:`~sklearn_dgm.nn.neighbours.nearest_neighbour_accuracy`.

        Parameters
        ----------
        z : Tensor of shape (n, d)
            Encoded rows, held out.
        weight : Tensor of shape (n,)
            Their weights.
        """
        if self.reference is None:
            return weight.new_tensor(torch.nan)
        n_lots = max(MAX_JUDGED // len(self.reference), 1)
        generator = _same_numbers(z.device)
        drawn = self._draw(n_lots * len(self.reference), generator)[0].to(self.reference)
        drawn = self.features.points(drawn)
        return nearest_neighbour_accuracy(self._points(z), weight.to(drawn), self.reference, drawn)

    @torch.no_grad()
    def critic_scores(self, z):
        """Return what the critic says of rows in packs with drawn ones, on average, of shape (n,).

        Parameters
        ----------
        z : Tensor of shape (n, d)
            Encoded rows.
        """
        n_columns = max(len(self.conditions.columns), 1)
        which = torch.arange(N_PACKS, device=z.device) % n_columns
        generator = _same_numbers(z.device)
        drawn, of_drawn = self._draw(N_PACKS * self.pac, generator)
        numbers = torch.rand(N_PACKS, z.shape[1], generator=generator, **_kind_of(z))
        total = 0.0
        for i in range(N_PACKS):
            pack = slice(i * self.pac, (i + 1) * self.pac)
            rows = drawn[pack].repeat(len(z), 1, 1)
            rows[:, i % self.pac] = self.features(z, numbers[i].expand(len(z), -1)).to(drawn)
            given = of_drawn[pack].clone()
            given[i % self.pac] = which[i]
            seen = self.seen(rows.flatten(0, 1))
            total = total + self.criticise(seen, given.repeat(len(z)))
        return total / N_PACKS


def _kind_of(tensor):
    """Return device and precision of a tensor, for others like it."""
    return {"device": tensor.device, "dtype": tensor.dtype}


def _same_numbers(device):
    """Return a generator that always draws the same."""
    return torch.Generator(device).manual_seed(0)


def _relaxed(logits, uniforms):
    """Return indicators of categories by their logits, of shape (..., n_levels), with the gradients of relaxed ones."""
    smallest = torch.finfo(uniforms.dtype).tiny
    gumbel = -(-uniforms.clamp(min=smallest).log()).clamp(min=smallest).log()
    noisy = logits + gumbel
    drawn = F.one_hot(noisy.argmax(dim=-1), logits.shape[-1]).to(noisy)
    if not torch.is_grad_enabled():
        return drawn
    soft = (noisy / TEMPERATURE).softmax(dim=-1)
    return drawn + (soft - soft.detach())  # to the last bit, an indicator
