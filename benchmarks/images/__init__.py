"""Densities of images: likelihood, bytes, and outliers, beside peers and published figures.

Each module says what it is measured on, and beside what. Data and splits are those of `benchmarks/images/data.py`.
"""

from pathlib import Path

from benchmarks.images import likelihoods, outliers
from benchmarks.results import Results

MODULES = {"likelihood": likelihoods, "outliers": outliers}


def add_arguments(parser):
    parser.add_argument("--data", type=Path, required=True, help="folder of the images")
    parser.add_argument("--parts", nargs="+", choices=MODULES, help="what is measured")
    parser.add_argument("--only", nargs="+", help="names of data, such as digits")
    parser.add_argument("--max-rows", type=int, help="images of a part at most")
    likelihoods.add_arguments(parser)


def run(args):
    results = Results("images", args.results)
    for name in args.parts or MODULES:
        MODULES[name].measure(results, args)
