"""Files that earlier releases wrote are loaded, and score as they did."""

import json

import numpy as np
import pytest

from sklearn_dgm import load
from sklearn_dgm.persistence._format import unpacked
from tests.persistence.kept import DATA, FOLDER, models, scores_of

KEPT = sorted(DATA.glob("*/*.dgm"))


@pytest.mark.parametrize("path", KEPT, ids=lambda path: f"{path.parent.name}, {path.stem}")
def test_files_of_earlier_releases_are_loaded(path):
    found = scores_of(load(path))
    expected = json.loads((path.parent / "expected.json").read_text())[path.stem]
    # Other machines and releases of libraries compute other last bits.
    np.testing.assert_allclose(found["scores"], expected["scores"], rtol=1e-7)
    assert found["drawn"].keys() == expected["drawn"].keys()
    np.testing.assert_allclose(found["drawn"]["a"], expected["drawn"]["a"], rtol=1e-6)
    assert found["drawn"]["b"] == expected["drawn"]["b"]
    assert found["drawn"]["c"] == expected["drawn"]["c"]


def test_files_of_this_format_are_kept():
    assert {path.stem for path in KEPT if path.parent == FOLDER} == set(models())
    for path in FOLDER.glob("*.dgm"):
        release = json.loads((FOLDER / "expected.json").read_text())["release"]
        assert unpacked(path.read_bytes())["versions"]["sklearn-dgm"] == release
