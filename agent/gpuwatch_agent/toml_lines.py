"""Where each key of a TOML text stands: tomllib reads the values but forgets the lines."""

Path = tuple[str, ...]

_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}


def key_lines(text: str) -> dict[Path, int]:
    """The line, counted from 1, of every table and key in a text that tomllib has accepted."""
    return _Scanner(text.replace("\r\n", "\n")).scan()


class _Scanner:
    """Walks once over valid TOML, keeping keys and skipping values."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._found: dict[Path, int] = {}

    def scan(self) -> dict[Path, int]:
        table: Path = ()
        while self._skip_blank():
            if self._peek() == "[":
                line = self._line
                self._skip_while("[")
                table = self._key_path()
                self._note(table, line)
                self._skip_while(" \t]")
            else:
                self._pair(table)
        return self._found

    def _note(self, path: Path, line: int) -> None:
        for depth in range(1, len(path) + 1):
            self._found.setdefault(path[:depth], line)

    def _pair(self, table: Path) -> None:
        line = self._line
        path = table + self._key_path()
        self._note(path, line)
        self._skip_while(" \t=")
        self._value(path)

    def _value(self, path: Path) -> None:
        first = self._peek()
        if first in {'"', "'"}:
            self._string()
        elif first == "{":
            self._step()
            while self._skip_blank() and self._peek() != "}":
                self._step() if self._peek() == "," else self._pair(path)
            self._step()
        elif first == "[":
            self._step()
            while self._skip_blank() and self._peek() != "]":
                self._step() if self._peek() == "," else self._value(path)
            self._step()
        else:
            while self._peek() not in {"", "\n", "#", ",", "]", "}"}:
                self._step()

    def _key_path(self) -> Path:
        parts: list[str] = []
        while True:
            self._skip_while(" \t")
            if self._peek() in {'"', "'"}:
                parts.append(self._string())
            else:
                start = self._at
                while self._peek() and (self._peek().isalnum() or self._peek() in "_-"):
                    self._step()
                parts.append(self._text[start : self._at])
            self._skip_while(" \t")
            if self._peek() != ".":
                return tuple(parts)
            self._step()

    def _string(self) -> str:
        quote = self._peek()
        fence = quote * 3 if self._text.startswith(quote * 3, self._at) else quote
        self._step(len(fence))
        letters: list[str] = []
        while self._peek() and not self._text.startswith(fence, self._at):
            if quote == '"' and self._peek() == "\\":
                letters.append(self._escape())
            else:
                letters.append(self._peek())
                self._step()
        self._step(len(fence))
        if len(fence) == 3:
            self._skip_while(quote)  # a string may end in quotes of its own, right before the fence
        return "".join(letters)

    def _escape(self) -> str:
        self._step()
        letter = self._peek()
        self._step()
        digits = {"u": 4, "U": 8}.get(letter)
        if digits is None:
            return _ESCAPES.get(letter, letter)
        code = self._text[self._at : self._at + digits]
        self._step(digits)
        return chr(int(code, 16))

    def _skip_blank(self) -> bool:
        """Go to the next thing that is neither space nor comment; false at the end."""
        while True:
            self._skip_while(" \t\n")
            if self._peek() != "#":
                return bool(self._peek())
            while self._peek() not in {"", "\n"}:
                self._step()

    def _skip_while(self, letters: str) -> None:
        while self._peek() and self._peek() in letters:
            self._step()

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _step(self, count: int = 1) -> None:
        self._line += self._text.count("\n", self._at, self._at + count)
        self._at += count
