"""Every estimator of the catalogue scores and draws in another process as it did in this one, to the last bit."""

import json
import subprocess
import sys

import joblib
import pytest

from sklearn_dgm.utils._check_fits import _draw, _fit, _rows, _scores
from tests.instances import INSTANCES

# The other process does what this one does, and knows nothing but the files.
IN_ANOTHER_PROCESS = """
import json, sys
from pathlib import Path
import joblib
import sklearn_dgm
from sklearn_dgm.utils._check_fits import _draw, _rows, _scores

hashes = {}
for path in Path(sys.argv[1]).iterdir():
    density = sklearn_dgm.load(path)
    hashes[path.name] = joblib.hash([_scores(density, _rows(density, 60)), _draw(density, 20)])
assert not any(name.split(".")[0] == "tests" for name in sys.modules)
print(json.dumps(hashes))
"""


@pytest.mark.filterwarnings("ignore")  # which fits this short give
def test_models_are_the_same_in_another_process(tmp_path):
    expected = {}
    for name, instance in INSTANCES.items():
        estimator = instance.make()
        X = _rows(estimator, 60)
        density = _fit(estimator, X)
        density.save(tmp_path / name)
        expected[name] = joblib.hash([_scores(density, X), _draw(density, 20)])
    printed = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", IN_ANOTHER_PROCESS, str(tmp_path)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    found = json.loads(printed)
    assert {name for name in expected if found[name] != expected[name]} == set()
