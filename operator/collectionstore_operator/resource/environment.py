"""Environment variables of the node container: a literal value, or where the kubelet takes it from.

Field names are those of core/v1. Source: Kubernetes API reference, EnvVar and EnvVarSource.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

from msgspec import Meta

from collectionstore_operator.resource.fields import VARIABLE_PATTERN, Name, Part
from collectionstore_operator.resource.violation import Violation

RESERVED_VARIABLES: Final = "COLLECTIONSTORE_"
"""Prefix of the node settings, which the operator derives from the resource."""

POD_FIELDS: Final = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
_MARKS: Final = r"metadata\.(labels|annotations)\['[-A-Za-z0-9_./]{1,317}'\]"
FIELD_PATTERN: Final = rf"^({'|'.join(one.replace('.', '[.]') for one in POD_FIELDS)}|{_MARKS})$"

RESERVED_VARIABLE: Final = Violation(
    "the variable is a setting that the operator derives from the resource",
    f"any name without the prefix {RESERVED_VARIABLES}",
)
TWO_VALUES: Final = Violation("a variable has one value", "either value or valueFrom")
ONE_SOURCE: Final = Violation("a value comes from one place", "one of secretKeyRef, configMapKeyRef and fieldRef")
ONE_SOURCE_CEL: Final = (
    "(has(self.secretKeyRef) ? 1 : 0) + (has(self.configMapKeyRef) ? 1 : 0) + (has(self.fieldRef) ? 1 : 0) == 1"
)

Key: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^[-._A-Za-z0-9]{1,253}$",
        max_length=253,
        title="a key of A-Z, a-z, 0-9, '-', '_' and '.'",
        description="key is the key within the object.",
    ),
]
Optional: TypeAlias = Annotated[
    bool,
    Meta(
        description="optional lets a pod start while the object or its key is missing, without the variable. If "
        "absent, false: the pod waits until it exists."
    ),
]


class SecretKeyRef(Part, frozen=True):
    """A key of a Secret."""

    name: Annotated[Name, Meta(description="name is the name of a Secret in the same namespace.")]
    key: Key
    optional: Optional | None = None


class ConfigMapKeyRef(Part, frozen=True):
    """A key of a ConfigMap."""

    name: Annotated[Name, Meta(description="name is the name of a ConfigMap in the same namespace.")]
    key: Key
    optional: Optional | None = None


class FieldRef(Part, frozen=True):
    """A field of the pod."""

    field_path: Annotated[
        str,
        Meta(
            pattern=FIELD_PATTERN,
            max_length=340,
            title=f"one of {', '.join(POD_FIELDS)}, metadata.labels['KEY'] and metadata.annotations['KEY']",
            description="fieldPath is the field, such as status.hostIP or metadata.labels['team'].",
        ),
    ]


class ValueFrom(Part, frozen=True):
    """The place that a value comes from; exactly one."""

    secret_key_ref: Annotated[SecretKeyRef, Meta(description="secretKeyRef is a key of a Secret.")] | None = None
    config_map_key_ref: (
        Annotated[ConfigMapKeyRef, Meta(description="configMapKeyRef is a key of a ConfigMap.")] | None
    ) = None
    field_ref: Annotated[FieldRef, Meta(description="fieldRef is a field of the pod.")] | None = None


class EnvironmentVariable(Part, frozen=True):
    """An environment variable of the node container."""

    name: Annotated[
        str,
        Meta(
            pattern=VARIABLE_PATTERN,
            max_length=253,
            title="a name of letters, digits and '_', such as TZ",
            description="name is the name of the variable. The prefix COLLECTIONSTORE_ is reserved for the operator.",
        ),
    ]
    value: Annotated[
        str, Meta(max_length=4_096, description="value is the literal value; $(NAME) is not expanded.")
    ] = ""
    value_from: (
        Annotated[
            ValueFrom,
            Meta(
                description="valueFrom is where the value comes from, in place of value. It is read when a member "
                "starts: a later change of the Secret or ConfigMap restarts no member, and reaches each with its next "
                "restart."
            ),
        ]
        | None
    ) = None


def reserved(variable: EnvironmentVariable) -> Violation | None:
    """Return the violation of a variable that is the operator's."""
    return RESERVED_VARIABLE if variable.name.startswith(RESERVED_VARIABLES) else None


def two_values(variable: EnvironmentVariable) -> Violation | None:
    """Return the violation of a variable with a literal value and a source."""
    return TWO_VALUES if variable.value and variable.value_from is not None else None


def several_sources(source: ValueFrom) -> Violation | None:
    """Return the violation of a source that names none or several places."""
    given = [one for one in (source.secret_key_ref, source.config_map_key_ref, source.field_ref) if one is not None]
    return None if len(given) == 1 else ONE_SOURCE
