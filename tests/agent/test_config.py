import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from gpuwatch_agent.config import Config, load_config
from gpuwatch_agent.detectors.base import Detector
from gpuwatch_agent.detectors.registry import DETECTORS
from gpuwatch_agent.model.errors import UsageError
from gpuwatch_agent.settings import all_settings, describe_settings

DOCUMENT = Path(__file__).parents[2] / "docs" / "configuration.md"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def complaint(file: Path | None, environ: dict[str, str] | None = None, flags: dict[str, object] | None = None) -> str:
    with pytest.raises(UsageError) as raised:
        load_config(file, environ or {}, flags or {})
    return str(raised.value)


def test_nothing_given_means_the_defaults() -> None:
    """Without file, environment and flags the declared defaults hold."""
    config = load_config(None, {}, {})
    assert config == Config()
    assert (config.agent.listen, config.sampling.interval_s, config.history.seconds) == ("127.0.0.1:9489", 1.0, 3600)


def test_file_environment_flags_in_that_order(file: Path) -> None:
    """Each source overrides the one before it, and leaves alone what it does not name."""
    file.write_text("[sampling]\ninterval_s = 0.2\nmedium_s = 3\nslow_s = 20\n")
    config = load_config(
        file, {"GPUWATCH_SAMPLING_MEDIUM_S": "4", "GPUWATCH_SAMPLING_SLOW_S": "30"}, {"sampling.slow_s": 40}
    )
    assert (config.sampling.interval_s, config.sampling.medium_s, config.sampling.slow_s) == (0.2, 4.0, 40.0)


def test_every_mistake_is_named_at_once_with_file_and_line(file: Path) -> None:
    """All mistakes of all sources come in one error, each with where it stands and what is allowed."""
    file.write_text(
        '# mine\n[sampling]\nintervall_s = 1\nmedium_s = 0\n\n[agnet]\nx = 1\n[agent]\nlisten = "nowhere"\n'
    )
    text = complaint(file, {"GPUWATCH_HISTORY_SECONDS": "x"}, {"sampling.interval_s": 0.01})
    assert f"{file}, line 3: no setting sampling.intervall_s. Did you mean interval_s?" in text
    assert f"{file}, line 4: sampling.medium_s can't be 0: allowed is a number from 0.1 to 600." in text
    assert f"{file}, line 6: no section [agnet]. Did you mean agent?" in text
    assert f"{file}, line 9: agent.listen can't be 'nowhere': allowed is HOST:PORT" in text
    assert "environment: GPUWATCH_HISTORY_SECONDS can't be 'x': allowed is a whole number from 60 to 86400." in text
    assert "command line: --interval can't be 0.01" in text
    assert text.startswith("6 settings are wrong, so nothing was started")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("sampling.interval_s = 0\n", 1),
        ('\n"sampling"."interval_s" = 0\n', 2),
        ("history = { seconds = 60 }\nsampling = { medium_s = 1, interval_s = 0 }\n", 2),
        ('[collectors]\ndisable = [\n  "a", # [sampling]\n  "b",\n]\n[sampling] # here\n  interval_s = 0\n', 7),
        ('[hardware]\nkmsg = """\n[sampling]\ninterval_s = 9\n"""\n[sampling]\r\ninterval_s = 0\n', 7),
        ("[hardware]\nkmsg = ''''quoted' and '''\n[sampling]\ninterval_s=0", 4),
        ('[sampling]\n"interval\\u005fs" = 0\n', 2),
    ],
)
def test_the_line_is_found_however_it_is_written(file: Path, text: str, line: int) -> None:
    """Sections, dotted and quoted keys, inline tables, lists and long strings do not lead astray."""
    file.write_text(text, newline="")
    assert f"{file}, line {line}: sampling.interval_s can't be 0" in complaint(file)


@pytest.mark.parametrize("value", ["true", '"1"', "[1]", "nan", "inf", "-1", "1979-05-27"])
def test_a_value_of_another_kind_is_refused(file: Path, value: str) -> None:
    """Neither a boolean nor text nor what is no number passes for a number."""
    file.write_text(f"[sampling]\ninterval_s = {value}\n")
    assert "allowed is a number from 0.1 to 3600" in complaint(file)


