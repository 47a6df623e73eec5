"""What an index page shows of the package."""

import re
from configparser import ConfigParser
from importlib.metadata import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
METADATA = metadata("sklearn-dgm")


def test_links_lead_somewhere_from_any_page():
    text = METADATA.get_payload() or METADATA["Description"]
    links = re.findall(r'\]\(([^)]*)\)|src="([^"]*)"', text)
    assert len(links) > 10
    assert all(link.startswith("https://") for pair in links for link in pair if link)


@pytest.mark.parametrize("label", ["Source", "Documentation", "Changelog", "Issues"])
def test_the_project_has_addresses(label):
    assert any(url.startswith(f"{label}, https://") for url in METADATA.get_all("Project-URL"))


def promised():
    """The lower bound of each package that setup.cfg asks for."""
    config = ConfigParser(interpolation=None)
    config.read(ROOT / "setup.cfg")
    lines = config["options"]["install_requires"].split()
    for extra in ("plot", "codec", "flow", "imbalanced", "examples", "test"):
        lines += config["options.extras_require"][extra].split()
    for requirement in (Requirement(line) for line in lines if not line.startswith("%")):
        (bound,) = requirement.specifier
        if bound.operator == ">=":
            yield requirement.name, bound.version


# What checks style and types runs on the newest Python alone.
@pytest.mark.parametrize(("name", "version"), [p for p in promised() if p[0] != "mypy"])
def test_the_oldest_releases_that_are_tried_are_those_promised(name, version):
    pinned = dict(
        line.split("==")
        for line in (ROOT / "constraints-oldest.txt").read_text().splitlines()
        if not line.startswith("#")
    )
    parts = [*version.split("."), "0", "0"][:3]
    assert [*pinned[name].split("."), "0", "0"][:3] == parts
