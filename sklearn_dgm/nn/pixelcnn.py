"""A density of images: each pixel given those above and to the left, by gated convolutions."""

from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from sklearn_dgm._subsets import some_of
from sklearn_dgm.nn.ancestral import FARTHEST, AncestralDensity
from sklearn_dgm.nn.completion import MADE_PARTICLES, log_marginal
from sklearn_dgm.nn.config import config_of, module_of, plain
from sklearn_dgm.nn.gated_convolutions import FIRST_KERNEL, GatedConvolutions
from sklearn_dgm.nn.heads import CategoricalHead
from sklearn_dgm.nn.heads.outcomes import choose
from sklearn_dgm.nn.inputs import TableInputs, Variable, as_variables
from sklearn_dgm.nn.made import MADE
from sklearn_dgm.nn.moments import moments
from sklearn_dgm.nn.outputs import Conditional
from sklearn_dgm.nn.start import start_from

# Neighbours from which there is a linear path to a pixel, as differences of rows and columns.
NEIGHBOURS = ((0, -1), (-1, 0), (-1, -1), (-1, 1))
# Numbers that stand for a channel of a pixel in the convolutions.
EMBEDDING_SIZE = 8
# Pixels that training starts from at most.
MAX_START = 2**17
# Share of the completions of an image that are of classes by what these are worth in a trial.
TRUSTED = 0.9
# Numbers of a context, as a multiple of the channels of a stack.
WIDENING = 2