def test_thresholds_that_contradict_each_other_are_named(file: Path) -> None:
    """Each fine by itself: together they would make a finding that can't be."""
    file.write_text(
        "[findings.thermal_throttle]\nwarning_loss = 0.3\n[findings.high_temperature]\nmargin_c = 10\n"
        "[findings.power_brake]\ncritical_share = 0.005\n"
    )
    text = complaint(file)
    assert "[findings.thermal_throttle]: warning_loss (0.3) is above critical_loss (0.25)." in text
    assert "[findings.high_temperature]: margin_c (10) is above margin_to_clear_c (8)." in text
    assert "[findings.power_brake]: least_share (0.01) is above critical_share (0.005)." in text


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda one: one.kind)
def test_every_pair_that_can_contradict_itself_is_refused(file: Path, detector: Detector[Any]) -> None:
    """Of each kind: a lower step set above the next is named with both values, and nothing is started."""
    settings = detector.settings()
    for low, high in detector.settings.ascending:
        above = getattr(settings, high) * 1.5
        within = type(getattr(settings, low))(above)
        file.write_text(f"[findings.{detector.kind}]\n{low} = {within}\n")
        sentence = f"[findings.{detector.kind}]: {low} ({within:g}) is above {high} ({getattr(settings, high):g})."
        assert sentence in complaint(file)


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda one: one.kind)
def test_no_pair_of_steps_is_forgotten(detector: Detector[Any]) -> None:
    """Settings whose names tell steps of one thing, or where it begins and ends, are declared in their order."""
    # How long it takes to raise and to clear are of every kind and go together in any order.
    names = [name for name in detector.settings.__struct_fields__ if name not in {"raise_after_s", "clear_after_s"}]
    steps = {
        frozenset((name, other))
        for name, other in itertools.combinations(names, 2)
        if _without_step(name) == _without_step(other) or other == f"{name.removesuffix('_c')}_to_clear_c"
    }
    assert steps <= _joined(detector.settings.ascending)


def _without_step(name: str) -> str:
    """`crc_critical_per_min` is a step of `crc_per_min`, and `least_share` one of `critical_share`."""
    steps = ("info", "warning", "critical", "least", "most", "min", "max", "raise", "clear")
    words = name.split("_")
    return "_".join(
        word for place, word in enumerate(words) if word not in steps or words[place - 1 : place] == ["per"]
    )


def _joined(pairs: Sequence[tuple[str, str]]) -> set[frozenset[str]]:
    """All that is in order because of these, also by way of a third."""
    joined = {frozenset(pair) for pair in pairs}
    return joined | {one ^ other for one in joined for other in joined if len(one ^ other) == 2}


@pytest.mark.parametrize("listen", ["127.0.0.1:9489", "[::1]:1", "node07:65535", "0.0.0.0:0"])
def test_addresses_that_are_accepted(listen: str) -> None:
    """Names, IPv4, bracketed IPv6 and every port are fine."""
    assert load_config(None, {}, {"agent.listen": listen}).agent.listen == listen


@pytest.mark.parametrize("listen", ["9489", ":9489", "::1:9489", "host:65536", "host:", "http://host:1", "a b:1"])
def test_addresses_that_are_refused(listen: str) -> None:
    """What can't be listened on is told before anything starts."""
    assert "--listen can't be" in complaint(None, flags={"agent.listen": listen})


def test_environment_speaks_text() -> None:
    """Booleans, numbers and lists are read from the environment's text."""
    config = load_config(
        None,
        {
            "GPUWATCH_AGENT_INSECURE_NO_AUTH": "yes",
            "GPUWATCH_COLLECTORS_DISABLE": "codecs, profile",
            "GPUWATCH_HARDWARE_SEED": "7",
            "GPUWATCH_HARDWARE_EVENTS": "0",
        },
        {},
    )
    assert config.agent.insecure_no_auth is True
    assert config.collectors.disable == ["codecs", "profile"]
    assert (config.hardware.seed, config.hardware.events) == (7, False)


def test_environment_mistakes_are_named() -> None:
    """A misspelt variable of ours is an error, not silence."""
    text = complaint(None, {"GPUWATCH_SAMPLING_INTREVAL_S": "1", "GPUWATCH_HARDWARE_EVENTS": "maybe"})
    assert "no setting GPUWATCH_SAMPLING_INTREVAL_S. Did you mean interval_s?" in text
    assert "GPUWATCH_HARDWARE_EVENTS can't be 'maybe': allowed is true or false" in text


