"""``ocistate sign``: by digest, with a key that must be given."""

from __future__ import annotations

from pathlib import Path

from tests.support.environments.shop import Shop, run


def test_a_signature_is_added_beside_others(shop: Shop, tmp_path: Path) -> None:
    mine = shop.copy(tmp_path)
    found = run("sign", f"{mine.store}:v1", "--key", mine.key("other"), "-o", "json").json
    assert found["reference"] == f"{mine.store}@{shop.digests[0]}"
    assert (found["written"], found["kept"], found["identity"]) == (["bundle"], [], "")
    for name in ("art", "other"):
        run("verify", f"{mine.store}:v1", "--key", mine.pub(name))


def test_wrong_options_write_no_signature(shop: Shop) -> None:
    reference = f"{shop.store}:raw"
    assert "ocistate keygen" in run("sign", reference, code=2).err
    assert "ocistate sign" in run("sign", shop.store, "--key", shop.key("art"), code=2).err
    legacy = ("--format", "legacy", "--key", shop.key("art"))
    assert "--format bundle" in run("sign", reference, *legacy, code=2).err
    run("sign", f"{shop.store}:v9", "--key", shop.key("art"), code=11)
    assert run("inspect", reference, "-o", "json").json["signatures"] == []
