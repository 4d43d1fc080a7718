"""Makes `docs/settings.md` from the settings classes, and from what `supabase/SCHEMA.md` says of `worker.settings`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from tools.site.navigation import PROJECT
from worker.cli.settings import all_settings_classes
from worker.http import HttpSettings
from worker.settings import EnvironmentSettings, Settings
from worker.sources.registry import BUILTIN_SOURCES

_BEFORE = """\
# Settings

Every setting of a worker and of the database, with its default. Made by `./scripts/docs` from the code.

A worker reads the [first table](#one-worker) from its environment and from a file `.env`. It refuses to start with a
wrong value, and names the variable and what is allowed. [.env.example](../.env.example) has the same settings in the
form of such a file. The [last table](#all-workers) is in the database, for all workers.

## One worker

A setting that is a secret appears in no log, message or table.
"""
_ALL_WORKERS = """\
## All workers

The columns of the only row of [`worker.settings`](../supabase/SCHEMA.md#settings). A change applies at the next
request of any worker:

```sql
update worker.settings set max_running_per_user = 2, freshness = '5 minutes';
```

The limits of sites are in `worker.bucket_limits` and `worker.breaker_rules`
([Site limits](site-limits.md#change-the-limits)), and the thresholds of alerts in `worker.alert_rules`
([Alerts](alerts.md#change-a-rule)).
"""
_BAR = r"\|"
_BOUNDS = (("ge", "from {}"), ("gt", "above {}"), ("le", "to {}"), ("lt", "below {}"))


def settings_page() -> str:
    """Return the page."""
    lines = [_BEFORE]
    for settings, title in _titles().items():
        lines += [f"### {title}", "", *_table(settings), ""]
    return "\n".join([*lines, _ALL_WORKERS, *_database_settings()]) + "\n"


def _titles() -> Mapping[type[EnvironmentSettings], str]:
    """Return the settings classes, each with what it belongs to, in the order in which they are read."""
    of_sources = {source.settings: source.name for source in BUILTIN_SOURCES if source.settings}
    names = {Settings: "The worker", HttpSettings: "Requests to sites"}
    return {
        settings: names.get(settings) or f"The source {of_sources[settings]}"
        for settings in all_settings_classes()
        if settings in names or settings in of_sources
    }


def _table(settings: type[EnvironmentSettings]) -> Iterator[str]:
    yield "| variable | default | meaning |"
    yield "|---|---|---|"
    # A class's own settings come before those that it inherits.
    for name in sorted(settings.model_fields, key=lambda name: name not in settings.__annotations__):
        field = settings.model_fields[name]
        variable, *others = settings.environment_names(name)
        meaning = [field.description or ""]
        if others:
            meaning.append(f"Also read from {', '.join(others)}.")
        if _is_secret(field.annotation):
            meaning.append("A secret.")
        if allowed := _allowed(field):
            meaning.append(f"Allowed: {allowed}.")
        yield _row(f"`{variable}`", _default(field), " ".join(meaning))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', _BAR) for cell in cells)} |"


def _is_secret(annotation: object) -> bool:
    return annotation is SecretStr or any(map(_is_secret, get_args(annotation)))


def _default(field: FieldInfo) -> str:
    value: Any = field.default
    if field.is_required():
        return "required"
    if value in (None, PydanticUndefined, ()):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _allowed(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(field.annotation))
    if field.annotation is bool:
        return "`true`, `false`"
    return " ".join(
        words.format(bound)
        for name, words in _BOUNDS
        for part in field.metadata
        if (bound := getattr(part, name, None)) is not None
    )


def _database_settings() -> Iterator[str]:
    yield "| column | default | null | meaning |"
    yield "|---|---|---|---|"
    for column, _, null, default, meaning in rows_of_schema():
        if column != "`is_only_row`":
            yield _row(column, without_cast(default), "allowed" if null == "yes" else "", meaning)


def rows_of_schema() -> Iterable[list[str]]:
    """Yield the columns of `worker.settings`: name, type, whether it may be null, default, meaning."""
    schema = (PROJECT / "supabase" / "SCHEMA.md").read_text()
    section = schema.partition("\n### settings\n")[2].partition("\n### ")[0]
    for line in section.splitlines():
        if line.startswith("| `"):
            yield [cell.strip() for cell in line.strip("|").split(" | ")]


def without_cast(default: str) -> str:
    """Return a default as an operator writes it."""
    return re.sub(r"::[\w\[\] ]+`$", "`", default)
