"""Makes what the charts contain that is not written by hand, and runs Helm for their tests.

`rules` makes roles from the operator's own list of permissions, `definition` the resource's definition as the chart
installs it, `cluster_schema` the schema of the cluster chart's values, `readme` the tables of values, `render` the
manifest for installing without Helm; `helm` runs the program, which the testkit builds.
"""
