"""Random numbers of training come from the generator of the block."""

import threading

import pytest
import torch

from sklearn_dgm.nn.randomness import current_generator, drawing_from, dropout


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def dropped(seed, n=1000):
    with drawing_from(seeded(seed)):
        return dropout(torch.ones(n), 0.25, training=True)


def test_dropout_keeps_the_expectation():
    x = dropped(0, 100_000)
    assert x.unique().tolist() == pytest.approx([0, 4 / 3])
    assert x.mean() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dropout_keeps_the_dtype_whatever_the_default(dtype):
    default = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        assert dropout(torch.ones(7, 3, dtype=dtype), 0.5, training=True).dtype == dtype
    finally:
        torch.set_default_dtype(default)


def test_dropout_is_the_identity_out_of_training():
    x = torch.randn(5)
    assert dropout(x, 0.5, training=False) is x
    assert dropout(x, 0.0, training=True) is x


def test_the_generator_decides():
    assert torch.equal(dropped(0), dropped(0))
    assert not torch.equal(dropped(0), dropped(1))
    state = torch.get_rng_state()
    dropped(0)
    assert torch.equal(torch.get_rng_state(), state)
    assert current_generator() is None


def test_threads_have_generators_of_their_own():
    drawn = {}

    def draw(seed):
        with drawing_from(seeded(seed)):
            drawn[seed] = [dropout(torch.ones(50), 0.5, training=True) for _ in range(200)]

    threads = [threading.Thread(target=draw, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed, found in drawn.items():
        with drawing_from(seeded(seed)):
            for x in found:
                assert torch.equal(x, dropout(torch.ones(50), 0.5, training=True))
