"""Convolutions that see of an image what comes before a pixel, in one pass over all or pixel by pixel.

Two stacks of gated layers (van den Oord et al., "Conditional Image Generation with PixelCNN Decoders", NeurIPS 2016,
https://arxiv.org/abs/1606.05328): the vertical one sees the rows above, the horizontal one what is to the left in the
same row, and what the vertical one says. Neither is masked: images are padded and shifted, so that there is no blind
spot. Pixel by pixel every number is computed once, as soon as all it is made of is known (Ramachandran et al., "Fast
Generation for Convolutional Autoregressive Models", 2017, https://arxiv.org/abs/1704.06001).
"""

import torch
from torch import nn
from torch.nn import functional as F

from sklearn_dgm.nn.randomness import dropout

# Width of what a layer sees; the first one, of which pixels are the inputs, sees more.
FIRST_KERNEL, KERNEL = 7, 3


def gated(x):
    """Return the products of the one half of the channels, bounded, and of the other, between 0 and 1."""
    value, gate = x.chunk(2, dim=1)
    return torch.tanh(value) * torch.sigmoid(gate)


class GatedLayer(nn.Module):
    """A layer of both stacks.

    Parameters
    ----------
    n_in, n_channels : int
        Channels of what it sees, and of each stack behind it.
    reach : int
        How many pixels it sees to each side, and above.
    is_first : bool
        Whether it sees pixels, of which it must leave out the present one; else it sees what others have made of those
        before.
    n_classes : int
        Number of classes that shift the gates; 0 for none.
    """

    def __init__(self, n_in, n_channels, reach, is_first, n_classes):
        super().__init__()
        self.reach, self.is_first = reach, is_first
        n_seen = reach if is_first else reach + 1
        self.vertical = nn.Conv2d(n_in, 2 * n_channels, (n_seen, 2 * reach + 1))
        self.horizontal = nn.Conv2d(n_in, 2 * n_channels, (1, n_seen))
        self.across = nn.Conv2d(2 * n_channels, 2 * n_channels, 1)
        self.onwards = nn.Conv2d(n_channels, n_channels, 1)
        self.of_class = None
        if n_classes:
            self.of_class = nn.Embedding(n_classes, 4 * n_channels)
            nn.init.zeros_(self.of_class.weight)

    def shifts(self, label):
        """Return what classes add to both stacks before they are gated, each of shape (n, 2 n_channels, 1, 1)."""
        if self.of_class is None:
            return 0.0, 0.0
        return self.of_class(label)[:, :, None, None].chunk(2, dim=1)

    def forward(self, vertical, horizontal, label):
        """Return both stacks behind the layer, given those before, of shape (n, n_in, height, width)."""
        reach = self.reach
        above, left = self.shifts(label)
        up = self.vertical(F.pad(vertical, (reach, reach, reach, 0)))
        back = self.horizontal(F.pad(horizontal, (reach, 0)))
        if self.is_first:
            up, back = up[:, :, :-1], back[:, :, :, :-1]
        up = up + above
        ahead = self.onwards(gated(back + self.across(up) + left))
        return gated(up), ahead if self.is_first else horizontal + ahead


