"""docs/dcgm.md: its tables, written from the fields as they are declared."""

from collections.abc import Iterable

from gpuwatch_exporters.dcgm_fields import FIELDS, DcgmField

MARK = "<!-- Everything below is written from the table in gpuwatch_exporters/dcgm_fields.py by `make golden`. -->\n"
_DERIVED = {
    "DCGM_FI_DEV_XID_ERRORS": "`xids`, the code seen last",
    "DCGM_FI_DEV_FB_FREE": "`memory_total_bytes` less used and reserved",
    "DCGM_FI_DEV_FB_USED_PERCENT": "used over used and free",
    "DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL": "`nvlink.tx_bytes_per_s` and `rx_bytes_per_s`, in KiB/s over 1000",
    "DCGM_FI_DEV_CLOCK_THROTTLE_REASONS": "`throttle_reasons`, as NVML's bits",
    "DCGM_FI_DEV_CLOCKS_EVENT_REASONS": "`throttle_reasons`, as NVML's bits",
    "DCGM_FI_DEV_THERMAL_VIOLATION": "`throttle_seconds.sw_thermal` and `hw_thermal`, added",
    "DCGM_FI_DEV_NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL": "`nvlink.links[].errors.crc_flit`, added",
    "DCGM_FI_DEV_NVLINK_CRC_DATA_ERROR_COUNT_TOTAL": "`nvlink.links[].errors.crc_data`, added",
    "DCGM_FI_DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL": "`nvlink.links[].errors.replay`, added",
    "DCGM_FI_DEV_NVLINK_RECOVERY_ERROR_COUNT_TOTAL": "`nvlink.links[].errors.recovery`, added",
}
_TITLES = {
    "default": "What dcgm-exporter exports by default",
    "activity": "Activity and memory",
    "power": "Power, temperatures, clocks",
    "throttling": "Throttling",
    "health": "Memory health",
    "links": "Links",
    "modes": "Modes",
}


def describe_fields() -> str:
    """What stands below the mark."""
    return "".join(f"\n### {_TITLES[name]} (`collect[]={name}`)\n\n{_table(fields)}" for name, fields in FIELDS.items())


def _table(fields: Iterable[DcgmField]) -> str:
    rows = [
        (
            f"`{field.name}`",
            field.kind,
            field.help,
            f"`{field.path}`{_factor(field)}" if field.path else _DERIVED[field.name],
        )
        for field in fields
    ]
    head = ("field", "type", "HELP", "from the frame's")
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _factor(field: DcgmField) -> str:
    factors = {1.0: "", 0.01: " / 100", 1000.0: " × 1000", 1e9: " × 10⁹", 1 / (1 << 20): " / 2²⁰"}
    return factors[field.scale]
