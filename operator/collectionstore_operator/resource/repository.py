"""A repository of backups, as every resource names it: where it is, and which Secrets open it."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, field

from collectionstore_operator.resource.fields import Name, Part

URL_PATTERN: Final = r"^(s3|gs|az|file)://[A-Za-z0-9._/-]+$"
OPTION_PATTERN: Final = r"^[a-z][a-z0-9_]{0,62}$"
OPTIONS_MAX: Final = 16


class EncryptionKey(Part, frozen=True):
    """EncryptionKey names the Secret that holds the key of a repository: 64 hexadecimal digits."""

    secret_name: Annotated[Name, Meta(description="secretName is the name of a Secret in the same namespace.")]
    key: Annotated[
        str,
        Meta(
            pattern=r"^[-._A-Za-z0-9]{1,253}$",
            max_length=253,
            description="key is the key within the Secret. Defaults to key.",
        ),
    ] = "key"


class Repository(Part, frozen=True):
    """Repository is a place outside of the cluster that holds backups, and the archived log."""

    url: Annotated[
        str,
        Meta(
            pattern=URL_PATTERN,
            max_length=1_030,
            title="a URL such as s3://bucket/path, gs://bucket/path, az://account/container/path or file:///path",
            description="url is where the repository is: s3://bucket/path, gs://bucket/path, "
            "az://account/container/path, or file:///path below the volume of claimName (on csctl local a directory "
            "of the machine).",
        ),
    ]
    options: Annotated[
        dict[
            Annotated[str, Meta(pattern=OPTION_PATTERN, max_length=63, title="an option such as endpoint")],
            Annotated[str, Meta(min_length=1, max_length=1_024, description="The value of the option.")],
        ],
        Meta(
            max_length=OPTIONS_MAX,
            description="options configure the object store, such as endpoint and region. Credentials are refused: "
            "they belong into the Secret of credentialsSecretName.",
        ),
    ] = field(default_factory=dict)
    credentials_secret_name: (
        Annotated[
            Name,
            Meta(
                description="credentialsSecretName is the name of a Secret in the same namespace, whose keys become "
                "environment variables of the backup program, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. "
                "If absent, the role of the pod is used."
            ),
        ]
        | None
    ) = None
    encryption_key: (
        Annotated[
            EncryptionKey,
            Meta(
                description="encryptionKey names the key with which backups are encrypted and read. If absent, they "
                "are not encrypted."
            ),
        ]
        | None
    ) = None
    claim_name: (
        Annotated[
            Name,
            Meta(
                description="claimName is the name of a PersistentVolumeClaim in the same namespace, mounted at "
                "/repository; url must be file:///repository or a path below it. Only with file URLs, and required "
                "with them on Kubernetes."
            ),
        ]
        | None
    ) = None
