"""Source and revision, asked of real git repositories."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ocistate.artifact.pack import Provenance
from ocistate.errors import ConfigError
from ocistate.ops.artifact.gitsource import find_provenance, strip_credentials

TIME = "2024-05-06T07:08:09Z"


def git(folder: Path, *args: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", *args],
        check=True,
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "GIT_COMMITTER_DATE": TIME, "HOME": str(folder)},
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q", "-b", "main")
    (tmp_path / "a.yaml").write_text("a")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "one")
    return tmp_path


def test_branch_commit_and_time_are_found(repository: Path) -> None:
    git(repository, "remote", "add", "origin", "https://robot:s3cret@h.io/shop.git")
    commit = git(repository, "rev-parse", "HEAD")
    assert find_provenance(repository, {}) == Provenance(
        source="https://h.io/shop.git", revision=f"main@sha1:{commit}", created=TIME
    )


def test_changed_files_make_the_revision_dirty_and_untracked_ones_do_not(repository: Path) -> None:
    (repository / "new.yaml").write_text("n")
    assert not find_provenance(repository, {}).revision.endswith("-dirty")
    (repository / "a.yaml").write_text("changed")
    assert find_provenance(repository, {}).revision.endswith("-dirty")


def test_a_bare_commit_is_named_by_ci_or_by_its_tag(repository: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    git(repository, "checkout", "-q", "--detach")
    assert find_provenance(repository, {}).revision == f"sha1:{commit}"
    git(repository, "tag", "v1")
    assert find_provenance(repository, {}).revision == f"v1@sha1:{commit}"
    ci = {"GITHUB_REF_NAME": "feature"}
    assert find_provenance(repository, ci).revision == f"feature@sha1:{commit}"


def test_outside_a_repository_nothing_is_known(tmp_path: Path) -> None:
    assert find_provenance(tmp_path, {}) == Provenance()
    assert find_provenance(tmp_path, {"SOURCE_DATE_EPOCH": "0"}) == Provenance(
        created="1970-01-01T00:00:00Z"
    )


def test_source_date_epoch_goes_before_the_commit_and_must_be_a_number(repository: Path) -> None:
    found = find_provenance(repository, {"SOURCE_DATE_EPOCH": "86400"})
    assert found.created == "1970-01-02T00:00:00Z"
    for bad in ("soon", "1e9", "9" * 30):
        with pytest.raises(ConfigError, match="SOURCE_DATE_EPOCH"):
            find_provenance(repository, {"SOURCE_DATE_EPOCH": bad})


@pytest.mark.parametrize(
    ("url", "clean"),
    [
        ("https://h.io/a.git", "https://h.io/a.git"),
        ("https://user@h.io/a", "https://h.io/a"),
        ("https://user:pw@h.io:8443/a?token=x#y", "https://h.io:8443/a"),
        ("ssh://git@h.io/a", "ssh://h.io/a"),
        ("git@h.io:team/a.git", "ssh://h.io/team/a.git"),
        ("https://[::1]:80/a", "https://[::1]:80/a"),
        ("/srv/git/a", ""),
        ("../a", ""),
        ("file:///srv/a", ""),
        ("", ""),
    ],
)
def test_a_remote_carries_no_credentials(url: str, clean: str) -> None:
    assert strip_credentials(url) == clean
