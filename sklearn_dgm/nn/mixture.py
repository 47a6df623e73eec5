"""A mixture of networks with equal weights."""

import math

import torch
from torch import nn

from sklearn_dgm.nn.ancestral import FARTHEST
from sklearn_dgm.nn.completion import log_marginal, log_marginal_features
from sklearn_dgm.nn.config import config_of, module_of
from sklearn_dgm.nn.density import FactorisedDensity
from sklearn_dgm.nn.single import SingleStack

# Rows whose numbers are further out, in units of the networks, or of which a network finds a cell less probable, in
# nats, are left to double precision.
REACH, LOWEST_LOG_PROB = 30.0, -32.0
# The least rows of a chunk in double precision.
MIN_ROWS = 32
# Values of a column up to which each of them is worth a row of its own.
FEW_VALUES = 4


def log_prob_of(log_p):
    """Return the log-density of a mixture with equal weights, of shape (n,), given those of its members, (k, n)."""
    return torch.logsumexp(log_p, dim=0) - math.log(len(log_p))


def shares_of(shares):
    """Return the columns' shares of the log-density of a mixture, of shape (n, d), given those of its members.

    They are the members' conditionals, averaged with the probability that a row came from each. What the mixture adds
    to their sum is spread evenly over the columns.

    Parameters
    ----------
    shares : Tensor of shape (k, n, d)
        In nats.
    """
    if len(shares) == 1:
        return shares[0]
    log_p = shares.sum(dim=2)
    total = log_prob_of(log_p)
    possible = total > -torch.inf
    responsibility = torch.where(possible, log_p.softmax(dim=0), 1 / len(shares))
    # An impossible cell has no part in what a member that is not responsible says.
    counted = torch.where(responsibility[..., None] > 0, shares, 0)
    mean = (responsibility[..., None] * counted).sum(dim=0)
    rest = torch.where(possible, total - mean.sum(dim=1), 0)
    return mean + rest[:, None] / shares.shape[2]


def _version_of(tensor):
    """Return what tells whether a tensor has changed: its memory, which nothing else has then, and torch's count."""
    return tensor.detach(), None if tensor.is_inference() else tensor._version


def _is_unchanged(tensor, version):
    """Tell whether a tensor is as it was; of tensors of inference mode torch keeps no count."""
    memory, count = version
    if tensor.is_inference():
        return False
    return tensor.data_ptr() == memory.data_ptr() and tensor._version == count


def _products_are_exact():
    """Tell whether torch computes products of single precision as exactly as it can."""
    try:
        return torch.get_float32_matmul_precision() == "highest"
    except RuntimeError:  # settings of torch.backends say otherwise of one backend
        return False


