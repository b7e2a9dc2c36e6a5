"""The control machine: etcd, API server, controllers, scheduler, cluster DNS and the volume provisioner.

DNS and the provisioner run here and not as pods, because on real clusters they survive the nodes that tests kill.
"""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from typing import Final

from collectionstore_e2e.kube.errors import ComponentFailed
from collectionstore_e2e.kube.machines import waiting
from collectionstore_e2e.kube.machines.machine import Machine
from collectionstore_e2e.kube.pki import Authority, service_account_keys, write_secret
from collectionstore_e2e.kube.places import (
    API_SERVER,
    API_SERVICE_ADDRESS,
    CONTROL_ADDRESS,
    KUBECONFIG,
    SERVICE_NETWORK,
    STATE,
)

KUBERNETES: Final = "/var/lib/kubernetes"
ADMIN_GROUP: Final = "system:masters"
READY_S: Final = 90.0

ETCD: Final = (
    "etcd",
    "--data-dir=/var/lib/etcd",
    "--listen-client-urls=http://127.0.0.1:2379",
    "--advertise-client-urls=http://127.0.0.1:2379",
    "--listen-peer-urls=http://127.0.0.1:2380",
    # Its data is useless after a crash of this machine, and fsync of a shared disk would delay every request.
    "--unsafe-no-fsync",
    "--log-level=warn",
)
API: Final = (
    "kube-apiserver",
    "--etcd-servers=http://127.0.0.1:2379",
    f"--advertise-address={CONTROL_ADDRESS}",
    f"--service-cluster-ip-range={SERVICE_NETWORK}",
    "--authorization-mode=Node,RBAC",
    "--enable-admission-plugins=NodeRestriction",
    "--allow-privileged",
    "--kubelet-preferred-address-types=InternalIP",
    f"--client-ca-file={KUBERNETES}/ca.crt",
    f"--tls-cert-file={KUBERNETES}/apiserver.crt",
    f"--tls-private-key-file={KUBERNETES}/apiserver.key",
    f"--kubelet-certificate-authority={KUBERNETES}/ca.crt",
    f"--kubelet-client-certificate={KUBERNETES}/kubelet-client.crt",
    f"--kubelet-client-key={KUBERNETES}/kubelet-client.key",
    "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
    f"--service-account-key-file={KUBERNETES}/service-account.crt",
    f"--service-account-signing-key-file={KUBERNETES}/service-account.key",
    # Pods of a lost node are evicted after seconds instead of the default of five minutes.
    "--default-not-ready-toleration-seconds=15",
    "--default-unreachable-toleration-seconds=15",
    "--profiling=false",
)
CONTROLLERS: Final = (
    "kube-controller-manager",
    f"--kubeconfig={KUBERNETES}/controller-manager.kubeconfig",
    "--leader-elect=false",
    "--use-service-account-credentials",
    f"--service-account-private-key-file={KUBERNETES}/service-account.key",
    f"--root-ca-file={KUBERNETES}/ca.crt",
    f"--cluster-signing-cert-file={KUBERNETES}/ca.crt",
    f"--cluster-signing-key-file={KUBERNETES}/ca.key",
    # A node becomes Unknown after ten seconds without a renewal; kubelet renews its Lease every two.
    "--node-monitor-period=2s",
    "--node-monitor-grace-period=10s",
    "--profiling=false",
)
SCHEDULER: Final = (
    "kube-scheduler",
    f"--kubeconfig={KUBERNETES}/scheduler.kubeconfig",
    "--leader-elect=false",
    "--profiling=false",
)
DNS: Final = ("coredns", "-conf", "/var/lib/coredns/Corefile", "-quiet")
PROVISIONER: Final = (
    "local-path-provisioner",
    "start",
    f"--kubeconfig={KUBERNETES}/provisioner.kubeconfig",
    "--config=/var/lib/local-path/config.json",
    "--namespace=kube-system",
    "--configmap-name=local-path",
    "--service-account-name=local-path",
    "--provisioner-name=rancher.io/local-path",
    "--helper-pod-file=/var/lib/local-path/helper-pod.yaml",
    "--worker-threads=2",
)

