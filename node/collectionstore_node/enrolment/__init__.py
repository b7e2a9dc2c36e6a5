"""How a node in Kubernetes gets its certificate: it makes its own key and asks, the key never leaves the pod.

- `pair.py`      the key and certificate on the volume: are they usable, until when; a request for new ones
- `requests.py`  one CertificateSigningRequest at the API server
- `enrol.py`     `Enrolment`: waits for the first certificate, renews it while the node runs

The API server stamps on every request which pod it came from, by the pod's bound service-account token. The operator
signs only for that pod of that cluster, and decides which names the certificate carries; what a node asks for beside
its key has no weight. A node that finds a valid pair on its volume starts without asking anybody.
Sources: Kubernetes docs "Certificates and Certificate Signing Requests"; KEP-1513 (certificates/v1), KEP-4193 (bound
service-account tokens name their pod).
"""

from collectionstore_node.enrolment.enrol import Enrolment
from collectionstore_node.enrolment.pair import KeyPairFiles
from collectionstore_node.enrolment.requests import ApiServer, CredentialsUnusable

__all__ = ["ApiServer", "CredentialsUnusable", "Enrolment", "KeyPairFiles"]
