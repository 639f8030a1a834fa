"""Which program a command line runs, and what to call it in a table."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

_INTERPRETER = re.compile(r"(?:(?:python|pypy)[\d.]*t?|(?:ba|da|z|k)?sh)$")
_SPAWNED = "--multiprocessing-fork"


class Program(NamedTuple):
    """A program and its arguments, seen through the interpreter that may run it."""

    name: str
    arguments: tuple[str, ...]


def basename(path: str) -> str:
    """The last part of a path."""
    return path.rstrip("/").rpartition("/")[2] or path


def is_title(argv: Sequence[str]) -> bool:
    """Whether this is a title that the process wrote over its arguments, such as `VLLM::Worker_TP0` or `nginx: master`."""
    return len(argv) == 1 and ("::" in argv[0] or ": " in argv[0])


@lru_cache(maxsize=2048)
def program_of(argv: tuple[str, ...]) -> Program:
    """The module, script or binary that runs: `python -m vllm.x -tp 2` is the program `vllm.x`."""
    if not argv:
        return Program("", ())
    binary = basename(argv[0])
    if not _INTERPRETER.match(binary):
        return Program(binary, argv[1:])
    position = 1
    while position < len(argv):
        option = argv[position]
        if option == "-m" and position + 1 < len(argv):
            return Program(argv[position + 1], argv[position + 2 :])
        if option == "-c":
            return Program(binary, argv[position:])
        if not option.startswith("-") or option == "-":
            return Program(basename(option), argv[position + 1 :])
        position += 2 if option in {"-W", "-X", "--check-hash-based-pycs"} else 1
    return Program(binary, argv[1:])


@lru_cache(maxsize=2048)
def short_name(argv: tuple[str, ...]) -> str:
    """One readable word or two: a title's first word, a module, a script, a binary."""
    if is_title(argv):
        words = argv[0].split()
        return printable(words[0].rstrip(":")) if words else ""
    name, arguments = program_of(argv)
    if arguments[:1] == ("-c",):
        name += " (multiprocessing)" if _SPAWNED in arguments else " -c"
    elif name.startswith(("vllm.", "sglang.", "lmdeploy.", "tensorrt_llm.")):
        name = name.partition(".")[0]
    elif " " in name and len(argv) == 1:
        name = name.split()[0] if name.split() else ""
    return printable(name.lstrip("-") or name)


def printable(text: str) -> str:
    """The text without anything that could move a terminal's cursor or break a line: such characters are spelled out."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )
