"""Some of very many rows."""

import numpy as np
import pytest

from sklearn_dgm import FlowDensity, PixelCNNDensity
from sklearn_dgm._subsets import some_of
from sklearn_dgm._training import missing
from sklearn_dgm.nn import pixelcnn


def test_as_many_as_are_wanted():
    for n in (0, 1, 299, 300, 301, 601, 3000):
        rows = np.arange(n)[some_of(n, 300)]
        assert len(rows) == min(n, 300)
        assert np.array_equal(rows, np.unique(rows))
        assert np.array_equal(rows, np.arange(n)[some_of(n, 300)])


@pytest.mark.parametrize("period", [2, 3, 7, 28])
def test_no_turn_is_left_out(period):
    n = 28 * 500
    for at_most in (n // 2, n // 3, n // 28):
        counts = np.bincount(some_of(n, at_most) % period, minlength=period)
        assert counts.min() > 0.5 * at_most / period


def test_a_start_sees_rows_of_all_turns(monkeypatch):
    monkeypatch.setattr(missing, "SAMPLE_ROWS", 500)
    rng = np.random.default_rng(0)
    turn = np.arange(1000) % 2
    X = np.column_stack([rng.normal(size=1000) + 4 * turn, turn])
    density = FlowDensity(
        categorical_features=[1], max_epochs=1, early_stopping=False, random_state=0
    )
    in_turns = density.fit(X).score(X)
    shuffled = density.fit(X[rng.permutation(1000)]).score(X)
    assert abs(in_turns - shuffled) < 0.1 * len(X)


def test_a_start_sees_all_pixels(monkeypatch):
    rng = np.random.default_rng(0)
    X = (rng.random((300, 16)) < np.tile([0.05, 0.95, 0.05, 0.95], 4)).astype(int)
    seen, original = [], pixelcnn.moments

    def moments(inputs, rows, weight):
        seen.append(rows[:, -1].numpy())
        return original(inputs, rows, weight)

    monkeypatch.setattr(pixelcnn, "moments", moments)
    monkeypatch.setattr(pixelcnn, "MAX_START", 300 * 8 + 2)  # half of the neighbourhoods
    PixelCNNDensity((4, 4), n_channels=4, n_layers=1, max_epochs=1, random_state=0).fit(X)
    assert abs(seen[0].mean() - 0.5) < 0.05
