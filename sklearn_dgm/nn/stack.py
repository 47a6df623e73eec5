"""Masked networks of the same shape as one: what each of them needs is computed at once for all."""

import copy
import itertools

import torch
from torch import nn
from torch.nn import functional as F

from sklearn_dgm.nn.randomness import kept_of_each


def _over_members(arrays, axis=1):
    """Stack arrays of members, with an axis for rows, by default after that for members."""
    return torch.stack(arrays).unsqueeze(axis)


def _transposed(matrices, n_in):
    """Stack the transposes of members' matrices, with zeros up to the last input, of shape (k, n_in, n_out)."""
    padded = [F.pad(matrix, (0, n_in - matrix.shape[1])).T for matrix in matrices]
    return torch.stack(padded).contiguous()


class StackedLinear(nn.Module):
    """A masked linear layer of each member; the weights of these are views of its own from then on.

    Connections that there are not are zeros, which :meth:`mask_gradient` keeps so.

    Parameters
    ----------
    layers : list of MaskedLinear
        Of the same number of outputs.
    n_in : int
        Number of inputs, of which some members may have less.
    """

    def __init__(self, layers, n_in):
        super().__init__()
        self.layers = layers  # a list, no part of the state
        self.register_buffer("mask", _transposed([layer.mask for layer in layers], n_in))
        weight = _transposed([layer.weight.detach() for layer in layers], n_in)
        self.weight = nn.Parameter(weight.mul_(self.mask))
        self.bias = None
        if layers[0].bias is not None:
            self.bias = nn.Parameter(_over_members([layer.bias.detach() for layer in layers]))
        start = None
        if hasattr(layers[0], "start"):
            start = _transposed([layer.start for layer in layers], n_in)
        self.register_buffer("start", start)
        self.bind()

    def bind(self):
        """Make the members' weights views of its own."""
        for k, layer in enumerate(self.layers):
            layer.weight.data = self.weight.data[k, : layer.weight.shape[1]].T
            if self.bias is not None:
                layer.bias.data = self.bias.data[k, 0]

    def forward(self, x):
        """Apply the layers to the rows of shape (k, n, n_in)."""
        weight = self.weight if self.start is None else self.start + self.weight
        return torch.bmm(x, weight) if self.bias is None else torch.baddbmm(self.bias, x, weight)

    def mask_gradient(self):
        """Leave the connections that there are not as they are."""
        self.weight.grad.mul_(self.mask)


class DroppedRelu(torch.autograd.Function):
    """Rectified units of which some are dropped; in place, and of both together one array is kept."""

    @staticmethod
    def forward(ctx, x, keep):
        """Return the units, given what each is to be multiplied by, which is positive or zero."""
        ctx.mark_dirty(x)
        x.clamp_min_(0).mul_(keep)
        ctx.save_for_backward(x, keep)
        return x

    @staticmethod
    def backward(ctx, gradient):
        """Return the gradient: that of units which are not zero."""
        x, keep = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(gradient * keep, x, 0.0), None


def stacked_heads(banks, axis=1):
    """Return the heads of the members as one, whose buffers have an axis for members, and another for rows."""
    heads = []
    for of_members in zip(*(bank.heads for bank in banks), strict=True):
        head = _with_own(of_members[0], "_buffers")
        for name in [name for name, buffer in head._buffers.items() if buffer is not None]:
            of_each = [getattr(member, name) for member in of_members]
            setattr(head, name, _over_members(of_each, axis))
        heads.append(head)
    bank = _with_own(banks[0], "_modules")
    bank.heads = nn.ModuleList(heads)
    return bank


def _with_own(module, name):
    """Return a copy of a module that shares with it all but what one of its dictionaries holds."""
    module = copy.copy(module)
    setattr(module, name, dict(getattr(module, name)))
    return module


