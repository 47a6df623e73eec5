"""Ctrl-C at a certain step of a training."""

import pytest
import torch


class Interrupted(torch.optim.AdamW):
    """An optimizer that is interrupted at a certain step."""

    steps, at = 0, 40

    def step(self, closure=None):
        type(self).steps += 1
        if self.steps == self.at:
            raise KeyboardInterrupt
        return super().step(closure)


def interrupt(estimator, X, at, method="fit"):
    """Fit an estimator, or another method of it, until Ctrl-C at a step."""
    Interrupted.steps, Interrupted.at = 0, at
    estimator.set_params(net_params={"optimizer": Interrupted})
    with pytest.raises(KeyboardInterrupt):
        getattr(estimator, method)(X)
    return estimator.set_params(net_params=None)
