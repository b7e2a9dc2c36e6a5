"""The command and the variables of one task, as `manifests.backups.pod` has them for a pod."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

from collectionstore_local.backups import program
from collectionstore_local.state.directory import ClusterDirectory
from collectionstore_operator.manifests.backups.jobs import command_of
from collectionstore_operator.manifests.backups.work import Work
from collectionstore_operator.model.backups.actions import StartRun
from collectionstore_operator.resource.backups.specs import Retention


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What a run does. It holds no secret: only the names of those that it gets when it starts."""

    arguments: tuple[str, ...]
    variables: dict[str, str]
    credentials: str | None
    """The Secret whose keys become variables; without one it has those of the shell that started the cluster."""
    key: tuple[str, str] | None
    """Secret and key of the encryption key."""

    @property
    def digest(self) -> str:
        """Return what tells it from another one."""
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()[:16]


def job_of(directory: ClusterDirectory, work: Work, action: StartRun, retention: Retention | None, scratch: str) -> Job:
    """Return the job of a task that ends."""
    command = command_of(work, action, retention, scratch=scratch)
    return _job(directory, work, command, reads_cluster=action.task == "create")


def archive_job(directory: ClusterDirectory, work: Work) -> Job:
    """Return the job that archives the log; the address of its status is given at its start."""
    return _job(directory, work, ("archive", "--quiet", "--output=json"), reads_cluster=True)


def _job(directory: ClusterDirectory, work: Work, command: Sequence[str], *, reads_cluster: bool) -> Job:
    repository = work.repository
    variables = {f"{program.PREFIX}REPOSITORY": repository.url}
    if reads_cluster and work.cluster is not None:
        variables |= program.variables(directory, work.cluster)
        variables[f"{program.PREFIX}CLUSTER_ID"] = work.cluster_id
    if command[0] == "create" and work.max_bytes_per_second is not None:
        variables[f"{program.PREFIX}MAX_BYTES_PER_SECOND"] = str(work.max_bytes_per_second)
    key = repository.encryption_key
    return Job(
        arguments=(*command, *(f"--option={name}={value}" for name, value in sorted(repository.options.items()))),
        variables=variables,
        credentials=repository.credentials_secret_name,
        key=None if key is None else (key.secret_name, key.key),
    )
