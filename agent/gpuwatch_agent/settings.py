"""Settings as declared in `config`: checking what people write, and describing them."""

import re
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec
from msgspec import Meta, Struct

from gpuwatch_agent.config import Config
from gpuwatch_agent.model.errors import UsageError

PREFIX = "GPUWATCH_"
_FINDINGS, _GROUPS, _KEYS = "findings", "groups", "keys"
# Kubernetes puts such variables into every container for a service of the same name.
_SERVICE_LINK = re.compile(r"_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_\w+)?)$")
_YES_AND_NO = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


class Setting(Struct, frozen=True, kw_only=True):
    """One setting, as its declaration tells it."""

    section: str
    name: str
    type: object
    default: object
    meta: Meta

    @property
    def path(self) -> str:
        return f"{self.section}.{self.name}"

    @property
    def environment_name(self) -> str:
        return f"{PREFIX}{self.section}_{self.name}".upper().replace(".", "_")

    @property
    def flag(self) -> str | None:
        return (self.meta.extra or {}).get("flag")

    @property
    def allowed(self) -> str:
        """What may be written, in words."""
        words = (self.meta.extra or {}).get("allowed")
        if words:
            return str(words)
        if self.type is bool:
            return "true or false"
        kind = "a whole number" if self.type is int else "a number"
        if self.meta.ge is not None and self.meta.le is not None:
            return f"{kind} from {self.meta.ge:g} to {self.meta.le:.10g}"
        return kind


def all_settings() -> list[Setting]:
    """Every setting, in the order of declaration."""
    return list(_declared())


def all_sections() -> dict[str, type[Struct]]:
    """Sections by name: those of `Config`, and one for each kind of finding."""
    from gpuwatch_agent.detectors.registry import DETECTORS

    sections = {name: kind for name, kind in typing.get_type_hints(Config).items() if isinstance(kind, type)}
    sections = {name: kind for name, kind in sections.items() if issubclass(kind, Struct)}
    return sections | {f"{_FINDINGS}.{detector.kind}": detector.settings for detector in DETECTORS}


def _declared() -> Iterator[Setting]:
    for section, section_type in all_sections().items():
        hints = typing.get_type_hints(section_type, include_extras=True)
        for name, default in zip(section_type.__struct_fields__, section_type.__struct_defaults__, strict=True):
            plain, meta = typing.get_args(hints[name])
            value = getattr(section_type(), name) if default is not None else None
            yield Setting(section=section, name=name, type=plain, default=value, meta=meta)


def merge(file: Path | None, environ: Mapping[str, str], overrides: Mapping[str, object]) -> Config:
    """Lay file, environment and flags over the defaults; raise one error that names every mistake."""
    merger = _Merger()
    if file is not None:
        merger.add_file(file)
    merger.add_environment(environ)
    merger.add_overrides(overrides)
    return merger.finish()


