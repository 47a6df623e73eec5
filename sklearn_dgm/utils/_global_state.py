"""What all of a process shares, and a density is to leave as it was."""

import pickle
import random
import sys
import warnings
from contextlib import ExitStack, contextmanager

import numpy as np
from sklearn import config_context, get_config

# Nobody else's seed: generators that someone sets to a state of his own, such as that of seed 0, are found changed.
SEED = 20_250_131


class _OwnWarning(UserWarning):
    """A category for a filter that nobody else has."""


def _ignore(kind, flag):
    """Ignore an error of floating-point arithmetic."""


@contextmanager
def _generators(torch):
    """Seed the global generators, and restore them."""
    python, numpy = random.getstate(), np.random.get_state()
    torch_state = None if torch is None else torch.default_generator.get_state()
    random.seed(SEED)
    np.random.seed(SEED)
    try:
        if torch is not None:
            torch.default_generator.manual_seed(SEED)
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        if torch is not None:
            torch.default_generator.set_state(torch_state)


@contextmanager
def _torch_settings(torch, grad):
    """Set what torch has one of for the process to something else than it usually is, and restore it."""
    dtype, n_threads = torch.get_default_dtype(), torch.get_num_threads()
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(n_threads + 1)
    try:
        with torch.set_grad_enabled(grad):
            yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_num_threads(n_threads)


def _state(torch, modules):
    state = {
        "random": random.getstate(),
        "numpy": pickle.dumps(np.random.get_state(legacy=False)),
        "numpy errors": (np.geterr(), np.geterrcall()),
        # What is imported in between may bring filters for warnings of its own.
        "warning filters": [f for f in warnings.filters if f[2].__module__ in modules],
        "scikit-learn's configuration": get_config(),
    }
    if torch is not None:
        state["torch generator"] = torch.default_generator.get_state().tolist()
        state["torch dtype"] = torch.get_default_dtype()
        state["torch device"] = torch.get_default_device()
        state["torch threads"] = (torch.get_num_threads(), torch.get_num_interop_threads())
        state["torch grad"] = torch.is_grad_enabled()
        state["torch deterministic"] = torch.are_deterministic_algorithms_enabled()
    return state


@contextmanager
def global_state_unchanged(flipped=False):
    """Check that a block leaves global state as it was, which is another than usual, so that it is seen who resets it.

    Parameters
    ----------
    flipped : bool, default=False
        Whether what has only two values is the other way round: torch records no gradients then, and scikit-learn
        assumes that numbers are finite.

    Raises
    ------
    AssertionError
        If generators, settings of floating-point errors, filters of warnings, the configuration of scikit-learn, or
        torch's generator, dtype, device, threads and modes are others after the block. Of torch only where it was
        imported before.
    """
    torch = sys.modules.get("torch")
    with ExitStack() as stack:
        stack.enter_context(_generators(torch))
        stack.enter_context(np.errstate(all="call", call=_ignore))
        stack.enter_context(config_context(assume_finite=flipped))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        warnings.simplefilter("ignore", _OwnWarning)
        if torch is not None:
            stack.enter_context(_torch_settings(torch, grad=not flipped))
        modules = set(sys.modules)
        before = _state(torch, modules)
        yield
        after = _state(torch, modules)
    changed = [name for name, value in after.items() if value != before[name]]
    assert not changed, f"global state is changed: {', '.join(changed)}"
