"""The settings of the operator's processes, read once from the environment, and nowhere else."""

from __future__ import annotations

import os
import re
import shlex
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from collectionstore_operator.faults import Fault, parse
from collectionstore_telemetry.tracing.settings import TraceSettings, read_trace_settings

Level = Literal["debug", "info", "warning", "error"]

NODE_COMMAND = "COLLECTIONSTORE_NODE_COMMAND"
LOG_LEVEL = "COLLECTIONSTORE_LOG_LEVEL"
LOG_LEVELS: tuple[Level, ...] = ("debug", "info", "warning", "error")
NAMESPACES = "COLLECTIONSTORE_NAMESPACES"
OWN_NAMESPACE = "COLLECTIONSTORE_OPERATOR_NAMESPACE"
POD_NAME = "COLLECTIONSTORE_POD_NAME"
LEASE_NAME = "COLLECTIONSTORE_LEASE"
ENROLMENT_BINDING = "COLLECTIONSTORE_ENROLMENT_BINDING"
HEALTH_ADDRESS = "COLLECTIONSTORE_HEALTH_ADDRESS"
PROFILING = "COLLECTIONSTORE_PROFILING"
FAULT_POINT = "COLLECTIONSTORE_FAULT_POINT"
FAULT_RECORD = "COLLECTIONSTORE_FAULT_RECORD"
KUBECONFIG = "KUBECONFIG"
NAMESPACE_PATTERN = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"


class InvalidSetting(Exception):
    """A variable has an invalid value; the message names it, its value and the allowed values."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of a local supervisor; all have defaults."""

    node_command: tuple[str, ...]
    """Command of a storage node, run without a shell; by default the node of this installation."""
    log_level: Level
    traces: TraceSettings
    """From the standard variables of OpenTelemetry; the SDK reads further ones itself."""
    fault: Fault | None = None
    """Where a test lets the process die or stop; None but in tests."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read the variables. Raises InvalidSetting."""
        command = shlex.split(environment.get(NODE_COMMAND, ""))
        program = tuple(command) or (sys.executable, "-P", "-m", "collectionstore_node")
        return cls(program, _log_level(environment), read_trace_settings(environment), _fault(environment))


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorSettings:
    """Settings of the operator on Kubernetes; the chart sets all of them."""

    namespaces: tuple[str, ...]
    """Namespaces to watch; empty for all."""
    own_namespace: str
    """Namespace of the Lease."""
    identity: str
    """Holder identity in the Lease: the name of the pod."""
    lease: str
    enrolment_binding: str
    """ClusterRoleBinding that lets members request certificates; empty if the operator does not manage it."""
    health_host: str
    health_port: int
    kubeconfig: str | None
    """None inside a cluster, where the pod's ServiceAccount is used."""
    log_level: Level
    traces: TraceSettings
    """As for a local supervisor."""
    profiling: bool
    """Whether profiling is enabled."""
    fault: Fault | None = None
    """Where a test lets the process die or stop; None but in tests."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> OperatorSettings:
        """Read the variables. Raises InvalidSetting."""
        host, _, port = environment.get(HEALTH_ADDRESS, "0.0.0.0:8080").rpartition(":")
        if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 1 << 16:
            raise InvalidSetting(f"{HEALTH_ADDRESS} is {environment[HEALTH_ADDRESS]!r}; allowed: host:port")
        return cls(
            namespaces=tuple(_namespace(NAMESPACES, one) for one in environment.get(NAMESPACES, "").split(",") if one),
            own_namespace=_namespace(OWN_NAMESPACE, environment.get(OWN_NAMESPACE, "default")),
            identity=environment.get(POD_NAME) or f"{socket.gethostname()}-{os.getpid()}",
            lease=environment.get(LEASE_NAME) or "collectionstore-operator",
            enrolment_binding=environment.get(ENROLMENT_BINDING, ""),
            health_host=host.strip("[]"),
            health_port=int(port),
            kubeconfig=environment.get(KUBECONFIG) or None,
            log_level=_log_level(environment),
            traces=read_trace_settings(environment),
            profiling=_enabled(PROFILING, environment),
            fault=_fault(environment),
        )


def _namespace(variable: str, text: str) -> str:
    if re.fullmatch(NAMESPACE_PATTERN, text.strip()) is None:
        raise InvalidSetting(f"{variable} has {text!r}; allowed: at most 63 of a-z, 0-9 and '-', not at the ends")
    return text.strip()


def _fault(environment: Mapping[str, str]) -> Fault | None:
    text = environment.get(FAULT_POINT, "")
    try:
        return parse(text, environment.get(FAULT_RECORD, "")) if text else None
    except ValueError as error:
        raise InvalidSetting(f"{FAULT_POINT} is {text!r}: {error}") from error


def _log_level(environment: Mapping[str, str]) -> Level:
    value = environment.get(LOG_LEVEL, "info")
    for level in LOG_LEVELS:
        if level == value:
            return level
    raise InvalidSetting(f"{LOG_LEVEL} is {value!r}; allowed: {', '.join(LOG_LEVELS)}")


def _enabled(variable: str, environment: Mapping[str, str]) -> bool:
    value = environment.get(variable, "Disabled")
    if value not in ("Enabled", "Disabled"):
        raise InvalidSetting(f"{variable} is {value!r}; allowed: Enabled, Disabled")
    return value == "Enabled"