class MADEStack(nn.Module):
    """MADEs with the same :attr:`~sklearn_dgm.nn.made.MADE.stack_key`, which are trained together.

    Their weights are views of those of the stack, so that they are always as far as it is.

    Parameters
    ----------
    members : list of MADE
        The networks, in single precision.
    """

    def __init__(self, members):
        super().__init__()
        self.members = list(members)  # no part of the state, which is theirs
        first = members[0]
        self.activation, self.n_inputs = first.activation, max(m.n_inputs for m in members)
        n_in = [self.n_inputs, *map(len, first.hidden_labels)]
        of_layers = zip(*(member.hidden for member in members), strict=True)
        self.hidden = nn.ModuleList(map(StackedLinear, map(list, of_layers), n_in))
        self.out = StackedLinear([member.out for member in members], n_in[-1])
        self.skip = StackedLinear([member.skip for member in members], first.inputs.n_features)
        self.bias = nn.Parameter(_over_members([member.bias.detach() for member in members]))
        self.bank = stacked_heads([member.bank for member in members])
        self.linear_rows, self.sparse_rows = first.bank.linear_rows, first.sparse_rows
        self._bind()

    def __deepcopy__(self, memo):
        return type(self)(copy.deepcopy(self.members, memo))

    def _bind(self):
        for k, member in enumerate(self.members):
            member.bias.data = self.bias.data[k, 0]

    def train(self, mode=True):
        """Set the members' mode, too; in each step of training, where it is set already."""
        if any(part.training != mode for part in (self, *self.members)):
            for member in self.members:
                member.train(mode)
            super().train(mode)
        return self

    def layers(self):
        """Return all linear layers."""
        return [*self.hidden, self.out, self.skip]

    def mask_gradients(self):
        """Leave the connections that there are not as they are."""
        for layer in self.layers():
            layer.mask_gradient()

    def keep(self, indices):
        """Go on with some of the members; the others keep the weights that they have.

        Parameters
        ----------
        indices : list of int
            Those that stay.
        """
        for part in self.modules():
            arrays = (part.parameters(recurse=False), part.buffers(recurse=False))
            for array in itertools.chain(*arrays):
                array.data, array.grad = array.data[indices], None
        self.members = [self.members[k] for k in indices]
        for layer in self.layers():
            layer.layers = [layer.layers[k] for k in indices]
            layer.bind()
        self._bind()

    def encode(self, z):
        """Return what the networks see of rows, which no training changes.

        Parameters
        ----------
        z : list of Tensor of shape (n, d)
            Encoded rows for each member.

        Returns
        -------
        inputs, squashed, z : Tensor of shape (k, n, ...)
            Inputs of the hidden units, those of the linear path, and the rows.
        """
        seen = [member.see(rows) for member, rows in zip(self.members, z, strict=True)]
        inputs, squashed = zip(*seen, strict=True)
        inputs = [F.pad(x, (0, self.n_inputs - x.shape[1])) for x in inputs]
        return torch.stack(inputs), torch.stack(squashed), torch.stack(list(z))

    def params(self, inputs, squashed):
        """Return the parameters of all conditionals, of shape (k, n, n_params)."""
        of_inputs = [member.input_dropout for member in self.members]
        h = self._drop(inputs, of_inputs, [member.n_inputs for member in self.members])
        shares = [member.dropout for member in self.members]
        for layer in self.hidden:
            h = self._activated(layer(h), shares)
        params = torch.baddbmm(self.bias, h, self.out.weight)
        linear_path = self.skip(squashed)
        if len(self.linear_rows) == params.shape[-1]:
            return params + linear_path
        return params.index_add(-1, torch.from_numpy(self.linear_rows).to(h.device), linear_path)

    def _drop(self, x, shares, sizes=None):
        return x * kept_of_each(x, shares, sizes) if self.training and any(shares) else x

    def _activated(self, x, shares):
        if self.activation is torch.relu and self.training and any(shares):
            return DroppedRelu.apply(x, kept_of_each(x, shares))
        return self._drop(self.activation(x), shares)

    def forward(self, seen):
        """Return the loss of each row of each member, of shape (k, n), given what :meth:`encode` returns."""
        inputs, squashed, z = seen
        loss = -self.bank.log_prob(self.params(inputs, squashed), z).sum(dim=-1)
        sparsity = self.members[0].sparsity
        if self.training and sparsity:
            change = self.skip.weight[:, :, self.sparse_rows].abs().sum(dim=(1, 2))
            loss = loss + sparsity * change[:, None]
        return loss
