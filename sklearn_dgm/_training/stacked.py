"""The training of several modules of the same shape as one stack: of what costs the same for all, one pays for one."""

import torch
from skorch.callbacks import Callback

from sklearn_dgm._training.batches import RowBatches, WeightedRows
from sklearn_dgm._training.net import (
    MAX_GRADIENT_NORM,
    Diverged,
    RowNet,
    StopTraining,
    WeightAverage,
)
from sklearn_dgm.nn.randomness import current_generator, drawing_from

# What the modules see of their rows is computed once, if it is no more than so many numbers.
MAX_SEEN = 2**23
# Rows that validate at once.
VALIDATED_AT_ONCE = 512


class StackedRows(WeightedRows):
    """Rows of the members of a stack, as many of each, in batches of what the members see of them.

    Parameters
    ----------
    rows : list of WeightedRows
        The rows of each member.
    stack : nn.Module
        With :meth:`~sklearn_dgm.nn.stack.MADEStack.encode`.
    """

    def __init__(self, rows, stack):
        self.rows, self.stack = rows, stack
        self.weight = torch.stack([of_member.weight for of_member in rows])
        self._seen = None

    def __len__(self):
        return self.weight.shape[1]

    def __getitem__(self, index):
        """Return what the members see of a batch, and the weights, given a slice or indices of shape (k, n)."""
        width = self.stack.n_inputs + 2 * len(self.stack.members[0].variables)
        if self._seen is None and len(self) * len(self.rows) * width <= MAX_SEEN:
            self._seen = self.stack.encode([of_member.z for of_member in self.rows])
        if self._seen is None:
            of_members = [index] * len(self.rows) if isinstance(index, slice) else index
            z = [of_member[i][0] for of_member, i in zip(self.rows, of_members, strict=True)]
            return self.stack.encode(z), _chosen(self.weight, index)
        return tuple(_chosen(x, index) for x in self._seen), _chosen(self.weight, index)

    def follow(self, module):
        """Take notice of the modules with averaged weights; see :meth:`WeightedRows.follow`."""
        for of_member, member in zip(self.rows, module.members, strict=True):
            of_member.follow(member)

    def before_pass(self, index):
        """Prepare rows for a pass over them; see :meth:`WeightedRows.before_pass`."""
        of_members = [index] * len(self.rows) if isinstance(index, slice) else index
        generators = current_generator()
        for of_member, i, generator in zip(self.rows, of_members, generators, strict=True):
            with drawing_from(generator):
                of_member.before_pass(i)
        if not all(of_member.is_fixed for of_member in self.rows):
            self._seen = None
            self.weight = torch.stack([of_member.weight for of_member in self.rows])

    def training_state(self):
        """Return what passes have made of the rows of each member; see :meth:`WeightedRows.training_state`."""
        return {"members": [of_member.training_state() for of_member in self.rows]}

    def set_training_state(self, state):
        """Go on from what :meth:`training_state` returned."""
        for of_member, its_state in zip(self.rows, state["members"], strict=True):
            of_member.set_training_state(its_state)
        if not all(of_member.is_fixed for of_member in self.rows):
            self._seen = None

    def keep(self, indices):
        """Go on with the rows of some members."""
        self.rows, self.weight = [self.rows[k] for k in indices], self.weight[indices]
        if self._seen is not None:
            self._seen = tuple(x[indices] for x in self._seen)


def _chosen(x, index):
    """Return rows of each member, of shape (k, n, ...)."""
    if isinstance(index, slice):
        return x[:, index]
    k, n = x.shape[:2]
    flat = index + n * torch.arange(k, device=index.device)[:, None]
    return x.flatten(0, 1).index_select(0, flat.flatten()).unflatten(0, index.shape)


