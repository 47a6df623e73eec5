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
# What is done many times for the finding's sake: here fewer rows, draws or candidates must do.
FEWER = {
    "plot_bayes_net": {"N_DRAWS = 4000": "N_DRAWS = 500"},
    "plot_boltzmann": {
        "[1, 2, 4, 8, 16, 32, 64, 128, 256]": "[1, 4]",
        "N_UNITS = 16": "N_UNITS = 10",
    },
    "plot_compression": {"held_out.reset_index(": "held_out[:60].reset_index("},
    "plot_conditional_sampling": {
        "N_DRAWS = 2000": "N_DRAWS = 500",
        "test_size=142": "test_size=40",
    },
    "plot_counting_versus_generalising": {"np.logspace(-24, 0, 25)": "np.logspace(-24, 0, 5)"},
    "plot_families": {"N_ROWS = 2000": "N_ROWS = 200"},
    "plot_missing_cells": {
        "is_missing = pd.DataFrame(": "truth = truth[:150]\nis_missing = pd.DataFrame(",
        "N_DRAWS = 1000": "N_DRAWS = 100",
        "N_TIMES = 19": "N_TIMES = 9",
    },
    "plot_mixture": {
        "N_TIMES = 5": "N_TIMES = 1",
        "np.array([0.0, 0.1, 0.2, 0.3, 0.4, 0.5])": "np.array([0.0, 0.3, 0.5])",
    },
    "plot_outlier_script": {"N_SPLITS = 5": "N_SPLITS = 2"},
    "plot_outliers_explained": {"range(50)": "range(5)"},
    "plot_semi_supervised_digits": {"[0.0, 0.01, 0.1, 0.3, 1.0]": "[0.0, 1.0]"},
    "plot_topics": {
        "documents(800)": "documents(200)",
        "[1, 2, 3, 4, 5, 6, 7, 8, 10, 14]": "[1, 6]",
    },
}


def with_fewer(path):
    """The source of an example, in which what is done many times is done a few times."""
    source = path.read_text()
    for many, few in FEWER.get(path.stem, {}).items():
        assert source.count(many) == 1, many
        source = source.replace(many, few)
    return source


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example(path, tmp_path, monkeypatch, capsys):
    if path.stem not in TRAINED_TO_THE_END:
        shorten_training(monkeypatch)
    script = tmp_path / path.name
    script.write_text(with_fewer(path))
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings(), joblib.parallel_config("sequential"):
        warnings.simplefilter("error", UserWarning)
        runpy.run_path(str(script), run_name="__main__")
    plt.close("all")
    printed = capsys.readouterr()
    assert printed.err == ""
    pictures = list(tmp_path.glob("pictures/*.png"))
    assert pictures
    assert all(str(picture.name) in printed.out for picture in pictures)


def test_there_are_examples():
    assert len(EXAMPLES) >= 4
