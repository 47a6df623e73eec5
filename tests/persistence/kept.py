"""Files that an earlier release wrote, which every later one is to load.

``python -m tests.persistence.kept`` writes them anew into `data`, one folder for each format, with the release that
`sklearn_dgm.__version__` says and the scores that their models give. Do so once for a release that changes the format;
files of an older format stay as they are.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd

import sklearn_dgm
from sklearn_dgm.persistence._format import FORMAT

DATA = Path(__file__).parent / "data"
FOLDER = DATA / f"format_{FORMAT}"


def rows():
    """Rows of numbers, counts and categories."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=60).round(2)
    return pd.DataFrame(
        {
            "a": a,
            "b": np.rint(a + rng.normal(size=60)).astype(np.int64),
            "c": pd.Categorical(np.where(a + rng.normal(size=60) > 0, "tea", "coffee")),
        }
    )


def models():
    """A histogram, a small network, and densities within another one."""
    histogram = sklearn_dgm.HistogramDensity(bins=4, alpha=0.1)
    return {
        "histogram": histogram,
        "autoregressive": sklearn_dgm.AutoregressiveDensity(
            (4,),
            n_orders=1,
            n_components=2,
            max_epochs=2,
            early_stopping=False,
            dropout=0.0,
            random_state=0,
        ),
        "ensemble": sklearn_dgm.EnsembleDensity(
            [
                ("histogram", histogram),
                (
                    "tree",
                    sklearn_dgm.BayesianNetworkDensity("chow-liu", conditional="table", bins=4),
                ),
            ],
            random_state=0,
        ),
    }


def scores_of(model):
    """Scores and draws of a model, as JSON has them."""
    drawn = model.sample(3, random_state=0)
    drawn["c"] = drawn["c"].astype(str)
    return {
        "scores": model.score_samples(rows()[:8]).tolist(),
        "drawn": drawn.to_dict("list"),
    }


def main():
    """Write files and scores."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    expected = {"release": sklearn_dgm.__version__}
    for name, model in models().items():
        model.fit(rows()).save(FOLDER / f"{name}.dgm")
        expected[name] = scores_of(model)
    (FOLDER / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
