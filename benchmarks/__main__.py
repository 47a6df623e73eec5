"""Command line of the benchmarks."""

import argparse
from pathlib import Path

from benchmarks import (
    accelerator,
    any_order,
    bayes_nets,
    chow_liu,
    classifiers,
    clusters,
    codec,
    ensemble,
    faster,
    generative,
    histogram,
    images,
    imports,
    impute,
    latent,
    likelihood,
    out_of_core,
    outliers,
    releases,
    report,
    sampling,
    sequences,
    speed,
    synthetic,
    topics,
)
from benchmarks.results import FOLDER

MODULES = (
    likelihood,
    bayes_nets,
    chow_liu,
    classifiers,
    generative,
    latent,
    sequences,
    topics,
    images,
    ensemble,
    synthetic,
    impute,
    any_order,
    outliers,
    codec,
    speed,
    faster,
    releases,
    histogram,
    out_of_core,
    clusters,
    accelerator,
    sampling,
    imports,
    report,
)


def main(argv=None):
    parser = argparse.ArgumentParser(
        "python -m benchmarks",
        description="Measure, add lines to results/*.jsonl as figures come, and report them in RESULTS.md.",
    )
    names = parser.add_subparsers(title="benchmarks", metavar="NAME", required=True)
    for module in MODULES:
        name = module.__name__.rpartition(".")[2]
        subparser = names.add_parser(
            name,
            help=module.__doc__.splitlines()[0],
            description=module.__doc__,
            formatter_class=HelpFormatter,
        )
        module.add_arguments(subparser)
        subparser.add_argument("--results", type=Path, default=FOLDER, help="where lines are kept")
        subparser.set_defaults(run=module.run)
    args = parser.parse_args(argv)
    args.run(args)


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Docstrings as they are, and defaults."""


if __name__ == "__main__":
    main()
