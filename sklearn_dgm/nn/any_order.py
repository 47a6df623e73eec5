"""One network for all orders of the columns.

Its masks change with the order, its weights do not (order-agnostic training: Uria, Murray and Larochelle, "A Deep and
Tractable Density Estimator", 2014, https://arxiv.org/abs/1310.1757; Germain et al., 2015). So every conditional of some
columns given others is at hand: with the observed columns first, a row with missing cells has a density in closed form.
"""

import threading
from functools import wraps

import numpy as np
import torch
from torch import nn

from sklearn_dgm.nn.completion import MADE_PARTICLES, log_marginal
from sklearn_dgm.nn.layers import LinearPath, MaskedLinear
from sklearn_dgm.nn.made import MADE
from sklearn_dgm.nn.masks import complete_adjacency
from sklearn_dgm.nn.mixture import Mixture
from sklearn_dgm.nn.randomness import current_generator
from sklearn_dgm.nn.start import start_from

# Orders among which training chooses, and whose masks are kept.
N_TRAINING_ORDERS, N_KEPT = 32, 64
# Buffers that change with the order.
CHANGING = ("mask", "start", "spread", "residual_weight", "residual_bias")
# Orders in which a step of training looks at its rows, and those in which rows with missing cells are scored at most.
N_ORDERS_A_STEP, N_GIVEN = 4, 4


class ConnectedLinear(MaskedLinear):
    """A masked linear layer whose units know what they are connected to.

    Parameters
    ----------
    mask : ndarray of shape (n_out, n_in)
        True where there is a connection.
    bias : bool
        Whether the layer has a bias.
    """

    def __init__(self, mask, bias=True):
        super().__init__(mask, bias)
        self.connectivity = nn.Parameter(torch.zeros_like(self.weight))
        self.constant = None

    def forward(self, x, rows=slice(None)):
        """Apply the layer, or some rows of it."""
        known = (self.connectivity[rows] * self.mask[rows]).sum(dim=1)
        known = known if self.constant is None else known + self.constant[rows]
        return super().forward(x, rows) + known


class ConnectedPath(LinearPath):
    """The linear path from the parents, which knows what these are.

    Parameters
    ----------
    mask : ndarray of shape (n_out, n_in)
        True where there is a connection.
    """

    def __init__(self, mask):
        super().__init__(mask)
        self.connectivity = nn.Parameter(torch.zeros_like(self.weight))

    def forward(self, x, rows=slice(None)):
        """Apply the layer, or some rows of it."""
        return super().forward(x, rows) + (self.connectivity[rows] * self.mask[rows]).sum(dim=1)


class AnyOrderMADE(MADE):
    """A MADE whose order can be changed; see :class:`~sklearn_dgm.nn.made.MADE` for its parameters."""

    layer, path = ConnectedLinear, ConnectedPath

    def use(self, order):
        """Take the masks and the start of another order.

        Parameters
        ----------
        order : OfOrder
            What :class:`Orders` gives.
        """
        self.adjacency, self.hidden_labels = order.adjacency, order.hidden_labels
        for name, buffer in order.buffers.items():
            parent, _, attribute = name.rpartition(".")
            # Masks stay boolean. Loading weights writes into buffers, so that these must be copies.
            dtype = buffer.dtype if attribute == "mask" else self.bias.dtype
            buffer = buffer.to(self.bias.device, dtype, copy=True)
            setattr(self.get_submodule(parent), attribute, buffer)
        self.out.constant = order.bias.to(self.bias)


class OfOrder:
    """What changes in a network with the order of the columns.

    Parameters
    ----------
    module : MADE
        A network of that order, as training starts from it.
    """

    def __init__(self, module):
        self.adjacency = module.adjacency
        self.hidden_labels = module.hidden_labels
        self.bias = module.bias.detach().clone()
        self.buffers = {
            name: buffer
            for name, buffer in module.named_buffers()
            if name.rpartition(".")[2] in CHANGING
        }


