"""The account as text, and its place in bench/README.md. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from collectionstore_bench.account.measure import FOLLOWER, LEADER, Measured
from collectionstore_bench.account.stages import MEANINGS, Stage
from collectionstore_bench.generators.load import Work
from collectionstore_bench.machine import Machine
from collectionstore_bench.tables import table

BEGIN: Final = "<!-- accounts: begin; python -m collectionstore_bench.account --write -->"
END: Final = "<!-- accounts: end -->"
NAMES: Final = {Work.PUT: "write", Work.GET: "read"}
SHOWN_ROOMS: Final = 5


def render(measured: Sequence[Measured], *, connections: int) -> str:
    """Return the table: microseconds per request by stage, on leader and follower."""
    columns = [(one, who) for one in measured for who in (LEADER, FOLLOWER)]
    headings = ["stage", *(f"{NAMES[one.work]}, {who}" for one, who in columns), "contains"]
    rows = []
    for stage in Stage:
        spent = [one.accounts[who].stages.get(stage, 0.0) for one, who in columns]
        rows.append([stage.value, *(f"{us:.1f}" for us in spent), MEANINGS[stage]])
    rows.append(["all", *(f"{one.accounts[who].total_us:.1f}" for one, who in columns), "µs of processor time"])
    rows.append(["samples", *(str(one.accounts[who].samples) for one, who in columns), "behind the shares"])
    text = table(headings, rows, right=range(1, len(columns) + 1))
    loads = ", ".join(f"{one.result.per_second:,.0f} {NAMES[one.work]}s/s" for one in measured)
    return "\n".join([f"{loads} over {connections} connections to the leader", "", text, *_other(measured)])


def _other(measured: Sequence[Measured]) -> list[str]:
    """Return which rooms make up `other`: what a stage has to be found for."""
    rooms: dict[str, float] = defaultdict(float)
    for one in measured:
        for account in one.accounts.values():
            for room, us in account.unmapped.items():
                rooms[room] += us
    greatest = sorted(rooms.items(), key=lambda item: -item[1])[:SHOWN_ROOMS]
    shown = ", ".join(f"{room} {us:.1f}" for room, us in greatest)
    return ["", f"other, all columns together: {shown}"] if shown else []


def block(machine: Machine, text: str) -> str:
    """Return the section of README.md for one commit."""
    return "\n".join([f"#### Commit {machine.commit}", "", "```text", *machine.lines(), "", text, "```"])


def insert(page: str, commit: str, written: str) -> str:
    """Return `page` with the section of `commit` replaced, or added as the last one. Raises ValueError."""
    if BEGIN not in page or END not in page:
        raise ValueError(f"the page does not contain {BEGIN!r} and {END!r}")
    head, _, rest = page.partition(BEGIN)
    inside, _, tail = rest.partition(END)
    sections = [one.strip() for one in re.split(r"(?m)^(?=#### Commit )", inside) if one.strip()]
    title = f"#### Commit {commit}"
    kept = [written if one.splitlines()[0] == title else one for one in sections]
    if written not in kept:
        kept.append(written)
    return head + "\n\n".join([BEGIN, *kept, END]) + tail
