"""Rows drawn column by column, each given its parents."""

import itertools
from abc import abstractmethod

import torch

from sklearn_dgm.nn.density import FactorisedDensity

# Encoded values beyond have no probability that a float64 number can hold.
FARTHEST = 1e100


class AncestralDensity(FactorisedDensity):
    """A density that knows the conditional of each column given its parents.

    Columns that have no conditional are given: they add nothing to a log-density, and none of their cells is drawn.

    Attributes
    ----------
    n_proposals : int
        Completions that are proposed for a row in each pass of training.
    """

    n_proposals = 4

    @property
    def width_of_visit(self):
        """Memory of a row in numbers where it is drawn column by column; by default as where it is scored."""
        return self.width

    @abstractmethod
    def visit(self, z):
        """Go through the columns in topological order.

        Parameters
        ----------
        z : Tensor of shape (n, d)
            Encoded rows. The caller fills in a column before it asks for the next one.

        Yields
        ------
        column : int
            A column.
        conditional : Conditional
            Its conditional distribution given what `z` holds in its parents by then, one for each row, with
            `log_prob(x)`, `sample(uniforms)` and `cdf(points)`; see :class:`~sklearn_dgm.nn.outputs.Conditional`. None
            of a column that is given.
        """

    @torch.no_grad()
    def sample(self, n_samples, generator):
        """Draw rows; see :class:`~sklearn_dgm.nn.density.RowDensity`."""
        like = next(itertools.chain(self.parameters(), self.buffers()))
        z = like.new_full((n_samples, len(self.variables)), torch.nan)
        uniforms = torch.rand(z.shape, generator=generator, device=z.device, dtype=torch.float64)
        return self.fill(z, uniforms)[0]

    @torch.no_grad()
    def fill(self, z, numbers, how="sample"):
        """Draw missing cells, each given all earlier ones; observed cells stay and say how well they fit.

        Parameters
        ----------
        z : Tensor of shape (n, d)
            Encoded rows, NaN where a cell is missing.
        numbers : Tensor of shape (n, d)
            What the missing cells are made of: float64 numbers between 0 and 1, or normal scores.
        how : {"sample", "icdf_of_normal"}
            What the conditionals do with the numbers.

        Returns
        -------
        z : Tensor of shape (n, d)
            Completed rows.
        log_weight : Tensor of shape (n,)
            Sum over the observed columns of the log-density given all earlier columns. If the numbers are uniform, the
            expectation of its exponential is the marginal density of the observed cells (sequential importance
            sampling), and rows with such weights are draws from the conditional distribution.

        Raises
        ------
        ValueError
            If a cell is missing in a column that is given.
        """
        z, shares = self._fill(z, numbers, how)
        return z, shares.sum(dim=1)

    def _fill(self, z, numbers, how="sample", of_observed=False):
        """Fill missing cells; return the rows, and each observed cell's log-density given all earlier columns.

        Where only what is said of the observed cells is asked for, the columns behind the last of these stay missing.
        """
        observed, possible = ~z.isnan(), ~(z.abs() >= FARTHEST)
        z = torch.where(possible, z, 0)
        shares = torch.zeros_like(z).masked_fill(~possible, -torch.inf)
        is_scored, is_drawn = observed.any(dim=0).tolist(), (~observed).any(dim=0).tolist()
        n_left = sum(is_scored)
        for j, conditional in self.visit(z):
            if of_observed and not n_left:
                break
            n_left -= is_scored[j]
            if conditional is None:
                if is_drawn[j]:
                    raise ValueError(
                        f"Column {j} is given, and cannot be drawn where it is missing."
                    )
                continue
            if is_scored[j]:
                log_p = conditional.log_prob(z[:, j])
                shares[:, j] += torch.where(observed[:, j], log_p, 0)
            if is_drawn[j]:
                drawn = getattr(conditional, how)(numbers[:, j])
                z[:, j] = torch.where(observed[:, j], z[:, j], drawn)
        return z, shares

    @torch.no_grad()
    def complete(self, z, numbers, of_observed=False):
        """Draw several completions of each row, column by column.

        Parameters
        ----------
        z : Tensor of shape (n, d)
            Encoded rows, NaN where a cell is missing.
        numbers : Tensor of shape (m, d) or (n, m, d)
            Float64 numbers between 0 and 1 of which the missing cells are made, for all rows or for each.
        of_observed : bool, default=False
            Whether only `shares` are asked for, so that cells behind the observed ones may stay missing.

        Returns
        -------
        filled : Tensor of shape (n, m, d)
            Completed rows.
        shares : Tensor of shape (n, m, d)
            Log-density of each observed cell given all earlier columns, 0 for missing cells. The sums are the
            log-weights that :meth:`fill` has.
        """
        numbers = numbers.expand(len(z), *numbers.shape[-2:])
        m = numbers.shape[1]
        rows = z.repeat_interleave(m, dim=0)
        filled, shares = self._fill(rows, numbers.flatten(0, 1), of_observed=of_observed)
        return filled.reshape(numbers.shape), shares.reshape(numbers.shape)

    @torch.no_grad()
    def log_prob_at(self, z, j, x):
        """Return log-densities of other values in a column; see :class:`~sklearn_dgm.nn.density.FactorisedDensity`."""
        rows = z.repeat_interleave(x.shape[1], dim=0)
        rows[:, j] = x.flatten()
        missing = rows.isnan()
        shares = self.log_prob_features(rows.nan_to_num(0.0)).masked_fill(missing, 0)
        return shares.sum(dim=1).reshape(x.shape)
