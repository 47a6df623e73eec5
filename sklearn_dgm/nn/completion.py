"""Rows with missing cells: their weighted completions, marginal densities, and draws of what is missing.

Missing cells that have few joint outcomes, all of them categories, are enumerated. Others are drawn by sequential
importance sampling (Kong, Liu and Wong, "Sequential Imputations and Bayesian Missing Data Problems", JASA 1994): each
from its conditional given the earlier columns, with the density of the observed cells as the weight.
"""

import math
from functools import partial
from typing import NamedTuple

import torch

from sklearn_dgm.nn.common_numbers import common_uniforms
from sklearn_dgm.nn.randomness import current_generator

# Particles for each row with missing cells; so many times more, up to the second number, where these are worth too few.
N_PARTICLES, MAX_PARTICLES, GROWTH, MIN_ESS = 128, 1024, 8, 8.0
# For so many particles there may be one joint outcome of the missing cells more than worth enumerating.
OUTCOMES_PER_PARTICLE = 2
# Particles of what is missing beside a column whose values are all tried. So many of them stand for all, fewer where
# there are many values.
N_PREDICTION_PARTICLES, MIN_CHOSEN, MAX_CHOSEN, N_TRIALS = 512, 8, 128, 2560
# Particles of a network in training, which only have to tell how it goes.
MADE_PARTICLES = 16
# Completions of rows that lack the same cells, from which on these are worth a pass of their own.
MIN_ALIKE = 2048
# What passes through the network at once is bounded, and with it the memory.
NUMBERS_AT_ONCE, ROWS_AT_ONCE = 2**24, 2**15


class Completions(NamedTuple):
    """Weighted completions of some rows, all with as many.

    Attributes
    ----------
    rows : Tensor of shape (n,)
        Which rows these are.
    z : Tensor of shape (n, m, d)
        Their completions; NaN where what was asked for needs none.
    log_weight : Tensor of shape (n, m)
        The sum of the weights of a row is the marginal density of its observed cells, or an unbiased estimate; with
        these weights its completions stand for the conditional distribution of the missing ones.
    effective_sample_size : Tensor of shape (n,)
        How many independent draws the weighted ones are worth; infinity if these are all that there are.
    shares : Tensor of shape (n, m, d) or None
        What each column adds to the log-density that is the log-weight: of the mixture where these are all completions
        that there are, else of the member that drew them, with 0 for missing cells.
    """

    rows: torch.Tensor
    z: torch.Tensor
    log_weight: torch.Tensor
    effective_sample_size: torch.Tensor
    shares: torch.Tensor | None = None

    def log_marginal(self):
        """Return the log-density of the observed cells, of shape (n,)."""
        return torch.logsumexp(self.log_weight, dim=1)

    def log_marginal_std(self, n_members):
        """Return the standard error of :meth:`log_marginal`, (n,), of draws by n_members networks in equal numbers.

        By the delta method, as if the draws were independent: the variance of the logarithm is that of the mean weight
        of each network, over the squared mean of all. It is 0 where these are all completions that there are, and where
        the row is impossible.
        """
        if self.effective_sample_size.isinf().all():
            return torch.zeros_like(self.effective_sample_size)
        n_draws = self.log_weight.shape[1] // n_members
        weight = self.log_weight.softmax(dim=1).unflatten(1, (n_members, n_draws))
        spread = weight.square().sum(dim=2) - weight.sum(dim=2).square() / n_draws
        variance = spread.sum(dim=1).clamp(min=0) * n_draws / max(n_draws - 1, 1)
        return variance.sqrt().nan_to_num(0.0)

    def numpy(self):
        """Return the part with arrays in place of tensors."""
        return Completions(*(None if x is None else x.cpu().numpy() for x in self))


def _uniforms(n, z, generator):
    """Draw random numbers for n rows like those of z."""
    shape = (n, z.shape[1])
    return torch.rand(shape, generator=generator, device=z.device, dtype=torch.float64)


def _levels(module, z):
    """Count the outcomes of each column, infinite for numbers."""
    levels = [v.n_levels if v.is_categorical else math.inf for v in module.variables]
    return torch.tensor(levels, dtype=torch.float64, device=z.device)


