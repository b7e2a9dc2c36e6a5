"""Validation rules across fields, each in two forms side by side: CEL for the API server, Python for `parse`.

The CRD contains the CEL, so that the API server rejects `kubectl apply` and `kubectl scale` immediately, without a
webhook. `parse` evaluates the Python, because csctl local has no API server, and because a stored object may be older
than the rule. Both return the same message. CEL sees an object with all defaults applied; a field without a default may
be absent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from collectionstore_operator.errors import FieldError
from collectionstore_operator.resource import access_rules as access
from collectionstore_operator.resource import bootstrap, capacities, environment, labels, pod_security, repository
from collectionstore_operator.resource.access_control import ClaimRule, JwtIssuer, ServiceAccountRule, UnsafeAccess
from collectionstore_operator.resource.access_specs import FieldMask, RoleRule, UserSpec
from collectionstore_operator.resource.bootstrap import Origin
from collectionstore_operator.resource.compute import Resources
from collectionstore_operator.resource.deletion import Deletion
from collectionstore_operator.resource.environment import RESERVED_VARIABLES, EnvironmentVariable, ValueFrom
from collectionstore_operator.resource.fields import Part, fields_of
from collectionstore_operator.resource.network import AUTHORITY_LIFETIME_S, CERTIFICATE_LIFETIME_S, Tls
from collectionstore_operator.resource.pod_security import (
    CapabilityChanges,
    PodSecurityContext,
    SeccompProfile,
    SecurityContext,
)
from collectionstore_operator.resource.pod_template import PodTemplate
from collectionstore_operator.resource.raft import PROFILES, Raft
from collectionstore_operator.resource.repository import Repository
from collectionstore_operator.resource.scheduling import (
    LabelRequirement,
    NodeRequirement,
    Toleration,
    TopologySpreadConstraint,
)
from collectionstore_operator.resource.schema import child
from collectionstore_operator.resource.service import Service
from collectionstore_operator.resource.spec import Spec
from collectionstore_operator.resource.storage import Encryption, ReleasedVolumes, Storage
from collectionstore_operator.resource.violation import Violation

SPREAD_KEYS: Final = ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
"""Topologies of spec.spread."""
RESERVED_LABELS: Final = tuple(sorted({*labels.object_labels(""), labels.VERSION_LABEL}))
_RESERVED_PREFIX: Final = f"{labels.GROUP}/"


class Rule(NamedTuple):
    """A validation rule for a field of a struct."""

    field: str
    """Name in the manifest, such as `electionTimeoutMinMilliseconds`."""
    cel: str
    """CEL expression that is true for a valid value."""
    message: Violation | str
    """Message for an invalid value; a CEL expression if the message depends on the value.

    Numbers are inserted with `format`: the API server limits the estimated cost of an expression, and cannot estimate
    the length of concatenated strings.
    """
    violation: Callable[[Any], Violation | None]


def violations(
    value: object, path: str, rules: Mapping[type[Part], tuple[Rule, ...]] | None = None
) -> Iterator[FieldError]:
    """Yield every violation of `rules`, RULES by default, in `value` or below it, in document order."""
    rules = RULES if rules is None else rules
    if isinstance(value, Part):
        for rule in rules.get(type(value), ()):
            violation = rule.violation(value)
            if violation is not None:
                yield FieldError(child(path, rule.field), *violation)
        for field in fields_of(type(value)):
            yield from violations(getattr(value, field.name), child(path, field.encode_name), rules)
    elif isinstance(value, tuple):
        for position, one in enumerate(value):
            yield from violations(one, f"{path}[{position}]", rules)


def name_errors(name: str) -> list[FieldError]:
    """Return the error of a cluster's name from which the same names would be derived as from another one's."""
    return [FieldError("metadata.name", *RESERVED_NAME)] if name.endswith(labels.RESERVED_SUFFIXES) else []


def quoted(text: str) -> str:
    """Return a CEL string literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


