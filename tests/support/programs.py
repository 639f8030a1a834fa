"""What some tests need beside Python."""

import os
import shutil

import pytest

_PACKAGES = {
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "amtool": "prometheus-alertmanager",
    "prometheus-node-exporter": "prometheus-node-exporter",
    "chromedriver": "chromium-driver",
}


def needs(*programs: str) -> None:
    """Skip the test where a program is missing; in CI that is a failure."""
    missing = [program for program in programs if shutil.which(program) is None]
    if not missing:
        return
    packages = " ".join(sorted({_PACKAGES.get(program, program) for program in missing}))
    reason = f"{', '.join(missing)} not found: `apt-get install {packages}` brings it, as CI does"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
