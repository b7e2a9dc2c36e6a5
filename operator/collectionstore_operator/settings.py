"""The settings of the operator's processes, read once from the environment; nothing else reads the variables."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass

NODE_COMMAND = "COLLECTIONSTORE_NODE_COMMAND"
LOG_LEVEL = "COLLECTIONSTORE_LOG_LEVEL"
LOG_LEVELS = ("debug", "info", "warning", "error")


class InvalidSetting(Exception):
    """A variable has a value that is not allowed; the text names it, its value and what is."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a supervisor is told from outside; all of it has defaults."""

    node_command: tuple[str, ...]
    """The program of a storage node, started without a shell; the node of this installation unless told otherwise."""
    log_level: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read the variables. Raises InvalidSetting."""
        command = shlex.split(environment.get(NODE_COMMAND, ""))
        level = environment.get(LOG_LEVEL, "info")
        if level not in LOG_LEVELS:
            raise InvalidSetting(f"{LOG_LEVEL} is {level!r}; allowed: {', '.join(LOG_LEVELS)}")
        return cls(tuple(command) or (sys.executable, "-P", "-m", "collectionstore_node"), level)
