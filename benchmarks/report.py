"""Regenerate RESULTS.md from the lines in results/*.jsonl."""

from pathlib import Path

import numpy as np
from scipy.stats import rankdata

from benchmarks import bayes_nets, generative
from benchmarks.chow_liu import SEARCH
from benchmarks.classifiers import CLASSIFIERS, SCORES
from benchmarks.ensemble import ENSEMBLE, PACKAGES
from benchmarks.outliers import DETECTORS
from benchmarks.peers import OURS, PEERS
from benchmarks.published import BINARY
from benchmarks.remarks import INTRODUCTION, SECTIONS
from benchmarks.results import Results, read_lines

RESULTS_MD = Path(__file__).parent / "RESULTS.md"

# Columns of the flat tables: title, field, format.
SECONDS = ("seconds", "fit_seconds", ",.1f")
FLAT = {
    "synthetic": [
        ("AUROC, real or drawn", "auroc", ".3f"),
        ("accuracy of the label", "accuracy", ".3f"),
        SECONDS,
        ("notes", "notes", ""),
    ],
    "impute": [
        ("masked", "case", ""),
        ("RMSE", "rmse", ".3f"),
        ("CRPS", "crps", ".3f"),
        ("log-loss", "log_loss", ".3f"),
        SECONDS,
        ("notes", "notes", ""),
    ],
    "any_order": [
        ("nats per row and column", "log_likelihood", ".3f"),
        ('less order="any"', "cost", "+.3f"),
        ("standard error", "standard_error", ".3f"),
        SECONDS,
    ],
    "codec": [
        ("bytes", "bytes", ",d"),
        ("bits a row", "bits", ".2f"),
        ("ratio to the best program", "ratio", ".3f"),
        ("-log2 p(x), bytes", "code_length", ",d"),
        ("rows impossible", "impossible", "d"),
        ("model, bytes", "model", ",d"),
        ("MB/s in", "encode_mb", ".3f"),
        ("MB/s out", "decode_mb", ".3f"),
        ("seconds of the fit", "fit_seconds", ",.1f"),
    ],
    "speed": [
        ("rows x columns", "case", ""),
        ("fit, seconds", "fit_seconds", ",.1f"),
        ("rows scored a second", "rows_per_second", ",d"),
        ("memory beyond the data, MB", "extra_mb", ",.0f"),
        ("data, MB", "data_mb", ",.1f"),
        ("notes", "notes", ""),
    ],
    "releases": [
        ("log-likelihood", "log_likelihood", ".3f"),
        ("ours less it, per column", "difference", "+.4f"),
        ("standard error", "standard_error", ".4f"),
        ("CPU seconds of the fit", "fit_seconds", ",.1f"),
        ("times ours", "ratio", ".2f"),
        ("scoring: times ours", "score_ratio", ".2f"),
        ("notes", "notes", ""),
    ],
    "histogram": [
        ("seconds", "seconds", ".2f"),
        ("ratio to the first", "ratio", ".2f"),
        ("peak of fit / rows", "peak_share", ".2f"),
        ("pickle / rows", "pickle_share", ".2f"),
    ],
    "out_of_core": [
        ("rows as float64, MB", "megabytes", ",d"),
        ("peak above the imports, MB", "peak_mb", ",d"),
        ("fit, seconds", "fit_seconds", ",.1f"),
        ("rows scored a second", "rows_per_second", ",d"),
        ("log-likelihood", "log_likelihood", ".3f"),
    ],
    "clusters": [
        ("in", "case", ""),
        ("seconds", "seconds", ".2f"),
        ("times as fast as alone", "ratio", ".2f"),
        ("differs from it by", "difference", ".1e"),
    ],
    "accelerator": [
        ("on", "case", ""),
        ("fit, seconds", "fit_seconds", ",.1f"),
        ("on the CPU", "fit_seconds_cpu", ",.1f"),
        ("times as fast", "fit_ratio", ",.2f"),
        ("rows scored a second", "rows_per_second", ",d"),
        ("on the CPU", "rows_per_second_cpu", ",d"),
        ("times as fast", "score_ratio", ",.2f"),
        ("nats a row more", "difference", "+.3f"),
    ],
    "sampling": [("seconds", "seconds", ".3f"), ("ratio to its own scoring", "ratio", ".1f")],
    "imports": [("seconds", "seconds", ".3f"), ("more than `import sklearn.base`", "more", "+.3f")],
    "latent": [
        ("log-likelihood", "log_likelihood", ".3f"),
        ("target", "target", ".2f"),
        ("its error from log Z", "log_partition_std_error", ".4f"),
        ("AUROC", "auroc", ".3f"),
        ("accuracy of the label", "accuracy", ".3f"),
        ("categories lost", "lost", "d"),
        ("CPU seconds of the fit", "fit_seconds", ",.1f"),
        ("and of all that were tried", "all_seconds", ",.1f"),
        ("seconds to score 10,000 rows", "score_seconds", ".2f"),
        ("rows impossible", "impossible", "d"),
        ("nats that missing cells cost", "cost", ".3f"),
        ("chosen", "notes", ""),
    ],
    "sequences": [
        ("log-likelihood", "log_likelihood", ".3f"),
        ("target", "target", ".2f"),
        ("of", "unit", ""),
        ("accuracy", "accuracy", ".3f"),
        ("labelled F1", "f1", ".1f"),
        ("CPU seconds of the fit", "fit_seconds", ",.2f"),
        ("CPU seconds to score", "score_seconds", ",.3f"),
        ("times ours", "ratio", ".2f"),
        ("bytes", "bytes", ",d"),
        ("of the best program's", "share", ".3f"),
        ("impossible", "impossible", "d"),
        ("notes", "notes", ""),
    ],
    "topics": [
        ("perplexity of 100 documents", "perplexity", ".1f"),
        ("target", "target", ".0f"),
        ("of all 604", "perplexity_of_all", ".1f"),
        ("its own of the 100", "own_perplexity", ",.0f"),
        ("CPU seconds of the fit", "fit_seconds", ",.1f"),
        ("and of all that were tried", "all_seconds", ",.1f"),
        ("CPU seconds to score the 100", "score_seconds", ".2f"),
        ("notes", "notes", ""),
    ],
    "images": [
        ("log-likelihood", "log_likelihood", ".2f"),
        ("bits per dim", "bits_per_dim", ".3f"),
        ("target", "target", ".1f"),
        ("CPU seconds of the fit", "fit_seconds", ",.0f"),
        ("CPU seconds to score", "score_seconds", ",.1f"),
        ("bytes", "bytes", ",d"),
        ("of the best program's", "share", ".3f"),
        ("CPU seconds to decode", "decode_seconds", ",.1f"),
        ("area under the ROC curve", "auc", ".3f"),
        ("notes", "notes", ""),
    ],
    "chow_liu": [
        ("seconds", "seconds", ".3f"),
        ("ratio to the first", "ratio", ".1f"),
        ("total mutual information", "information", ".6f"),
    ],
}
# Columns of the table of Chow-Liu trees: title, field, format.
TREES = [
    ("log-likelihood", "log_likelihood", ".3f"),
    ("rows impossible", "impossible", "d"),
    ("published", "published", ".2f"),
    ("less the published", "difference", "+.3f"),
    ("pseudo-count", "alpha", "g"),
    ("seconds of a fit", "fit_seconds", ".2f"),
]
# Peers and figures of the suites with means over seeds in one table a figure.
GENERATIVE = {
    "semi_supervised": (generative.PEERS, ["accuracy"]),
    "over_sampling": (list(generative.SAMPLERS), ["average_precision", "balanced_accuracy"]),
}