class StackNet(RowNet):
    """A skorch net whose module is a stack, and returns the loss of each row of each member, of shape (k, n)."""

    def train_step(self, batch, **fit_params):
        """Take a step; nobody listens in its middle, so that skorch's detours are spared."""
        seen, weight = batch
        self.module_.train()
        self.optimizer_.zero_grad()
        loss = self.get_loss(self.module_(seen), weight)
        loss.backward()
        self.module_.mask_gradients()
        self._clip_gradients()
        self.optimizer_.step()
        self.average.update(self.module_)
        return {"loss": loss.detach()}

    def _clip_gradients(self):
        """Clip the gradient of each member."""
        groups = self.optimizer_.param_groups
        gradients = [p.grad for group in groups for p in group["params"] if p.grad is not None]
        norms = [torch.linalg.vector_norm(g.flatten(1), dim=1) for g in gradients]
        norm = torch.stack(norms).norm(dim=0)
        if (norm > MAX_GRADIENT_NORM).any():
            factors = (MAX_GRADIENT_NORM / (norm + 1e-6)).clamp_max(1)
            for gradient in gradients:
                gradient.mul_(factors.view(-1, *[1] * (gradient.ndim - 1)))

    def begin_epoch(self):
        """Start to add up losses anew."""
        self._total, self._n_rows = 0.0, 0

    def mean_losses(self):
        """Return the mean training loss of each member in this epoch."""
        return (self._total / self._n_rows).tolist()

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """Compute the sum of the members' mean losses."""
        losses, n_rows = (y_pred * y_true).mean(dim=1), y_true.shape[1]
        self._total = self._total + losses.detach() * n_rows
        self._n_rows += n_rows
        if not losses.isfinite().any():
            raise Diverged
        return losses.sum()

    def keep(self, indices):
        """Go on with some of the members."""
        self.module_.keep(indices)
        self.average.module.keep(indices)
        for parameter, state in self.optimizer_.state.items():
            for name, value in state.items():
                if value.ndim == parameter.ndim:
                    state[name] = value[indices]


class StackMonitor(Callback):
    """Lead a monitor for each member of a stack, and let those go that are done.

    Parameters
    ----------
    monitors : list of Monitor
        For each member one, with its validation rows.
    generators : list of torch.Generator
        Those that training draws from, one for each member.
    train : StackedRows
        The rows that train.
    stop : threading.Event
        Ends training before the next step, when set.
    choose : callable, default=None
        Of members with different settings, of which one is to go on, returns its setting, or None as long as nobody
        knows.
    """

    def __init__(self, monitors, generators, train, stop, choose=None):
        self.monitors, self.rivals = list(monitors), list(monitors)
        self.generators, self.train = generators, train
        self.stop, self.choose = stop, choose
        self.valid = None

    def on_train_begin(self, net, **kwargs):
        """Start from the weights as they are."""
        net.average = WeightAverage(net.module_)
        valid = [monitor.valid for monitor in self.monitors]
        if valid[0] is not None and not any(rows.z.isnan().any() for rows in valid):
            self.valid = StackedRows(valid, net.average.module)
        losses = self._valid_losses(net)
        for monitor, module, loss in self._with_members(net, losses):
            monitor.begin(module, loss)

    def on_epoch_begin(self, net, **kwargs):
        """Add up losses anew."""
        net.begin_epoch()

    def on_batch_begin(self, net, **kwargs):
        """Stop if something else has failed."""
        if self.stop.is_set():
            raise StopTraining

    def on_epoch_end(self, net, **kwargs):
        """Record the epoch of each member and judge it."""
        epoch = net.history[-1]
        del epoch["batches"][:-1]
        losses, staying = self._valid_losses(net), []
        epochs = [
            {"train_loss": train, "valid_loss": valid, "dur": epoch["dur"] / len(losses)}
            for train, valid in zip(net.mean_losses(), losses, strict=True)
        ]
        for k, (monitor, module, of_member) in enumerate(self._with_members(net, epochs)):
            if not monitor.is_done_after(module, of_member):
                staying.append(k)
        if self.choose is not None and (setting := self.choose()) is not None:
            for monitor in self.rivals:
                monitor.has_lost = monitor.setting != setting
            staying = [k for k in staying if not self.monitors[k].has_lost]
        if not staying:
            raise StopTraining
        self.keep(net, staying)

    def _with_members(self, net, values):
        return zip(self.monitors, net.average.module.members, values, strict=True)

    def keep(self, net, indices):
        """Go on with some of the members, if not with all."""
        if len(indices) == len(self.monitors):
            return
        self.monitors = [self.monitors[k] for k in indices]
        self.generators[:] = [self.generators[k] for k in indices]
        net.keep(indices)
        for rows in (self.train, self.valid):
            if rows is not None:
                rows.keep(indices)

    @torch.no_grad()
    def _valid_losses(self, net):
        """Return the mean loss of each member's average over its validation rows, None without any."""
        stack = net.average.module
        if self.monitors[0].valid is None:
            return [None] * len(self.monitors)
        if self.valid is None:  # with missing cells, each has a sum of its own for every row
            return [
                _mean_loss(member, RowBatches(monitor.valid, VALIDATED_AT_ONCE), len(monitor.valid))
                for monitor, member in zip(self.monitors, stack.members, strict=True)
            ]
        batches = RowBatches(self.valid, VALIDATED_AT_ONCE)
        return _mean_loss(stack, batches, len(self.valid)).tolist()


def _mean_loss(module, batches, n_rows):
    return sum((module(z) * weight).sum(dim=-1) for z, weight in batches) / n_rows
