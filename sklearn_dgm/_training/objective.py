"""What training makes better, and how its record says so."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Objective:
    """Quantity that is recorded of each epoch, made of the mean loss of its rows.

    That is the loss itself; or, where it is to rise, the log-Jacobian of the rows less the loss, which of a loss that
    is minus a log-density of encoded rows makes the log-density in the units of the user's rows.

    Parameters
    ----------
    name : str
        What is recorded: "log_likelihood", "elbo", "critic_loss", ... Records hold it as ``train_<name>`` and
        ``valid_<name>``.
    unit : str, default=""
        The unit of it.
    rises : bool, default=False
        Whether more of it is better.
    log_det : float or ndarray of shape (d,), default=0.0
        Log-Jacobian of the encoding; of each column, if cells may be missing.
    train_name : str, default=None
        What is recorded of the training rows, if it is something else.
    """

    name: str
    unit: str = ""
    rises: bool = False
    log_det: Any = 0.0
    train_name: str | None = None

    @property
    def train_key(self):
        """The key under which records hold what is recorded of the training rows."""
        return f"train_{self.train_name or self.name}"

    @property
    def label(self):
        """The name as people read it."""
        return self.label_of(self.name)

    @staticmethod
    def label_of(key):
        """Return a name, or the key of a record that has it, as people read it."""
        name = key.removeprefix("train_").removeprefix("valid_")
        return name.replace("log_", "log-").replace("_", " ")

    def offset(self, rows):
        """Return the mean log-Jacobian of rows; their missing cells have none.

        Parameters
        ----------
        rows : WeightedRows or None
            Encoded rows and their weights; a matrix, if `log_det` has an entry for each column.

        Returns
        -------
        offset : float
            To be given to :meth:`of_loss`.
        """
        if np.ndim(self.log_det) and rows is not None and rows.z.isnan().any():
            observed = ~rows.z.isnan().cpu().numpy()
            return np.average(observed @ self.log_det, weights=rows.weight.cpu())
        return np.sum(self.log_det)

    def of_loss(self, loss, offset):
        """Return the recorded value of a mean loss over rows with some :meth:`offset`."""
        return float(offset - loss) if self.rises else float(loss)

    def score(self, value):
        """Return a number that is the higher the better what is recorded."""
        return value if self.rises else -value


def log_likelihood(log_det=0.0):
    """Return the objective of a loss that is minus the log-density of a row.

    Parameters
    ----------
    log_det : float or ndarray of shape (d,), default=0.0
        Log-Jacobian of the encoding.

    Returns
    -------
    objective : Objective
        The log-likelihood, in nats per row.
    """
    return Objective("log_likelihood", "nats per row", rises=True, log_det=log_det)
