"""`gpuwatch check`: the verdict as exit code, as one line, as a report and as a document."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec import structs

from gpuwatch.checking import NotJudged, RemoteEyes, Seen, hurried, looks_for, watch
from gpuwatch.cli import check as check_command
from gpuwatch.cli import main
from gpuwatch.remote_source import RemoteSource
from gpuwatch_agent.config import Config
from gpuwatch_agent.detectors.registry import DETECTORS
from gpuwatch_agent.model.errors import AgentUnreachableError
from gpuwatch_agent.model.finding import Finding, Severity
from gpuwatch_agent.model.frame import Frame

KINDS = frozenset(detector.kind for detector in DETECTORS)


@pytest.fixture(autouse=True)
def no_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whoever runs the tests may have settings; these must not matter."""
    for name in [name for name in os.environ if name.startswith("GPUWATCH_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "100")


def finding(severity: Severity, gpu: int = 5, **changes: object) -> Finding:
    made = Finding(
        kind="gpu_lost",
        severity=severity,
        gpus=[gpu],
        since=1_763_674_200.0,
        summary=f"GPU {gpu} is in a {severity} state.",
        cause="It was dropped.",
        evidence={"sm_clock_mhz": 1065, "share": 0.53847, "bus": "0000:61:00.0", "unknown": None},
        action="Pick it up.",
        key=f"GPU-{gpu}",
    )
    return structs.replace(made, **changes)


class ScriptedEyes:
    """Shows one frame after the other; an exception in the script is raised in its turn."""

    least_looks = 1

    def __init__(self, script: Iterator[Frame | BaseException]) -> None:
        self._script = script
        self.closed = False

    def look(self) -> Frame:
        shown = next(self._script)
        if isinstance(shown, BaseException):
            raise shown
        return shown

    def not_judged(self) -> list[NotJudged]:
        return []

    def close(self) -> None:
        self.closed = True


Script = Callable[..., ScriptedEyes]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    """Lets `check` see these frames, the last one for ever."""

    def show(*frames: Frame | BaseException) -> ScriptedEyes:
        def forever() -> Iterator[Frame | BaseException]:
            yield from frames
            while True:
                yield frames[-1]

        eyes = ScriptedEyes(forever())
        monkeypatch.setattr(check_command, "LocalEyes", lambda _config, _seconds, _kinds: eyes)
        return eyes

    return show


@pytest.fixture
def healthy(frames: dict[str, Frame]) -> Frame:
    return frames["healthy"]


def found(frame: Frame, *findings: Finding, second: int = 0) -> Frame:
    return structs.replace(frame, findings=list(findings), taken_at=frame.taken_at + second)


def test_a_lost_gpu_is_critical(capsys: pytest.CaptureFixture[str]) -> None:
    """On a simulated machine, at once: exit 2, one line for monitoring, and what a person needs below it."""
    assert main(["check", "--sim", "dgx-h100-8+lost@3", "--for", "0", "--kinds", "gpu_lost"]) == 2
    told = capsys.readouterr()
    first, blank, title, *rest = told.out.splitlines()
    assert first.startswith("CRITICAL - SIMULATED GPU 3 is lost: ")
    assert first.endswith(" (8 GPUs) | gpus=8 critical=1 warning=0 info=0")
    assert blank == ""
    assert title.startswith("✖ gpu_lost  GPU 3  since ")
    assert [line.split()[0] for line in rest if line[2] != " "] == ["GPU", "why", "seen", "do", "more"]
    assert rest[-1] == "  more  gpuwatch runbook gpu_lost"
    assert told.err == ""


def test_a_healthy_machine_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing found: exit 0, and how long was looked."""
    assert main(["check", "--sim", "dgx-h100-8"]) == 0
    line = capsys.readouterr().out.splitlines()[0]
    assert line.startswith("OK - SIMULATED 8 GPUs (8×H100 80GB HBM3) on ")
    assert line.endswith(", nothing found in 15 s | gpus=8 critical=0 warning=0 info=0")


@pytest.mark.parametrize(("seconds", "code"), [("15", 0), ("60", 2)])
def test_what_comes_later_takes_a_longer_watch(seconds: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    """The simulated machine's own time passes: a GPU lost after 30 seconds is seen by who watches a minute."""
    assert main(["check", "--sim", "dgx-h100-8+lost@3~30", "--for", seconds, "--json", "--kinds", "gpu_lost"]) == code
    assert json.loads(capsys.readouterr().out)["watched_s"] == float(seconds)


@pytest.mark.parametrize("fault", ["pcie-errors", "nvlink-errors", "ecc-storm"])
def test_storms_of_errors_are_found_in_a_default_watch(fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    """They show by growing again and again, so a watch of 15 seconds reads their counters every second."""
    kind = {"ecc-storm": "ecc_uncorrected"}.get(fault, fault.replace("-", "_"))
    assert main(["check", "--sim", f"dgx-h100-8+{fault}@3", "--kinds", kind]) == 1
    assert f"▲ {kind}  GPU 3" in capsys.readouterr().out


def test_a_driver_that_goes_away_meanwhile_is_critical(capsys: pytest.CaptureFixture[str]) -> None:
    """It was there, so this is no machine that could not be looked at: all its GPUs are gone at once."""
    assert main(["check", "--sim", "dgx-h100-8+driver-gone~5"]) == 2
    out = capsys.readouterr().out
    assert out.startswith("CRITICAL - SIMULATED None of the 8 GPUs of this node can be reached")
    assert "✖ gpu_lost  GPU 0-7" in out
    assert "The NVIDIA driver is installed but not loaded." in out


def test_a_gpu_that_is_silent_all_along_is_critical(capsys: pytest.CaptureFixture[str]) -> None:
    """A job that starts there would hang: a prolog must not wait a minute to know."""
    assert main(["check", "--sim", "dgx-h100-8+hang@3", "--kinds", "gpu_stale"]) == 2
    assert "GPU 3 has not answered for 15 s" in capsys.readouterr().out


def test_a_slow_driver_is_waited_for_and_not_taken_for_a_silent_one(capsys: pytest.CaptureFixture[str]) -> None:
    """Its calls take real time, so simulated time must not run ahead of them: values that are late are no old ones."""
    assert main(["check", "--sim", "dgx-h100-8+slow@3", "--for", "3", "--kinds", "gpu_stale"]) == 0
    assert "nothing found in" in capsys.readouterr().out


def test_what_a_short_watch_cannot_tell_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing found is no verdict on what takes longer: that is listed with what it takes, the shortest first."""
    main(["check", "--sim", "dgx-h100-8+slow-rank@3"])
    told = capsys.readouterr().out.replace("\n  ", " ")
    assert "not judged: tp_imbalance: it takes --for 25; tp_stalled: it takes --for 45; slow_placement: it" in told
    assert main(["check", "--sim", "dgx-h100-8+slow-rank@3", "--for", "25", "--kinds", "tp_imbalance"]) == 1
    assert "not judged" not in capsys.readouterr().out


def test_what_this_user_may_not_read_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing found in what can't be seen is no verdict either."""
    main(["check", "--sim", "dgx-h100-8+no-permission@3-5", "--for", "2"])
    told = " ".join(capsys.readouterr().out.split())
    assert "dram_activity_pct of GPUs 3-5: this user may not read them, root may" in told


def test_what_an_xid_did_is_told_before_its_number(capsys: pytest.CaptureFixture[str]) -> None:
    """Both are critical; that the GPU is gone with its job is what a person has to know first."""
    assert main(["check", "--sim", "dgx-h100-8+lost@3", "--for", "5"]) == 2
    out = capsys.readouterr().out
    assert out.startswith("CRITICAL - SIMULATED GPU 3 is lost")
    assert out.index("✖ gpu_lost") < out.index("✖ xid")


def test_the_document(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """`--json` is one object with the verdict and the findings as the API gives them."""
    assert main(["check", "--sim", "dgx-h100-8+lost@3", "--for", "5", "--json", "--kinds", "gpu_lost"]) == 2
    document = json.loads(capfdbinary.readouterr().out)
    assert (document["schema"], document["exit"], document["watched_s"], document["simulated"]) == (1, 2, 5.0, True)
    (one,) = document["findings"]
    assert (one["kind"], one["severity"], one["gpus"], one["over"]) == ("gpu_lost", "critical", [3], False)
    assert document["trouble"] is None


@pytest.mark.parametrize(
    "case",
    [
        ([], [], 0, "OK - 8 GPUs (8×H100 80GB HBM3) on node07, nothing found in 0 s"),
        (["info"], [], 0, "OK - GPU 0 is in a info state. (8 GPUs)"),
        (["warning"], [], 1, "WARNING - GPU 0 is in a warning state. (8 GPUs)"),
        (["critical"], [], 2, "CRITICAL - GPU 0 is in a critical state. (8 GPUs)"),
        (["critical", "critical", "warning", "warning", "info"], [], 2,
         "CRITICAL - GPU 0 is in a critical state. (and 1 critical, 2 warnings, 1 info; 8 GPUs)"),
        (["warning"], ["--fail-on", "critical"], 0, "OK - GPU 0 is in a warning state. (8 GPUs)"),
        (["critical"], ["--fail-on", "critical"], 2, "CRITICAL - GPU 0 is in a critical state. (8 GPUs)"),
    ],
)  # fmt: skip
def test_the_verdict_follows_the_worst(
    script: Script,
    healthy: Frame,
    capsys: pytest.CaptureFixture[str],
    case: tuple[list[Severity], list[str], int, str],
) -> None:
    """Exit code and first word say the same, and the rest is counted."""
    severities, flags, code, word = case
    eyes = script(found(healthy, *(finding(severity, gpu) for gpu, severity in enumerate(severities))))
    assert main(["check", "--for", "0", *flags]) == code
    assert capsys.readouterr().out.splitlines()[0].partition(" | ")[0] == word
    assert eyes.closed


def test_kinds_that_were_not_asked_for_do_not_count(
    script: Script, healthy: Frame, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also those of an agent that looks for all of them."""
    script(found(healthy, finding("critical"), finding("warning", kind="of_another_version")))
    assert main(["check", "--for", "0", "--kinds", "gpu_lost"]) == 2
    assert "(8 GPUs)" in capsys.readouterr().out


def test_what_is_over_by_the_end_is_still_told(
    script: Script, healthy: Frame, capsys: pytest.CaptureFixture[str]
) -> None:
    """A fault that came and went within the watch counts, is marked, and stands behind those that last."""
    lasting = finding("critical", 2)
    script(found(healthy, finding("critical", 1)), found(healthy, lasting, second=1))
    assert main(["check", "--for", "1"]) == 2
    out = capsys.readouterr().out
    assert out.startswith("CRITICAL - GPU 2 is in a critical state. (and 1 critical; 8 GPUs)")
    assert [line.endswith("over now") for line in out.splitlines() if line.startswith("✖")] == [False, True]


def test_numbers_are_read_at_a_glance(script: Script, healthy: Frame, capsys: pytest.CaptureFixture[str]) -> None:
    """Evidence is rounded for eyes, and what is unknown is left out; the document has it all."""
    script(found(healthy, finding("warning")))
    main(["check", "--for", "0"])
    assert "  seen  sm_clock_mhz 1,065, share 0.5385, bus 0000:61:00.0\n" in capsys.readouterr().out
    unlike = {"foreign_pid": 1310731, "free_bytes": 7 << 30, "healthy": False}
    script(found(healthy, finding("warning", evidence=unlike)))
    main(["check", "--for", "0"])
    assert "  seen  foreign_pid 1310731, free 7.0 GiB, healthy no\n" in capsys.readouterr().out


def test_the_first_line_is_fit_for_nagios(script: Script, healthy: Frame, capsys: pytest.CaptureFixture[str]) -> None:
    """However long, whatever letters: one line of at most 200 characters with one bar, before the numbers."""
    script(found(healthy, finding("warning", summary="a|b\n\x1b[31m" + "long " * 100), finding("info", 6)))
    main(["check", "--for", "0"])
    first = capsys.readouterr().out.split("\n")[0]
    assert len(first) <= 200
    assert (first.count("|"), "\x1b" in first) == (1, False)
    assert "(and 1 info; 8 GPUs) | gpus=8 critical=0 warning=1 info=1" in first


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_ascii_terminals_get_ascii(
    monkeypatch: pytest.MonkeyPatch, script: Script, healthy: Frame, capsys: pytest.CaptureFixture[str], locale: str
) -> None:
    """In the C locale nothing else is written, and still only one bar."""
    monkeypatch.setenv("LC_ALL", locale)
    script(found(healthy, finding("warning", summary="2 × 88 °C · hot …")))
    main(["check", "--for", "0"])
    out = capsys.readouterr().out
    assert out.isascii() is (locale == "C")
    assert out.splitlines()[0].count("|") == 1


def test_no_driver_is_3_on_both_streams(capsys: pytest.CaptureFixture[str]) -> None:
    """A plugin's caller reads UNKNOWN from stdout, a person the sentence and what to do from stderr."""
    assert main(["check", "--sim", "dgx-h100-8+driver-missing"]) == 3
    told = capsys.readouterr()
    assert told.out == ("UNKNOWN - No NVIDIA driver found: the library libnvidia-ml.so.1 is not on this machine.\n")
    assert told.err.startswith("gpuwatch: No NVIDIA driver found")
    assert main(["check", "--sim", "dgx-h100-8+driver-missing", "--json"]) == 3
    document = json.loads(capsys.readouterr().out)
    assert (document["exit"], document["trouble"]["kind"], document["findings"]) == (3, "library_missing", [])


@pytest.mark.parametrize("name", ["no_gpu", "no_driver"])
def test_a_node_without_gpus_was_not_checked(
    script: Script, frames: dict[str, Frame], capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """No GPU is no reason to say OK."""
    script(frames[name])
    assert main(["check", "--for", "0"]) == 3
    told = capsys.readouterr()
    assert told.out.startswith("UNKNOWN - ")
    assert told.err.startswith("gpuwatch: ")


def test_gpus_of_which_none_answers_were_not_checked(
    script: Script, healthy: Frame, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows without a single fresh value and without a finding prove nothing."""
    script(structs.replace(healthy, gpus=[structs.replace(gpu, state="stale") for gpu in healthy.gpus]))
    assert main(["check", "--for", "0"]) == 3
    assert capsys.readouterr().out == "UNKNOWN - No GPU could be read.\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--for", "soon"], "'soon' is not a number of seconds from 0 to 86400"),
        (["--for", "nan"], "'nan' is not a number"),
        (["--kinds", "gpu_lots"], "there is no kind 'gpu_lots': did you mean gpu_lost?"),
        (["--fail-on", "info"], "invalid choice: 'info'"),
        (["--kinds", "gpu_lost", "--ignore", "gpu_lost"], "--kinds and --ignore leave no kind to look for."),
        (["--connect", "a", "--sim", "l4"], "exclude each other"),
        (["--jsno"], "Did you mean --json?"),
        (["--config", "/nonexistent.toml"], "does not exist"),
    ],
)
def test_bad_usage_is_3_here(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    """2 means critical: a typing error must not drain a node as broken."""
    assert main(["check", *arguments]) == 3
    assert sentence in capsys.readouterr().err


def test_interrupted_it_tells_what_was_seen(script: Script, healthy: Frame, capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C ends the watch, not the report; before the first look there is nothing to report."""
    eyes = script(found(healthy), found(healthy, finding("warning"), second=1), KeyboardInterrupt())
    assert main(["check", "--for", "60"]) == 1
    assert capsys.readouterr().out.startswith("WARNING - GPU 5 is in a warning state.")
    assert eyes.closed
    script(KeyboardInterrupt())
    assert main(["check"]) == 130


def test_progress_is_for_terminals(
    monkeypatch: pytest.MonkeyPatch, script: Script, healthy: Frame, capsys: pytest.CaptureFixture[str]
) -> None:
    """How far it is stands on stderr of a terminal, and is wiped away at the end."""
    script(found(healthy, finding("warning")))
    main(["check", "--for", "2"])
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    main(["check", "--for", "2"])
    err = capsys.readouterr().err
    assert "watching 8 GPUs: 1 of 2 s, 1 found" in err
    assert err.endswith("\r\x1b[K")


class Agent:
    """What an agent answers, second by second."""

    def __init__(self, *answers: Frame | Exception) -> None:
        self.answers = list(answers)
        self.asked = 0

    def frame(self, *, rates: bool) -> Frame:
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Agent, list[float]]]:
    """Makes `--connect` reach that agent; the list holds the pauses that were not waited."""

    def make(*answers: Frame | Exception) -> tuple[Agent, list[float]]:
        one, pauses = Agent(*answers), list[float]()
        monkeypatch.setattr(RemoteSource, "frame", lambda _self, *, rates: one.frame(rates=rates))
        monkeypatch.setattr(check_command, "RemoteEyes", lambda source: RemoteEyes(source, pauses.append))
        return one, pauses

    return make


def test_an_agent_is_only_asked(
    agent: Callable[..., tuple[Agent, list[float]]], healthy: Frame, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--connect --for 0` takes one answer: the agent has been watching all along."""
    one, pauses = agent(found(healthy, finding("warning")))
    assert main(["check", "--connect", "node07", "--for", "0"]) == 1
    assert (one.asked, pauses) == (1, [])
    assert "WARNING - GPU 5 is in a warning state." in capsys.readouterr().out


def test_an_agent_is_asked_for_as_long_as_wanted(
    agent: Callable[..., tuple[Agent, list[float]]], healthy: Frame, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it raises within the time counts, and what it had said at first, too."""
    one, pauses = agent(
        found(healthy, finding("warning", 1)),
        found(healthy, second=1),
        found(healthy, finding("critical", 2), second=2),
    )
    assert main(["check", "--connect", "node07", "--for", "3"]) == 2
    assert (one.asked, pauses) == (4, [1.0, 1.0, 1.0])
    assert "(and 1 warning; 8 GPUs)" in capsys.readouterr().out


def test_an_agent_that_is_not_there_is_3(
    agent: Callable[..., tuple[Agent, list[float]]], healthy: Frame, capsys: pytest.CaptureFixture[str]
) -> None:
    """At the start or in the middle: who found nothing until then has not looked; what was found stays said."""
    gone = AgentUnreachableError("No gpuwatch agent answers.", "Start one.")
    agent(gone)
    assert main(["check", "--connect", "node07"]) == 3
    assert capsys.readouterr().out == "UNKNOWN - No gpuwatch agent answers.\n"
    agent(found(healthy), gone)
    assert main(["check", "--connect", "node07"]) == 3
    assert capsys.readouterr().err == "gpuwatch: No gpuwatch agent answers. Start one.\n"
    agent(found(healthy, finding("critical")), gone)
    assert main(["check", "--connect", "node07"]) == 2
    assert "not judged: No gpuwatch agent answers." in capsys.readouterr().out


def test_patience_fits_the_watch() -> None:
    """What looks wrong for the whole watch is said; a kind that is about minutes is named instead of guessed at."""
    config = Config(findings={"gpu_lost": {"raise_after_s": 40.0, "clear_after_s": 7.0}})
    hasty, too_long = hurried(config, 15, KINDS)
    assert hasty.findings["gpu_lost"] == {"raise_after_s": 10.0, "clear_after_s": 7.0}
    assert "gpu_lost" not in [one.kind for one in too_long]
    patient, _ = hurried(config, 60, KINDS)
    assert patient.findings["gpu_lost"]["raise_after_s"] == 40.0
    minutes = Config(findings={"gpu_lost": {"raise_after_s": 600.0}})
    same, too_long = hurried(minutes, 15, KINDS)
    assert same.findings["gpu_lost"] == {"raise_after_s": 600.0}
    assert NotJudged(kind="gpu_lost", reason="it takes --for 600") in too_long
    assert "gpu_lost" not in [one.kind for one in hurried(minutes, 600, KINDS)[1]]


def test_kinds_that_nobody_asked_for_are_not_looked_for() -> None:
    """They cost nothing, and what the configuration switches off stays off."""
    hasty, _ = hurried(Config(), 15, frozenset())
    assert all(settings["enabled"] is False for settings in hasty.findings.values())
    off, _ = hurried(Config(findings={"gpu_lost": {"enabled": False}}), 15, KINDS)
    assert off.findings["gpu_lost"]["enabled"] is False


@pytest.mark.parametrize(("seconds", "least", "looks"), [(0, 1, 1), (0, 2, 2), (0.5, 2, 2), (15, 2, 16), (2.9, 1, 3)])
def test_looks_are_a_second_apart(seconds: float, least: int, looks: int) -> None:
    """A watch of n seconds is n + 1 looks."""
    assert looks_for(seconds, least=least) == looks


def test_a_finding_that_comes_back_is_not_over(healthy: Frame) -> None:
    """Only the end of the watch decides."""
    seen = Seen(KINDS)
    frames = [found(healthy, finding("warning")), found(healthy), found(healthy, finding("critical"))]
    watch(ScriptedEyes(iter(frames)), 3, seen)
    assert [(one.severity, one.over) for one in seen.findings] == [("critical", False)]
