"""`AppliedPolicy`: the policy of the state that this member has applied, and the rights of the current caller by it."""

from __future__ import annotations

from collectionstore_node.access.configuration import AccessConfiguration
from collectionstore_node.access.current import CALLER
from collectionstore_node.access.modes import Mode
from collectionstore_node.access.policy import Policy
from collectionstore_node.access.rights import Rights
from collectionstore_node.service.store_replica import StoreReplica
from collectionstore_node.statemachine.access import access_revision, read_access, read_policy


class AppliedPolicy:
    """Compiles the policy again when the access revision has changed. Belongs to one event loop."""

    __slots__ = ("_configuration", "_policy", "_replica", "_seen", "default")

    def __init__(self, replica: StoreReplica, default: Mode) -> None:
        self._replica = replica
        self.default = default
        """The mode while there is no configuration in the state."""
        self._policy: Policy | None = None
        self._configuration = AccessConfiguration(mode=default)
        self._seen = -1
        """The store's revision at which `_policy` was last seen to be that of the state."""

    def policy(self) -> Policy:
        """Return the policy of the applied state."""
        replica = self._replica
        policy, revision = self._policy, replica.revision
        # The state is as it was while no command was applied: most requests ask no more than this.
        if policy is not None and revision == self._seen:
            return policy
        view = replica.view
        if policy is None or access_revision(view) != policy.revision:
            self._configuration = read_access(view).configuration() or AccessConfiguration(mode=self.default)
            policy = self._policy = read_policy(view, self._configuration)
        self._seen = revision
        return policy

    @property
    def configuration(self) -> AccessConfiguration:
        """The configuration of the applied state; of the member's own mode alone if there is none."""
        self.policy()
        return self._configuration

    def rights(self) -> Rights:
        """Return what the current caller may do; nothing for None, unless access control is off."""
        return self.policy().rights(CALLER.get())
