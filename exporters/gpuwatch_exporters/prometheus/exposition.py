"""One frame as exposition text, made subject by subject when first asked for, and then kept for who asks next."""

import zlib
from collections.abc import Callable
from typing import NamedTuple, Protocol

from msgspec import Struct, structs

from gpuwatch_agent.model.frame import Frame
from gpuwatch_exporters.prometheus.encoding import ENDS, Block, Form, LineWriter, as_bytes
from gpuwatch_exporters.prometheus.family import Page, Subject, View
from gpuwatch_exporters.prometheus.node import freshness
from gpuwatch_exporters.prometheus.subjects import SUBJECTS, page_of

_GZIP = 31
_QUICKLY = 1
_MOST_SELECTIONS = 8


class Dialect(Struct, frozen=True, kw_only=True):
    """One vocabulary for the same frame: ours, or that of another exporter."""

    subjects: tuple[Subject, ...]
    freshness: Callable[[Frame, float], Page] | None = None
    """What is worked out anew for each scrape from the age of the frame, and left out by no filter."""
    forms: tuple[Form, ...] = ("text", "openmetrics")


NATIVE = Dialect(subjects=SUBJECTS, freshness=freshness)


class Deflater(Protocol):
    """A compressor that can be split in two: what comes next differs, what came before does not."""

    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...
    def copy(self) -> "Deflater": ...


class _Selection(NamedTuple):
    body: bytes
    zipped: list[tuple[bytes, Deflater]]
    """The compressed beginning and what compresses the rest, once somebody has asked."""


class Exposition:
    """The text of one frame in one dialect; `old` where nobody has followed the frame up for too long."""

    def __init__(self, view: View, dialect: Dialect, writer: LineWriter, *, old: bool = False) -> None:
        self.frame = view.frame
        self.view = structs.replace(view, frame=outdated(view.frame)) if old else view
        self._dialect = dialect
        self._writer = writer
        self._blocks: dict[str, list[Block]] = {}
        self._selections: dict[tuple[frozenset[str], Form], _Selection] = {}

    def plain(
        self, names: frozenset[str], form: Form, age_s: float = 0.0, *, check: Callable[[], None] = lambda: None
    ) -> bytes:
        """The chosen subjects; `check` is called between them and may raise."""
        return self._selection(names, form, check).body + self._rest(form, age_s)

    def zipped(
        self, names: frozenset[str], form: Form, age_s: float = 0.0, *, check: Callable[[], None] = lambda: None
    ) -> bytes:
        """The same, compressed: only the few lines that change are compressed anew."""
        selection = self._selection(names, form, check)
        if not selection.zipped:
            deflater: Deflater = zlib.compressobj(_QUICKLY, zlib.DEFLATED, _GZIP)
            selection.zipped.append((deflater.compress(selection.body), deflater))
        beginning, deflater = selection.zipped[0]
        deflater = deflater.copy()
        return beginning + deflater.compress(self._rest(form, age_s)) + deflater.flush()

    def blocks(self, subject: Subject) -> list[Block]:
        """A subject's families with their lines."""
        found = self._blocks.get(subject.name)
        if found is None:
            found = self._blocks[subject.name] = self._writer.blocks(page_of(subject, self.view))
        return found

    def _selection(self, names: frozenset[str], form: Form, check: Callable[[], None]) -> _Selection:
        found = self._selections.get((names, form))
        if found is None:
            parts: list[Block] = []
            for subject in self._dialect.subjects:
                if subject.name in names:
                    check()
                    parts += self.blocks(subject)
            check()
            if len(self._selections) >= _MOST_SELECTIONS:
                self._selections.clear()
            found = self._selections[names, form] = _Selection(as_bytes(parts, form), [])
        return found

    def _rest(self, form: Form, age_s: float) -> bytes:
        if self._dialect.freshness is None:
            return ENDS[form]
        return as_bytes(self._writer.blocks(self._dialect.freshness(self.frame, age_s)), form) + ENDS[form]


def outdated(frame: Frame) -> Frame:
    """The frame with what is still true of it: what the GPUs are, what was counted and found, and none of their values."""
    gpus = [structs.replace(gpu, state="lost" if gpu.state == "lost" else "stale", age_s=None) for gpu in frame.gpus]
    return structs.replace(frame, gpus=gpus, host=None)
