"""`config.toml` and what overrides it. A setting is declared once, as a field with its range and its meaning.

To add a section: one struct, one field in `Config`. To add a setting: one field. Everything else follows from these:
the file's keys, the environment's names, what is said of a wrong value, and docs/configuration.md.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

# A pattern of `Meta` itself would be compiled at import, under every command; this one when it is needed.
_HOST_PORT = (
    r"unix:/.+|(\[[0-9A-Fa-f:.%]+\]|[^:/\s\[\]]+)"
    r":(\d{1,4}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d{2}|655[0-2]\d|6553[0-5])"
)


class AgentSection(Struct, frozen=True, kw_only=True):
    """Where the agent listens and whom it answers."""

    listen: Annotated[
        str,
        Meta(
            description="Address and port of the API and of `/metrics`. Off loopback a token is needed.",
            extra={
                "flag": "--listen",
                "allowed": "HOST:PORT, as 127.0.0.1:9489 or [::1]:9489, or unix:/PATH",
                "pattern": _HOST_PORT,
            },
        ),
    ] = "127.0.0.1:9489"
    token_file: Annotated[
        str | None,
        Meta(
            description="A file whose first line is the token that readers off loopback, and all control, must send.",
            extra={"flag": "--token-file", "allowed": "a path"},
        ),
    ] = None
    insecure_no_auth: Annotated[
        bool,
        Meta(
            description="Answer off loopback without a token. Whoever reaches the port can then read everything.",
            extra={"flag": "--insecure-no-auth"},
        ),
    ] = False
    allowed_hosts: Annotated[
        list[str],
        Meta(
            description="Names under which the agent may be addressed (the `Host` header), beside its address, its host "
            "name and localhost.",
            extra={"allowed": 'a list of host names, as ["gpu07.example.org"]'},
        ),
    ] = []


class SamplingSection(Struct, frozen=True, kw_only=True):
    """How often what is read, and how long a driver call may take."""

    interval_s: Annotated[
        float,
        Meta(
            description="The fast tier: utilisation, memory, power, clocks, throttling. Above 2 s nothing is said of groups "
            "that work in step, for which values are too few.",
            ge=0.1,
            le=3600,
            extra={"flag": "--interval"},
        ),
    ] = 1.0
    medium_s: Annotated[
        float, Meta(description="The medium tier: processes, PCIe link, fans, video engines, the host.", ge=0.1, le=600)
    ] = 2.0
    slow_s: Annotated[
        float,
        Meta(
            description="The slow tier: limits, NVLink ports, memory and PCIe errors, modes, MIG, the list of GPUs.",
            ge=0.1,
            le=3600,
        ),
    ] = 10.0
    deadline_s: Annotated[
        float,
        Meta(description="How long one reading of a GPU may take before the others go on without it.", ge=0.05, le=30),
    ] = 0.5
    stale_after_s: Annotated[
        float, Meta(description="A GPU whose values are older than this is shown as stale.", ge=0.2, le=600)
    ] = 3.0


class HistorySection(Struct, frozen=True, kw_only=True):
    """What the agent remembers."""

    seconds: Annotated[int, Meta(description="How far back the series go, at one value a second.", ge=60, le=86400)] = (
        3600
    )


class CollectorsSection(Struct, frozen=True, kw_only=True):
    """What is read at all."""

    disable: Annotated[
        list[str],
        Meta(
            description="Collectors to leave out, by name (`gpuwatch status --json` names them under `agent.collectors`; `host` can't be left out).",
            extra={"allowed": 'a list of names, as ["codecs"]'},
        ),
    ] = []


class AttributionSection(Struct, frozen=True, kw_only=True):
    """How processes and their groups are found out."""

    nccl_ras: Annotated[
        bool,
        Meta(
            description="Ask NCCL which processes work together (its RAS service, NCCL 2.28.7 and later). It contacts every "
            "rank of the job, and whoever holds the port is believed: for machines whose users trust each other."
        ),
    ] = False
    nccl_ras_address: Annotated[
        str,
        Meta(
            description="Where that service listens, as NCCL_RAS_ADDR tells the jobs.",
            extra={"allowed": "HOST:PORT, as localhost:28028", "pattern": _HOST_PORT},
        ),
    ] = "localhost:28028"
    nccl_ras_every_s: Annotated[float, Meta(description="How often it is asked.", ge=30, le=3600)] = 60.0


class HardwareSection(Struct, frozen=True, kw_only=True):
    """Which hardware is read."""

    simulate: Annotated[
        str,
        Meta(
            description="A simulated machine instead of the NVIDIA driver; `gpuwatch sims` lists the names.",
            extra={"flag": "--sim", "allowed": "a name that `gpuwatch sims` lists, or empty"},
        ),
    ] = ""
    seed: Annotated[int, Meta(description="Makes a simulated machine's chance repeatable.", ge=0, le=2**32 - 1)] = 0
    events: Annotated[bool, Meta(description="Watch for Xid events.")] = True
    kmsg: Annotated[
        str,
        Meta(
            description="The kernel log, read for Xids where the driver reports no events; empty to leave it alone.",
            extra={"allowed": "a path, or empty"},
        ),
    ] = "/dev/kmsg"


class DcgmSection(Struct, frozen=True, kw_only=True):
    """Metrics under the names of NVIDIA's dcgm-exporter, for dashboards and rules that know those; see docs/dcgm.md."""

    compat: Annotated[
        bool,
        Meta(
            description="`/metrics` speaks DCGM's names unless asked for `?format=native`.",
            extra={"flag": "--dcgm-compat"},
        ),
    ] = False
    host_label: Annotated[
        Literal["Hostname", "hostname", "both"],
        Meta(
            description="The label that names the node: `Hostname` up to dcgm-exporter 4.5, `hostname` since.",
            extra={"allowed": '"Hostname", "hostname" or "both"'},
        ),
    ] = "Hostname"


