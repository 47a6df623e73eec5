"""Parts of normalising flows: whitening, zuko's transforms, and the distributions that flows lead to."""

import math
from functools import partial

import numpy as np
import torch
from scipy import stats
from torch import nn
from torch.distributions import Distribution
from torch.nn import functional as F

from sklearn_dgm.nn.heads.mixture_params import FAR_OUT
from sklearn_dgm.nn.splines import RationalQuadraticSpline

# Splines and polynomials are the identity beyond; so far out, numbers enter by their logarithm, before and after.
BOUND = 5.0
# No logarithm of a number that is to be drawn is larger.
MAX_LOG = 200.0


def import_zuko():
    """Import zuko, but leave torch's distributions as they were; None where it is not installed.

    zuko switches off the validation of arguments for all of them, which is no business of who uses a flow here. Its own
    distributions keep what it wants of them.
    """
    before = dict(vars(Distribution))
    try:
        import zuko
    except ImportError:
        return None
    changed = {n: v for n, v in vars(Distribution).items() if before.get(n, before) is not v}
    for name in changed:
        if name in before:
            setattr(Distribution, name, before[name])
        else:
            delattr(Distribution, name)
    for kind in vars(zuko.distributions).values():
        if getattr(kind, "__module__", "") == zuko.distributions.__name__:
            for name in changed.keys() - vars(kind).keys():
                setattr(kind, name, changed[name])
    return zuko


# Not later: a pickle of a flow names zuko's classes, and whoever loads it is to find torch as it was, too.
zuko = import_zuko()


def require_zuko():
    """Raise an ImportError that names the extra, where zuko is not installed."""
    if zuko is None:
        raise ImportError('FlowDensity needs zuko: pip install "sklearn-dgm[flow]"')


def log_tails(x, edge):
    """Return numbers of which those beyond an edge have grown only by logarithms, and the log-derivatives."""
    beyond = torch.log1p((x.abs() - edge).clamp_min(0))
    return x.clamp(-edge, edge) + x.sign() * beyond, -beyond


def inverse_log_tails(y, edge):
    """Return the numbers of which :func:`log_tails` makes others."""
    beyond = torch.expm1((y.abs() - edge).clamp(0, MAX_LOG))
    return y.clamp(-edge, edge) + y.sign() * beyond


class Standardisation(nn.Module):
    """Numbers less their regression on a context, in units of what is left of each.

    Values far out, in the units of a column or of what is left, enter by their logarithm: no single cell spoils a row
    in training, and tails are no thinner than a log-normal's. Between, it is a linear map.

    Parameters
    ----------
    n_numbers, n_context : int
        How many numbers there are, and how many features of a context.
    edge : float
        Beyond, standardised numbers enter by their logarithm.
    """

    def __init__(self, n_numbers, n_context, edge=BOUND):
        super().__init__()
        self.edge = edge
        self.register_buffer("location", torch.zeros(n_numbers))
        self.register_buffer("scale", torch.ones(n_numbers))
        self.register_buffer("slopes", torch.zeros(n_numbers, n_context))
        self.register_buffer("intercepts", torch.zeros(n_numbers))
        self.register_buffer("spread", torch.ones(n_numbers))

    def start_from(self, mean, covariance):
        """Learn from means and a covariance of the numbers, in their units, and then of the context.

        Parameters
        ----------
        mean : ndarray of shape (n_numbers + n_context,)
            Means.
        covariance : ndarray of shape (n_numbers + n_context, n_numbers + n_context)
            A covariance that has an inverse.

        Returns
        -------
        correlation : ndarray of shape (n_numbers, n_numbers)
            That of the standardised numbers.
        """
        p = len(self.location)
        own, between, context = covariance[:p, :p], covariance[:p, p:], covariance[p:, p:]
        slopes = np.linalg.solve(context, between.T).T
        left = own - slopes @ between.T
        spread = np.sqrt(np.diag(left).clip(1e-8))
        for name, value in {
            "slopes": slopes,
            "intercepts": mean[:p] - slopes @ mean[p:],
            "spread": spread,
        }.items():
            getattr(self, name).copy_(torch.from_numpy(value))
        return left / np.outer(spread, spread)

    def _mean(self, context):
        return F.linear(context.clamp(-FAR_OUT, FAR_OUT), self.slopes, self.intercepts)

    def forward(self, x, context):
        """Return standardised numbers of shape (n, n_numbers), and the log-determinants of the Jacobians, (n,)."""
        u, log_slope = log_tails((x - self.location) / self.scale, FAR_OUT)
        w, log_slope_of_rest = log_tails((u - self._mean(context)) / self.spread, self.edge)
        log_det = (log_slope + log_slope_of_rest).sum(dim=-1)
        return w, log_det - (self.scale.log() + self.spread.log()).sum()

    def inverse(self, w, context):
        """Return the numbers that have been standardised."""
        u = inverse_log_tails(w, self.edge) * self.spread + self._mean(context)
        return self.scale * inverse_log_tails(u, FAR_OUT) + self.location


