"""A TrustPolicy object, read."""

from __future__ import annotations

from typing import Any

import pytest

from ocistate.errors import (
    ConfigError,
)
from ocistate.signing.policy_object import Material, parse_policy, references
from tests.unit.signing.parts import ALICE, BOB, MALLORY, policy


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
            r"spec.identities\[0\].subject: stands beside",
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
