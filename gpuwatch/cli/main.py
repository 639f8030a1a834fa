"""Finds the command, runs it, and turns every way to fail into a sentence and an exit code."""

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from gpuwatch.cli.commands import COMMANDS, Command
from gpuwatch.cli.quick_start import import_msgspec_lightly
from gpuwatch_agent.model.errors import GpuwatchError, UsageError

GLOBAL_FLAGS = {
    "--sim": ("NAME", "simulated hardware instead of this machine's; `gpuwatch sims` lists the names"),
    "--connect": ("URL", "read a remote agent instead of this machine, as node07 or http://node07:9489"),
    "--token-file": ("FILE", "the file with the agent's token"),
    "--config": ("FILE", "the configuration file"),
}
_BROKEN_PIPE, _INTERRUPTED = 128 + 13, 128 + 2


def run(argv: Sequence[str] | None = None) -> int:
    """Run one command line and give the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    import_msgspec_lightly()
    try:
        code = _dispatch(arguments)
        sys.stdout.flush()
    except GpuwatchError as error:
        return _say(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        _drop_stdout()
        return _BROKEN_PIPE
    except OSError as error:
        _drop_stdout()
        about = f" ({error.filename})" if error.filename else ""
        return _say(f"The system refused: {(error.strerror or str(error)).lower()}{about}.", 3)
    except Exception as error:
        if os.environ.get("GPUWATCH_DEBUG"):
            raise
        return _say(
            f"gpuwatch itself failed, which is a bug: {type(error).__name__}: {error}. Please report it with what "
            "GPUWATCH_DEBUG=1 shows when you run this again.",
            3,
        )
    return code


def _say(sentence: str, code: int) -> int:
    try:
        print(f"gpuwatch: {sentence}", file=sys.stderr, flush=True)  # noqa: T201 - the place where errors are told
    except OSError:
        return code  # nobody listens; the exit code still tells
    return code


def _drop_stdout() -> None:
    """Leave nothing for the interpreter to flush at exit: it would complain about the same pipe again."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        return


def _dispatch(arguments: list[str]) -> int:
    position = _command_position(arguments)
    if position is None:
        if {"-h", "--help"}.intersection(arguments):
            return _print(_help())
        if "--version" in arguments:
            return _print(_version())
        return _run_command(COMMANDS[0], arguments, alone=True)
    name = arguments[position]
    command = next((command for command in COMMANDS if command.name == name), None)
    if command is None:
        raise _unknown("command", name, [command.name for command in COMMANDS])
    rest = arguments[:position] + arguments[position + 1 :]
    if "--version" in arguments[:position]:
        return _print(_version())
    return _run_command(command, rest, alone=False)


def _command_position(arguments: Sequence[str]) -> int | None:
    """Where the first word stands that is neither a flag nor a global flag's value."""
    skip = False
    for position, argument in enumerate(arguments):
        if skip:
            skip = False
        elif argument in GLOBAL_FLAGS:
            skip = True
        elif not argument.startswith("-"):
            return position
        elif argument not in {"-h", "--help", "--version"} and argument.partition("=")[0] not in GLOBAL_FLAGS:
            return None  # a flag of `status`, which needs no naming
    return None


def _run_command(command: Command, arguments: list[str], *, alone: bool) -> int:
    try:
        return _parse_and_run(command, arguments, alone=alone)
    except UsageError as error:
        return _say(str(error), command.bad_usage)


def _parse_and_run(command: Command, arguments: list[str], *, alone: bool) -> int:
    module = importlib.import_module(command.module)
    program = "gpuwatch" if alone else f"gpuwatch {command.name}"
    parser = CommandParser(prog=program, description=module.__doc__, allow_abbrev=False)
    module.add_arguments(parser)
    shared = parser.add_argument_group("on every command")
    for flag, (metavar, words) in GLOBAL_FLAGS.items():
        if flag not in parser.known_flags():
            action = "append" if flag == "--connect" else "store"  # `gpuwatch` alone shows several agents
            shared.add_argument(flag, action=action, metavar=metavar, help=words)
    options = parser.parse_args(arguments)
    options.alone = alone
    run_it: Callable[[argparse.Namespace], int] = module.run
    return run_it(options)


class CommandParser(argparse.ArgumentParser):
    """argparse whose complaints are sentences and name what was probably meant."""

    def known_flags(self) -> list[str]:
        """Every flag this command takes."""
        return list(self._option_string_actions)

    def error(self, message: str) -> NoReturn:
        """Complain through the one place that does."""
        raise UsageError(f"{message[:1].upper()}{message[1:]}.", f"`{self.prog} --help` shows what there is.")

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]  # narrower than argparse's overloads
        """Parse, and name a near miss for the first argument that is not known."""
        options, unknown = self.parse_known_args(args, namespace)
        if unknown:
            raise _unknown(
                "argument" if unknown[0].startswith("-") else "word", unknown[0], self.known_flags(), self.prog
            )
        return options


def _unknown(kind: str, written: str, known: Sequence[str], program: str = "gpuwatch") -> UsageError:
    import difflib

    near = difflib.get_close_matches(written.partition("=")[0], known, n=1, cutoff=0.5)
    guess = f"Did you mean {near[0]}? " if near else ""
    return UsageError(f"There is no {kind} {written!r} here.", f"{guess}`{program} --help` shows what there is.")


def _print(text: str) -> int:
    sys.stdout.write(text)
    return 0


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"gpuwatch {version('gpuwatch-node')}\n"
    except PackageNotFoundError:
        return "gpuwatch (not installed, run from its sources)\n"


def _help() -> str:
    commands = "\n".join(f"  {command.name:<9} {command.help}" for command in COMMANDS)
    flags = "\n".join(f"  {f'{flag} {metavar}':<18} {words}" for flag, (metavar, words) in GLOBAL_FLAGS.items())
    return f"""\
gpuwatch: are my GPUs delivering what I paid for, and if not, which one, which link, and why?

usage: gpuwatch [COMMAND] [FLAGS]

Without a command it opens the dashboard on a terminal, and shows `status` once in a pipe.

commands
{commands}

flags, before or after the command
{flags}
  {"--version":<18} which version this is
  {"-h, --help":<18} this, or with a command: that command's own flags

examples
  gpuwatch                           the dashboard, of the agent that runs here or by itself
  gpuwatch --connect node07          the dashboard of another machine; give it again for several
  gpuwatch --hosts FILE              the dashboard of all agents that the file names, one a line
  gpuwatch status                    what every GPU does now
  gpuwatch status --watch 1          the same, every second
  gpuwatch status --json | jq '.gpus[].power_w'
  gpuwatch topo --sim dgx-h100-8     look at a simulated machine, no GPU needed
"""
