"""A module as plain values, with which its class builds it anew; its arrays are in its state."""

from importlib import import_module

import numpy as np
import torch
from torch import nn

ROOM = __name__.rpartition(".")[0]


def plain(value):
    """Return numbers, arrays, and tuples, lists and dicts of them, as Python's own numbers, tuples and dicts."""
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, tuple | list):
        return tuple(map(plain, value))
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    return value


def config_of(module):
    """Return the config of a module, and which it is.

    Parameters
    ----------
    module : nn.Module
        With `config`, a dict of plain values that its class takes.

    Returns
    -------
    config : dict
        For :func:`module_of`; with "module", the name of the class within this room.
    """
    room = type(module).__module__.removeprefix(f"{ROOM}.")
    return {"module": f"{room}.{type(module).__name__}", **module.config}


def module_of(config):
    """Build a module that a config describes, without the arrays of its state; a module is returned as it is."""
    if isinstance(config, nn.Module):
        return config
    config = dict(config)
    room, _, name = config.pop("module").rpartition(".")
    # Who wrote the config may be a stranger.
    one = getattr(import_module(f"{ROOM}.{room}"), name)
    is_of_room = isinstance(one, type) and one.__module__ == f"{ROOM}.{room}"
    if not (is_of_room and issubclass(one, nn.Module)):
        raise ValueError(f"{room}.{name} is no module of {ROOM}.")
    return one(**config)


def state_of(module):
    """Return a module as plain values and arrays.

    Parameters
    ----------
    module : nn.Module
        With a `config`; its parameters and buffers that are no whole numbers are in double precision.

    Returns
    -------
    state : dict
        For :func:`module_of_state`: the config, and the arrays by their names.
    """
    arrays = {name: tensor.cpu().numpy().copy() for name, tensor in module.state_dict().items()}
    return {"config": config_of(module), "arrays": arrays}


def module_of_state(state):
    """Build the module that a state is of, in double precision and ready to be asked."""
    module = module_of(state["config"]).double().eval()
    module.load_state_dict({name: torch.from_numpy(of) for name, of in state["arrays"].items()})
    return module
