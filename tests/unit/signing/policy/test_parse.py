"""A TrustPolicy object, read."""

from __future__ import annotations

from typing import Any

import pytest

from ocistate.documents.fields import Fields
from ocistate.errors import ConfigError
from ocistate.signing.keys import KeySigner
from ocistate.signing.policy.parse import (
    Material,
    faulty_policy,
    parse_attestation,
    parse_policy,
    parse_signers,
    references,
)
from tests.support.factories.signatures import ALICE, BOB, MALLORY, policy


def test_the_same_key_named_twice_is_no_second_signer() -> None:
    twice = [{"pem": ALICE.public_key.pem}, {"name": "again", "pem": ALICE.public_key.pem}]
    with pytest.raises(ConfigError, match="threshold"):
        policy(keys=twice, threshold=2)


@pytest.mark.parametrize(
    "glob",
    [
        "host/\u0455hop",
        "host/shop\n",
        "",
        "ho\u200bst/x",
        "a|b",
        "host/../x",
        "host//x",
        "host/./x",
    ],
)
def test_globs_hold_only_letters_of_repositories(glob: str) -> None:
    with pytest.raises(ConfigError, match="repositories"):
        policy(repositories=[glob])


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"repositories": []}, "spec.repositories"),
        ({"keys": []}, "spec.threshold"),
        ({"keys": [{"pem": "x"}]}, r"spec.keys\[0\].pem"),
        ({"keys": [{"name": "x"}]}, r"spec.keys\[0\].pem"),
        ({"keys": [{"pem": 1}]}, r"spec.keys\[0\].pem"),
        ({"threshold": 0}, "spec.threshold"),
        ({"threshold": 2}, "spec.threshold"),
        ({"mode": "maybe"}, "spec.mode"),
        ({"keyz": []}, "spec.keyz"),
        ({"keys": [{"pem": "x", "file": "y"}]}, r"spec.keys\[0\].file"),
        ({"keys": [{"file": "release.pub"}]}, r"spec.keys\[0\].file"),
        ({"keys": [{"secretRef": {"name": "x"}}]}, r"spec.keys\[0\].secretRef"),
        ({"keys": [{"secretRef": {"nam": "x"}}]}, r"spec.keys\[0\].secretRef.name"),
        ({"identities": [{"issuer": "x"}]}, r"spec.identities\[0\].subject"),
        ({"identities": [{"issuer": "x", "subject": ""}]}, r"spec.identities\[0\].subject"),
        (
            {"identities": [{"issuer": "x", "subject": "y", "subjectRegExp": "z"}]},
            r"spec.identities\[0\].subject: excludes",
        ),
        (
            {"identities": [{"issuer": "x", "subjectRegExp": "("}]},
            r"spec.identities\[0\].subjectRegExp",
        ),
        (
            {"identities": [{"issuer": "x", "subjectRegExp": "(?=lookahead)"}]},
            r"spec.identities\[0\].subjectRegExp",
        ),
        (
            {"identities": [{"issuer": "x", "subject": "y", "trustedRoot": {}}]},
            r"spec.identities\[0\].trustedRoot.json",
        ),
        ({"attestations": [{}]}, r"spec.attestations\[0\].predicateType"),
        (
            {"attestations": [{"predicateType": "t", "conditions": ["predicate ="]}]},
            r"spec.attestations\[0\].conditions\[0\]",
        ),
        (
            {"attestations": [{"predicateType": "t", "conditions": ["x" * 5000]}]},
            r"spec.attestations\[0\].conditions\[0\]",
        ),
        ({"attestations": [{"predicateType": "t", "key": []}]}, r"spec.attestations\[0\].key"),
        ({"channelKeys": [{"pem": "x"}]}, r"spec.channelKeys\[0\].pem"),
        ({"epoch": 0}, "spec.epoch"),
        ({"minSequence": -1}, "spec.minSequence"),
        ({"minSequence": 2**53}, "spec.minSequence"),
        ({"allowLegacy": "yes"}, "spec.allowLegacy"),
        ({"keys": [{"pem": BOB.public_key.pem, "nam": "x"}]}, r"spec.keys\[0\].nam"),
        ({"keys": [{"secretRef": {"name": "x", "kee": "y"}}]}, r"spec.keys\[0\].secretRef.kee"),
        (
            {"identities": [{"issuer": "x", "subject": "y", "email": "z"}]},
            r"spec.identities\[0\].email",
        ),
        (
            {"identities": [{"issuer": "x", "issuerRegExp": "y", "subject": "z"}]},
            r"spec.identities\[0\].issuer: excludes issuerRegExp",
        ),
        (
            {
                "identities": [
                    {"issuer": "x", "subject": "y", "trustedRoot": {"json": "{}", "x": 1}}
                ]
            },
            r"spec.identities\[0\].trustedRoot.x",
        ),
    ],
)
def test_a_wrong_field_is_named_by_its_path(spec: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigError, match=path):
        policy(**spec)