RESERVED_NAME: Final = Violation(
    "names with this ending are those of the objects of other clusters",
    f"any ending except {', '.join(labels.RESERVED_SUFFIXES)}",
)
_SINGLE = Violation(
    "a single replica tolerates no failure and has no second copy of the data",
    "3, 5, 7 or 9; 1 with spec.unsafe.allowSingleReplica: true",
)
_EVEN = Violation(
    "%d replicas tolerate no more failures than %d", "3, 5, 7 or 9; even with spec.unsafe.allowEvenReplicas: true"
)
_CLOSE = Violation(
    "%d is too close to the heartbeat interval: one delayed heartbeat would start an election",
    "at least %d, twice spec.raft.heartbeatMilliseconds",
)
_TIED = Violation(
    "%d leaves no range for randomized election timeouts: votes would split",
    "at least %d, electionTimeoutMinMilliseconds plus heartbeatMilliseconds",
)
_PLAIN_TEXT = Violation(
    "client traffic would cross the network in plain text", "Required; Disabled only with csctl local"
)
_SHORT_AUTHORITY = Violation(
    "with %d seconds the authority could end before the certificates that it signs",
    "at least %d, six times certificateLifetimeSeconds",
)
_RESERVED_LABEL = Violation(
    "it would override a label or annotation set by the operator",
    f"any key except {', '.join(RESERVED_LABELS)} and keys with the prefix {_RESERVED_PREFIX}",
)
_ONE_SOURCE = Violation("keys come from one place", "secretName or url, and one of them")
_KEPT_FOR_EVER = Violation("volumes are kept for ever with the policy Keep", "absent; any with Delete")
_SPREAD_KEY = Violation(
    "spec.spread distributes the members over zones and nodes", f"any key except {', '.join(SPREAD_KEYS)}"
)
_DOMAINS = Violation("minDomains requires whenUnsatisfiable DoNotSchedule", "absent; any with DoNotSchedule")
_EXISTS_VALUE = Violation("the operator Exists takes no value", "no value with Exists; any value with Equal")
_NO_KEY = Violation("an absent key matches every taint and requires the operator Exists", "Exists; Equal with a key")
_SECONDS = Violation("tolerationSeconds requires the effect NoExecute", "absent; any with effect NoExecute")
_NO_RESTORE = Violation("is not for a local cluster", "absent; csctl restore makes another one")
_NO_FINAL_BACKUP = Violation("is not for a local cluster", "absent; csctl backup create makes a backup")
_NO_RELEASED_VOLUMES = Violation("is not for a local cluster", "absent; remove the folders of former members")
_NO_GROWTH = Violation("is not for a local cluster", "absent; its data directories are as large as their disk")
_NO_VALUES = Violation("In and NotIn require values", "at least one; none with Exists and DoesNotExist")
_VALUES = Violation("Exists and DoesNotExist take no values", "none; at least one with In and NotIn")
_NOT_EXTERNAL = Violation("no traffic from outside reaches a ClusterIP", "absent; any with NodePort or LoadBalancer")
_NO_BALANCER = Violation("only a load balancer has source ranges", "absent; any with LoadBalancer")
_ONE_NUMBER = Violation("Gt and Lt require one integer", "one value of digits")


_CROSSED = Violation(
    "an autoscaler needs a range to scale in, and at least one read replica to scale from",
    "spec.readReplicas or more, with spec.readReplicas of at least 1",
)


def _crossed(spec: Spec) -> Violation | None:
    least, most = spec.read_replicas or 0, spec.read_replicas_max
    return None if most is None or most >= least >= 1 else _CROSSED


def _single(spec: Spec) -> Violation | None:
    return _SINGLE if spec.replicas == 1 and not spec.unsafe.allow_single_replica else None


def _even(spec: Spec) -> Violation | None:
    if spec.replicas % 2 or spec.unsafe.allow_even_replicas:
        return None
    return _EVEN.of(spec.replicas, spec.replicas - 1)


