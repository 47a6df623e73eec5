"""Held-out log-likelihood beside peers, on continuous, binary or mixed tables.

AutoregressiveDensity has nothing set but random_state (and `column_kinds` where all are continuous), and is fitted to
training and validation rows together, of which it keeps a part of its own to stop on. Peers choose what they choose on
the validation rows.

continuous  70 % training, 15 % validation, 15 % test, standardised by the training rows. Only columns that look
            continuous take part: where values repeat, a density can be raised at will. Single values that are frequent
            have a mass in AutoregressiveDensity, so that columns with such are left out, too; and it is told that all
            are continuous, so that it gives no mass to the cells of a grid to which values were rounded.
binary      The three parts that came with the tables; booleans.
mixed       70/15/15 %. Rows and columns that all can take, on one reference measure (data.py and mixed_peers.py say
            how); and AutoregressiveDensity alone on tables "as read", with strings and missing cells.
"""

import warnings
from pathlib import Path

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from benchmarks import data
from benchmarks._measure import seconds_of
from benchmarks.peers import OURS, PEERS
from benchmarks.results import Results, row_hashes


def add_arguments(parser):
    parser.add_argument("--suite", choices=list(PEERS), required=True, help="kind of tables")
    parser.add_argument("--data", type=Path, required=True, help="folder of the tables")
    parser.add_argument("--only", nargs="+", help="names of tables, such as texture")
    parser.add_argument("--peers", nargs="+", help=f"names of peers to run, such as {OURS}")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="seeds of split and fit")
    parser.add_argument("--max-rows", type=int, help="rows of a table at most")
    parser.add_argument("--min-distinct", type=int, default=50, help="values of a column at least")
    parser.add_argument("--max-share", type=float, default=0.1, help="share of its commonest value")


def run(args):
    warnings.simplefilter("ignore", ConvergenceWarning)
    results = Results(args.suite, args.results)
    peers = [p for p in PEERS[args.suite] if args.peers is None or p.name in args.peers]
    for split in SPLITS[args.suite](args):
        for peer in peers:
            if peer.name == OURS or not split.only_ours:
                measure(results, split, peer)


def _chosen(tables, args):
    """Return the tables that are asked for."""
    return ((n, t) for n, t in tables if args.only is None or n in args.only)


def continuous_splits(args):
    """Standardised splits of the columns that look continuous."""
    for name, X in _chosen(data.continuous_tables(args.data), args):
        kept = data.looks_continuous(X, args.min_distinct, args.max_share) & ~data.has_atoms(X)
        columns = f"{kept.sum()} of {len(kept)}"
        for seed in args.seeds:
            if kept.sum() < 2:
                yield data.Split(name, seed, columns, gap="too few continuous columns")
                continue
            train, valid, test = data.three_parts(X[:, kept], seed, args.max_rows)
            location, scale = train.mean(axis=0), train.std(axis=0)
            parts = [(part - location) / scale for part in (train, valid, test)]
            yield data.Split(name, seed, columns, *parts)


def binary_splits(args):
    """Return the splits that came with the tables, for each seed of the fit."""
    for name, parts in _chosen(data.binary_tables(args.data), args):
        parts = [part[: args.max_rows] for part in parts]
        for seed in args.seeds:
            yield data.Split(name, seed, str(parts[0].shape[1]), *parts)


def mixed_splits(args):
    """Return splits of the part that all take; of the whole table as it was read, for ours alone."""
    for name, frame in _chosen(data.mixed_tables(args.data), args):
        table = data.complete_table(frame)
        columns = f"{table.shape[1]} of {frame.shape[1]}"
        for seed in args.seeds:
            yield data.Split(name, seed, columns, *data.three_parts(table, seed, args.max_rows))
            parts = data.three_parts(frame, seed, args.max_rows)
            yield data.Split(f"{name}, as read", seed, str(frame.shape[1]), *parts, only_ours=True)


SPLITS = {"continuous": continuous_splits, "binary": binary_splits, "mixed": mixed_splits}


def measure(results, split, peer, ours=OURS):
    """Fit a peer and score the test rows; add the figures, or why there are none.

    Differences are those of the peer that is named `ours` to each other one.
    """
    record = {"data": split.name, "seed": split.seed, "peer": peer.name}
    record |= {"version": peer.version, "columns": split.columns}
    if split.gap:
        results.add(**record, gap=split.gap)
        return
    results.attempt(record, lambda: fit_and_score(results, record, split, peer, ours))
    if peer.name == ours:
        renew_differences(results, record, test_hash(split), ours)


def test_hash(split):
    """A number that tells whether scores are of the same rows."""
    return int(row_hashes(split.test).sum())


def fit_and_score(results, record, split, peer, ours):
    """Figures of one fit."""
    fitted, fit_seconds = seconds_of(lambda: peer.fit(split.train, split.valid, split.seed))
    log_prob, score_seconds = seconds_of(lambda: np.asarray(fitted.log_prob(split.test)))
    results.keep_scores(record, log_prob, test_hash(split))
    figures = dict(fitted.figures)
    if peer.name != ours:
        figures |= difference_to_ours(results, record, test_hash(split), ours)
    known = np.concatenate([row_hashes(split.train), row_hashes(split.valid)])
    copies = np.isin(row_hashes(split.test), known).mean()
    return figures | {
        **mean_of_possible(log_prob),
        "rows": len(known) + len(split.test),
        "copies": round(float(copies), 3),
        "fit_seconds": round(fit_seconds, 2),
        "score_seconds": round(score_seconds, 4),
        "notes": fitted.notes,
    }


def mean_of_possible(log_prob):
    """Mean of the rows that are not impossible, and the number of those that are."""
    possible = np.isfinite(log_prob)
    mean = round(float(log_prob[possible].mean()), 6) if possible.any() else None
    return {"log_likelihood": mean, "impossible": int((~possible).sum())}


def renew_differences(results, record, rows, ours):
    """Set the peers of the same table and seed beside scores of ours that are new."""
    for old in results.load():
        same = all(old[part] == record[part] for part in ("data", "seed"))
        if same and old["peer"] != ours and "gap" not in old:
            results.replace(old, **difference_to_ours(results, old, rows, ours))


def difference_to_ours(results, record, rows, ours):
    """Mean of ours less the peer's, with its standard error over the rows that neither calls impossible."""
    own = results.scores({**record, "peer": ours}, rows)
    theirs = results.scores(record, rows)
    missing = {"difference": None, "standard_error": None}
    if own is None or theirs is None:
        return missing
    difference = (own - theirs)[np.isfinite(own) & np.isfinite(theirs)]
    if len(difference) < 2:
        return missing
    error = difference.std(ddof=1) / np.sqrt(len(difference))
    return {
        "difference": round(float(difference.mean()), 6),
        "standard_error": round(float(error), 6),
    }