class PixelCNN(AncestralDensity):
    """Density of flat images from gated convolutions (PixelCNN: van den Oord et al., 2016).

    What the convolutions see before a pixel is a context, given which a masked network computes the conditionals of the
    channels of the pixel, each given those before; these also have a linear path from the pixels next to it, so that
    training can start from regressions. Where images are of classes, the class is the last column of a row, and comes
    first: ``p(class) p(image | class)``.

    Parameters
    ----------
    variable : Variable, or a tuple
        What a channel of a pixel is, whichever it is.
    shape : tuple of int
        Height, width and number of channels.
    n_channels, n_layers, dropout
        See :class:`~sklearn_dgm.nn.gated_convolutions.GatedConvolutions`.
    n_components : int
        Components of mixture heads.
    class_shares : tuple of float, default=()
        The probabilities of the classes; empty without any.
    """

    # Pixel by pixel they are most of a training with missing pixels, and so few of them served as well.
    n_proposals = 2

    def __init__(
        self, variable, shape, n_channels, n_layers, dropout, n_components, class_shares=()
    ):
        super().__init__()
        (self.variable,) = as_variables([variable])
        self.shape = height, width, depth = tuple(shape)
        self.n_channels, self.n_layers, self.dropout = n_channels, n_layers, dropout
        self.n_components, self.class_shares = n_components, tuple(class_shares)
        n_classes = len(self.class_shares)
        of_class = [Variable(n_classes, whole=False)] if n_classes else []
        self.variables = [self.variable] * (height * width * depth) + of_class
        self.inputs = TableInputs([self.variable] * depth)
        n_embedded = min(EMBEDDING_SIZE * depth, self.inputs.n_inputs)
        self.embed = nn.Linear(self.inputs.n_inputs, n_embedded)
        self.stacks = GatedConvolutions(n_embedded + 3, n_channels, n_layers, dropout, n_classes)
        n_context = WIDENING * n_channels
        self.widen = nn.Linear(n_channels, n_context)
        # Indicators that a place never has would rule a category out there.
        n_means = depth if self.variable.n_features == 1 else 0
        n_given = n_means + len(NEIGHBOURS) * depth
        adjacency = np.triu(np.ones((n_given + depth,) * 2, dtype=bool), 1)
        adjacency[:n_given, :n_given] = False
        self.pixels = MADE(
            [Variable(None, whole=False)] * n_means + [self.variable] * (n_given - n_means + depth),
            adjacency,
            () if depth == 1 else (n_context,),
            "relu",
            n_components,
            "logistic",
            dropout,
            targets=list(range(n_given, n_given + depth)),
            n_context=n_context,
        )
        beyond = -1.0 if self.variable.has_indicators else self.variable.location
        self.register_buffer("beyond", torch.tensor(beyond, dtype=torch.float64))
        self.register_buffer("where", _places(height, width))
        self.register_buffer("means", torch.zeros(height, width, n_means))
        if n_classes:
            self.of_class = CategoricalHead([n_classes])
            self.register_buffer("class_logits", self._logits_of(self.class_shares))

    @property
    def config(self):
        """Plain values that build it anew; see :class:`~sklearn_dgm.nn.density.RowDensity`."""
        return plain(
            {
                "variable": tuple(self.variable),
                "shape": self.shape,
                "n_channels": self.n_channels,
                "n_layers": self.n_layers,
                "dropout": self.dropout,
                "n_components": self.n_components,
                "class_shares": self.class_shares,
            }
        )

    @property
    def n_pixel_columns(self):
        """Number of columns of the image itself: pixels times channels."""
        return int(np.prod(self.shape))

    @property
    def adjacency(self):
        """Graph of the columns: a pixel may depend on all before it and on the class."""
        d = self.n_pixel_columns
        graph = np.triu(np.ones((len(self.variables),) * 2, dtype=bool), 1)
        graph[:, d:], graph[d:, :d] = False, True
        return graph

    @property
    def n_classes(self):
        """Number of classes, 0 without any."""
        return len(self.class_shares)

    def barren(self, missing):
        """Flag the missing pixels behind all that are observed."""
        d = self.n_pixel_columns
        behind = missing[:, :d].flip(1).cumprod(dim=1).flip(1).bool()
        return torch.cat([behind, torch.zeros_like(missing[:, d:])], dim=1)

    @property
    def width_of_visit(self):
        """Memory of an image in numbers where it is drawn pixel by pixel."""
        height, width, _ = self.shape
        of_layer = self.n_channels * (width + FIRST_KERNEL) * 8
        return height * width * self.stacks.n_in + (self.n_layers + 1) * of_layer

    @property
    def width(self):
        """Memory of an image in numbers, at most."""
        height, width, _ = self.shape
        of_pixel = max(8 * self.n_channels, self.pixels.width, self.inputs.n_inputs)
        return height * width * of_pixel

    def parts(self, z):
        """Return the pixels of flat images, of shape (n, height, width, depth), and their classes or None."""
        d = self.n_pixel_columns
        label = z[:, d].long().clamp_min(0) if self.class_shares else None
        return z[:, :d].reshape(len(z), *self.shape), label

    def planes(self, pixels):
        """Return what the convolutions see of pixels, of shape (n, n_in, height, width): also where they are."""
        seen = self.embed(self.inputs(_bounded(pixels)))
        seen = torch.cat([seen, self.where.to(seen).expand(len(pixels), -1, -1, -1)], dim=3)
        return seen.permute(0, 3, 1, 2)  # channels last, with which convolutions are fastest

    def contexts(self, planes, label=None):
        """Return what is seen before each pixel, of shape (n, height, width, n_context)."""
        return self._widened(self.stacks(planes, label).permute(0, 2, 3, 1))

    def _widened(self, contexts):
        return F.relu(self.widen(F.relu(contexts)))

    def neighbourhoods(self, pixels):
        """Return pixels behind their means and those next to them, as rows of the masked network."""
        *_, height, width, _ = pixels.shape
        padded = _bounded(pixels).permute(0, 3, 1, 2)
        padded = F.pad(padded, (1, 1, 1, 0), value=float(self.beyond)).permute(0, 2, 3, 1)
        near = [
            padded[:, 1 + down : 1 + down + height, 1 + right : 1 + right + width]
            for down, right in NEIGHBOURS
        ]
        means = self.means.to(pixels).expand(len(pixels), -1, -1, -1)
        return torch.cat([means, *near, pixels], dim=3).flatten(0, 2)

    def log_prob_features(self, z):
        """Return each column's share; see :class:`~sklearn_dgm.nn.density.FactorisedDensity`."""
        pixels, label = self.parts(z)
        contexts = self.contexts(self.planes(pixels), label)
        log_p = self.pixels.log_prob_features(self.neighbourhoods(pixels), contexts.flatten(0, 2))
        log_p = log_p[:, -self.shape[2] :].reshape(len(z), -1)
        if label is None:
            return log_p
        of_class = self.class_conditional(len(z)).log_prob(z[:, -1])
        return torch.cat([log_p, of_class[:, None]], dim=1)

    def _logits_of(self, class_shares):
        logits = torch.tensor(class_shares, dtype=torch.float64).log()
        return logits[1:] - logits[:1] if self.of_class.is_binary else logits

    def set_class_shares(self, class_shares):
        """Give the classes other probabilities."""
        self.class_shares = tuple(class_shares)
        self.class_logits.copy_(self._logits_of(class_shares))

    def by_class(self):
        """Return the densities of the images of each class, and the shares of these."""
        members = [ImagesOfClass(self, code) for code in range(len(self.class_shares))]
        return WeightedMembers(members, np.log(self.class_shares).tolist())

    def class_conditional(self, n):
        """Return the distribution of the class of n images."""
        return Conditional(self.of_class, 0, self.class_logits.expand(n, -1))

    @torch.no_grad()
    def start_from(self, z, weight):
        """Start from regressions on the pixels next to each, and on its mean; see :mod:`~sklearn_dgm.nn.start`.

        Parameters
        ----------
        z : Tensor of shape (n, d)
            Encoded images.
        weight : ndarray of shape (n,)
            Their weights.
        """
        pixels = self.parts(z)[0]
        if self.means.shape[2]:
            features = torch.asinh(self.inputs.features(pixels))
            share = torch.from_numpy(weight / weight.sum()).to(features)
            self.means.copy_(torch.tensordot(share, features, dims=1))
        rows = self.neighbourhoods(pixels)
        weight = np.repeat(weight, self.shape[0] * self.shape[1])
        some = some_of(len(rows), MAX_START)
        start_from(self.pixels, moments(self.pixels.inputs, rows[some], weight[some]))

    def log_prob(self, z):
        """Return the log-density of each image, of shape (n,); of the observed cells, where some are NaN."""
        if not self.training and z.isnan().any():
            return log_marginal(self, z, MADE_PARTICLES, MADE_PARTICLES)
        return self.log_prob_features(z).sum(dim=1)

    @torch.no_grad()
    def complete(self, z, numbers, of_observed=False):
        """Draw several completions of each row; see :class:`~sklearn_dgm.nn.ancestral.AncestralDensity`.

        Classes that are not known are mostly drawn by what they are worth in a trial, one completion for each class, or
        most completions would be of classes that the observed pixels exclude.
        """
        if not self.class_shares or not z[:, -1].isnan().all():
            return super().complete(z, numbers, of_observed)
        n, n_classes = len(z), len(self.class_shares)
        numbers = numbers.expand(n, *numbers.shape[-2:])
        trial = z.repeat_interleave(n_classes, dim=0)
        trial[:, -1] = torch.arange(n_classes, device=z.device).repeat(n)
        of_trial = numbers[:, 0].repeat_interleave(n_classes, dim=0)
        worth = self._fill(trial, of_trial, of_observed=True)[1].sum(dim=1)
        shares = torch.tensor(self.class_shares, dtype=torch.float64, device=z.device)
        worth = worth.reshape(n, n_classes).double().softmax(dim=1).nan_to_num(1 / n_classes)
        proposed = TRUSTED * worth + (1 - TRUSTED) * shares
        code, _ = choose(
            proposed.repeat_interleave(numbers.shape[1], dim=0), numbers[..., -1].flatten()
        )
        rows = z.repeat_interleave(numbers.shape[1], dim=0)
        rows[:, -1] = code[:, 0].to(z)
        filled, of_columns = self._fill(rows, numbers.flatten(0, 1), of_observed=of_observed)
        of_class = proposed.gather(1, code.reshape(n, -1)).log().flatten()
        of_columns[:, -1] -= of_class.to(of_columns)
        return filled.reshape(numbers.shape), of_columns.reshape(numbers.shape)

    def visit(self, z):
        """Go through the class and the pixels, row by row; see :class:`~sklearn_dgm.nn.ancestral.AncestralDensity`."""
        height, width, depth = self.shape
        d, n, beyond = height * width * depth, len(z), float(self.beyond)
        if self.class_shares:
            yield d, self.class_conditional(n)
        label = self.parts(z)[1]
        pixels = z.new_full((n, height + 1, width + 2, depth), beyond)
        planes = self.planes(pixels[:, 1:, 1:-1])
        n_embedded = self.embed.out_features
        for i, j, context in self.stacks.visit(planes, label):
            near = [pixels[:, 1 + i + down, 1 + j + right] for down, right in NEIGHBOURS]
            mean = self.means[i, j].to(z).expand(n, -1)
            own = torch.cat([mean, *map(_bounded, near), z.new_zeros(n, depth)], dim=1)
            place, first = (i * width + j) * depth, own.shape[1] - depth
            for k, conditional in self.pixels.visit(own, self._widened(context)):
                if conditional is not None:
                    column = place + k - first
                    yield column, conditional
                    own[:, k] = z[:, column]
            pixels[:, 1 + i, 1 + j] = own[:, first:]
            seen = self.embed(self.inputs(_bounded(own[:, first:])))
            planes[:, :n_embedded, i, j] = seen