class Mixture(FactorisedDensity):
    """Mixture of modules with equal weights, such as networks for different orders of the columns.

    Parameters
    ----------
    members : iterable of RowDensity, or of their configs
        The members; what is asked of a FactorisedDensity alone, they must be.
    """

    def __init__(self, members):
        super().__init__()
        self.members = nn.ModuleList(map(module_of, members))

    def in_mixed_precision(self):
        """Return what scores rows in single precision where that is enough; no part of the state.

        It is made once for the parameters and buffers that there are; what is written through ``tensor.data``, of which
        torch keeps no count, is not seen. Where the user lets products of single precision be less exact, it is the
        mixture itself.
        """
        if not _products_are_exact():
            return self
        tensors = [*self.parameters(), *self.buffers()]
        known, mixed = vars(self).get("_mixed", ((), None))
        if len(known) != len(tensors) or not all(map(_is_unchanged, tensors, known)):
            mixed = self._in_mixed_precision()
            vars(self)["_mixed"] = list(map(_version_of, tensors)), mixed
        return mixed

    def _in_mixed_precision(self):
        networks = [getattr(member, "network", member) for member in self.members]
        keys = {getattr(network, "stack_key", None) for network in networks}
        if len(keys) > 1 or None in keys or not len(networks[0].hidden):
            return self
        return MixedPrecision(self, SingleStack(networks))

    def __getstate__(self):
        """Return the state, which copies and pickles take."""
        return {name: value for name, value in super().__getstate__().items() if name != "_mixed"}

    @property
    def config(self):
        """Plain values that build it anew; see :class:`~sklearn_dgm.nn.density.RowDensity`."""
        return {"members": tuple(config_of(member) for member in self.members)}

    @property
    def variables(self):
        """Description of the columns."""
        return self.members[0].variables

    @property
    def takes_any_order(self):
        """Whether a member can have any columns come last."""
        return any(member.takes_any_order for member in self.members)

    @property
    def n_classes(self):
        """Outcomes of a latent class among the columns; see :class:`~sklearn_dgm.nn.density.FactorisedDensity`."""
        return self.members[0].n_classes

    def barren(self, missing):
        """Flag cells on which no observed one depends; see :class:`~sklearn_dgm.nn.density.FactorisedDensity`."""
        return torch.stack([member.barren(missing) for member in self.members]).all(dim=0)

    def members_given(self, missing):
        """Return the products of all members; see :class:`~sklearn_dgm.nn.density.FactorisedDensity`."""
        return [part for member in self.members for part in member.members_given(missing)]

    @property
    def width(self):
        """Memory of a row in numbers, at most, in one of the members."""
        return max(member.width for member in self.members)

    def log_prob(self, z):
        """Return the log-density of each row, of shape (n,); of the observed cells, where some are NaN."""
        if z.isnan().any():
            return log_marginal(self, z)
        return log_prob_of(torch.stack([member.log_prob(z) for member in self.members]))

    def log_prob_at(self, z, j, x):
        """Return log-densities of other values in a column; see :class:`~sklearn_dgm.nn.density.FactorisedDensity`."""
        return log_prob_of(torch.stack([member.log_prob_at(z, j, x) for member in self.members]))

    def log_prob_features(self, z):
        """Return each column's share of the log-density; see :class:`~sklearn_dgm.nn.density.FactorisedDensity`.

        See :func:`shares_of`, and of rows with NaN :func:`~sklearn_dgm.nn.completion.log_marginal_features`.
        """
        if z.isnan().any():
            return log_marginal_features(self, z)
        return shares_of(torch.stack([member.log_prob_features(z) for member in self.members]))

    @torch.no_grad()
    def sample(self, n_samples, generator):
        """Draw rows, each from a member that is drawn first; see :class:`~sklearn_dgm.nn.density.RowDensity`."""
        chosen = torch.randint(
            len(self.members), (n_samples,), generator=generator, device=generator.device
        )
        parts = [
            member.sample(count, generator)
            for member, count in zip(
                self.members,
                torch.bincount(chosen, minlength=len(self.members)).tolist(),
                strict=True,
            )
            if count
        ]
        z = torch.cat(parts)
        # Rows of one member must not stand together: the first of n draws are draws, too.
        return z[torch.argsort(torch.argsort(chosen, stable=True))]


