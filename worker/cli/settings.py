"""All settings that a command may use: of the worker, its HTTP client, and the installed sources."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from pydantic_core import PydanticUndefined

from worker.errors import SettingsError
from worker.http import HttpSettings
from worker.settings import EnvironmentSettings, SearchSettings, Settings
from worker.sources.registry import settings_classes

SettingsClass: TypeAlias = type[EnvironmentSettings]

WIDTH = 118


def all_settings_classes() -> list[SettingsClass]:
    """Return all settings classes, in the order in which they are listed."""
    return [Settings, *_classes_of_sources()]


def search_settings_classes() -> list[SettingsClass]:
    """Return the settings classes of a search without a database."""
    return [SearchSettings, *_classes_of_sources()]


def _classes_of_sources() -> list[SettingsClass]:
    return [HttpSettings, *dict.fromkeys(settings_classes())]


def read_settings(classes: Iterable[SettingsClass]) -> Mapping[SettingsClass, Any]:
    """Read settings from the environment; return each class's instance.

    Raises:
        SettingsError: With a line for each setting that is missing or wrong, of all classes.
    """
    read: dict[SettingsClass, EnvironmentSettings] = {}
    problems: list[str] = []
    for settings in classes:
        try:
            read[settings] = settings()
        except SettingsError as error:
            problems.append(str(error))
    if problems:
        raise SettingsError("\n".join(problems))
    return read


def example() -> str:
    """Return all settings with their descriptions and defaults, in the form of an environment file."""
    header = (
        "# Settings of the worker: copy to .env, or set in the environment. A line that is commented out is a default."
    )
    blocks = [block for settings in all_settings_classes() for block in _blocks(settings)]
    return "\n".join([header, *blocks]) + "\n"


def _blocks(settings: SettingsClass) -> Iterator[str]:
    # A class's own fields come before those that it inherits.
    for name in sorted(settings.model_fields, key=lambda name: name not in settings.__annotations__):
        field = settings.model_fields[name]
        variable, *others = settings.environment_names(name)
        lines = ["", *_comment(field.description or "")]
        if others:
            lines += _comment(f"Also read from {', '.join(others)}.")
        if field.default in (None, PydanticUndefined):
            lines.append(f"{variable}=")
        else:
            lines.append(f"# {variable}={_written(field.default)}")
        yield "\n".join(lines)


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent="# ")


def _written(default: object) -> str:
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    return str(default).lower() if isinstance(default, bool) else str(default)
