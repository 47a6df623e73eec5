"""What docs/persistence.md shows, and what it says of skops: which types have to be trusted."""

import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.neighbors import KernelDensity

from sklearn_dgm import (
    AutoregressiveDensity,
    BayesianNetworkDensity,
    EnsembleDensity,
    HistogramDensity,
    PixelCNNDensity,
    TransformedDensity,
)
from sklearn_dgm._state import ROOMS_OF_SKLEARN

PAGE = (Path(__file__).parents[2] / "docs/persistence.md").read_text()
X = np.random.default_rng(0).normal(size=(60, 4))
QUICK = {"max_epochs": 1, "early_stopping": False, "random_state": 0}
TABLES = BayesianNetworkDensity("chow-liu", conditional="table")
DENSITIES = {
    "anything": HistogramDensity(alpha=0.1),
    "a Bayesian network": TABLES,
    "`KernelDensity`": TransformedDensity(None, KernelDensity()),
    "an ensemble": EnsembleDensity([("h", HistogramDensity(alpha=0.1))], weights="equal"),
    "a network that was trained": AutoregressiveDensity((4,), **QUICK),
    "a network that was trained, whose rate falls": PixelCNNDensity(
        n_channels=4, n_layers=1, **QUICK
    ),
}


def types_of(what):
    """Types that the table of the page says are to be trusted."""
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| {what} |"))
    return set(re.findall(r"`([\w.]+)`", row.split("|")[2]))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", DENSITIES)
def test_types_that_skops_asks_for_are_on_the_page(name):
    skops = pytest.importorskip("skops.io")
    rows = X > 0 if "falls" in name else X
    density = DENSITIES[name].fit(rows)
    data = skops.dumps(density)
    asked = skops.get_untrusted_types(data=data)
    others = {one for one in asked if not one.startswith("sklearn_dgm.")}
    assert others <= types_of("anything") | types_of(name.partition(",")[0])
    again = skops.loads(data, trusted=asked)
    np.testing.assert_array_equal(again.score_samples(rows), density.score_samples(rows))
    np.testing.assert_array_equal(
        again.sample(5, random_state=0), density.sample(5, random_state=0)
    )


def test_rooms_of_scikit_learn_are_on_the_page():
    listed = PAGE.split("of scikit-learn's rooms")[1].split("and those that you hand in")[0]
    assert set(re.findall(r"`(\w+)`", listed)) == ROOMS_OF_SKLEARN


def test_the_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE):
        exec(block, names)
    assert capsys.readouterr().out == "True\nTrue\n"
