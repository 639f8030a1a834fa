"""A process's environment as its reader may see it, with the values of what looks like a secret left out."""

import re
from pathlib import Path

from msgspec import Struct

from gpuwatch.tui.processes.local import same_process
from gpuwatch_agent.attribution.procfs import ProcessTable, Stat, text_of

MASK = "•••"
_MOST_BYTES = 512 * 1024
# Whole words between underscores: TOKENIZERS_PARALLELISM is no secret, HF_TOKEN is one.
_SECRET = re.compile(
    r"(?:^|_)[A-Z0-9]*(?:KEY|KEYS|TOKEN|SECRET|SECRETS|PASSWORD|PASSWD|PASSPHRASE|PASS|PWD|CREDENTIAL|CREDENTIALS|AUTH|COOKIE|DSN|WEBHOOK)"
    r"(?:$|_|\d)"
)
_NO_SECRETS = frozenset({"PWD", "OLDPWD", "SSH_AUTH_SOCK", "XAUTHORITY"})
_IN_URL = re.compile(r"(?<=://)[^/\s@]+(?=@)")


class Environment(Struct, frozen=True):
    """Names and values in the order of the names, or why there are none."""

    variables: tuple[tuple[str, str], ...] = ()
    refusal: str | None = None


def masked(name: str, value: str) -> str:
    """The value, or dots where its name promises a secret; of a URL the user and password are left out."""
    if value and name not in _NO_SECRETS and _SECRET.search(name.upper()):
        return MASK
    return _IN_URL.sub(MASK, value)


def environment_of(pid: int, started_at: float | None, user: str | None, *, proc: Path = Path("/proc")) -> Environment:
    """What the process was started with; blocks where the kernel does, so it is called on a thread."""
    place = proc / str(pid)
    try:
        if Stat((place / "stat").read_bytes()).state == b"D":
            # Its memory may be locked inside a driver: reading it would hang us as well.
            return Environment(
                refusal="The process waits in the kernel; its environment can't be read without waiting, too."
            )
        raw = (place / "environ").read_bytes()[:_MOST_BYTES]
    except PermissionError:
        owner = f"{user} and root" if user and user != "root" else "root"
        return Environment(refusal=f"Only {owner} may read its environment.")
    except (OSError, ValueError, IndexError):
        return Environment(refusal="The process has ended.")
    now = ProcessTable(proc).facts([pid]).get(pid)
    if now is None or not same_process(now.started_at, started_at):
        return Environment(refusal="The process has ended; its PID belongs to another one now.")
    pairs = [text_of(entry).partition("=") for entry in raw.split(b"\0") if entry]
    found = sorted((name, masked(name, value)) for name, equals, value in pairs if equals)
    return Environment(tuple(found), None if found else "Its environment is empty.")