class WeightedMembers(NamedTuple):
    """A mixture of densities.

    Attributes
    ----------
    members : list of RowDensity
        The densities.
    log_shares : list of float
        Logarithms of their shares.
    """

    members: list
    log_shares: list


class ImagesOfClass(AncestralDensity):
    """Density of the images of one class under a network that knows several.

    Parameters
    ----------
    network : PixelCNN or its config
        The network.
    code : int
        The class.
    """

    def __init__(self, network, code):
        super().__init__()
        self.network, self.code = module_of(network), code
        self.variables = self.network.variables[:-1]
        self.adjacency = self.network.adjacency[:-1, :-1]

    @property
    def config(self):
        """Plain values that build it anew; see :class:`~sklearn_dgm.nn.density.RowDensity`."""
        return {"network": config_of(self.network), "code": self.code}

    @property
    def width(self):
        """Memory of an image in numbers, at most."""
        return self.network.width

    def _with_class(self, z):
        return F.pad(z, (0, 1), value=float(self.code))

    def log_prob_features(self, z):
        """Return each column's share; see :class:`~sklearn_dgm.nn.density.FactorisedDensity`."""
        return self.network.log_prob_features(self._with_class(z))[:, :-1]

    def log_prob(self, z):
        """Return the log-density of each image, of shape (n,)."""
        return self.log_prob_features(z).sum(dim=1)

    def visit(self, z):
        """Go through the pixels, row by row; see :class:`~sklearn_dgm.nn.ancestral.AncestralDensity`."""
        whole = self._with_class(z)
        for j, conditional in self.network.visit(whole):
            if j < z.shape[1]:
                yield j, conditional
                whole[:, j] = z[:, j]


def _places(height, width):
    """Return planes that tell where a pixel is: ones, which are none beyond the border, and coordinates up to 1."""
    row, column = (
        torch.linspace(-1, 1, size) if size > 1 else torch.zeros(1) for size in (height, width)
    )
    planes = torch.ones(height, width), row[:, None].expand(-1, width), column.expand(height, -1)
    return torch.stack(planes, dim=2)


def _bounded(pixels):
    """Bound pixels that are known, so that what is made of them is finite."""
    bound = min(FARTHEST, torch.finfo(pixels.dtype).max) / 2
    return pixels.clamp(-bound, bound)
