"""Rules between fields of the spec, each written twice side by side: in CEL for the API server, in Python for `parse`.

The schema carries the CEL (`crd`), so that `kubectl apply` and `kubectl scale` are refused at once, and no webhook is
needed. `parse` applies the Python, because csctl local has no API server, and because an object may be older than the
rule. Both say the same sentence. CEL sees an object with all its defaults; a field without one may be absent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from collectionstore_operator.errors import FieldError
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.fields import Part
from collectionstore_operator.resource.pod_template import RESERVED_VARIABLES, EnvironmentVariable, PodTemplate
from collectionstore_operator.resource.scheduling import LabelRequirement, NodeRequirement, Toleration
from collectionstore_operator.resource.schema import child
from collectionstore_operator.resource.spec import PROFILES, Raft, Spec, Tls

RESERVED_LABELS: Final = tuple(sorted({*labels.object_labels(""), labels.VERSION_LABEL}))
_RESERVED_PREFIX: Final = f"{labels.GROUP}/"


class Fault(NamedTuple):
    """What is wrong with a field, and what would be right; both may hold `%d` for numbers that are filled in."""

    message: str
    allowed: str

    def __str__(self) -> str:
        return f"{self.message}; allowed: {self.allowed}"

    def of(self, first: int, second: int) -> Fault:
        """Return the fault with its two numbers filled in: one in each text, or both in the first."""
        if self.message.count("%d") == 2:
            return Fault(self.message % (first, second), self.allowed)
        return Fault(self.message % first, self.allowed % second)


class Rule(NamedTuple):
    """One rule about a field of a struct."""

    field: str
    """As users write it: `electionTimeoutMinMilliseconds`."""
    cel: str
    """True of a value that is right."""
    message: Fault | str
    """What is said otherwise; a CEL expression where the sentence depends on the value.

    Numbers are put in by `format`: a concatenation of texts whose length the API server cannot estimate is too dear.
    """
    fault: Callable[[Any], Fault | None]


def faults(
    value: object, path: str, rules: Mapping[type[Part], tuple[Rule, ...]] | None = None
) -> Iterator[FieldError]:
    """Yield every rule of `rules`, or of RULES, that is broken in `value` or below it, in document order."""
    rules = RULES if rules is None else rules
    if isinstance(value, Part):
        for rule in rules.get(type(value), ()):
            fault = rule.fault(value)
            if fault is not None:
                yield FieldError(child(path, rule.field), *fault)
        for field in msgspec.structs.fields(value):
            yield from faults(getattr(value, field.name), child(path, field.encode_name), rules)
    elif isinstance(value, tuple):
        for position, one in enumerate(value):
            yield from faults(one, f"{path}[{position}]", rules)


def quoted(text: str) -> str:
    """Return a CEL string literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


_SINGLE = Fault(
    "one replica tolerates no failure and keeps no second copy",
    "3, 5, 7 or 9; 1 with spec.unsafe.allowSingleReplica: true",
)
_EVEN = Fault(
    "%d replicas tolerate no more failures than %d", "3, 5, 7 or 9; even with spec.unsafe.allowEvenReplicas: true"
)
_CLOSE = Fault(
    "%d is too close to the heartbeat: one late heartbeat would cause an election",
    "at least %d, twice spec.raft.heartbeatMilliseconds",
)
_TIED = Fault(
    "%d leaves no room to draw at random: members would tie",
    "at least %d, electionTimeoutMinMilliseconds plus heartbeatMilliseconds",
)
_PLAIN_TEXT = Fault(
    "clients would reach the members over the network in plain text", "Required; Disabled with csctl local, on loopback"
)
_RESERVED_LABEL = Fault(
    "it would replace a label or annotation that the operator sets",
    f"any but {', '.join(RESERVED_LABELS)} and those that begin with {_RESERVED_PREFIX}",
)
_RESERVED_VARIABLE = Fault("it is a setting that follows from the resource", f"any but {RESERVED_VARIABLES}...")
_EXISTS_VALUE = Fault("the operator Exists takes no value", "none with Exists; any with Equal")
_NO_KEY = Fault("without a key every taint matches, whatever its value", "Exists; Equal with a key")
_SECONDS = Fault("only an eviction can be put off, by the effect NoExecute", "none, or with effect NoExecute")
_NO_VALUES = Fault("In and NotIn compare with values", "at least one; none with Exists and DoesNotExist")
_VALUES = Fault("Exists and DoesNotExist compare with nothing", "none; at least one with In and NotIn")
_ONE_NUMBER = Fault("Gt and Lt compare with one whole number", "one value of digits")


def _single(spec: Spec) -> Fault | None:
    return _SINGLE if spec.replicas == 1 and not spec.unsafe.allow_single_replica else None


def _even(spec: Spec) -> Fault | None:
    if spec.replicas % 2 or spec.unsafe.allow_even_replicas:
        return None
    return _EVEN.of(spec.replicas, spec.replicas - 1)


def _election_min(raft: Raft) -> Fault | None:
    heartbeat, lowest, _ = raft.timings
    return None if lowest >= 2 * heartbeat else _CLOSE.of(lowest, 2 * heartbeat)


def _election_max(raft: Raft) -> Fault | None:
    heartbeat, lowest, highest = raft.timings
    return None if highest >= lowest + heartbeat else _TIED.of(highest, lowest + heartbeat)


def _timing(field: str, position: int) -> str:
    """Return a CEL expression for one of the timings: as given, or the profile's."""
    by_profile = "0"
    for profile, timings in PROFILES.items():
        by_profile = f"(self.profile == {quoted(profile)} ? {timings[position]} : {by_profile})"
    return f"(has(self.{field}) ? self.{field} : {by_profile})"


_HEARTBEAT: Final = _timing("heartbeatMilliseconds", 0)
_LOWEST: Final = _timing("electionTimeoutMinMilliseconds", 1)
_HIGHEST: Final = _timing("electionTimeoutMaxMilliseconds", 2)


def _plain_text(tls: Tls) -> Fault | None:
    return _PLAIN_TEXT if tls.client == "Disabled" else None


def _reserved(keys: Mapping[str, str]) -> Fault | None:
    taken = any(key in RESERVED_LABELS or key.startswith(_RESERVED_PREFIX) for key in keys)
    return _RESERVED_LABEL if taken else None


def _reserved_cel(field: str) -> str:
    names = ", ".join(quoted(name) for name in RESERVED_LABELS)
    taken = f"key in [{names}] || key.startsWith({quoted(_RESERVED_PREFIX)})"
    return f"!has(self.{field}) || !self.{field}.exists(key, {taken})"


def _values(requirement: LabelRequirement | NodeRequirement) -> Fault | None:
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
    PodTemplate: (
        Rule("labels", _reserved_cel("labels"), _RESERVED_LABEL, lambda pod: _reserved(pod.labels)),
        Rule("annotations", _reserved_cel("annotations"), _RESERVED_LABEL, lambda pod: _reserved(pod.annotations)),
    ),
    EnvironmentVariable: (
        Rule(
            "name",
            f"!self.name.startsWith({quoted(RESERVED_VARIABLES)})",
            _RESERVED_VARIABLE,
            lambda variable: _RESERVED_VARIABLE if variable.name.startswith(RESERVED_VARIABLES) else None,
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
}
"""The rules that hold wherever the cluster runs, by the struct they are about."""

KUBERNETES_RULES: Final[Mapping[type[Part], tuple[Rule, ...]]] = {
    Tls: (Rule("client", "self.client != 'Disabled'", _PLAIN_TEXT, _plain_text),),
}
"""The rules that hold on Kubernetes only."""
