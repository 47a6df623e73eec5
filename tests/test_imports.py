"""What importing costs, and who may import whom."""

import ast
import subprocess
import sys
from functools import cache
from operator import attrgetter
from pathlib import Path

import pytest

import sklearn_dgm

PACKAGE = Path(sklearn_dgm.__file__).parent
HEAVY = {"torch", "skorch", "pandas", "matplotlib"}

# What each room may import of the package; rooms that are missing here are families, which may not know each other.
FLOOR = {
    "_typing",
    "_state",
    "_subsets",
    "_sklearn",
    "_callbacks",
    "_validation",
    "columns",
    "tags",
    "base",
}
FLOOR |= {"_continuation", "checkpoint", "chunks", "persistence"}
ALLOWED = {
    "__init__": set(),
    "_typing": set(),
    "_state": set(),
    "_subsets": set(),
    "_sklearn": set(),
    "_callbacks": set(),
    "_continuation": set(),
    "checkpoint": set(),
    "columns": {"_typing", "_state", "_subsets", "columns"},
    "_validation": {"_sklearn", "columns"},
    "chunks": {"_sklearn", "_typing", "_validation", "columns", "persistence", "tags", "chunks"},
    "tags": {"_sklearn"},
    "persistence": {"_sklearn", "_state", "persistence"},
    "base": FLOOR - {"base"},
    "counts": {*FLOOR, "_queries", "counts"},
    "nn": {"_subsets", "nn"},
    "_queries": {*FLOOR, "_queries"},
    "_nested": {*FLOOR, "_nested"},
    "_classes": {*FLOOR, "_nested", "_classes"},
    "_training": {*FLOOR, "_queries", "nn", "_training"},
    "histogram": {*FLOOR, "counts"},
    "mixture": {*FLOOR, "counts", "nn", "_queries", "_nested", "_training", "mixture"},
    "bayes_net": {
        *FLOOR,
        "counts",
        "nn",
        "_queries",
        "_nested",
        "_classes",
        "_training",
        "bayes_net",
    },
    # An energy tilts a mixture, if it is told of no other density.
    "energy": {
        *FLOOR,
        "counts",
        "nn",
        "_queries",
        "_nested",
        "_training",
        "mixture",
        "energy",
    },
    # What suits a table where nothing is named: above the families, which it imports when it is asked.
    "_choice": {*FLOOR, "_nested", "autoregressive", "bayes_net", "flow", "mixture"},
    "ensemble": {*FLOOR, "_nested", "_choice", "ensemble"},
    # A hidden Markov model is a mixture of steps whose components follow a chain.
    "sequence": {
        *FLOOR,
        "counts",
        "nn",
        "_queries",
        "_nested",
        "_training",
        "mixture",
        "sequence",
    },
    # What a grammar derives are sequences, with their contract.
    "grammar": {*FLOOR, "counts", "sequence", "grammar"},
    # With labels, its images are of classes.
    "image": {*FLOOR, "nn", "_queries", "_nested", "_classes", "_training", "image"},
    "latent": {*FLOOR, "nn", "_queries", "_training", "latent"},
    "topic": {*FLOOR, "counts", "topic"},
    "compose": {*FLOOR, "_nested", "compose"},
    "generative": {*FLOOR, "_nested", "_classes", "generative"},
    "impute": {*FLOOR, "_nested", "_choice"},
    "outlier": {*FLOOR, "_nested", "outlier"},
    "codec": {*FLOOR, "_nested", "_queries", "codec"},
    "metrics": {*FLOOR, "_nested", "metrics"},
    # The picture of a tree reads it as grammars do.
    "inspection": {*FLOOR, "_nested", "grammar", "inspection"},
    "utils": {*FLOOR, "_nested", "utils"},
}
FAMILY = {*FLOOR, "counts", "nn", "_queries", "_nested", "_training"}
NEEDS_TORCH = {
    "nn",
    "_training",
    "autoregressive",
    "flow",
    "energy/_tilt",
    "bayes_net/_queries",
    "mixture/_continuous",
    "sequence/_autoregressive",
    "sequence/_batches",
    "sequence/_network_emissions",
    "sequence/_network_factors",
    "image/_pixelcnn",
    "latent/_vae",
    "latent/_queries",
}


def modules():
    return sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


def room_of(path):
    return path.parts[0].removesuffix(".py")


