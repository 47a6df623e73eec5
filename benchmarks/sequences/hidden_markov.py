"""Hidden Markov models of names and chorales, and their speed beside hmmlearn.

The number of states is the one that is best for the validation sequences. When to stop, those sequences say that the
fit holds out of the others. Of speed there are two tasks: names, ten steps of expectation and maximisation from
random parameters with 32 states; and one long sequence of numbers that is scored with 5 states. hmmlearn has two
implementations, "log", its default, and "scaling"; `ratio` is its median time over ours, in turns in one run.
"""

import time
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from benchmarks._measure import interleaved_seconds
from benchmarks.results import version_of
from benchmarks.sequences import data
from sklearn_dgm import HiddenMarkovDensity

OURS, PEER = "HiddenMarkovDensity", "hmmlearn"
# Published, of Pyro's hidden Markov model with 16 states (F. Obermeyer and others, "Tensor variable elimination for
# plated factor graphs", ICML 2019), and what is aimed at.
TARGETS = {"chorales, 16 states": -8.3, "chorales": -6.3}
IMPLEMENTATIONS = ("scaling", "log")
# Of ours, pseudo-counts and priors that hmmlearn has none of.
PLAIN = {"alpha": 0.0, "transition_alpha": 0.0, "reg_covar": 0.0, "early_stopping": False}
N_STEPS, N_STATES_OF_NUMBERS, N_STATES_OF_NAMES = 100_000, 5, 32


def add_arguments(parser):
    parser.add_argument(
        "--states", type=int, nargs="+", default=[16, 64, 256], help="numbers of states to try"
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds of timings")


def measure(results, args):
    """Measure hidden Markov models on the data that are asked for."""
    only = args.only or ["names", "chorales", "speed"]
    if "names" in only:
        parts = data.names(args.data)
        measure_sizes(results, "names", parts, "name", args.states, length="stop")
    if "chorales" in only:
        parts = data.chorales(args.data)
        measure_sizes(results, "chorales, 16 states", parts, "time step", [16], length="given")
        measure_sizes(results, "chorales", parts, "time step", args.states, length="given")
    if "speed" in only:
        measure_names_speed(results, data.names(args.data)[0], args.rounds)
        measure_numbers_speed(results, args.rounds)


def measure_sizes(results, name, parts, unit, numbers, **params):
    """Measure the model of the number of states that is best for the validation sequences."""
    train, valid, test = parts
    record = {"data": name, "peer": OURS, "version": version_of("sklearn-dgm")}
    record |= {"rows": sum(map(len, parts)), "unit": unit}

    def total(sequences):
        return len(sequences) if unit == "name" else sum(map(len, sequences))

    def choose_and_score():
        fits = []
        for n in numbers:
            start = time.process_time()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                model = HiddenMarkovDensity(n, random_state=0, **params).fit(train)
            fits.append((model.score(valid) / total(valid), n, time.process_time() - start, model))
        _, n, seconds, model = max(fits)
        start = time.process_time()
        log_p = model.score_samples(test)
        score_seconds = time.process_time() - start
        possible = np.isfinite(log_p)
        return {
            "log_likelihood": float(log_p[possible].sum() / total(test)),
            "impossible": int((~possible).sum()),
            "target": TARGETS.get(name),
            "fit_seconds": round(seconds, 2),
            "score_seconds": round(score_seconds, 3),
            "notes": f"{n} states, {model.n_iter_} steps",
        }

    results.attempt(record, choose_and_score)


def measure_names_speed(results, names, n_rounds):
    """Time ten steps of expectation and maximisation on names."""
    letters = sorted(set("".join(names)))
    codes = np.array([letters.index(c) for name in names for c in name])[:, None]
    lengths = list(map(len, names))

    def ours():
        return HiddenMarkovDensity(
            N_STATES_OF_NAMES, length="given", max_iter=10, tol=0.0, random_state=0, **PLAIN
        ).fit(names)

    def peer(implementation):
        from hmmlearn.hmm import CategoricalHMM

        return CategoricalHMM(
            N_STATES_OF_NAMES,
            n_iter=10,
            tol=-np.inf,
            implementation=implementation,
            random_state=0,
        ).fit(codes, lengths)

    case = f"names, 10 steps, {N_STATES_OF_NAMES} states"
    measure_speed(results, case, len(names), ours, peer, n_rounds)


def measure_numbers_speed(results, n_rounds):
    """Time the score of one long sequence of numbers."""
    rng = np.random.default_rng(0)
    states = np.cumsum(rng.random(N_STEPS) < 0.05) % N_STATES_OF_NUMBERS
    X = rng.normal(2.0 * states, 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = HiddenMarkovDensity(
            N_STATES_OF_NUMBERS, length="given", max_iter=2, random_state=0, **PLAIN
        ).fit([X[:5000]])

    def peer(implementation):
        from hmmlearn.hmm import GaussianHMM

        same = GaussianHMM(N_STATES_OF_NUMBERS, "diag", implementation=implementation)
        same.startprob_, same.transmat_ = model.start_probabilities_, model.transition_matrix_
        same.means_, same.covars_ = model.means_, model.covariances_
        return same.score(X[:, None])

    case = f"{N_STEPS:,} steps scored, {N_STATES_OF_NUMBERS} states"
    measure_speed(results, case, 1, lambda: model.score([X]), peer, n_rounds)


def measure_speed(results, case, n_rows, ours, peer, n_rounds):
    """Time a task of ours and of hmmlearn's implementations in turns."""
    tasks = {OURS: ours}
    if version_of(PEER) is not None:
        tasks |= {f"{PEER}, {name}": lambda name=name: peer(name) for name in IMPLEMENTATIONS}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        seconds = interleaved_seconds(tasks, n_rounds)
    for name in [OURS, *(f"{PEER}, {name}" for name in IMPLEMENTATIONS)]:
        package = "sklearn-dgm" if name == OURS else PEER
        record = {"data": case, "peer": name, "version": version_of(package), "rows": n_rows}

        def figures(name=name):
            own = seconds[name]
            ratio = None if name == OURS else float(np.median(own / seconds[OURS]))
            return {"fit_seconds": round(float(np.median(own)), 3), "ratio": ratio}

        results.attempt(record, figures)
