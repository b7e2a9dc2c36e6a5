"""Makes what the charts contain that is not written by hand, and runs Helm for their tests.

`rules` makes roles from the operator's own list of permissions, `definition` the resource's definition as the chart
installs it, `cluster_schema` the schema of the cluster chart's values, `readme` the tables of values, `render` the
manifest for installing without Helm; `helm` runs the program, which the end-to-end tests build.
"""

import sys
from pathlib import Path

# Its build of Helm is used; it is no part of the distribution and so is in no environment.
sys.path.append(str(Path(__file__).resolve().parents[2] / "e2e"))
