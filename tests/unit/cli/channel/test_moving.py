"""Moving a channel: nothing is written unless a person agreed, or said so beforehand."""

from __future__ import annotations

from pathlib import Path

from tests.support.environments.shop import Shop, make_shop, run


def test_on_a_terminal_one_is_asked(tmp_path: Path) -> None:
    shop = make_shop(tmp_path)
    options = ("--tag", "v3", "--to", "prod", *shop.sign)
    asked = run("promote", shop.store, *options, stdin="n\n", terminal=True, code=130)
    assert "Move prod to prod@3?" in asked.err
    assert latest(shop) == "prod@2"
    done = run("promote", shop.store, *options, stdin="y\n", terminal=True)
    assert done.line == "prod@3"
    assert "prod is now at prod@3" in done.err
    assert latest(shop) == "prod@3"


def latest(shop: Shop) -> str:
    return run("history", shop.store, "prod", "--limit", "1", *shop.trust, "-o", "name").line


def test_an_artifact_that_is_gone_is_said_and_does_not_stop_a_move(tmp_path: Path) -> None:
    shop = make_shop(tmp_path)
    _, _, hex_digits = shop.digests[1].partition(":")
    (tmp_path / "store" / "blobs" / "sha256" / hex_digits).unlink()
    ran = run("promote", shop.store, "--tag", "v3", "--to", "prod", *shop.sign, "--yes")
    assert "no longer exists" in ran.err
    assert ran.line == "prod@3"
