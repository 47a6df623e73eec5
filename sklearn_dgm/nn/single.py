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
# Numbers that stay in the cache, least and most rows of a product, and least and most products of a chunk.
NUMBERS_AT_ONCE, ROWS_OF_PRODUCT, PRODUCTS_OF_CHUNK = 3 * 2**18, (64, 256), (2, 4)
# The same of an accelerator: numbers that it has room for, in large products, which one call makes.
ON_ACCELERATOR = 2**26, (64, 2**14), (1, 1)


def rows_at_once(width, device):
    """Return the rows of a product and of a chunk, which are powers of two, if a row takes up so many numbers."""
    on_cpu = NUMBERS_AT_ONCE, ROWS_OF_PRODUCT, PRODUCTS_OF_CHUNK
    n_numbers, rows, products = on_cpu if device.type == "cpu" else ON_ACCELERATOR
    of_product = 2 ** int(np.log2(np.clip(n_numbers / width, *rows)))
    return of_product, of_product * 2 ** int(
        np.log2(np.clip(n_numbers / width / of_product, *products))
    )


def add_product(y, a, b, n_rows):
    """Add products of matrices to others, in place.

    They are products of one shape, since those of others may differ in their last bits. So what a row adds does not
    depend on how many rows there are.

    Parameters
    ----------
    y : Tensor of shape (k, m, n)
        What is added to, with rows side by side.
    a : Tensor of shape (k, m, l)
        The matrices.
    b : Tensor of shape (k, l, n)
        What they are multiplied with.
    n_rows : int
        Rows of a product, of which n is a multiple.

    Returns
    -------
    y : Tensor of shape (k, m, n)
        The sums.
    """
    for to, of in zip(y.split(n_rows, dim=2), b.split(n_rows, dim=2), strict=True):
        to.baddbmm_(a, of)
    return y


def asinh(x):
    """Return the inverse hyperbolic sine, to within 2e-7; in a tenth of the time of torch's own."""
    size = x.abs()
    return torch.copysign(torch.log(size + torch.sqrt(size * size + 1)), x)


def _single(tensors):
    """Stack tensors of networks, in single precision."""
    tensors = list(tensors)
    single = tensors[0].new_empty(len(tensors), *tensors[0].shape, dtype=torch.float32)
    for of_network, tensor in zip(single, tensors, strict=True):
        of_network.copy_(tensor.detach())
    return single


