"""spec.audit: the audit log of the members."""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta

from collectionstore_operator.resource.fields import Part, atomic

RULES_MAX: Final = 64
NAMES_MAX: Final = 256
URL_PATTERN: Final = r"^https?://[^\s/?#@]+([/?#][^\s]*)?$"
PATH_PATTERN: Final = r"^/[^\s]*$"

Verb: TypeAlias = Literal["read", "write", "create", "drop", "index", "watch", "transact", "backup", "admin", "monitor"]
Pattern: TypeAlias = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=253,
        description="a name, or the beginning of names and an asterisk.",
    ),
]
Patterns: TypeAlias = tuple[Pattern, ...]


class AuditFiles(Part, frozen=True):
    """AuditFiles configures files of the audit log, in the directory audit of each member's volume."""

    megabytes: Annotated[
        int,
        Meta(
            ge=1,
            le=16_384,
            description="megabytes is the size from which on the next file is begun. Defaults to 64.",
        ),
    ] = 64
    count: Annotated[
        int, Meta(ge=2, le=10_000, description="count is the number of files that are kept. Defaults to 16.")
    ] = 16
    sync: Annotated[
        Literal["Always", "Interval", "Never"],
        Meta(
            description="sync determines when files are synced. Always: with every batch of records. Interval: once a "
            "second. Never: when the system does. Defaults to Interval."
        ),
    ] = "Interval"


class AuditWebhook(Part, frozen=True):
    """AuditWebhook configures the URL that records are sent to."""

    url: Annotated[
        str,
        Meta(
            pattern=URL_PATTERN,
            max_length=2_048,
            title="an http:// or https:// URL without credentials",
            description="url is where batches of records are sent, as lines of JSON by POST.",
        ),
    ]
    token_file: (
        Annotated[
            str,
            Meta(
                pattern=PATH_PATTERN,
                max_length=1_024,
                title="an absolute path",
                description="tokenFile is a file of the container with the bearer token, such as one that a volume of "
                "spec.pod mounts. If absent, none is sent.",
            ),
        ]
        | None
    ) = None
    ca_file: (
        Annotated[
            str,
            Meta(
                pattern=PATH_PATTERN,
                max_length=1_024,
                title="an absolute path",
                description="caFile is a file of the container with the authorities that the certificate of the URL "
                "may be of. If absent, those of the image.",
            ),
        ]
        | None
    ) = None


class AuditRule(Part, frozen=True):
    """AuditRule determines which requests are recorded; the first one that matches a request counts."""

    users: Annotated[
        Patterns,
        Meta(
            max_length=NAMES_MAX,
            description="users are the users that it matches, by name or beginning and an asterisk. If empty, all.",
            extra_json_schema=atomic(),
        ),
    ] = ()
    verbs: Annotated[
        tuple[Annotated[Verb, Meta(description="verb is a verb of access control.")], ...],
        Meta(
            max_length=10, description="verbs are the verbs that it matches. If empty, all.", extra_json_schema=atomic()
        ),
    ] = ()
    resources: Annotated[
        Patterns,
        Meta(
            max_length=NAMES_MAX,
            description="resources are the collections and buckets that it matches, as users. If empty, all.",
            extra_json_schema=atomic(),
        ),
    ] = ()
    per_mille: Annotated[
        int,
        Meta(
            ge=0,
            le=1_000,
            description="perMille is the share of the requests that is recorded, in thousandths. Defaults to 1000.",
        ),
    ] = 1_000
    content: Annotated[
        bool,
        Meta(description="content determines whether the bodies of requests are recorded. Defaults to false."),
    ] = False


class Audit(Part, frozen=True):
    """Audit configures the audit log of each member. It is kept if one of files, webhook and otlp is set."""

    files: (
        Annotated[
            AuditFiles,
            Meta(description="files writes the log into files of the volume. If absent, there are none."),
        ]
        | None
    ) = None
    webhook: Annotated[AuditWebhook, Meta(description="webhook sends the log to a URL. If absent, to none.")] | None = (
        None
    )
    otlp: Annotated[
        bool,
        Meta(
            description="otlp sends the log as OTLP logs, to where the variables of OpenTelemetry in "
            "spec.pod.environment say. Defaults to false."
        ),
    ] = False
    blocking: Annotated[
        Literal["Never", "WhenFull", "WhenFailing"],
        Meta(
            description="blocking determines when requests are refused because their records could be lost. Never: "
            "records are lost. WhenFull: while they could not be kept. WhenFailing: also while a sink takes none. "
            "Defaults to Never."
        ),
    ] = "Never"
    reads_per_mille: Annotated[
        int,
        Meta(
            ge=0,
            le=1_000,
            description="readsPerMille is the share of the reads that is recorded where no rule says it, in "
            "thousandths. Defaults to 10.",
        ),
    ] = 10
    rules: Annotated[
        tuple[Annotated[AuditRule, Meta(description="rule is one of them.")], ...],
        Meta(
            max_length=RULES_MAX,
            description="rules determine which requests are recorded. If empty, everything that changes something or "
            "administers, and readsPerMille of the reads.",
            extra_json_schema=atomic(),
        ),
    ] = ()
