"""Who must have signed: the decision, policy by policy and signature by signature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from ocistate.errors import ConfigError, NoPolicy, NotSigned, ThresholdNotMet, Untrusted
from ocistate.signing.decide import decide
from ocistate.signing.envelope import (
    PAYLOAD_TYPE,
    SIGN_PREDICATE,
    build_bundle,
    build_statement,
    pae,
)
from ocistate.signing.found import Found
from ocistate.signing.keys import KeySigner, generate, load_private_key
from ocistate.signing.policy import TrustPolicy, parse_policy
from ocistate.signing.select import select_policy

DIGEST = "sha256:" + "ab" * 32
OTHER = "sha256:" + "cd" * 32


def signer() -> KeySigner:
    return load_private_key(generate(b"")[0], lambda: b"")


ALICE, BOB, MALLORY = signer(), signer(), signer()


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
    ],
)
def test_a_wrong_field_is_named_by_its_path(spec: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigError, match=path):
        policy(**spec)
