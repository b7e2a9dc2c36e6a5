"""The scenarios: one module per subject, one declared function per test.

More modules than elsewhere: each is a subject of its own, and all are found by their place here.
"""

from __future__ import annotations

import importlib
import pkgutil

from collectionstore_e2e.harness.scenario import Scenario, declared


def find_scenarios() -> dict[str, Scenario]:
    """Import all modules of this package and return the scenarios they declare, in alphabetical order of modules."""
    for module in sorted(one.name for one in pkgutil.iter_modules(__path__)):
        importlib.import_module(f"{__name__}.{module}")
    return declared()
