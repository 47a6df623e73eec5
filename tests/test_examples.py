"""Every example runs from a folder of its own, warns of nothing, and leaves a picture and a printed finding."""

import runpy
import warnings
from pathlib import Path

import joblib
import matplotlib.pyplot as plt
import pytest

from tests.short_training import shorten_training

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("plot_*.py"))
# Where networks are trained with their defaults to the end; elsewhere two epochs must do.
TRAINED_TO_THE_END = {"plot_outliers_explained"}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example(path, tmp_path, monkeypatch, capsys):
    if path.stem not in TRAINED_TO_THE_END:
        shorten_training(monkeypatch)
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings(), joblib.parallel_config("sequential"):
        warnings.simplefilter("error", UserWarning)
        runpy.run_path(str(path), run_name="__main__")
    plt.close("all")
    printed = capsys.readouterr()
    assert printed.err == ""
    pictures = list(tmp_path.glob("pictures/*.png"))
    assert pictures
    assert all(str(picture.name) in printed.out for picture in pictures)


def test_there_are_examples():
    assert len(EXAMPLES) >= 4
