"""Who must have signed: the decision, policy by policy and signature by signature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from ocistate.errors import (
    AttestationNotMet,
    ConfigError,
    NoPolicy,
    NotSigned,
    ThresholdNotMet,
    Untrusted,
)
from ocistate.signing.decide import decide
from ocistate.signing.envelope import (
    PAYLOAD_TYPE,
    SIGN_PREDICATE,
    build_bundle,
    build_statement,
    pae,
)
from ocistate.signing.found import Found
from ocistate.signing.keys import KeySigner
from ocistate.signing.policy import (
    Material,
    TrustPolicy,
    faulty_policy,
    parse_identity,
    parse_policy,
    references,
)
from ocistate.signing.select import select_policy
from tests.keys import make_signer

DIGEST = "sha256:" + "ab" * 32
OTHER = "sha256:" + "cd" * 32


ALICE, BOB, MALLORY = make_signer(), make_signer(), make_signer()


def policy(name: str = "p", **spec: Any) -> TrustPolicy:
    keys = [{"name": "alice", "pem": ALICE.public_key.pem}]
    spec = {"repositories": ["**"], "keys": keys, **spec}
    return parse_policy({"metadata": {"name": name}, "spec": spec})


def both(**spec: Any) -> TrustPolicy:
    keys = [
        {"name": "alice", "pem": ALICE.public_key.pem},
        {"name": "bob", "pem": BOB.public_key.pem},
    ]
    return policy(keys=keys, **spec)


def signed(
    by: KeySigner = ALICE,
    digest: str = DIGEST,
    *,
    predicate_type: str = SIGN_PREDICATE,
    hint: str | None = None,
) -> Found:
    payload = build_statement(digest, predicate_type, {})
    raw = build_bundle(
        payload,
        by.sign(pae(PAYLOAD_TYPE, payload)),
        by.public_key.fingerprint if hint is None else hint,
    )
    return Found(origin="sha256:" + "ef" * 32, raw=raw)


def reasons(found: Sequence[Found], under: TrustPolicy) -> str:
    return "; ".join(v.reason for v in decide(under, DIGEST, found).verdicts if not v.counts)


def test_a_trusted_signature_satisfies() -> None:
    decision = decide(policy(), DIGEST, [signed()])
    assert decision.error is None
    assert decision.signers == ("alice",)


def test_nothing_found_is_not_signed() -> None:
    assert isinstance(decide(policy(), DIGEST, []).error, NotSigned)


def test_a_stranger_is_not_trusted_whatever_the_hint_says() -> None:
    lying = signed(MALLORY, hint=ALICE.public_key.fingerprint)
    decision = decide(policy(), DIGEST, [signed(MALLORY), lying])
    assert isinstance(decision.error, Untrusted)
    assert decision.signers == ()


def test_a_hint_that_lies_does_not_hide_a_trusted_signature() -> None:
    decision = decide(policy(), DIGEST, [signed(ALICE, hint=MALLORY.public_key.fingerprint)])
    assert decision.error is None


def test_a_signature_moved_from_another_artifact_does_not_count() -> None:
    assert "statement about" in reasons([signed(digest=OTHER)], policy())


def test_a_statement_of_another_type_does_not_count() -> None:
    for other in ("https://ocistate.dev/channel/v1", "https://slsa.dev/provenance/v1"):
        assert other in reasons([signed(predicate_type=other)], policy())


def test_a_payload_changed_after_signing_does_not_count() -> None:
    good = signed().raw
    payload = build_statement(DIGEST, SIGN_PREDICATE, {})
    forged = build_bundle(payload.replace(b"ab" * 32, b"cd" * 32), b"x", "")
    assert decide(policy(), OTHER, [Found(origin="x", raw=forged)]).error is not None
    assert decide(policy(), DIGEST, [Found(origin="x", raw=good + b" x")]).error is not None


def test_one_signer_counts_once() -> None:
    decision = decide(both(threshold=2), DIGEST, [signed(), signed()])
    assert isinstance(decision.error, ThresholdNotMet)
    assert "already" in reasons([signed(), signed()], both(threshold=2))


def test_two_signers_meet_a_threshold_of_two() -> None:
    decision = decide(both(threshold=2), DIGEST, [signed(), signed(BOB)])
    assert decision.error is None
    assert decision.signers == ("alice", "bob")


def test_a_good_signature_among_junk_is_found() -> None:
    junk = [Found(origin=str(i), raw=b"junk") for i in range(300)]
    broken = [Found(origin=str(i), error="gone") for i in range(200)]
    assert decide(policy(), DIGEST, [*junk, signed(), *broken]).error is None


def test_the_same_key_named_twice_is_no_second_signer() -> None:
    twice = [{"pem": ALICE.public_key.pem}, {"name": "again", "pem": ALICE.public_key.pem}]
    with pytest.raises(ConfigError, match="threshold"):
        policy(keys=twice, threshold=2)


@pytest.mark.parametrize(
    ("glob", "repository", "matches"),
    [
        ("host/shop", "host/shop", True),
        ("host/shop", "host/shop-evil", False),
        ("host/shop", "evil/host/shop", False),
        ("host/shop", "host/shop/sub", False),
        ("host/shop/*", "host/shop/web", True),
        ("host/shop/*", "host/shop/web/deep", False),
        ("host/shop/**", "host/shop/web/deep", True),
        ("host/shop*", "host/shop-evil", True),
        ("host:5000/shop", "host/shop", False),
        ("host/s.op", "host/shop", False),
        ("host/[a-z]hop", "host/shop", False),
        ("*/shop", "host/shop", True),
        ("*/shop", "host/team/shop", False),
        ("**", "anything/at:1/all", True),
        ("host/shop", "HOST/shop", True),
        ("Host/shop", "host/shop", True),
        ("host/shop", "host:443/shop", True),
        ("host:443/shop", "host/shop", True),
        ("host/shop", "host:80/shop", False),
        ("host/shop", "host:4430/shop", False),
        ("host/shop", "host/SHOP", False),
        ("/srv/good/*", "/srv/good/../evil", False),
        ("/srv/evil", "/srv/good/../evil", True),
        ("/srv/good/**", "/srv/good/./x", True),
        ("store/good/*", "store/good/../evil", False),
        ("store", "./store", True),
    ],
)
def test_globs_match_whole_names_and_stars_stop_at_slashes(
    glob: str, repository: str, matches: bool
) -> None:
    policies = [policy(repositories=[glob])]
    if matches:
        assert select_policy(policies, repository) is policies[0]
    else:
        with pytest.raises(NoPolicy):
            select_policy(policies, repository)


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


def test_the_most_specific_policy_decides() -> None:
    wide, narrow = policy("wide", repositories=["host/**"]), policy("n", repositories=["host/a/*"])
    exact = policy("exact", repositories=["host/a/web"])
    assert select_policy([wide, narrow, exact], "host/a/web") is exact
    assert select_policy([wide, narrow], "host/a/web") is narrow
    assert select_policy([wide, narrow, exact], "host/b") is wide


def test_a_tie_is_an_error_that_names_both() -> None:
    with pytest.raises(ConfigError, match="one and two"):
        select_policy([policy("one"), policy("two")], "host/x")


def test_a_policy_named_must_exist_and_speak_of_the_repository() -> None:
    policies = [policy("wide"), policy("other", repositories=["host/other"])]
    assert select_policy(policies, "host/x", "wide") is policies[0]
    for name in ("other", "missing"):
        with pytest.raises(NoPolicy, match=name):
            select_policy(policies, "host/x", name)


def test_no_policy_at_all_refuses() -> None:
    with pytest.raises(NoPolicy):
        select_policy([], "host/x")


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


def faulty(globs: Any, name: str = "broken") -> TrustPolicy:
    obj = {"metadata": {"name": name}, "spec": {"repositories": globs, "treshold": 2}}
    return faulty_policy(obj, ConfigError("spec.treshold: is not a known field"))


def test_a_policy_that_cannot_be_read_refuses_what_it_would_have_decided() -> None:
    wide = policy("wide", repositories=["**"], mode="off")
    strict = faulty(["host/shop"])
    with pytest.raises(ConfigError, match="treshold"):
        select_policy([wide, strict], "host/shop")
    assert select_policy([wide, strict], "host/other") is wide
    # Nobody knows what it was meant for: nothing passes until it is mended.
    for globs in (None, [], "host/shop", ["host/shop", 7], ["host/\u0455hop"]):
        with pytest.raises(ConfigError, match="treshold"):
            select_policy([wide, faulty(globs)], "host/other")
    with pytest.raises(ConfigError, match="treshold"):
        select_policy([wide, faulty(["**"], name="again")], "x/y", "again")


def test_a_name_chooses_between_equals_and_never_a_wider_policy() -> None:
    wide, narrow = policy("wide", mode="warn"), policy("narrow", repositories=["host/shop"])
    with pytest.raises(NoPolicy, match="narrow does"):
        select_policy([wide, narrow], "host/shop", "wide")
    other = policy("other", repositories=["host/shop"])
    assert select_policy([wide, narrow, other], "host/shop", "other") is other
    with pytest.raises(ConfigError, match="narrow and other"):
        select_policy([wide, narrow, other], "host/shop")


@pytest.mark.parametrize(
    ("glob", "repository"),
    [
        ("host/shop", "h\u043est/shop"),
        ("host/shop", "host/sh\u043ep"),
        ("host/shop", "host\uff0fshop"),
        ("host/shop", "host./shop"),
        ("host/shop", "user@host/shop"),
        ("host/shop", "host/shop\n"),
        ("host/shop", "host/shop/../shop-evil"),
        ("host:5000/shop", "host:50000/shop"),
        ("[::1]:5000/shop", "[::2]:5000/shop"),
        ("*.example.com/shop", "example.com/shop"),
        ("*.example.com/shop", "evil.com/x.example.com/shop"),
        ("host/team-*/shop", "host/team-a/evil/shop"),
    ],
)
def test_what_only_looks_like_a_repository_does_not_match_its_glob(
    glob: str, repository: str
) -> None:
    with pytest.raises(NoPolicy):
        select_policy([policy(repositories=[glob])], repository)


def test_an_attestation_counts_for_who_may_make_it_and_as_its_conditions_say() -> None:
    tests = "https://example.com/tests"
    under = both(
        attestations=[
            {
                "predicateType": tests,
                "keys": [{"name": "bob", "pem": BOB.public_key.pem}],
                "conditions": ["predicate.passed"],
            }
        ]
    )
    signature = signed()

    def attested(by: KeySigner, passed: Any, digest: str = DIGEST) -> Found:
        payload = build_statement(digest, tests, {"passed": passed})
        return Found(origin="a", raw=build_bundle(payload, by.sign(pae(PAYLOAD_TYPE, payload)), ""))

    assert decide(under, DIGEST, [signature, attested(BOB, True)]).error is None
    for found, reason in (
        ([], "lacks the attestation"),
        ([attested(BOB, False)], "is false"),
        ([attested(BOB, "yes")], "neither true nor false"),
        ([attested(ALICE, True)], f"not for {tests}"),
        ([attested(MALLORY, True)], "does not name"),
        ([attested(BOB, True, OTHER)], OTHER),
    ):
        error = decide(under, DIGEST, [signature, *found]).error
        assert isinstance(error, AttestationNotMet)
        assert reason in error.message
    # One good one is enough, whatever lies beside it; and it is no signature.
    assert (
        decide(under, DIGEST, [attested(BOB, False), signature, attested(BOB, True)]).error is None
    )
    assert isinstance(decide(under, DIGEST, [attested(BOB, True)]).error, NotSigned)


def test_a_key_for_attestations_or_channels_signs_no_artifact() -> None:
    apart = policy(
        attestations=[{"predicateType": "t", "keys": [{"pem": BOB.public_key.pem}]}],
        channelKeys=[{"pem": MALLORY.public_key.pem}],
    )
    for key in (BOB, MALLORY):
        decision = decide(apart, DIGEST, [signed(key)])
        assert isinstance(decision.error, Untrusted)


def test_what_a_stranger_wrote_is_harmless_to_a_terminal_and_short() -> None:
    found = [signed(MALLORY, hint="\x1b[2J" + "x" * 5000 + str(n)) for n in range(100)]
    decision = decide(policy(), DIGEST, found)
    assert isinstance(decision.error, Untrusted)
    assert "\x1b" not in decision.error.message
    assert len(decision.error.message) < 4000


@pytest.mark.parametrize(
    ("text", "issuer", "subject"),
    [
        ("issuer=https://i,subject=s", "https://i", "s"),
        ("subject=a,b=c,issuer=https://i", "https://i", "a,b=c"),
        ("issuer-regexp=https://.*,subject-regexp=x{1,3}", "/https://.*/", "/x{1,3}/"),
    ],
)
def test_an_identity_is_read_from_a_flag(text: str, issuer: str, subject: str) -> None:
    identity = parse_identity(text)
    assert (str(identity.issuer), str(identity.subject)) == (issuer, subject)