class Orders:
    """The masks and starts of orders, made when they are wanted; shared by all copies of a network.

    Parameters
    ----------
    moments, regressed
        What all orders start from; see :func:`~sklearn_dgm.nn.start.start_from`.
    variables, settings
        What :class:`~sklearn_dgm.nn.made.MADE` takes before and after the adjacency.
    """

    def __init__(self, moments, variables, settings, regressed=()):
        self.moments, self.regressed = moments, regressed
        self.variables = variables
        self.settings = settings
        self.kept = {}
        self.lock = threading.RLock()

    def __call__(self, order):
        """What a network has of an order, a tuple of columns."""
        if order not in self.kept:
            with torch.random.fork_rng(devices=[]), torch.no_grad():
                module = MADE(self.variables, complete_adjacency(order), *self.settings)
                start_from(module, self.moments, self.regressed)
            if len(self.kept) >= N_KEPT:
                del self.kept[next(iter(self.kept))]
            self.kept[order] = OfOrder(module)
        return self.kept[order]

    def __deepcopy__(self, memo):
        return self

    def __getstate__(self):
        state = {**vars(self), "kept": {}}
        del state["lock"]
        return state

    def __setstate__(self, state):
        self.__dict__ = {**state, "lock": threading.RLock()}


class Ordered:
    """A network in one order, which answers as a MADE of its own does; threads take turns.

    Parameters
    ----------
    network : AnyOrderMADE
        The network.
    orders : Orders
        Where its masks come from.
    order : tuple of int
        A permutation of the columns.
    """

    def __init__(self, network, orders, order):
        self.network, self.orders, self.order = network, orders, order

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        attribute = getattr(self.network, name)
        if not callable(attribute):
            return attribute

        @wraps(attribute)
        def in_this_order(*args, **kwargs):
            with self.orders.lock:
                self.network.use(self.orders(self.order))
                return attribute(*args, **kwargs)

        return in_this_order


class OrderMixture(Mixture):
    """Mixture of one network in several orders of the columns; in training, the order is a random one.

    Parameters
    ----------
    network : AnyOrderMADE
        The network.
    orders : Orders
        The masks and starts of orders.
    scored : ndarray of shape (n_orders, d)
        The orders in the mixture.
    """

    takes_any_order = True

    def __init__(self, network, orders, scored):
        nn.Module.__init__(self)
        with torch.no_grad():
            network.out.weight.mul_(0.01)
        self.network = network
        self.orders = orders
        self.scored = [tuple(order) for order in scored.tolist()]
        rng = np.random.default_rng(0)
        n_others = max(N_TRAINING_ORDERS - len(scored), 0)
        others = [tuple(rng.permutation(scored.shape[1]).tolist()) for _ in range(n_others)]
        self.trained = [*self.scored, *others]

    @property
    def members(self):
        """The network in each of its orders."""
        return [Ordered(self.network, self.orders, order) for order in self.scored]

    def members_given(self, missing):
        """The network in its orders, but for the missing columns, which come last.

        Parameters
        ----------
        missing : list of bool
            Which columns are missing.

        Returns
        -------
        members : list of Ordered
            One for each order, without those that occur twice.
        """
        some = self.scored[:N_GIVEN]
        orders = {tuple(sorted(order, key=missing.__getitem__)) for order in some}
        return [Ordered(self.network, self.orders, order) for order in sorted(orders)]

    def any_member(self):
        """The network in a random one of the orders of training."""
        generator = current_generator()
        device = None if generator is None else generator.device
        number = torch.randint(len(self.trained), (), generator=generator, device=device)
        order = self.trained[int(number)]
        return Ordered(self.network, self.orders, order)

    def log_prob(self, z):
        """Log-density of each row, of shape (n,); of the observed cells, where some are NaN.

        The latter, for training, is an estimate in the given orders: every pattern of missing cells would ask for others.
        """
        if z.isnan().any():
            marginals = [
                log_marginal(member, z, MADE_PARTICLES, MADE_PARTICLES) for member in self.members
            ]
            return self._mean(torch.stack(marginals))
        return super().log_prob(z)

    def loss(self, z):
        """Negative log-likelihood of each row, of shape (n,); in training, in a few random orders."""
        if not self.training:
            return super().loss(z)
        return sum(self.any_member().loss(z) for _ in range(N_ORDERS_A_STEP)) / N_ORDERS_A_STEP
