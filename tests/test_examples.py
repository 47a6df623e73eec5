"""Every example runs from a folder of its own, warns of nothing, and leaves a picture and a printed finding."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("plot_*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example(path, tmp_path):
    result = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", path],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    pictures = list(tmp_path.glob("pictures/*.png"))
    assert pictures
    assert all(str(picture.name) in result.stdout for picture in pictures)


def test_there_are_examples():
    assert len(EXAMPLES) >= 4