class Whitening(nn.Module):
    """The linear map after which correlated numbers are independent.

    Parameters
    ----------
    n_numbers : int
        How many.
    """

    def __init__(self, n_numbers):
        super().__init__()
        self.register_buffer("matrix", torch.eye(n_numbers))

    def start_from(self, correlation):
        """Learn from a correlation matrix."""
        variances, directions = np.linalg.eigh(correlation)
        # Of all roots of the inverse that which leaves the numbers most like themselves.
        root = directions / np.sqrt(variances.clip(1e-8)) @ directions.T
        self.matrix.copy_(torch.from_numpy(root))

    def forward(self, x):
        """Return white numbers of shape (n, n_numbers), and the log-determinant of the Jacobian."""
        return F.linear(x, self.matrix), torch.linalg.slogdet(self.matrix).logabsdet

    def inverse(self, white):
        """Return the numbers that have been whitened."""
        return torch.linalg.solve(self.matrix, white.T).T


class StudentBase(nn.Module):
    """Independent Student distributions, whose degrees of freedom are learnt (Laszkiewicz et al., 2022).

    Parameters
    ----------
    n_numbers : int
        How many.
    """

    def __init__(self, n_numbers):
        super().__init__()
        self.log_df = nn.Parameter(torch.full((n_numbers,), math.log(8.0)))

    @property
    def df(self):
        """Degrees of freedom, more than two, so that there is a variance."""
        return 2 + self.log_df.exp()

    def log_prob(self, z):
        """Return the log-density of each row, of shape (n,)."""
        df = self.df
        constant = torch.lgamma((df + 1) / 2) - torch.lgamma(df / 2) - (math.pi * df).log() / 2
        return (constant - (df + 1) / 2 * torch.log1p(z * z / df)).sum(dim=-1)

    def to_normal(self, z):
        """Return the standard normals of which the same share is smaller, for an array of shape (n, n_numbers)."""
        df = self.df.detach().cpu().numpy()
        return np.sign(z) * stats.norm.isf(stats.t.sf(np.abs(z), df))

    def from_normal(self, normal):
        """Return the numbers of which :meth:`to_normal` makes standard normals."""
        df = self.df.detach().cpu().numpy()
        return np.sign(normal) * stats.t.isf(stats.norm.sf(np.abs(normal)), df)

    def sample(self, shape, generator):
        """Draw rows (Bailey, "Polar generation of random variates with the t-distribution", 1994)."""
        u = torch.rand((2, *shape), generator=generator, device=generator.device).to(self.log_df)
        radius = (self.df * torch.expm1(-2 / self.df * torch.log1p(-u[0]))).sqrt()
        return radius * (2 * math.pi * u[1]).cos()


class NormalBase(nn.Module):
    """Independent standard normals."""

    def log_prob(self, z):
        """Return the log-density of each row, of shape (n,)."""
        return -(z * z + math.log(2 * math.pi)).sum(dim=-1) / 2

    def to_normal(self, z):
        """Return the numbers themselves."""
        return z

    from_normal = to_normal

    def sample(self, shape, generator):
        """Draw rows."""
        return torch.randn(shape, generator=generator, device=generator.device, dtype=torch.float64)


def make_transforms(kind, n_numbers, n_context, n_transforms, hidden_sizes, coupling, n_bins):
    """Return masked autoregressive transforms, in ascending and descending order in turn, that start as the identity.

    Parameters
    ----------
    kind : {"spline", "affine", "bernstein"}
        What becomes of each number given those before it.
    n_numbers, n_context : int
        How many numbers there are, and how many inputs from a context.
    n_transforms : int
        How many transforms.
    hidden_sizes : tuple of int
        Hidden units of each.
    coupling : bool
        Whether the first half of the numbers stays as it is and decides on the second.
    n_bins : int
        Bins of a spline; of a polynomial the degree is twice as large.

    Returns
    -------
    transforms : nn.ModuleList
        zuko's.
    """
    univariate, shapes = {
        "spline": (RationalQuadraticSpline, [(3 * n_bins - 1,)]),
        "affine": (zuko.transforms.MonotonicAffineTransform, [(), ()]),
        "bernstein": (zuko.transforms.BoundedBernsteinTransform, [(2 * n_bins + 1,)]),
    }[kind]
    if kind != "affine":
        univariate = partial(univariate, bound=BOUND)
    transforms = nn.ModuleList()
    for k in range(n_transforms):
        order = torch.arange(n_numbers)
        transforms.append(
            zuko.flows.MaskedAutoregressiveTransform(
                n_numbers,
                n_context,
                passes=2 if coupling else None,
                order=order.flip(0) if k % 2 else order,
                univariate=univariate,
                shapes=shapes,
                hidden_features=hidden_sizes,
            )
        )
        # All its parameters zero, each of them is the identity.
        last = transforms[-1].hyper[-1] if hasattr(transforms[-1], "hyper") else transforms[-1]
        for parameter in last.parameters():
            nn.init.zeros_(parameter)
    return transforms
