# The commands of this project. `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help

MANIFEST ?= examples/local.yaml
CSCTL := .venv/bin/csctl
SYNCED := .venv/.synced

.PHONY: console help install up status scale logs down clean test test-clusters test-packages lint types contracts check format test-upgrade attack bench bench-compare bench-operator bench-queries account measure mutants soak chaos observe \
	kube-up kube-down e2e generate images release guards

help: ## List the commands
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(SYNCED): uv.lock pyproject.toml $(wildcard */pyproject.toml) VERSION .ci/install
	@.ci/install
	@touch $@

install: $(SYNCED) ## Install what the project needs into .venv

up: $(SYNCED) ## Start the cluster of MANIFEST (examples/local.yaml) and wait until it is Ready
	@$(CSCTL) local up -f $(MANIFEST)

status: $(SYNCED) ## Show members, leader, conditions and the plan
	@$(CSCTL) local status

scale: $(SYNCED) ## Change the number of members: make scale REPLICAS=5 (1 needs UNSAFE=1)
	@$(CSCTL) local scale --replicas $(or $(REPLICAS),$(error say how many: make scale REPLICAS=5)) \
		$(if $(UNSAFE),--allow-single-replica)

logs: $(SYNCED) ## Show the logs of all members
	@$(CSCTL) local logs

down: $(SYNCED) ## Stop the cluster and keep its data
	@$(CSCTL) local down || [ $$? -eq 5 ] # 5: nothing is there, which is what was wanted

clean: $(SYNCED) ## Stop the cluster and delete its data
	@$(CSCTL) local clean --yes || [ $$? -eq 5 ] # as above

CLUSTER_TESTS := local/collectionstore_local/tests/clusters

PAGE_TESTS := tests/test_documentation.py

test: $(SYNCED) ## Run the tests of the code and of its pages: no other programs, no clusters of processes
	@.venv/bin/pytest -q -n 3 --dist loadgroup node operator local client telemetry testkit upgrade bench/tests e2e/tests $(PAGE_TESTS) --ignore=$(CLUSTER_TESTS)

test-clusters: $(SYNCED) ## Run the tests that start clusters of processes
	@.venv/bin/pytest -q -n 2 --dist loadfile tests observe/tests $(CLUSTER_TESTS) --ignore=$(PAGE_TESTS)

test-packages: $(SYNCED) ## Run the tests of charts, images, dashboards and alerts; they build helm and promtool once
	@.venv/bin/pytest -q -n 2 --dist loadgroup charts/tests images/tests release/tests dashboards/tests alerts/tests

lint: $(SYNCED) ## Check style, formatting and spelling
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/codespell

TYPED_TESTS := tests e2e/tests charts/tests images/tests release/tests observe/tests dashboards/tests alerts/tests bench/tests

