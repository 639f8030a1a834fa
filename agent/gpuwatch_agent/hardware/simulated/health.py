"""What a simulated board says of its links, its memory and its settings."""

from gpuwatch_agent.hardware.base import MemoryHealth, Modes, NvLinks, PcieHealth
from gpuwatch_agent.hardware.simulated.boards import Board
from gpuwatch_agent.hardware.simulated.conditions import Conditions
from gpuwatch_agent.hardware.simulated.machines import Machine
from gpuwatch_agent.hardware.simulated.node import Birthmarks
from gpuwatch_agent.model.absence import Absence
from gpuwatch_agent.model.gpu import Ecc, Fabric, NvLinkPort, RemappedRows, RetiredPages

_RECOVERY_ACTION_SINCE = 570
_NOISY_LINK = 2
_PCIE_ERRORS = (
    "correctable",
    "naks_received",
    "receiver",
    "bad_tlp",
    "naks_sent",
    "bad_dllp",
    "non_fatal",
    "fatal",
    "unsupported_request",
    "lcrc",
    "lane",
)


def pcie(board: Board, birth: Birthmarks, errors: float) -> PcieHealth:
    """Replays and the counters beside them; each replay is a packet that was not acknowledged."""
    reading = PcieHealth(replays=birth.replays + int(errors))
    if not board.has_pcie_counters:
        reading.absent["errors"] = Absence.NOT_SUPPORTED
        return reading
    counted = dict.fromkeys(_PCIE_ERRORS, 0)
    counted["correctable"] = counted["naks_received"] = birth.replays + int(errors)
    counted["bad_tlp"] = counted["lcrc"] = int(errors * 0.4)
    reading.errors = counted
    return reading


def nvlinks(machine: Machine, gpu: int, birth: Birthmarks, down: frozenset[int], errors: float) -> NvLinks:
    """Every port; those of a board that is wired to nothing are there, and down."""
    board = machine.board
    wired = machine.links[gpu] if machine.links else ()
    ports = []
    for link in range(board.nvlinks):
        if link >= len(wired) or link in down:
            ports.append(NvLinkPort(index=link, state="down", version=board.nvlink_version))
            continue
        port = wired[link]
        noisy = int(errors) if link == _NOISY_LINK else 0
        ports.append(
            NvLinkPort(
                index=link,
                state="up",
                version=board.nvlink_version,
                peer=port.switch if port.gpu is None else f"00000000:{machine.bus[port.gpu]}:00.0",
                peer_type="switch" if port.gpu is None else "gpu",
                errors={
                    "replay": birth.link_replays[link] + noisy,
                    "recovery": noisy // 200,
                    "crc_flit": noisy,
                    "crc_data": noisy // 8,
                },
            )
        )
    return NvLinks(links=ports)


def memory(board: Board, birth: Birthmarks, now: Conditions, corrected: int, uncorrected: int) -> MemoryHealth:
    """Errors, and rows or pages taken out of use."""
    reading = MemoryHealth()
    if board.has_ecc:
        reading.ecc = Ecc(
            enabled=True,
            corrected=birth.corrected + corrected,
            uncorrected=uncorrected,
            corrected_volatile=corrected,
            uncorrected_volatile=uncorrected,
        )
    else:
        reading.absent["ecc"] = Absence.NOT_SUPPORTED
    if board.has_row_remapping:
        bad = int(now.rows_pending)
        reading.remapped_rows = RemappedRows(
            corrected=birth.remapped, uncorrected=bad, pending=now.rows_pending, failed=now.rows_failed
        )
    else:
        reading.absent["remapped_rows"] = Absence.NOT_SUPPORTED
    if board.has_retired_pages:
        reading.retired_pages = RetiredPages(
            single_bit=birth.remapped, double_bit=int(now.rows_pending), pending=now.rows_pending
        )
    else:
        reading.absent["retired_pages"] = Absence.NOT_SUPPORTED
    return reading


def modes(machine: Machine, gpu: int, now: Conditions) -> Modes:
    """Settings and the driver's verdict, which drivers give since R570."""
    reading = Modes(
        persistence_mode=machine.persistence_mode,
        compute_mode="default",
        display_active=machine.display_gpu == gpu,
    )
    if machine.board.has_fabric and machine.links:
        failed = now.fabric_failed
        reading.fabric = Fabric(
            state="completed",
            status="unknown error" if failed else "success",
            clique=0,
            healthy=not failed,
        )
    else:
        reading.absent["fabric"] = Absence.NOT_SUPPORTED
    if machine.driver_major() < _RECOVERY_ACTION_SINCE:
        reading.absent["recovery_action"] = Absence.DRIVER_TOO_OLD
    else:
        reading.recovery_action = "reset" if now.rows_pending else "none"
    return reading
