"""A catalogue of named instances in their interesting corners.

`tests/test_common.py` runs scikit-learn's checks and the density checks over it: a new density adds its lines here and is
tested by both.
"""

from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PowerTransformer, StandardScaler

from sklearn_dgm import (
    AutoregressiveDensity,
    AveragedOneDependenceClassifier,
    BayesianNetworkDensity,
    EnsembleDensity,
    GenerativeClassifier,
    HistogramDensity,
    NaiveBayesClassifier,
    TransformedDensity,
    TreeAugmentedNaiveBayesClassifier,
)

# One order, small networks and few epochs: the checks are about the contract, not about the fit.
ONE_ORDER = {"order": "given", "dropout": 0.2}
QUICK_NETWORK = {"hidden_layer_sizes": (32,), "max_epochs": 10, "dropout": 0.2}
QUICK = {**QUICK_NETWORK, "order": "given"}

INSTANCES = {
    "histogram": lambda: HistogramDensity(),
    "histogram, smoothed": lambda: HistogramDensity(alpha=0.5),
    "histogram, freedman-diaconis": lambda: HistogramDensity(bins="fd", alpha=1e-3),
    "histogram, bayesian blocks": lambda: HistogramDensity(bins="blocks", alpha=1e-3),
    "histogram, knuth": lambda: HistogramDensity(bins="knuth", alpha=1e-3),
    "autoregressive": lambda: AutoregressiveDensity(**QUICK),
    "autoregressive, trained to the end": lambda: AutoregressiveDensity(
        hidden_layer_sizes=(32, 32), n_iter_no_change=4, **ONE_ORDER
    ),
    "autoregressive, several orders": lambda: AutoregressiveDensity(
        hidden_layer_sizes=(32,), max_epochs=10, n_orders=2
    ),
    "autoregressive, any order": lambda: AutoregressiveDensity(
        hidden_layer_sizes=(32,), max_epochs=10, n_orders=2, order="any", dropout=0.2
    ),
    "autoregressive, gaussian mixture": lambda: AutoregressiveDensity(
        **QUICK, conditional="gaussian-mixture", activation="tanh", early_stopping=False
    ),
    "autoregressive, one component": lambda: AutoregressiveDensity(**QUICK, n_components=1),
    "autoregressive, linear": lambda: AutoregressiveDensity(
        hidden_layer_sizes=(), max_epochs=15, early_stopping=False, **ONE_ORDER
    ),
    "autoregressive, all rows in one batch": lambda: AutoregressiveDensity(
        hidden_layer_sizes=(32,),
        max_epochs=30,
        early_stopping=False,
        batch_size=100_000,
        order="given",
        dropout=0.0,
    ),
    "autoregressive, warm start": lambda: AutoregressiveDensity(**QUICK, warm_start=True),
    "bayesian network": lambda: BayesianNetworkDensity(**QUICK_NETWORK),
    "bayesian network, chow-liu, networks": lambda: BayesianNetworkDensity(
        "chow-liu", conditional="network", **QUICK_NETWORK
    ),
    "bayesian network, tables": lambda: BayesianNetworkDensity(conditional="table"),
    "bayesian network, chow-liu, tables": lambda: BayesianNetworkDensity(
        "chow-liu", conditional="table", bins=8
    ),
    "bayesian network, empty": lambda: BayesianNetworkDensity("empty", conditional="table"),
    "naive bayes": lambda: NaiveBayesClassifier(),
    "tree-augmented naive bayes": lambda: TreeAugmentedNaiveBayesClassifier(),
    "averaged one-dependence": lambda: AveragedOneDependenceClassifier(),
    "averaged one-dependence, frequent parents": lambda: AveragedOneDependenceClassifier(
        min_frequency=30, bins=5
    ),
    "generative, histogram": lambda: GenerativeClassifier(HistogramDensity(alpha=0.01)),
    "generative, kernel density": lambda: GenerativeClassifier(KernelDensity(bandwidth=0.3)),
    "generative, gaussian mixture": lambda: GenerativeClassifier(GaussianMixture(random_state=0)),
    # As it starts: there weights are repeats to the last bits, but not where some rows validate.
    "generative, autoregressive": lambda: GenerativeClassifier(
        AutoregressiveDensity(
            **QUICK | {"dropout": 0.0, "max_epochs": 1, "lr": 1e-12},
            early_stopping=False,
            batch_size=10_000,
            random_state=0,
        )
    ),
    "transformed, histogram of rows as they are": lambda: TransformedDensity(
        None, HistogramDensity(alpha=0.5)
    ),
    "transformed, scaled histogram": lambda: TransformedDensity(
        StandardScaler(), HistogramDensity(alpha=0.5)
    ),
    "transformed, kernels behind a pipeline": lambda: TransformedDensity(
        make_pipeline(StandardScaler(), PowerTransformer()), KernelDensity(bandwidth=0.3)
    ),
    "transformed, autoregressive": lambda: TransformedDensity(
        StandardScaler(), AutoregressiveDensity(**QUICK)
    ),
    "ensemble": lambda: EnsembleDensity(
        [
            ("histogram", HistogramDensity(alpha=0.5)),
            ("tree", BayesianNetworkDensity("chow-liu", conditional="table")),
        ]
    ),
    "ensemble, equal weights": lambda: EnsembleDensity(
        [
            ("network", AutoregressiveDensity(**QUICK)),
            ("histogram", HistogramDensity(alpha=0.5)),
        ],
        weights="equal",
    ),
    "ensemble, scikit-learn's densities": lambda: EnsembleDensity(
        [
            ("kernel", KernelDensity(bandwidth=0.5)),
            ("mixture", GaussianMixture()),
            ("histogram", HistogramDensity(alpha=0.5, integer_features=None)),
        ],
        cv=2,
    ),
}

