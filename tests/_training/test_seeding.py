"""Seeded blocks are reproducible and leave the process as it was."""

import threading

import numpy as np
import pytest
import torch

from sklearn_dgm._training.seeding import reproducible, torch_generator

CPU = torch.device("cpu")


def draw(seed):
    with reproducible(np.random.default_rng(seed), CPU):
        return torch.rand(3)


def test_the_seed_decides():
    torch.testing.assert_close(draw(0), draw(0), rtol=0, atol=0)
    assert (draw(0) != draw(1)).any()


def test_two_blocks_of_one_generator_differ():
    rng = np.random.default_rng(0)
    with reproducible(rng, CPU):
        first = torch.rand(3)
    with reproducible(rng, CPU):
        assert (torch.rand(3) != first).any()


@pytest.mark.parametrize("fails", [False, True])
def test_generator_and_threads_are_restored(fails):
    state, n_threads = torch.get_rng_state(), torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with reproducible(np.random.default_rng(0), CPU):
            assert torch.get_num_threads() == 1
            torch.rand(3)
            if fails:
                raise ArithmeticError
    except ArithmeticError:
        pass
    finally:
        found = torch.get_num_threads()
        torch.set_num_threads(n_threads)
    assert found == 3
    assert torch.equal(torch.get_rng_state(), state)


def test_defaults_of_the_process_do_not_matter():
    """Neither the default dtype nor gradients that are off reach a block; both are as they were after it."""
    expected = draw(0)
    torch.set_default_dtype(torch.float64)
    try:
        with torch.no_grad():
            torch.testing.assert_close(draw(0), expected, rtol=0, atol=0)
            with reproducible(np.random.default_rng(0), CPU):
                assert torch.is_grad_enabled()
            assert not torch.is_grad_enabled()
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_devices_that_are_not_used_are_left_alone(monkeypatch):
    seeded = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    draw(0)
    assert not seeded


def test_threads_take_turns():
    """What a block draws does not depend on a block that runs in another thread."""
    alone, inside, drawn = draw(0), threading.Event(), []
    other = threading.Thread(target=lambda: (inside.wait(10), drawn.append(draw(1))))
    other.start()
    with reproducible(np.random.default_rng(0), CPU):
        inside.set()
        other.join(0.05)
        assert not drawn
        together = torch.rand(3)
    other.join()
    assert torch.equal(together, alone)
    assert torch.equal(drawn[0], draw(1))


def test_torch_generator_is_seeded_by_numpy():
    first, second = (torch_generator(np.random.default_rng(s), CPU) for s in (0, 0))
    assert torch.equal(torch.rand(3, generator=first), torch.rand(3, generator=second))
