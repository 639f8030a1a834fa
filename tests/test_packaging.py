"""What is shipped, and what is loaded by what."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_wheel_holds_our_three_packages_and_nothing_else(tmp_path: Path) -> None:
    """Generic names in site-packages would collide with other people's."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {
        "gpuwatch",
        "gpuwatch_agent",
        "gpuwatch_exporters",
    }
    assert any(name.endswith("dist-info/licenses/LICENSE") for name in names)
    assert "gpuwatch/py.typed" in names


def test_the_agent_loads_no_user_interface_and_no_torch() -> None:
    """The agent with its API and exporter stays small: what it imports is looked up in a fresh process."""
    code = (
        "import sys\n"
        "import gpuwatch_agent.agent, gpuwatch_agent.api.app, gpuwatch_agent.api.server, gpuwatch_exporters.prometheus\n"
        "import gpuwatch_agent.sampling.process\n"
        "print(sorted({'textual', 'torch', 'rich', 'numpy', 'gpuwatch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_packages_import_nothing_of_themselves() -> None:
    """An eager import in an `__init__` would put its cost under every command."""
    heavy = [
        path
        for path in ROOT.glob("**/__init__.py")
        if path.is_relative_to(ROOT / "agent") or path.is_relative_to(ROOT / "exporters")
        if "import" in path.read_text()
    ]
    assert heavy == []
