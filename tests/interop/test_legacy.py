"""cosign's older formats, both ways: simple signing, attestations under a tag, and skopeo."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from testbed.registries import Distribution, Registry
from tests.support.command import Done, ocistate, run
from tests.support.factories.keys import Key
from tests.support.tools import Cosign, Skopeo

OLDER = "--new-bundle-format=false"


def test_cosign_verifies_our_older_format(
    any_registry: Registry, their: Cosign, key: Path, manifests: Path
) -> None:
    name = ocistate("push", manifests, f"{any_registry.host}/older-ours:v1").line
    ocistate("sign", name, "--key", key, "--format", "legacy")
    their.verify(name, key.with_suffix(".pub"))
    their.verify(name, key.with_suffix(".pub"), OLDER)
    assert their.verify(name, their.public, check=False).code != 0
    # Both formats together, and cosign looks at the bundle.
    ocistate("sign", name, "--key", key, "--format", "both")
    their.verify(name, key.with_suffix(".pub"))
    their.verify(name, key.with_suffix(".pub"), OLDER)


def test_we_verify_the_older_format_of_cosign_where_the_policy_allows_it(
    any_registry: Registry, their: Cosign, legacy_policy: Path, manifests: Path
) -> None:
    name = ocistate("push", manifests, f"{any_registry.host}/older-theirs:v1").line
    their.sign(name, legacy=True)
    assert ocistate("verify", name, "--key", their.public, check=False).code == 41
    ocistate("verify", name, "--key", their.public, "--allow-legacy")
    done = ocistate("verify", name, "--policy", legacy_policy, "-o", "json")
    (found,) = json.loads(done.out)["signatures"]
    assert found["counts"]
    assert found["origin"].endswith(".sig[0]")


def test_older_signatures_of_ocistate_and_cosign_share_a_tag(
    any_registry: Registry, their: Cosign, key: Path, manifests: Path
) -> None:
    name = ocistate("push", manifests, f"{any_registry.host}/older-both:v1").line
    publics = (their.public, key.with_suffix(".pub"))
    their.sign(name, legacy=True)
    ocistate("sign", name, "--key", key, "--format", "legacy")
    again = ocistate("sign", name, "--key", key, "--format", "legacy", "-o", "json")
    assert json.loads(again.out)["kept"] == ["legacy"]
    for public in publics:
        their.verify(name, public, OLDER)
        ocistate("verify", name, "--key", public, "--allow-legacy")
    # And cosign adds to a manifest of ours.
    second = ocistate("push", manifests, f"{any_registry.host}/older-both:v2", "--annotation",
                      "a=b").line  # fmt: skip
    ocistate("sign", second, "--key", key, "--format", "legacy")
    their.sign(second, legacy=True)
    for public in publics:
        their.verify(second, public, OLDER)


def test_a_bundle_is_added_where_others_bundles_exist(
    any_registry: Registry, their: Cosign, key: Path, manifests: Path
) -> None:
    name = ocistate("push", manifests, f"{any_registry.host}/older-beside:v1").line
    their.sign(name)
    done = ocistate("sign", name, "--key", key, "--format", "legacy", "-o", "json")
    assert json.loads(done.out)["written"] == ["bundle", "legacy"]
    # cosign looks at bundles alone where there are any: without ours it would not verify.
    their.verify(name, key.with_suffix(".pub"))
    again = ocistate("sign", name, "--key", key, "--format", "legacy", "-o", "json")
    assert json.loads(again.out)["written"] == []


def test_a_signature_moved_to_another_artifacts_tag_is_refused(
    any_registry: Registry, their: Cosign, crane: Path, manifests: Path
) -> None:
    repository = f"{any_registry.host}/older-moved"
    good = ocistate("push", manifests, f"{repository}:good").line
    evil = ocistate("push", manifests, f"{repository}:evil", "--annotation", "a=b").line
    their.sign(good, legacy=True)

    def tag(name: str) -> str:
        return f"{name.partition('@')[2].replace(':', '-')}.sig"

    run(crane, "tag", "--insecure", f"{repository}:{tag(good)}", tag(evil))
    ocistate("verify", good, "--key", their.public, "--allow-legacy")
    refused = ocistate("verify", evil, "--key", their.public, "--allow-legacy", check=False)
    assert refused.code == 42
    assert good.partition("@")[2] in refused.err


def test_many_sign_at_once_and_none_is_lost(
    distribution: Distribution, manifests: Path, tmp_path: Path
) -> None:
    name = ocistate("push", manifests, f"{distribution.host}/older-many:v1").line
    prefixes = [tmp_path / f"k{place}" for place in range(4)]
    for prefix in prefixes:
        Key.make().write(prefix)

    def sign(prefix: Path) -> None:
        ocistate("sign", name, "--key", prefix.with_suffix(".key"), "--format", "both")

    with ThreadPoolExecutor(len(prefixes)) as pool:
        list(pool.map(sign, prefixes))
    publics = [flag for prefix in prefixes for flag in ("--key", prefix.with_suffix(".pub"))]
    found = json.loads(ocistate("verify", name, *publics, "--allow-legacy", "-o", "json").out)[
        "signatures"
    ]
    assert (
        sorted(item["origin"].startswith("sha256-") for item in found) == [False] * 4 + [True] * 4
    )
    assert len({item["signer"] for item in found}) == 4


@pytest.mark.parametrize("kind", ["custom", "https://example.com/tests"])
def test_attestations_both_ways(
    any_registry: Registry, their: Cosign, key: Path, manifests: Path, tmp_path: Path, kind: str
) -> None:
    predicate = tmp_path / "predicate.json"
    predicate.write_text('{"passed": 7}')
    name = ocistate("push", manifests, f"{any_registry.host}/attested:v1").line
    public = key.with_suffix(".pub")

    def check(public: Path, *more: str) -> Done:
        return ocistate(
            "verify", name, "--key", public, "--attestation", kind, *more, "-o", "json", check=False
        )

    assert check(their.public).code == 46
    their.attest(name, kind, predicate)
    assert check(public).code == 46
    ocistate("attest", name, "--type", kind, "--predicate", predicate, "--key", key)
    predicates = []
    for trusted in (their.public, public):
        their.verify_attestation(name, kind, trusted)
        (found,) = json.loads(check(trusted).out)["attestations"]
        predicates.append({**found["predicate"], "Timestamp": ""})
    # What either makes of the same file is the same.
    assert predicates[0] == predicates[1]
    assert ocistate("verify", name, "--key", public, check=False).code == 42  # not a signature


def test_an_attestation_in_the_older_format_is_read_where_it_is_allowed(
    any_registry: Registry, their: Cosign, manifests: Path
) -> None:
    name = ocistate("push", manifests, f"{any_registry.host}/attested:v2").line
    predicate = manifests / "predicate.txt"
    predicate.write_text("SPDXVersion: 2.3")
    their.attest(name, "spdx", predicate, legacy=True)
    options = ("--key", their.public, "--attestation", "spdx", "-o", "json")
    assert ocistate("verify", name, *options, check=False).code == 46
    done = ocistate("verify", name, *options, "--allow-legacy")
    assert json.loads(done.out)["attestations"][0]["predicate"] == "SPDXVersion: 2.3"


def test_inspect_shows_each_signatures_type_and_validity(
    any_registry: Registry, their: Cosign, key: Path, crane: Path, manifests: Path, tmp_path: Path
) -> None:
    repository = f"{any_registry.host}/inspected"
    name = ocistate("push", manifests, f"{repository}:v1", "--sign", "--key", key).line
    their.sign(name)
    predicate = tmp_path / "predicate.json"
    predicate.write_text("{}")
    their.attest(name, "https://example.com/tests", predicate)
    # The signature of another artifact, under this one's tag.
    other = ocistate("push", manifests, f"{repository}:v2", "--annotation", "a=b").line
    ocistate("sign", other, "--key", key, "--format", "legacy")
    source, target = (f"{n.partition('@')[2].replace(':', '-')}.sig" for n in (other, name))
    run(crane, "tag", "--insecure", f"{repository}:{source}", target)

    def look(*more: str | Path) -> list[tuple[str, str, bool | None]]:
        facts = json.loads(ocistate("inspect", name, "-o", "json", *more).out)
        return sorted(((f["kind"], f["format"], f["holds"]) for f in facts["signatures"]), key=str)

    attestation, theirs = ("attestation", "bundle"), ("signature", "bundle")
    moved = ("signature", "legacy", False)
    assert look() == [(*attestation, None), (*theirs, None), (*theirs, None), moved]
    ours = look("--key", key.with_suffix(".pub"), "--allow-legacy")
    assert ours == [(*attestation, None), (*theirs, None), (*theirs, True), moved]
    both = look("--key", key.with_suffix(".pub"), "--key", their.public)
    assert both == [(*attestation, True), (*theirs, True), (*theirs, True), moved]
    table = ocistate("inspect", name, "--key", their.public).out
    assert "Attestations: 1" in table
    assert "is a statement about" in table


def test_an_attestation_that_hides_an_older_signature_is_reported(
    distribution: Distribution, key: Path, manifests: Path
) -> None:
    name = ocistate("push", manifests, f"{distribution.host}/hidden:v1").line
    ocistate("sign", name, "--key", key, "--format", "legacy")
    attest = ("attest", name, "--type", "custom", "--predicate", "-", "--key", key)
    assert "older format only" in ocistate(*attest, stdin="x").err
    ocistate("sign", name, "--key", key)
    assert "older format only" not in ocistate(*attest, stdin="x").err


def test_cosign_does_not_take_our_attestation_of_one_type_for_another(
    any_registry: Registry, their: Cosign, key: Path, manifests: Path
) -> None:
    name = ocistate("push", manifests, f"{any_registry.host}/attested-type:v1").line
    ocistate(
        "attest", name, "--type", "cyclonedx", "--predicate", "-", "--key", key, stdin='{"a": 1}'
    )
    public = key.with_suffix(".pub")
    their.verify_attestation(name, "cyclonedx", public)
    assert their.verify_attestation(name, "spdxjson", public, check=False).code != 0
    refused = ocistate("verify", name, "--key", public, "--attestation", "spdx", check=False)
    assert refused.code == 46
    assert "https://cyclonedx.org/bom" in refused.err


@pytest.mark.parametrize("kind", ["p384", "ed25519", "rsa2048"])
def test_we_verify_every_kind_of_key_that_cosign_signs_with(
    distribution: Distribution, their: Cosign, manifests: Path, tmp_path: Path, kind: str
) -> None:
    algorithm = {
        "p384": ("EC", "ec_paramgen_curve:P-384"),
        "ed25519": ("ED25519",),
        "rsa2048": ("RSA", "rsa_keygen_bits:2048"),
    }[kind]
    options = [part for option in algorithm[1:] for part in ("-pkeyopt", option)]
    pem = tmp_path / f"{kind}.pem"
    run("openssl", "genpkey", "-algorithm", algorithm[0], *options, "-out", pem)
    key = their.import_key(pem)
    for legacy in (False, True):
        name = ocistate("push", manifests, f"{distribution.host}/keys:{kind}", "--annotation",
                        f"legacy={legacy}").line  # fmt: skip
        their.sign(name, legacy=legacy, key=key)
        ocistate("verify", name, "--key", key.with_suffix(".pub"), "--allow-legacy")


def test_skopeo_accepts_only_what_we_signed(
    any_registry: Registry, skopeo: Skopeo, key: Path, manifests: Path, tmp_path: Path
) -> None:
    registries = tmp_path / "registries.d"
    registries.mkdir()
    host = {any_registry.host: {"use-sigstore-attachments": True}}
    (registries / "test.yaml").write_text(json.dumps({"docker": host}))
    signed_by = {
        "type": "sigstoreSigned",
        "keyPath": str(key.with_suffix(".pub")),
        "signedIdentity": {"type": "matchRepository"},
    }
    policy = tmp_path / "policy.json"
    policy.write_text(
        json.dumps(
            {
                "default": [{"type": "reject"}],
                "transports": {"docker": {any_registry.host: [signed_by]}},
            }
        )
    )

    def copy(name: str, *, check: bool = True) -> int:
        return skopeo.copy(
            *("--remove-signatures", "--src-tls-verify=false"),
            *(f"docker://{name}", f"oci:{tmp_path / 'layout'}:v1"),
            policy=policy,
            registries=registries,
            check=check,
        ).code

    name = ocistate("push", manifests, f"{any_registry.host}/skopeo:v1").line
    assert copy(name, check=False) != 0
    # A bundle alone is nothing that this skopeo knows.
    ocistate("sign", name, "--key", key)
    assert copy(name, check=False) != 0
    ocistate("sign", name, "--key", key, "--format", "legacy")
    copy(name)
    copy(f"{any_registry.host}/skopeo:v1")
