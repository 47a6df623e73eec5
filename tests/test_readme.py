"""Python blocks of the README and of the docs run as they stand, page by page, with smaller networks."""

import re
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from sklearn_dgm import AutoregressiveDensity

ROOT = Path(__file__).parent.parent


def blocks(page):
    return re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture
def smaller(monkeypatch):
    """A function that changes defaults of AutoregressiveDensity."""
    init = AutoregressiveDensity.__init__
    monkeypatch.setattr(init, "__defaults__", ((8,), *init.__defaults__[1:]))

    def change(**defaults):
        for name, value in defaults.items():
            monkeypatch.setitem(init.__kwdefaults__, name, value)
        assert AutoregressiveDensity().get_params().items() >= defaults.items()

    return change


def run(page):
    """Run the blocks in order, with names in common; each prints what it is for, or draws it."""
    names = {}
    for number, block in enumerate(blocks(page)):
        exec(compile(block, f"{page}, block {number + 1}", "exec"), names)
        yield names
        plt.close("all")


def test_readme(smaller, capsys):
    smaller(n_orders=1, max_epochs=1, dropout=0.2)
    assert len(blocks("README.md")) >= 6
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The validation likelihood was still rising")
        for _ in run("README.md"):
            assert capsys.readouterr().out or plt.get_fignums()


def test_a_cheap_search_warns_of_nothing(smaller, capsys):
    smaller(n_orders=1, lr=0.02)
    [names] = run("docs/faster.md")
    assert "conditional" in capsys.readouterr().out
    search, density = names["search"], names["density"]
    assert not hasattr(search, "best_estimator_")
    assert density.get_params().items() >= search.best_params_.items()
    assert (search.estimator.effort, density.effort) == ("fast", "balanced")


def test_from_a_laptop_to_a_cluster(capsys):
    # The block that starts a cluster is of a script; tests/clusters has one.
    assert len(list(run("docs/from_laptop_to_cluster.md"))) == 6
    assert "4000 rows in 4 partitions" in capsys.readouterr().out


def test_tables_larger_than_memory(capsys):
    assert len(list(run("docs/larger_than_memory.md"))) == 2
    assert "30000.0 rows in" in capsys.readouterr().out
