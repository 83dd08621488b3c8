"""Read from git where manifests come from: remote, revision, commit time."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from ocistate.artifact.pack import Provenance
from ocistate.errors import ConfigError
from ocistate.times import format_time

_CI_REFS = ("GITHUB_REF_NAME", "CI_COMMIT_REF_NAME", "BITBUCKET_BRANCH", "BUILDKITE_BRANCH")


def find_provenance(folder: Path, environ: Mapping[str, str] | None = None) -> Provenance:
    """What git says about a folder; empty where it is not in a repository.

    The time is SOURCE_DATE_EPOCH's if that is set, else the commit's, so that the same commit
    packs to the same bytes at any time. Tracked files with changes mark the revision ``-dirty``.
    Raises ConfigError for a SOURCE_DATE_EPOCH that is no number.
    """
    environ = os.environ if environ is None else environ
    epoch = environ.get("SOURCE_DATE_EPOCH")
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    if not commit:
        return Provenance(created=_time(epoch) if epoch else "")
    dirty = "-dirty" if _git(folder, "status", "--porcelain", "--untracked-files=no") else ""
    ref = _ref(folder, environ)
    return Provenance(
        source=strip_credentials(_remote(folder)),
        revision=f"{ref}@sha1:{commit}{dirty}" if ref else f"sha1:{commit}{dirty}",
        created=_time(epoch or _git(folder, "show", "-s", "--format=%ct", "HEAD")),
    )


def strip_credentials(url: str) -> str:
    """A remote's URL without user, password and query; an scp-like one as ``ssh://``."""
    scp = re.fullmatch(r"(?:[^@/]+@)?([^:/]+):(?!//)(.+)", url)
    if scp and "://" not in url:
        return f"ssh://{scp[1]}/{scp[2].lstrip('/')}"
    parts = urlsplit(url)
    if not parts.scheme or not parts.hostname:
        return ""  # a path on one machine means nothing to others
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = f":{parts.port}" if parts.port else ""
    return urlunsplit((parts.scheme, host + port, parts.path, "", ""))


def _ref(folder: Path, environ: Mapping[str, str]) -> str:
    branch = _git(folder, "symbolic-ref", "--quiet", "--short", "HEAD")
    if branch:
        return branch
    # CI systems check out a bare commit, and name its branch in the environment.
    for name in _CI_REFS:
        if environ.get(name):
            return environ[name]
    return _git(folder, "describe", "--tags", "--exact-match", "HEAD")


def _remote(folder: Path) -> str:
    remotes = _git(folder, "remote").split()
    name = "origin" if "origin" in remotes or not remotes else remotes[0]
    return _git(folder, "config", "--get", f"remote.{name}.url")


def _git(folder: Path, *args: str) -> str:
    """What git prints, or nothing where it fails: no git, no repository, no commit."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *args],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _time(epoch: str) -> str:
    try:
        moment = datetime.fromtimestamp(int(epoch), tz=UTC)
    except (ValueError, OverflowError, OSError):
        raise ConfigError(
            f"SOURCE_DATE_EPOCH is {epoch!r}", hint="it is a whole number of seconds since 1970"
        ) from None
    return format_time(moment)
