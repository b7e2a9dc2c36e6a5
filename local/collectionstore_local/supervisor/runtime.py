"""The runtime of the reconcile loop on one machine: processes as pods, directories as volumes and Secrets.

Observes and executes; decides nothing. Checks every precondition of an action again, immediately before it.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable, Mapping

import msgspec
import structlog

from collectionstore_local.backups import restored_start
from collectionstore_local.processes.node_process import Node
from collectionstore_local.processes.node_records import Launch
from collectionstore_local.processes.pod_view import PodView, explain
from collectionstore_local.processes.port_allocation import HOST, member_ports, node_ports
from collectionstore_local.processes.probes import Probes
from collectionstore_local.state import admin_token, secret_files, volumes
from collectionstore_local.state.backup_objects import BackupObjects
from collectionstore_local.state.credentials import Credentials
from collectionstore_local.state.directory import ClusterDirectory, NodeDirectory, read_json, write_atomically
from collectionstore_local.state.event_journal import EventWriter
from collectionstore_local.state.operator_state import OperatorState, OperatorStateFile, WorkloadState
from collectionstore_operator import faults
from collectionstore_operator.errors import ActionRefused, InvariantViolated
from collectionstore_operator.manifests import restoring
from collectionstore_operator.manifests.audit_environment import audit_place
from collectionstore_operator.manifests.node_environment import (
    PREFIX,
    MemberPlacement,
    access_settings,
    memory_settings,
    placement_settings,
    recovery_settings,
    spec_settings,
)
from collectionstore_operator.model import recovery as recoveries
from collectionstore_operator.model import restore as restores
from collectionstore_operator.model.actions import (
    Action,
    AddLearners,
    Bootstrap,
    ChangeVoters,
    ConfigureAccess,
    EnsureWorkload,
    EstablishIdentity,
    IssueCertificate,
    MarkVolume,
    PrepareAuthority,
    PromoteAuthority,
    PublishAuthority,
    RaiseEpoch,
    RecordInitialized,
    RecordPlannedWork,
    RecordRecovery,
    RecordRestore,
    RemoveLearners,
    RestartPod,
    RetireAuthority,
    RetireVolume,
    ScaleWorkload,
    StartPod,
    StopPod,
    TransferLeadership,
)
from collectionstore_operator.model.fences import is_fenced
from collectionstore_operator.model.observed import ABSENT, NodeStatus, Observed, Replicas, Slot, Unknown, Workload
from collectionstore_operator.model.recovery import RecoveryPhase
from collectionstore_operator.reconcile import zones
from collectionstore_operator.reconcile.access_control import AccessControl
from collectionstore_operator.reconcile.backup_decisions import freshness
from collectionstore_operator.reconcile.execute import perform_on_nodes
from collectionstore_operator.reconcile.node_client import NodeClient
from collectionstore_operator.reconcile.observe import ask_nodes, has_data
from collectionstore_operator.resource.backups.names import SCHEDULE_KIND
from collectionstore_operator.resource.bootstrap import Restore, Source
from collectionstore_operator.resource.desired import Desired, Runtime, parse
from collectionstore_operator.status.events import Event
from collectionstore_operator.status.published import Status
from collectionstore_operator.status.recovery_status import lost_since

NOT_RUNNING = Unknown("its process does not run")


log = structlog.get_logger()


class LocalRuntime:
    """One cluster on this machine. `changed` is called when a process starts or ends."""

    def __init__(
        self,
        directory: ClusterDirectory,
        client: NodeClient,
        *,
        node_command: tuple[str, ...],
        changed: Callable[[], None],
    ) -> None:
        self._directory = directory
        self._client = client
        self._node_command = node_command
        self._changed = changed
        self._state = OperatorStateFile(directory.operator_state)
        self._credentials = Credentials(directory)
        self._events = EventWriter(directory.events)
        self._backups = BackupObjects(directory)
        self._nodes: dict[str, Node] = {}
        self._pods = PodView()
        self._probes = Probes(client, changed)
        self._control = AccessControl(client)
        self._shown: tuple[int, ...] = ()

    def take_over(self, *, start_desired: bool) -> int:
        """Begin a new epoch and adopt the nodes that run; start those that should when `start_desired`.

        Returns the epoch.
        """
        self._client.authorize(admin_token.ensure(self._directory))
        facts = self._state.change(epoch=self._state.current.epoch + 1)
        for name in self._directory.node_names():
            self._node(name).recover(start_desired=start_desired)
        return facts.epoch

    async def stop_nodes(self) -> None:
        """Stop every node, the leader after all others, so that no follower starts an election meanwhile."""
        desired = await self.desired()
        answers = await ask_nodes(self._client, self._metrics_urls(desired)) if desired is not None else {}
        leaders = {
            name for name, answer in answers.items() if isinstance(answer, NodeStatus) and answer.role == "Leader"
        }
        await asyncio.gather(*(node.stop() for name, node in self._nodes.items() if name not in leaders))
        await asyncio.gather(*(self._nodes[name].stop() for name in leaders))

    async def release(self) -> None:
        """Stop supervising every node and leave its process running."""
        await self._probes.close()
        for node in self._nodes.values():
            node.release()

    async def desired(self) -> Desired | None:
        """Read the applied resource."""
        resource = read_json(self._directory.resource)
        return parse(resource, runtime=Runtime.LOCAL) if resource is not None else None

    async def hold(self, desired: Desired) -> str:
        """Do nothing: the lock of the cluster's folder excludes other supervisors."""
        return ""

    async def observe(self, desired: Desired) -> Observed:
        """Observe processes, folders and nodes. Only this process's own connections and probes are adjusted."""
        self._show_certificate()
        urls = self._metrics_urls(desired)
        self._probes.watch({self._pods.uid(self._node(name)): url for name, url in urls.items()})
        answers = await ask_nodes(self._client, urls)
        facts = self._above(self._state.current, answers.values())
        voters = self._group(desired, facts.workload, answers)
        reads = self._group(desired.reads(), facts.read_workload, answers)
        return Observed(
            now=time.time(),
            cluster_id=facts.cluster_id,
            initialized=has_data((slot.node for slot in voters.slots), recorded=facts.initialized),
            initialized_recorded=facts.initialized,
            bootstrap_node=facts.bootstrap_node,
            recovery=facts.recovery,
            restore=restores.read(facts.restore),
            quorum_lost_since=await self._quorum_lost_since(),
            planned_work=facts.planned_work,
            zones=zones.of_windows(desired, time.time()),
            epoch=facts.epoch,
            schedules=freshness(self._backups.all(SCHEDULE_KIND)),
            workload=voters.workload,
            idle=voters.idle,
            surplus=voters.surplus,
            slots=voters.slots,
            reads=reads if reads != Replicas() or desired.spec.has_read_replicas else None,
            certificates=self._credentials.look(),
            authority=self._credentials.authority(),
            authority_published=self._credentials.published(),
            peer_authority=self._credentials.peer_authority(),
            peer_authority_recorded=self._credentials.peers_recorded,
            access=await self._control.look(desired, voters.slots, facts.cluster_id),
            access_begun="Disabled",
        )

    def _group(
        self, desired: Desired, workload: WorkloadState | None, answers: Mapping[str, NodeStatus | Unknown]
    ) -> Replicas:
        """Return what there is of a group of members."""
        included = range(workload.replicas) if workload else ()
        named = (desired.ordinal(name) for name in (*self._nodes, *self._directory.node_names()))
        ordinals = sorted({*included, *(one for one in named if one is not None)})
        beyond = [one for one in ordinals if workload is not None and one >= workload.replicas]
        return Replicas(
            workload=Workload(replicas=workload.replicas, revision=workload.revision) if workload else ABSENT,
            idle=tuple(one for one in included if not self._node(desired.member(one)).record.should_run),
            surplus=tuple(one for one in beyond if self._node(desired.member(one)).record.should_run),
            slots=tuple(self._slot(desired, one, answers.get(desired.member(one), NOT_RUNNING)) for one in ordinals),
        )

    def _above(self, facts: OperatorState, answers: Iterable[NodeStatus | Unknown]) -> OperatorState:
        """Take a new epoch when a node has seen a higher one; return the state with it.

        No other supervisor runs, by the supervisor lock, so no other one has taken over: operator.json was
        restored, or another program has used the token. Without a new epoch every action would be held back for good.
        """
        own = (one for one in answers if isinstance(one, NodeStatus) and one.cluster_id == facts.cluster_id)
        highest = max((one.epoch for one in own), default=0)
        if highest <= facts.epoch:
            return facts
        log.warning("epoch.raised", epoch=highest + 1, was=facts.epoch)
        return self._state.change(epoch=highest + 1)

    async def execute(self, action: Action, desired: Desired, observed: Observed) -> None:
        """Perform one action."""
        if action.group == "reads":
            desired = desired.reads()
        match action:
            case EstablishIdentity():
                self._establish_identity(action)
            case RecordInitialized():
                self._state.change(initialized=True)
            case RecordRecovery():
                self._record_recovery(action)
            case RecordRestore():
                facts = self._state.current
                if not facts.cluster_id or facts.initialized or facts.bootstrap_node or facts.workload is not None:
                    raise ActionRefused("the cluster is not new any more: nothing is restored into it")
                self._state.change(restore=action.restore)
            case RecordPlannedWork():
                self._state.change(planned_work=action.work)
            case RaiseEpoch():
                self._state.change(epoch=max(self._state.current.epoch, action.epoch))
            case IssueCertificate():
                self._credentials.issue(action, cluster_id=observed.cluster_id, now=time.time())
            case PrepareAuthority() | PromoteAuthority() | RetireAuthority():
                self._credentials.rotate(action, cluster_id=observed.cluster_id, now=time.time())
            case PublishAuthority():
                self._credentials.publish()
            case EnsureWorkload():
                await self._ensure_workload(action, desired)
            case ScaleWorkload():
                await self._scale_workload(action, desired)
            case StopPod():
                node = self._node(desired.member(action.ordinal))
                self._check_uid(node, action.uid)
                await node.stop()
            case StartPod():
                self._start(desired, action.ordinal)
            case Bootstrap():
                # Durable BEFORE the call: after a crash in between, no other node may be chosen to form the cluster.
                self._state.change(bootstrap_node=action.node_id)
                faults.reach("Bootstrap.recorded")
                await perform_on_nodes(action, observed, self._client)
            case AddLearners() | ChangeVoters() | RemoveLearners() | TransferLeadership():
                await perform_on_nodes(action, observed, self._client)
            case ConfigureAccess():
                await self._control.configure(action.config)
            case RestartPod():
                node = self._node(desired.member(action.ordinal))
                self._check_uid(node, action.uid)
                await node.restart(self._launch(desired, action.ordinal))
            case MarkVolume():
                directory = self._node(desired.member(action.ordinal)).directory
                volumes.mark_removed(directory, action.node_id)
                directory.replace_request.unlink(missing_ok=True)
            case RetireVolume():
                await self._retire_volume(action, desired)
            case _:
                raise InvariantViolated(f"{type(action).__name__} is not implemented for local clusters")

    async def publish(self, status: Status) -> None:
        """Write the status where csctl reads it."""
        content = msgspec.json.format(msgspec.json.encode(status), indent=2)
        write_atomically(self._directory.status, content + b"\n", durable=False)

    async def last_status(self) -> Status | None:
        """Read the status written last; None if there is none, or if an incompatible version wrote it."""
        try:
            return msgspec.json.decode(self._directory.status.read_bytes(), type=Status)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    async def publish_observation(self, observed: Observed) -> None:
        """Write the observation: csctl waits for a fresh one, and plans on it without changing anything."""
        write_atomically(self._directory.observed, msgspec.json.encode(observed), durable=False)

    async def record(self, event: Event) -> None:
        """Append an event to the cluster's event file."""
        self._events.record(event)

    def _metrics_urls(self, desired: Desired) -> dict[str, str]:
        """Return the metrics URL of each running node, by name; it serves /status and /readyz."""
        return {
            name: f"http://{HOST}:{ports.metrics}"
            for name, node in self._nodes.items()
            if node.running and (ports := member_ports(desired, name)) is not None
        }

    def _node(self, name: str) -> Node:
        if name not in self._nodes:
            self._nodes[name] = Node(self._directory.node(name), self._changed)
        return self._nodes[name]

    def _slot(self, desired: Desired, ordinal: int, answer: NodeStatus | Unknown) -> Slot:
        node = self._node(desired.member(ordinal))
        ports = node_ports(desired, ordinal)
        pod = self._pods.look(
            node,
            ready=isinstance(answer, NodeStatus) and self._probes.is_ready(self._pods.uid(node)),
            peer_address=f"{HOST}:{ports.peer}",
            http_address=f"{_scheme(desired)}://{HOST}:{ports.client}",
        )
        return Slot(ordinal=ordinal, pod=pod, node=explain(node, answer), volume=volumes.look(node.directory))

    def _establish_identity(self, action: EstablishIdentity) -> None:
        # Kept when it is recorded already: volumes may carry it.
        if not self._state.current.cluster_id:
            self._state.change(cluster_id=action.cluster_id or secrets.token_hex(8))

    def _record_recovery(self, action: RecordRecovery) -> None:
        present, wanted, facts = self._state.current.recovery, action.record, self._state.current
        if present is not None and (present.nonce, present.phase) == (wanted.nonce, wanted.phase):
            return
        if not recoveries.precedes(present, wanted, action.before, facts.cluster_id):
            raise ActionRefused("the record of the recovery has changed since it was observed")
        # In one write: there is no moment at which the state names the new cluster, and not whose disk it begins with.
        forming = wanted.phase is RecoveryPhase.FORMING
        self._state.change(recovery=wanted, cluster_id=wanted.cluster_id if forming else facts.cluster_id)

    async def _quorum_lost_since(self) -> float:
        before = await self.last_status()
        return lost_since(before.recovery) if before is not None else 0.0

    async def _ensure_workload(self, action: EnsureWorkload, desired: Desired) -> None:
        workload = WorkloadState(
            replicas=action.replicas,
            revision=action.revision,
            settings=spec_settings(desired) | memory_settings(desired),
        )
        await self._keep(workload, desired)

    async def _scale_workload(self, action: ScaleWorkload, desired: Desired) -> None:
        workload = self._state.current.workload
        if workload is None or workload.replicas not in (action.was, action.replicas):
            raise ActionRefused("the workload has changed since it was observed")
        await self._keep(msgspec.structs.replace(workload, replicas=action.replicas), desired)

    async def _keep(self, workload: WorkloadState, desired: Desired) -> None:
        """Record a workload, start the nodes that it includes, and stop the others."""
        # BEFORE any process starts or stops: after a crash in between, the rest is observed as idle and started.
        if desired.group == "reads":
            self._state.change(read_workload=workload)
        else:
            self._state.change(workload=workload)
        faults.reach("EnsureWorkload.recorded")
        self._start_all(desired)
        ordinals = {name: desired.ordinal(name) for name in self._nodes}
        surplus = [name for name, ordinal in ordinals.items() if ordinal is not None and ordinal >= workload.replicas]
        await asyncio.gather(*(self._nodes[name].stop() for name in surplus))

    def _workload(self, desired: Desired) -> WorkloadState | None:
        facts = self._state.current
        return facts.read_workload if desired.group == "reads" else facts.workload

    def _start_all(self, desired: Desired) -> None:
        workload = self._workload(desired)
        for ordinal in range(workload.replicas if workload is not None else 0):
            if not is_fenced(desired, desired.member(ordinal)):
                self._start(desired, ordinal)

    def _start(self, desired: Desired, ordinal: int) -> None:
        """Start a node unless it is to run already; from then on it is started again whenever it ends."""
        node = self._node(desired.member(ordinal))
        if not node.record.should_run:
            node.ensure_running(self._launch(desired, ordinal))

    async def _retire_volume(self, action: RetireVolume, desired: Desired) -> None:
        node = self._node(desired.member(action.ordinal))
        self._check_uid(node, action.uid)
        await node.stop()
        faults.reach("RetireVolume.stopped")
        retire = volumes.retire_and_keep if action.keep else volumes.retire_and_delete
        retire(node.directory, action.node_id)
        faults.reach("RetireVolume.kept")
        node.directory.replace_request.unlink(missing_ok=True)
        self._start_all(desired)

    def _check_uid(self, node: Node, uid: str) -> None:
        if uid != self._pods.uid(node):
            raise ActionRefused(f"the process of {node.name} is not the one that was seen any more")

    def _launch(self, desired: Desired, ordinal: int) -> Launch:
        facts, workload = self._state.current, self._workload(desired)
        if workload is None:
            raise InvariantViolated("a node is to be started before the workload is recorded")
        node = self._node(desired.member(ordinal))
        ports = node_ports(desired, ordinal)
        placement = MemberPlacement(
            name=node.name,
            cluster_id=facts.cluster_id,
            data_dir=str(node.directory.data),
            tls_dir=str(node.directory.tls),
            client_address=f"{HOST}:{ports.client}",
            peer_address=f"{HOST}:{ports.peer}",
            metrics_address=f"{HOST}:{ports.metrics}",
            client_advertise=f"{_scheme(desired)}://{HOST}:{ports.client}",
            peer_advertise=f"{HOST}:{ports.peer}",
        )
        origin = None if facts.initialized or ordinal or desired.group == "reads" else restores.read(facts.restore)
        restore = None if origin is None else origin.source
        before = {} if restore is None else {restored_start.VARIABLE: self._order(restore, node.directory, placement)}
        return Launch(
            command=self._node_command if restore is None else (*restored_start.COMMAND, *self._node_command),
            settings={
                **before,
                **placement_settings(placement),
                **workload.settings,
                **audit_place(workload.settings, placement.data_dir),
                **recovery_settings(recoveries.instruction(facts.recovery)),
                # Until the cluster has its configuration: nothing of a new one is open before.
                **access_settings(desired.spec.access.effective_mode if desired.spec.access is not None else ""),
                **_client_tls(desired, node),
                **_encryption_keys(desired, self._directory),
                f"{PREFIX}PEER_ROUTES": str(node.directory.routes),
                f"{PREFIX}ADMIN_TOKEN_FILE": str(self._directory.admin_token),
            },
            revision=workload.revision,
        )

    def _order(self, restore: Source, node: NodeDirectory, placement: MemberPlacement) -> str:
        """Return what the first member is made of, for the program that starts it."""
        if not isinstance(restore, Restore):
            raise InvariantViolated("a VolumeSnapshot cannot be restored on this machine, and is refused in a manifest")
        key = restore.repository.encryption_key
        key_file = "" if key is None else str(secret_files.file_of(self._directory, key.secret_name, key.key))
        target = restoring.Target(
            name=placement.name,
            cluster_id=placement.cluster_id,
            data_dir=placement.data_dir,
            peer_address=placement.peer_advertise,
            client_address=placement.client_advertise,
        )
        order = restored_start.Order(
            cluster=str(self._directory.path),
            failure=str(node.restore_failure),
            arguments=(*restoring.source(restore, key_file), *restoring.destination(target)),
            credentials=restore.repository.credentials_secret_name,
        )
        return msgspec.json.encode(order).decode()

    def _show_certificate(self) -> None:
        """Have the client verify nodes by the authority and show the operator's certificate, by the newest of both."""
        written = self._credentials.client_written()
        if written and written != self._shown:
            self._client.use(self._credentials.client_context())
            self._shown = written


def _client_tls(desired: Desired, node: Node) -> dict[str, str]:
    """Return where a node finds the pair of its client port, once it has one of its own."""
    folder = node.directory.client_tls
    return {f"{PREFIX}CLIENT_TLS_DIR": str(folder)} if desired.spec.tls.separate and folder.exists() else {}


def _encryption_keys(desired: Desired, directory: ClusterDirectory) -> dict[str, str]:
    """Return where a node finds the keys that its data is encrypted with, if they are in a Secret."""
    encryption = desired.spec.storage.encryption
    if encryption is None or not encryption.secret_name:
        return {}
    return {f"{PREFIX}ENCRYPTION_KEYS_DIR": str(directory.secrets / encryption.secret_name)}


def _scheme(desired: Desired) -> str:
    return "http" if desired.spec.tls.client == "Disabled" else "https"