def test_variables_that_kubernetes_adds_are_not_ours() -> None:
    """A service named gpuwatch-agent puts such variables into every container beside it."""
    links = {
        "GPUWATCH_AGENT_SERVICE_HOST": "10.0.0.7",
        "GPUWATCH_AGENT_SERVICE_PORT_METRICS": "9489",
        "GPUWATCH_AGENT_PORT": "tcp://10.0.0.7:9489",
        "GPUWATCH_AGENT_PORT_9489_TCP_ADDR": "10.0.0.7",
        "GPUWATCH_REWRITE_GOLDEN": "1",
    }
    assert load_config(None, links, {}) == Config()


def test_a_syntax_error_is_told_with_its_line(file: Path) -> None:
    """Tomllib's own position reaches the reader."""
    file.write_text("[sampling]\ninterval_s = \n")
    assert f"{file} is not valid TOML: Invalid value (at line 2, column 14)." in complaint(file)


def test_a_section_that_is_no_section(file: Path) -> None:
    """A value where a section belongs is told as such."""
    file.write_text("sampling = 1\n")
    assert "line 1: sampling is a section: write [sampling] and its keys below it." in complaint(file)


@pytest.mark.parametrize("by", ["path", "environment"])
def test_a_named_file_must_exist(tmp_path: Path, by: str) -> None:
    """Who names a file wants it read, so its absence is an error."""
    missing = tmp_path / "none.toml"
    environ = {"GPUWATCH_CONFIG": str(missing)} if by == "environment" else {}
    assert f"{missing} does not exist" in complaint(missing if by == "path" else None, environ)


def test_the_first_usual_place_that_has_a_file(tmp_path: Path) -> None:
    """XDG_CONFIG_HOME goes before HOME."""
    for place, seconds in ((tmp_path / "xdg", 100), (tmp_path / "home/.config", 200)):
        (place / "gpuwatch").mkdir(parents=True)
        (place / "gpuwatch/config.toml").write_text(f"[history]\nseconds = {seconds}\n")
    home = {"HOME": str(tmp_path / "home")}
    assert load_config(None, home, {}).history.seconds == 200
    assert load_config(None, {**home, "XDG_CONFIG_HOME": str(tmp_path / "xdg")}, {}).history.seconds == 100


@pytest.mark.parametrize("home", ["", "/nonexistent", "/dev/null", "/proc/1/fd/x", "x" * 5000])
def test_a_home_that_is_not_there_does_no_harm(home: str) -> None:
    """Whatever HOME says, the defaults hold."""
    assert load_config(None, {"HOME": home}, {}) == Config()


def test_a_file_that_is_not_text(file: Path) -> None:
    """Bytes that are no UTF-8 are told, with the place."""
    file.write_bytes(b"[agent]\n\xff")
    assert "is not UTF-8 text (byte 8)" in complaint(file)


def test_a_directory_in_place_of_the_file(tmp_path: Path) -> None:
    """What can't be read is told in the system's words."""
    assert f"{tmp_path} can't be read: is a directory." in complaint(tmp_path)


def test_every_setting_can_be_set_by_its_environment_name() -> None:
    """The names in the documentation work, each with its own default."""
    for setting in all_settings():
        if setting.default is None:
            continue
        text = ",".join(setting.default) if isinstance(setting.default, list) else str(setting.default)
        loaded = load_config(None, {setting.environment_name: text}, {})
        kind = setting.section.removeprefix("findings.")
        given = {kind: {setting.name: setting.default}} if "." in setting.section else {}
        assert loaded == Config(findings=given), setting.path


@pytest.mark.golden
def test_the_documentation_is_in_step() -> None:
    """docs/configuration.md is what the declarations say."""
    if os.environ.get("GPUWATCH_REWRITE_GOLDEN"):
        DOCUMENT.write_text(describe_settings(), encoding="utf-8")
    assert DOCUMENT.read_text(encoding="utf-8") == describe_settings()


def test_an_unknown_collector_is_named(tmp_path: Path) -> None:
    """A misspelt collector would go on being read without a word."""
    file = tmp_path / "config.toml"
    file.write_text('[collectors]\ndisable = ["codec"]\n')
    said = complaint(file)
    assert "line 2: collectors.disable names no collector 'codec'. Did you mean codecs?" in said


def test_the_agent_may_listen_on_a_path() -> None:
    """A socket in the file system, for those who want no port at all."""
    assert load_config(None, {"GPUWATCH_AGENT_LISTEN": "unix:/run/gpuwatch.sock"}, {}).agent.listen.startswith("unix:")
