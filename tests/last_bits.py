"""A processor of another kind: products of matrices whose last bits depend on the shape and on the place of a row.

Libraries of products choose a kernel by the processor, the shape and the place of a row, so that a row that is equal in
another place or batch may differ in its last bits. Some processors show it and some do not. With this plugin all do:

    python -m pytest -p tests.last_bits

What the same products of the same shape give stays the same, which is all that code may rely on. Processes that a test
starts do not know the plugin, so that test_same_bits_in_a_parallel_grid_search fails with it.
"""

import functools

import torch

# As many units in the last place as a sum in another order may be off.
UNITS = 2


def _blurred(product):
    @functools.wraps(product)
    def blurred(*args, **kwargs):
        result = product(*args, **kwargs)
        if not result.is_floating_point() or result.numel() == 0:
            return result
        place = torch.arange(result.numel(), device=result.device).reshape(result.shape)
        n_rows = result.shape[0] if result.dim() else 1
        units = (place * 7919 + 31 * n_rows) % (2 * UNITS + 1) - UNITS
        return result * (1 + units.to(result.dtype) * torch.finfo(result.dtype).eps)

    return blurred


def pytest_configure():
    """Blur the products that the package calls."""
    torch.nn.functional.linear = _blurred(torch.nn.functional.linear)
    torch.einsum = _blurred(torch.einsum)
    torch.Tensor.__matmul__ = _blurred(torch.Tensor.__matmul__)
