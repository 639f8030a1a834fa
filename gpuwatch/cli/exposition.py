"""Metrics as text, to a pipe or into a file for node_exporter's textfile collector."""

import os
import sys
from pathlib import Path
from typing import Literal

from gpuwatch_agent.config import Config
from gpuwatch_agent.model.errors import DriverUnavailableError, GpuwatchError
from gpuwatch_agent.model.frame import Frame, Trouble

TEXT_FORMATS = ("prometheus", "dcgm")


class Exposition:
    """Where frames go as metrics, and under whose names."""

    def __init__(
        self,
        names: Literal["prometheus", "dcgm"],
        output: str | None,
        config: Config,
    ) -> None:
        self._config = config
        self._output = Path(output) if output is not None else None
        if names == "dcgm":
            from gpuwatch_exporters.dcgm import dcgm_dialect

            self._dialect = dcgm_dialect(config.dcgm.host_label)
        else:
            from gpuwatch_exporters.prometheus.exposition import NATIVE

            self._dialect = NATIVE

    def write(self, frame: Frame) -> None:
        """All of one frame."""
        from gpuwatch_exporters.prometheus.options import options_from
        from gpuwatch_exporters.prometheus.render import render

        body, _ = render(frame, options=options_from(self._config), dialect=self._dialect)
        if self._output is None:
            _print(body)
        else:
            try:
                write_whole(self._output, body)
            except OSError as error:
                reason = (error.strerror or str(error)).lower()
                raise GpuwatchError(
                    f"{self._output} can't be written: {reason}.", "Check its folder, and who may write there."
                ) from error

    def write_failure(self, error: GpuwatchError) -> None:
        """Take the file of an earlier run away: where the driver is at fault, for one that says so."""
        if self._output is None:
            return
        if not isinstance(error, DriverUnavailableError):
            self._output.unlink(missing_ok=True)
            return
        import time

        from gpuwatch_agent.hardware.host import node_name

        trouble = Trouble(kind=error.kind, message=error.message, action=error.action)
        self.write(Frame(node=node_name(), taken_at=time.time(), simulated=False, gpus=[], trouble=trouble))


def write_whole(path: Path, body: bytes) -> None:
    """Replace the file at one stroke, readable for all: who reads it sees the old or the new one, never a part."""
    import tempfile

    # A name that ends otherwise, as node_exporter reads every *.prom it finds.
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(body)
            os.fchmod(file.fileno(), 0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _print(body: bytes) -> None:
    """In UTF-8 whatever the locale, as scrapers want it."""
    raw = getattr(sys.stdout, "buffer", None)
    if raw is None:
        sys.stdout.write(body.decode())
        return
    sys.stdout.flush()
    raw.write(body)
