"""Through Apprise: Slack, Discord, ntfy, mail and a hundred more, each by a URL."""

import logging
import re
from collections.abc import Sequence
from typing import Any, Self

from gpuwatch_agent.model.errors import UsageError
from gpuwatch_agent.notify.message import Message
from gpuwatch_agent.notify.redact import scrub, shown_address
from gpuwatch_agent.notify.target import DeliveryError, may_pass

_LOG = logging.getLogger("apprise")
# As nearly all of its services write down what a server answered.
_STATUS = re.compile(r"\berror=(\d{3})\b")
_TYPES = {"critical": "failure", "warning": "warning", "info": "info"}


class AppriseTarget:
    """One Apprise URL, the `number`-th of the list: its scheme is all that is shown, tokens stand anywhere behind it."""

    def __init__(self, urls: Sequence[str], number: int) -> None:
        url = urls[number]
        try:
            import apprise  # 22 MiB and a quarter of a second: only who sends through it pays
        except ImportError as error:
            raise UsageError(
                "notify.urls needs Apprise, which is not installed.",
                "Install it with `pip install 'gpuwatch-node[notify]'`, or use notify.webhook.",
            ) from error
        self.name = f"urls[{number}] {shown_address(url, host=False)}"
        self._urls = urls
        # Its lines may hold addresses: nobody else is to hear them.
        _LOG.propagate = False
        if not _LOG.handlers:
            _LOG.addHandler(logging.NullHandler())
        self._complaints = _Complaints()
        asset = apprise.AppriseAsset(app_id="gpuwatch", app_desc="gpuwatch", async_mode=False)
        self._apprise: Any = apprise.Apprise(asset=asset)
        with self._complaints:
            if not self._apprise.add(url):
                raise UsageError(
                    f"notify.urls: number {number + 1} ({shown_address(url, host=False)}) is no address that Apprise knows.",
                    "https://appriseit.com/services/ shows how each is written.",
                )
        self._complaints.service = str(getattr(self._apprise[0], "service_name", "") or "")

    def send(self, message: Message) -> None:
        """Hand it over; Apprise says only whether it worked, and the reason to its log."""
        kind = _TYPES[message.severity] if message.severity is not None else "success"
        if message.about == "test":
            kind = "info"
        with self._complaints:
            try:
                sent = self._apprise.notify(
                    title=message.title, body=message.text, notify_type=kind, body_format="text"
                )
            except Exception as error:  # noqa: BLE001  # a hundred services' code: whatever it raises becomes the reason
                raise DeliveryError(self._scrubbed(f"{type(error).__name__}: {error}"), again=True) from None
        if not sent:
            reason = self._scrubbed(self._complaints.last or "Apprise could not deliver it")
            raise DeliveryError(reason, again=not self._complaints.refused)

    def _scrubbed(self, reason: str) -> str:
        for url in self._urls:  # a line may be another target's of the same service
            reason = scrub(reason, url, host=False)
        return reason.rstrip(".")


class _Complaints(logging.Handler):
    """Keeps Apprise's complaints about one service while inside `with`; it reaches no other log.

    Apprise hands messages to threads of its own, so a line is known as ours by the service's name alone.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.service = ""
        self.lines: list[str] = []

    @property
    def last(self) -> str:
        return self.lines[-1] if self.lines else ""

    @property
    def refused(self) -> bool:
        """Whether every recipient answered with a status that another try would meet again; no status is no answer."""
        statuses = [_STATUS.search(line) for line in self.lines]
        return bool(statuses) and all(status is not None and not may_pass(int(status[1])) for status in statuses)

    def emit(self, record: logging.LogRecord) -> None:
        said = record.getMessage()
        if self.service.lower() in said.lower():
            self.lines.append(said)

    def __enter__(self) -> Self:
        self.lines = []
        _LOG.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        _LOG.removeHandler(self)
