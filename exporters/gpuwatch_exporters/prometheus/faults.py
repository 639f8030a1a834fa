"""Health: memory errors, the driver's own verdict, and Xids."""

from functools import lru_cache

from gpuwatch_agent.detectors.xid_table import look_up, xid_table
from gpuwatch_agent.model.metrics import GPU_SUBJECTS
from gpuwatch_exporters.prometheus.family import Family, Page, Subject, View
from gpuwatch_exporters.prometheus.gpus import GPU, answering, identity, specs_writer

RECOVERY_ACTIONS = ("none", "reset", "reboot", "drain_p2p", "drain_and_reset")
_COMMON_APPLICATION_XIDS = (13, 31, 43, 45, 94)

RECOVERY = Family(
    name="gpuwatch_gpu_recovery_action",
    help="1 for what the driver asks for to bring the GPU back, 0 for the others.",
    labels=(*GPU, "action"),
    source="field 230",
    path="recovery_action",
)
XID_ERRORS = Family(
    name="gpuwatch_gpu_xid_errors_total",
    kind="counter",
    help="Xids seen since the agent began to watch, by code; class and severity as the table of Xids has them.",
    labels=(*GPU, "xid", "class", "severity"),
    source="NVML events, or the kernel log",
    path="xids[].count",
)
XID_LAST_SEEN = Family(
    name="gpuwatch_gpu_xid_last_seen_timestamp_seconds",
    help="When the Xid was last seen.",
    labels=(*GPU, "xid"),
    source="NVML events, or the kernel log",
    path="xids[].last_seen",
)


@lru_cache(maxsize=1)
def _watched(overrides: str | None) -> tuple[tuple[str, str, str], ...]:
    """Codes that start at 0, because `increase()` needs something to increase from: what pages, and what is common."""
    table = xid_table(overrides)
    return tuple(
        (str(code), entry.kind, entry.severity)
        for code, entry in sorted(table.items())
        if entry.severity == "critical" or code in _COMMON_APPLICATION_XIDS
    )


def _write_recovery(view: View, page: Page) -> None:
    actions = page.of(RECOVERY)
    for gpu in answering(view):
        if gpu.recovery_action is not None:
            mine = identity(gpu)
            for action in dict.fromkeys((*RECOVERY_ACTIONS, gpu.recovery_action)):
                actions[(*mine, action)] = action == gpu.recovery_action


def _write_xids(view: View, page: Page) -> None:
    """The agent's own counts, which are also true of a GPU that is gone."""
    counts, last_seen = page.of(XID_ERRORS), page.of(XID_LAST_SEEN)
    watched = _watched(view.options.xid_overrides)
    for gpu in view.frame.gpus:
        if gpu.xids is None:
            continue
        mine = identity(gpu)
        for labels in watched:
            counts[mine + labels] = 0
        for xid in gpu.xids:
            entry = look_up(xid.code, view.options.xid_overrides)
            counts[(*mine, str(xid.code), entry.kind, entry.severity)] = xid.count
            last_seen[(*mine, str(xid.code))] = xid.last_seen


_health, _write_health = specs_writer(GPU_SUBJECTS["health"])

HEALTH = Subject(
    name="health",
    help="ECC, remapped rows, retired pages, modes, recovery action",
    families=(*_health, RECOVERY),
    writers=(_write_health, _write_recovery),
)
XIDS = Subject(
    name="xids", help="Xids by code, and when last seen", families=(XID_ERRORS, XID_LAST_SEEN), writers=(_write_xids,)
)
