"""Write the dashboards: `python -m gpuwatch_dashboards`."""

import argparse
from pathlib import Path

from gpuwatch_dashboards.assemble import text
from gpuwatch_dashboards.catalogue import BOARDS

DASHBOARDS = Path(__file__).parents[1] / "dashboards"


def main() -> None:
    parser = argparse.ArgumentParser(prog="gpuwatch_dashboards", description="Write the Grafana dashboards as JSON.")
    parser.add_argument("--output", type=Path, default=DASHBOARDS, help="folder to write to (default: %(default)s)")
    folder: Path = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    for board in BOARDS:
        (folder / f"{board.name}.json").write_text(text(board), encoding="utf-8")


main()
