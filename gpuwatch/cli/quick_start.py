"""Makes a cold `gpuwatch status` quicker by what msgspec does not need."""

import sys


def import_msgspec_lightly() -> None:
    """Import msgspec as if typing_extensions were not installed.

    It looks there first for names that Python 3.11 has itself, and that costs a tenth of a cold start (the module pulls
    in `inspect`). Whoever imports typing_extensions later still gets it.
    """
    if "msgspec" in sys.modules or "typing_extensions" in sys.modules:
        return
    sys.modules["typing_extensions"] = None  # type: ignore[assignment]  # how Python marks a module as not to be had
    try:
        import msgspec  # noqa: F401  # for the others to find
    finally:
        del sys.modules["typing_extensions"]
