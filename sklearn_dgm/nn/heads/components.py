"""Components of mixtures: standard distributions with a location and a scale, whole or between two points."""

import math

import torch
from torch.nn import functional as F

from sklearn_dgm.nn.heads.closed_form import RATE, LogisticMixture
from sklearn_dgm.nn.heads.outcomes import log_mean

# Steps of Newton's method that leave nothing but rounding, and where it takes over from the quantile function.
N_NEWTON, LOWEST_LOG_P = 6, -500.0
# Standard deviations from which on the first terms of a series are the normal distribution function.
FAR_DOWN = -50.0
# Standard deviations beyond a point of which what lies there is less than any number beside what lies within.
WIDEST = 1e4


def log_ndtr(u):
    """Return the logarithm of the standard normal distribution function.

    Far down, the derivative that torch has of it is wrong in single precision, or NaN.
    """
    far = u.clamp_max(FAR_DOWN)
    inverse = far**-2
    series = torch.log1p(-inverse * (1 - 3 * inverse * (1 - 5 * inverse)))
    log_far = Gaussian.log_prob(far) - torch.log(-far) + series
    return torch.where(u > FAR_DOWN, torch.special.log_ndtr(u.clamp_min(FAR_DOWN)), log_far)


class Component:
    """A standard distribution that is symmetric about 0."""

    @classmethod
    def density(cls, u):
        """Return the density, elementwise."""
        return torch.exp(cls.log_prob(u))

    @classmethod
    def prob_of_interval(cls, u, width):
        """Return the probability of the interval of some width around u, without cancellation in the tails."""
        return torch.exp(cls.log_prob_of_interval(u, width))

    @classmethod
    def log_mixture(cls, components, x, width=None):
        """Return the log-density of a mixture, or its log-probability of intervals.

        Parameters
        ----------
        components : tuple
            Shares and their logarithms, means, and rates, which are inverse scales, each of shape (..., k).
        x : Tensor of shape (...)
            Values, or the middle of the intervals.
        width : Tensor of shape (...), default=None
            How wide the intervals are; None for densities.

        Returns
        -------
        log_p : Tensor of shape (...)
            In nats.
        """
        shares, means, rate = components
        u = (x[..., None] - means) * rate
        if width is not None:
            width = width[..., None] * rate
            return log_mean(shares, cls.prob_of_interval, cls.log_prob_of_interval, u, width)
        return log_mean(
            shares,
            lambda u, rate: rate * cls.density(u),
            lambda u, rate: torch.log(rate) + cls.log_prob(u),
            u,
            rate,
        )

    @classmethod
    def log_prob_between(cls, low, high):
        """Return the log-probability between two points.

        Parameters
        ----------
        low, high : Tensor or None
            The points; None for infinity.

        Returns
        -------
        log_mass : Tensor
            In nats, `-inf` where `low` is not below `high`.
        """
        if low is None or high is None:
            return cls.log_cdf(-low if high is None else high)
        # Beside what is nearest to 0, nothing is left so far out; the middle of a wider interval would lose its ends.
        high = torch.minimum(high, low.clamp_min(0) + WIDEST)
        low = torch.maximum(low, high.clamp_max(0) - WIDEST)
        width = high - low
        is_empty = width <= 0
        log_mass = cls.log_prob_of_interval((low + high) / 2, torch.where(is_empty, 1, width))
        return log_mass.masked_fill(is_empty, -math.inf)

    @classmethod
    def icdf_between(cls, log_below, log_above, low, high):
        """Return the quantiles of the distribution between two points.

        Parameters
        ----------
        log_below, log_above : Tensor
            Logarithms of the probabilities below and above the quantiles, which add up to one.
        low, high : Tensor
            The points, which may be infinite.

        Returns
        -------
        x : Tensor
            The quantiles.
        """
        # In the lower tail probabilities do not lose their digits.
        flips = low > 0
        log_below, log_above = (
            torch.where(flips, log_above, log_below),
            torch.where(flips, log_below, log_above),
        )
        first, last = torch.where(flips, -high, low), torch.where(flips, -low, high)
        log_p = torch.logaddexp(cls.log_cdf(first) + log_above, cls.log_cdf(last) + log_below)
        x = torch.maximum(torch.minimum(cls.icdf_of_log(log_p), last), first)
        return torch.where(flips, -x, x)


