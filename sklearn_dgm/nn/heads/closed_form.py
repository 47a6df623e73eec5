"""Logistic mixtures whose gradients are written out, in a fraction of the time that automatic ones take in training."""

import math

import torch
from torch.nn import functional as F

# Of the logistic distribution with unit variance.
RATE = math.pi / math.sqrt(3)


class Components(torch.autograd.Function):
    """The shares, means and rates of components, of the parameters of mixtures."""

    @staticmethod
    def forward(ctx, params, spread, n_shared, bound):
        """Return log-shares, shares, means and rates.

        Parameters
        ----------
        params : Tensor of shape (..., m, n_params)
            Parameters: the location and others that are of no component, logits, offsets and log-scales.
        spread : Tensor of shape (..., m, k)
            Units of the offsets and the scales; the last is that of the location.
        n_shared : int
            How many are of no component.
        bound : float
            Bound on the log-scales.

        Returns
        -------
        log_share, share, means, rates : Tensor of shape (..., m, k)
            Rates are inverse scales.
        """
        logits, offsets, log_scales = params[..., n_shared:].split(spread.shape[-1], dim=-1)
        log_share = logits - logits.amax(dim=-1, keepdim=True)
        share = torch.exp(log_share)
        total = share.sum(dim=-1, keepdim=True)
        share.div_(total)
        log_share.sub_(total.log_())
        means = (offsets * spread).add_(spread[..., -1:] * params[..., :1])
        bent = (log_scales * (1 / bound)).tanh_()
        rates = (bent * -bound).exp_().div_(spread)
        ctx.save_for_backward(share, bent, spread, rates)
        ctx.n_shared = n_shared
        ctx.set_materialize_grads(False)
        return log_share, share, means, rates

    @staticmethod
    def backward(ctx, of_log_share, of_share, of_means, of_rates):
        """Return the gradient of the parameters."""
        share, bent, spread, rates = ctx.saved_tensors
        n_shared, k = ctx.n_shared, spread.shape[-1]
        result = share.new_zeros(*share.shape[:-1], n_shared + 3 * k)
        logits, offsets, log_scales = result[..., n_shared:].split(k, dim=-1)
        if of_share is not None:
            of_share = of_share * share
            of_log_share = of_share if of_log_share is None else of_log_share + of_share
        if of_log_share is not None:
            total = of_log_share.sum(dim=-1, keepdim=True)
            torch.sub(of_log_share, share * total, out=logits)
        if of_means is not None:
            torch.mul(of_means, spread, out=offsets)
            result[..., 0] = of_means.sum(dim=-1) * spread[..., -1]
        if of_rates is not None:
            torch.mul(of_rates * rates, bent.square().sub_(1), out=log_scales)
        return result, None, None, None


def _log_densities(t, rates, half):
    """Return the log-densities of components, or log-probabilities of intervals that go so far on either side."""
    if half is None:
        return F.logsigmoid(t) + F.logsigmoid(-t) + torch.log(rates * RATE)
    within = F.logsigmoid(t + half) + F.logsigmoid(half - t)
    return within + torch.log(-torch.expm1(half * -2))


class LogisticMixture(torch.autograd.Function):
    """The logarithm of the density of a mixture of logistic distributions, or of its probability of an interval."""

    @staticmethod
    def forward(ctx, log_share, share, means, rates, x, width):
        """Return the log-density, or the log-probability of an interval.

        Parameters
        ----------
        log_share, share, means, rates : Tensor of shape (..., m, k)
            The components. Gradients of the shares are those of their logarithms.
        x : Tensor of shape (..., m)
            Values, or the middle of the intervals.
        width : Tensor of shape (..., m) or None
            How wide the intervals are; None for densities.

        Returns
        -------
        log_p : Tensor of shape (..., m)
            In nats.
        """
        t = torch.sub(x[..., None], means).mul_(rates).mul_(RATE)
        if width is None:
            tail = t.abs().neg_().sigmoid_()
            p = torch.addcmul(tail, tail, tail, value=-1).mul_(rates).mul_(RATE)
        else:
            half = rates * (RATE / 2 * width[..., None])
            above, below = torch.sigmoid(t + half), torch.sigmoid(half - t)
            p = (above * below).mul_(torch.expm1(half * -2).neg_())
        p.mul_(share)
        total = p.sum(dim=-1, keepdim=True)
        limits = torch.finfo(total.dtype)
        is_tiny = ~(total > limits.tiny / limits.eps)
        responsibility = p.div_(total)
        log_p = torch.log(total)
        if is_tiny.any():
            at = is_tiny[..., 0]
            exact = _log_densities(t[at], rates[at], None if width is None else half[at])
            exact = exact + log_share[at]
            log_p[at] = log_total = exact.logsumexp(dim=-1, keepdim=True)
            responsibility[at] = torch.exp(exact - log_total)
        if any(ctx.needs_input_grad):
            if width is None:
                along = (t * -0.5).tanh_()
                of_log_rate = t.mul_(along).add_(1)
            else:
                along = below - above
                of_half = 2 - above - below + 2 / torch.expm1(2 * half)
                of_log_rate = t.mul_(along).addcmul_(half, of_half)
            of_rates = of_log_rate.mul_(responsibility).div_(rates)
            of_means = along.mul_(responsibility).mul_(rates).mul_(-RATE)
            ctx.save_for_backward(responsibility, of_means, of_rates)
        return log_p[..., 0]

    @staticmethod
    def backward(ctx, of_log_p):
        """Return the gradients of the components."""
        of_log_p = of_log_p[..., None]
        of_log_share, of_means, of_rates = (saved * of_log_p for saved in ctx.saved_tensors)
        return of_log_share, None, of_means, of_rates, None, None