types: $(SYNCED) ## Check types
	@.venv/bin/mypy
	@for folder in $(TYPED_TESTS); do .venv/bin/mypy $$folder || exit 1; done # apart: their modules have the same names
	@.venv/bin/mypy examples/*/*.py

contracts: $(SYNCED) ## Check that the layers hold, and that docs/architecture.md shows the rooms as they are
	@.venv/bin/lint-imports
	@.venv/bin/python docs/structure.py --check

check: lint types contracts test test-clusters test-packages ## Run everything that must be green before a commit

format: $(SYNCED) ## Format the code and sort imports
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

attack: $(SYNCED) ## Attack a local cluster as hostile clients would: make attack [ATTACK_OPTIONS="--help"]
	@.venv/bin/python -m collectionstore_attack $(ATTACK_OPTIONS)

bench: $(SYNCED) ## Measure beside etcd in interleaved rounds: make bench [BENCH_OPTIONS="--quick"]
	@.venv/bin/python -m collectionstore_bench.contest $(BENCH_OPTIONS)

bench-operator: $(SYNCED) ## Measure the operator with 200 simulated clusters: make bench-operator [OPERATOR_OPTIONS="--help"]
	@.venv/bin/python -m collectionstore_bench.operator $(OPERATOR_OPTIONS)

bench-queries: $(SYNCED) ## Measure queries by index and by scan, and writes with indexes: make bench-queries [QUERY_OPTIONS="--help"]
	@.venv/bin/python -m collectionstore_bench.queries $(QUERY_OPTIONS)

bench-compare: $(SYNCED) ## Measure this checkout beside an older commit: make bench-compare REV=COMMIT [BENCH_OPTIONS="--quick"]
	@.venv/bin/python -m collectionstore_bench.contest $(BENCH_OPTIONS) \
		--commit $(or $(REV),$(error say which commit: make bench-compare REV=main~3))

account: $(SYNCED) ## Account for the processor time of a write and a read, by stage: make account [ACCOUNT_OPTIONS="--help"]
	@.venv/bin/python -m collectionstore_bench.account $(ACCOUNT_OPTIONS)

measure: $(SYNCED) ## Measure joins, failures and healing on real local processes
	@.venv/bin/python -m collectionstore_bench.lifecycle

mutants: $(SYNCED) ## Bring known bugs of other Raft stores back, one at a time, and see what notices
	@.venv/bin/python -m collectionstore_node.tests.mutants.run

guards: $(SYNCED) ## Take the guards out of the planner, one at a time, and see what notices
	@.venv/bin/python -m collectionstore_operator.tests.mutants.run

SEEDS ?= 2000
LAYER ?= 1
MINUTES ?= 5

soak: $(SYNCED) ## Run any number of simulated clusters on all cores: make soak SEEDS=100000 [LAYER=2]
	@.venv/bin/python -m collectionstore_node.tests.soak.run --layer $(LAYER) --seeds $(SEEDS)

chaos: $(SYNCED) ## Break a cluster of real processes for MINUTES=5 and check what its clients saw
	@.venv/bin/python -m collectionstore_chaos --minutes $(MINUTES)

test-upgrade: $(SYNCED) ## Upgrade a local cluster from an older commit to this checkout, member by member, and back
	@.venv/bin/python -m collectionstore_upgrade $(UPGRADE_OPTIONS)

observe: $(SYNCED) ## Scrape a local cluster, ask every panel, see alerts fire and clear, draw the dashboards
	@.venv/bin/python -m collectionstore_observe

console: $(SYNCED) ## Measure how the console loads, and take pictures of all of its views
	@.venv/bin/python -m collectionstore_observe.console

kube-up: $(SYNCED) ## Start a real Kubernetes with three nodes on this machine (root; builds it the first time)
	@.venv/bin/python -m collectionstore_e2e.kube up

kube-down: $(SYNCED) ## Stop it and leave nothing behind
	@.venv/bin/python -m collectionstore_e2e.kube down

e2e: $(SYNCED) ## Run the scenarios there, or on the cluster of KUBECONFIG: make e2e SCENARIO=name J=1 LONG=1
	@.venv/bin/python -m collectionstore_e2e $(if $(J),-j $(J)) $(if $(LONG),--long) $(SCENARIO)

generate: $(SYNCED) ## Write what is made: definition, roles, schemas, tables, install/operator.yaml, dashboards, alerts
	@.venv/bin/python -W ignore::DeprecationWarning -m collectionstore_dashboards
	@.venv/bin/python -m collectionstore_alerts
	@.venv/bin/python -m collectionstore_operator.crd --write
	@.venv/bin/python -m collectionstore_charts
	@.venv/bin/python docs/generate_metrics.py --write
	@.venv/bin/python docs/generate_limits.py --write
	@.venv/bin/python docs/generate_logs.py
	@.venv/bin/python docs/generate_resource.py --write
	@.venv/bin/python client/generate_sync.py --write
	@.venv/bin/python docs/generate_python_reference.py --write
	@.venv/bin/python docs/structure.py --write

release: $(SYNCED) ## Build wheels, images, charts and SBOMs of VERSION into dist/; publishes nothing
	@.venv/bin/python -m collectionstore_release $(RELEASE_OPTIONS)

images: $(SYNCED) ## Build the images with buildah, podman or docker: make images [IMAGES_OPTIONS="--help"]
	@.venv/bin/python -m collectionstore_images $(IMAGES_OPTIONS)
