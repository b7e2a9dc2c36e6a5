"""What `csctl local up` says about who may use the cluster."""

from __future__ import annotations

from collectionstore_local.state.directory import ClusterDirectory, read_json
from collectionstore_operator.resource import schema
from collectionstore_operator.resource.access_control import Access


def text(directory: ClusterDirectory) -> str:
    """Who may use the cluster of `directory`, and the line that changes it."""
    access = _access(directory)
    mode = access.effective_mode if access is not None else "Disabled"
    if access is not None and mode == "Enforced":
        roles = ", ".join(access.anonymous)
        anonymous = f"without a credential: {roles} (unsafe)" if roles else "nothing without a credential"
        own = (
            f"certificate: {directory.credentials / 'tls.crt'}"
            if _tls(directory)
            else f"token: {directory.admin_token}"
        )
        return f"Access: enforced; {anonymous}. The operator's own {own}"
    return (
        f"Access: {mode.lower()}: every program of this machine may do everything (loopback only).\n"
        "  To enforce rights, add to spec, and csctl local apply:  access: {mode: Enforced}"
    )


def curl_option(directory: ClusterDirectory) -> str:
    """What curl needs to be let in, with a space in front; nothing where everyone is."""
    access = _access(directory)
    if access is None or access.effective_mode != "Enforced":
        return ""
    if _tls(directory):
        return f" --cert {directory.credentials / 'tls.crt'} --key {directory.credentials / 'tls.key'}"
    return f' -H "Authorization: Bearer $(cat {directory.admin_token})"'


def _access(directory: ClusterDirectory) -> Access | None:
    given = _part(directory, "access")
    return schema.convert(given, Access, "spec.access")[0] if given is not None else None


def _tls(directory: ClusterDirectory) -> bool:
    """Whether members know the owner by a certificate; without TLS, by the token."""
    given = _part(directory, "tls")
    return not isinstance(given, dict) or given.get("client") != "Disabled"


def _part(directory: ClusterDirectory, name: str) -> object:
    resource = read_json(directory.resource) or {}
    spec = resource.get("spec") if isinstance(resource, dict) else None
    return spec.get(name) if isinstance(spec, dict) else None
