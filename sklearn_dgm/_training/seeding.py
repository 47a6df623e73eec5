"""Randomness of torch that leaves the process as it was."""

import threading
from contextlib import contextmanager

import torch

# Torch has one default generator and one number of threads for the whole process.
_PROCESS_STATE = threading.RLock()


@contextmanager
def one_thread():
    """Compute in one thread for the length of a block; blocks in several threads of a process take turns."""
    with _PROCESS_STATE:
        n_threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(n_threads)


@contextmanager
def reproducible(rng, device):
    """Seed torch from a NumPy generator, compute in one thread, and learn, for the length of a block.

    How many threads share a sum changes its last bits, and what a grid search in two processes finds should not differ
    from what it finds in one. Nor should what a fit finds depend on the default dtype, or on gradients being off.

    Parameters
    ----------
    rng : numpy.random.Generator
        Where the seed is drawn.
    device : torch.device
        A CUDA device's generator is seeded and restored, too.
    """
    devices = [device] if device.type == "cuda" else []
    with one_thread(), torch.random.fork_rng(devices=devices):
        seed = int(rng.integers(2**63))
        # Unlike `torch.manual_seed`, which seeds all devices, also those that are not restored.
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        dtype = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        try:
            with torch.enable_grad():
                yield
        finally:
            torch.set_default_dtype(dtype)


def torch_generator(rng, device):
    """Return a torch generator with a seed from a NumPy generator.

    Parameters
    ----------
    rng : numpy.random.Generator
        Where the seed is drawn.
    device : torch.device
        Where random numbers are wanted.

    Returns
    -------
    generator : torch.Generator
        The seeded generator.
    """
    return torch.Generator(device).manual_seed(int(rng.integers(2**63)))
