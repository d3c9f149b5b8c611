"""`python -m data_prep.mini --out DIR`: write the records of the five mini tasks, for `data.root=DIR`."""

from pathlib import Path

from data_prep.mini.generator import ROWS, SEED, write
from hycam_exp.runtime.command_line import Parser


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = Parser(prog="python -m data_prep.mini", description="write the records of the five mini tasks as Parquet")
    parser.add_argument("--out", required=True, type=Path, help="OUT/<task>/ gets a file, for data=mini data.root=OUT")
    parser.add_argument("--count", type=int, default=ROWS, help="records a task")
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args(arguments)
    for path in write(options.out, options.count, options.seed):
        print(path)


if __name__ == "__main__":
    main()
