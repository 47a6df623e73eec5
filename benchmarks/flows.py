"""Normalising flows as peers: zuko's MAF and NSF, nflows' NSF, trained alike."""

import copy

import numpy as np
import torch

MAX_EPOCHS, PATIENCE, BATCH_SIZE, LR = 1000, 20, 256, 1e-3


def zuko_flow(name, hidden_features, train, valid, seed):
    """Return a flow of three autoregressive transforms by its name in zuko."""
    import zuko

    def build(d):
        flow = getattr(zuko.flows, name)(d, transforms=3, hidden_features=hidden_features)
        return flow, lambda x: flow().log_prob(x)

    return train_flow(build, train, valid, seed)


def nflows_nsf(train, valid, seed):
    """Three autoregressive rational-quadratic splines with linear tails, and reversals between them."""
    from nflows import transforms
    from nflows.distributions.normal import StandardNormal
    from nflows.flows.base import Flow

    def build(d):
        steps = []
        for _ in range(3):
            spline = transforms.MaskedPiecewiseRationalQuadraticAutoregressiveTransform(
                d, hidden_features=128, num_bins=8, tails="linear", tail_bound=5.0
            )
            steps += [spline, transforms.ReversePermutation(d)]
        flow = Flow(transforms.CompositeTransform(steps), StandardNormal([d]))
        return flow, flow.log_prob

    return train_flow(build, train, valid, seed)


def train_flow(build, train, valid, seed):
    """Train by maximum likelihood until the validation rows stop gaining, and keep the best weights.

    Parameters
    ----------
    build : callable
        Takes the number of columns; returns a module and the function that scores a tensor of rows.
    train, valid : ndarray of shape (n_rows, n_columns)
        Standardised rows.
    seed : int
        Seed of weights and batches.

    Returns
    -------
    log_prob : callable
        Log-densities of the rows of an array.
    n_epochs : int
        Epochs trained.
    """
    train, valid = (torch.as_tensor(part, dtype=torch.float32) for part in (train, valid))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        flow, log_prob = build(train.shape[1])
        optimizer = torch.optim.Adam(flow.parameters(), lr=LR)
        best, weights, best_epoch = -np.inf, copy.deepcopy(flow.state_dict()), 0
        for epoch in range(1, MAX_EPOCHS + 1):
            _train_epoch(flow, log_prob, optimizer, train)
            gained = _score(flow, log_prob, valid).mean()
            if gained > best:
                best, weights, best_epoch = gained, copy.deepcopy(flow.state_dict()), epoch
            elif epoch - best_epoch >= PATIENCE:
                break
    flow.load_state_dict(weights)
    return (
        lambda rows: _score(flow, log_prob, torch.as_tensor(rows, dtype=torch.float32)),
        epoch,
    )


def _train_epoch(flow, log_prob, optimizer, rows):
    flow.train()
    for batch in torch.randperm(len(rows)).split(BATCH_SIZE):
        loss = -log_prob(rows[batch]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@torch.no_grad()
def _score(flow, log_prob, rows):
    flow.eval()
    return torch.cat([log_prob(part) for part in rows.split(4096)]).double().numpy()
