"""Security contexts of the members' pods, with the names of the pod API: merged over those that the operator sets.

What would take a protection away is a field, too, so that it is refused with a reason and not dropped as unknown.
Source: Kubernetes docs, "Pod Security Standards", restricted; Kubernetes API reference, PodSecurityContext.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias

from msgspec import Meta

from collectionstore_operator.resource.fields import Part, atomic, rendered
from collectionstore_operator.resource.violation import Violation

ID_MAX: Final = (1 << 31) - 1

OptionText: TypeAlias = Annotated[str, Meta(min_length=1, max_length=253)]
CapabilityName: TypeAlias = Annotated[
    str, Meta(pattern=r"^[A-Z_]{1,63}$", max_length=63, title="a capability such as NET_RAW")
]
Capabilities: TypeAlias = Annotated[tuple[CapabilityName, ...], Meta(max_length=64, extra_json_schema=atomic())]

PRIVILEGED: Final = Violation("a privileged container could take over its machine", "absent or false")
ESCALATION: Final = Violation("a process could gain more rights than its parent", "absent or false")
WRITABLE: Final = Violation("the node writes to its volume only", "absent or true")
ROOT_USER: Final = Violation(
    "a process of root could change what the pod must not", "absent or true, and runAsUser from 1"
)
ADDED: Final = Violation("a node needs no capability, and has none", "absent or empty")
UNCONFINED: Final = Violation("localhostProfile names the file of the type Localhost, and only of that", "a path")


class SeLinuxOptions(Part, frozen=True):
    """The SELinux label of the processes."""

    user: Annotated[OptionText, Meta(description="user is the SELinux user.")] | None = None
    role: Annotated[OptionText, Meta(description="role is the SELinux role.")] | None = None
    type: Annotated[OptionText, Meta(description="type is the SELinux type.")] | None = None
    level: Annotated[OptionText, Meta(description="level is the SELinux level, such as s0:c1,c2.")] | None = None


class SeccompProfile(Part, frozen=True):
    """The filter of the system calls; Unconfined, which filters none, is not among them."""

    type: Annotated[
        Literal["RuntimeDefault", "Localhost"],
        Meta(description="type is RuntimeDefault, or Localhost for a file of the machine."),
    ]
    localhost_profile: (
        Annotated[
            str,
            Meta(
                pattern=r"^[A-Za-z0-9][-A-Za-z0-9._/]*$",
                max_length=253,
                title="a path such as profiles/node.json",
                description="localhostProfile is the path of the profile on the machine; only with the type Localhost.",
            ),
        ]
        | None
    ) = None


def unconfined(profile: SeccompProfile) -> Violation | None:
    """Return the violation of a profile whose file and type do not fit together."""
    return UNCONFINED if (profile.type == "Localhost") != (profile.localhost_profile is not None) else None


class PodSecurityContext(Part, frozen=True):
    """PodSecurityContext is merged over that of the operator: user and groups 10001, no root, RuntimeDefault."""

    run_as_user: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=ID_MAX,
                description="runAsUser is the ID of the user of the processes, never 0, which is root. Immutable once "
                "the cluster has its ID, because the files on its volumes belong to it. If absent, 10001.",
            ),
        ]
        | None
    ) = None
    run_as_group: (
        Annotated[
            int,
            Meta(ge=0, le=ID_MAX, description="runAsGroup is the ID of the group of the processes. If absent, 10001."),
        ]
        | None
    ) = None
    run_as_non_root: Annotated[bool, Meta(description="runAsNonRoot is always true; false is refused.")] | None = None
    fs_group: (
        Annotated[
            int,
            Meta(ge=0, le=ID_MAX, description="fsGroup is the ID of the group of the volume. If absent, 10001."),
        ]
        | None
    ) = None
    fs_group_change_policy: (
        Annotated[
            Literal["OnRootMismatch", "Always"],
            Meta(
                description="fsGroupChangePolicy determines when the group of all files is set at a start. If absent, "
                "OnRootMismatch."
            ),
        ]
        | None
    ) = None
    supplemental_groups: (
        Annotated[
            tuple[Annotated[int, Meta(ge=0, le=ID_MAX, description="The ID of a group.")], ...],
            Meta(
                max_length=16,
                description="supplementalGroups are the IDs of further groups of the processes.",
                extra_json_schema=atomic(),
            ),
        ]
        | None
    ) = None
    seccomp_profile: (
        Annotated[
            SeccompProfile,
            Meta(description="seccompProfile is the filter of system calls. If absent, RuntimeDefault."),
        ]
        | None
    ) = None
    se_linux_options: (
        Annotated[SeLinuxOptions, Meta(description="seLinuxOptions is the SELinux label of the pod.")] | None
    ) = None


class CapabilityChanges(Part, frozen=True):
    """The capabilities of the node container: all are dropped, whatever is listed."""

    add: Annotated[Capabilities, Meta(description="add must be empty: a node needs no capability.")] | None = None
    drop: Annotated[Capabilities, Meta(description="drop changes nothing: ALL are dropped.")] | None = None


class SecurityContext(Part, frozen=True):
    """SecurityContext is merged over that of the node container, which has no privilege that could be added to."""

    privileged: Annotated[bool, Meta(description="privileged is always false; true is refused.")] | None = None
    allow_privilege_escalation: (
        Annotated[bool, Meta(description="allowPrivilegeEscalation is always false; true is refused.")] | None
    ) = None
    read_only_root_filesystem: (
        Annotated[bool, Meta(description="readOnlyRootFilesystem is always true; false is refused.")] | None
    ) = None
    run_as_non_root: Annotated[bool, Meta(description="runAsNonRoot is always true; false is refused.")] | None = None
    capabilities: (
        Annotated[CapabilityChanges, Meta(description="capabilities are those of the container: none.")] | None
    ) = None
    seccomp_profile: (
        Annotated[
            SeccompProfile,
            Meta(description="seccompProfile is the filter of system calls. If absent, that of the pod."),
        ]
        | None
    ) = None
    se_linux_options: (
        Annotated[SeLinuxOptions, Meta(description="seLinuxOptions is the SELinux label of the container.")] | None
    ) = None


def merged(safe: Mapping[str, Any], given: PodSecurityContext | SecurityContext | None) -> dict[str, Any]:
    """Return a security context as JSON: what the resource sets over what is safe.

    Capabilities are never merged: ALL stay dropped.
    """
    found = {**safe, **rendered(given)} if given is not None else dict(safe)
    if "capabilities" in safe:
        found["capabilities"] = safe["capabilities"]
    return found
