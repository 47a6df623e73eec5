"""Masked networks of one shape in single precision, laid out so that the score of a row costs little.

In memory the rows of a chunk stand side by side: what is summed over few components, or few columns, would be slow if
these did.
"""

import numpy as np
import torch
from torch.nn import functional as F

from sklearn_dgm.nn.inputs import PIECE_WEIGHT, RESIDUAL_WEIGHT
from sklearn_dgm.nn.stack import stacked_heads

# Linear paths and biases of larger parameters, which are differences of large numbers (logits of components far apart,
# or of levels that determine each other), are in double precision, and so is what heads make of them.
MAX_LINEAR_SIZE = 64.0
# Units of a layer that are multiplied together, by all inputs that one of them has.
BLOCK_SIZE = 64


def asinh(x):
    """Return the inverse hyperbolic sine, to within 2e-7; in a tenth of the time of torch's own."""
    size = x.abs()
    return torch.copysign(torch.log(size + torch.sqrt(size * size + 1)), x)


def _single(tensors):
    """Stack tensors of networks, in single precision."""
    return torch.stack(list(tensors)).float().contiguous()


class StaircaseLinear:
    """A layer of each network, of whose weights most beyond a staircase are masked.

    Parameters
    ----------
    weights : sequence of Tensor of shape (n_out, n_in)
        Of each network, with zeros where there is no connection.
    biases : sequence of Tensor of shape (n_out,)
        Of each network.
    """

    def __init__(self, weights, biases):
        weights = [weight.detach() for weight in weights]
        n_out, n_in = weights[0].shape
        places = torch.arange(1, n_in + 1, device=weights[0].device)
        n_used = [((weight != 0) * places).amax(dim=1) for weight in weights]
        order = [n.argsort(stable=True) for n in n_used]
        n_used = torch.stack([n[o] for n, o in zip(n_used, order, strict=True)]).amax(dim=0)
        weight, bias = (
            _single(part[o] for part, o in zip(parts, order, strict=True))
            for parts in (weights, biases)
        )
        self.bias, self.blocks = bias[..., None], []
        for rows in torch.arange(n_out).split(BLOCK_SIZE):
            rows = slice(int(rows[0]), int(rows[-1]) + 1)
            n = int(n_used[rows].max())
            self.blocks.append((rows, weight[:, rows, :n].contiguous()))
        is_in_order = all(torch.equal(o, o.sort().values) for o in order)
        back = torch.cat([k * n_out + o.argsort() for k, o in enumerate(order)])
        self.back = None if is_in_order else back

    def __call__(self, x):
        """Apply the layers to inputs of shape (k, n_in, n)."""
        y = x.new_empty(len(x), self.bias.shape[1], x.shape[2])
        for rows, weight in self.blocks:
            torch.bmm(weight, x[:, : weight.shape[2]], out=y[:, rows])
        y += self.bias
        if self.back is None:
            return y
        return y.flatten(0, 1).index_select(0, self.back).reshape(y.shape)


