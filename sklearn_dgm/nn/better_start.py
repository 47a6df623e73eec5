"""Which of several starts is better, by rows that none of them has seen."""

import torch

from sklearn_dgm.nn.outputs import MAX_LINEAR_FEATURES
from sklearn_dgm.nn.start import start_from

# Steps of the training that a mixture has to be better than, and after how many of them it is asked.
N_STEPS, N_STEPS_BETWEEN, BATCH_SIZE, LR = 40, 10, 128, 6e-3
# Rows that say of how many Gaussians to start, at most.
MAX_ROWS = 2000


def started(build, moments, regressed):
    """Return a new network in single precision that has started; see :func:`better_regressed` for the parameters."""
    module = build().float()
    start_from(module, moments, regressed)
    return module


def _with_both_starts(module):
    """Yield the columns that start from a tree or a regression: few whole numbers, and two values beside numbers.

    Where no column is a number, trees leave nothing out, and training gets farther from them than from regressions on
    all columns, also if these are better at first.
    """
    beside_numbers = not all(variable.has_indicators for variable in module.variables)
    for j in module.targets:
        variable = module.variables[j]
        has_few = variable.whole if variable.n_levels != 2 else beside_numbers
        if variable.has_indicators and has_few:
            yield j


@torch.no_grad()
def better_regressed(build, moments, z, weight):
    """Return the columns that had better start from regressions than from trees, by rows unseen by the moments.

    Parameters
    ----------
    build : callable
        Returns a new network, on the CPU.
    moments : Moments
        What to start from.
    z : Tensor of shape (n, d)
        Encoded rows, NaN where a cell is missing.
    weight : Tensor of shape (n,)
        Their weights.

    Returns
    -------
    regressed : frozenset of int
        What is better for all of them together, but for columns that differ from that by two standard errors.
    """
    module = build()
    both = list(_with_both_starts(module))
    if not both or module.inputs.n_features > MAX_LINEAR_FEATURES:
        # Where features are many, training does not get far from regressions on all of them.
        return frozenset()
    starts = (started(build, moments, regressed) for regressed in ((), both))
    trees, regressions = (_log_prob(module, z)[:, both] for module in starts)
    mean, error = _mean_and_error(regressions - trees, weight)
    sign = 1 if mean.sum() > 0 else -1
    is_regressed = (sign * mean < -2 * error) != (sign > 0)
    return frozenset(j for j, chosen in zip(both, is_regressed.tolist(), strict=True) if chosen)


@torch.no_grad()
def better_mixture(build, moments, mixtures, regressed, z, weight, rows=None):
    """Return the mixture of Gaussians that numbers had better start from, by rows unseen by the moments.

    Several have to be better than one, and than what some steps of training make of one: where these already tell more
    than a mixture does, training ends lower if it starts from that.

    Parameters
    ----------
    build, moments, z, weight
        See :func:`better_regressed`.
    mixtures : iterable of TiedMixture
        The Gaussian, and mixtures of more and more of them, as many as a column has components at most.
    regressed : collection of int
        See :func:`~sklearn_dgm.nn.start.start_from`.
    rows : tuple of Tensor and ndarray, default=None
        Rows to train on, complete, and their weights; without these no training is tried.

    Returns
    -------
    mixture : TiedMixture
        The best one; that of the moments if it is ahead of the Gaussian by less than two standard errors.
    """
    module = build()
    if not module.bank.numbers or module.inputs.n_features > MAX_LINEAR_FEATURES:
        # Without linear paths to components there is nothing that could hold a mixture.
        return moments.mixture
    z, weight = z[:MAX_ROWS], weight[:MAX_ROWS]

    def log_prob_from(mixture):
        start = moments._replace(mixture=mixture)
        return _log_prob(started(build, start, regressed), z).sum(dim=1)

    share = (weight / weight.sum()).double()
    at_start = [(mixture, log_prob_from(mixture)) for mixture in mixtures]
    best, best_log_p = max(at_start, key=lambda pair: share @ pair[1])

    def is_worse(log_p):
        mean, error = _mean_and_error(best_log_p - log_p, weight)
        return bool(mean > 2 * error)

    if not is_worse(at_start[0][1]):
        return moments.mixture
    if rows is not None:
        for trained in _train_briefly(started(build, moments, regressed), *rows):
            if not is_worse(_log_prob(trained, z).sum(dim=1)):
                return moments.mixture
    return best


def _log_prob(module, z):
    """Return the log-densities of cells, 0 where they are missing, of shape (n, d)."""
    # An unknown category, or a number in the middle, stands in for a parent that is missing.
    variables = module.variables
    middle = torch.tensor([-1.0 if v.has_indicators else v.location for v in variables]).to(z)
    log_p = module.eval().log_prob_features(torch.where(z.isnan(), middle, z))
    return torch.where(z.isnan(), 0, log_p).double()


@torch.enable_grad()
def _train_briefly(module, z, weight):
    """Yield a network now and then in some steps of training on rows that are in no order."""
    optimizer = torch.optim.AdamW(module.parameters(), lr=LR)
    for step in range(N_STEPS):
        batch = torch.arange(step * BATCH_SIZE, (step + 1) * BATCH_SIZE) % len(z)
        optimizer.zero_grad()
        share = torch.from_numpy(weight[batch] / weight[batch].sum()).float()
        loss = share @ module.train().loss(z[batch].float())
        loss.backward()
        optimizer.step()
        if (step + 1) % N_STEPS_BETWEEN == 0:
            yield module


def _mean_and_error(gain, weight):
    """Return the mean over rows, and its standard error: of a single row NaN, and nothing differs by that."""
    share = (weight / weight.sum()).double().reshape(-1, *[1] * (gain.ndim - 1))
    mean = (share * gain).sum(dim=0)
    error = (share * (gain - mean)).square().sum(dim=0) / (1 - share.square().sum())
    return mean, error.sqrt()