def _election_min(raft: Raft) -> Violation | None:
    heartbeat, lowest, _ = raft.timings
    return None if lowest >= 2 * heartbeat else _CLOSE.of(lowest, 2 * heartbeat)


def _election_max(raft: Raft) -> Violation | None:
    heartbeat, lowest, highest = raft.timings
    return None if highest >= lowest + heartbeat else _TIED.of(highest, lowest + heartbeat)


def _timing(field: str, position: int) -> str:
    """Return a CEL expression for one of the timings: the field if it is set, or the value of the profile."""
    by_profile = "0"
    for profile, timings in PROFILES.items():
        by_profile = f"(self.profile == {quoted(profile)} ? {timings[position]} : {by_profile})"
    return f"(has(self.{field}) ? self.{field} : {by_profile})"


LEAVES_PER_AUTHORITY: Final = 6
"""An authority counts as overdue when a sixth of its lifetime is left, and no leaf outlives it."""
_AUTHORITY: Final = f"(has(self.authorityLifetimeSeconds) ? self.authorityLifetimeSeconds : {AUTHORITY_LIFETIME_S})"
_LEAST_AUTHORITY: Final = (
    f"{LEAVES_PER_AUTHORITY} * "
    f"(has(self.certificateLifetimeSeconds) ? self.certificateLifetimeSeconds : {CERTIFICATE_LIFETIME_S})"
)
_HEARTBEAT: Final = _timing("heartbeatMilliseconds", 0)
_LOWEST: Final = _timing("electionTimeoutMinMilliseconds", 1)
_HIGHEST: Final = _timing("electionTimeoutMaxMilliseconds", 2)


def _plain_text(tls: Tls) -> Violation | None:
    return _PLAIN_TEXT if tls.client == "Disabled" else None


def _short_authority(tls: Tls) -> Violation | None:
    least = LEAVES_PER_AUTHORITY * tls.certificate_lifetime_s
    given = tls.authority_lifetime_s
    return None if given >= least else _SHORT_AUTHORITY.of(given, least)


def _reserved(keys: Mapping[str, str] | None) -> Violation | None:
    taken = any(key in RESERVED_LABELS or key.startswith(_RESERVED_PREFIX) for key in keys or ())
    return _RESERVED_LABEL if taken else None


def _reserved_cel(field: str) -> str:
    names = ", ".join(quoted(name) for name in RESERVED_LABELS)
    taken = f"key in [{names}] || key.startsWith({quoted(_RESERVED_PREFIX)})"
    return f"!has(self.{field}) || !self.{field}.exists(key, {taken})"


def _service(field: str, types: tuple[str, ...], violation: Violation) -> Rule:
    """Return the rule of a field that only Services of these types have."""
    attribute = next(one.name for one in fields_of(Service) if one.encode_name == field)
    named = ", ".join(quoted(one) for one in types)

    def violated(service: Service) -> Violation | None:
        given = bool(getattr(service, attribute))
        return violation if given and service.effective_type not in types else None

    given = f"has(self.{field})" + (f" && self.{field}.size() > 0" if field.endswith("Ranges") else "")
    return Rule(field, f"!({given}) || (has(self.type) && self.type in [{named}])", violation, violated)


def _fixed(field: str, violation: Violation, *, value: bool) -> Rule:
    """Return the rule of a field that may only say what holds anyway."""

    def violated(part: Part) -> Violation | None:
        attribute = next(one.name for one in fields_of(type(part)) if one.encode_name == field)
        return violation if getattr(part, attribute) not in (None, value) else None

    return Rule(field, f"!has(self.{field}) || self.{field} == {str(value).lower()}", violation, violated)


def _grants(field: str, roles: Callable[[Any], tuple[str, ...] | None]) -> Rule:
    """Return the rule of a field with roles that are granted."""
    return Rule(field, access.operator_cel(field), access.OPERATOR_ROLE, lambda one: access.granted(roles(one)))


