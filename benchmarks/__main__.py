"""Command line of the benchmarks."""

import argparse

from benchmarks import histogram, imports, likelihood, sampling


def main():
    parser = argparse.ArgumentParser("python -m benchmarks", description="Print a Markdown table.")
    names = parser.add_subparsers(title="benchmarks", metavar="NAME", required=True)
    for module in (histogram, imports, likelihood, sampling):
        name = module.__name__.rpartition(".")[2]
        subparser = names.add_parser(
            name,
            help=module.__doc__.splitlines()[0],
            description=module.__doc__,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        module.add_arguments(subparser)
        subparser.set_defaults(run=module.run)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