class MixedPrecision:
    """A mixture that scores complete rows in single precision where that is enough, else in double precision.

    In all else it is the mixture.

    What becomes of a row does not depend on those beside it, to the last bit: products are of one shape, and what is
    enough for it is seen of nothing else. Rows with a number far out, or beyond the range of the fitted ones, where
    what is possible is little and the difference of large probabilities, are not tried in single precision.

    Parameters
    ----------
    mixture : Mixture
        In double precision.
    stack : SingleStack
        The networks of its members.
    """

    def __init__(self, mixture, stack):
        self.mixture, self.stack = mixture, stack
        networks = [getattr(member, "network", member) for member in mixture.members]
        self.n_rows_in_double = max(stack.product_rows // 4, MIN_ROWS)
        lows, highs = zip(*(_reach(network.inputs) for network in networks), strict=True)
        self.low, self.high = torch.stack(lows).amax(dim=0), torch.stack(highs).amin(dim=0)

    def __getattr__(self, name):
        if name.startswith("__") or name == "mixture":
            raise AttributeError(name)
        return getattr(self.mixture, name)

    @torch.no_grad()
    def log_prob(self, z):
        """Return the log-density of complete rows, of shape (n,), in nats."""
        return self._ask(
            lambda z: log_prob_of(self._shares(z).sum(dim=2)), self.mixture.log_prob, z
        )

    @torch.no_grad()
    def log_prob_features(self, z):
        """Return each column's share of the log-density of complete rows, of shape (n, d), in nats."""
        return self._ask(lambda z: shares_of(self._shares(z)), self.mixture.log_prob_features, z)

    @torch.no_grad()
    def log_prob_at(self, z, j, x):
        """Return log-densities of other values in a column; see :class:`~sklearn_dgm.nn.density.FactorisedDensity`.

        Of more than a few values, branches that share most of a row take less time, in double precision.
        """
        if x.shape[1] > FEW_VALUES or z.isnan().any():
            return self.mixture.log_prob_at(z, j, x)
        rows = z.repeat_interleave(x.shape[1], dim=0)
        rows[:, j] = x.flatten()
        return self.log_prob(rows).reshape(x.shape)

    def _ask(self, single, double, z):
        left = ~((z >= self.low) & (z <= self.high)).all(dim=1)
        with torch.autocast(z.device.type, enabled=False):
            if not left.all():
                of_near = _in_chunks(
                    single, z[~left], self.stack.chunk_rows, self.stack.product_rows
                )
                answers = z.new_full((len(z), *of_near.shape[1:]), torch.nan)
                answers[~left] = of_near
                left = answers.isnan().reshape(len(z), -1).any(dim=1)
            if left.all():
                return _in_chunks(double, z, self.n_rows_in_double)
            if left.any():
                answers[left] = _in_chunks(double, z[left], self.n_rows_in_double)
        return answers

    def _shares(self, z):
        """Return the members' shares, of shape (k, n, d); NaN of rows for which single precision is not enough.

        These are rows with a cell so improbable that an error of 1e-7 of its log-density, or of the distance from what
        was expected, would be too large. Columns that others all but determine are no such case: the locations that
        these give are taken off in double precision.
        """
        shares = self.stack.log_prob_features(z)
        is_low = (shares < LOWEST_LOG_PROB) & (shares > -torch.inf)
        is_enough = ~is_low.any(dim=2).any(dim=0)
        pairs = zip(self.mixture.members, shares, strict=True)
        shares = torch.stack([member.with_other_shares(own, z) for member, own in pairs])
        return torch.where(is_enough[:, None], shares, torch.nan)


def _reach(inputs):
    """Return the least and the greatest value of each column for which single precision is enough, of shape (d,)."""
    ranges = [variable.support[1:3] or (-FARTHEST, FARTHEST) for variable in inputs.variables]
    low, high = torch.tensor(ranges, dtype=torch.float64, device=inputs.scale.device).unbind(dim=1)
    low, high, numeric, reach = low.clone(), high.clone(), inputs.numeric, REACH * inputs.scale
    low[numeric] = torch.maximum(low[numeric], inputs.location - reach)
    high[numeric] = torch.minimum(high[numeric], inputs.location + reach)
    return low, high


def _in_chunks(function, z, n_rows, multiple=None):
    """Apply a function of rows in chunks, of which the last is filled up with copies of a row, at least to a multiple.

    Without a multiple all chunks have one shape.
    """
    if not len(z):
        return function(z)
    multiple = multiple or n_rows
    n = -(-len(z) // multiple) * multiple
    place = torch.arange(n, device=z.device).clamp_max(len(z) - 1)
    return torch.cat([function(z[chunk]) for chunk in place.split(n_rows)])[: len(z)]
