"""`python -m data_prep.mini --out DIR`: write the five mini files."""

from pathlib import Path

from data_prep.mini.generator import ROWS, SEED, write
from hycam_exp.command_line import Parser


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = Parser(prog="python -m data_prep.mini", description="write the five mini files")
    parser.add_argument("--out", required=True, type=Path, help="folder for the files")
    parser.add_argument("--count", type=int, default=ROWS, help="rows a task")
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args(arguments)
    for path in write(options.out, options.count, options.seed):
        print(path)


if __name__ == "__main__":
    main()
