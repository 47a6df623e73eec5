"""Run the density checks on several densities and print what they fail, in Markdown.

python docs/battery.py > docs/battery.md
"""

import warnings

from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity

from sklearn_dgm import (
    AutoregressiveDensity,
    BayesianNetworkDensity,
    HistogramDensity,
    MarkovChainDensity,
)
from sklearn_dgm.utils.estimator_checks import check_density_estimator

DENSITIES = [
    HistogramDensity(),
    AutoregressiveDensity(),
    BayesianNetworkDensity(conditional="table"),
    MarkovChainDensity(),
    KernelDensity(),
    GaussianMixture(),
]
SIGNS = {"passed": "yes", "failed": "**no**", "skipped": "."}

HEAD = """# What densities keep of the contract

`sklearn_dgm.utils.estimator_checks.check_density_estimator`, run on four densities of this package and on those of
scikit-learn, with their default parameters, but tables for BayesianNetworkDensity. (The tests run it on all of them, in
`tests/instances.py`.) A dot means that the check does not apply: no categories are taken, there is no network, or rows
are no sequences. Where they are, the columns of a table are steps of one kind. This page is printed by
`python docs/battery.py`.

AutoregressiveDensity is trained on minibatches, which for weighted rows are not those of repeated rows: the likelihoods
agree, the weights of the network do not. MarkovChainDensity has steps of one column, and chooses too short contexts for
sequences of two steps. KernelDensity and GaussianMixture were not written to this contract; the table says what a
script that swaps one density for another cannot rely on.
"""


def results_of(density):
    """Results by name of the check."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_density_estimator(density, on_skip=None, on_fail=None)
    return {result["check_name"]: result for result in results}


def main():
    """Print the page."""
    names = [type(density).__name__ for density in DENSITIES]
    results = dict(zip(names, map(results_of, DENSITIES), strict=True))
    print(HEAD)
    print("| check |", " | ".join(names), "|")
    print("| --- |", " | ".join("---" for _ in names), "|")
    for check in results[names[0]]:
        signs = (SIGNS[results[name][check]["status"]] for name in names)
        print(f"| {check.removeprefix('check_').replace('_', ' ')} |", " | ".join(signs), "|")
    for name in names:
        failed = [r for r in results[name].values() if r["status"] == "failed"]
        if failed:
            print(f"\n## What {name} fails, and how\n")
        for result in failed:
            message = " ".join(str(result["exception"]).split())
            print(f"- `{result['check_name']}`: {message[:200]}")


if __name__ == "__main__":
    main()
