"""Continuous mixtures on binary tables beside published figures, and on mixed tables beside finite mixtures.

Binary tables have the split that they came with. Training stops after so many seconds of one core, and the
choice of points takes some more; nothing else is chosen. SPFlow, where it is installed, fits a continuous mixture of
independent columns by its defaults, with as many latents. Mixed tables are split and measured as finite mixtures are;
whether a component has independent columns or a tree is chosen on the validation rows.

A. H. C. Correia, G. Gala, E. Quaeghebeur, C. de Campos, R. Peharz, "Continuous mixtures of tractable probabilistic
models", AAAI 2023, https://arxiv.org/abs/2209.10584
"""

import time
import warnings

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from skorch.callbacks import Callback

from benchmarks import data
from benchmarks.latent.mixtures import best_fit, mixed_case
from benchmarks.likelihood import mean_of_possible
from benchmarks.results import version_of
from sklearn_dgm import ContinuousMixtureDensity

# What is aimed at, in nats a row: with independent columns, and with trees.
TARGETS = {
    "nltcs": (-6.00, None),
    "plants": (-12.4, None),
    "jester": (-51.6, None),
    "tmovie": (-47.8, None),
    "nips": (-273.5, None),
    "dna": (None, -85.0),
    "cr52": (-80.9, None),
    "cwebkb": (-147.0, None),
    "kosarek": (-10.6, None),
    "msweb": (-9.73, None),
    "accidents": (None, -29.0),
}
# Mixed tables that are measured by default.
MIXED = ("german_credit", "penguins", "titanic")
# Tables that SPFlow takes minutes of, its points when it is done, and rows that it scores at once.
OF_SPFLOW, SPFLOW = ("nltcs", "jester"), "SPFlow, continuous mixture"
SPFLOW_POINTS, SPFLOW_ROWS = 1024, 500
COMPONENTS = {"independent": "ContinuousMixtureDensity", "tree": "ContinuousMixtureDensity, trees"}


class StopAfter(Callback):
    """End training after some seconds of the processor.

    Parameters
    ----------
    seconds : float
        How many.
    """

    def __init__(self, seconds):
        self.seconds = seconds

    def on_train_begin(self, net, **kwargs):
        """Look at the clock."""
        self.end = time.process_time() + self.seconds

    def on_epoch_end(self, net, **kwargs):
        """Ask for the end, as skorch has it."""
        if time.process_time() > self.end:
            raise KeyboardInterrupt


def add_arguments(parser):
    parser.add_argument(
        "--decoder-seconds", type=float, default=120, help="training of a decoder at most"
    )


def measure(results, args):
    """Measure continuous mixtures on the tables that are asked for."""
    only = args.only or list(TARGETS)
    for name, parts in data.binary_tables(args.data):
        if name in only and "binary" in args.cases:
            parts = [part[: args.max_rows] for part in parts]
            measure_table(results, name, parts, args)
            if name in OF_SPFLOW:
                measure_spflow(results, name, parts)
    for name, frame in data.mixed_tables(args.data):
        if name in (args.only or MIXED) and "mixed" in args.cases:
            measure_mixed(results, name, data.complete_table(frame), args)


def measure_spflow(results, name, parts):
    """Measure the continuous mixture of SPFlow, which validation rows stop."""
    record = {"data": name, "rows": sum(map(len, parts)), "columns": parts[0].shape[1]}

    def fit_and_score():
        from spflow.zoo.cms import learn_continuous_mixture_factorized

        train, valid, test = (torch.from_numpy(part.astype(np.float32)) for part in parts)
        settings = {"leaf": "bernoulli", "latent_dim": 8, "num_points_eval": SPFLOW_POINTS}
        settings |= {"val_data": valid[:SPFLOW_ROWS]}
        torch.manual_seed(0)
        start = time.process_time()
        mixture = learn_continuous_mixture_factorized(train, **settings)
        fitted = time.process_time()
        with torch.no_grad():
            scores = [mixture.log_likelihood(rows).ravel() for rows in test.split(SPFLOW_ROWS)]
        of_row = (time.process_time() - fitted) / len(test)
        return {
            **mean_of_possible(torch.cat(scores).numpy()),
            "fit_seconds": round(fitted - start, 1),
            "score_seconds": round(of_row * 10_000, 2),
            "notes": f"{SPFLOW_POINTS} points",
        }

    results.attempt(record | {"peer": SPFLOW, "version": version_of("spflow")}, fit_and_score)


def density_for(component, args):
    """Return a continuous mixture whose training stops in time."""
    callbacks = [StopAfter(args.decoder_seconds)]
    return ContinuousMixtureDensity(component=component, callbacks=callbacks, random_state=0)


def measure_mixed(results, name, table, args):
    """Measure the better one of independent columns and trees."""
    record, (train, valid, test) = mixed_case(name, table, args)
    record |= {"peer": COMPONENTS["independent"], "version": version_of("sklearn-dgm")}
    makers = {component: lambda c=component: density_for(c, args) for component in COMPONENTS}

    def choose_and_score():
        chosen, density, seconds, of_all = best_fit(makers, train, valid)
        return {
            **mean_of_possible(density.score_samples(test)),
            "fit_seconds": round(seconds, 1),
            "all_seconds": round(of_all, 1),
            "notes": f"{chosen}, {len(density.points_)} points, alpha={density.alpha_}",
        }

    results.attempt(record, choose_and_score)


def measure_table(results, name, parts, args):
    """Measure those of independent columns and of trees for which there are targets."""
    train, _, test = parts
    record = {"data": name, "version": version_of("sklearn-dgm")}
    record |= {"rows": sum(map(len, parts)), "columns": train.shape[1]}
    targets = zip(COMPONENTS, TARGETS.get(name, (None, None)), strict=True)
    aims = {component: target for component, target in targets if target is not None}
    for component, target in (aims or {"independent": None}).items():

        def fit_and_score(component=component, target=target):
            density = density_for(component, args)
            start = time.process_time()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                density.fit(train)
            fitted = time.process_time()
            log_density = density.score_samples(test)
            of_row = (time.process_time() - fitted) / len(test)
            return {
                **mean_of_possible(log_density),
                "target": target,
                "fit_seconds": round(fitted - start, 1),
                "score_seconds": round(of_row * 10_000, 2),
                "notes": f"{len(density.points_)} points, alpha={density.alpha_}, {density.n_iter_} epochs",
            }

        results.attempt(record | {"peer": COMPONENTS[component]}, fit_and_score)
