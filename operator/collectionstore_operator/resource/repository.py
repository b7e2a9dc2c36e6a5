"""A repository of backups, as every resource names it: where it is, which Secrets open it, and its rules."""

from __future__ import annotations

import re
from typing import Annotated, Final

from msgspec import Meta, field

from collectionstore_operator.resource.fields import Name, Part
from collectionstore_operator.resource.violation import Violation

URL_PATTERN: Final = r"^(s3|gs|az|file)://[A-Za-z0-9._/-]+$"
OPTION_PATTERN: Final = r"^[a-z][a-z0-9_]{0,62}$"
OPTIONS_MAX: Final = 16
MOUNT: Final = "/repository"
"""Where the volume of a file URL is mounted."""
SECRET_OPTION: Final = r"secret|token|password|bearer|credential|(^|_)sas(_|$)|key(_base64)?$|^access_?key"
"""Options that hold a credential, but for those with an ending of NO_SECRET: as the program in the pods has them."""
NO_SECRET: Final = ("_file", "_path", "_uri", "_enabled", "access_key_id")
_USER: Final = "://[^/]*@"
_FILE: Final = "file://"

SECRETS: Final = Violation(
    "an option holds a credential, and would be seen in the resource and in the arguments of its pods",
    "settings such as endpoint and region; credentials in the Secret of credentialsSecretName",
)
USERS: Final = Violation(
    "an option is a URL with a user, and would be seen in the resource and in the arguments of its pods",
    "a URL without user and password; credentials in the Secret of credentialsSecretName",
)
CLAIM: Final = Violation(
    "a file URL is a path on a volume, and no other URL is",
    "the name of a PersistentVolumeClaim with a file URL, absent with any other",
)
NO_CLAIM: Final = Violation(
    "there are no volumes to claim on this machine",
    "absent; the URL names a directory of this machine, such as file:///srv/backups",
)
PLACE: Final = Violation(
    f"the volume of claimName is mounted at {MOUNT}",
    f"file://{MOUNT} or a path below it",
)
SECRETS_CEL: Final = (
    f"!has(self.options) || self.options.all(key, !key.matches('{SECRET_OPTION}') || "
    f"key.matches('({'|'.join(NO_SECRET)})$'))"
)
USERS_CEL: Final = f"!self.matches('{_USER}')"
"""Of the value of an option: the API server knows its length there, and can estimate the cost."""
CLAIM_CEL: Final = "self.url.startsWith('file://') == has(self.claimName)"
PLACE_CEL: Final = (
    f"!self.url.startsWith('file://') || self.url == 'file://{MOUNT}' || "
    f"(self.url.startsWith('file://{MOUNT}/') && !self.url.contains('/..'))"
)


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
            title="a URL such as s3://bucket/path, gs://bucket/path, az://container/path or file:///path",
            description="url is where the repository is: s3://bucket/path, gs://bucket/path, "
            "az://container/path, or file:///path below the volume of claimName (on csctl local a directory "
            "of the machine).",
        ),
    ]
    options: Annotated[
        dict[
            Annotated[str, Meta(pattern=OPTION_PATTERN, max_length=63, title="an option such as endpoint")],
            Annotated[
                str,
                Meta(
                    min_length=1,
                    max_length=1_024,
                    description="The value of the option.",
                    extra_json_schema={"x-kubernetes-validations": [{"rule": USERS_CEL, "message": str(USERS)}]},
                ),
            ],
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


def exposed(repository: Repository) -> Violation | None:
    """Return why the options would expose a credential."""
    names = repository.options
    if any(re.search(SECRET_OPTION, name) and not name.endswith(NO_SECRET) for name in names):
        return SECRETS
    return USERS if any(re.search(_USER, value) for value in names.values()) else None


def unclaimed(repository: Repository) -> Violation | None:
    """Return why claimName does not fit the URL."""
    return CLAIM if repository.url.startswith(_FILE) != (repository.claim_name is not None) else None


def misplaced(repository: Repository) -> Violation | None:
    """Return why a file URL is not on the volume."""
    path = repository.url.removeprefix(_FILE)
    inside = path == MOUNT or (path.startswith(f"{MOUNT}/") and "/.." not in path)
    return PLACE if repository.url.startswith(_FILE) and not inside else None


def claimed(repository: Repository) -> Violation | None:
    """Return why a repository cannot be reached from a local cluster."""
    return NO_CLAIM if repository.claim_name is not None else None
