"""pytest fixtures: the fake driver for child processes (`fake_node`) and for the test process itself (`nvml_here`)."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from fake_nvml.build import build
from fake_nvml.scenario import Scenario

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Builder(Protocol):
    """Gives the folder with a library that lacks these symbols."""

    def __call__(self, missing: Iterable[str] = ()) -> Path: ...


@dataclass
class FakeNode:
    """A machine whose driver says what its scenario says."""

    folder: Path
    library: Path
    scenario: Scenario

    def become(self, scenario: Scenario) -> Scenario:
        """Another world; processes that run already see it too."""
        self.scenario = scenario.save(self.folder / "scenario")
        return self.scenario

    @property
    def env(self) -> dict[str, str]:
        """The environment of a process that is to meet this driver."""
        return {**os.environ, **self.scenario.environment(self.library), "FAKE_NVML_RECHECK_MS": "0"}

    def python(self, code: str, timeout_s: float = 20) -> subprocess.CompletedProcess[str]:
        """Run Python code on this machine, with `pynvml` imported and initialised as `n`."""
        prelude = "import pynvml as n\nn.nvmlInit()\n" if "nvmlInit" not in code else "import pynvml as n\n"
        command = [sys.executable, "-c", prelude + code]
        return subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=timeout_s, check=False)


@pytest.fixture(scope="session")
def fake_nvml(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    """Compiles the fake driver, once a session for each set of missing symbols."""
    folder = tmp_path_factory.mktemp("fake_nvml")

    def builder(missing: Iterable[str] = ()) -> Path:
        return build(folder, missing)

    return builder


@pytest.fixture
def fake_node(fake_nvml: Builder, tmp_path: Path) -> FakeNode:
    """A healthy 8xH100 node; `become(Scenario.of(...))` makes it another."""
    node = FakeNode(tmp_path, fake_nvml(), Scenario())
    node.become(Scenario.of("h100", 8))
    return node


@pytest.fixture(scope="session")
def _driver_of_this_process(fake_nvml: Builder) -> None:
    """Loads the library by path: glibc then takes it for `libnvidia-ml.so.1`, since that is the name it carries."""
    ctypes.CDLL(str(fake_nvml() / "libnvidia-ml.so.1"))


@pytest.fixture
def nvml_here(
    _driver_of_this_process: None, fake_node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FakeNode]:
    """The same node, met by the test process itself: no hangs, no crashes and no missing symbols here."""
    import pynvml

    monkeypatch.setenv("FAKE_NVML_SCENARIO", str(fake_node.scenario.path))
    monkeypatch.setenv("FAKE_NVML_RECHECK_MS", "0")
    yield fake_node
    while True:
        try:
            pynvml.nvmlShutdown()
        except pynvml.NVMLError:
            return