class NotifySection(Struct, frozen=True, kw_only=True):
    """Who is told of findings, where no Prometheus does it. `gpuwatch notify --test` tries it out."""

    urls: Annotated[
        list[str],
        Meta(
            description="Addresses as Apprise writes them: Slack, Discord, ntfy, mail and a hundred more. Takes the extra "
            "`notify`. They hold secrets: they are never shown, and the file should be its owner's alone.",
            extra={"allowed": 'a list of Apprise URLs, as ["ntfy://topic"]', "secret": True},
        ),
    ] = []
    webhook: Annotated[
        str | None,
        Meta(
            description="Gets every message as JSON by POST.",
            extra={"allowed": "an http:// or https:// URL", "pattern": r"https?://[^\s/]+(/\S*)?", "secret": True},
        ),
    ] = None
    min_severity: Annotated[
        Literal["info", "warning", "critical"],
        Meta(description="What is below is not told.", extra={"allowed": '"info", "warning" or "critical"'}),
    ] = "warning"
    quiet_kinds: Annotated[
        list[str],
        Meta(
            description="Kinds of findings that are never told.",
            extra={"allowed": 'a list of kinds, as ["power_throttle"]'},
        ),
    ] = []
    group_s: Annotated[
        float, Meta(description="Findings within so many seconds go out as one message.", ge=0, le=3600)
    ] = 30.0
    repeat_every_s: Annotated[
        float, Meta(description="How often what lasts is told again; 0 for never.", ge=0, le=604800)
    ] = 14400.0
    most_per_hour: Annotated[
        int, Meta(description="More messages than this are held back and told as one.", ge=1, le=3600)
    ] = 20
    timeout_s: Annotated[float, Meta(description="How long one POST to the webhook may take.", ge=0.1, le=120)] = 10.0


class MetricsSection(Struct, frozen=True, kw_only=True):
    """How much `/metrics` tells of what has no natural bound. Every process and every job that ever was is a series that Prometheus keeps."""

    processes: Annotated[
        int,
        Meta(
            description="Series for so many processes of each GPU, those with most memory; 0 for none.", ge=0, le=1024
        ),
    ] = 8
    jobs: Annotated[
        int, Meta(description="So many jobs of each GPU are named, those with most memory; 0 for none.", ge=0, le=1024)
    ] = 8


