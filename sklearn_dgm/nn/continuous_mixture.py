"""A decoder of latent points whose components are mixed over a standard normal (Correia et al., 2023).

The integral over the latent space is a mean over points of a Sobol net, so that log-densities of rows and points are
products of matrices: of indicators of the rows' cells with log-probabilities, and of the powers of their numbers with
the natural parameters of normals.
"""

import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from sklearn_dgm.nn.common_numbers import common_normals, common_uniforms
from sklearn_dgm.nn.config import plain
from sklearn_dgm.nn.randomness import current_generator, dropout

# Scales of numbers are no less than this, in standard deviations of the column.
LEAST_SCALE = 1e-3
LOG_2_PI = math.log(2 * math.pi)


class CellLogits(nn.Module):
    """The place of each cell of tables among the outputs of a decoder, and what rows have in these places.

    A distribution has an output for each cell but a frequent one, whose logit is zero: what rows have in common costs
    nothing then. Distributions of one size stand beside each other.

    Parameters
    ----------
    n_levels : tuple of int
        Cells of each column.
    parents : tuple of int
        Parent of each column in a tree, -1 for none; a column has a distribution for each cell of its parent.
    reference : tuple of int
        A frequent cell of each column.
    """

    def __init__(self, n_levels, parents, reference):
        super().__init__()
        n_levels, parents, reference = (
            np.array(of, dtype=int) for of in (n_levels, parents, reference)
        )
        self.n_levels, self.parents = n_levels, parents
        self.order = _roots_first(parents)
        given = np.where(parents >= 0, n_levels[parents], 1)
        sizes = np.repeat(n_levels, given)
        self.starts = np.append(0, np.cumsum(n_levels * given))
        order = np.argsort(sizes, kind="stable")
        self.sizes = [(int(s), int((sizes == s).sum())) for s in np.unique(sizes)]
        self.n_groups, self.n_outputs = len(sizes), int((sizes - 1).sum())
        firsts = np.append(0, np.cumsum(sizes))
        place = np.full(int(firsts[-1]), self.n_outputs)
        reference = np.repeat(reference, given)
        next_place = 0
        for group in order:
            own = np.delete(np.arange(firsts[group], firsts[group + 1]), reference[group])
            place[own] = next_place + np.arange(len(own))
            next_place += len(own)
        group_place = np.empty(len(sizes), dtype=int)
        group_place[order] = np.arange(len(sizes))
        first_groups = np.cumsum(given) - given
        for name, array in {
            "output_of_cell": place,
            "group_of_cell": np.repeat(group_place, sizes),
            "place_of_group": group_place,
            "cell_of_column": self.starts[:-1],
            "group_of_column": first_groups,
            "levels": n_levels,
            "parent": np.maximum(parents, 0),
            "is_root": np.less(parents, 0),
        }.items():
            self.register_buffer(name, torch.as_tensor(np.array(array)), persistent=False)

    def log_normalisers(self, logits):
        """Return the logarithms of the sums of exponentials of each distribution, of shape (n, n_groups)."""
        parts, start = [logits[:, :0]], 0
        for size, number in self.sizes:
            own = logits[:, start : start + number * (size - 1)]
            start += number * (size - 1)
            if size == 2:
                parts.append(F.softplus(own))
            else:
                own = own.reshape(len(own), number, size - 1)
                zero = own.new_zeros(*own.shape[:2], 1)
                parts.append(torch.cat([zero, own], dim=2).logsumexp(dim=2))
        return torch.cat(parts, dim=1)

    def log_cells(self, logits):
        """Return the log-probabilities of all cells in the order of the columns, of shape (n, n_cells)."""
        padded = F.pad(logits, (0, 1))
        return padded[:, self.output_of_cell] - self.log_normalisers(logits)[:, self.group_of_cell]

    def log_prob(self, codes, logits):
        """Return the log-probabilities of rows under each of several sets of logits.

        Parameters
        ----------
        codes : Tensor of shape (n, n_columns)
            Cells of rows, NaN where missing.
        logits : Tensor of shape (m, n_outputs)
            Logits.

        Returns
        -------
        log_prob : Tensor of shape (n, m)
            In nats.
        """
        seen = ~codes.isnan()
        code = codes.nan_to_num(0.0).long()
        given = torch.where(self.is_root, 0, code[:, self.parent])
        is_tree = not self.is_root.all()
        if is_tree and not seen.all():
            return self._log_marginal(codes, self.log_cells(logits))
        output = self.output_of_cell[self.cell_of_column + given * self.levels + code]
        output = torch.where(seen, output, self.n_outputs)
        cells = _indicators(output, self.n_outputs, logits.dtype)
        normalisers = self.log_normalisers(logits)
        if seen.all() and not is_tree:
            return cells @ logits.T - normalisers.sum(dim=1)
        group = self.place_of_group[self.group_of_column + given]
        groups = _indicators(torch.where(seen, group, self.n_groups), self.n_groups, logits.dtype)
        return cells @ logits.T - groups @ normalisers.T

    def _log_marginal(self, codes, log_cells):
        """Sum missing cells out along the tree, by messages from leaves to roots."""
        beliefs, log_p = [], 0.0
        for code, size in zip(codes.T, self.n_levels.tolist(), strict=True):
            agrees = code.isnan()[:, None] | (code[:, None] == torch.arange(size).to(code))
            beliefs.append(agrees.to(log_cells)[:, None])
        for j in reversed(self.order):
            i, own = int(self.parents[j]), slice(*self.starts[j : j + 2].tolist())
            p = log_cells[:, own].exp().reshape(len(log_cells), -1, beliefs[j].shape[2])
            message = torch.einsum("nmc,mbc->nmb", beliefs[j].expand(-1, len(p), -1), p)
            if i < 0:
                log_p = log_p + message[:, :, 0].log()
                continue
            # What the observed cells below add is kept apart, or products of many would be nothing.
            highest = message.amax(dim=2, keepdim=True).clamp_min(torch.finfo(p.dtype).tiny)
            log_p = log_p + highest[:, :, 0].log()
            beliefs[i] = beliefs[i] * (message / highest)
        return log_p


