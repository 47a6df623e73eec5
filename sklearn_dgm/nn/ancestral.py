"""Rows drawn column by column, each given its parents."""

import itertools

import torch

# Encoded values beyond have no probability that a float64 number can hold.
FARTHEST = 1e100


class AncestralSampling:
    """Mixin of modules that know the conditional of each column given its parents.

    Such a module has `visit(z)`, which goes through the columns in topological order and yields pairs of a column and
    of its conditional, with `log_prob(x)` and `draw(uniforms)`, given what `z` holds in its parents by then; and
    `variables`, one for each column.
    """

    @torch.no_grad()
    def sample(self, n_samples, generator):
        """Draw rows.

        Parameters
        ----------
        n_samples : int
            Number of rows.
        generator : torch.Generator
            Source of randomness, on the module's device.

        Returns
        -------
        z : Tensor of shape (n_samples, d)
            Encoded rows.
        """
        like = next(itertools.chain(self.parameters(), self.buffers()))
        z = like.new_full((n_samples, len(self.variables)), torch.nan)
        uniforms = torch.rand(z.shape, generator=generator, device=z.device, dtype=torch.float64)
        return self.fill(z, uniforms)[0]

    @torch.no_grad()
    def fill(self, z, numbers, how="draw"):
        """Draw missing cells, each given all earlier ones; observed cells stay and say how well they fit.

        Parameters
        ----------
        z : Tensor of shape (n, d)
            Encoded rows, NaN where a cell is missing.
        numbers : Tensor of shape (n, d)
            What the missing cells are made of: float64 numbers between 0 and 1, or normal scores.
        how : {"draw", "from_normal_score"}
            What the conditionals do with the numbers.

        Returns
        -------
        z : Tensor of shape (n, d)
            Completed rows.
        log_weight : Tensor of shape (n,)
            Sum over the observed columns of the log-density given all earlier columns. If the numbers are uniform, the
            expectation of its exponential is the marginal density of the observed cells (sequential importance
            sampling), and rows with such weights are draws from the conditional distribution.
        """
        observed, impossible = ~z.isnan(), (z.abs() >= FARTHEST).any(dim=1)
        z = torch.where(z.abs() >= FARTHEST, 0, z)
        log_weight = z.new_zeros(len(z)).masked_fill(impossible, -torch.inf)
        is_scored, is_drawn = observed.any(dim=0).tolist(), (~observed).any(dim=0).tolist()
        for j, conditional in self.visit(z):
            if is_scored[j]:
                log_p = conditional.log_prob(z[:, j])
                log_weight += torch.where(observed[:, j], log_p, 0)
            if is_drawn[j]:
                drawn = getattr(conditional, how)(numbers[:, j])
                z[:, j] = torch.where(observed[:, j], z[:, j], drawn)
        return z, log_weight
