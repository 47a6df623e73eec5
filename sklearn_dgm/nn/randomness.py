"""Where training draws its random numbers: torch's own generator, or that of a block.

Torch's own is one for the process. With a generator each, networks can be trained side by side in threads, and what one
draws does not depend on the others.
"""

from contextlib import contextmanager
from contextvars import ContextVar

import torch

_GENERATOR = ContextVar("generator", default=None)


@contextmanager
def drawing_from(generator):
    """Draw from a given generator, the :func:`current_generator`, for the length of a block.

    Parameters
    ----------
    generator : torch.Generator, or list of these
        On the device of the tensors that are drawn; one for each member of a stack.
    """
    token = _GENERATOR.set(generator)
    try:
        yield
    finally:
        _GENERATOR.reset(token)


def current_generator():
    """Return the generator of the block, None for torch's own."""
    return _GENERATOR.get()


def dropout(x, share, training):
    """Set a share of the numbers to zero and scale the others up, in training.

    Parameters
    ----------
    x : Tensor
        Numbers.
    share : float
        Probability of a zero.
    training : bool
        Whether to do so at all.

    Returns
    -------
    x : Tensor
        Of the same shape and expectation.
    """
    if not training or share == 0:
        return x
    keep, factor = _kept(x, share, current_generator())
    return x * (keep.to(x.dtype) * factor)


def kept_of_each(x, shares, sizes=None):
    """Return what :func:`dropout` multiplies the numbers of several members by, each drawn from its own generator.

    Parameters
    ----------
    x : Tensor of shape (k, ...)
        Numbers.
    shares : list of float
        For each member the probability of a zero.
    sizes : list of int, default=None
        How many entries of the last axis each member has, if not all; beyond these are zeros.

    Returns
    -------
    factors : Tensor of shape (k, ...)
        Zeros and positive numbers.
    """
    factors = torch.empty_like(x) if sizes is None else torch.zeros_like(x)
    sizes = [x.shape[-1]] * len(x) if sizes is None else sizes
    own = [of_member[..., :size] for of_member, size in zip(factors, sizes, strict=True)]
    for of_member, share, generator in zip(own, shares, current_generator(), strict=True):
        if share:
            keep, factor = _kept(of_member, share, generator)
            torch.mul(keep, factor, out=of_member)
        else:
            of_member.fill_(1)
    return factors


def _kept(x, share, generator):
    """Return which numbers are kept, and by how much these are scaled up."""
    # A number of 16 bits decides over a cell, four of which are drawn at once: a fraction of the time of `bernoulli_`.
    n = x.numel()
    bits = torch.empty((n + 3) // 4, dtype=torch.int64, device=x.device)
    bits.random_(-(2**63), None, generator=generator)
    n_dropped = min(round(share * 2**16), 2**16 - 1)
    keep = bits.view(torch.int16)[:n].view(x.shape) >= n_dropped - 2**15
    return keep, 2**16 / (2**16 - n_dropped)
