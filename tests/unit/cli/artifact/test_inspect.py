"""``ocistate inspect``: what an artifact holds, and which of its signatures are valid."""

from __future__ import annotations

from tests.support.environments.shop import REVISIONS, Shop, run


def test_json_has_resources_images_and_signatures(shop: Shop) -> None:
    found = run("inspect", f"{shop.store}:v2", "-o", "json").json
    assert found["reference"] == f"{shop.store}@{shop.digests[1]}"
    assert found["revision"] == REVISIONS[2]
    assert {row["kind"] for row in found["resources"]} == {"ConfigMap", "Secret", "Deployment"}
    assert found["images"] == [{"image": "reg.io/api:1", "pinned": False}]
    (signature,) = found["signatures"]
    assert (signature["kind"], signature["format"]) == ("signature", "bundle")
    assert (signature["holds"], signature["reason"]) == (None, "not checked")


def test_with_a_key_each_signature_is_checked(shop: Shop) -> None:
    reference = f"{shop.store}:v2"
    (mine,) = run("inspect", reference, "--key", shop.pub("art"), "-o", "json").json["signatures"]
    assert mine["holds"] is True
    (other,) = run("inspect", reference, "--key", shop.pub("other"), "-o", "json").json[
        "signatures"
    ]
    assert other["holds"] is not True
    assert other["reason"]


def test_an_unsigned_artifact_has_no_signatures(shop: Shop) -> None:
    assert run("inspect", f"{shop.store}:raw", "-o", "json").json["signatures"] == []
    assert run("inspect", f"{shop.store}:raw", "-o", "name").line.startswith(
        f"{shop.store}@sha256:"
    )


def test_people_see_a_summary(shop: Shop) -> None:
    out = run("inspect", f"{shop.store}:v2", "--key", shop.pub("art")).out
    for text in (shop.digests[1], REVISIONS[2], "reg.io/api:1", "Deployment", "✓"):
        assert text in out
    assert "hunter" not in out