def _values(requirement: LabelRequirement | NodeRequirement) -> Violation | None:
    if requirement.operator in ("In", "NotIn"):
        return None if requirement.values else _NO_VALUES
    if requirement.operator in ("Exists", "DoesNotExist"):
        return _VALUES if requirement.values else None
    whole = len(requirement.values) == 1 and requirement.values[0].isascii() and requirement.values[0].isdigit()
    return None if whole else _ONE_NUMBER


_NAMED: Final = "self.operator in ['In', 'NotIn']"
_UNNAMED: Final = "self.operator in ['Exists', 'DoesNotExist']"
_VALUES_CEL: Final = (
    f"{_NAMED} ? has(self.values) && self.values.size() > 0 : "
    f"{_UNNAMED} ? !has(self.values) || self.values.size() == 0 : "
    "has(self.values) && self.values.size() == 1 && self.values[0].matches('^[0-9]+$')"
)
_VALUES_MESSAGE: Final = (
    f"{_NAMED} ? {quoted(str(_NO_VALUES))} : {_UNNAMED} ? {quoted(str(_VALUES))} : {quoted(str(_ONE_NUMBER))}"
)

RULES: Final[Mapping[type[Part], tuple[Rule, ...]]] = {
    Spec: (
        Rule("replicas", "self.replicas != 1 || self.unsafe.allowSingleReplica", _SINGLE, _single),
        Rule(
            "replicas",
            "self.replicas % 2 == 1 || self.unsafe.allowEvenReplicas",
            f"{quoted(str(_EVEN))}.format([self.replicas, self.replicas - 1])",
            _even,
        ),
        Rule(
            "readReplicasMax",
            "!has(self.readReplicasMax) || "
            "(has(self.readReplicas) && self.readReplicas >= 1 && self.readReplicasMax >= self.readReplicas)",
            _CROSSED,
            _crossed,
        ),
    ),
    Raft: (
        Rule(
            "electionTimeoutMinMilliseconds",
            f"{_LOWEST} >= 2 * {_HEARTBEAT}",
            f"{quoted(str(_CLOSE))}.format([{_LOWEST}, 2 * {_HEARTBEAT}])",
            _election_min,
        ),
        Rule(
            "electionTimeoutMaxMilliseconds",
            f"{_HIGHEST} >= {_LOWEST} + {_HEARTBEAT}",
            f"{quoted(str(_TIED))}.format([{_HIGHEST}, {_LOWEST} + {_HEARTBEAT}])",
            _election_max,
        ),
    ),
    Storage: (
        Rule("size", capacities.LARGE_CEL, capacities.LARGE, capacities.large),
        Rule("quota", capacities.QUOTA_SMALL_CEL, capacities.QUOTA_SMALL, capacities.quota_small),
        Rule("quota", capacities.QUOTA_LARGE_CEL, capacities.QUOTA_LARGE, capacities.quota_large),
        Rule("growth", capacities.GROWTH_SMALL_CEL, capacities.GROWTH_SMALL, capacities.growth_small),
        Rule("labels", _reserved_cel("labels"), _RESERVED_LABEL, lambda one: _reserved(one.labels)),
        Rule("annotations", _reserved_cel("annotations"), _RESERVED_LABEL, lambda one: _reserved(one.annotations)),
    ),
    Encryption: (
        Rule(
            "secretName",
            "has(self.secretName) != has(self.url)",
            _ONE_SOURCE,
            lambda one: _ONE_SOURCE if (one.secret_name is None) == (one.url is None) else None,
        ),
    ),
    ReleasedVolumes: (
        Rule(
            "afterSeconds",
            "!has(self.afterSeconds) || self.policy == 'Delete'",
            _KEPT_FOR_EVER,
            lambda one: _KEPT_FOR_EVER if one.after_seconds is not None and one.policy != "Delete" else None,
        ),
    ),
    Tls: (
        Rule(
            "authorityLifetimeSeconds",
            f"{_AUTHORITY} >= {_LEAST_AUTHORITY}",
            f"{quoted(str(_SHORT_AUTHORITY))}.format([{_AUTHORITY}, {_LEAST_AUTHORITY}])",
            _short_authority,
        ),
    ),
    Resources: (
        Rule(
            "requests",
            capacities.whole_cel("requests"),
            capacities.WHOLE,
            capacities.whole(lambda one: one.requests),
        ),
        Rule(
            "limits",
            capacities.whole_cel("limits"),
            capacities.WHOLE,
            capacities.whole(lambda one: one.limits),
        ),
        Rule("limits", capacities.ORDERED_CEL, capacities.ORDERED, capacities.ordered),
        Rule("limits", capacities.MEMORY_CEL, capacities.MEMORY, capacities.memory),
    ),
    PodTemplate: (
        Rule("labels", _reserved_cel("labels"), _RESERVED_LABEL, lambda pod: _reserved(pod.labels)),
        Rule("annotations", _reserved_cel("annotations"), _RESERVED_LABEL, lambda pod: _reserved(pod.annotations)),
    ),
    Service: (
        Rule("labels", _reserved_cel("labels"), _RESERVED_LABEL, lambda one: _reserved(one.labels)),
        Rule("annotations", _reserved_cel("annotations"), _RESERVED_LABEL, lambda one: _reserved(one.annotations)),
        _service("externalTrafficPolicy", ("NodePort", "LoadBalancer"), _NOT_EXTERNAL),
        _service("loadBalancerSourceRanges", ("LoadBalancer",), _NO_BALANCER),
    ),
    EnvironmentVariable: (
        Rule(
            "name",
            f"!self.name.startsWith({quoted(RESERVED_VARIABLES)})",
            environment.RESERVED_VARIABLE,
            environment.reserved,
        ),
        Rule(
            "valueFrom",
            "!has(self.valueFrom) || !has(self.value) || self.value == ''",
            environment.TWO_VALUES,
            environment.two_values,
        ),
    ),
    ValueFrom: (
        # At a field that exists: a rule about several has no other place.
        Rule("secretKeyRef", environment.ONE_SOURCE_CEL, environment.ONE_SOURCE, environment.several_sources),
    ),
    PodSecurityContext: (_fixed("runAsNonRoot", pod_security.ROOT_USER, value=True),),
    SecurityContext: (
        _fixed("privileged", pod_security.PRIVILEGED, value=False),
        _fixed("allowPrivilegeEscalation", pod_security.ESCALATION, value=False),
        _fixed("readOnlyRootFilesystem", pod_security.WRITABLE, value=True),
        _fixed("runAsNonRoot", pod_security.ROOT_USER, value=True),
    ),
    CapabilityChanges: (
        Rule(
            "add",
            "!has(self.add) || self.add.size() == 0",
            pod_security.ADDED,
            lambda one: pod_security.ADDED if one.add else None,
        ),
    ),
    SeccompProfile: (
        Rule(
            "localhostProfile",
            "(self.type == 'Localhost') == has(self.localhostProfile)",
            pod_security.UNCONFINED,
            pod_security.unconfined,
        ),
    ),
    TopologySpreadConstraint: (
        Rule(
            "topologyKey",
            f"!(self.topologyKey in [{', '.join(map(quoted, SPREAD_KEYS))}])",
            _SPREAD_KEY,
            lambda one: _SPREAD_KEY if one.topology_key in SPREAD_KEYS else None,
        ),
        Rule(
            "minDomains",
            "!has(self.minDomains) || (has(self.whenUnsatisfiable) && self.whenUnsatisfiable == 'DoNotSchedule')",
            _DOMAINS,
            lambda one: _DOMAINS if one.min_domains and one.when_unsatisfiable != "DoNotSchedule" else None,
        ),
    ),
    Toleration: (
        Rule(
            "operator",
            "has(self.key) || self.operator == 'Exists'",
            _NO_KEY,
            lambda one: _NO_KEY if one.key is None and one.operator == "Equal" else None,
        ),
        Rule(
            "value",
            "!has(self.value) || self.value == '' || self.operator == 'Equal'",
            _EXISTS_VALUE,
            lambda one: _EXISTS_VALUE if one.value and one.operator == "Exists" else None,
        ),
        Rule(
            "tolerationSeconds",
            "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
            _SECONDS,
            lambda one: _SECONDS if one.toleration_seconds is not None and one.effect != "NoExecute" else None,
        ),
    ),
    LabelRequirement: (Rule("values", _VALUES_CEL, _VALUES_MESSAGE, _values),),
    NodeRequirement: (Rule("values", _VALUES_CEL, _VALUES_MESSAGE, _values),),
    Repository: (Rule("options", repository.SECRETS_CEL, repository.SECRETS, repository.exposed),),
    Origin: (
        Rule("repository", bootstrap.ONE_SOURCE_CEL, bootstrap.ONE_SOURCE, Origin.ambiguous),
        Rule("volumeSnapshot", bootstrap.OF_A_BACKUP_CEL, bootstrap.OF_A_BACKUP, Origin.overdetermined),
    ),
    JwtIssuer: (Rule("jwksUrl", access.ONE_SOURCE_CEL, access.ONE_SOURCE, access.undiscovered),),
    ClaimRule: (_grants("roles", lambda one: one.roles),),
    ServiceAccountRule: (_grants("roles", lambda one: one.roles),),
    UnsafeAccess: (_grants("anonymous", lambda one: one.anonymous),),
    UserSpec: (
        _grants("roles", lambda one: one.roles),
        Rule("overlapSeconds", access.OVERLAP_CEL, access.OVERLAP, access.overlap),
    ),
    RoleRule: (
        Rule("collections", access.NO_PLACE_CEL, access.NO_PLACE, access.placeless),
        Rule("filter", access.NOT_SELECTIVE_CEL, access.NOT_SELECTIVE, access.unselective),
        Rule("verbs", access.ALL_VERBS_CEL, access.ALL_VERBS, access.all_verbs),
    ),
    FieldMask: (Rule("show", access.ONE_MASK_CEL, access.ONE_MASK, access.one_mask),),
}
"""Rules for every runtime, by struct."""

