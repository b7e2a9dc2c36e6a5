"""Rules between fields of users, roles and spec.access, in CEL and in Python. Pure."""

from __future__ import annotations

from typing import Final

from collectionstore_operator.resource.access_control import JwtIssuer
from collectionstore_operator.resource.access_specs import OVERLAP_SHARE, FieldMask, RoleRule, UserSpec
from collectionstore_operator.resource.violation import Violation

ONE_SOURCE: Final = Violation(
    "without jwksUrl the keys are discovered at the issuer", "an https URL, or another issuer that is an https URL"
)
ONE_SOURCE_CEL: Final = "has(self.jwksUrl) || self.issuer.startsWith('https://')"
OPERATOR_ROLE: Final = Violation(
    "the role operator is that of the operator's own certificate alone", "any other role; admin for people"
)
OVERLAP: Final = Violation(
    "a replaced token would work on for longer than the next one is from being replaced",
    "at most a third of lifetimeSeconds",
)
OVERLAP_CEL: Final = (
    "!has(self.overlapSeconds) || self.overlapSeconds * 3 <= "
    "(has(self.lifetimeSeconds) ? self.lifetimeSeconds : 2592000)"
)
NO_PLACE: Final = Violation("a rule says what it is about", "collections, buckets, or cluster: true")
NO_PLACE_CEL: Final = (
    "(has(self.collections) && self.collections.size() > 0) || (has(self.buckets) && self.buckets.size() > 0) || "
    "(has(self.cluster) && self.cluster)"
)
NOT_SELECTIVE: Final = Violation(
    "filter and fields restrict a rule to documents", "neither of them unless the rule names collections alone"
)
_ALONE: Final = (
    "has(self.collections) && self.collections.size() > 0 && (!has(self.buckets) || self.buckets.size() == 0) && "
    "(!has(self.cluster) || !self.cluster)"
)
NOT_SELECTIVE_CEL: Final = f"!(has(self.filter) || has(self.fields)) || ({_ALONE})"
ALL_VERBS: Final = Violation("* stands for all verbs", "* alone, or verbs by name")
ALL_VERBS_CEL: Final = "!('*' in self.verbs) || self.verbs.size() == 1"
ONE_MASK: Final = Violation("fields are either shown or hidden", "one of show and hide, with one field or more")
ONE_MASK_CEL: Final = "(has(self.show) && self.show.size() > 0) != (has(self.hide) && self.hide.size() > 0)"


def operator_cel(field: str) -> str:
    """Return the rule of a field with roles, of which `operator` is none."""
    return f"!has(self.{field}) || !('operator' in self.{field})"


def undiscovered(issuer: JwtIssuer) -> Violation | None:
    """Return why the keys of an issuer cannot be found."""
    return ONE_SOURCE if issuer.jwks_url is None and not issuer.issuer.startswith("https://") else None


def granted(roles: tuple[str, ...] | None) -> Violation | None:
    """Return why roles cannot be granted."""
    return OPERATOR_ROLE if "operator" in (roles or ()) else None


def overlap(user: UserSpec) -> Violation | None:
    """Return why an overlap is too long."""
    return OVERLAP if (user.overlap_seconds or 0) * OVERLAP_SHARE > user.lifetime_seconds else None


def placeless(rule: RoleRule) -> Violation | None:
    """Return why a rule is about nothing."""
    return None if rule.collections or rule.buckets or rule.cluster else NO_PLACE


def unselective(rule: RoleRule) -> Violation | None:
    """Return why a rule cannot be restricted to documents."""
    restricted = rule.filter is not None or rule.fields is not None
    return NOT_SELECTIVE if restricted and (not rule.collections or rule.buckets or rule.cluster) else None


def all_verbs(rule: RoleRule) -> Violation | None:
    """Return why verbs contradict each other."""
    return ALL_VERBS if "*" in rule.verbs and len(rule.verbs) > 1 else None


def one_mask(mask: FieldMask) -> Violation | None:
    """Return why a mask says nothing, or two things."""
    return ONE_MASK if bool(mask.show) is bool(mask.hide) else None