class PiecewiseLinear:
    """What the pieces of numbers add to the first layer of each network: values at the knots, and between these.

    A product with all pieces would spend most of its time on those that a number has not reached, or has left behind.

    Parameters
    ----------
    networks : list of MADE
        The networks.
    weights : list of Tensor of shape (n_pieces, n_units)
        Of each network, what a piece adds.
    """

    def __init__(self, networks, weights):
        numeric, like = networks[0].inputs.numeric, networks[0].inputs.piece_low
        n_pieces = max(at.stop - at.start for n in networks for at in n.inputs.pieces_at.values())
        shape = len(networks), len(numeric), n_pieces
        self.low, self.width = like.new_full(shape, torch.inf), like.new_ones(shape)
        values, n_values, first_knot = [], 0, torch.zeros(shape[:2], dtype=torch.long)
        for k, (network, weight) in enumerate(zip(networks, weights, strict=True)):
            inputs = network.inputs
            for i, j in enumerate(numeric):
                at = inputs.pieces_at[j]
                n, first_knot[k, i] = at.stop - at.start, n_values
                self.low[k, i, :n] = inputs.piece_low[at]
                self.width[k, i, :n] = inputs.piece_width[at]
                values.append(F.pad(weight[at].cumsum(dim=0), (0, 0, 1, 0)))
                n_values += n + 1
        values.append(weights[0].new_zeros(1, weights[0].shape[1]))
        self.values = torch.cat(values).float()
        self.low[..., 0].nan_to_num_(posinf=0.0)  # of what has no pieces
        self.inner = self.low[..., 1:, None]
        self.first_knot = first_knot[..., None].to(like.device)

    def __call__(self, numbers):
        """Return what the pieces add, of shape (k, n, n_units), given numbers of shape (k, n_numeric, n)."""
        # Of so few knots a search would take longer. On a knot it is one piece or the other.
        is_past = (numbers[:, :, None] - self.inner).sign_().float()
        piece = ((is_past.sum(dim=2) + self.inner.shape[2]) / 2).long()
        along = (numbers - self.low.gather(2, piece)) / self.width.gather(2, piece)
        along = along.clamp_(0, 1).float().transpose(1, 2).flatten(0, 1)
        knot = (self.first_knot + piece).transpose(1, 2).flatten(0, 1)
        added = F.embedding_bag(
            torch.cat([knot, knot + 1], dim=1),
            self.values,
            mode="sum",
            per_sample_weights=torch.cat([1 - along, along], dim=1),
        )
        return added.unflatten(0, (len(numbers), -1))