def _to_complete(module, z, of_observed):
    """Flag the cells of rows that completions need."""
    missing = z.isnan()
    return missing & ~module.barren(missing) if of_observed else missing


def n_outcomes(module, z, n_particles, of_observed=False):
    """Count the joint outcomes of the missing cells of each row, 0 where they are too many to be enumerated.

    Parameters
    ----------
    module : nn.Module
        With `variables`.
    z : Tensor of shape (n, d)
        Encoded rows, NaN where a cell is missing.
    n_particles : int
        Number of completions of a row that are drawn, where they are not enumerated.
    of_observed : bool, default=False
        Whether cells count only if observed ones depend on them.

    Returns
    -------
    counts : Tensor of int of shape (n,)
        1 for complete rows.
    """
    counts = torch.where(_to_complete(module, z, of_observed), _levels(module, z), 1).prod(dim=1)
    most = max(OUTCOMES_PER_PARTICLE * n_particles, module.n_classes)
    return torch.where(counts > most, 0, counts).long()


def completions(
    module,
    z,
    n_particles=N_PARTICLES,
    generator=None,
    max_particles=MAX_PARTICLES,
    of_observed=False,
):
    """Yield weighted completions of rows, in chunks that fit into memory.

    Parameters
    ----------
    module : Mixture or MADE
        Of a mixture, each member completes its share of the particles.
    z : Tensor of shape (n, d)
        Encoded rows, NaN where a cell is missing. A missing category is taken for one of the known ones.
    n_particles : int
        Number of completions of a row that are drawn, where they are not enumerated; rounded up to a multiple of the
        members.
    generator : torch.Generator or None
        Source of randomness, on the module's device. With None all rows share fixed numbers (a scrambled Sobol
        sequence), so that nothing is random.
    max_particles : int
        Number of completions at most of a row whose first ones have too uneven weights.
    of_observed : bool, default=False
        Whether only weights and shares are asked for; cells on which no observed one depends may stay missing then.

    Yields
    ------
    completions : Completions
        Of some of the rows, until all rows have come.
    """
    counts = n_outcomes(module, z, n_particles, of_observed)
    at_once = max(min(NUMBERS_AT_ONCE // max(module.width, z.shape[1]), ROWS_AT_ONCE), 1)
    for count in counts.unique().tolist():
        rows = torch.nonzero(counts == count)[:, 0]
        if count:
            for chunk in rows.split(max(at_once // count, 1)):
                is_open = _to_complete(module, z[chunk], of_observed)
                filled, log_weight, shares = _enumerate(module, z[chunk], is_open, count, at_once)
                ess = torch.full_like(log_weight[:, 0], torch.inf)
                yield Completions(chunk, filled, log_weight, ess, shares)
            continue
        for members, those in _by_members(module, z[rows].isnan(), n_particles):
            propose = partial(_propose, members, generator=generator, of_observed=of_observed)
            sizes = (at_once, n_particles, max_particles)
            yield from _enough_proposals(propose, z, rows[those], sizes)


def _enough_proposals(propose, z, rows, sizes):
    """Draw completions of rows, with more of them for those whose weights are too uneven."""
    at_once, n_particles, max_particles = sizes
    more = GROWTH * n_particles
    for chunk in rows.split(max(at_once // n_particles, 1)):
        filled, log_weight, shares = propose(z[chunk], n_particles)
        ess = 1 / log_weight.softmax(dim=1).square().sum(dim=1)
        part = Completions(chunk, filled, log_weight, ess, shares)
        # NaN, of an impossible row, is not less.
        is_poor = (ess < MIN_ESS) & (more <= max_particles)
        if not is_poor.all():
            yield Completions(*(x[~is_poor] for x in part))
        if is_poor.any():
            sizes = (at_once, more, max_particles)
            yield from _enough_proposals(propose, z, chunk[is_poor], sizes)


def _by_members(module, missing, n_particles):
    """Group the rows that are completed by the same networks; yield these and the rows' numbers.

    Rows that lack the same cells share much, and make a group of their own where they are enough.
    """
    patterns, which, counts = missing.unique(dim=0, return_inverse=True, return_counts=True)
    is_alone = counts * n_particles >= MIN_ALIKE
    if module.takes_any_order:
        is_alone[:] = True
    for k in torch.nonzero(is_alone)[:, 0].tolist():
        yield module.members_given(patterns[k].tolist()), torch.nonzero(which == k)[:, 0]
    others = torch.nonzero(~is_alone[which])[:, 0]
    if len(others):
        yield module.members_given(missing[others[0]].tolist()), others


def _enumerate(module, z, is_open, count, at_once):
    """Enumerate all `count` completions of rows, with their log-densities and the shares of columns in these.

    Missing cells that are not open have no share, and stay missing.
    """
    filled, log_known = _outcomes_of(module, z, is_open, count)
    parts = filled.nan_to_num(0.0).flatten(0, 1).split(at_once)
    shares = torch.cat([module.log_prob_features(part) for part in parts]).reshape(filled.shape)
    shares = shares.masked_fill(filled.isnan(), 0)
    return filled, shares.sum(dim=2) - log_known, shares


def _outcomes_of(module, z, is_open, count):
    """Enumerate all completions, (n, count, d), with the log-probability that open cells are known categories."""
    radix = torch.where(is_open, _levels(module, z), 1).long()
    stride = radix.cumprod(dim=1) // radix
    outcome = torch.arange(count, device=z.device)[None, :, None]
    codes = (outcome // stride[:, None]) % radix[:, None]
    filled = torch.where(is_open[:, None], codes.to(z.dtype), z[:, None])
    unknown_share = [v.unknown_share for v in module.variables]
    log_known = torch.log1p(-torch.tensor(unknown_share, dtype=z.dtype, device=z.device))
    return filled, torch.where(is_open, log_known, 0).sum(dim=1, keepdim=True)


def _propose(members, z, n_particles, generator, of_observed):
    """Draw completions, of shape (n, m, d), with their log-weights and the shares of columns in these."""
    n, d = z.shape
    each = -(-n_particles // len(members))
    fixed = common_uniforms(each * len(members), d).to(z.device) if generator is None else None
    parts = []
    for k, member in enumerate(members):
        if generator is None:
            uniforms = fixed[k * each : (k + 1) * each]
        else:
            uniforms = _uniforms(n * each, z, generator).reshape(n, each, d)
        parts.append(member.complete(z, uniforms, of_observed))
    filled, shares = (torch.cat(part, dim=1) for part in zip(*parts, strict=True))
    return filled, shares.sum(dim=2) - math.log(each * len(members)), shares


@torch.no_grad()
def log_marginal(module, z, n_particles=N_PARTICLES, max_particles=MAX_PARTICLES):
    """Return the log-density of the observed cells of each row.

    Parameters
    ----------
    module, z, n_particles, max_particles
        See :func:`completions`.

    Returns
    -------
    log_marginal : Tensor of shape (n,)
        In nats; exact where cells are complete or enumerated, 0 where none is observed, else an estimate. A network
        that takes the observed columns first needs no particles.
    """
    return log_marginal_and_std(module, z, n_particles, max_particles)[0]


@torch.no_grad()
def log_marginal_and_std(module, z, n_particles=N_PARTICLES, max_particles=MAX_PARTICLES):
    """Return the log-density of the observed cells of each row, and its standard error.

    Parameters
    ----------
    module, z, n_particles, max_particles
        See :func:`completions`.

    Returns
    -------
    log_marginal : Tensor of shape (n,)
        As :func:`log_marginal`.
    std : Tensor of shape (n,)
        In nats, as if the common numbers were independent; 0 where the log-density is exact.
    """
    result, std = z.new_zeros(len(z)), z.new_zeros(len(z))
    some = torch.nonzero(~z.isnan().all(dim=1))[:, 0]
    if module.takes_any_order:
        is_direct = n_outcomes(module, z[some], n_particles) == 0
        direct, some = some[is_direct], some[~is_direct]
        result[direct] = _log_marginal_directly(module, z[direct])
    n_members = 1 if module.takes_any_order else len(module.members_given(None))
    parts = completions(module, z[some], n_particles, max_particles=max_particles, of_observed=True)
    for part in parts:
        result[some[part.rows]] = part.log_marginal()
        std[some[part.rows]] = part.log_marginal_std(n_members)
    return result, std


def _log_marginal_directly(module, z):
    """Return the log-density of the observed cells, in orders in which these come first."""
    result = z.new_zeros(len(z))
    for members, rows in _by_members(module, z.isnan(), 1):
        observed, complete = ~z[rows].isnan(), z[rows].nan_to_num(0.0)
        log_p = [
            torch.where(observed, member.log_prob_features(complete), 0).sum(dim=1)
            for member in members
        ]
        result[rows] = torch.logsumexp(torch.stack(log_p), dim=0) - math.log(len(log_p))
    return result


@torch.no_grad()
def log_marginal_at(module, z, j, x):
    """Return the log-density of each row's observed cells together with each of several values in a column.

    Where numbers are missing beside it, it is the log-marginal of the observed cells and the logarithm of an average:
    of the distribution over these values given each of some completions, drawn from their conditional distribution. So
    the values share completions, and should be all that the column is likely to have.

    Parameters
    ----------
    module : Mixture
        Networks with equal weights.
    z : Tensor of shape (n, d)
        Encoded rows, NaN where a cell is missing. What they hold in the column plays no part.
    j : int
        The column.
    x : Tensor of shape (n, m)
        Encoded values of the column.

    Returns
    -------
    log_prob : Tensor of shape (n, m)
        In nats.
    """
    gap, z = z.clone(), z.clone()
    gap[:, j], z[:, j] = 0, torch.nan
    result = torch.empty_like(x)
    counts = n_outcomes(module, gap, N_PARTICLES)
    step = max(NUMBERS_AT_ONCE // max(module.width, z.shape[1]) // x.shape[1], 1)
    for count in counts.unique().tolist():
        rows = torch.nonzero(counts == count)[:, 0]
        if count:
            for chunk in rows.split(max(step // count, 1)):
                result[chunk] = _enumerate_at(module, gap[chunk], j, x[chunk], count, step)
        elif module.takes_any_order:
            for members, those in _by_members(module, gap[rows].isnan(), 1):
                log_p = [
                    member.log_prob_at(gap[rows[those]], j, x[rows[those]]) for member in members
                ]
                result[rows[those]] = torch.stack(log_p).logsumexp(dim=0) - math.log(len(log_p))
        else:
            for part in completions(module, z[rows], N_PREDICTION_PARTICLES):
                result[rows[part.rows]] = _average_at(module, part, j, x[rows[part.rows]], step)
    return result


def _enumerate_at(module, gap, j, x, count, step):
    """Return log-densities for rows whose other missing cells have so many outcomes."""
    filled, log_known = _outcomes_of(module, gap, gap.isnan(), count)
    n, m = x.shape
    parts = filled.flatten(0, 1).split(step), x.repeat_interleave(count, dim=0).split(step)
    log_p = torch.cat([module.log_prob_at(rows, j, of) for rows, of in zip(*parts, strict=True)])
    return log_p.reshape(n, count, m).logsumexp(dim=1) - log_known


def _average_at(module, part, j, x, step):
    """Average the distributions of a column given chosen completions, each under the member that drew it."""
    n_chosen = min(max(N_TRIALS // x.shape[1], MIN_CHOSEN), MAX_CHOSEN)
    filled, by = _chosen(part, j, len(module.members), n_chosen)
    p = torch.zeros_like(x)
    for k, member in enumerate(module.members):
        for pairs in torch.nonzero(by == k).split(step):
            rows, which = pairs.T
            log_p = member.log_prob_at(filled[rows, which], j, x[rows])
            p.index_add_(0, rows, log_p.softmax(dim=1).nan_to_num(0.0))
    return (p / n_chosen).log() + part.log_marginal()[:, None]


def _chosen(part, j, n_members, n_chosen):
    """Choose completions by systematic resampling, (n, n_chosen, d); return them and the members that drew them.

    They stand in the order of a missing column, so that those chosen spread over its range as its quantiles do.
    """
    n, m, d = part.z.shape
    by = torch.arange(m, device=part.z.device) // (m // n_members)
    is_missing = (part.z != part.z[:, :1]).any(dim=1).double()
    is_missing[:, j] = 0
    first = is_missing.argmax(dim=1)[:, None, None].expand(n, m, 1)
    order = part.z.gather(2, first)[..., 0].argsort(dim=1, stable=True)
    order = order.gather(1, by[order].argsort(dim=1, stable=True))
    weight = part.log_weight.gather(1, order).softmax(dim=1).nan_to_num(1 / m)  # of impossible rows
    bounds = weight.cumsum(dim=1)
    points = (torch.arange(n_chosen, device=by.device) + 0.5) / n_chosen * bounds[:, -1:]
    chosen = order.gather(1, torch.searchsorted(bounds, points).clamp_max(m - 1))
    return part.z.gather(1, chosen[..., None].expand(n, n_chosen, d)), by[chosen]


@torch.no_grad()
def log_marginal_features(module, z):
    """Return each observed column's share of the log-density of the observed cells.

    It is the expectation of its share in the completed row; what the estimate adds is spread evenly over them.

    Parameters
    ----------
    module : Mixture
        Whose `log_prob_features` gives the shares of complete rows.
    z : Tensor of shape (n, d)
        Encoded rows, NaN where a cell is missing.

    Returns
    -------
    shares : Tensor of shape (n, d)
        In nats, 0 for missing cells; the sum of a row is :func:`log_marginal`.
    """
    result = torch.zeros_like(z)
    some = torch.nonzero(~z.isnan().all(dim=1))[:, 0]
    for part in completions(module, z[some], of_observed=True):
        observed = ~z[some[part.rows]].isnan()
        total, log_weight = part.log_marginal(), part.log_weight
        possible = total > -torch.inf
        weight = torch.where(possible[:, None], log_weight.softmax(dim=1), 1 / log_weight.shape[1])
        shares = torch.where(weight[..., None] > 0, weight[..., None] * part.shares, 0).sum(dim=1)
        shares = torch.where(observed, shares, 0)
        rest = torch.where(possible, total - shares.sum(dim=1), 0)
        rest = (rest / observed.sum(dim=1))[:, None]
        result[some[part.rows]] = torch.where(observed, shares + rest, 0)
    return result


@torch.no_grad()
def redraw(module, z, current):
    """Draw the missing cells anew, by a step that leaves their conditional distribution as it is.

    One of the current completion and a few proposals is chosen by weight (iterated sampling importance resampling:
    Andrieu, Doucet and Holenstein, "Particle Markov Chain Monte Carlo Methods", 2010).

    Parameters
    ----------
    module : MADE
        The network as it is now.
    z : Tensor of shape (n, d)
        Encoded rows, NaN where a cell is missing.
    current : Tensor of shape (n, d)
        Their completions so far, NaN where there is none; a draw given earlier columns is in its place.

    Returns
    -------
    completed : Tensor of shape (n, d)
        The rows, completed with the current generator.
    """
    module, completed = module.any_member(), z.clone()
    incomplete = torch.nonzero(z.isnan().any(dim=1))[:, 0]
    m = module.n_proposals
    at_once = min(NUMBERS_AT_ONCE // module.width_of_visit, ROWS_AT_ONCE) // m
    # Of no rows, a split would be one empty part.
    for rows in incomplete.split(max(at_once, 1)) if len(incomplete) else ():
        given, held = z[rows], current[rows]
        if held.isnan().any():
            held = module.fill(held, _uniforms(len(rows), z, current_generator()))[0]
        uniforms = _uniforms(len(rows) * m, z, current_generator())
        filled, log_weight = module.fill(given.repeat_interleave(m, dim=0), uniforms)
        own = torch.where(given.isnan(), 0, module.log_prob_features(held)).sum(dim=1)
        filled = torch.cat([held[:, None], filled.reshape(len(rows), m, -1)], dim=1)
        log_weight = torch.cat([own[:, None], log_weight.reshape(len(rows), -1)], dim=1)
        noise = -torch.log(torch.empty_like(log_weight).exponential_(generator=current_generator()))
        chosen = (log_weight + noise).argmax(dim=1)
        completed[rows] = filled[torch.arange(len(rows), device=z.device), chosen]
    return completed
