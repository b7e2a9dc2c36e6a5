"""`install/operator.yaml`: the operator's chart with its default values, for installing with kubectl alone."""

from __future__ import annotations

import re
from typing import Final

from collectionstore_charts.helm import OPERATOR, helm

NAMESPACE: Final = "collectionstore-system"
RELEASE: Final = "collectionstore-operator"

_HEAD: Final = f"""\
# Made by `python charts/generate.py` from charts/collectionstore-operator with its default values.
#   kubectl apply --server-side -f install/operator.yaml
# To take the operator away and keep all clusters:
#   kubectl delete -f install/operator.yaml --selector app.kubernetes.io/part-of=collectionstore
---
apiVersion: v1
kind: Namespace
metadata:
  name: {NAMESPACE}
  labels:
    pod-security.kubernetes.io/enforce: restricted
"""


def text() -> str:
    """Return the manifest, without what only Helm needs. Raises HelmFailed."""
    rendered = helm("template", RELEASE, OPERATOR, "--namespace", NAMESPACE, "--skip-tests")
    without = re.sub(r"^ +helm\.sh/chart: .*\n", "", rendered, flags=re.MULTILINE)
    return _HEAD + without.replace("app.kubernetes.io/managed-by: Helm", "app.kubernetes.io/managed-by: kubectl")