KUBERNETES_RULES: Final[Mapping[type[Part], tuple[Rule, ...]]] = {
    Tls: (Rule("client", "self.client != 'Disabled'", _PLAIN_TEXT, _plain_text),),
    Repository: (
        Rule("claimName", repository.CLAIM_CEL, repository.CLAIM, repository.unclaimed),
        Rule("url", repository.PLACE_CEL, repository.PLACE, repository.misplaced),
    ),
}
"""Additional rules on Kubernetes, by struct."""
LOCAL_RULES: Final[Mapping[type[Part], tuple[Rule, ...]]] = {
    Spec: (Rule("restore", "", _NO_RESTORE, lambda one: _NO_RESTORE if one.restore is not None else None),),
    Storage: (
        Rule("growth", "", _NO_GROWTH, lambda one: _NO_GROWTH if one.growth is not None else None),
        Rule(
            "releasedVolumes",
            "",
            _NO_RELEASED_VOLUMES,
            lambda one: _NO_RELEASED_VOLUMES if one.released_volumes is not None else None,
        ),
    ),
    Deletion: (
        Rule(
            "finalBackup",
            "",
            _NO_FINAL_BACKUP,
            lambda one: _NO_FINAL_BACKUP if one.final_backup is not None else None,
        ),
    ),
    Repository: (Rule("claimName", "", repository.NO_CLAIM, repository.claimed),),
    Origin: (
        Rule(
            "volumeSnapshot",
            "",
            bootstrap.NO_SNAPSHOTS,
            lambda one: bootstrap.NO_SNAPSHOTS if one.volume_snapshot is not None else None,
        ),
    ),
}
"""Those of clusters of one machine alone. They have no CEL: there is no API server."""
