"""Normalising flows of the numbers of a table, given its other columns."""

import math

import numpy as np
import torch

from sklearn_dgm.nn.ancestral import FARTHEST
from sklearn_dgm.nn.common_numbers import common_uniforms
from sklearn_dgm.nn.config import config_of, module_of, plain
from sklearn_dgm.nn.density import RowDensity
from sklearn_dgm.nn.inputs import TableInputs, as_variables
from sklearn_dgm.nn.mixture import Mixture, log_prob_of
from sklearn_dgm.nn.randomness import current_generator
from sklearn_dgm.nn.transforms import (
    BOUND,
    NormalBase,
    Standardisation,
    StudentBase,
    Whitening,
    inverse_log_tails,
    log_tails,
    make_transforms,
    require_zuko,
)

# Where a combination of standardised numbers varies less, they are whitened before the transforms and not after.
LEAST_VARIANCE = 0.005
# Points of a cell whose mean density is that of a whole number.
N_POINTS = 16


class Flow(RowDensity):
    """A flow for the numbers of a table, given its other columns, and a masked network for those that are not given.

    A whole number is spread over its cell: its probability is the mean density there, over the same few points for all
    rows; training draws one (Theis, van den Oord and Bethge, "A note on the evaluation of generative models", 2016).

    Parameters
    ----------
    variables : list of Variable, or of tuples
        The columns of the table.
    numbers, context : list of int
        The columns that the flow is of, and those that it is given.
    kind, n_transforms, hidden_sizes, coupling, n_bins
        See :func:`make_transforms`.
    base : {"normal", "student"}
        What the flow makes of the numbers.
    discrete : MADE, its config or None
        The density of those of the context that are not given, which are its targets; None if all are.
    """

    def __init__(
        self,
        variables,
        numbers,
        context,
        kind,
        n_transforms,
        hidden_sizes,
        coupling,
        n_bins,
        base,
        discrete=None,
    ):
        super().__init__()
        require_zuko()
        self.variables = as_variables(variables)
        self.numbers, self.context = list(numbers), list(context)
        self.whole = [i for i, j in enumerate(self.numbers) if self.variables[j].whole]
        self._settings = kind, n_transforms, hidden_sizes, coupling, n_bins, base
        self.inputs = TableInputs([self.variables[j] for j in self.context])
        p = len(self.numbers)
        # A Student distribution has tails of its own.
        edge = BOUND if base == "normal" else math.inf
        self.standardisation = Standardisation(p, self.inputs.n_features, edge)
        self.first, self.last = Whitening(p), Whitening(p)
        self.base = NormalBase() if base == "normal" else StudentBase(p)
        self.transforms = make_transforms(
            kind, p, self.inputs.n_inputs, n_transforms if p else 0, hidden_sizes, coupling, n_bins
        )
        self.discrete = None if discrete is None else module_of(discrete)

    @property
    def config(self):
        """Plain values that build it anew; see :class:`~sklearn_dgm.nn.density.RowDensity`."""
        own = (tuple(map(tuple, self.variables)), self.numbers, self.context, *self._settings)
        names = "variables numbers context kind n_transforms hidden_sizes coupling n_bins base"
        discrete = None if self.discrete is None else config_of(self.discrete)
        return {**plain(dict(zip(names.split(), own, strict=True))), "discrete": discrete}

    @torch.no_grad()
    def start_from(self, moments, inputs):
        """Let the flow be the Gaussian of the numbers given the context.

        Parameters
        ----------
        moments : Moments
            What the rows say.
        inputs : TableInputs
            The inputs, of all columns, that these are moments of.
        """
        of_numbers = [self.variables[j] for j in self.numbers]
        for name in ("location", "scale"):
            values = torch.tensor([getattr(variable, name) for variable in of_numbers])
            getattr(self.standardisation, name).copy_(values)
        features = [inputs.features_at[j].start for j in self.numbers]
        # In the order in which the inputs of the context have them.
        for k in sorted(self.inputs.features_at, key=lambda k: self.inputs.features_at[k].start):
            place = inputs.features_at[self.context[k]]
            features += range(place.start, place.stop)
        place = np.full(inputs.n_features, -1)
        place[moments.used] = range(len(moments.used))
        features = place[features]
        # What the moments leave out, such as one of very many categories, says nothing at first.
        known = features >= 0
        mean = np.where(known, moments.mean[features], 0.0)
        covariance = moments.covariance[np.ix_(features, features)]
        covariance = np.where(np.outer(known, known), covariance, np.diag(~known * 1.0))
        correlation = self.standardisation.start_from(mean, covariance)
        # First, it blends columns into numbers that are harder to bend than they are; last, it multiplies what
        # transforms do to columns that all but determine each other.
        is_narrow = np.linalg.eigvalsh(correlation).min(initial=1.0) < LEAST_VARIANCE
        (self.first if is_narrow else self.last).start_from(correlation)

    @property
    def width(self):
        """How many numbers a row takes up at most: parameters of a transform, at each point of a cell."""
        kind, _, hidden_sizes, *_, n_bins, _ = self._settings
        n_params = {"spline": 9 * n_bins, "affine": 2, "bernstein": 8 * n_bins}[kind]
        own = max(len(self.numbers) * n_params + self.inputs.n_inputs, *hidden_sizes, 1)
        own *= N_POINTS if self.whole else 1
        return max(own, 0 if self.discrete is None else self.discrete.width)

    def parts(self, z):
        """Return the numbers of encoded rows, and of their context the features and the inputs, None without any."""
        features = self.inputs.features(z[:, self.context])
        return z[:, self.numbers], features, self.inputs.inputs(features) if self.context else None

    def to_base(self, x, features, inputs):
        """Transform numbers into those of the base.

        Parameters
        ----------
        x : Tensor of shape (n, n_numbers)
            Encoded numbers, spread over their cells if they are whole.
        features : Tensor of shape (n, n_features)
            Features of the context.
        inputs : Tensor of shape (n, n_inputs) or None
            Inputs from the context, if there is one.

        Returns
        -------
        base : Tensor of shape (n, n_numbers)
            Independent numbers, if the rows come from the density.
        log_det : Tensor of shape (n,)
            Log-determinants of the Jacobians.
        """
        x, log_det = self.standardisation(x, features)
        x, by = self.first(x)
        log_det = log_det + by
        for transform in self.transforms:
            # If training diverges, the log-determinant says so; NaN is no argument of a polynomial.
            x, by = transform(inputs).call_and_ladj(x.nan_to_num())
            log_det = log_det + by.reshape(x.shape[0], -1).sum(dim=1)
        x, by = self.last(x)
        # A cell off the line of columns that all but determine each other is far out in this direction alone.
        base, log_slope = log_tails(x, self.standardisation.edge)
        return base, log_det + by + log_slope.sum(dim=-1)

    def from_base(self, base, features, inputs):
        """Return the numbers of which :meth:`to_base` makes others."""
        x = self.last.inverse(inverse_log_tails(base, self.standardisation.edge))
        for transform in reversed(self.transforms):
            x = transform(inputs).inv(x)
        return self.standardisation.inverse(self.first.inverse(x), features)

    def _log_prob_of_numbers(self, x, features, inputs):
        base, log_det = self.to_base(x, features, inputs)
        return self.base.log_prob(base) + log_det

    def loss(self, z):
        """Return minus the log-density of each row, of shape (n,); in training at a random point of each cell."""
        if not self.training:
            return -self.log_prob(z)
        x, features, inputs = self.parts(z)
        if self.whole:
            generator = current_generator()
            u = torch.rand(len(z), len(self.whole), generator=generator, device=z.device)
            x[:, self.whole] += u - 0.5
        loss = -self._log_prob_of_numbers(x, features, inputs) if self.numbers else 0.0
        return loss if self.discrete is None else loss + self.discrete.loss(z)

    def log_prob(self, z):
        """Return the log-density of each row; see :class:`~sklearn_dgm.nn.density.RowDensity`."""
        return self.log_prob_and_std(z)[0]

    def log_prob_and_std(self, z):
        """Return the log-density of each row and its standard error, which is 0 without whole numbers.

        Parameters
        ----------
        z : Tensor of shape (n, d)
            Encoded rows.

        Returns
        -------
        log_prob, std : Tensor of shape (n,)
            In nats; `-inf` where a number that should be whole is not.
        """
        x = z[:, self.numbers]
        whole = x[:, self.whole]
        possible = (x.abs() < FARTHEST).all(dim=1) & (whole == whole.round()).all(dim=1)
        z = torch.where(z.abs() < FARTHEST, z, 0)
        log_p, std = self._log_prob_of_cells(z) if self.numbers else (z.new_zeros(len(z)),) * 2
        if self.discrete is not None:
            log_p = log_p + self.discrete.log_prob(z)
        return torch.where(possible, log_p, -torch.inf), std

    def _log_prob_of_cells(self, z):
        """Log-densities of the numbers given the context, the means of cells, and standard errors."""
        x, features, inputs = self.parts(z)
        if not self.whole:
            return self._log_prob_of_numbers(x, features, inputs), x.new_zeros(len(x))
        points = common_uniforms(N_POINTS, len(self.whole)).to(x) - 0.5
        x, features = (part.repeat_interleave(N_POINTS, dim=0) for part in (x, features))
        inputs = None if inputs is None else inputs.repeat_interleave(N_POINTS, dim=0)
        x[:, self.whole] += points.repeat(len(z), 1)
        log_p = self._log_prob_of_numbers(x, features, inputs).reshape(len(z), N_POINTS)
        mean = log_p.logsumexp(dim=1) - math.log(N_POINTS)
        # As of independent points, which are somewhat worse than these.
        relative = (log_p - mean[:, None]).exp().nan_to_num()
        return mean, relative.std(dim=1) / math.sqrt(N_POINTS)

    def sample(self, n_samples, generator):
        """Draw rows; see :class:`~sklearn_dgm.nn.density.RowDensity`."""
        like = self.last.matrix
        return self.sample_given(like.new_zeros(n_samples, len(self.variables)), generator)

    @torch.no_grad()
    def sample_given(self, z, generator):
        """Draw all columns but those that are given.

        Parameters
        ----------
        z : Tensor of shape (n, d)
            Encoded rows; what they hold in other columns plays no part.
        generator : torch.Generator
            Source of randomness, on the module's device.

        Returns
        -------
        z : Tensor of shape (n, d)
            Rows with the given cells.
        """
        z = z.clone()
        if self.discrete is not None:
            u = torch.rand(z.shape, generator=generator, device=z.device, dtype=torch.float64)
            for j, conditional in self.discrete.visit(z):
                if conditional is not None:
                    z[:, j] = conditional.sample(u[:, j])
        if self.numbers:
            base = self.base.sample((len(z), len(self.numbers)), generator).to(z)
            x = self.from_base(base, *self.parts(z)[1:])
            x[:, self.whole] = x[:, self.whole].round()
            z[:, self.numbers] = x
        return z


class FlowMixture(Mixture):
    """Mixture of flows with equal weights.

    Parameters
    ----------
    members : iterable of Flow, or of their configs
        The members.
    """

    def log_prob_and_std(self, z):
        """Return log-densities and standard errors at most; see :class:`Flow`."""
        log_p, std = (
            torch.stack(part)
            for part in zip(*(m.log_prob_and_std(z) for m in self.members), strict=True)
        )
        mean = log_prob_of(log_p)
        share = (log_p - mean).exp().nan_to_num() / len(self.members)
        return mean, (share * std).sum(dim=0)

    @torch.no_grad()
    def sample_given(self, z, generator):
        """Draw all columns but those that are given; see :class:`Flow`."""
        n_members = (len(self.members),)
        chosen = torch.randint(*n_members, (len(z),), generator=generator, device=z.device)
        drawn = torch.empty_like(z)
        for k, member in enumerate(self.members):
            drawn[chosen == k] = member.sample_given(z[chosen == k], generator)
        return drawn
