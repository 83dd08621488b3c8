"""``ocistate gc``: what is kept and removed, and that nothing goes without consent."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import click
import pytest

from ocistate.cli.artifact.gc import Age
from tests.support.environments.shop import Shop, config_map, run


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """Three unsigned artifacts, v1 the oldest, and no channel."""
    shop = Shop(tmp_path)
    for number in ("1", "2", "3"):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", f"160000000{number}")
        shop.push(f"v{number}", [config_map(number)])
    return shop


def tags(shop: Shop) -> set[str]:
    return {row["tag"] for row in run("ls", shop.store, "-o", "json").json}


@pytest.mark.parametrize(("text", "hours"), [("36h", 36), ("30d", 720), ("8w", 1344)])
def test_ages_are_hours_days_or_weeks(text: str, hours: int) -> None:
    assert Age().convert(text, None, None) == timedelta(hours=hours)


@pytest.mark.parametrize("text", ["", "30", "d", "1.5d", "-1d", "1000000d", "1m"])
def test_anything_else_is_no_age(text: str) -> None:
    with pytest.raises(click.BadParameter, match="write 36h, 30d or 8w"):
        Age().convert(text, None, None)


def test_what_channels_name_is_kept(shop: Shop) -> None:
    found = run("gc", shop.store, "--keep", "1", "--undated", "oldest", "--dry-run", "-o", "json")
    reasons = {row["digest"]: row["reason"] for row in found.json["kept"]}
    assert all("names it" in reasons[digest] for digest in shop.digests)
    assert found.json["dryRun"]


def test_a_dry_run_removes_nothing(store: Shop) -> None:
    ran = run("gc", store.store, "--keep", "1", "--dry-run")
    assert "Would remove 2 of 3 artifacts." in ran.err
    assert tags(store) == {"v1", "v2", "v3"}


def test_with_yes_the_others_are_removed(store: Shop) -> None:
    found = run("gc", store.store, "--keep", "1", "--keep-tag", "v1", "--yes", "-o", "json").json
    assert [row["tags"] for row in found["removed"]] == [["v2"]]
    assert [row["tags"] for row in found["kept"]] == [["v3"], ["v1"]]
    assert found["removed"][0]["created"] == "2020-09-13T12:26:42Z"
    assert tags(store) == {"v1", "v3"}


def test_on_a_terminal_one_is_asked(store: Shop) -> None:
    run("gc", store.store, "--keep", "1", stdin="n\n", terminal=True, code=130)
    assert tags(store) == {"v1", "v2", "v3"}
    ran = run("gc", store.store, "--keep", "1", stdin="y\n", terminal=True)
    assert "Removed 2 of 3 artifacts" in ran.err
    assert tags(store) == {"v3"}


@pytest.mark.parametrize(
    ("reference", "options", "said"),
    [
        ("", (), "nothing to keep given"),
        (":v1", ("--keep", "1"), "names one artifact"),
        ("", ("--keep", "1"), "not a terminal"),
        ("registry.example.com/shop", ("--keep", "1", "--untagged", "--yes"), "on a registry"),
    ],
)
def test_wrong_choices_are_refused(
    shop: Shop, reference: str, options: tuple[str, ...], said: str
) -> None:
    given = reference if "/" in reference else f"{shop.store}{reference}"
    assert said in run("gc", given, *options, code=2).err
