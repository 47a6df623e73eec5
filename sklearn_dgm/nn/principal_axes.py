"""Principal axes of the pieces of numbers: coordinates in which training finds fine structure early."""

import numpy as np
import torch
from torch import nn

from sklearn_dgm.nn.inputs import PIECE_WEIGHT

# Spread of a column's first axis; that of the others falls with this power of their share of the variance.
FIRST_SPREAD, POWER = 0.4, 0.25
# Lesser shares count as so much, and a lesser variance of the first axis, so that values that rows of hardly any weight
# had are not far out.
LEAST_SHARE, LEAST_VARIANCE = 1e-4, 1e-2 * PIECE_WEIGHT**2
# Rows whose pieces are made at once.
ROWS_AT_ONCE = 1024


class PrincipalAxes(nn.Module):
    """Map of the pieces of each column onto their principal axes, of which the lesser are stretched.

    Neighbouring pieces go along with each other, so that gradients hardly see what tells them apart. Along the axes
    they do. That serves where conditionals have fine structure, and overfits where they have none. It is another choice
    of coordinates for the weights of the first layer, and :meth:`fold` returns to those of the pieces.

    Parameters
    ----------
    inputs : TableInputs
        How the network sees the columns.
    z : Tensor of shape (n, d)
        Encoded rows.
    weight : Tensor of shape (n,)
        Their weights.
    """

    def __init__(self, inputs, z, weight):
        super().__init__()
        self.pieces = slice(len(inputs.feature_label), inputs.n_inputs)
        sizes = np.array([which.stop - which.start for which in inputs.pieces_at.values()])
        # Columns have a block each, those with less pieces a part of it.
        self.register_buffer("is_piece", torch.from_numpy(np.arange(sizes.max()) < sizes[:, None]))
        share = (weight / weight.sum()).double()
        center, products = 0.0, 0.0
        for rows, part in zip(z.split(ROWS_AT_ONCE), share.split(ROWS_AT_ONCE), strict=True):
            pieces = inputs(rows)[:, self.pieces].double()
            center = center + part @ pieces
            blocks = self._blocks(pieces)
            products = products + blocks.mT @ (blocks * part[:, None])
        middle = self._blocks(center[None])
        # What fills a block is the last of its axes.
        covariances = products - middle.mT @ middle
        covariances -= torch.diag_embed((~self.is_piece).double())
        variances, axes = (part.flip(-1) for part in torch.linalg.eigh(covariances))
        largest = variances[:, :1].clamp_min(LEAST_VARIANCE)
        shares = (variances / largest).clamp_min(LEAST_SHARE)
        stretch = FIRST_SPREAD * shares ** (POWER - 0.5) / largest.sqrt()
        self.register_buffer("center", center.float())
        self.register_buffer("axes", (axes * stretch[:, None]).float())

    def _blocks(self, pieces):
        """Return pieces of shape (n, n_pieces) column by column, of shape (n_columns, n, n_most_pieces)."""
        blocks = pieces.new_zeros(len(pieces), *self.is_piece.shape)
        blocks[:, self.is_piece] = pieces
        return blocks.transpose(0, 1)

    def _times(self, pieces, matrices):
        """Multiply the pieces of each column by a matrix."""
        return torch.bmm(self._blocks(pieces), matrices).transpose(0, 1)[:, self.is_piece]

    def forward(self, inputs):
        """Return inputs of shape (n, n_inputs) with coordinates along the axes in place of the pieces."""
        inputs = inputs.clone()
        inputs[:, self.pieces] = self._times(inputs[:, self.pieces] - self.center, self.axes)
        return inputs

    @torch.no_grad()
    def fold(self, layer):
        """Give a layer that sees coordinates the weights with which it says the same of the pieces.

        Parameters
        ----------
        layer : MaskedLinear
            The first hidden layer.
        """
        of_pieces = self._times(layer.weight[:, self.pieces], self.axes.mT)
        layer.weight[:, self.pieces] = of_pieces
        mask = layer.mask[:, self.pieces]
        layer.bias -= (of_pieces * mask) @ self.center
