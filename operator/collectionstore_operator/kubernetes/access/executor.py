"""Actions on users and roles. Nothing is decided: what an action names is made, changed or deleted.

Secrets of credentials pass through here and are neither logged nor part of any message.
"""

from __future__ import annotations

from collections.abc import Callable

from collectionstore_operator import faults
from collectionstore_operator.errors import ActionRefused, ActionUnfinished
from collectionstore_operator.kubernetes.access import credential_secrets as secrets
from collectionstore_operator.kubernetes.access.connections import Connection, required
from collectionstore_operator.kubernetes.api import ApiError, Body, Conflict, Kind, Kube, Unavailable
from collectionstore_operator.manifests.access.secret import TOKEN, Credential, issued
from collectionstore_operator.model.access.actions import (
    AccessAction,
    ForgetCredentials,
    HoldAccess,
    IssueCredential,
    PutRole,
    PutUser,
    RefreshSecret,
    ReleaseAccess,
    RemoveRole,
    RemoveSecret,
    RemoveUser,
    RevokeToken,
)
from collectionstore_operator.model.observed import Unknown
from collectionstore_operator.resource.access import names
from collectionstore_operator.resource.access.desired import Role, User


class Executor:
    """Performs actions; `may_act` says whether the Lease of this process is still held."""

    def __init__(self, kube: Kube, may_act: Callable[[], bool]) -> None:
        self._kube = kube
        self._may_act = may_act

    async def execute(self, action: AccessAction, resource: User | Role, connection: Connection | Unknown) -> None:
        """Perform one action. Raises ActionRefused or ActionUnfinished."""
        # This process may have been suspended past the end of its Lease since the last action.
        if not self._may_act():
            raise ActionRefused("the Lease was not renewed in time: another operator may be acting")
        name = type(action).__name__
        try:
            faults.reach(f"{name}.before")
            await self._perform(action, resource, connection)
            faults.reach(f"{name}.after")
        except Unavailable as error:
            raise ActionUnfinished(str(error)) from error
        except ApiError as error:
            raise ActionRefused(str(error)) from error

    async def _perform(self, action: AccessAction, resource: User | Role, connection: Connection | Unknown) -> None:
        match action:
            case HoldAccess():
                await self._change_finalizer(resource, held=True)
            case ReleaseAccess():
                await self._change_finalizer(resource, held=False)
            case PutUser():
                await required(connection).store.put_user(resource.name, action.body)
            case RemoveUser():
                await required(connection).store.remove_user(resource.name)
            case PutRole():
                await required(connection).store.put_role(resource.name, action.body)
            case RemoveRole():
                await required(connection).store.remove_role(resource.name)
            case RevokeToken():
                await required(connection).store.revoke_token(action.id)
            case IssueCredential() | RefreshSecret() | ForgetCredentials() | RemoveSecret():
                await self._change_secret(action, _user(resource), connection)

    async def _change_secret(
        self,
        action: IssueCredential | RefreshSecret | ForgetCredentials | RemoveSecret,
        user: User,
        connection: Connection | Unknown,
    ) -> None:
        kube = self._kube
        match action:
            case IssueCredential():
                await self._issue(action, user, required(connection))
            case RefreshSecret():
                said = required(connection).about(user.name)
                await secrets.refresh(kube, user, said, uid=action.uid, version=action.version)
            case ForgetCredentials():
                await secrets.forget(kube, user, action.former, uid=action.uid, version=action.version)
            case RemoveSecret():
                await secrets.remove(kube, user, action.name, uid=action.uid)

    async def _issue(self, action: IssueCredential, user: User, connection: Connection) -> None:
        if action.kind == "Certificate":
            credential = await connection.certify(user.name, action.lifetime_s)
        else:
            credential = await _token(action, user, connection)
        faults.reach("IssueCredential.issued")
        wanted = issued(
            user,
            connection.about(user.name),
            credential,
            former=action.former,
            rotated=action.rotated,
            cluster_id=connection.cluster_id,
        )
        try:
            await secrets.store(self._kube, user, wanted, uid=action.uid, version=action.version)
        except (ActionRefused, ApiError) as error:
            # Where it is not known whether it was written, the token may be in use: a later round finds out.
            if action.kind == "Token" and not isinstance(error, Unavailable):
                await connection.store.revoke_token(credential.id)
            raise

    async def _change_finalizer(self, resource: User | Role, *, held: bool) -> None:
        """Add or remove our finalizer from the newest list: a merge patch replaces all of it."""
        kind = Kind.USER if isinstance(resource, User) else Kind.ROLE
        while True:
            found = await self._kube.find(kind, resource.name, resource.namespace)
            if found is None or found["metadata"]["uid"] != resource.uid:
                return
            metadata = found["metadata"]
            others = [one for one in metadata.get("finalizers") or () if one != names.FINALIZER]
            finalizers = [*others, names.FINALIZER] if held else others
            body: Body = {"metadata": {"resourceVersion": metadata["resourceVersion"], "finalizers": finalizers}}
            try:
                await self._kube.patch(kind, resource.name, resource.namespace, body)
                return
            except Conflict:
                continue


async def _token(action: IssueCredential, user: User, connection: Connection) -> Credential:
    token = await connection.store.issue_token(
        user.name,
        lifetime_s=action.lifetime_s,
        description=names.description(names.USER_KIND, user.namespace, user.name),
    )
    if token.expires is None:
        await connection.store.revoke_token(token.id)
        raise ActionRefused("the cluster made a token that never expires: it is revoked")
    return Credential(
        kind="Token",
        id=token.id,
        # By the clock of the member that made it.
        issued=token.expires - action.lifetime_s,
        expires=token.expires,
        content={TOKEN: token.secret.encode()},
    )


def _user(resource: User | Role) -> User:
    if not isinstance(resource, User):
        raise ActionRefused("only a user has a credential")
    return resource