def imports_of(path):
    """Modules named anywhere in a file, also within functions, but for what only type checkers see."""
    tree = ast.parse((PACKAGE / path).read_text())
    tree.body = [
        node
        for node in tree.body
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield node.module
            # `from sklearn_dgm import nn` names a room, too.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", modules(), ids=str)
def test_import_direction(path):
    room = room_of(path)
    rooms = {room_of(p) for p in modules()}
    names = {n.split(".")[1] for n in imports_of(path) if n.startswith("sklearn_dgm.")}
    assert names & rooms <= ALLOWED.get(room, FAMILY)


@pytest.mark.parametrize("path", modules(), ids=str)
def test_torch_and_skorch_stay_in_their_rooms(path):
    roots = {name.split(".")[0] for name in imports_of(path)}
    assert "torch" not in roots or {room_of(path), path.with_suffix("").as_posix()} & NEEDS_TORCH
    assert "skorch" not in roots or room_of(path) == "_training"


def test_what_may_import_torch_does():
    using = [p for p in modules() if "torch" in {name.split(".")[0] for name in imports_of(p)}]
    homes = {room_of(path) for path in using} | {path.with_suffix("").as_posix() for path in using}
    assert homes >= NEEDS_TORCH


# Where private names of others may stand; each with a reason in its docstring.
ADAPTERS = {"_sklearn.py", "_callbacks.py"}
# Public names of named tuples, what torch's modules keep their state in, and its count of writes to a tensor.
PUBLIC_IN_FACT = {"_replace", "_asdict", "_fields", "_buffers", "_modules", "_version"}


@pytest.mark.parametrize("path", modules(), ids=str)
def test_private_names_of_scikit_learn_are_imported_in_one_place(path):
    if str(path) in ADAPTERS:
        return
    private = [
        name
        for name in imports_of(path)
        if name.startswith("sklearn.") and any(p.startswith("_") for p in name.split("."))
    ]
    assert not private


def names_defined(tree):
    """Functions, classes and variables of a module, and attributes that it gives to itself."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


def private_names_used(tree):
    """Attributes with an underscore, written out or in quotes."""
    parts = {id(part) for f in ast.walk(tree) if isinstance(f, ast.JoinedStr) for part in f.values}
    for node in ast.walk(tree):
        if id(node) in parts:
            continue
        if isinstance(node, ast.Attribute):
            name = node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            name = node.value
        else:
            continue
        if name.startswith("_") and not name.startswith("__") and name.isidentifier():
            yield name


def test_private_attributes_of_others_are_used_in_one_place():
    trees = {path: ast.parse((PACKAGE / path).read_text()) for path in modules()}
    ours = {name for tree in trees.values() for name in names_defined(tree)}
    used = {
        (str(path), name)
        for path, tree in trees.items()
        if str(path) not in ADAPTERS
        for name in private_names_used(tree)
    }
    assert not {(path, name) for path, name in used if name not in ours | PUBLIC_IN_FACT}
    assert {name for _, name in used} >= PUBLIC_IN_FACT


@cache
def modules_loaded_by(code):
    printed = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return {name.split(".")[0] for name in printed.split()}


USE_HISTOGRAM = """
import numpy as np
from sklearn_dgm import HistogramDensity
X = np.random.default_rng(0).normal(size=(50, 2))
density = HistogramDensity(bins="blocks", alpha=0.1).fit(X)
density.score(X), density.sample(3)
"""
USE_METRICS = """
import numpy as np
from sklearn.neighbors import KernelDensity
from sklearn_dgm import mean_log_likelihood, is_density
X = np.zeros((5, 2))
mean_log_likelihood(KernelDensity().fit(X), X)
import sklearn_dgm.inspection
"""


USE_CLASSIFIER = """
import numpy as np
from sklearn_dgm import TreeAugmentedNaiveBayesClassifier
X = np.random.default_rng(0).normal(size=(50, 2))
TreeAugmentedNaiveBayesClassifier().fit(X, X[:, 0] > 0).predict(X)
"""


@pytest.mark.parametrize(
    "code", ["import sklearn_dgm; dir(sklearn_dgm)", USE_HISTOGRAM, USE_METRICS, USE_CLASSIFIER]
)
def test_nothing_heavy_is_imported(code):
    # scikit-learn itself loads pandas where it is installed.
    assert not (modules_loaded_by(code) - modules_loaded_by("import sklearn.base")) & HEAVY


def test_neural_densities_import_torch_when_they_are_named():
    code = "import sklearn_dgm; sklearn_dgm.AutoregressiveDensity"
    assert {"torch", "skorch"} <= modules_loaded_by(code)


def test_importing_everything_leaves_global_state():
    code = """
import importlib.util, sys
import scipy.stats, sklearn.pipeline, skorch, torch  # which set this and that themselves
# A module of its own, or the package would be imported before.
loader = importlib.util.spec_from_file_location("state", FILE)
state = sys.modules["state"] = importlib.util.module_from_spec(loader)
loader.loader.exec_module(state)
assert "sklearn_dgm" not in sys.modules
with state.global_state_unchanged():
    import sklearn_dgm
    for name in sklearn_dgm.__all__:
        getattr(sklearn_dgm, name)
""".replace("FILE", repr(str(PACKAGE / "utils/_global_state.py")))
    modules_loaded_by(code)


def test_public_names():
    for name in sklearn_dgm.__all__:
        assert getattr(sklearn_dgm, name).__name__ == name
    assert set(sklearn_dgm.__all__) <= set(dir(sklearn_dgm))
    assert sklearn_dgm.__version__
    with pytest.raises(AttributeError, match="no attribute 'HistogrammDensity'"):
        attrgetter("HistogrammDensity")(sklearn_dgm)
