"""Every curl in the README and in docs/api.md does what is written there, against real agents on a simulated node."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from support.running_agent import all_fresh, running_agent

ROOT = Path(__file__).parents[1]
TOKEN = "0123456789abcdef0123456789abcdef"
FENCE = re.compile(r"^```\w*\n(.*?)^```", re.DOTALL | re.MULTILINE)
EXAMPLE = re.compile(r"^(?:\$ )?(curl (?:.*\\\n)*.*)$", re.MULTILINE)
EXPECTED = re.compile(r"#\s*(\d{3})\s*$")
# Adds what the test wants to know to what the reader would see.
CURL = 'curl() { command curl --max-time 20 --dump-header answered "$@"; }\n'


def examples(document: str) -> list[str]:
    """The curl commands in the fenced blocks of a document."""
    blocks = FENCE.findall((ROOT / document).read_text(encoding="utf-8"))
    return [command for block in blocks for command in EXAMPLE.findall(block)]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the commands are typed, with the token's file."""
    folder = tmp_path_factory.mktemp("curl")
    (folder / "gpuwatch.token").write_text(f"{TOKEN}\n")
    return folder


@pytest.fixture(scope="module")
def agents(workplace: Path) -> Iterator[dict[str, str]]:
    """Where the addresses of the examples lead: one agent on loopback, one that is reached from outside."""
    flags = ("--sim", "dgx-h100-8", "--token-file", str(workplace / "gpuwatch.token"))
    with (
        running_agent(os.environ, *flags, log=workplace / "near.log") as near,
        running_agent(os.environ, *flags, "--listen", "0.0.0.0:0", log=workplace / "far.log") as far,
    ):
        near.frame_where(all_fresh())
        far.client.headers["Authorization"] = f"Bearer {TOKEN}"
        far.frame_where(all_fresh())
        yield {"http://127.0.0.1:9489": near.url, "http://node07:9489": far.url.replace("0.0.0.0", "127.0.0.1")}


def answer(command: str, folder: Path) -> tuple[int, str]:
    """Run one command as it is written; gives HTTP's status and what it printed. A stream is left after one frame."""
    with subprocess.Popen(
        ["bash", "-c", CURL + command], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as asking:
        assert asking.stdout is not None
        printed = ""
        for line in asking.stdout:
            printed += line
            if line.startswith("data: "):
                asking.stdout.close()  # curl ends when it finds nobody to write to
                break
    (head,) = re.findall(r"^HTTP/1.1 (\d+)", (folder / "answered").read_text(), re.MULTILINE)
    return int(head), printed


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed here; CI has it")
@pytest.mark.parametrize("document", ["README.md", "docs/api.md"])
def test_every_curl_in_the_documents_works(document: str, agents: dict[str, str], workplace: Path) -> None:
    """2xx, or the status that a comment behind the command names; and what looks like JSON is JSON."""
    commands = examples(document)
    assert len(commands) >= 4
    for written in commands:
        command = written
        for documented, real in agents.items():
            command = command.replace(documented, real)
        assert command != written, f"{written}: asks none of {', '.join(agents)}"
        status, body = answer(command, workplace)
        if "/v1/stream" in command:
            body = body.rpartition("data: ")[2]
            assert body.startswith("{"), f"{written}: no frame came"
        expected = EXPECTED.search(written)
        good = status == int(expected[1]) if expected else 200 <= status < 400
        assert good, f"{document}: {written}\n{status} {body[:500]}"
        if body.startswith("{"):
            msgspec.json.decode(body)


def test_examples_are_found_however_they_are_written(tmp_path: Path) -> None:
    """With and without a prompt, over several lines, and not in running text or in what a command printed."""
    text = "curl in text\n\n```console\n$ curl -s \\\n  http://a/b\n{curl}\ncurl c\n$ gpuwatch | curl\n```\n"
    (tmp_path / "some.md").write_text(text)
    assert examples(str(tmp_path / "some.md")) == ["curl -s \\\n  http://a/b", "curl c"]