class StaircaseLinear:
    """A layer of each network, of whose weights most beyond a staircase are masked.

    Parameters
    ----------
    weights : Tensor of shape (k, n_out, n_in)
        Of each network, with zeros where there is no connection.
    biases : Tensor of shape (k, n_out)
        Of each network.
    """

    def __init__(self, weights, biases):
        k, n_out, n_in = weights.shape
        places = torch.arange(1, n_in + 1, dtype=torch.int32, device=weights.device)
        n_used, order = ((weights != 0) * places).amax(dim=2).sort(dim=1, stable=True)
        n_used = n_used.amax(dim=0).tolist()
        first = n_out * torch.arange(k, device=weights.device)[:, None]
        is_in_order = bool((order.diff(dim=1) > 0).all())
        self.back = None if is_in_order else (first + order.argsort(dim=1)).flatten()
        at = None if is_in_order else (first + order).flatten()
        weight, bias = (
            part if at is None else part.flatten(0, 1)[at].view(part.shape)
            for part in (weights, biases)
        )
        self.bias, self.blocks = bias[..., None], []
        for start in range(0, n_out, BLOCK_SIZE):
            rows = slice(start, min(start + BLOCK_SIZE, n_out))
            self.blocks.append((rows, weight[:, rows, : n_used[rows.stop - 1]].contiguous()))

    def __call__(self, x, n_rows):
        """Apply the layers to inputs of shape (k, n_in, n), in products of so many rows."""
        y = x.new_empty(len(x), self.bias.shape[1], x.shape[2])
        for of_y, of_x in zip(y.split(n_rows, dim=2), x.split(n_rows, dim=2), strict=True):
            for rows, weight in self.blocks:
                torch.bmm(weight, of_x[:, : weight.shape[2]], out=of_y[:, rows])
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
    weights : list of Tensor of shape (n_units, n_pieces)
        Of each network, what a piece adds.
    """

    def __init__(self, networks, weights):
        seen, like = [network.inputs for network in networks], weights[0]
        sizes = np.array([[at.stop - at.start for at in i.pieces_at.values()] for i in seen])
        (k, n_numbers), n_pieces = sizes.shape, sizes.max()
        shape = n_numbers, n_pieces
        is_piece = torch.from_numpy(np.arange(n_pieces) < sizes[..., None]).to(like.device)
        self.low = seen[0].piece_low.new_full((k, *shape), torch.inf)
        self.low[..., 0] = 0  # of what has no pieces
        self.width = torch.ones_like(self.low)
        self.low[is_piece] = torch.cat([inputs.piece_low for inputs in seen])
        self.width[is_piece] = torch.cat([inputs.piece_width for inputs in seen])
        self.inner = self.low[..., 1:, None]
        is_before = like.new_ones(n_pieces + 1, n_pieces).tril(-1).expand(n_numbers, -1, -1)
        values = like.new_empty(k, n_numbers, n_pieces + 1, len(like))
        for weight, at, out in zip(weights, is_piece, values, strict=True):
            if not at.all():  # pieces that no number reaches add nothing
                weight = weight.new_zeros(len(weight), at.numel()).index_copy_(
                    1, at.flatten().nonzero()[:, 0], weight
                )
            torch.bmm(is_before, weight.unflatten(1, shape).permute(1, 2, 0), out=out)
        self.values = values.flatten(0, 2)
        first_knot = torch.arange(k * n_numbers, device=like.device) * (n_pieces + 1)
        self.first_knot = first_knot.view(k, n_numbers, 1)

    def __call__(self, numbers):
        """Return what the pieces add, of shape (k, n, n_units), given numbers of shape (k, n_numeric, n)."""
        # Of so few knots a search would take longer.
        is_past = (numbers[:, :, None] > self.inner).to(torch.int8)
        piece = is_past.sum(dim=2, dtype=torch.int8).long()
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

    Attributes
    ----------
    product_rows, chunk_rows : int
        Rows of a product, and of a chunk that is quick, which is a multiple. Chunks may be other multiples.
    """

    def __init__(self, networks):
        first = networks[0]
        self.inputs, bank = first.inputs, first.bank
        width = len(networks) * max(network.width for network in networks)
        self.product_rows, self.chunk_rows = rows_at_once(width, self.inputs.scale.device)
        # In place, a chunk stays in the cache.
        self.activation = torch.relu_ if first.activation is torch.relu else first.activation
        self.location, self.scale = (
            torch.stack([getattr(network.inputs, name) for network in networks])[..., None]
            for name in ("location", "scale")
        )
        self._lay_out_inputs(networks)
        self._lay_out_linear_path(networks)
        later = [(*network.hidden[1:], network.out) for network in networks]
        self.layers = [self._layer(of_networks) for of_networks in zip(*later, strict=True)]
        # Heads take columns for members, and rows for columns.
        self.bank = stacked_heads([network.bank for network in networks], axis=2)
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

    @staticmethod
    def _layer(layers):
        """Return a layer of each network as one; the last has its biases later."""
        weights, bias = _single(layer.masked_weight() for layer in layers), layers[0].bias
        if bias is None:
            return StaircaseLinear(weights, weights.new_zeros(weights.shape[:2]))
        return StaircaseLinear(weights, _single(layer.bias for layer in layers))

    def _lay_out_inputs(self, networks):
        """Lay out the first layer: the pieces of numbers, and what is multiplied, which are features and residuals."""
        n_features = networks[0].inputs.n_features
        pieces, others = [], []
        for network in networks:
            ends = [n_features, n_features + len(network.inputs.piece_label)]
            weight = network.hidden[0].masked_weight().detach()
            of_features, of_pieces, of_residuals = weight.tensor_split(ends, dim=1)
            pieces.append(of_pieces.float().mul_(PIECE_WEIGHT))
            others.append(torch.cat([of_features, RESIDUAL_WEIGHT * of_residuals], dim=1))
        self.first = _single(others)
        self.bias = _single(network.hidden[0].bias for network in networks)[:, None]
        has_pieces = any(map(torch.numel, pieces))
        self.pieces = PiecewiseLinear(networks, pieces) if has_pieces else None

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
        h = (
            self.bias.repeat(1, len(z), 1)
            if self.pieces is None
            else self.pieces(numbers) + self.bias
        )
        h = add_product(h.transpose(1, 2), self.first, inputs, self.product_rows)
        for layer in self.layers:
            h = layer(self.activation(h), self.product_rows)
        h = h.to(self.skip.dtype).add_(self.last_bias)
        if len(self.linear_rows) == h.shape[1]:
            return add_product(h, self.skip, features, self.product_rows), shifts
        of_path = h.new_zeros(k, len(self.linear_rows), len(z))
        return h.index_add_(
            1, self.linear_rows, add_product(of_path, self.skip, features, self.product_rows)
        ), shifts

    def linear(self, features):
        """Return what locations are shifted by, and residuals, in double precision: differences of large numbers."""
        sums = add_product(
            self.intercepts.repeat(1, 1, features.shape[2]),
            self.slopes,
            features,
            self.product_rows,
        )
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
