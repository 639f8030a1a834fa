"""What a site has a say in."""

from msgspec import Struct

from gpuwatch_agent.config import Config


class Options(Struct, frozen=True, kw_only=True):
    """How much is told of what has no natural bound, and what the configuration says of groups and Xids."""

    processes_per_gpu: int = 8
    jobs_per_gpu: int = 8
    groups: dict[str, list[int]] = {}
    """Declared groups of GPUs."""
    xid_overrides: str | None = None


def options_from(config: Config) -> Options:
    """The exporter's part of the configuration."""
    overrides = config.findings.get("xid", {}).get("overrides_file")
    return Options(
        processes_per_gpu=config.metrics.processes,
        jobs_per_gpu=config.metrics.jobs,
        groups=config.groups,
        xid_overrides=overrides if isinstance(overrides, str) else None,
    )
