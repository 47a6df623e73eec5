"""TabularGAN beside CTGAN: drawn rows, and how often they have each category.

Mixed tables, complete, judged as in `synthetic`; fitted to training and validation rows.

lost      categories of at least 1 % of the fitted rows that are drawn less than half or more than twice as often.
"""

import time

import pandas as pd

from benchmarks import data, synthetic
from benchmarks.mixed_peers import is_categorical
from benchmarks.results import version_of

PEERS = ("TabularGAN", "CTGAN")
# Tables that CTGAN was measured on.
TABLES = ("german_credit", "penguins", "telco_churn", "titanic")
MIN_SHARE = 0.01


def add_arguments(parser):
    parser.add_argument("--gans", nargs="+", choices=synthetic.PACKAGES, default=PEERS, help="who")
    parser.add_argument("--gan-epochs", type=int, default=300, help="epochs of CTGAN")


def measure(results, args):
    """Measure generators on the tables that are asked for."""
    for name, frame in data.mixed_tables(args.data):
        if name in (args.only or TABLES):
            parts = data.three_parts(data.complete_table(frame), 0, args.max_rows)
            for peer in args.gans:
                measure_peer(results, name, parts, peer, args.gan_epochs)


def measure_peer(results, name, parts, peer, epochs):
    """Fit a generator, judge its rows, and add the figures, or why there are none."""
    known, test = pd.concat(parts[:2], ignore_index=True), parts[2].reset_index(drop=True)
    record = {"data": name, "case": "drawn rows", "rows": len(known) + len(test)}
    record |= {"columns": test.shape[1], "peer": peer}
    record["version"] = version_of(synthetic.PACKAGES[peer])

    def fit_and_judge():
        start = time.process_time()
        draw = synthetic.fit_sampler(peer, known, 0, epochs)
        seconds = time.process_time() - start
        drawn = draw(len(known))
        return {
            "auroc": synthetic.two_sample_auroc(test, draw(len(test)), 0),
            "accuracy": synthetic.accuracy(drawn, test, data.LABELS[name], 0),
            "lost": n_lost(known, drawn),
            "fit_seconds": round(seconds, 1),
        }

    results.attempt(record, fit_and_judge)


def n_lost(known, drawn):
    """Count categories that are not drawn within a factor of two of how often they are."""
    lost = 0
    for name in filter(lambda name: is_categorical(known[name]), known):
        shares = known[name].value_counts(normalize=True)
        shares = shares[shares >= MIN_SHARE]
        ratio = (
            drawn[name].value_counts(normalize=True).reindex(shares.index, fill_value=0) / shares
        )
        lost += int((~ratio.between(0.5, 2)).sum())
    return lost
