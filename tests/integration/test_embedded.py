"""`ocistate agent --stacks FILE --state DIR` as a process: folders for store and target."""

from __future__ import annotations

import functools
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.assertions.agent import condition
from tests.support.assertions.waiting import wait_for
from tests.support.command import ocistate
from tests.support.environments.embedded import Site
from tests.support.factories.keys import Key
from tests.support.factories.stacks import config_map, policy


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    site.declare(site.shop())
    yield site
    site.agent.kill()


def mtime(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def running(site: Site) -> dict[str, Any]:
    """What `ocistate get` says of the Stack, as a program and as a person reads it."""
    command = [sys.executable, "-m", "ocistate", "get", "--state", str(site.state)]
    done = subprocess.run([*command, "-o", "json"], capture_output=True, check=True)
    (row,) = json.loads(done.stdout)
    shown = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    return {**row, "table": dict(zip(*(line.split() for line in shown.splitlines()), strict=False))}


def test_keys_are_rotated_without_a_pause_and_revoked_at_the_next_pass(site: Site) -> None:
    new = Key.make()
    old_policy, site_key = policy(site.key), site.key

    def declare(*policies: dict[str, Any]) -> None:
        write = site.stacks.with_suffix(".new")
        write.write_text(yaml.safe_dump_all([*policies, site.shop()]))
        write.replace(site.stacks)

    first = site.push(app="1")
    declare(old_policy)
    with site.agent:
        site.wait("Ready", digest=first)
        assert running(site)["running"]["verified"] == "True"

        declare(policy(site.key, new))
        second = site.push(app="2", sign=new)
        site.wait("Ready", digest=second)
        third = site.push(app="3", sign=site_key)
        site.wait("Ready", digest=third)
        fourth = site.push(app="4", sign=new)
        site.wait("Ready", digest=fourth)
        declare(policy(new))
        site.wait("Ready", digest=fourth)

        # Revoked: what runs stays, is said to be unverified, and nothing new of it gets in.
        declare(policy(site.key))
        site.wait("UntrustedSigner", digest=fourth)
        wait_for("said", lambda: site.status()["current"]["verified"] == "False")
        site.push(app="5", sign=None)
        site.wait("NotSigned", digest=fourth)
        seen = running(site)
        assert seen["running"]["verified"] == "False"
        assert "UntrustedSigner" in seen["running"]["verification"]
        assert seen["table"]["TRUSTED"] == "False"
        assert seen["table"]["VERIFIED"] == "NotSigned"
        assert site.logged(f"{fourth} runs unverified")
        assert site.holds(app="4")


def test_modes_that_do_not_enforce_are_shown(site: Site) -> None:
    site.push(app="1", sign=None)
    for mode, reason, trusted in (
        ("warn", "NotEnforced", "False"),
        ("off", "VerificationOff", "Unknown"),
    ):
        write = site.stacks.with_suffix(".new")
        write.write_text(yaml.safe_dump_all([policy(site.key, mode=mode), site.shop()]))
        write.replace(site.stacks)
        assert site.once().returncode == 0
        seen = running(site)
        assert (seen["table"]["VERIFIED"], seen["table"]["TRUSTED"]) == (reason, trusted)
        assert "default" in seen["running"]["verification"]


def test_a_policy_takes_keys_from_files_beside_it_and_notices_when_they_change(site: Site) -> None:
    new = Key.make()
    keys = site.root / "keys"
    keys.mkdir()
    (keys / "release.pub").write_text(site.key.pem)
    trust = policy(name="default") | {}
    trust["spec"]["keys"] = [{"name": "release", "file": "keys/release.pub"}]
    site.stacks.write_text(yaml.safe_dump_all([trust, site.shop()]))
    first = site.push(app="1")
    with site.agent:
        assert site.wait("Ready", digest=first)["current"]["signedBy"] == ["release"]
        (keys / "release.pub").write_text(new.pem)
        site.wait("UntrustedSigner", digest=first)
        second = site.push(app="2", sign=new)
        site.wait("Ready", digest=second)


def test_the_whole_life_of_a_stack(site: Site) -> None:
    first = site.push(app="1", gone="1")
    with site.agent:
        site.wait("Ready", digest=first)
        assert site.holds(app="1", gone="1")

        second = site.push(app="2", new="2")
        site.wait("Ready", digest=second)
        assert site.holds(app="2", new="2")

        site.file().write_text(site.file().read_text().replace("'2'", "'9'"))
        wait_for("the edit undone", lambda: site.holds(app="2", new="2"))
        site.file("new").unlink()
        wait_for("the file back", lambda: site.holds(app="2", new="2"))

        site.push(sign=None, app="3")
        status = site.wait("NotSigned", digest=second)
        assert condition(status, "Verified")[:2] == ("False", "NotSigned")
        site.file("new").unlink()
        wait_for("the last good state kept", lambda: site.holds(app="2", new="2"))

        site.publisher.point("prod", first)
        status = site.wait("Ready", digest=first)
        assert site.holds(app="1", gone="1")
        assert [h["digest"] for h in status["history"]] == [first, second, first]

        assert site.agent.terminate() == 0


def test_tampered_bytes_are_refused(site: Site) -> None:
    first = site.push(app="1")
    second = site.push(tag="aside", app="2")
    manifest = json.loads((site.publisher.blobs / second[7:]).read_bytes())
    blob = site.publisher.blobs / manifest["layers"][0]["digest"][7:]
    data = bytearray(blob.read_bytes())
    data[len(data) // 2] ^= 0xFF
    blob.chmod(0o644)
    blob.write_bytes(data)

    with site.agent:
        site.wait("Ready", digest=first)
        site.publisher.point("prod", second)

        site.wait("DigestMismatch", digest=first)
        assert site.holds(app="1")
        site.file().unlink()
        wait_for("the last good state kept", lambda: site.holds(app="1"))


def test_a_stack_removed_from_the_files_prunes_only_its_own_files(site: Site) -> None:
    site.push(app="1")
    site.declare(site.shop(), site.shop("other"))
    with site.agent:
        site.wait("Ready")
        site.wait("Ready", name="other")
        (site.root / "other" / "mine.yaml").write_text("data: {v: mine}")

        site.declare(site.shop())

        wait_for("removed", lambda: site.files("other") == {"mine.yaml": "mine"})
        wait_for("forgotten", lambda: not site.status("other"))
        assert site.holds(app="1")
        assert not list(site.state.glob("*/default.other*"))


def test_a_stack_removed_while_no_agent_ran_is_cleaned_up_at_the_next_start(site: Site) -> None:
    site.push(app="1")
    site.declare(site.shop(), site.shop("other"), site.shop("kept", deletionPolicy="orphan"))
    assert site.once().returncode == 0
    site.declare(site.shop())

    assert site.once().returncode == 0

    assert site.files("other") == {}
    assert site.files("kept") == {"app.yaml": "1"}
    assert site.holds(app="1")
    assert not list(site.state.glob("*/default.other*"))
    assert not list(site.state.glob("*/default.kept*"))


def test_an_artifact_that_removes_most_objects_waits_until_it_is_allowed(site: Site) -> None:
    def push(count: int, version: str) -> str:
        """One file for all: it is not the number of files that counts."""
        objects = (config_map(f"app-{number}", v=version) for number in range(count))
        return site.publisher.push({"all.yaml": yaml.safe_dump_all(objects).encode()})

    path = site.root / "shop" / "all.yaml"
    first = push(16, "1")
    with site.agent:
        site.wait("Ready", digest=first)
        before = path.read_bytes()

        second = push(2, "2")
        site.wait("MassPrune", digest=first)
        ready = condition(site.status(), "Ready")[2]
        assert "would delete 14 of 16 objects, more than 50%" in ready
        assert f"ocistate.dev/allow-prune={second}" in ready
        assert path.read_bytes() == before
        path.write_text("edited")
        wait_for("what ran is kept equal", lambda: path.read_bytes() == before)

        allowed = site.shop()
        allowed["metadata"]["annotations"] = {"ocistate.dev/allow-prune": second}
        site.declare(allowed)
        site.wait("Ready", digest=second)
        assert len(list(yaml.safe_load_all(path.read_text()))) == 2

        site.declare(site.shop(maxPrunePercent=100))
        site.wait("Ready", digest=push(16, "3"))
        third = push(1, "4")
        site.wait("Ready", digest=third)


def test_files_without_any_stack_remove_nothing(site: Site) -> None:
    site.push(app="1")
    with site.agent:
        site.wait("Ready")
        site.declare()
        wait_for("the refusal", lambda: site.logged("declares no Stack any more"))
        second = site.push(app="2")
        site.wait("Ready", digest=second)
        assert site.holds(app="2")


def test_an_unreadable_stacks_file_changes_nothing_until_it_is_fixed(site: Site) -> None:
    site.push(app="1")
    with site.agent:
        site.wait("Ready")
        good = site.stacks.read_text()

        site.stacks.write_text(good + "\n  - {broken")
        wait_for("the complaint", lambda: site.logged("what ran before goes on"))
        second = site.push(app="2")
        site.wait("Ready", digest=second)
        site.stacks.unlink()
        wait_for("the complaint", lambda: site.logged("does not exist"))
        complaints = len(site.agent.lines())
        third = site.push(app="3")
        site.wait("Ready", digest=third)
        assert sum("does not exist" in e["message"] for e in site.agent.lines()[complaints:]) == 0

        site.declare(site.shop(source={"tag": "other"}))
        other = site.push(tag="other", app="4")
        site.wait("Ready", digest=other)


def test_two_agents_do_not_share_a_state_folder(site: Site) -> None:
    site.push(app="1")
    with site.agent:
        site.wait("Ready")

        second = site.once()

    assert second.returncode == 4
    assert "another agent uses the state folder" in second.stderr


def test_an_agent_killed_at_random_moments_converges(site: Site, faults: int) -> None:
    rng = random.Random(11)
    names = [f"app{number}" for number in range(12)]
    record = site.state / "targets" / "default.shop.json"

    def changed_since(before: int) -> bool:
        return mtime(record) != before

    for number in range(12 * faults):
        chosen = {name: str(number) for name in names if rng.random() < 0.7}
        digest = site.push(**(chosen or {"app0": "x"}))
        before = mtime(record)
        site.agent.start()
        if number % 2:
            time.sleep(rng.uniform(0.2, 0.7))  # not a wait: the moment of the crash
        else:
            wait_for("the first write", functools.partial(changed_since, before))
        site.agent.kill()
    with site.agent:
        site.wait("Ready", digest=digest)
        wait_for("the target equal", lambda: site.holds(**(chosen or {"app0": "x"})))


def test_an_unreadable_state_costs_one_resolution_and_nothing_else(site: Site) -> None:
    digest = site.push(app="1")
    assert site.once().returncode == 0
    path = site.state / "stacks" / "default.shop.json"
    path.write_bytes(path.read_bytes()[:40])

    assert site.once().returncode == 0

    assert condition(site.status(), "Ready")[1] == "Ready"
    assert site.status()["current"]["digest"] == digest
    assert path.with_suffix(".broken").exists()


def test_a_broken_state_file_of_one_stack_does_not_affect_others(site: Site) -> None:
    site.push(app="1")
    site.declare(site.shop(), site.shop("other"))
    assert site.once().returncode == 0
    record = site.state / "targets" / "default.shop.json"
    record.write_text("{")

    done = site.once("-o", "json")

    assert done.returncode == 1
    reasons = {row["name"]: condition(row, "Ready") for row in json.loads(done.stdout)}
    assert reasons["shop"][1] == "TargetError"
    assert str(record) in reasons["shop"][2]
    assert reasons["other"][1] == "Ready"
    record.unlink()
    assert site.once().returncode == 0


def test_a_broken_content_cache_is_fetched_again(site: Site) -> None:
    site.push(app="1")
    assert site.once().returncode == 0
    for path in (site.state / "content").rglob("*"):
        if path.is_file():
            path.chmod(0o644)
            path.write_bytes(b"x")
    site.file().unlink()

    assert site.once().returncode == 0
    assert site.holds(app="1")


def test_the_exit_code_of_once_shows_whether_all_stacks_are_ready(site: Site) -> None:
    site.push(app="1")
    done = site.once()
    assert (done.returncode, site.holds(app="1")) == (0, True)
    assert "Ready" in done.stdout

    site.push(sign=None, app="2")
    done = site.once()
    assert (done.returncode, site.holds(app="1")) == (1, True)
    assert "NotSigned" in done.stdout


def test_once_follows_dependencies_and_ends_when_they_cannot_be_met(site: Site) -> None:
    site.push(app="1")
    site.declare(
        site.shop("a", dependsOn=[{"name": "b"}]),
        site.shop("b"),
        site.shop("c", dependsOn=[{"name": "missing"}]),
    )

    done = site.once("-o", "json")

    reasons = {row["name"]: condition(row, "Ready")[1] for row in json.loads(done.stdout)}
    assert reasons == {"a": "Ready", "b": "Ready", "c": "DependencyNotReady"}
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("content", "code", "text"),
    [
        ("kind: [", 4, "stacks.yaml"),
        ("apiVersion: v1\nkind: Pod\n", 4, "not an object of ocistate.dev/v1alpha1"),
    ],
)
def test_once_fails_on_invalid_files(site: Site, content: str, code: int, text: str) -> None:
    site.stacks.write_text(content)
    done = site.once()
    assert done.returncode == code
    assert text in done.stderr


def test_a_file_in_the_way_is_named_and_left_alone(site: Site) -> None:
    site.push(app="1")
    (site.root / "shop").mkdir()
    site.file().write_text("data: {v: mine}")

    done = site.once("-o", "json")

    assert done.returncode == 1
    (row,) = json.loads(done.stdout)
    assert "not ours" in condition(row, "Ready")[2]
    assert site.files() == {"app.yaml": "mine"}


def test_nothing_is_written_while_nothing_changes(site: Site) -> None:
    site.push(app="1")
    with site.agent:
        site.wait("Ready")
        path = site.state / "stacks" / "default.shop.json"
        mark = path.stat().st_ino, path.stat().st_mtime_ns
        site.declare(site.shop(), site.shop("later"))
        site.wait("Ready", name="later")  # some passes later
        assert (path.stat().st_ino, path.stat().st_mtime_ns) == mark


def test_a_restart_writes_nothing_where_nothing_changed(site: Site) -> None:
    site.push(app="1")
    assert site.once().returncode == 0
    path = site.state / "stacks" / "default.shop.json"
    before = path.read_bytes(), path.stat().st_ino, site.file().stat().st_ino

    assert site.once().returncode == 0

    assert (path.read_bytes(), path.stat().st_ino, site.file().stat().st_ino) == before


def test_a_stack_that_cannot_be_removed_gives_a_failing_exit_code(site: Site) -> None:
    site.push(app="1")
    site.declare(site.shop(), site.shop("other"))
    assert site.once().returncode == 0
    (site.state / "targets" / "default.other.json").write_text("{")
    site.declare(site.shop())

    done = site.once()

    assert done.returncode == 1
    assert site.files("other") == {"app.yaml": "1"}


def test_many_stacks_are_made_and_then_left_as_they_are(site: Site, faults: int) -> None:
    """A thousand with --faults 5."""
    site.push(app="1")
    names = [f"shop-{number}" for number in range(200 * faults)]
    site.declare(*(site.shop(name) for name in names))

    done = site.once("-o", "json")

    assert done.returncode == 0
    rows = json.loads(done.stdout)
    assert {condition(row, "Ready")[1] for row in rows} == {"Ready"}
    assert all(site.files(name) == {"app.yaml": "1"} for name in names)
    before = {path: path.stat().st_ino for path in site.state.glob("stacks/*.json")}
    assert len(before) == len(names)
    assert site.once().returncode == 0
    assert {path: path.stat().st_ino for path in site.state.glob("stacks/*.json")} == before


def test_status_reads_the_state_folder_and_shows_the_most_important_first(site: Site) -> None:
    first = site.push(app="1")
    assert site.once().returncode == 0
    shown = ocistate("status", "shop", "--state", site.state)
    assert shown.out.startswith("Stack default/shop is ready: Ready\n")
    assert first in shown.out

    site.push(app="2", sign=None)
    assert site.once().returncode == 1
    shown = ocistate("status", "shop", "--state", site.state, check=False)
    assert shown.code == 1
    assert shown.out.startswith("Stack default/shop is not ready: NotSigned\n")
    assert first in shown.out, "what still runs"
    shown = ocistate("status", "shop", "--state", site.state, "-o", "json", check=False)
    assert shown.code == 1
    answer = json.loads(shown.out)
    assert (answer["ready"], answer["current"]["digest"]) == ("False", first)
    assert [cause["type"] for cause in answer["causes"]][:2] == ["Stalled", "Verified"]

    missing = ocistate("status", "shopp", "--state", site.state, check=False)
    assert (missing.code, missing.out) == (50, "")
    assert "has no Stack shopp" in missing.err
    assert "get --state" in missing.err
