"""Pages are true: links, anchors, paths, make targets and modules that a tracked .md file names exist.

Also: the table of dependencies in CONTRIBUTING.md is that of the pyproject.toml files.

What counts as a path is decided by its form (`is_path`), so that names of images, routes and files of a running
cluster are left out. A path is looked up from the root of the repository, from the folder of the page, and as the end
of a path: in the program that the page belongs to, or, for pages of no program, anywhere.
"""

from __future__ import annotations

import fnmatch
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Final

import pytest

REPOSITORY: Final = Path(__file__).parents[1]

FENCE: Final = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
INLINE_CODE: Final = re.compile(r"`([^`\n]+)`")
LINK: Final = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
MAKE: Final = re.compile(r"(?:^|[`(]|&& |\$ )make ([a-z][a-z0-9-]*)", re.MULTILINE)
MODULE: Final = re.compile(r"python -m (collectionstore[\w.]*)")

SOURCE_SUFFIXES: Final = (".py", ".md", ".c", ".patch", ".sh", ".mod")
"""Suffixes of files that exist in the repository only, never in a cluster, a container or an archive."""
FOLDERS_AT_RUN_TIME: Final = {
    "docs/reference/cli.md": {
        "ca/",
        "ca-peers/",
        "cluster/",
        "data/",
        "kubernetes/",
        "operator/",
        "retired/",
        "secrets/",
        "supervisor/",
        "tls/",
        "tls-clients/",
    },
}
"""Folders of the state directory and of report archives, by page."""
BUILT: Final = ("build", "dist")
"""Folders of the root that commands write."""
HISTORY: Final = {"docs/track-record.md"}
"""Pages whose commands belong to older commits; their single paths are of today."""


@dataclass(frozen=True)
class Repository:
    """The tracked files, as paths from the root, and the targets of the Makefile."""

    files: frozenset[str]
    targets: frozenset[str]

    @cached_property
    def paths(self) -> frozenset[str]:
        """Files and folders."""
        folders = {str(folder) for file in self.files for folder in PurePosixPath(file).parents}
        return self.files | folders

    @cached_property
    def programs(self) -> frozenset[str]:
        """The folders of the root."""
        return frozenset(path.split("/")[0] for path in self.files if "/" in path)

    @cached_property
    def _ends(self) -> dict[str, frozenset[str]]:
        """Every end of every path, by program; under "" those of all programs."""
        ends: dict[str, set[str]] = {"": set()}
        for path in self.paths:
            parts = path.split("/")
            tails = {"/".join(parts[start:]) for start in range(len(parts))}
            ends[""] |= tails
            ends.setdefault(parts[0], set()).update(tails)
        return {program: frozenset(tails) for program, tails in ends.items()}

    def has(self, path: str, page: str) -> bool:
        """Return whether a path that a page names exists; `*` stands for any text."""
        wanted = path.removeprefix("./").rstrip("/")
        program = page.split("/")[0] if "/" in page else ""
        of_a_program = program in self.programs and program not in {"docs", "tests", ".github"}
        if not of_a_program and wanted.split("/")[0] in self.programs and "/" in wanted:
            candidates = self.paths
        else:
            beside = str(PurePosixPath(page).parent / wanted)
            ends = self._ends[program if of_a_program else ""]
            candidates = ends | self.paths | {wanted for _ in [beside] if beside in self.paths}
        return any(True for _ in fnmatch.filter(candidates, wanted)) if "*" in wanted else wanted in candidates

    def has_module(self, module: str) -> bool:
        """Return whether `python -m` finds a module of the workspace."""
        path = module.replace(".", "/")
        return any(end in self._ends[""] for end in (f"{path}.py", f"{path}/__main__.py"))


def is_path(token: str, repository: Repository) -> bool:
    """Return whether a word of code looks like a path of the repository."""
    if not re.fullmatch(r"(?:\./)?[\w.*-]+(?:/[\w.*-]+)*/?", token) or "..." in token:
        return False
    first, _, rest = token.removeprefix("./").partition("/")
    if first in BUILT:
        return False
    if rest and first in repository.programs:
        return True
    return (token.endswith(SOURCE_SUFFIXES) and not token.startswith((".", "*."))) or (not rest and token.endswith("/"))


