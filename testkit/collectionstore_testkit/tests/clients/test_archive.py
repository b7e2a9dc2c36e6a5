"""The archive of the client program runs without the checkout."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

from collectionstore_testkit.clients.archive import client_archive

CONFIG_MAP_BYTES_MAX = 1 << 20
IMPORTED_FROM = "import sys; sys.path.insert(0, sys.argv[1]); import collectionstore_testkit.clients.program as one"


def test_the_program_runs_from_the_archive_alone(tmp_path: Path) -> None:
    """With -P and in another folder, as in a pod."""
    path = tmp_path / "clients.pyz"
    path.write_bytes(client_archive())
    done = subprocess.run(
        [sys.executable, "-P", str(path), "--help"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "base URL of the Service" in done.stdout


def test_the_program_needs_no_module_of_the_repository_outside_the_archive(tmp_path: Path) -> None:
    path = tmp_path / "clients.pyz"
    path.write_bytes(client_archive())
    code = (
        f"{IMPORTED_FROM}; assert one.__file__.startswith(sys.argv[1]), one.__file__;"
        "print(sorted({name.partition('.')[0] for name in sys.modules if name.startswith('collectionstore')}))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, str(path)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "['collectionstore_testkit']\n"


def test_the_archive_fits_into_a_config_map_and_is_reproducible() -> None:
    content = client_archive()
    assert len(content) < CONFIG_MAP_BYTES_MAX / 2
    assert content == client_archive()


def test_the_archive_has_no_tests(tmp_path: Path) -> None:
    path = tmp_path / "clients.pyz"
    path.write_bytes(client_archive())
    names = zipfile.ZipFile(path).namelist()
    assert "collectionstore_testkit/histories/workload.py" in names
    assert not [name for name in names if "tests" in name]