class DashboardSection(Struct, frozen=True, kw_only=True):
    """How the dashboard looks and behaves. F2 changes it while it runs and saves it; see docs/dashboard.md."""

    theme: Annotated[
        Literal["dark", "light", "contrast", "colour-blind"],
        Meta(
            description="Its colours. Where NO_COLOR is set there are none.",
            extra={"allowed": '"dark", "light", "contrast" or "colour-blind"'},
        ),
    ] = "dark"
    ascii: Annotated[
        Literal["auto", "always", "never"],
        Meta(
            description="Letters, bars and frames in ASCII only; by itself where the locale is not UTF-8.",
            extra={"allowed": '"auto", "always" or "never"'},
        ),
    ] = "auto"
    reduced_motion: Annotated[
        Literal["auto", "always", "never"],
        Meta(
            description="No animations, and one picture a second at most; by itself over SSH.",
            extra={"allowed": '"auto", "always" or "never"'},
        ),
    ] = "auto"
    mouse: Annotated[
        bool,
        Meta(description="Take the mouse. Without it the terminal selects and copies as ever. Read at start."),
    ] = True
    read_only: Annotated[
        bool, Meta(description="Nothing on the machine is changed from the dashboard: no signals, no other pace.")
    ] = False
    history_s: Annotated[
        int,
        Meta(
            description="How many seconds the charts of one GPU show at first: the nearest of 120, 300, 600, 1200 and 3600.",
            ge=120,
            le=3600,
        ),
    ] = 300


class ProbesSection(Struct, frozen=True, kw_only=True):
    """Measurements on demand: `gpuwatch probe`; see docs/probes.md."""

    directory: Annotated[
        str | None,
        Meta(
            description="Where their results lie, $XDG_STATE_HOME/gpuwatch/probes (~/.local/state) unless set. An agent that "
            "runs as another user than who measures needs the same folder to show them.",
            extra={"allowed": "a path"},
        ),
    ] = None
    keep: Annotated[int, Meta(description="How many results are kept; older ones go.", ge=1, le=10000)] = 200


class Config(Struct, frozen=True, kw_only=True):
    """Everything that can be set, by section."""

    agent: AgentSection = AgentSection()
    sampling: SamplingSection = SamplingSection()
    history: HistorySection = HistorySection()
    collectors: CollectorsSection = CollectorsSection()
    attribution: AttributionSection = AttributionSection()
    hardware: HardwareSection = HardwareSection()
    dcgm: DcgmSection = DcgmSection()
    notify: NotifySection = NotifySection()
    metrics: MetricsSection = MetricsSection()
    dashboard: DashboardSection = DashboardSection()
    keys: dict[str, str] = {}
    """Keys of the dashboard that are bound anew, by the binding's id; the dashboard knows which there are."""
    probes: ProbesSection = ProbesSection()
    groups: dict[str, list[int]] = {}
    """Declared groups of GPUs that work in step, by name; they override what is inferred."""
    findings: dict[str, dict[str, Any]] = {}
    """What is set of single kinds of findings; their settings are declared beside their detectors."""


def load_config(
    path: Path | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, object] | None = None,
) -> Config:
    """Defaults, then the file, then the environment, then flags (`{"sampling.interval_s": 0.5}`); all mistakes at once."""
    environ = {} if environ is None else environ
    file = config_file(path, environ)
    if file is None and not overrides and not any(name.startswith("GPUWATCH_") for name in environ):
        return Config()
    from gpuwatch_agent.settings import merge  # only who configures something pays for the checks

    return merge(file, environ, overrides or {})


def config_file(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The file that was named, else the first that exists."""
    if path is not None:
        return path
    if environ.get("GPUWATCH_CONFIG"):
        return Path(environ["GPUWATCH_CONFIG"])
    own = own_config_file(environ)
    candidates = [*([own] if own is not None else []), Path("/etc/gpuwatch/config.toml")]
    return next((candidate for candidate in candidates if _exists(candidate)), None)


def own_config_file(environ: Mapping[str, str]) -> Path | None:
    """Where the user's own file is, or would be."""
    home = environ.get("XDG_CONFIG_HOME") or (f"{environ['HOME']}/.config" if environ.get("HOME") else "")
    return Path(home, "gpuwatch/config.toml") if home else None


def _exists(path: Path) -> bool:
    """Whether there is such a file; a home that may not be entered counts as empty."""
    try:
        return path.is_file()
    except OSError:
        return False