class _Merger:
    """Collects values and mistakes."""

    def __init__(self) -> None:
        self._settings = {setting.path: setting for setting in all_settings()}
        self._sections = list(dict.fromkeys(setting.section for setting in self._settings.values()))
        self._values: dict[str, dict[str, object]] = {section: {} for section in self._sections}
        self._groups: dict[str, list[int]] = {}
        self._keys: dict[str, str] = {}
        self._problems: list[str] = []

    def add_file(self, file: Path) -> None:
        document, lines = _read(file)

        def where(*path: str) -> str:
            line = lines.get(path) or lines.get(path[:-1])
            return f"{file}, line {line}" if line else str(file)

        for section, body in document.items():
            if section == _FINDINGS and isinstance(body, dict):
                for kind, settings in body.items():
                    self._add_section((section, kind), settings, where)
            elif section == _GROUPS and isinstance(body, dict):
                for name, gpus in body.items():
                    self._add_group(name, gpus, where(section, name))
            elif section == _KEYS and isinstance(body, dict):
                self._add_keys(body, (section,), where)
            else:
                self._add_section((section,), body, where)

    def _add_section(self, path: tuple[str, ...], body: object, where: Callable[..., str]) -> None:
        section = ".".join(path)
        if section not in self._sections:
            known = [*self._sections, _GROUPS, _KEYS]
            self._problem(where(*path), f"no section [{section}]", _choices(section, known, "sections"))
        elif not isinstance(body, dict):
            self._problem(where(*path), f"{section} is a section: write [{section}] and its keys below it")
        else:
            for name, value in body.items():
                self._add(section, name, value, where(*path, name), f"{section}.{name}")

    def _add_group(self, name: str, gpus: object, where: str) -> None:
        """A declared group: indices of GPUs that may or may not be there, but not twice, and at least two."""
        indices = gpus if isinstance(gpus, list) else []
        whole = [gpu for gpu in indices if isinstance(gpu, int) and not isinstance(gpu, bool) and gpu >= 0]
        if len(whole) < 2 or len(whole) != len(indices) or len(set(whole)) != len(whole):
            allowed = "a list of at least two different GPU numbers, as [0, 1]"
            self._problem(where, f"{_GROUPS}.{name} can't be {gpus!r}: allowed is {allowed}")
            return
        for other, members in self._groups.items():
            if shared := sorted(set(members) & set(whole)):
                self._problem(where, f"{_GROUPS}.{name} and {_GROUPS}.{other} both claim GPU {shared[0]}")
        self._groups[name] = whole

    def _add_keys(self, body: Mapping[str, object], path: tuple[str, ...], where: Callable[..., str]) -> None:
        """Bindings by id; `view.gpu = "g"` and `"view.gpu" = "g"` mean the same."""
        for name, key in body.items():
            here = (*path, name)
            if isinstance(key, dict):
                self._add_keys(key, here, where)
            elif isinstance(key, str) and key.strip():
                self._keys[".".join(here[1:])] = key.strip()
            else:
                self._problem(where(*here), f'{".".join(here)} can\'t be {key!r}: allowed is a key, as "ctrl+g"')

    def add_environment(self, environ: Mapping[str, str]) -> None:
        for variable in sorted(environ):
            if not variable.startswith(PREFIX) or _SERVICE_LINK.search(variable):
                continue
            section = self._section_of(variable)
            if section is None:
                continue  # somebody else's variable: GPUWATCH_ is a likely prefix for scripts around us
            name = variable.lower().removeprefix(f"{PREFIX}{section}_".lower().replace(".", "_"))
            setting = self._settings.get(f"{section}.{name}")
            value = _from_text(environ[variable], setting) if setting else None
            self._add(section, name, value, "environment", variable)

    def _section_of(self, variable: str) -> str | None:
        """The section a variable's name begins with: the longest, as kinds of findings have underscores of their own."""
        begun = [one for one in self._sections if variable.startswith(f"{PREFIX}{one}_".upper().replace(".", "_"))]
        return max(begun, key=len, default=None)

    def add_overrides(self, overrides: Mapping[str, object]) -> None:
        for path, value in overrides.items():
            section, _, name = path.rpartition(".")
            setting = self._settings.get(path)
            self._add(section, name, value, "command line", (setting and setting.flag) or path)

    def finish(self) -> Config:
        if not self._problems:
            self._find_contradictions()
        if self._problems:
            count = "One setting is" if len(self._problems) == 1 else f"{len(self._problems)} settings are"
            raise UsageError(
                f"{count} wrong, so nothing was started:\n" + "\n".join(f"  {problem}" for problem in self._problems)
            )
        plain = {section: values for section, values in self._values.items() if "." not in section}
        findings = {
            section.partition(".")[2]: values for section, values in self._values.items() if "." in section and values
        }
        return msgspec.convert({**plain, _FINDINGS: findings, _GROUPS: self._groups, _KEYS: self._keys}, Config)

    def _find_contradictions(self) -> None:
        """Thresholds that are fine one by one and make no sense together."""
        from gpuwatch_agent.detectors.base import DetectorSettings

        sections = all_sections()
        for section, values in self._values.items():
            settings = msgspec.convert(values, sections[section]) if section.startswith(f"{_FINDINGS}.") else None
            if isinstance(settings, DetectorSettings):
                for contradiction in settings.contradictions():
                    self._problem(f"[{section}]", contradiction)

    def _add(self, section: str, name: str, value: object, where: str, shown_as: str) -> None:
        setting = self._settings.get(f"{section}.{name}")
        if setting is None:
            names = [known.name for known in self._settings.values() if known.section == section]
            self._problem(where, f"no setting {shown_as}", _choices(name, names, f"settings of [{section}]"))
        elif setting.path == "collectors.disable" and (unknown := _unknown_collectors(value)):
            what, names = unknown
            self._problem(where, f"{shown_as} names no collector {what!r}", _choices(what, names, "collectors"))
        elif not _fits(value, setting):
            shown = "true" if value is True else "false" if value is False else repr(value)
            if (setting.meta.extra or {}).get("secret"):
                shown = "what is written there"  # an address with a typing error still holds its token
            self._problem(where, f"{shown_as} can't be {shown}: allowed is {setting.allowed}")
        else:
            self._values[section][name] = value

    def _problem(self, where: str, what: str, hint: str = "") -> None:
        self._problems.append(f"{where}: {what}.{f' {hint}' if hint else ''}")