# Short TTLs, so that names follow recreated pods. Negative answers for 1 s only: a member looks up peers before they
# exist, and must not wait for a cached NXDOMAIN.
COREFILE: Final = f"""
.:53 {{
    bind {CONTROL_ADDRESS}
    errors
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        kubeconfig {KUBERNETES}/dns.kubeconfig
        pods verified
        ttl 5
    }}
    cache 5 {{
        denial 1000 1
    }}
    loadbalance
}}
"""


def start(machine: Machine, authority: Authority) -> None:
    """Start etcd and the API server, wait until it is ready, then start its clients."""
    _write_credentials(machine, authority)
    machine.spawn(ETCD)
    machine.spawn(API)
    waiting.wait_until(
        lambda: _runs(machine) and answers(),
        what="the API server to become ready",
        timeout_s=READY_S,
        clue=lambda: machine.tail("kube-apiserver"),
    )
    machine.spawn(CONTROLLERS)
    machine.spawn(SCHEDULER)


def start_dns(machine: Machine) -> None:
    """Start the cluster's DNS."""
    folder = machine.lib / "coredns"
    folder.mkdir(exist_ok=True)
    (folder / "Corefile").write_text(COREFILE)
    machine.spawn(DNS)


def start_provisioner(machine: Machine, helper_pod: str) -> None:
    """Start the volume provisioner. A volume is a folder in /var/lib/volumes of one node, and bound to it."""
    folder = machine.lib / "local-path"
    folder.mkdir(exist_ok=True)
    paths = [{"node": "DEFAULT_PATH_FOR_NON_LISTED_NODES", "paths": ["/var/lib/volumes"]}]
    (folder / "config.json").write_text(json.dumps({"nodePathMap": paths}))
    (folder / "helper-pod.yaml").write_text(helper_pod)
    machine.spawn(PROVISIONER)


def _write_credentials(machine: Machine, authority: Authority) -> None:
    folder = machine.lib / "kubernetes"
    authority.pair.write(folder, "ca")
    hosts = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"]
    hosts += [CONTROL_ADDRESS, API_SERVICE_ADDRESS, "127.0.0.1", "localhost"]
    authority.issue("kube-apiserver", hosts=hosts).write(folder, "apiserver")
    authority.issue("kube-apiserver-kubelet-client", ADMIN_GROUP).write(folder, "kubelet-client")
    service_account_keys().write(folder, "service-account")
    for name, user, group in (
        ("controller-manager", "system:kube-controller-manager", ""),
        ("scheduler", "system:kube-scheduler", ""),
        # Part of the control plane here, so they have administrator permissions instead of roles.
        ("dns", "dns", ADMIN_GROUP),
        ("provisioner", "provisioner", ADMIN_GROUP),
    ):
        write_secret(folder / f"{name}.kubeconfig", authority.kubeconfig(user, group))
    (STATE / "ca.crt").write_bytes(authority.pair.certificate)
    write_secret(KUBECONFIG, authority.kubeconfig("admin", ADMIN_GROUP))


def _runs(machine: Machine) -> bool:
    """Return True. Raises `ComponentFailed` immediately if a program exited, instead of waiting for the timeout."""
    programs = machine.programs()
    for program in ("etcd", "kube-apiserver"):
        if program not in programs:
            raise ComponentFailed(f"{program} stopped; {machine.tail(program)}")
    return True


def answers() -> bool:
    """Return whether the API server reports that it is ready."""
    if not (STATE / "ca.crt").exists():
        return False
    context = ssl.create_default_context(cafile=str(STATE / "ca.crt"))
    # Without the proxies of the user's environment, which cannot reach the machines' network.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with direct.open(f"{API_SERVER}/readyz", timeout=2) as response:
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False
