"""Results on disk: one small JSON file a run, the oldest of which go."""

import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from gpuwatch_agent.config import ProbesSection
from gpuwatch_agent.model.errors import ProbeError, UsageError
from gpuwatch_agent.model.probe import ProbeOutcome
from gpuwatch_agent.probes.result import SCHEMA, ProbeResult, outcome_of

_decoder: msgspec.json.Decoder[ProbeResult] = msgspec.json.Decoder(ProbeResult)


def default_directory(environ: Mapping[str, str]) -> Path:
    """Where results lie unless configured: the user's own state."""
    home = environ.get("XDG_STATE_HOME") or f"{environ.get('HOME') or '/var/lib'}/.local/state"
    return Path(home, "gpuwatch/probes")


def open_store(settings: ProbesSection, environ: Mapping[str, str]) -> "Store":
    """The store of this configuration."""
    directory = Path(settings.directory).expanduser() if settings.directory else default_directory(environ)
    return Store(directory, keep=settings.keep)


class Store:
    """The results of this node, in one folder."""

    def __init__(self, directory: Path, *, keep: int) -> None:
        self.directory = directory
        self._keep = keep

    def add(self, result: ProbeResult) -> Path:
        """Write it whole or not at all, and let the oldest go."""
        path = self.directory / f"{result.id}.json"
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            _write(path, msgspec.json.format(msgspec.json.encode(result)) + b"\n")
        except OSError as error:
            raise ProbeError(
                f"The result could not be stored in {self.directory}: {(error.strerror or str(error)).lower()}.",
                "It is shown here all the same, and missing from `gpuwatch probe history`.",
            ) from error
        for old in self._files()[self._keep :]:
            with suppress(OSError):  # what can't be removed now goes next time
                old.unlink()
        return path

    def results(self) -> list[ProbeResult]:
        """All that can be read, the newest first; a file of a later gpuwatch, or a broken one, is passed over."""
        found = (self._read(path) for path in self._files())
        return [result for result in found if result is not None]

    def named(self, name: str) -> ProbeResult:
        """By its id, the beginning of one, or its number in the history, of which 1 is the newest."""
        results = self.results()
        if name.isascii() and name.isdecimal() and 0 < int(name) <= len(results):
            return results[int(name) - 1]
        matching = [result for result in results if result.id.startswith(name)]
        exact = [result for result in matching if result.id == name]
        if len(exact or matching) == 1:
            return (exact or matching)[0]
        what = f"{len(matching)} stored results begin" if matching else "No stored result begins"
        raise UsageError(f"{what} with {name!r}.", "`gpuwatch probe history` lists them.")

    def last_outcomes(self) -> list[ProbeOutcome]:
        """The newest outcome of each way a probe was run here; what somebody cut short counts for nothing."""
        newest: dict[tuple[str, int, str | None], ProbeOutcome] = {}
        for result in self.results():
            if result.state != "cancelled":
                outcome = outcome_of(result)
                newest.setdefault((outcome.kind, outcome.ranks, outcome.backend), outcome)
        return list(newest.values())

    def changed_at(self) -> float | None:
        """When a result last came or went; null where there is no folder."""
        try:
            return self.directory.stat().st_mtime
        except OSError:
            return None

    def _files(self) -> list[Path]:
        """The newest first: ids begin with their time."""
        try:
            return sorted(self.directory.glob("*.json"), reverse=True)
        except OSError:
            return []

    def _read(self, path: Path) -> ProbeResult | None:
        try:
            result = _decoder.decode(path.read_bytes())
        except (OSError, msgspec.DecodeError):
            return None
        return result if result.schema == SCHEMA else None


def _write(path: Path, content: bytes) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", suffix=".tmp", delete=False) as file:
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
    Path(file.name).chmod(0o644)
    Path(file.name).replace(path)
