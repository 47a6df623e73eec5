"""Docstrings describe each parameter that a constructor takes, and no other; what is written has its form."""

import ast
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import sklearn_dgm

PACKAGE = Path(sklearn_dgm.__file__).parent
PAGES = [
    *PACKAGE.parent.glob("docs/*.md"),
    *map(PACKAGE.parent.joinpath, ("CONTRIBUTING.md", "CHANGELOG.md")),
]

ESTIMATORS = [
    value
    for value in (getattr(sklearn_dgm, name) for name in sklearn_dgm.__all__)
    if hasattr(value, "get_params") and not value.__name__.endswith("Mixin")
]


def described(cls):
    """Names of the parameters that a docstring describes, with what it says of their types and defaults."""
    section = re.search(r"^Parameters\n-+\n(.*?)^\w+\n-+$", inspect.getdoc(cls), re.M | re.S)[1]
    entries = [line for line in section.splitlines() if re.match(r"\w", line)]
    return {
        name: rest
        for names, _, rest in (entry.partition(" : ") for entry in entries)
        for name in names.split(", ")
    }


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_every_parameter_is_described(cls):
    assert list(described(cls)) == list(inspect.signature(cls).parameters)


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_defaults_are_as_described(cls):
    for name, rest in described(cls).items():
        default = inspect.signature(cls).parameters[name].default
        if "default=" in rest:
            shown = rest.split("default=")[1]
            assert eval(shown) == default, name


@pytest.mark.parametrize(
    "name", ["BaseDensity", "BaseEstimatedDensity", "BaseGenerator", "GivenMixin"]
)
def test_what_manuals_for_outsiders_name_has_a_public_path(name):
    manual = inspect.getdoc(getattr(sklearn_dgm, name))
    for path in re.findall(r":\w+:`~?(sklearn_dgm[\w.]*)`", manual):
        assert not any(part.startswith("_") for part in path.split(".")), path
        assert pkgutil.resolve_name(path)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.name)
def test_references_are_paragraphs(path):
    """A line that is indented further becomes a list in numpydoc."""
    documented = ast.Module, ast.ClassDef, ast.FunctionDef
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, documented)]
    for text in filter(None, map(ast.get_docstring, nodes)):
        for lines in re.findall(r"^\.\. \[\d+\] .*\n((?: +\S.*\n?)*)", text, re.M):
            assert re.fullmatch(r"(?:   \S.*\n?)*", lines), lines


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_prose_of_pages_ends_at_120(path):
    if path.name == "battery.md":  # which is printed
        return
    lines = path.read_text().splitlines()
    long = [line for line in lines if len(line) > 120 and not line.startswith("|")]
    assert not long
