"""`collectionstore-node`: settings, logs, the event loop, exit codes; nothing else."""

from __future__ import annotations

import asyncio
import os
import sys

import structlog
import uvloop

from collectionstore_node import __version__
from collectionstore_node.allocator import map_large_blocks
from collectionstore_node.app import run
from collectionstore_node.errors import (
    DataDirectoryRefused,
    DataTooNew,
    DescriptorsExhausted,
    NodeError,
    StorageFailed,
)
from collectionstore_node.lifecycle import NO_MEMORY, AddressInUse, end_without_memory
from collectionstore_node.memory import MemoryTooSmall
from collectionstore_node.security import CredentialsUnusable
from collectionstore_node.settings import PREFIX, VARIABLES, InvalidSetting, Settings
from collectionstore_telemetry import logs
from collectionstore_telemetry.logs import LogLevels

EXIT_USAGE = 64
EXIT_DATA_REFUSED = 65
EXIT_ADDRESS_TAKEN = 69
EXIT_INTERNAL = 70
EXIT_DESCRIPTORS = 71
EXIT_DISK = 74
EXIT_DATA_TOO_NEW = 76

_TRACES = """traces, by the standard variables of OpenTelemetry (docs/operate/tracing.md):
  on when OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is set; OTEL_TRACES_SAMPLER says which
"""

_EXIT_CODES = """exit codes:
  0   stopped by SIGTERM or SIGINT
  64  a setting is missing or out of range, the memory limit is too small, or the service account is not mounted
  65  the data directory belongs to another member or cluster, is corrupt, or is quarantined
  69  an address is in use
  70  a bug: an invariant was violated
  71  no file could be opened: the limit of open files is too low
  74  the disk reported an error
  75  memory ran out
  76  the data is of a feature level that this version does not support; it is unharmed
"""


def main() -> None:
    """Run the node that the environment describes and exit with one of the documented codes."""
    if len(sys.argv) > 1:
        sys.exit(_answer(sys.argv[1:]))
    try:
        settings = Settings.from_environment(os.environ)
    except InvalidSetting as error:
        sys.stderr.write(f"collectionstore-node: {error}\n(collectionstore-node --help lists all settings)\n")
        sys.exit(EXIT_USAGE)
    # BEFORE the first memtable: what is in the heap by then stays there.
    map_large_blocks(settings.document_bytes_max)
    levels = logs.configure(format_=settings.log_format, level=settings.log_level, member=settings.name)
    sys.exit(_run(settings, levels))


def _run(settings: Settings, levels: LogLevels) -> int:
    log = structlog.get_logger()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(settings, levels))
    except DataTooNew as error:
        log.error("node.refused", reason=str(error))
        return EXIT_DATA_TOO_NEW
    except DataDirectoryRefused as error:
        log.error("node.refused", reason=str(error))
        return EXIT_DATA_REFUSED
    except MemoryTooSmall as error:
        log.error("node.refused", reason=str(error))
        return EXIT_USAGE
    except (CredentialsUnusable, InvalidSetting) as error:
        log.error("node.refused", reason=str(error))
        return EXIT_USAGE
    except AddressInUse as error:
        log.error("node.refused", reason=str(error))
        return EXIT_ADDRESS_TAKEN
    except DescriptorsExhausted as error:
        log.error("descriptors.exhausted", reason=str(error))
        return EXIT_DESCRIPTORS
    except StorageFailed as error:
        log.error("disk.failed", reason=str(error))
        return EXIT_DISK
    except NO_MEMORY as error:
        end_without_memory("start or end", error)
    except NodeError as error:
        log.error("node.failed", reason=str(error), exc_info=error)
        return EXIT_INTERNAL
    return 0


def _answer(arguments: list[str]) -> int:
    match arguments:
        case ["--version"]:
            sys.stdout.write(f"collectionstore-node {__version__}\n")
        case ["--help" | "-h"]:
            sys.stdout.write(
                "usage: collectionstore-node [recover --help | adopt --help]\n\n"
                "Run one member of a Collection Store cluster.\n\n"
            )
            sys.stdout.write("settings, by environment variables:\n")
            for name, default, meaning in VARIABLES:
                sys.stdout.write(f"  {PREFIX + name:<36} {meaning} ({default})\n")
            sys.stdout.write(f"\n{_TRACES}\n{_EXIT_CODES}")
        case ["recover" | "adopt" as name, *rest]:
            return _of_directory(name, rest)
        case _:
            sys.stderr.write(
                "collectionstore-node takes --help, --version, recover or adopt; its settings are environment "
                "variables\n"
            )
            return EXIT_USAGE
    return 0


def _of_directory(name: str, arguments: list[str]) -> int:
    # Imported here: no node needs a parser of options.
    from collectionstore_node.recovery.cli import adopt_command, recover_command

    try:
        (adopt_command if name == "adopt" else recover_command).main(arguments, standalone_mode=True)
    except DataDirectoryRefused as error:
        sys.stderr.write(f"collectionstore-node: {error}\n")
        return EXIT_DATA_REFUSED
    except StorageFailed as error:
        sys.stderr.write(f"collectionstore-node: {error}\n")
        return EXIT_DISK
    return 0


if __name__ == "__main__":
    main()
