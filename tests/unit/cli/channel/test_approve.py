"""``ocistate approve``: a signed approval of one digest for one channel."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.environments.shop import Shop, run


def approve(shop: Shop, *options: str, code: int = 0) -> dict[str, object]:
    ran = run("approve", shop.store, "--key", shop.key("other"), *options, "-o", "json", code=code)
    found: dict[str, object] = ran.json if ran.out else {"error": ran.err}
    return found


def test_an_approval_names_digest_channel_and_reason(shop: Shop, tmp_path: Path) -> None:
    mine = shop.copy(tmp_path)
    run("channel", "init", f"{mine.store}:v1", "fresh", *mine.sign)
    choice = ("--tag", "v2", "--channel", "fresh", "--reason", "tested", "--expires", "7d")
    found = approve(mine, *choice, *mine.trust)
    assert (found["digest"], found["channel"], found["reason"]) == (
        shop.digests[1],
        "fresh",
        "tested",
    )
    assert found["expires"]
    assert found["reference"] == f"{mine.store}@{shop.digests[1]}"


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--tag", "v1", "--channel", "none", "--reason", "r"), 11, "has no channel none"),
        (("--tag", "v1", "--channel", "Not_One", "--reason", "r"), 2, "Not_One"),
        (("--tag", "v1", "--channel", "prod", "--reason", "r" * 9999), 2, "--reason"),
        (("--tag", "v1", "--channel", "prod", "--reason", "r", "--expires", "x"), 2, "--expires"),
        (("--channel", "prod", "--reason", "r"), 2, "--from CHANNEL"),
        (("--tag", "v1", "--channel", "prod"), 2, "--reason"),
    ],
)
def test_wrong_approvals_are_not_signed(
    shop: Shop, options: tuple[str, ...], code: int, said: str
) -> None:
    assert said in str(approve(shop, *options, code=code)["error"])
    assert len(run("inspect", f"{shop.store}:v1", "-o", "json").json["signatures"]) == 1


def test_an_unsigned_artifact_is_not_approved_under_a_policy(shop: Shop) -> None:
    choice = ("--tag", "raw", "--channel", "prod", "--reason", "r")
    approve(shop, *choice, *shop.trust, code=41)
