"""Through Apprise: Slack, Discord, ntfy, mail and a hundred more, each by a URL."""

import logging
import threading
from typing import Any, Self

from gpuwatch_agent.model.errors import UsageError
from gpuwatch_agent.notify.message import Message
from gpuwatch_agent.notify.redact import scrub, shown_address
from gpuwatch_agent.notify.target import DeliveryError

_TYPES = {"critical": "failure", "warning": "warning", "info": "info"}


class AppriseTarget:
    """One Apprise URL, the `number`-th of the list: its scheme is all that is shown, tokens stand anywhere behind it."""

    def __init__(self, url: str, number: int) -> None:
        try:
            import apprise  # 22 MiB and a quarter of a second: only who sends through it pays
        except ImportError as error:
            raise UsageError(
                "notify.urls needs Apprise, which is not installed.",
                "Install it with `pip install 'gpuwatch-node[notify]'`, or use notify.webhook.",
            ) from error
        self.name = f"urls[{number}] {shown_address(url, host=False)}"
        self._url = url
        self._log = _log_of_this_thread()
        asset = apprise.AppriseAsset(app_id="gpuwatch", app_desc="gpuwatch", async_mode=False)
        self._apprise: Any = apprise.Apprise(asset=asset)
        with self._log:
            if not self._apprise.add(url):
                raise UsageError(
                    f"notify.urls: number {number + 1} ({shown_address(url, host=False)}) is no address that Apprise knows.",
                    "https://appriseit.com/services/ shows how each is written.",
                )

    def send(self, message: Message) -> None:
        """Hand it over; Apprise says only whether it worked, and the reason to its log."""
        kind = _TYPES[message.severity] if message.severity is not None else "success"
        if message.about == "test":
            kind = "info"
        with self._log:
            try:
                sent = self._apprise.notify(
                    title=message.title, body=message.text, notify_type=kind, body_format="text"
                )
            except Exception as error:  # noqa: BLE001  # a hundred services' code: whatever it raises becomes the reason
                raise DeliveryError(self._scrubbed(f"{type(error).__name__}: {error}"), again=True) from None
        if not sent:
            raise DeliveryError(self._scrubbed(self._log.last or "Apprise could not deliver it"), again=True)

    def _scrubbed(self, reason: str) -> str:
        return scrub(reason, self._url, host=False).rstrip(".")


class _LogOfThisThread(logging.Handler):
    """Keeps Apprise's last complaint, made on the thread that is inside `with`; it reaches no other log."""

    def __init__(self, logger: logging.Logger) -> None:
        super().__init__(logging.WARNING)
        self._logger = logger
        self._thread: int | None = None
        self.last = ""

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.last = record.getMessage()

    def __enter__(self) -> Self:
        self._thread, self.last = threading.get_ident(), ""
        self._logger.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)


def _log_of_this_thread() -> _LogOfThisThread:
    """A handler on Apprise's logger, which from then on is heard by nobody else: its lines may hold addresses."""
    logger = logging.getLogger("apprise")
    logger.propagate = False
    if not any(isinstance(handler, logging.NullHandler) for handler in logger.handlers):
        logger.addHandler(logging.NullHandler())
    return _LogOfThisThread(logger)
