"""`gpuwatch runbook`, in a checkout and from a wheel."""

import io
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from gpuwatch.cli import main
from gpuwatch_agent.runbooks import runbook, runbook_kinds

ROOT = Path(__file__).parents[3]


def test_a_page_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """With a kind its page, without one the list."""
    assert main(["runbook", "gpu_lost"]) == 0
    assert capsys.readouterr().out == (ROOT / "docs/runbooks/gpu_lost.md").read_text(encoding="utf-8")
    assert main(["runbook"]) == 0
    assert capsys.readouterr().out.split() == runbook_kinds()


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("gpu_lots", "There is no runbook 'gpu_lots'. Did you mean gpu_lost? `gpuwatch runbook` lists them."),
        ("../architecture", "There is no runbook '../architecture'."),
    ],
)
def test_a_kind_without_a_page(kind: str, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Told with what was probably meant; nothing but the listed pages is read."""
    assert main(["runbook", kind]) == 2
    assert sentence in capsys.readouterr().err


def test_a_page_on_an_ascii_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A letter that the terminal can't show is no reason to fail."""
    raw = io.BytesIO()
    monkeypatch.setattr("gpuwatch.cli.runbook.runbook", lambda _: "88 °C\n")
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    assert main(["runbook", "gpu_lost"]) == 0
    assert raw.getvalue() == b"88 ?C\n"


def test_the_wheel_carries_the_pages(tmp_path: Path) -> None:
    """Built and unpacked with no source in sight, the pages are found beside the package."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r})\n"
        "import gpuwatch_agent.runbooks as pages; print(pages.__file__); print(pages.runbook('gpu_lost'), end='')"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    where, _, page = shown.stdout.partition("\n")
    assert where.startswith(str(tmp_path))
    assert page == runbook("gpu_lost")
