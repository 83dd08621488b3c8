"""The verbs of channels on a layout: what they print, what they refuse, and with which code."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from ocistate.channel.record import RecordProvenance
from ocistate.cli.channel.options import parse_lifetime
from ocistate.errors import UsageError
from ocistate.ops.channel.commits import commits_between, compare_url
from tests.support.environments.command_line import Site


def test_a_release_goes_from_staging_to_prod_and_back(begun: Site) -> None:
    site = begun
    assert site.promote("--tag", "v2", to="staging").strip() == "staging@2"
    assert "~ ConfigMap/app" in site.err
    assert '/data/v: "1" → "2"' in site.err
    assert "hunter" not in site.err
    assert site.promote("--from", "staging", "--reason", "ship").strip() == "prod@2"
    assert site.promote("--from", "staging").strip() == "prod@2"
    assert "nothing was written" in site.err

    out = site.sign("rollback", site.store, "prod", "--reason", "bad", "--yes")
    assert out.strip() == "prod@3"
    site.promote("--from", "staging", code=77)
    assert "on hold" in site.err
    assert "bad" in site.err
    site.sign("rollback", site.store, "prod", "--yes", code=4)
    assert "--to SEQUENCE" in site.err
    assert site.sign("channel", "release", site.store, "prod").strip() == "prod@4"
    assert site.promote("--digest", site.digests[2]).strip() == "prod@5"
    assert site.sign("rollback", site.store, "prod", "--to", "2", "--yes").strip() == "prod@6"
    assert site.promote("--tag", "v3", "--release").strip() == "prod@7"

    rows = site.json("history", site.store, "prod")
    assert [row["number"] for row in rows] == ["7", "6", "5", "4", "3", "2", "1"]
    assert all(row["verified"] and row["signer"] == "release" for row in rows)
    assert [row["digest"] for row in rows][:3] == [site.digests[n] for n in (2, 1, 2)]
    assert (rows[5]["reason"], rows[5]["actor"], rows[5]["source"]) == (
        "ship",
        "alice",
        "staging@2",
    )
    assert [row["hold"] for row in rows] == [False, True, False, False, True, False, False]
    assert rows == site.json("history", site.store, "prod")  # from the cache
    verified = site("channel", "verify", site.store, "prod", *site.trust)
    assert verified.strip() == f"{site.store}@{site.digests[2]}"


def test_a_channel_is_read_from_a_mirror_when_the_repository_is_gone(begun: Site) -> None:
    site, mirror = begun, f"layout:{begun.root}/mirror"
    site.promote("--tag", "v2")
    site("copy", site.store, mirror, "--channels", "--all-tags")
    shutil.rmtree(site.store.removeprefix("layout:"))
    for verb in (("channel", "show"), ("history",)):
        site(*verb, site.store, "prod", *site.trust, code=11)
    assert site.json("channel", "show", site.store, "prod", "--mirror", mirror)["sequence"] == 2
    rows = site.json("history", site.store, "prod", "--mirror", mirror)
    assert [(row["number"], row["verified"]) for row in rows] == [("2", True), ("1", True)]
    found = site.json("diff", site.store, "prod@1", "prod", "--mirror", mirror)
    assert (found["before"], found["after"]) == (site.digests[0], site.digests[1])
    changes = site.json(
        "log", site.store, "prod", "--resource", "ConfigMap/app", "--mirror", mirror
    )
    assert [row["change"] for row in changes] == ["changed", "added"]
    # What nothing proves comes from no mirror.
    site("history", site.store, "prod", "--mirror", mirror, code=11)


def test_a_dry_run_shows_and_writes_nothing(begun: Site) -> None:
    out = begun.promote("--tag", "v2", "--dry-run", "-o", "json")
    found = json.loads(out)
    assert (found["dryRun"], found["sequence"], found["record"]) == (True, 2, "")
    (change,) = found["changes"]
    assert (change["before"], change["after"]) == (begun.digests[0], begun.digests[1])
    assert [r["name"] for r in change["resources"]] == ["app", "s"]
    assert begun.json("channel", "show", begun.store, "prod")["sequence"] == 1


class Terminal(io.StringIO):
    """Somebody to ask, who answers."""

    def isatty(self) -> bool:
        return True


def test_a_person_is_asked_and_decides_on_what_was_shown(
    begun: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = begun
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    site.sign("promote", f"{site.store}:v2", "--to", "prod", code=130)
    assert "Move prod to prod@2?" in site.err
    assert site.json("channel", "show", site.store, "prod")["sequence"] == 1
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    assert site.sign("promote", f"{site.store}:v2", "--to", "prod").strip() == "prod@2"


def test_nobody_to_ask_needs_yes(begun: Site) -> None:
    begun.sign("promote", f"{begun.store}:v2", "--to", "prod", code=2)
    assert "--yes" in begun.err


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["--tag", "v2", "--from", "staging"],
        ["--digest", "sha256:1"],
        ["--tag", "v2", "--expires", "soon"],
        ["--tag", "v2", "--artifact-key", "x.pub"],
        ["--tag", "v2", "--to", "prod-1"],
        ["--tag", "v2", "--policy", "x", "--channel-key", "y"],
    ],
)
def test_what_makes_no_sense_is_a_usage_error(begun: Site, args: list[str]) -> None:
    begun.promote(*args, code=2)


def test_only_what_the_policy_trusts_is_promoted(begun: Site) -> None:
    begun.push("4", sign=False)
    begun.promote("--tag", "v4", code=41)
    begun.promote("--tag", "v9", code=11)
    begun.promote("--tag", "v2", key="other", code=42)
    assert "is not a channel key of" in begun.err
    begun.promote("--tag", "v2", key="art", code=2)
    assert "a channel needs a key of its own" in begun.err
    begun.promote("--tag", "v2", to="prd", code=11)
    assert "channel init" in begun.err
    assert begun.json("channel", "show", begun.store, "prod")["sequence"] == 1


def test_a_key_cannot_be_both(site: Site) -> None:
    site.write_policy("art")
    site("channel", "show", site.store, "prod", *site.trust, code=4)
    assert "channelKeys" in site.err


def test_a_channel_begins_once(begun: Site) -> None:
    begun.sign("channel", "init", f"{begun.store}:v2", "prod", code=14)
    begun.sign("channel", "init", begun.store, "new", code=2)


def test_expiry_shows_and_a_refresh_mends_it(site: Site) -> None:
    site.sign("channel", "init", f"{site.store}:v1", "prod", "--expires", "1m")
    row = site.json("channel", "show", site.store, "prod")
    assert row["expires"] > row["issuedAt"]
    assert (
        site.sign("channel", "refresh", site.store, "prod", "--expires", "30d").strip() == "prod@2"
    )
    assert site.json("channel", "show", site.store, "prod")["sequence"] == 2
    site.sign("channel", "hold", site.store, "prod", "--reason", "freeze")
    (row,) = site.json("channel", "list", site.store)
    assert (row["channel"], row["state"], row["number"]) == ("prod", "on hold", "3")
    assert [parse_lifetime(t).total_seconds() for t in ("2d", "3h", "5m", "never")] == [
        172800,
        10800,
        300,
        0,
    ]
    with pytest.raises(UsageError):
        parse_lifetime("-1d")


def test_several_repositories_move_as_one(begun: Site, tmp_path: Path) -> None:
    site = begun
    db = f"layout:{tmp_path}/db"
    site("push", str(tmp_path / "app.yaml"), f"{db}:v1", "--allow-secrets", "--sign",
         "--key", str(tmp_path / "art.key"))  # fmt: skip
    site.promote("--tag", "v2", "--with", f"{db}:v1")
    row = site.json("channel", "show", site.store, "prod")
    assert [s["repository"] for s in row["subjects"]] == [f"{tmp_path}/db", f"{tmp_path}/store"]
    site.promote("--tag", "v3")
    row = site.json("channel", "show", site.store, "prod")
    assert len(row["subjects"]) == 2
    for wrong in (["--with", f"{site.store}:v1"], ["--drop", f"{tmp_path}/store"], ["--drop", "x"]):
        site.promote("--tag", "v1", *wrong, code=2)
    site.promote("--from", "prod", to="staging")
    assert len(site.json("channel", "show", site.store, "staging")["subjects"]) == 2
    site.promote("--tag", "v3", "--drop", f"{tmp_path}/db")
    row = site.json("channel", "show", site.store, "prod")
    assert [s["repository"] for s in row["subjects"]] == [f"{tmp_path}/store"]


def test_channels_and_releases_are_compared(begun: Site) -> None:
    site = begun
    site.promote("--tag", "v2")
    found = site.json("diff", site.store, "prod", "staging")
    assert (found["before"], found["after"]) == (site.digests[1], site.digests[0])
    found = site.json("diff", site.store, "prod@1", "prod@2")
    assert [r["fields"][0]["pointer"] for r in found["resources"]] == [
        "/data/v",
        "/stringData/password",
    ]
    assert "hunter" not in json.dumps(found)
    site("diff", site.store, "prod", ":v2", *site.trust, "--exit-code")
    assert "No difference" in site.err
    site("diff", site.store, "prod", site.digests[2], *site.trust, "--exit-code", code=1)
    assert "0 added, 2 changed, 0 removed" in site.err
    assert "\x1b" not in site.out
    site("diff", site.store, "prod", "nowhere", *site.trust, code=11)
    site("diff", site.store, code=2)
    assert site("diff", site.store, "prod", "staging", "-o", "name").split() == [
        "ConfigMap/app",
        "Secret/s",
    ]


def test_a_stolen_key_is_left_behind_from_the_command_line(begun: Site) -> None:
    site = begun
    site.promote("--tag", "v3", "--reason", "by a thief")
    site.write_policy("other", epoch=2)
    site("channel", "show", site.store, "prod", *site.trust, code=42)
    site.promote("--tag", "v2", key="other", code=42)
    site.sign("channel", "init", f"{site.store}:v1", "prod", "--restart", key="other")
    assert site.promote("--tag", "v2", key="other").strip() == "prod@2.2"
    rows = site.json("history", site.store, "prod")
    assert [(row["number"], row["verified"]) for row in rows] == [
        ("2.2", True),
        ("2.1", True),
        ("2", False),
        ("1", False),
    ]
    site("channel", "verify", site.store, "prod", *site.trust, code=70)


def test_an_overwritten_number_is_named(begun: Site) -> None:
    site = begun
    site.promote("--tag", "v2")
    site.promote("--tag", "v3")
    site.point("channel-prod-2", "channel-prod-3")
    site("channel", "verify", site.store, "prod", *site.trust, code=76)
    assert "number 2 is" in site.err
    site("history", site.store, "prod", *site.trust)
    assert "fork of prod" in site.err


def git(folder: Path, *args: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b.c", *args]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_releases_are_linked_to_their_commits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "init", "-q")
    commits = []
    for text in ("one", "two", "three"):
        git(tmp_path, "commit", "-q", "--allow-empty", "-m", text)
        commits.append(git(tmp_path, "rev-parse", "HEAD"))
    source = "https://github.com/acme/shop.git"
    made: Callable[[int], RecordProvenance] = lambda n: RecordProvenance(  # noqa: E731
        source=source, revision=f"main@sha1:{commits[n]}"
    )
    monkeypatch.chdir(tmp_path)
    found = commits_between(made(0), made(2))
    assert found["url"] == f"https://github.com/acme/shop/compare/{commits[0]}...{commits[2]}"
    assert [line.partition(" ")[2] for line in found["log"]] == ["a: three", "a: two"]
    monkeypatch.chdir("/")
    assert commits_between(made(0), made(2))["log"] == []
    nothing = {"range": "", "url": "", "log": []}
    assert commits_between(made(1), made(1)) == nothing
    assert commits_between(None, made(1)) == nothing
    assert commits_between(RecordProvenance(revision="v1"), made(1)) == nothing
    assert compare_url("ssh://gitlab.example.com/a/b.git", "1", "2") == (
        "https://gitlab.example.com/a/b/-/compare/1...2"
    )
    assert compare_url("/srv/git", "1", "2") == ""


@pytest.mark.parametrize(
    "verb",
    [
        ("history", "{}"),
        ("channel", "list", "{}"),
        ("channel", "show", "{}", "prod"),
        ("channel", "verify", "{}", "prod"),
        ("log", "{}", "prod", "--resource", "ConfigMap/app"),
        ("blame", "{}", "prod", "--resource", "ConfigMap/app"),
    ],
)
def test_a_tag_is_refused_where_a_repository_is_asked_for(site: Site, verb: Sequence[str]) -> None:
    for tagged in (f"{site.store}:v1", f"{site.store}@{site.digests[0]}"):
        site(*(part.format(tagged) for part in verb), *site.trust, code=2)
        assert "a repository is asked for" in site.err


def test_what_is_named_and_not_there_is_an_error(site: Site, tmp_path: Path) -> None:
    target = f"layout:{tmp_path / 'copy'}"
    site("history", site.store, "nosuch", *site.trust, code=11)
    site("copy", site.store, target, "--tags", "nosuch*", code=11)
    site("copy", site.store, target, "--channels", code=11)
    site("copy", site.store, target, "--all-tags", "--channels")
    approve = ("approve", f"{site.store}:v1", "--reason", "ok", "--key", str(site.root / "art.key"))
    site(*approve, "--channel", "nosuch", *site.trust, code=11)
    assert "no channel nosuch" in site.err


def test_no_channel_goes_to_what_nobody_signed_unless_that_is_said(site: Site) -> None:
    """Without a policy no one says who must have signed it: somebody must have all the same."""
    key = ("--key", str(site.root / "chan.key"))
    plain = f"{site.store}:v9"
    site.push("9", sign=False)
    site("channel", "init", plain, "prod", *key, code=41)
    assert "--allow-unsigned" in site.err
    site("channel", "init", plain, "free", "--allow-unsigned", *key)
    site("channel", "init", f"{site.store}:v1", "prod", *key)
    moves = ("promote", plain, "--to", "prod", "--yes")
    site(*moves, *key, code=41)
    assert "is not signed" in site.err
    site("promote", site.store, "--from", "free", "--to", "prod", "--yes", *key, code=41)
    site(*moves, *key, *site.trust, code=41)
    site(*moves, *key, *site.trust, "--allow-unsigned", code=2)
    assert site("promote", f"{site.store}:v2", "--to", "prod", "--yes", *key).strip() == "prod@2"
    assert "signature is not verified" in site.err
    assert site(*moves, *key, "--allow-unsigned").strip() == "prod@3"
    # A statement about it that is no signature, and one of another artifact, do not make it signed.
    site.push("8", sign=False)
    (site.root / "p.json").write_text("{}")
    about = ("--type", "https://example.com/x", "--predicate", str(site.root / "p.json"))
    site("attest", f"{site.store}:v8", *about, "--key", str(site.root / "art.key"))
    site("promote", f"{site.store}:v8", "--to", "prod", "--yes", *key, code=41)
