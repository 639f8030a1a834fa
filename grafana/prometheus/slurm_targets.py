#!/usr/bin/env python3
"""Slurm's nodes with GPUs as a file of targets for Prometheus: needs Python and, unless names are given, `sinfo`."""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

_SINFO = ("sinfo", "--noheader", "--Node", "--format=%N %G")
_GPU = re.compile(r"\bgpu\b")


def nodes_with_gpus(listing: str) -> list[str]:
    """Names from lines of node and generic resources, each once: a node is listed once for every partition."""
    rows = (line.split(maxsplit=1) for line in listing.splitlines() if line.strip())
    return sorted({row[0] for row in rows if len(row) == 2 and _GPU.search(row[1])})


def targets(hosts: Iterable[str], port: int, labels: dict[str, str]) -> str:
    """The document that Prometheus' file_sd_configs reads."""
    addresses = [f"{host}:{port}" for host in hosts]
    return json.dumps([{"targets": addresses, "labels": labels}] if addresses else [], indent=1) + "\n"


def write(path: Path, text: str) -> None:
    """All at once, because Prometheus reads the file whenever it changes."""
    handle, unfinished = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(unfinished).chmod(0o644)
        Path(unfinished).replace(path)
    except BaseException:
        Path(unfinished).unlink(missing_ok=True)
        raise


def _label(text: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not found or not re.fullmatch(r"[a-zA-Z_]\w*", name):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _read(name: str) -> list[str]:
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except OSError as error:
        sys.exit(f"slurm_targets: {name} can't be read: {error.strerror}.")
    return sorted(set(text.split()))


def _asked_slurm() -> list[str]:
    try:
        done = subprocess.run(_SINFO, check=True, capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        sys.exit("slurm_targets: sinfo is not installed here; give the nodes with --hosts.")
    except subprocess.TimeoutExpired:
        sys.exit("slurm_targets: sinfo did not answer within a minute; the file is left as it was.")
    except subprocess.CalledProcessError as error:
        sys.exit(f"slurm_targets: sinfo failed ({error.stderr.strip()}); the file is left as it was.")
    return nodes_with_gpus(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(prog="slurm_targets", description=__doc__)
    parser.add_argument("--hosts", metavar="FILE", help="a file of host names, or - for stdin, instead of sinfo")
    parser.add_argument("--port", type=int, default=9489, help="where the agents listen (default: %(default)s)")
    parser.add_argument(
        "--label", type=_label, action="append", default=[], help="NAME=VALUE for all of them, as cluster=hpc"
    )
    parser.add_argument("--output", type=Path, help="the file to write (default: stdout)")
    said = parser.parse_args()
    hosts = _read(said.hosts) if said.hosts else _asked_slurm()
    text = targets(hosts, said.port, dict(said.label))
    if said.output is None:
        sys.stdout.write(text)
    else:
        write(said.output, text)


if __name__ == "__main__":
    main()