def test_a_policy_names_keys_kept_elsewhere_and_reads_them_through_its_reader() -> None:
    kept = {
        "Secret release cosign.pub": ALICE.public_key.pem,
        "ConfigMap keys bob.pem": BOB.public_key.pem,
        "file mallory.pub": MALLORY.public_key.pem,
    }
    obj = {
        "metadata": {"name": "p"},
        "spec": {
            "repositories": ["**"],
            "keys": [{"secretRef": {"name": "release"}}, {"file": "mallory.pub"}],
            "channelKeys": [{"configMapRef": {"name": "keys", "key": "bob.pem"}}],
            "attestations": [{"predicateType": "t", "keys": [{"secretRef": {"name": "other"}}]}],
        },
    }
    assert set(references(obj)) == {
        Material("Secret", "release"),
        Material("ConfigMap", "keys"),
        Material("Secret", "other"),
    }
    kept["Secret other cosign.pub"] = BOB.public_key.pem

    def read(material: Material) -> bytes:
        return kept[f"{material.kind} {material.name} {material.key}".strip()].encode()

    found = parse_policy(obj, read=read)
    fingerprints = [trusted.key.fingerprint for trusted in (*found.keys, *found.channel_keys)]
    assert fingerprints == [k.public_key.fingerprint for k in (ALICE, MALLORY, BOB)]


def test_who_signs_artifacts_moves_no_channel() -> None:
    with pytest.raises(ConfigError, match=r"spec.channelKeys: the key .* is one of keys too"):
        policy(channelKeys=[{"pem": ALICE.public_key.pem}])
    assert policy(channelKeys=[{"pem": BOB.public_key.pem}]).channel_keys[0].key == BOB.public_key


def enrolled(name: str, signer: KeySigner) -> dict[str, str]:
    return {"name": name, "pem": signer.public_key.pem}


def test_clusters_have_names_and_keys_of_their_own() -> None:
    both = policy(reporters=[enrolled("east", BOB), enrolled("west", MALLORY)])
    assert [(r.name, r.key) for r in both.reporters] == [
        ("east", BOB.public_key),
        ("west", MALLORY.public_key),
    ]
    for wrong, says in (
        ([{"pem": BOB.public_key.pem}], r"spec.reporters\[0\].name: is missing"),
        ([enrolled("east", BOB), enrolled("east", MALLORY)], "has the name east twice"),
        ([enrolled("east", BOB), enrolled("west", BOB)], "has the key .* twice"),
    ):
        with pytest.raises(ConfigError, match=says):
            policy(reporters=wrong)


def test_a_policy_that_is_off_needs_nobody() -> None:
    assert policy(keys=[], mode="off").mode == "off"


def test_signers_and_attestations_are_read_on_their_own() -> None:
    keys = [{"name": "bob", "pem": BOB.public_key.pem}]
    who = [{"issuer": "https://i", "subject": "s"}]
    found, people = parse_signers(Fields({"keys": keys, "identities": who}, path="gate"))
    assert [key.name for key in found] == ["bob"]
    assert [str(identity.subject) for identity in people] == ["s"]
    for value in ({"keys": keys}, {"identities": who}):
        required = parse_attestation(Fields({"predicateType": "t", **value}, path="gate"))
        assert (required.predicate_type, len(required.keys + required.identities)) == ("t", 1)
    with pytest.raises(ConfigError, match=r"gate.keys: is empty, and so is identities"):
        parse_attestation(Fields({"predicateType": "t"}, path="gate"))


def test_keys_and_identities_together_meet_a_threshold() -> None:
    who = [{"issuer": "https://i", "subject": "s"}]
    assert policy(threshold=2, identities=who).threshold == 2
    with pytest.raises(ConfigError, match="asks for 3 signers, but there are 2"):
        policy(threshold=3, identities=who)


@pytest.mark.parametrize("obj", [{}, {"metadata": "x", "spec": "y"}, {"spec": {"repositories": 5}}])
def test_what_says_nothing_at_all_is_a_faulty_policy_of_everything(obj: dict[str, Any]) -> None:
    found = faulty_policy(obj, ConfigError("unreadable"))
    assert (found.name, found.repositories, found.fault) == ("", (), "unreadable")


def test_what_a_policy_does_not_say_is_the_strict_choice() -> None:
    found = policy()
    assert (found.mode, found.threshold, found.allow_legacy) == ("enforce", 1, False)
    assert (found.epoch, found.min_sequence, found.fault) == (1, 0, "")
    assert policy(attestations=[{"predicateType": "t"}]).attestations[0].keys == found.keys


def test_a_condition_may_be_as_long_as_is_said() -> None:
    condition = "predicate.passed".ljust(4096)
    with_it = policy(attestations=[{"predicateType": "t", "conditions": [condition]}])
    assert with_it.attestations[0].conditions == (condition,)


def test_signers_kept_elsewhere_are_read_where_that_can_be_done() -> None:
    fields = {"keys": [{"secretRef": {"name": "release", "key": "x.pub"}}]}
    asked: list[str] = []

    def read(material: Material) -> bytes:
        asked.append(str(material))
        return BOB.public_key.pem.encode()

    (key,), _ = parse_signers(Fields(fields, path="gate"), read)
    required = parse_attestation(Fields({"predicateType": "t", **fields}, path="gate"), read)
    assert key == required.keys[0]
    assert asked == ["Secret release, key x.pub"] * 2
    assert str(Material("file", "a.pub")) == "file a.pub"
    for parse in (parse_signers, parse_attestation):
        with pytest.raises(ConfigError, match=r"gate.keys\[0\].secretRef: .* can't be read here"):
            parse(Fields({"predicateType": "t", **fields}, path="gate"))


def test_what_names_nothing_refers_to_nothing() -> None:
    assert set(references({"keys": [{"secretRef": {"name": 5}}, {"configMapRef": "x"}]})) == set()


def test_a_key_that_is_none_is_told_with_the_file_it_stands_in() -> None:
    obj = {"metadata": {"name": "p"}, "spec": {"repositories": ["**"], "keys": [{"pem": "x"}]}}
    with pytest.raises(ConfigError, match=r"^trust.yaml:7: spec.keys\[0\].pem"):
        parse_policy(obj, origin="trust.yaml:7")