def add_arguments(parser):
    parser.add_argument("--output", type=Path, default=RESULTS_MD, help="file to write")


def run(args):
    args.output.write_text(render(args.results))


def render(folder):
    """Render the whole report.

    Parameters
    ----------
    folder : Path
        Where the lines are; they are tidied.

    Returns
    -------
    text : str
        Markdown.
    """
    machines = {machine["machine"]: machine for machine in read_lines(folder / "machines.jsonl")}
    parts = [INTRODUCTION]
    for suite, (command, remarks) in SECTIONS.items():
        results = Results(suite, folder)
        records = results.load()
        parts += [f"## `{command}`", remarks.strip()]
        if not records:
            parts.append("Not measured yet.")
            continue
        results.tidy()
        used = sorted({record["machine"] for record in records})
        parts += [machine_line(machines[name]) for name in used]
        parts += tables_of(suite, records)
        if suite == "speed":
            parts.append(slope_line(records))
    return "\n\n".join(part for part in parts if part) + "\n"


def tables_of(suite, records):
    """Return what shows the lines of a suite."""
    if suite in PEERS:
        peers = [peer.name for peer in PEERS[suite]]
        return likelihood_tables(peers, OURS, suite == "binary", records)
    if suite.startswith("bayes_nets_"):
        return bayes_net_tables(bayes_nets.PEERS[suite.removeprefix("bayes_nets_")], records)
    if suite == "chow_liu":
        return chow_liu_tables(records)
    if suite == "classifiers":
        return classifier_tables(records)
    if suite in GENERATIVE:
        return tables_of_means(records, *GENERATIVE[suite])
    if suite == "ensemble":
        return [ensemble_table(records)]
    if suite in ("outliers", "outliers_shuffled", "outliers_contaminated"):
        return outlier_tables(records)
    return flat_tables(suite, records)