TRAINING = (
    "minibatches of weighted rows are not those of repeated rows, nor are rows of validation, and float32 sums depend on the number of rows; "
    "replaced by test_autoregressive.py: test_weights_equal_repeats_in_full_batches and "
    "test_weights_equal_repeats_on_held_out_rows"
)

# It has one batch an epoch, and too few for rounding to grow.
REPEAT = {"autoregressive, all rows in one batch"}

MARGINALS = (
    "a missing number that a network asks for cannot be summed out exactly, which a ValueError says; replaced by "
    "bayes_net/test_bayes_net.py: test_marginals_are_sums_over_all_cells and test_what_has_no_exact_marginal_says_so"
)
SCALED = "counts behind a scaler are continuous; replaced by compose/test_tables.py: test_counts_keep_a_probability"
OF_COUNTS = ("check_samples_agree_with_density (counts)", "check_entropy_of_samples (counts)")
NORMALIZED = "check_normalized (counts)"
POWERS = "powers are fitted without weights"
INDEPENDENT = "by its structure, columns (given the class) are independent"
QUADRATURE = (
    "the quadrature of the check is too coarse for the pieces of bins (with 64 times the points it agrees to 1e-4); "
    "replaced by bayes_net/test_axes.py, in which every cell integrates to one"
)
CONTINUOUS = "the density inside takes counts for continuous, as it does by itself"
UNITS = "one bandwidth for all columns is in the units of some of them"
FOLDS = (
    "repeats of a row are in several folds, a weighted row is in one; replaced by test_ensemble.py: "
    "test_weights_are_repeats_where_copies_stay_together"
)
COUNTS = (
    "KernelDensity and GaussianMixture have a density over counts, no probabilities; replaced by test_ensemble.py: "
    "test_it_integrates_to_one and test_samples_come_from_the_density"
)
LEARNS = "check_learns ({})".format
DEPENDENCE = ("two columns", "categories", "counts", "mixed columns")

# What an instance cannot pass, why, and the tests that stand in.
EXPECTED_FAILED_CHECKS = (
    {
        name: {"check_weights_equal_repeats": TRAINING}
        for name in INSTANCES
        if name.startswith("autoregressive") and name not in REPEAT
    }
    | {
        name: {"check_weights_equal_repeats": TRAINING, "check_missing_cells": MARGINALS}
        for name in ("bayesian network", "bayesian network, chow-liu, networks")
    }
    | {
        "bayesian network, empty": {
            "check_learns_dependence": INDEPENDENT,
            **{LEARNS(name): INDEPENDENT for name in DEPENDENCE},
        },
        "naive bayes": {
            "check_normalized (two columns)": QUADRATURE,
            "check_learns_dependence": INDEPENDENT,
            LEARNS("two columns"): INDEPENDENT,
        },
        "averaged one-dependence, frequent parents": {
            LEARNS("two columns"): "five equal bins are too few for the tolerance",
        },
        "generative, kernel density": {
            "check_normalized (counts)": CONTINUOUS,
            "check_samples_agree_with_density (counts)": CONTINUOUS,
            "check_entropy_of_samples (counts)": CONTINUOUS,
            "check_units": UNITS,
        },
        "generative, gaussian mixture": {
            "check_normalized (counts)": CONTINUOUS,
            "check_entropy_of_samples (counts)": CONTINUOUS,
            "check_impossible_points": "scikit-learn's mixture warns of an overflow far away",
        },
        "transformed, scaled histogram": dict.fromkeys((NORMALIZED, *OF_COUNTS), SCALED),
        "transformed, kernels behind a pipeline": {
            **dict.fromkeys((NORMALIZED, *OF_COUNTS), SCALED),
            "check_weights_equal_repeats": POWERS,
        },
        "transformed, autoregressive": {"check_weights_equal_repeats": TRAINING},
        "ensemble": {"check_weights_equal_repeats": FOLDS},
        "ensemble, equal weights": {"check_weights_equal_repeats": TRAINING},
        "ensemble, scikit-learn's densities": {
            "check_weights_equal_repeats": FOLDS,
            "check_normalized (counts)": COUNTS,
            "check_samples_agree_with_density (counts)": COUNTS,
        },
    }
)
