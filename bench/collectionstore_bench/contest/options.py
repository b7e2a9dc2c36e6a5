"""The command line of `make bench` and `make bench-compare`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from collectionstore_bench.command_line import parser_of, whole
from collectionstore_bench.contest.cases import Case, Profile, cases_of

EXAMPLES = """examples:
  make bench BENCH_OPTIONS=--quick            about four minutes: 1 and 64 connections, 1,000 requests in flight
  make bench                                  all cases, about half an hour
  make bench BENCH_OPTIONS='--only "put 64"'  cases whose name contains the text
  make bench-compare REV=main~3               this checkout against an older commit

Interleaved rounds: in each one every case is measured once on each store, so that a machine whose speed drifts favours
none. Ratios are taken within a round. How to read the tables: bench/README.md."""
QUICK_SECONDS, FULL_SECONDS = 2.0, 5.0


@dataclass(frozen=True, slots=True)
class Options:
    """What is to be measured; `commit` is empty for the comparison with etcd."""

    profile: Profile
    commit: str
    only: str
    rounds: int
    seconds: float
    base_port: int
    output: str
    keep: bool

    def cases(self) -> list[Case]:
        """Return the cases to measure."""
        return [case for case in cases_of(self.profile) if self.only in case.name]


def parse_options(description: str, arguments: Sequence[str] | None = None) -> Options:
    """Parse the command line; exits with 2 and a message when it is wrong."""
    parser = parser_of("contest", description, EXAMPLES)
    add = parser.add_argument
    add("--quick", action="store_true", help="few cases and short turns: about four minutes")
    add("--commit", default="", metavar="REV", help="compare this checkout with an older commit, not with etcd")
    add("--only", default="", metavar="TEXT", help="only the cases whose name contains TEXT")
    add("--rounds", type=whole(1, 1000), default=5, help="how often everything is measured (default: 5)")
    add("--seconds", type=whole(1, 600), metavar="N", help="length of a turn, whole (default: 5, with --quick 2)")
    add("--base-port", type=int, default=23_000, metavar="PORT", help="of what is started, 300 ports (default: 23000)")
    add("--no-results", action="store_true", help="do not keep the results in bench/results")
    given = parser.parse_args(arguments)
    options = Options(
        profile=Profile.QUICK if given.quick else Profile.FULL,
        commit=given.commit,
        only=given.only,
        rounds=given.rounds,
        seconds=float(given.seconds) if given.seconds else (QUICK_SECONDS if given.quick else FULL_SECONDS),
        base_port=given.base_port,
        output=given.output,
        keep=not given.no_results,
    )
    if not options.cases():
        names = "; ".join(case.name for case in cases_of(options.profile))
        parser.error(f"no case contains {options.only!r}; there are: {names}")
    return options
