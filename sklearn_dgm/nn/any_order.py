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
from sklearn_dgm.nn.config import config_of, module_of, plain
from sklearn_dgm.nn.inputs import TableInputs, as_variables
from sklearn_dgm.nn.layers import LinearPath, MaskedLinear
from sklearn_dgm.nn.made import MADE
from sklearn_dgm.nn.masks import complete_adjacency
from sklearn_dgm.nn.mixture import Mixture, log_prob_of
from sklearn_dgm.nn.moments import Moments, empty_moments
from sklearn_dgm.nn.randomness import current_generator
from sklearn_dgm.nn.start import start_from
from sklearn_dgm.nn.tied_mixture import TiedMixture

# Orders among which training chooses, and whose masks are kept.
N_TRAINING_ORDERS, N_KEPT = 32, 64
# Buffers that change with the order.
CHANGING = ("mask", "start", "spread", "slopes", "intercepts")
# What a start needs beside the shares of categories and atoms.
ARRAYS_OF_MOMENTS = ("used", "mean", "covariance", "counts", "sums")
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
        self.register_buffer("constant", torch.zeros(len(mask)))

    def forward(self, x, rows=slice(None)):
        """Apply the layer, or some rows of it."""
        known = (self.connectivity[rows] * self.mask[rows]).sum(dim=1) + self.constant[rows]
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

    def set_order(self, order):
        """Take the masks and the start of another order.

        Parameters
        ----------
        order : OrderState
            What :class:`Orders` gives.
        """
        self.adjacency, self.hidden_labels = order.adjacency, order.hidden_labels
        for name, buffer in order.buffers.items():
            parent, _, attribute = name.rpartition(".")
            # Masks stay boolean. Loading weights writes into buffers, so that these must be copies.
            dtype = buffer.dtype if attribute == "mask" else self.bias.dtype
            buffer = buffer.to(self.bias.device, dtype, copy=True)
            setattr(self.get_submodule(parent), attribute, buffer)
        self.out.constant = order.bias.to(self.bias, copy=True)


