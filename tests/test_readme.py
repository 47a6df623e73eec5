"""The blocks of the README run as they stand, one after the other, with smaller networks than their defaults."""

import re
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from sklearn_dgm import AutoregressiveDensity

README = Path(__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture
def small_networks(monkeypatch):
    """Defaults with which a network is fitted in a moment."""
    init = AutoregressiveDensity.__init__
    monkeypatch.setattr(init, "__defaults__", ((8,), *init.__defaults__[1:]))
    for name, value in {"n_orders": 1, "max_epochs": 1, "dropout": 0.2}.items():
        monkeypatch.setitem(init.__kwdefaults__, name, value)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The validation likelihood was still rising")
        yield


def test_the_blocks_run(small_networks, capsys):
    assert AutoregressiveDensity().get_params()["max_epochs"] == 1
    assert len(BLOCKS) >= 6
    names = {}
    for number, block in enumerate(BLOCKS):
        exec(compile(block, f"README.md, block {number + 1}", "exec"), names)
        # A block prints what it is for, or draws it.
        assert capsys.readouterr().out or plt.get_fignums()
        plt.close("all")
