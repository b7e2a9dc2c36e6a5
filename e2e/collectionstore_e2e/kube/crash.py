"""Kill `up` and `down` at moments drawn from a seed, and check that both recover from it.

Each round starts `up`, or `down` if a cluster is up, kills it, and then runs one of the two to completion: `up` must
result in a cluster with Ready nodes, `down` must leave nothing. `python -m collectionstore_e2e.kube.crash --rounds 8`
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys

from collectionstore_e2e.kube import addons, binaries, cluster

KUBE = [sys.executable, "-m", "collectionstore_e2e.kube"]
UP_S = 20.0
DOWN_S = 1.0


def kill_midway(command: str, after_s: float) -> str:
    """Start a command, kill it after a time; return a description of its progress."""
    with subprocess.Popen([*KUBE, command], stderr=subprocess.PIPE, text=True) as process:
        try:
            _, errors = process.communicate(timeout=after_s)
        except subprocess.TimeoutExpired:
            process.kill()
            _, errors = process.communicate()
    last = (errors or "").strip().splitlines()
    return f"{command} killed after {after_s:.1f} s, after: {last[-1] if last else 'nothing'}"


def main() -> int:
    """Return 0 if every round recovered."""
    parser = argparse.ArgumentParser(description="Kill `up` and `down` midway and check that a rerun recovers.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=6)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    for number in range(options.rounds):
        killed = "down" if cluster.COMPLETE.exists() and chance.random() < 0.5 else "up"
        if killed == "up":
            subprocess.run([*KUBE, "down"], check=True, capture_output=True)
        print(kill_midway(killed, chance.uniform(0.2, UP_S if killed == "up" else DOWN_S)), flush=True)
        then = chance.choice(("up", "down"))
        done = subprocess.run([*KUBE, then], capture_output=True, text=True, check=False)
        wrong = done.stderr if done.returncode else _check(then)
        print(f"  round {number + 1}: then {then}: {wrong or 'recovered'}", flush=True)
        if wrong:
            return 1
    return 0


def _check(command: str) -> str:
    """Return what is wrong after a command that succeeded; empty if nothing is."""
    if command == "down":
        return ", ".join(cluster.left_over())
    ready = ["wait", "--for=condition=Ready", "--timeout=60s", "node", "--all"]
    addons.kubectl(binaries.folder(), *ready)
    return ", ".join(cluster.missing())


if __name__ == "__main__":
    sys.exit(main())