class SingleStack:
    """Masked networks with hidden layers and a stack key in common, in single precision.

    What is left of large numbers when others are taken off, locations above all, is computed in double precision.
    Numbers are to be within the range in which the linear path sees them as they are; see
    :func:`~sklearn_dgm.nn.layers.squash`.

    Parameters
    ----------
    networks : list of MADE
        The networks, in double precision.
    """

    def __init__(self, networks):
        first = networks[0]
        self.inputs, bank = first.inputs, first.bank
        # In place, a chunk stays in the cache.
        self.activation = torch.relu_ if first.activation is torch.relu else first.activation
        self.location, self.scale = (
            torch.stack([getattr(network.inputs, name) for network in networks])[..., None]
            for name in ("location", "scale")
        )
        self._lay_out_inputs(networks)
        self._lay_out_linear_path(networks)
        later = [(*network.hidden[1:], network.out) for network in networks]
        weights = zip(
            *([layer.masked_weight() for layer in layers] for layers in later), strict=True
        )
        self.layers = list(map(StaircaseLinear, weights, self._biases(networks)))
        # Heads take columns for members, and rows for columns.
        self.bank = stacked_heads(bank, [network.bank for network in networks], axis=2)
        without = np.setdiff1d(range(len(bank.variables)), bank.targets)
        places = np.argsort(np.concatenate([*bank.head_columns, without]))
        self.places = torch.from_numpy(places).to(self.skip.device)

    def _lay_out_linear_path(self, networks):
        """Lay out the linear path from the features, that to locations apart, and residuals beside it."""
        bank = networks[0].bank
        heads = zip(bank.heads, bank.head_columns, strict=True)
        numbers = [j for head, columns in heads if head.of_numbers for j in columns]
        self.location_rows = [bank.place(j)[2].start for j in numbers]
        rows = np.searchsorted(bank.linear_rows, self.location_rows)
        skip = torch.stack([network.skip.masked_weight().detach() for network in networks])
        slopes = torch.stack([network.residuals.slopes for network in networks])
        self.slopes = torch.cat([skip[:, rows], slopes], dim=1)
        intercepts = [
            torch.cat([network.bias.detach()[self.location_rows], network.residuals.intercepts])
            for network in networks
        ]
        self.intercepts = torch.stack(intercepts)[..., None]
        skip[:, rows] = 0
        bias = torch.stack([network.bias.detach() for network in networks])
        bias[:, self.location_rows] = 0
        size = skip.abs().sum(dim=2).amax() + bias.abs().amax()
        dtype = torch.float32 if size < MAX_LINEAR_SIZE else torch.float64
        self.skip, self.last_bias = skip.to(dtype), bias[..., None].to(dtype)
        self.linear_rows = torch.from_numpy(bank.linear_rows).to(skip.device)

    def _biases(self, networks):
        """Return the biases of the layers after the first, in a list for each layer; the last has its own later."""
        none = torch.zeros_like(networks[0].bias)
        of_networks = [
            [*(layer.bias for layer in network.hidden[1:]), none] for network in networks
        ]
        return zip(*of_networks, strict=True)

    def _lay_out_inputs(self, networks):
        """Lay out the first layer: the pieces of numbers, and what is multiplied, which are features and residuals."""
        n_features = networks[0].inputs.n_features
        pieces, others = [], []
        for network in networks:
            ends = [n_features, n_features + len(network.inputs.piece_label)]
            weight = network.hidden[0].masked_weight().detach().T
            of_features, of_pieces, of_residuals = weight.tensor_split(ends)
            pieces.append(PIECE_WEIGHT * of_pieces)
            others.append(torch.cat([of_features, RESIDUAL_WEIGHT * of_residuals]))
        self.pieces = PiecewiseLinear(networks, pieces) if any(map(len, pieces)) else None
        self.first = _single(others)
        self.bias = _single(network.hidden[0].bias.detach() for network in networks)[:, None]

    def params(self, z):
        """Return the parameters of all conditionals given rows.

        Parameters
        ----------
        z : Tensor of shape (n, d)
            Encoded rows.

        Returns
        -------
        params : Tensor of shape (k, n_params, n)
            Parameters, but for that.
        shifts : Tensor of shape (k, n_numbers, n)
            Biases and linear path of locations, in double precision.
        """
        k = len(self.location)
        numbers = (z[:, self.inputs.numeric].T - self.location) / self.scale
        others = [part.T.expand(k, -1, -1) for part in self.inputs.indicators(z)]
        features = torch.cat([numbers, *others], dim=1)
        shifts, residuals = self.linear(features)
        features = features.to(self.skip.dtype)
        inputs = asinh(torch.cat([features.float(), residuals.float()], dim=1))
        h = torch.baddbmm(self.bias, inputs.transpose(1, 2), self.first)
        if self.pieces is not None:
            h += self.pieces(numbers)
        h = h.transpose(1, 2)
        for layer in self.layers:
            h = layer(self.activation(h))
        h = h.to(self.skip.dtype).add_(self.last_bias)
        if len(self.linear_rows) == h.shape[1]:
            return h.baddbmm_(self.skip, features), shifts
        return h.index_add_(1, self.linear_rows, torch.bmm(self.skip, features)), shifts

    def linear(self, features):
        """Return what locations are shifted by, and residuals, in double precision: differences of large numbers."""
        sums = torch.baddbmm(self.intercepts, self.slopes, features)
        return sums.tensor_split([len(self.location_rows)], dim=1)

    def log_prob_features(self, z):
        """Return the log-density of each column given its parents under each network, of shape (k, n, d), in nats."""
        (params, shifts), columns, bank = self.params(z), z.T.contiguous(), self.bank
        parts, n_before = [], 0
        for head, of_head, rows in zip(bank.heads, bank.head_columns, bank.head_rows, strict=True):
            own = params[:, rows].unflatten(1, (len(of_head), -1)).transpose(2, 3)
            own = own.double() if head.loses_digits else own
            x = columns[of_head].expand(len(params), -1, -1)
            if head.of_numbers:
                shift = shifts[:, n_before : n_before + len(of_head)]
                n_before += len(of_head)
                log_p = head.log_prob(own, x, shift=shift)
            else:
                log_p = head.log_prob(own, x)
            parts.append(log_p.to(z.dtype))
        others = z.new_zeros(len(params), len(columns) - len(bank.targets), len(z))
        return torch.cat([*parts, others], dim=1).index_select(1, self.places).transpose(1, 2)