class OrderState:
    """Part of a network's state that changes with the order of the columns.

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


class Orders(nn.Module):
    """The masks and starts of orders, made when they are wanted; shared by all copies of a network.

    Parameters
    ----------
    moments : Moments or None
        What all orders start from; None for what is yet to be loaded.
    variables, settings
        What :class:`~sklearn_dgm.nn.made.MADE` takes before and after the adjacency.
    regressed : collection of int
        See :func:`~sklearn_dgm.nn.start.start_from`.
    n_mixed : int, default=1
        Components of the mixture that numbers start from, where the moments are yet to be loaded.
    """

    def __init__(self, moments, variables, settings, regressed=(), n_mixed=1):
        super().__init__()
        self.variables = as_variables(variables)
        self.settings, self.regressed = tuple(settings), frozenset(regressed)
        if moments is None:
            moments = empty_moments(TableInputs(variables), n_mixed)
        self._block = moments.block
        for name in ARRAYS_OF_MOMENTS:
            self.register_buffer(name, torch.from_numpy(getattr(moments, name)))
        for name, array in moments.mixture._asdict().items():
            self.register_buffer(f"mixture_{name}", torch.from_numpy(array))
        self._with_marginals = list(moments.marginals)
        for j, shares in moments.marginals.items():
            self.register_buffer(f"marginal_{j}", torch.from_numpy(shares))
        self.kept = {}
        self.lock = threading.RLock()

    @property
    def config(self):
        """Plain values that build it anew; see :class:`~sklearn_dgm.nn.density.RowDensity`."""
        return plain(
            {
                "moments": None,
                "variables": tuple(map(tuple, self.variables)),
                "settings": self.settings,
                "regressed": sorted(self.regressed),
                "n_mixed": len(self.mixture_shares),
            }
        )

    @property
    def moments(self):
        """Moments that all orders start from, of the arrays in its state."""
        arrays = {name: getattr(self, name).numpy() for name in ARRAYS_OF_MOMENTS}
        marginals = {j: getattr(self, f"marginal_{j}").numpy() for j in self._with_marginals}
        of_mixture = (getattr(self, f"mixture_{name}").numpy() for name in TiedMixture._fields)
        mixture = TiedMixture(*of_mixture)
        return Moments(**arrays, mixture=mixture, marginals=marginals, block=self._block)

    def _apply(self, fn, recurse=True):
        """Stay on the CPU and in double precision, where starts are made."""
        return self

    def forward(self, order):
        """Return the state of the network in an order, a tuple of columns."""
        if order not in self.kept:
            with torch.random.fork_rng(devices=[]), torch.no_grad():
                module = MADE(self.variables, complete_adjacency(order), *self.settings)
                start_from(module, self.moments, self.regressed)
            if len(self.kept) >= N_KEPT:
                del self.kept[next(iter(self.kept))]
            self.kept[order] = OrderState(module)
        return self.kept[order]

    def __deepcopy__(self, memo):
        return self

    def __getstate__(self):
        state = {**super().__getstate__(), "kept": {}}
        del state["lock"]
        return state

    def __setstate__(self, state):
        super().__setstate__({**state, "lock": threading.RLock()})


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
                self.network.set_order(self.orders(self.order))
                return attribute(*args, **kwargs)

        return in_this_order


class OrderMixture(Mixture):
    """Mixture of one network in several orders of the columns; in training, the order is a random one.

    Parameters
    ----------
    network : AnyOrderMADE, or its config
        The network.
    orders : Orders, or its config
        The masks and starts of orders.
    scored : array-like of int of shape (n_orders, d)
        The orders in the mixture.
    """

    takes_any_order = True

    def __init__(self, network, orders, scored):
        nn.Module.__init__(self)
        self.network, self.orders, scored = (
            module_of(network),
            module_of(orders),
            np.asarray(scored),
        )
        with torch.no_grad():
            self.network.out.weight.mul_(0.01)
        self.scored = [tuple(order) for order in scored.tolist()]
        rng = np.random.default_rng(0)
        n_others = max(N_TRAINING_ORDERS - len(scored), 0)
        others = [tuple(rng.permutation(scored.shape[1]).tolist()) for _ in range(n_others)]
        self.trained = [*self.scored, *others]

    @property
    def config(self):
        """Plain values that build it anew; see :class:`~sklearn_dgm.nn.density.RowDensity`."""
        return {
            "network": config_of(self.network),
            "orders": config_of(self.orders),
            "scored": tuple(self.scored),
        }

    @property
    def members(self):
        """The network in each of its orders."""
        return [Ordered(self.network, self.orders, order) for order in self.scored]

    def members_given(self, missing):
        """Return the network in its orders, but for the missing columns, which come last; none twice."""
        some = self.scored[:N_GIVEN]
        orders = {tuple(sorted(order, key=missing.__getitem__)) for order in some}
        return [Ordered(self.network, self.orders, order) for order in sorted(orders)]

    def any_member(self):
        """Return the network in a random one of the orders of training."""
        generator = current_generator()
        device = None if generator is None else generator.device
        number = torch.randint(len(self.trained), (), generator=generator, device=device)
        order = self.trained[int(number)]
        return Ordered(self.network, self.orders, order)

    def log_prob(self, z):
        """Return the log-density of each row, of shape (n,); of the observed cells, where some are NaN.

        The latter, for training, is an estimate in the given orders: every pattern of missing cells would ask for
        others.
        """
        if z.isnan().any():
            marginals = [
                log_marginal(member, z, MADE_PARTICLES, MADE_PARTICLES) for member in self.members
            ]
            return log_prob_of(torch.stack(marginals))
        return super().log_prob(z)

    def loss(self, z):
        """Return the negative log-likelihood of each row, of shape (n,); in training, in a few random orders."""
        if not self.training:
            return super().loss(z)
        return sum(self.any_member().loss(z) for _ in range(N_ORDERS_A_STEP)) / N_ORDERS_A_STEP