def machine_line(machine):
    versions = ", ".join(f"{name} {v}" for name, v in machine["versions"].items() if v)
    return (
        f"Measured on {machine['cores']} cores of {machine['processor']}, {machine['system']}, "
        f"OMP threads: {machine['threads']}; {versions}."
    )


def table(header, rows):
    """Render a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, cells)) + " |" for cells in lines)


def shown(value, form):
    return "" if value is None else format(value, form)


def grouped(records):
    """Group records by the table that they are of."""
    groups = {}
    for record in records:
        groups.setdefault(record["data"], []).append(record)
    return groups


def by_case(suite, records):
    """Group records by their table and, unless that is a column, by their case."""
    if any(field == "case" for _, field, _ in FLAT[suite]):
        return grouped(records)
    cases = [(r, ", ".join(filter(None, (r["data"], r.get("case"))))) for r in records]
    return grouped([{**record, "data": name} for record, name in cases])


def flat_tables(suite, records):
    """Render a table for each table of data, a line for each measurement."""
    tables = []
    for name, group in by_case(suite, records).items():
        columns = [c for c in FLAT[suite] if any(r.get(c[1]) not in (None, "") for r in group)]
        title = name
        if "columns" in group[0]:
            title += f" ({group[0]['rows']:,} rows x {group[0]['columns']})"
        header = [title, *(column[0] for column in columns)]
        tables.append(table(header, [flat_row(record, columns) for record in group]))
    return tables


def flat_row(record, columns):
    version = record.get("version")
    name = record["peer"] + (f" ({version})" if version else "")
    if record.get("seed"):
        name += f", seed {record['seed']}"
    cells = [shown(record.get(field), form) for _, field, form in columns]
    if "gap" in record:
        cells[-1] = f"*{record['gap']}*"
    return [name, *cells]


def slope_line(records):
    """How seconds of fit grow with rows of the same table."""
    sizes = [(r["rows"], r["fit_seconds"]) for r in records if r["case"].endswith("x 10")]
    if len(sizes) < 2:
        return ""
    slope = np.polyfit(*np.log(sizes).T, 1)[0]
    return f"Slope of log seconds over log rows, 10 columns: {slope:.2f}; 1 is proportional."


def by_peer(records, peers):
    """For each table of data a summary of each peer."""
    return {
        name: {peer: over_seeds([r for r in group if r["peer"] == peer]) for peer in peers}
        for name, group in sorted(grouped(records).items())
    }


def likelihood_tables(peers, ours, is_published, records):
    """Log-likelihoods with differences to ours, seconds, and how often which is ahead."""
    cells = by_peer(records, peers)
    header = ["data", "rows", "columns", "copies", "seeds", *peers]
    likelihoods = [
        [name, *about(row), *map(likelihood, row.values())] for name, row in cells.items()
    ]
    if is_published:
        header += ["published Chow-Liu", "best published", "target"]
        likelihoods = [[*row, *published_cells(row[0])] for row in likelihoods]
    seconds = [[name, *map(fit_and_score_seconds, row.values())] for name, row in cells.items()]
    tally_header = ["peer", "version", "ours ahead", "level", "ours behind", "gaps"]
    return [
        table(header, likelihoods),
        table(["seconds: fit (score)", *peers], seconds),
        table(tally_header, tallies(peers, ours, cells)),
    ]


def over_seeds(records):
    """One summary of the fits of a peer to a table: means, with errors of the mean."""
    measured = [record for record in records if "gap" not in record]
    if not measured:
        return records[0] if records else None
    summary = {**measured[0], "seeds": len(measured)}
    for field in ("log_likelihood", "difference", "fit_seconds", "score_seconds"):
        values = [record.get(field) for record in measured]
        summary[field] = None if None in values else float(np.mean(values))
    summary["impossible"] = sum(record["impossible"] for record in measured)
    errors = [record.get("standard_error") or 0 for record in measured]
    summary["standard_error"] = float(np.sqrt(np.sum(np.square(errors))) / len(errors))
    return summary


def about(row):
    """Rows, columns, copies and seeds of a table, of whichever peer was measured."""
    known = [summary for summary in row.values() if summary]
    measured = [summary for summary in known if "gap" not in summary]
    if not measured:
        return ["", known[0]["columns"], "", ""]
    first = measured[0]
    return [f"{first['rows']:,}", first["columns"], f"{first['copies']:.0%}", first["seeds"]]


def likelihood(summary):
    """Mean log-likelihood, and in brackets the difference of ours to it."""
    if summary is None:
        return ""
    if "gap" in summary:
        return f"*{summary['gap']}*"
    text = shown(summary["log_likelihood"], ".2f")
    if summary["impossible"]:
        text += f", {summary['impossible']} rows impossible"
    if summary.get("difference") is not None:
        text += f" ({summary['difference']:+.2f} ± {summary['standard_error']:.2f})"
    return text


def fit_and_score_seconds(summary):
    if summary is None or "gap" in summary:
        return ""
    return f"{summary['fit_seconds']:,.1f} ({summary['score_seconds']:.2f})"


def published_cells(name):
    tree, best, model, target = BINARY.get(name, (None, None, "", None))
    return [shown(tree, ".2f"), f"{shown(best, '.2f')} {model}".strip(), shown(target, ".2f")]


def tallies(peers, ours, cells):
    """For each peer the number of tables where ours is ahead or behind by over two standard errors."""
    for peer in peers:
        summaries = [row[peer] for row in cells.values() if row[peer]]
        measured = [s for s in summaries if "gap" not in s]
        versions = sorted({str(s["version"]) for s in measured or summaries})
        gaps = len(summaries) - len(measured)
        if peer == ours:
            yield [peer, ", ".join(versions), "", "", "", gaps]
            continue
        ratios = [
            s["difference"] / max(s["standard_error"], 1e-12)
            for s in measured
            if s.get("difference") is not None
        ]
        ahead, behind = (sum(sign * r > 2 for r in ratios) for sign in (1, -1))
        yield [peer, ", ".join(versions), ahead, len(ratios) - ahead - behind, behind, gaps]


def bayes_net_tables(peers, records):
    """Those of likelihoods, and the sizes of the networks."""
    sizes = [
        [name, *(size(summary) for summary in row.values())]
        for name, row in by_peer(records, peers).items()
    ]
    return [
        *likelihood_tables(peers, bayes_nets.NETWORK, False, records),
        table(["edges, parameters (tables)", *peers], sizes),
    ]


def size(summary):
    """Edges and parameters, and how many of the conditionals are tables."""
    if summary is None or "gap" in summary:
        return ""
    return f"{summary['edges']:,}, {summary['parameters']:,} ({summary['tables']})"


def chow_liu_tables(records):
    """One table of all trees, and one of the time of a search."""
    trees = [record for record in records if record.get("case") != SEARCH]
    searches = [record for record in records if record.get("case") == SEARCH]
    header = ["data", "rows", "columns", *(title for title, _, _ in TREES)]
    rows = [
        [tree["data"], f"{tree['rows']:,}", tree["columns"], *flat_row(tree, TREES)[1:]]
        for tree in trees
    ]
    return [table(header, rows), *flat_tables("chow_liu", searches)]


def tables_of_means(records, peers, fields):
    """For each figure one table, of means over seeds and their standard errors."""
    cases = sorted({(record["data"], record["case"]) for record in records})
    tables = []
    for field in fields:
        rows = []
        for name, case in cases:
            of_case = [r for r in records if (r["data"], r["case"]) == (name, case)]
            n_seeds = len({record["seed"] for record in of_case})
            values = [[r[field] for r in of_case if r["peer"] == p and field in r] for p in peers]
            rows.append([name, case, n_seeds, *map(mean_over_seeds, values)])
        tables.append(table([field.replace("_", " "), "", "seeds", *peers], rows))
    return tables


def mean_over_seeds(values):
    if not values:
        return ""
    error = f" ± {np.std(values, ddof=1) / np.sqrt(len(values)):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{error}"


def outlier_tables(records):
    """Areas under the curve in percent, their means and mean ranks, and seconds."""
    peers, groups = list(DETECTORS), sorted(grouped(records).items())
    about = [[name, f"{group[0]['rows']:,}", group[0]["columns"]] for name, group in groups]

    def means(field):
        values = [
            [[r[field] for r in group if r["peer"] == peer and field in r] for peer in peers]
            for _, group in groups
        ]
        return np.array([[np.mean(v) if v else np.nan for v in row] for row in values])

    areas = 100 * means("auroc")
    shared = areas[np.isfinite(areas).all(axis=1)]
    rows = [[*cells, *map(number_or_gap, row)] for cells, row in zip(about, areas, strict=True)]
    if len(shared):
        ranks = rankdata(-shared, axis=1).mean(axis=0)
        rows.append([f"mean of {len(shared)}", "", "", *map(number_or_gap, shared.mean(axis=0))])
        rows.append(["mean rank", "", "", *map(number_or_gap, ranks)])
    seconds = [
        [cells[0], *map(number_or_gap, row)]
        for cells, row in zip(about, means("fit_seconds"), strict=True)
    ]
    return [
        table(["data", "rows", "columns", *peers], rows),
        table(["seconds of a fit", *peers], seconds),
    ]


def number_or_gap(value):
    return "" if np.isnan(value) else f"{value:.1f}"


def ensemble_table(records):
    """Log-likelihoods of an ensemble and its members, and how far it is ahead of the best of them."""
    header = ["data", "rows", "columns", "seeds", ENSEMBLE, *PACKAGES, "less the best", "weights"]
    rows = []
    for name, row in by_peer(records, [ENSEMBLE, *PACKAGES]).items():
        size, columns, _, seeds = about(row)
        cells = [name, size, columns, seeds, *map(likelihood, row.values())]
        if all(summary and "gap" not in summary for summary in row.values()):
            best = max((row[peer] for peer in PACKAGES), key=lambda s: s["log_likelihood"])
            lead = f"{best['difference']:+.3f} ± {best['standard_error']:.3f}"
            weights = row[ENSEMBLE]["weights"].values()
            cells += [lead, ", ".join(f"{weight:.2f}" for weight in weights)]
        rows.append([*cells, *[""] * (len(header) - len(cells))])
    return table(header, rows)


def classifier_tables(records):
    """Accuracy, log-loss and seconds of each classifier, and how often which is better."""
    peers = list(CLASSIFIERS)
    cells = {
        name: {record["peer"]: record for record in group}
        for name, group in sorted(grouped(records).items())
    }
    about = ("rows", "columns", "classes")
    tables = []
    for field in SCORES:
        rows = [
            [name, *(f"{next(iter(row.values()))[part]:,}" for part in about)]
            + [mean_and_error(row.get(peer), field) for peer in peers]
            for name, row in cells.items()
        ]
        title = field.replace("_", "-")
        comparisons = [
            [peer, *(comparison(cells, peer, other, field) for other in peers)] for peer in peers
        ]
        tables += [
            table([title, *about, *peers], [*rows, means_of_shared(cells, peers, field)]),
            table([f"{title}: better, level, worse than", *peers], comparisons),
        ]
    seconds = [
        [name, *(shown(row.get(peer, {}).get("fit_seconds"), ".3f") for peer in peers)]
        for name, row in cells.items()
    ]
    return [*tables, table(["seconds of a fit", *peers], seconds)]


def mean_and_error(record, field):
    if record is None:
        return ""
    if "gap" in record:
        return f"*{record['gap']}*"
    return f"{record[field]:.4f} ± {record[f'{field}_error']:.4f}"


def means_of_shared(cells, peers, field):
    """Mean of each classifier over the tables of which all have figures."""
    shared = [row for row in cells.values() if all(field in row.get(peer, {}) for peer in peers)]
    means = [np.mean([row[peer][field] for row in shared]) if shared else None for peer in peers]
    title = f"mean of the {len(shared)} that all can take"
    return [title, "", "", "", *(shown(mean, ".4f") for mean in means)]


def comparison(cells, peer, other, field):
    """On how many tables one classifier is better than another, and the mean difference."""
    pairs = [
        (row.get(peer, {}).get(field), row.get(other, {}).get(field)) for row in cells.values()
    ]
    differences = np.array([own - theirs for own, theirs in pairs if None not in (own, theirs)])
    if peer == other or not len(differences):
        return ""
    better, worse = (int((s * SCORES[field][1] * differences > 0).sum()) for s in (1, -1))
    level = len(differences) - better - worse
    return f"{better}, {level}, {worse} ({differences.mean():+.4f})"
