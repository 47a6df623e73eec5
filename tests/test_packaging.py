"""What an index page shows of the package."""

import re
from importlib.metadata import metadata

import pytest

METADATA = metadata("sklearn-dgm")


def test_links_lead_somewhere_from_any_page():
    text = METADATA.get_payload() or METADATA["Description"]
    links = re.findall(r'\]\(([^)]*)\)|src="([^"]*)"', text)
    assert len(links) > 10
    assert all(link.startswith("https://") for pair in links for link in pair if link)


@pytest.mark.parametrize("label", ["Source", "Documentation", "Changelog", "Issues"])
def test_the_project_has_addresses(label):
    assert any(url.startswith(f"{label}, https://") for url in METADATA.get_all("Project-URL"))
