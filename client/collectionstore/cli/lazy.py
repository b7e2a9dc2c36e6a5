"""Groups that list their commands by what they are for, and import them when they are used: `--help` stays fast."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import click


class Lazy(NamedTuple):
    """A command that is imported when it is used: `module:attribute`, and what lists say of it."""

    place: str
    help: str

    def load(self) -> click.Command:
        """Import the command."""
        module, _, name = self.place.partition(":")
        found = getattr(importlib.import_module(module), name)
        if not isinstance(found, click.Command):
            raise TypeError(f"{self.place} is not a click command")
        return found


class LazyGroup(click.Group):
    """A group with commands of both kinds; `sections` names those of each section, in order, the others come last."""

    lazy: ClassVar[Mapping[str, Lazy]] = {}
    sections: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *self.lazy})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = super().get_command(ctx, cmd_name)
        if found is not None or cmd_name not in self.lazy:
            return found
        return self.lazy[cmd_name].load()

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by section."""
        names = self.list_commands(ctx)
        listed = {one for section in self.sections.values() for one in section}
        others = tuple(one for one in names if one not in listed)
        for title, section in {**self.sections, "Other commands": others}.items():
            rows = [(one, self._help(ctx, one)) for one in section if one in names]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def _help(self, ctx: click.Context, name: str) -> str:
        if name in self.lazy:
            return self.lazy[name].help
        found = self.get_command(ctx, name)
        return found.get_short_help_str(limit=70) if found is not None else ""