def _roots_first(parents):
    """Return the columns of a forest, parents before children."""
    order = np.flatnonzero(parents < 0).tolist()
    for i in order:
        order.extend(np.flatnonzero(parents == i).tolist())
    return order


def _indicators(places, n, dtype):
    """Return 1 at some places of each row, of n; those at n are none."""
    indicators = torch.zeros(len(places), n + 1, dtype=dtype, device=places.device)
    return indicators.scatter_(1, places, 1.0)[:, :n]


class ContinuousMixture(nn.Module):
    """A mixture of products, or of trees, over a standard normal latent vector that a network decodes.

    Rows are those of a finite mixture, prepared: codes of cells, numbers in standard deviations, and the log-density
    within cells.

    Parameters
    ----------
    n_levels, parents, reference : tuple of int
        Columns with tables; see :class:`CellLogits`.
    least_scales : tuple of float
        For each column of numbers the least scale of a normal.
    n_latents : int
        Size of the latent vector.
    hidden_layer_sizes : tuple of int
        Units of the layers of the decoder.
    n_points : int
        Points of the net in training.
    dropout : float
        Share of the hidden units that is dropped in training.
    """

    def __init__(
        self,
        n_levels,
        parents,
        reference,
        least_scales,
        n_latents,
        hidden_layer_sizes,
        n_points,
        dropout=0.0,
    ):
        super().__init__()
        self.settings = n_latents, hidden_layer_sizes, n_points, dropout
        self.n_latents, self.n_points, self.dropout = n_latents, n_points, dropout
        self.reference, self.least_scales = reference, least_scales
        self.tables = CellLogits(n_levels, parents, reference)
        n_numbers = len(least_scales)
        sizes = [n_latents, *hidden_layer_sizes]
        self.hidden = nn.ModuleList(map(nn.Linear, sizes[:-1], sizes[1:]))
        n_outputs = self.tables.n_outputs + 2 * n_numbers
        self.last = nn.Linear(sizes[-1], max(n_outputs, 1))
        if not n_outputs:  # a layer that is empty from the start torch warns of
            self.last.weight = nn.Parameter(self.last.weight[:0].detach())
            self.last.bias = nn.Parameter(self.last.bias[:0].detach())
        least = np.maximum(least_scales, LEAST_SCALE) if n_numbers else ()
        self.register_buffer("least", torch.tensor(least, dtype=torch.float32), persistent=False)

    @property
    def config(self):
        """Plain values that build it anew; see :class:`~sklearn_dgm.nn.density.RowDensity`."""
        n_latents, hidden_layer_sizes, n_points, dropout = self.settings
        return {
            "n_levels": plain(self.tables.n_levels),
            "parents": plain(self.tables.parents),
            "reference": plain(self.reference),
            "least_scales": plain(self.least_scales),
            "n_latents": n_latents,
            "hidden_layer_sizes": plain(hidden_layer_sizes),
            "n_points": n_points,
            "dropout": dropout,
        }

    @property
    def width(self):
        """Memory of a row in numbers, at most."""
        return max(self.n_points, self.tables.n_outputs + self.tables.n_groups)

    @torch.no_grad()
    def start_from(self, log_cells):
        """Let columns be independent on average, with given log-probabilities of cells, of shape (n_cells,)."""
        log_cells = torch.as_tensor(log_cells, dtype=self.last.bias.dtype)
        places, bias = self.tables.output_of_cell, self.last.bias
        is_reference = places == self.tables.n_outputs
        of_group = log_cells.new_empty(self.tables.n_groups)
        of_group[self.tables.group_of_cell[is_reference]] = log_cells[is_reference]
        logits = log_cells - of_group[self.tables.group_of_cell]
        bias.zero_()
        bias[places[~is_reference]] = logits[~is_reference]
        # Scales start at one standard deviation.
        scales = bias[self.tables.n_outputs + len(self.least) :]
        scales.copy_(torch.log(torch.expm1((1 - self.least).clamp_min(1e-3))))

    def decode(self, h):
        """Decode latent points.

        Parameters
        ----------
        h : Tensor of shape (m, n_latents)
            Points.

        Returns
        -------
        logits : Tensor of shape (m, n_outputs)
            Logits of cells.
        means, scales : Tensor of shape (m, n_numbers)
            Parameters of normals, in standard deviations of the columns.
        """
        for layer in self.hidden:
            h = dropout(F.silu(layer(h)), self.dropout, self.training)
        n = len(self.least)
        logits, means, scales = self.last(h).split([self.tables.n_outputs, n, n], dim=1)
        return logits, means, self.least + F.softplus(scales)

    def log_joint(self, rows, h):
        """Return the log-density of prepared rows given each of several points, of shape (n, m)."""
        n_columns = len(self.tables.n_levels)
        codes, numbers, within = rows.split([n_columns, len(self.least), 1], dim=1)
        logits, means, scales = self.decode(h)
        log_p = within
        if n_columns:
            log_p = log_p + self.tables.log_prob(codes, logits)
        if len(self.least):
            log_p = log_p + _log_normal(numbers, means, scales).to(log_p.dtype)
        return log_p

    def log_prob(self, rows):
        """Return the log-density of prepared rows, of shape (n,), over points that training shifts at random."""
        log_p = self.log_joint(rows, self.points(rows))
        return torch.logsumexp(log_p, dim=1) - math.log(self.n_points)

    def forward(self, rows):
        """Return the negative log-likelihood of prepared rows, of shape (n,)."""
        return -self.log_prob(rows)

    def points(self, like):
        """Return the points, of shape (n_points, n_latents), in the place and the precision of a tensor."""
        if not self.training:
            return common_normals(self.n_points, self.n_latents).to(like)
        uniforms = common_uniforms(self.n_points, self.n_latents).to(like.device)
        shift = torch.rand(
            self.n_latents, dtype=torch.float64, device=like.device, generator=current_generator()
        )
        margin = torch.finfo(torch.float64).eps
        shifted = ((uniforms + shift) % 1).clamp(margin, 1 - margin)
        return torch.special.ndtri(shifted).to(like)


def _log_normal(x, means, scales):
    """Return the log-density of rows of numbers, NaN where missing, under several normals, of shape (n, m).

    Differences of large products are taken in double precision.
    """
    x, means, scales = x.double(), means.double(), scales.double()
    seen = ~x.isnan()
    x, precision = torch.where(seen, x, 0.0), scales**-2
    constant = means**2 * precision + 2 * scales.log() + LOG_2_PI
    squares = x**2 @ precision.T - 2 * x @ (means * precision).T + seen.double() @ constant.T
    return -0.5 * squares
