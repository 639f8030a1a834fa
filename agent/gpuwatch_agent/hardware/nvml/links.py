"""NVLinks, port by port.

On Hopper and later the older error *field values* answer success with zero, so errors come from the per-link counters;
boards whose counters are gone (Blackwell) have fields of their own, asked per link.
"""

from collections.abc import Callable

from gpuwatch_agent.hardware.base import NvLinks
from gpuwatch_agent.hardware.nvml import plausible
from gpuwatch_agent.hardware.nvml.binding import Questions, nvml
from gpuwatch_agent.hardware.nvml.fields import FieldBatch
from gpuwatch_agent.model.absence import Absence
from gpuwatch_agent.model.gpu import NvLinkPort

_VERSIONS = {1: "1.0", 2: "2.0", 3: "2.2", 4: "3.0", 5: "3.1", 6: "4.0", 7: "5.0", 8: "6.0"}
_PEERS = {0: "gpu", 1: "cpu", 2: "switch"}
_COUNTERS = {"replay": 0, "recovery": 1, "crc_flit": 2, "crc_data": 3}
_FIELD_COUNTERS = {"receive_errors": 208, "recovery": 215, "recovery_failed": 214, "symbol_errors": 221}


class LinkReader:
    """Reads all ports of one GPU; what a port is wired to is asked again only when its state changes."""

    def __init__(self, handle: object, questions: Questions, clock: Callable[[], float]) -> None:
        self._handle = handle
        self._questions = questions
        self._clock = clock
        self._wired: dict[int, tuple[str, NvLinkPort]] = {}
        self._fields: FieldBatch | None = None
        self._fields_fetched = False

    def read(self) -> NvLinks:
        self._fields_fetched = False
        states: list[str] = []
        for link in range(nvml.NVML_NVLINK_MAX_LINKS):
            scratch = NvLinks()
            state = self._questions.ask(scratch, f"link.{link}", nvml.nvmlDeviceGetNvLinkState, self._handle, link)
            if state is None:
                reason = scratch.absent[f"link.{link}"]
                # A board without NVLink refuses the first port, one with few refuses those past its last.
                past_the_last = reason is not Absence.DRIVER_TOO_OLD and link > 0 and link not in self._wired
                if past_the_last or reason is Absence.NOT_SUPPORTED:
                    break
                return NvLinks(absent={"links": reason})
            states.append("up" if state == 1 else "down")
        for link, state in enumerate(states):
            known = self._wired.get(link)
            if known is None or known[0] != state:
                self._wired[link] = (state, self._wiring(link, state))
        return NvLinks(links=[self._port(link, state) for link, state in enumerate(states)])

    def _port(self, link: int, state: str) -> NvLinkPort:
        wiring = self._wired[link][1]
        return NvLinkPort(
            index=link,
            state="up" if state == "up" else "down",
            version=wiring.version,
            peer=wiring.peer,
            peer_type=wiring.peer_type,
            errors=self._errors(link) if state == "up" else None,
        )

    def _wiring(self, link: int, state: str) -> NvLinkPort:
        scratch = NvLinks()
        version = self._questions.ask(scratch, f"v.{link}", nvml.nvmlDeviceGetNvLinkVersion, self._handle, link)
        peer = kind = None
        if state == "up":
            pci = self._questions.ask(scratch, f"p.{link}", nvml.nvmlDeviceGetNvLinkRemotePciInfo, self._handle, link)
            peer = text(pci.busId) if pci is not None else None
            kind = self._questions.ask(
                scratch, f"t.{link}", nvml.nvmlDeviceGetNvLinkRemoteDeviceType, self._handle, link
            )
        return NvLinkPort(
            index=link,
            version=_VERSIONS.get(version) if version is not None else None,
            peer=peer,
            peer_type=_PEERS.get(kind) if kind is not None else None,  # type: ignore[arg-type]  # the table's words
        )

    def _errors(self, link: int) -> dict[str, int] | None:
        scratch = NvLinks()
        errors: dict[str, int] = {}
        for name, counter in _COUNTERS.items():
            # Remembered per counter, not per link: what one link lacks, all lack.
            value = plausible.count(
                self._questions.ask(
                    scratch, f"e.{name}", nvml.nvmlDeviceGetNvLinkErrorCounter, self._handle, link, counter
                )
            )
            if value is not None:
                errors[name] = value
        if errors:
            return errors
        return self._field_errors(link)

    def _field_errors(self, link: int) -> dict[str, int] | None:
        if self._fields is None:
            wanted = [(field, port) for port in self._wired for field in _FIELD_COUNTERS.values()]
            self._fields = FieldBatch(wanted, self._clock)
        if not self._fields_fetched:
            self._fields.fetch(self._handle)
            self._fields_fetched = True
        found = {name: plausible.count(self._fields.whole(field, link)) for name, field in _FIELD_COUNTERS.items()}
        return {name: value for name, value in found.items() if value is not None} or None


def text(raw: bytes | str) -> str | None:
    """A name from the driver as text, whatever bytes it holds."""
    words = raw.decode("utf-8", "backslashreplace") if isinstance(raw, bytes) else raw
    return words.strip() or None
