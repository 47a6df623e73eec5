"""The training of one network by several processes, each of which computes a share of every batch."""

import warnings
from numbers import Integral

import torch
from skorch.hf import AccelerateMixin

from sklearn_dgm._training.net import Diverged, RowNet
from sklearn_dgm.nn.randomness import current_generator, drawing_from

# What `device` is for the processes and devices that accelerate was launched with.
ACCELERATE = "accelerate"


def make_accelerator(random_state):
    """Return the accelerator of this process, and of those beside it.

    Parameters
    ----------
    random_state : int
        What all processes compute from what precedes training, each for itself.

    Returns
    -------
    accelerator : accelerate.Accelerator
        In single precision, which log-densities need.

    Raises
    ------
    ImportError
        Without accelerate.
    ValueError
        If `random_state` is no int.
    """
    try:
        from accelerate import Accelerator, DistributedDataParallelKwargs
    except ImportError as error:
        raise ImportError(
            "device='accelerate' needs accelerate: pip install 'sklearn-dgm[accelerate]'."
        ) from error
    if not isinstance(random_state, Integral):
        raise ValueError(
            "device='accelerate' needs an int for random_state, by which all processes compute the same splits and "
            f"starts; got {random_state!r}."
        )
    # Buffers are constants; not every loss depends on all parameters.
    options = DistributedDataParallelKwargs(broadcast_buffers=False, find_unused_parameters=True)
    return Accelerator(mixed_precision="no", device_placement=False, kwargs_handlers=[options])


def device_of(accelerator):
    """Return the device of this process; of a CPU without a number, with which no tensor could be pickled."""
    device = accelerator.device
    return torch.device("cpu") if device.type == "cpu" else device


class AcceleratedNet(AccelerateMixin, RowNet):
    """A :class:`RowNet` whose batches are shared by several processes.

    All processes make the same batches, from generators in the same state; each computes the loss of its share with
    random numbers of its own, and the gradients are averaged. So all have the same weights after each step, and the
    same losses, by which they decide alike.
    """

    @property
    def plain_module(self):
        """The module itself, behind what averages its gradients."""
        return self.accelerator.unwrap_model(self.module_)

    def _initialize_accelerator(self):
        with warnings.catch_warnings():
            # Of the option that later releases of torch put in its place, accelerate does not know.
            warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
            return super()._initialize_accelerator()

    def train_step(self, batch, **fit_params):
        """Take a step by the gradients of all processes."""
        share, generator = self._share(batch)
        self._n_rows = len(batch[1])
        with drawing_from(generator):
            step = super().train_step(share, **fit_params)
        loss = self.accelerator.reduce(step["loss"].detach(), "mean")
        if not torch.isfinite(loss):
            raise Diverged
        return {**step, "loss": loss}

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """Compute what the losses of a share add to the weighted mean of a batch, times the number of processes."""
        return (y_pred * y_true).sum() * self._n_shares(y_true) / self._n_rows

    def validation_step(self, batch, **fit_params):
        """Compute the loss of the averaged weights, which is the same in all processes."""
        (z, weight), generator = self._share(batch)
        self._n_rows = len(batch[1])
        module = self.plain_module if self.average is None else self.average.module
        with torch.no_grad(), drawing_from(generator):
            losses = module(z)
            of_share = self.get_loss(losses, weight)
        loss = self.accelerator.reduce(of_share, "mean")
        if not torch.isfinite(loss):
            raise Diverged
        return {"loss": loss, "y_pred": losses}

    def _n_shares(self, weight):
        """Return in how many shares a batch was cut of which this is one."""
        return 1 if len(weight) == self._n_rows else self.accelerator.num_processes

    def _share(self, batch):
        """Return the rows that are for this process, and a generator for what is random about them."""
        z, weight = batch
        n_processes, rank = self.accelerator.num_processes, self.accelerator.process_index
        shared = current_generator()
        seed = int(torch.randint(2**62, (), generator=shared, device=shared.device))
        generator = torch.Generator(shared.device).manual_seed(seed + rank)
        if len(weight) < n_processes:
            return batch, generator
        mine = slice(rank, None, n_processes)
        z = tuple(part[mine] for part in z) if isinstance(z, tuple) else z[mine]
        return (z, weight[mine]), generator
