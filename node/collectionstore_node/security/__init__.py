"""Certificates and keys of a node: how it gets its own, and which one its clients see.

- `node_certificate.py`  waits for the node's certificate before anything is served, then keeps it renewed
- `enrolment.py`         `Enrolment`: gets the first certificate, renews it while the node runs
- `signing_requests.py`  one CertificateSigningRequest at the API server
- `key_pair.py`          the key and certificate on the volume: whether they are usable, until when; new requests
- `admin_token.py`       the token of a local cluster, for requests that change it
- `client_tls.py`        TLS of the client port, reloaded while running; which client is the operator
- `temporary_certificate.py` what probes see as long as there is no certificate
- `given_certificate.py` the certificate that the user gives for clients, instead of that of the cluster's authority

Enrolment on Kubernetes: the node generates its own key, which never leaves the pod, and requests a certificate. The API
server records on every request which pod it came from, by the pod's bound service-account token. The operator signs
only for that pod of that cluster and decides which names the certificate carries; of the node's request it takes the
public key, and the node ID unless another member has it. A node that finds a valid pair on its volume starts without a
request.
Sources: Kubernetes docs "Certificates and Certificate Signing Requests"; KEP-1513 (certificates/v1), KEP-4193 (bound
service-account tokens name their pod).
"""

from collectionstore_node.security.enrolment import Enrolment
from collectionstore_node.security.key_pair import KeyPairFiles
from collectionstore_node.security.signing_requests import ApiServer, CredentialsUnusable

__all__ = ["ApiServer", "CredentialsUnusable", "Enrolment", "KeyPairFiles"]
