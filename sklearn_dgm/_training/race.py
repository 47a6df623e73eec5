"""The choice between settings of which the first member tries all."""

import math
from typing import NamedTuple


class Race(NamedTuple):
    """Rule by which the best of several runs wins, once each has gone for some epochs without becoming better.

    Attributes
    ----------
    patience : float
        Epochs without a better validation score; infinite for those at the end of the training.
    max_epochs : float
        Epochs at most.
    lead : float
        By how much another run has to be better than the first.
    """

    patience: float = math.inf
    max_epochs: float = math.inf
    lead: float = 0.0

    def decide(self, runs, objective, *, is_over=False):
        """Return the run that has won and the length of the race, or None as long as nobody knows.

        Parameters
        ----------
        runs : list of Run
            The runs, which have come as far as each other, but for those that have ended.
        objective : Objective
            What they record.
        is_over : bool, default=False
            Whether all have ended.

        Returns
        -------
        winner, n_epochs : tuple of Run and int, or None
            The first, unless another has a better validation score in so many epochs.
        """
        n_epochs = max(len(run.records) for run in runs)
        lengths = [self._length(run.records) for run in runs]
        is_open = [
            length is None and len(run.records) == n_epochs
            for run, length in zip(runs, lengths, strict=True)
        ]
        if any(is_open) and not is_over:
            return None
        length = max(
            len(run.records) if length is None else length
            for run, length in zip(runs, lengths, strict=True)
        )

        def score(run):
            kept = [record for record in run.records[:length] if record["best"]]
            values = [record[f"valid_{objective.name}"] for record in kept]
            best = max(map(objective.score, values), default=-math.inf)
            return best if run is runs[0] else best - self.lead

        return max(runs, key=score), length

    def _length(self, records):
        """Return the number of epochs until a run had gone without progress for long; None if it has not."""
        since = 0
        for epoch, record in enumerate(records, start=1):
            since = 0 if record["best"] else since + 1
            if since >= self.patience or epoch >= self.max_epochs:
                return epoch
        return None
