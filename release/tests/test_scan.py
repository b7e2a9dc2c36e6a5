"""Reports of known vulnerabilities are read, and what is not allowed fails."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pytest

from collectionstore_release import scan
from collectionstore_release.scan import Exemption, Finding, Invalid, judged, read_allowed, read_report

TODAY = datetime.date(2026, 12, 1)
PIP_AUDIT = {
    "dependencies": [
        {"name": "fine", "version": "1", "vulns": []},
        {"name": "skipped", "skip_reason": "not found"},
        {
            "name": "aiohttp",
            "version": "3.8.0",
            "vulns": [{"id": "PYSEC-2026-1", "aliases": ["CVE-2026-1234"], "fix_versions": ["3.9.0"]}],
        },
    ],
    "fixes": [],
}
OSV = {
    "results": [
        {
            "packages": [
                {
                    "package": {"name": "openssl", "version": "3.0.1", "ecosystem": "Debian"},
                    "vulnerabilities": [{"id": "DSA-1-1", "aliases": ["CVE-2026-2"]}, {"id": "CVE-2026-3"}],
                    "groups": [
                        {"ids": ["DSA-1-1"], "max_severity": "7.5"},
                        {"ids": ["CVE-2026-3"], "max_severity": "3.1"},
                    ],
                }
            ]
        }
    ]
}
TRIVY = {
    "ArtifactName": "node.tar",
    "Results": [
        {"Target": "debian"},
        {
            "Vulnerabilities": [
                {
                    "PkgName": "libc6",
                    "InstalledVersion": "2.36",
                    "VulnerabilityID": "CVE-2026-4",
                    "Severity": "CRITICAL",
                    "FixedVersion": "2.37",
                }
            ]
        },
    ],
}
ENTRY = {"id": "CVE-2026-2", "package": "openssl", "reason": "the function is not called", "until": "2027-01-31"}


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        (
            PIP_AUDIT,
            [
                Finding("skipped", "", ("SKIPPED-BY-PIP-AUDIT",)),
                Finding("aiohttp", "3.8.0", ("PYSEC-2026-1", "CVE-2026-1234"), "UNKNOWN", "3.9.0"),
            ],
        ),
        (
            OSV,
            [
                Finding("openssl", "3.0.1", ("DSA-1-1", "CVE-2026-2"), "HIGH"),
                Finding("openssl", "3.0.1", ("CVE-2026-3",), "LOW"),
            ],
        ),
        (TRIVY, [Finding("libc6", "2.36", ("CVE-2026-4",), "CRITICAL", "2.37")]),
        ({"dependencies": []}, []),
        ({"results": []}, []),
    ],
)
def test_reports_of_three_programs_are_read(report: Any, expected: list[Finding]) -> None:
    assert read_report(json.dumps(report)) == expected


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"dependencies": 3}', '{"dependencies": [{"vulns": [{}]}]}'])
def test_report_that_cannot_be_read_is_no_clean_report(text: str) -> None:
    with pytest.raises(Invalid):
        read_report(text)


def listed(**changed: Any) -> str:
    return json.dumps({"allowed": [{**ENTRY, **changed}]}).replace('"2027-01-31"', "2027-01-31")


def test_allow_list_is_read() -> None:
    (one,) = read_allowed(listed(), TODAY)
    assert one == Exemption("CVE-2026-2", "openssl", "the function is not called", datetime.date(2027, 1, 31))
    assert read_allowed("allowed: []", TODAY) == []


@pytest.mark.parametrize(
    "text",
    [
        "- a list",
        listed(reason="no"),
        listed(id="everything"),
        listed(until="soon"),
        listed(more=1),
        listed().replace("2027-01-31", "2028-01-31"),
        '{"allowed": ["CVE-2026-2"]}',
    ],
)
def test_exemption_without_reason_or_end_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        read_allowed(text, TODAY)


def test_what_is_allowed_passes_until_its_day_for_its_package_alone() -> None:
    findings = read_report(json.dumps(OSV))
    allowed = read_allowed(listed(), TODAY)
    assert judged(findings, allowed, TODAY) == ([], [])
    left, ended = judged(findings, allowed, datetime.date(2027, 2, 1))
    assert ([one.ids[0] for one in left], ended) == (["DSA-1-1"], allowed)
    other = read_allowed(listed(package="zlib"), TODAY)
    left, unused = judged(findings, other, TODAY)
    assert ([one.ids[0] for one in left], unused) == (["DSA-1-1"], other)


def test_command_fails_on_what_is_not_allowed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report, allowed = tmp_path / "report.json", tmp_path / "allowed.yaml"
    report.write_text(json.dumps(PIP_AUDIT))
    allowed.write_text("allowed: []\n")
    assert scan.main([str(report), "--allow", str(allowed)]) == 1
    assert "aiohttp 3.8.0: PYSEC-2026-1, CVE-2026-1234" in capsys.readouterr().out
    report.write_text(json.dumps({"dependencies": []}))
    assert scan.main([str(report), "--allow", str(allowed)]) == 0
    report.write_text("nothing")
    assert scan.main([str(report), "--allow", str(allowed)]) == 2


def test_committed_allow_list_is_valid() -> None:
    today = datetime.datetime.now(datetime.UTC).date()
    assert isinstance(read_allowed(scan.ALLOWED.read_text(), today), list)