class GatedConvolutions(nn.Module):
    """Contexts of pixels by both stacks.

    Parameters
    ----------
    n_in : int
        Channels of the inputs.
    n_channels : int
        Channels of each stack.
    n_layers : int
        Layers after the first one.
    dropout : float
        Share of the channels of a pixel that are dropped in training, before each layer but the first.
    n_classes : int
        Number of classes that shift the gates; 0 for none.
    """

    def __init__(self, n_in, n_channels, n_layers, dropout, n_classes):
        super().__init__()
        self.n_in, self.dropout = n_in, dropout
        first = GatedLayer(n_in, n_channels, FIRST_KERNEL // 2, True, n_classes)
        others = [
            GatedLayer(n_channels, n_channels, KERNEL // 2, False, n_classes)
            for _ in range(n_layers)
        ]
        self.layers = nn.ModuleList([first, *others])

    def forward(self, planes, label=None):
        """Return the contexts of all pixels.

        Parameters
        ----------
        planes : Tensor of shape (n, n_in, height, width)
            Inputs of all pixels.
        label : Tensor of int of shape (n,), default=None
            Classes.

        Returns
        -------
        contexts : Tensor of shape (n, n_channels, height, width)
            What is seen before each pixel.
        """
        vertical = horizontal = planes
        for layer in self.layers:
            if not layer.is_first:
                vertical = dropout(vertical, self.dropout, self.training)
                horizontal = dropout(horizontal, self.dropout, self.training)
            vertical, horizontal = layer(vertical, horizontal, label)
        return horizontal

    def visit(self, planes, label=None):
        """Go through the pixels, row by row; see :meth:`forward` for the parameters.

        The caller fills in the inputs of a pixel before it asks for the next one. Those of later ones play no part.

        Yields
        ------
        row, column : int
            Place of the pixel.
        context : Tensor of shape (n, n_channels)
            What is seen before it.
        """
        *_, height, width = planes.shape
        layers = [RowLayer(layer, len(planes), width, label) for layer in self.layers]
        first, reach = layers[0], self.layers[0].reach
        for i in range(height):
            above = F.pad(planes[:, :, max(i - reach, 0) : i], (reach, reach, max(reach - i, 0), 0))
            vertical = first.begin(above)
            for layer in layers[1:]:
                vertical = layer.begin(layer.with_row(vertical))
            for j in range(width):
                left = F.pad(planes[:, :, i, max(j - reach, 0) : j], (max(reach - j, 0), 0))
                context = first.ahead(left, j)
                for layer in layers[1:]:
                    context = context + layer.ahead(layer.with_pixel(context, j), j)
                yield i, j, context


class RowLayer:
    """A layer that goes along rows, and keeps of what it has seen what it is going to see again.

    Parameters
    ----------
    layer : GatedLayer
        The layer.
    n, width : int
        Number of images, and their width.
    label : Tensor of int of shape (n,) or None
        Classes.
    """

    def __init__(self, layer, n, width, label):
        self.layer, reach = layer, layer.reach
        n_in = layer.vertical.in_channels
        like = layer.vertical.weight
        self.above, self.left = layer.shifts(label)
        self.rows = like.new_zeros(n, n_in, reach + 1, width + 2 * reach)
        self.pixels = like.new_zeros(n, n_in, width + reach)
        self.weight = layer.horizontal.weight[:, :, 0].flatten(1)
        self.onwards = layer.onwards.weight[:, :, 0, 0]

    def with_row(self, row):
        """Return what a row sees of the rows before and of itself, of shape (n, n_in, n_seen, width + 2 reach)."""
        reach = self.layer.reach
        self.rows = torch.cat([self.rows[:, :, 1:], F.pad(row, (reach, reach))], dim=2)
        return self.rows

    def begin(self, above):
        """Begin a row; return its vertical stack, of shape (n, n_channels, 1, width)."""
        up = self.layer.vertical(above) + self.above
        bias = self.layer.horizontal.bias[:, None, None]
        self.given = (self.layer.across(up) + bias + self.left)[:, :, 0]
        return gated(up)

    def with_pixel(self, pixel, j):
        """Return what a pixel sees of those to the left and of itself, of shape (n, n_in, n_seen)."""
        reach = self.layer.reach
        self.pixels[:, :, j + reach] = pixel
        return self.pixels[:, :, j : j + reach + 1]

    def ahead(self, left, j):
        """Return what the horizontal stack adds at a pixel, of shape (n, n_channels)."""
        back = F.linear(left.flatten(1), self.weight) + self.given[:, :, j]
        return F.linear(gated(back), self.onwards, self.layer.onwards.bias)
