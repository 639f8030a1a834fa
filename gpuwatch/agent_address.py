"""Where an agent is and with what one gets in, as people write it."""

from pathlib import Path

from gpuwatch_agent.model.errors import UsageError

DEFAULT_PORT = 9489


def agent_url(written: str) -> str:
    """node07 → http://node07:9489; a full URL stays as it is."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(written if "://" in written else f"//{written}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or parts.scheme not in {"", "http", "https"} or not written.isprintable() or " " in written:
        raise UsageError(f"{written!r} is no agent's address.", "Write it as node07 or http://node07:9489.")
    if parts.scheme:
        return written.rstrip("/")
    return f"http://{f'[{host}]' if ':' in host else host}:{port or DEFAULT_PORT}"


def short_address(url: str) -> str:
    """The URL as it is told where room is short: scheme and usual port go without saying."""
    return url.removeprefix("http://").removesuffix(f":{DEFAULT_PORT}")


def read_token(token_file: str) -> str:
    """The first line of the token's file."""
    try:
        text = Path(token_file).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not text"
        raise UsageError(
            f"The token file {token_file} can't be read: {reason.lower()}.", "Check its path and rights."
        ) from error
    token = text.strip().partition("\n")[0].strip()
    if not token or not token.isascii() or not token.isprintable():
        raise UsageError(
            f"The first line of the token file {token_file} is not a token.", "Put the agent's token there."
        )
    return token


def read_hosts(hosts_file: str) -> list[str]:
    """The agents that a file names, one a line; what stands behind # is a remark."""
    try:
        text = Path(hosts_file).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not text"
        raise UsageError(
            f"The hosts file {hosts_file} can't be read: {reason.lower()}.", "Check its path and rights."
        ) from error
    urls: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        written = line.partition("#")[0].strip()
        if not written:
            continue
        try:
            urls.append(agent_url(written))
        except UsageError as error:
            raise UsageError(f"Line {number} of {hosts_file}: {error.message}", error.action) from error
    if not urls:
        raise UsageError(f"The hosts file {hosts_file} names no agent.", "Write one a line, as node07.")
    return list(dict.fromkeys(urls))
