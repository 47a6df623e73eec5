"""A mixture of networks with equal weights."""

import math

import torch
from torch import nn

from sklearn_dgm.nn.completion import log_marginal, log_marginal_features
from sklearn_dgm.nn.config import config_of, module_of
from sklearn_dgm.nn.density import FactorisedDensity


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
        return self._mean(torch.stack([member.log_prob(z) for member in self.members]))

    def log_prob_at(self, z, j, x):
        """Return log-densities of other values in a column; see :class:`~sklearn_dgm.nn.density.FactorisedDensity`."""
        return self._mean(torch.stack([member.log_prob_at(z, j, x) for member in self.members]))

    def _mean(self, log_p):
        return torch.logsumexp(log_p, dim=0) - math.log(len(self.members))

    def log_prob_features(self, z):
        """Return each column's share of the log-density; see :class:`~sklearn_dgm.nn.density.FactorisedDensity`.

        The shares are the members' conditionals, averaged with the probability that a row came from each. What the
        mixture adds to their sum is spread evenly over the columns. Of rows with NaN see
        :func:`~sklearn_dgm.nn.completion.log_marginal_features`.
        """
        if z.isnan().any():
            return log_marginal_features(self, z)
        shares = torch.stack([member.log_prob_features(z) for member in self.members])
        if len(self.members) == 1:
            return shares[0]
        log_p = shares.sum(dim=2)
        total = self._mean(log_p)
        possible = total > -torch.inf
        responsibility = torch.where(possible, log_p.softmax(dim=0), 1 / len(self.members))
        # An impossible cell has no part in what a member that is not responsible says.
        counted = torch.where(responsibility[..., None] > 0, shares, 0)
        mean = (responsibility[..., None] * counted).sum(dim=0)
        rest = torch.where(possible, total - mean.sum(dim=1), 0)
        return mean + rest[:, None] / z.shape[1]

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