class Gaussian(Component):
    """The standard normal distribution."""

    @staticmethod
    def log_prob(u):
        """Return the log-density, elementwise."""
        return -0.5 * u.square() - 0.5 * math.log(2 * math.pi)

    @staticmethod
    def log_prob_of_interval(u, width):
        """Return the log-probability of the interval of some width around u, without cancellation in the tails."""
        u = -u.abs()
        wide = width.clamp_min(1e-3)
        log_low = log_ndtr(u - wide / 2)
        log_high = log_ndtr(u + wide / 2)
        log_mass = log_high + torch.log(-torch.expm1(log_low - log_high))
        # On a narrow interval the density is constant to within 1e-7, where a difference would cancel.
        narrow = Gaussian.log_prob(u) + torch.log(width)
        return torch.where(width < 1e-3, narrow, log_mass)

    @staticmethod
    def icdf(uniform):
        """Return the quantile of a probability."""
        return torch.special.ndtri(uniform)

    @staticmethod
    def cdf(u):
        """Return the probability below u, where torch's `ndtr` would lose its digits far down."""
        return torch.exp(log_ndtr(u))

    @staticmethod
    def log_cdf(u):
        """Return the log-probability below u."""
        return log_ndtr(u)

    @staticmethod
    def icdf_of_log(log_p):
        """Return the value that has a given log-probability below it."""
        x = torch.special.ndtri(torch.exp(log_p.clamp_min(LOWEST_LOG_P)))
        is_far = log_p < LOWEST_LOG_P
        if not is_far.any():
            return x
        far = -torch.sqrt(-2 * log_p.clamp_max(LOWEST_LOG_P))
        for _ in range(N_NEWTON):
            excess = log_ndtr(far) - log_p.clamp_max(LOWEST_LOG_P)
            slope = torch.exp(Gaussian.log_prob(far) - log_ndtr(far))
            far = far - excess / slope
        return torch.where(is_far, far, x)

    @staticmethod
    def icdf_of_normal(normal):
        """Return the value of a normal score: as far up in the distribution as it is in the normal one."""
        return normal


class Logistic(Component):
    """The logistic distribution, scaled to unit variance."""

    scale, rate = math.sqrt(3) / math.pi, RATE

    @classmethod
    def log_mixture(cls, components, x, width=None):
        """Return the log-density of a mixture; see :meth:`Component.log_mixture`."""
        (share, log_share), means, rate = components
        if means.dtype == torch.float64 and not means.requires_grad:
            return super().log_mixture(components, x, width)
        return LogisticMixture.apply(log_share, share, means, rate, x, width)

    @classmethod
    def density(cls, u):
        """Return the density, elementwise."""
        u = u * cls.rate
        return torch.sigmoid(u) * torch.sigmoid(-u) * cls.rate

    @classmethod
    def log_prob(cls, u):
        """Return the log-density, elementwise."""
        u = u * cls.rate
        # Beyond the threshold softplus(u) is u, to double precision.
        return u - 2 * F.softplus(u, threshold=40) + math.log(cls.rate)

    @classmethod
    def prob_of_interval(cls, u, width):
        """Return the probability of the interval of some width around u, without cancellation in the tails."""
        u, width = u * cls.rate, width * cls.rate
        within = torch.sigmoid(u + width / 2) * torch.sigmoid(width / 2 - u)
        return within * -torch.expm1(-width)

    @classmethod
    def log_prob_of_interval(cls, u, width):
        """Return the log-probability of the interval of some width around u, without cancellation in the tails."""
        u, width = u * cls.rate, width * cls.rate
        within = F.logsigmoid(u + width / 2) + F.logsigmoid(width / 2 - u)
        return within + torch.log(-torch.expm1(-width))

    @classmethod
    def icdf(cls, uniform):
        """Return the quantile of a probability."""
        return torch.logit(uniform) * cls.scale

    @classmethod
    def cdf(cls, u):
        """Return the probability below u."""
        return torch.sigmoid(u * cls.rate)

    @classmethod
    def log_cdf(cls, u):
        """Return the log-probability below u."""
        return F.logsigmoid(u * cls.rate)

    @classmethod
    def icdf_of_log(cls, log_p):
        """Return the value that has a given log-probability below it."""
        return (log_p - torch.log(-torch.expm1(log_p))) * cls.scale

    @classmethod
    def icdf_of_normal(cls, normal):
        """Return the value of a normal score: as far up in the distribution as it is in the normal one."""
        return (log_ndtr(normal) - log_ndtr(-normal)) * cls.scale


BASES = {"gaussian": Gaussian, "logistic": Logistic}
