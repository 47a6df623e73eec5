"""A catalogue of named instances in their interesting corners.

`tests/test_common.py` runs scikit-learn's checks and the density checks over it: a new density adds its lines here,
with what it cannot pass and why, and is tested by both.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PowerTransformer, StandardScaler

from sklearn_dgm import (
    AutoregressiveDensity,
    AutoregressiveSequenceDensity,
    AveragedOneDependenceClassifier,
    BayesianNetworkDensity,
    ContextFreeGrammarDensity,
    ContinuousMixtureDensity,
    DeepBeliefDensity,
    EnergyDensity,
    EnsembleDensity,
    FlowDensity,
    GenerativeClassifier,
    HiddenMarkovDensity,
    HistogramDensity,
    LatentDirichletAllocationDensity,
    MarkovChainDensity,
    MixtureDensity,
    NaiveBayesClassifier,
    PixelCNNDensity,
    RestrictedBoltzmannDensity,
    TabularGAN,
    TransformedDensity,
    TreeAugmentedNaiveBayesClassifier,
    VariationalAutoencoderDensity,
)


@dataclass(frozen=True)
class Instance:
    """How to make an estimator, and by name the checks that it fails, with the reason and what stands in.

    Those of densities, and those of scikit-learn.
    """

    make: Callable[[], Any]
    fails: dict[str, str] = field(default_factory=dict)
    fails_scikit_learn: dict[str, str] = field(default_factory=dict)


# One order, small networks and few epochs: the checks are about the contract, not about the fit.
ONE_ORDER = {"order": "given", "dropout": 0.2}
QUICK_NETWORK = {"hidden_layer_sizes": (16,), "max_epochs": 5, "dropout": 0.2}
QUICK = {**QUICK_NETWORK, "order": "given"}
QUICK_DECODER = {"hidden_layer_sizes": (16,), "n_points": 64, "n_points_fit": 32}

TRAINED = {
    "check_weights_equal_repeats": (
        "minibatches of weighted rows are not those of repeated rows, nor are rows of validation, and float32 sums "
        "depend on the number of rows; replaced by test_weights_equal_repeats_in_full_batches, in "
        "test_autoregressive.py and in test_flow.py, and, for the trainer that they share, by test_autoregressive.py: "
        "test_weights_equal_repeats_on_held_out_rows"
    )
}
OF_SEQUENCES = {
    "check_weights_equal_repeats": (
        "as for other networks, and repeats are in several parts by which n-grams are scored; replaced by "
        "sequence/test_autoregressive.py: test_weights_are_repeats_in_full_batches"
    )
}
QUICK_CELL = {"hidden_size": 16, "max_epochs": 5}
# Scikit-learn's checks of the same, which look at what transformers say.
TRAINED_TRANSFORMER = {
    "fails": TRAINED,
    "fails_scikit_learn": {
        "check_sample_weight_equivalence_on_dense_data": TRAINED["check_weights_equal_repeats"]
    },
}

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
    "replaced by counts/test_axes.py, in which every cell integrates to one"
)
PIECES_OF_COMPONENTS = (
    "each component has pieces of its own, too narrow for the grid of the check (its mass is 0.9976 in one column, 1.0066 "
    "in two; over the grid of all edges of pieces it is 1 to 2e-6); replaced by mixture/test_densities.py: "
    "test_a_mixture_of_tables_integrates_to_one_over_the_pieces_of_its_components"
)
HEAVY_TAILS = (
    "the quadrature of the check does not reach far enough for such tails; replaced by nn/test_flows.py: "
    "test_one_column_integrates_to_one and test_log_determinants_are_those_of_jacobians"
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
PARTITION = (
    "the partition function is that of the network that was trained; replaced by energy/test_tilt.py: "
    "test_whatever_the_network_the_density_integrates_to_one"
)
ONE_COLUMN = {
    "check_mixed_frames": "a step has one column; replaced by sequence/test_markov.py, which says so"
}
PIXELS_OF_ONE_KIND = (
    "all columns are pixels of an image, of one kind; replaced by image/test_pixelcnn.py: "
    "test_columns_of_several_types_are_no_pixels"
)
WHAT_OTHER_PIXELS_CAN_BE = (
    "a pixel has a probability of the categories of all others, too; replaced by nn/test_pixelcnn.py: "
    "test_all_images_sum_to_one and test_a_marginal_is_a_sum_over_missing_pixels_within_its_error"
)
OF_PIXELS = {
    **dict.fromkeys(
        (
            "check_mixed_frames",
            "check_impossible_points",
            "check_normalized (mixed columns)",
            "check_samples_agree_with_density (mixed columns)",
            "check_entropy_of_samples (mixed columns)",
            "check_learns (mixed columns)",
        ),
        PIXELS_OF_ONE_KIND,
    ),
    **dict.fromkeys(
        (
            "check_normalized (categories)",
            "check_normalized_untrained",
            "check_samples_agree_with_density (categories)",
            "check_missing_cells",
        ),
        WHAT_OTHER_PIXELS_CAN_BE,
    ),
    "check_units": (
        "the check changes the units of single columns, but pixels are in common ones; replaced by "
        "image/test_pixelcnn.py: test_units_are_those_of_all_pixels"
    ),
}
LISTS = "the check fits to a list of lists, which are sequences of any length, and wants tables of other widths refused"
# Which take differences of what `predict` returns.
TREES = dict.fromkeys(
    (
        "check_sample_weight_equivalence_on_dense_data",
        "check_estimators_pickle",
        "check_methods_sample_order_invariance",
        "check_methods_subset_invariance",
        "check_fit_idempotent",
    ),
    "predictions are trees, which have no differences; replaced by grammar/test_grammar.py: "
    "test_predictions_keep_what_is_checked_of_numbers",
)
OF_FRACTIONS = dict.fromkeys(
    (
        "check_sample_weight_equivalence_on_dense_data",
        "check_sample_weight_equivalence_on_sparse_data",
    ),
    "the check has fractions, which are no counts; replaced by topic/test_allocation.py: test_weights_are_repeats",
)
LEARNS = "check_learns ({})".format
OF_WORDS = {
    name: (
        "columns are words of one bag, with one length for all of them, and other tables of counts are none; replaced "
        "by topic/test_allocation.py: test_topics_and_priors_are_recovered, test_several_topics_are_worth_more_than_one"
    )
    for name in (LEARNS("counts"), "check_learns_dependence")
}
OF_A_BOUND = dict.fromkeys(
    OF_COUNTS,
    "the bound is by more nats too low for some documents; replaced by the same checks of estimates, and "
    "topic/test_allocation.py: test_bounds_are_below_estimates",
)
DEPENDENCE = ("two columns", "categories", "counts", "mixed columns")

INSTANCES = {
    "histogram": Instance(lambda: HistogramDensity()),
    "histogram, smoothed": Instance(lambda: HistogramDensity(alpha=0.5)),
    "histogram, freedman-diaconis": Instance(lambda: HistogramDensity(bins="fd", alpha=1e-3)),
    "histogram, bayesian blocks": Instance(lambda: HistogramDensity(bins="blocks", alpha=1e-3)),
    "histogram, knuth": Instance(lambda: HistogramDensity(bins="knuth", alpha=1e-3)),
    "autoregressive": Instance(lambda: AutoregressiveDensity(**QUICK), fails=TRAINED),
    "autoregressive, trained to the end": Instance(
        lambda: AutoregressiveDensity(hidden_layer_sizes=(32, 32), n_iter_no_change=4, **ONE_ORDER),
        fails=TRAINED,
    ),
    "autoregressive, several orders": Instance(
        lambda: AutoregressiveDensity(hidden_layer_sizes=(16,), max_epochs=5, n_orders=2),
        fails=TRAINED,
    ),
    "autoregressive, any order": Instance(
        lambda: AutoregressiveDensity(
            hidden_layer_sizes=(16,), max_epochs=5, n_orders=2, order="any", dropout=0.2
        ),
        fails=TRAINED,
    ),
    "autoregressive, gaussian mixture": Instance(
        lambda: AutoregressiveDensity(
            **QUICK, conditional="gaussian-mixture", activation="tanh", early_stopping=False
        ),
        fails=TRAINED,
    ),
    "autoregressive, one component": Instance(
        lambda: AutoregressiveDensity(**QUICK, n_components=1), fails=TRAINED
    ),
    "autoregressive, linear": Instance(
        lambda: AutoregressiveDensity(
            hidden_layer_sizes=(), max_epochs=5, early_stopping=False, **ONE_ORDER
        ),
        fails=TRAINED,
    ),
    "autoregressive, all rows in one batch": Instance(
        lambda: AutoregressiveDensity(
            hidden_layer_sizes=(32,),
            max_epochs=30,
            early_stopping=False,
            batch_size=100_000,
            order="given",
            dropout=0.0,
        )
    ),
    "autoregressive, warm start": Instance(
        lambda: AutoregressiveDensity(**QUICK, warm_start=True), fails=TRAINED
    ),
    "flow": Instance(
        lambda: FlowDensity(hidden_layer_sizes=(16,), n_transforms=1, max_epochs=5), fails=TRAINED
    ),
    "flow, student": Instance(
        lambda: FlowDensity(
            "affine", hidden_layer_sizes=(16,), n_transforms=1, base="student", max_epochs=5
        ),
        fails=TRAINED | {"check_normalized_untrained": HEAVY_TAILS},
    ),
    "flow, coupling of polynomials": Instance(
        lambda: FlowDensity(
            "bernstein",
            coupling=True,
            hidden_layer_sizes=(8,),
            n_transforms=1,
            n_bins=4,
            max_epochs=3,
        ),
        fails=TRAINED,
    ),
    "flow, given columns": Instance(
        lambda: FlowDensity(given=[0], hidden_layer_sizes=(8,), n_transforms=1, max_epochs=3),
        fails=TRAINED,
    ),
    "bayesian network": Instance(
        lambda: BayesianNetworkDensity(**QUICK_NETWORK),
        fails=TRAINED | {"check_missing_cells": MARGINALS},
    ),
    "bayesian network, chow-liu, networks": Instance(
        lambda: BayesianNetworkDensity("chow-liu", conditional="network", **QUICK_NETWORK),
        fails=TRAINED | {"check_missing_cells": MARGINALS},
    ),
    "bayesian network, tables": Instance(lambda: BayesianNetworkDensity(conditional="table")),
    "bayesian network, chow-liu, tables": Instance(
        lambda: BayesianNetworkDensity("chow-liu", conditional="table", bins=8)
    ),
    "bayesian network, empty": Instance(
        lambda: BayesianNetworkDensity("empty", conditional="table"),
        fails={
            "check_learns_dependence": INDEPENDENT,
            **{LEARNS(name): INDEPENDENT for name in DEPENDENCE},
        },
    ),
    "mixture": Instance(lambda: MixtureDensity()),
    "mixture, trees": Instance(lambda: MixtureDensity(2, "tree")),
    "mixture, one component": Instance(
        lambda: MixtureDensity(1, "gaussian", covariance_type="diag", alpha=1.0),
        fails={
            "check_learns_dependence": INDEPENDENT,
            **{LEARNS(name): INDEPENDENT for name in DEPENDENCE},
        },
    ),
    "mixture, gaussian": Instance(lambda: MixtureDensity(4, "gaussian", n_init=2)),
    "mixture, tied": Instance(
        lambda: MixtureDensity(3, "gaussian", covariance_type="tied", reg_covar=1e-6)
    ),
    "mixture, diagonal": Instance(lambda: MixtureDensity(6, "gaussian", covariance_type="diag")),
    "mixture, spherical": Instance(
        lambda: MixtureDensity(8, "gaussian", covariance_type="spherical", warm_start=True)
    ),
    "mixture, factors": Instance(
        lambda: MixtureDensity(3, "gaussian", covariance_type="factor", n_factors=1)
    ),
    "continuous mixture": Instance(
        lambda: ContinuousMixtureDensity(2, **QUICK_DECODER, lr=0.02, max_epochs=15),
        **TRAINED_TRANSFORMER,
    ),
    "continuous mixture, trees": Instance(
        lambda: ContinuousMixtureDensity(1, "tree", **QUICK_DECODER, max_epochs=3),
        **TRAINED_TRANSFORMER,
    ),
    "continuous mixture, as it is decoded": Instance(
        lambda: ContinuousMixtureDensity(
            2, **QUICK_DECODER, lr=0.02, max_epochs=15, alpha=None, early_stopping=False
        ),
        **TRAINED_TRANSFORMER,
    ),
    "mixture of tables": Instance(
        lambda: MixtureDensity(
            3, BayesianNetworkDensity("chow-liu", conditional="table", bins=8), max_iter=10
        ),
        fails={
            "check_normalized (one column)": PIECES_OF_COMPONENTS,
            "check_normalized (two columns)": PIECES_OF_COMPONENTS,
        },
    ),
    "mixture of mixtures": Instance(
        lambda: MixtureDensity(2, MixtureDensity(2, "gaussian"), max_iter=10)
    ),
    "mixture of kernel densities": Instance(
        lambda: MixtureDensity(2, KernelDensity(bandwidth=0.3)),
        fails={
            "check_normalized (counts)": CONTINUOUS,
            "check_samples_agree_with_density (counts)": CONTINUOUS,
            "check_entropy_of_samples (counts)": CONTINUOUS,
            "check_units": UNITS,
        },
    ),
    "boltzmann machine": Instance(
        lambda: RestrictedBoltzmannDensity(8, batch_size=1000, max_iter=1000)
    ),
    "boltzmann machine, annealed": Instance(
        lambda: RestrictedBoltzmannDensity(
            12,
            log_partition="ais",
            n_ais_chains=100,
            n_temperatures=400,
            batch_size=1000,
            max_iter=400,
        ),
        fails={
            LEARNS("counts"): "this fit is short; longer ones are checked above",
        },
    ),
    "belief net": Instance(
        lambda: DeepBeliefDensity((8, 6), batch_size=1000, max_iter=400, n_importance_samples=50),
        fails={
            LEARNS("counts"): "this fit is short; longer ones are checked above",
        },
    ),
    "naive bayes": Instance(
        lambda: NaiveBayesClassifier(),
        fails={
            "check_normalized (two columns)": QUADRATURE,
            "check_learns_dependence": INDEPENDENT,
            LEARNS("two columns"): INDEPENDENT,
        },
    ),
    "tree-augmented naive bayes": Instance(lambda: TreeAugmentedNaiveBayesClassifier()),
    "averaged one-dependence": Instance(lambda: AveragedOneDependenceClassifier()),
    "averaged one-dependence, frequent parents": Instance(
        lambda: AveragedOneDependenceClassifier(min_frequency=30, bins=5),
        fails={LEARNS("two columns"): "five equal bins are too few for the tolerance"},
    ),
    "autoencoder": Instance(
        lambda: VariationalAutoencoderDensity(encoder_layer_sizes=(16,), max_epochs=30, lr=0.02),
        **TRAINED_TRANSFORMER,
    ),
    "autoencoder, several samples in the fit": Instance(
        lambda: VariationalAutoencoderDensity(
            2, (16,), n_importance_samples=64, n_importance_samples_fit=4, max_epochs=40, lr=0.02
        ),
        **TRAINED_TRANSFORMER,
    ),
    "autoencoder, linear": Instance(
        lambda: VariationalAutoencoderDensity(
            1, (), (), beta_warmup=0.0, early_stopping=False, max_epochs=20, lr=0.02
        ),
        fails={
            **TRAINED,
            LEARNS("mixed columns"): (
                "a linear decoder of one latent is too simple for the tolerance, which those with hidden units keep; "
                "replaced by latent/test_vae.py: test_a_linear_one_is_close_to_principal_components"
            ),
        },
        fails_scikit_learn=TRAINED_TRANSFORMER["fails_scikit_learn"],
    ),
    "adversarial": Instance(lambda: TabularGAN((16,), max_epochs=3, batch_size=64)),
    "adversarial, linear": Instance(
        lambda: TabularGAN(
            (), pac=1, n_latents=4, conditional=False, early_stopping=False, max_epochs=3
        )
    ),
    "markov chain": Instance(
        lambda: MarkovChainDensity(),
        fails=ONE_COLUMN,
    ),
    "markov chain, of pairs": Instance(lambda: MarkovChainDensity(2), fails=ONE_COLUMN),
    "markov chain, witten-bell, given lengths": Instance(
        lambda: MarkovChainDensity(3, smoothing="witten-bell", length="given"), fails=ONE_COLUMN
    ),
    "generative, markov chain": Instance(
        lambda: GenerativeClassifier(MarkovChainDensity(2)),
        fails={**ONE_COLUMN, "check_normalized (one column)": PIECES_OF_COMPONENTS},
        fails_scikit_learn={"check_classifiers_train": LISTS},
    ),
    "autoregressive sequences": Instance(
        lambda: AutoregressiveSequenceDensity(**QUICK_CELL), fails=OF_SEQUENCES
    ),
    "autoregressive sequences, transformer": Instance(
        lambda: AutoregressiveSequenceDensity("transformer", ngram_order=None, **QUICK_CELL),
        fails=OF_SEQUENCES,
    ),
    "topics": Instance(
        lambda: LatentDirichletAllocationDensity(3, n_particles=50),
        fails=OF_WORDS,
        fails_scikit_learn=OF_FRACTIONS,
    ),
    "topics, lower bound": Instance(
        lambda: LatentDirichletAllocationDensity(2, log_likelihood="bound", doc_topic_prior=0.5),
        fails={LEARNS("counts"): OF_WORDS[LEARNS("counts")], **OF_A_BOUND},
        fails_scikit_learn=OF_FRACTIONS,
    ),
    "topics, only one": Instance(
        lambda: LatentDirichletAllocationDensity(1),
        fails=OF_WORDS,
        fails_scikit_learn=OF_FRACTIONS,
    ),
    "pixelcnn": Instance(
        lambda: PixelCNNDensity(n_channels=8, n_layers=1, dropout=0.0, max_epochs=8, lr=0.005),
        fails=TRAINED | OF_PIXELS,
    ),
    "generative, histogram": Instance(lambda: GenerativeClassifier(HistogramDensity(alpha=0.01))),
    "generative, kernel density": Instance(
        lambda: GenerativeClassifier(KernelDensity(bandwidth=0.3)),
        fails={
            "check_normalized (counts)": CONTINUOUS,
            "check_samples_agree_with_density (counts)": CONTINUOUS,
            "check_entropy_of_samples (counts)": CONTINUOUS,
            "check_units": UNITS,
        },
    ),
    "generative, gaussian mixture": Instance(
        lambda: GenerativeClassifier(GaussianMixture(random_state=0)),
        fails={
            "check_normalized (counts)": CONTINUOUS,
            "check_entropy_of_samples (counts)": CONTINUOUS,
            "check_impossible_points": "scikit-learn's mixture warns of an overflow far away",
        },
    ),
    # As it starts: there weights are repeats to the last bits, but not where some rows validate.
    "generative, autoregressive": Instance(
        lambda: GenerativeClassifier(
            AutoregressiveDensity(
                **QUICK | {"dropout": 0.0, "max_epochs": 1, "lr": 1e-12},
                early_stopping=False,
                batch_size=10_000,
                random_state=0,
            )
        )
    ),
    "transformed, histogram of rows as they are": Instance(
        lambda: TransformedDensity(None, HistogramDensity(alpha=0.5))
    ),
    "transformed, scaled histogram": Instance(
        lambda: TransformedDensity(StandardScaler(), HistogramDensity(alpha=0.5)),
        fails=dict.fromkeys((NORMALIZED, *OF_COUNTS), SCALED),
    ),
    "transformed, kernels behind a pipeline": Instance(
        lambda: TransformedDensity(
            make_pipeline(StandardScaler(), PowerTransformer()), KernelDensity(bandwidth=0.3)
        ),
        fails={
            **dict.fromkeys((NORMALIZED, *OF_COUNTS), SCALED),
            "check_weights_equal_repeats": POWERS,
        },
    ),
    "transformed, autoregressive": Instance(
        lambda: TransformedDensity(StandardScaler(), AutoregressiveDensity(**QUICK)), fails=TRAINED
    ),
    "ensemble": Instance(
        lambda: EnsembleDensity(
            [
                ("histogram", HistogramDensity(alpha=0.5)),
                ("tree", BayesianNetworkDensity("chow-liu", conditional="table")),
            ]
        ),
        fails={"check_weights_equal_repeats": FOLDS},
    ),
    "ensemble, markov chains": Instance(
        lambda: EnsembleDensity(
            [("pairs", MarkovChainDensity(2)), ("more", MarkovChainDensity(4))]
        ),
        fails={**ONE_COLUMN, "check_weights_equal_repeats": FOLDS},
    ),
    "ensemble, equal weights": Instance(
        lambda: EnsembleDensity(
            [
                ("network", AutoregressiveDensity(**QUICK)),
                ("histogram", HistogramDensity(alpha=0.5)),
            ],
            weights="equal",
        ),
        fails=TRAINED,
    ),
    "ensemble, scikit-learn's densities": Instance(
        lambda: EnsembleDensity(
            [
                ("kernel", KernelDensity(bandwidth=0.5)),
                ("mixture", GaussianMixture()),
                ("histogram", HistogramDensity(alpha=0.5, integer_features=None)),
            ],
            cv=2,
        ),
        fails={
            "check_weights_equal_repeats": FOLDS,
            "check_normalized (counts)": COUNTS,
            "check_samples_agree_with_density (counts)": COUNTS,
        },
    ),
    "energy": Instance(
        lambda: EnergyDensity(hidden_layer_sizes=(16,), max_epochs=3, early_stopping=False),
        fails=TRAINED | {"check_normalized_untrained": PARTITION},
    ),
    "energy, noise-contrastive, of a histogram": Instance(
        lambda: EnergyDensity(
            HistogramDensity(alpha=0.5),
            hidden_layer_sizes=(16,),
            objective="nce",
            max_epochs=5,
            lr=0.03,
        ),
        fails={"check_normalized_untrained": PARTITION},
    ),
    "hidden markov": Instance(lambda: HiddenMarkovDensity(3, random_state=0)),
    "hidden markov, network": Instance(
        lambda: HiddenMarkovDensity(3, "network", max_iter=20, random_state=0)
    ),
    "grammar": Instance(
        lambda: ContextFreeGrammarDensity(5, n_init=2, max_iter=30, tol=1e-3, random_state=0),
        fails=ONE_COLUMN,
        fails_scikit_learn=TREES,
    ),
    "grammar, given lengths": Instance(
        lambda: ContextFreeGrammarDensity(
            6, length="given", max_iter=30, tol=1e-3, early_stopping=False, random_state=0
        ),
        fails=ONE_COLUMN,
        fails_scikit_learn=TREES,
    ),
}

# Public estimators that are no densities, and the files that run scikit-learn's checks on them.
TESTED_ELSEWHERE = {
    "DensityCodec": "it turns tables into bytes; codec/test_estimator.py",
    "DensityImputer": "it fills in cells; test_impute.py",
    "DensityOutlierDetector": "its scores are for ranks; outlier/test_outlier.py",
    "GenerativeOverSampler": "it adds rows to others; generative/test_over_sampler.py",
}
