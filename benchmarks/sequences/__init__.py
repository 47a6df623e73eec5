"""Densities of sequences beside each other and named peers: names, text, chorales and trees.

Each family has a module, which says what it is measured on, and beside what. Data and splits are those of
`benchmarks/sequences/data.py`.
"""

from pathlib import Path

from benchmarks.results import Results
from benchmarks.sequences import codecs, grammars, hidden_markov, markov, networks

FAMILIES = {
    "markov": markov,
    "hidden_markov": hidden_markov,
    "network": networks,
    "codec": codecs,
    "grammar": grammars,
}


def add_arguments(parser):
    parser.add_argument("--data", type=Path, required=True, help="folder of the sequences")
    parser.add_argument("--families", nargs="+", choices=FAMILIES, help="what is measured")
    parser.add_argument("--only", nargs="+", help="names of data, such as names")
    for module in FAMILIES.values():
        module.add_arguments(parser)


def run(args):
    results = Results("sequences", args.results)
    for name in args.families or FAMILIES:
        FAMILIES[name].measure(results, args)