def words_of_code(page: str, text: str) -> Iterator[str]:
    """Yield the words of inline code and of fenced blocks that may be paths."""
    for code in INLINE_CODE.findall(FENCE.sub("", text)):
        words = code.split()
        if len(words) == 1 or page not in HISTORY:
            yield from (word.strip("'\",;:()").split("::")[0] for word in words)
    if page not in HISTORY:
        for block in FENCE.findall(text):
            for word in block.split():
                if "/" in word.rstrip("/"):  # a bare name may be anything: an argument, a part of an answer
                    yield word.strip("'\",;:()").split("::")[0]


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    found: dict[str, int] = {}
    result = set()
    for heading in re.findall(r"^#{1,6} (.+?)\s*$", FENCE.sub("", text), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        count = found.get(slug, 0)
        found[slug] = count + 1
        result.add(f"{slug}-{count}" if count else slug)
    return result


def broken_links(page: str, text: str, pages: dict[str, str], repository: Repository) -> Iterator[str]:
    """Yield relative links of a page whose file or anchor does not exist."""
    for link in LINK.findall(INLINE_CODE.sub("", FENCE.sub("", text))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = _normalized(PurePosixPath(page).parent / path) if path else page
        if target.rstrip("/") not in repository.paths:
            yield f"{page}: {link}: there is no {target}"
        elif anchor and target in pages and anchor not in anchors(pages[target]):
            yield f"{page}: {link}: {target} has no such heading"


def _normalized(path: PurePosixPath) -> str:
    parts: list[str] = []
    for part in path.parts:
        if part == ".." and parts:
            parts.pop()
        elif part != ".":
            parts.append(part)
    return "/".join(parts) or "."


def untrue_names(page: str, text: str, repository: Repository) -> Iterator[str]:
    """Yield paths, make targets and modules of a page that do not exist."""
    at_run_time = FOLDERS_AT_RUN_TIME.get(page, set())
    for word in words_of_code(page, text):
        if is_path(word, repository) and word not in at_run_time and not repository.has(word, page):
            yield f"{page}: there is no {word}"
    code = "\n".join([*FENCE.findall(text), *(f"`{code}" for code in INLINE_CODE.findall(FENCE.sub("", text)))])
    for target in MAKE.findall(code):
        if target not in repository.targets:
            yield f"{page}: the Makefile has no target {target}"
    for module in MODULE.findall(code):
        if page not in HISTORY and not repository.has_module(module.rstrip(".")):
            yield f"{page}: there is no module {module}"


@pytest.fixture(scope="module")
def repository() -> Repository:
    # Files that are about to be added count: a page and what it describes come in one commit.
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.splitlines()
    files = frozenset(file for file in listed if (REPOSITORY / file).exists())
    targets = re.findall(r"^([a-z][a-z0-9-]*):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    return Repository(files, frozenset(targets))


@pytest.fixture(scope="module")
def pages(repository: Repository) -> dict[str, str]:
    found = {file: (REPOSITORY / file).read_text() for file in sorted(repository.files) if file.endswith(".md")}
    assert {"README.md", "CONTRIBUTING.md", "docs/README.md", "node/README.md"} <= found.keys()
    return found


def test_links_lead_to_files_and_headings(pages: dict[str, str], repository: Repository) -> None:
    broken = [line for page, text in pages.items() for line in broken_links(page, text, pages, repository)]
    assert not broken, "\n".join(broken)


def test_paths_targets_and_modules_exist(pages: dict[str, str], repository: Repository) -> None:
    untrue = [line for page, text in pages.items() for line in untrue_names(page, text, repository)]
    assert not untrue, "\n".join(untrue)


VAGUE: Final = re.compile(r"\b(somebody|nobody|anybody|whoever|ails|takes care|what is wanted)\b", re.IGNORECASE)
"""Words that hide who does what; docs/glossary.md lists more of them, each with the term to use."""


def test_pages_name_who_acts(pages: dict[str, str]) -> None:
    found = [
        f"{page}: {word}"
        for page, text in pages.items()
        if page.startswith("docs/") or "/" not in page
        for word in VAGUE.findall(FENCE.sub("", text))
        if page != "docs/glossary.md"
    ]
    assert not found, "\n".join(found)


SAMPLE: Final = Repository(
    files=frozenset({"README.md", "docs/page.md", "node/README.md", "node/store/log.py", "tools/run.py"}),
    targets=frozenset({"up"}),
)


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("README.md", "`docs/gone.md`"),
        ("README.md", "`node/store/gone/`"),
        ("README.md", "run `pytest node/store/gone.py -k one`"),
        ("README.md", "```sh\npython node/gone.py\n```"),
        ("README.md", "`gone.py`"),
        ("README.md", "`gone/`"),
        ("README.md", "`node/*.yaml`"),
        ("README.md", "`make gone`"),
        ("README.md", "```sh\nmake up\nmake gone\n```"),
        ("README.md", "`python -m collectionstore_gone`"),
        ("docs/page.md", "`node/log.py`"),
        ("node/README.md", "`run.py`"),
    ],
)
def test_name_that_does_not_exist_is_found(page: str, text: str) -> None:
    assert len(list(untrue_names(page, text, SAMPLE))) == 1


@pytest.mark.parametrize(
    ("page", "text"),
    [
        (
            "README.md",
            "`docs/page.md`, `node/store`, `node/store/`, `store/log.py`, `log.py`, `node/*/log.py`, `make up`",
        ),
        ("node/README.md", "`store/log.py`, `README.md`, `tools/run.py`"),
        (
            "README.md",
            "`collectionstore/node`, `/api/v1`, `status.json`, `registry.example.com/store:1`, `<name>/data/`",
        ),
    ],
)
def test_name_that_exists_or_is_no_path_is_accepted(page: str, text: str) -> None:
    assert list(untrue_names(page, text, SAMPLE)) == []


@pytest.mark.parametrize("link", ["gone.md", "page.md#gone", "../gone/", "#gone"])
def test_broken_link_is_found(link: str) -> None:
    pages = {"docs/page.md": f"# A page: `code`\n[text]({link})\n"}
    assert len(list(broken_links("docs/page.md", pages["docs/page.md"], pages, SAMPLE))) == 1


@pytest.mark.parametrize(
    "link", ["../node/README.md", "page.md#a-page-code", "#a-page-code", "..", "https://gone.example"]
)
def test_good_link_is_accepted(link: str) -> None:
    pages = {"docs/page.md": f"# A page: `code`\n[text]({link})\n"}
    assert list(broken_links("docs/page.md", pages["docs/page.md"], pages, SAMPLE)) == []


def declared_dependencies() -> dict[str, set[str]]:
    """Return who uses each package of others: members of the workspace, `development`, or `build`."""
    users: dict[str, set[str]] = {}
    workspace = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    members = workspace["tool"]["uv"]["workspace"]["members"]
    lists = [("development", workspace["dependency-groups"]["dev"])]
    for member in members:
        project = tomllib.loads((REPOSITORY / member / "pyproject.toml").read_text())
        lists += [(member, project["project"].get("dependencies", [])), ("build", project["build-system"]["requires"])]
        lists += [(member, extra) for extra in project["project"].get("optional-dependencies", {}).values()]
    for user, requirements in lists:
        for requirement in requirements:
            name = re.split(r"[\[<>=~! ]", requirement)[0]
            if not name.startswith("collectionstore"):
                users.setdefault(name, set()).add(user)
    return users


def test_every_dependency_has_a_reason() -> None:
    """The table of CONTRIBUTING.md names each package, and who uses it."""
    text = (REPOSITORY / "CONTRIBUTING.md").read_text()
    table = text.split("| package | used by | reason |", 1)[1].split("\n\n", 1)[0]
    listed: dict[str, set[str]] = {}
    for row in table.splitlines()[2:]:
        packages, users, reason = (cell.strip() for cell in row.strip("|").split("|"))
        assert reason, f"no reason for {packages}"
        for package in packages.split(", "):
            assert package not in listed, f"{package} is listed twice"
            listed[package] = set(users.split(", "))
    assert listed == declared_dependencies()


@pytest.mark.parametrize("generator", ["generate_resource.py", "generate_limits.py", "generate_python_reference.py"])
def test_generated_page_is_current(generator: str) -> None:
    command = [sys.executable, f"docs/{generator}", "--check"]
    checked = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)
    assert checked.returncode == 0, checked.stderr