def _unknown_collectors(value: object) -> tuple[str, list[str]] | None:
    """The first name that no collector has, and the names there are."""
    from gpuwatch_agent.collectors.registry import COLLECTOR_NAMES

    given = [name for name in value if isinstance(name, str)] if isinstance(value, list) else []
    unknown = next((name for name in given if name not in COLLECTOR_NAMES), None)
    return (unknown, list(COLLECTOR_NAMES)) if unknown is not None else None


def _read(file: Path) -> tuple[dict[str, object], dict[tuple[str, ...], int]]:
    import tomllib

    from gpuwatch_agent.toml_lines import key_lines

    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not UTF-8 text (byte {error.start}).", "Save it as UTF-8.") from error
    except FileNotFoundError as error:
        raise UsageError(f"The configuration file {file} does not exist.", "Create it, or name another one.") from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(
            f"The configuration file {file} can't be read: {reason}.", "Check its path and rights."
        ) from error
    try:
        return tomllib.loads(text), key_lines(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{file} is not valid TOML: {error}.", "Mend that place; nothing was started.") from error


def _fits(value: object, setting: Setting) -> bool:
    if isinstance(value, bool) and setting.type is not bool:
        return False
    try:
        msgspec.convert(value, typing.Annotated[setting.type, setting.meta])
    except msgspec.ValidationError:
        return False
    pattern = (setting.meta.extra or {}).get("pattern")
    return pattern is None or re.fullmatch(pattern, str(value), re.ASCII) is not None


def _from_text(text: str, setting: Setting) -> object:
    """What a variable's text means for this setting; text that means nothing comes back as it is, to be refused."""
    if setting.type is bool:
        return _YES_AND_NO.get(text.strip().lower(), text)
    if setting.type in {int, float}:
        try:
            return int(text) if setting.type is int else float(text)
        except ValueError:
            return text
    if setting.type == list[str]:
        return [part.strip() for part in text.split(",") if part.strip()]
    return text


def _choices(written: str, names: list[str], what: str) -> str:
    """Did-you-mean where something is near, and always what there is."""
    import difflib

    near = difflib.get_close_matches(written, names, n=1, cutoff=0.6)
    guess = f"Did you mean {near[0]}? " if near else ""
    return f"{guess}The {what} are {', '.join(names)}."


def describe_settings() -> str:
    """docs/configuration.md, from the declarations."""
    lines = [_INTRODUCTION]
    settings = all_settings()
    for section, section_type in all_sections().items():
        lines += [f"## [{section}]", "", str(section_type.__doc__), ""]
        lines += ["| setting | default | allowed | what it is |", "|---|---|---|---|"]
        for setting in settings:
            if setting.section == section:
                flag = f" Flag: `{setting.flag}`." if setting.flag else ""
                cells = [
                    f"`{setting.name}`",
                    _as_toml(setting.default),
                    setting.allowed,
                    f"{setting.meta.description}{flag}",
                ]
                lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def _as_toml(value: object) -> str:
    if value is None:
        return "not set"
    if isinstance(value, float):
        return f"`{value}`"
    return f"`{msgspec.json.encode(value).decode()}`"


_INTRODUCTION = """\
# Configuration

gpuwatch needs no configuration. Where something is to differ, the later of these wins:

1. the defaults below
2. a file: the one that `--config FILE` or `GPUWATCH_CONFIG` names, else the first that exists of
   `$XDG_CONFIG_HOME/gpuwatch/config.toml` (`~/.config/gpuwatch/config.toml`) and `/etc/gpuwatch/config.toml`
3. the environment: `GPUWATCH_`, the section, the setting, as `GPUWATCH_SAMPLING_INTERVAL_S=0.5`; lists are separated by commas
4. flags

```toml
[sampling]
interval_s = 0.5

[collectors]
disable = ["codecs"]

[groups]                          # GPUs that work in step, where the processes do not tell
trainer = [0, 1, 2, 3]

[keys]                            # the dashboard's keys by id; docs/dashboard.md lists them
"view.processes" = "ctrl+o"
```

A key that does not exist or a value that is out of range is named with file, line and what is allowed, all of them at once,
and nothing starts.

<!-- Everything below is written from the declarations in gpuwatch_agent/config.py by `make golden`. -->
"""
