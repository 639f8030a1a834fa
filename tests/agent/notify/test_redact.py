"""No secret of an address is shown."""

import pytest

from gpuwatch_agent.notify.redact import scrub, shown_address


@pytest.mark.parametrize(
    ("url", "host", "shown"),
    [
        ("slack://TokenA/TokenB/TokenC/#channel", False, "slack://…"),
        ("tgram://123456789:abcdef/12345", False, "tgram://…"),
        ("https://user:pass@hooks.example.org:8443/services/T000/B000?x=y", True, "https://hooks.example.org/…"),
        ("https://[::1", True, "https://…"),
        ("no address", False, "?://…"),
    ],
)
def test_what_is_shown_of_an_address(url: str, host: bool, shown: str) -> None:  # a parameter of the case
    """The scheme; of a webhook the host as well."""
    assert shown_address(url, host=host) == shown


def test_reasons_are_scrubbed() -> None:
    """Any part of the address that turns up in a reason is gone, also decoded and in other case."""
    url = "https://me:p%40ssword@hooks.example.org/services/T0001/tokentoken?key=s3cr3t"
    reason = "POST https://me:p@ssword@hooks.example.org/services/T0001/TOKENTOKEN?key=s3cr3t failed with p%40ssword"
    said = scrub(reason, url, host=True)
    for secret in ("ssword", "T0001", "tokentoken", "s3cr3t"):
        assert secret.lower() not in said.lower()
    assert "hooks.example.org" in said
    assert "hooks.example.org" not in scrub(reason, url, host=False)
