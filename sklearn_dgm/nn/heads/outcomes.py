"""What heads ask of numbers and of probabilities."""

import torch
from torch.nn import functional as F


def is_whole(z, low, high):
    """Tell whether values are whole numbers from low to high."""
    return (z == z.round()) & (z >= low) & (z <= high)


def log_softmax(logits):
    """Return log-probabilities over the last axis; of few outcomes in a fraction of the time of torch's own."""
    return logits - torch.logsumexp(logits, dim=-1, keepdim=True)


def log_mean(shares, linear, logarithmic, *args):
    """Return the logarithm of the mean of something positive over components, whose shares are given.

    Parameters
    ----------
    shares : pair of Tensor of shape (..., k)
        The shares, and their logarithms.
    linear : callable
        Takes `args` and gives what is averaged, of shape (..., k).
    logarithmic : callable
        The logarithm of that. It is dearer, and is asked where single numbers are too small to be represented.
    args : Tensor
        Of shapes that broadcast to (..., k).

    Returns
    -------
    log_mean : Tensor of shape (...)
        In nats.
    """
    share, log_share = shares
    mean = (share * linear(*args)).sum(dim=-1)
    limits = torch.finfo(mean.dtype)
    is_tiny = ~(mean > limits.tiny / limits.eps)
    if not is_tiny.any():
        return torch.log(mean)
    shape = *mean.shape, share.shape[-1]
    log_share, *args = (x.expand(shape)[is_tiny] for x in (log_share, *args))
    exact = torch.logsumexp(log_share + logarithmic(*args), dim=-1)
    return torch.log(mean.masked_fill(is_tiny, 1)).masked_scatter(is_tiny, exact)


def choose(share, uniform):
    """Choose an outcome by a uniform number, and stretch what decided nothing to a uniform number again.

    Parameters
    ----------
    share : Tensor of shape (n, k)
        Probabilities of the outcomes.
    uniform : Tensor of shape (n,)
        Float64 numbers between 0 and 1.

    Returns
    -------
    chosen : Tensor of shape (n, 1)
        Numbers of the outcomes.
    rest : Tensor of shape (n, 1)
        Uniform numbers that are independent of the outcomes, neither 0 nor 1.
    """
    bounds = F.pad(share.double().cumsum(dim=-1), (1, 0))
    bounds = bounds / bounds[:, -1:]
    uniform = uniform.contiguous()[:, None]
    chosen = torch.searchsorted(bounds[:, 1:].contiguous(), uniform, right=True)
    low, high = bounds.gather(-1, chosen), bounds.gather(-1, chosen + 1)
    return chosen, ((uniform - low) / (high - low)).clamp(2.0**-54, 1 - 2.0**-53)


def limited(log_total, log_inside, share):
    """Return the terms that normalise probabilities of which a share at most lies beyond some range.

    Parameters
    ----------
    log_total, log_inside : Tensor
        Log-probabilities of all that is possible, and of the range.
    share : Tensor
        How much of it all may lie beyond the range.

    Returns
    -------
    inside, beyond : Tensor
        What is to be added to log-probabilities within the range and beyond it.
    """
    mass_beyond = -torch.expm1(log_inside - log_total)
    is_more = mass_beyond > share
    log_beyond = log_total + torch.log(torch.where(is_more, mass_beyond, 1))
    inside = torch.where(is_more, torch.log1p(-share) - log_inside, -log_total)
    return inside, torch.where(is_more, torch.log(share) - log_beyond, -log_total)
