"""Names of functions in stacks. Frames name code, never values."""

from __future__ import annotations

from types import CodeType


def function_name(module: object, code: CodeType) -> str:
    """Return `module.qualified_name`, without the separators of collapsed stacks: semicolon and space."""
    return f"{module}.{code.co_qualname}".replace(";", ",").replace(" ", "_")
