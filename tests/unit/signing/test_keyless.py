"""Signatures by identity, against a Sigstore instance of our own: who is believed, and what not.

Nothing here uses the network: a root that is given is all that is needed.
"""

from __future__ import annotations

import base64
import copy
import json
import subprocess
import sys
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from sigstore.errors import TUFError
from sigstore_models.trustroot.v1 import TrustedRoot

from ocistate.errors import ConfigError, ThresholdNotMet, Unavailable, Untrusted
from ocistate.signing import keyless
from ocistate.signing.decide import decide
from ocistate.signing.envelope import SIGN_PREDICATE, build_bundle, build_statement, pae
from ocistate.signing.found import FoundSignature
from ocistate.signing.policy.model import TrustPolicy
from ocistate.signing.policy.parse import parse_policy
from tests.support.factories.keys import make_signer
from tests.support.fakes.sigstore.authority import (
    GITHUB,
    NOW,
    WORKFLOW,
    Authority,
    Instance,
    Log,
    b64,
    dsse_body,
    new_key,
    sign,
)

DIGEST = "sha256:" + "ab" * 32
OTHER = "sha256:" + "cd" * 32
PAYLOAD = build_statement(DIGEST, SIGN_PREDICATE, {})
YEAR = timedelta(days=365)


@pytest.fixture(scope="module")
def sigstore() -> Instance:
    return Instance.make()


def policy(*instances: Instance, threshold: int = 1, **fields: Any) -> TrustPolicy:
    """A policy that trusts the workflow, or what the fields say, under each instance's root."""
    who = fields or {"issuer": GITHUB, "subject": WORKFLOW}
    identities = [
        {"name": f"ci{n or ''}", "trustedRoot": {"json": json.dumps(i.trusted_root())}, **who}
        for n, i in enumerate(instances)
    ]
    spec = {"repositories": ["**"], "identities": identities, "threshold": threshold}
    return parse_policy({"metadata": {"name": "p"}, "spec": spec})


def found(bundle: dict[str, Any]) -> FoundSignature:
    return FoundSignature(origin="sha256:" + "ef" * 32, raw=json.dumps(bundle).encode())


def refusal(under: TrustPolicy, bundle: dict[str, Any]) -> str:
    decision = decide(under, DIGEST, [found(bundle)])
    assert isinstance(decision.error, Untrusted)
    (verdict,) = decision.verdicts
    return verdict.reason


@pytest.mark.parametrize("timestamped", [False, True], ids=["rekor-v1", "rekor-v2"])
def test_the_right_identity_counts(sigstore: Instance, timestamped: bool) -> None:
    bundle = sigstore.bundle(PAYLOAD, timestamped=timestamped)
    decision = decide(policy(sigstore), DIGEST, [found(bundle)])
    assert decision.error is None
    assert decision.signers == ("ci",)
    assert WORKFLOW in decision.verdicts[0].reason


def test_a_mail_address_is_a_subject_too(sigstore: Instance) -> None:
    bundle = sigstore.bundle(PAYLOAD, issuer="https://accounts.google.com", subject="a@b.example")
    trusted = policy(sigstore, issuer="https://accounts.google.com", subject="a@b.example")
    assert decide(trusted, DIGEST, [found(bundle)]).error is None


@pytest.mark.parametrize(
    "named",
    [
        {"issuer": "https://gitlab.com"},
        {"issuer": GITHUB + "/"},
        {"issuer": GITHUB.upper()},
        {"subject": WORKFLOW + "x"},
        {"subject": WORKFLOW.replace("main", "feature")},
        {"subject": WORKFLOW.replace("acme/shop", "acme/shop-evil")},
        {"subject": "evil@example.com"},
    ],
)
def test_another_issuer_or_subject_is_refused_and_named(
    sigstore: Instance, named: dict[str, Any]
) -> None:
    reason = refusal(policy(sigstore), sigstore.bundle(PAYLOAD, **named))
    assert next(iter(named.values())) in reason
    assert "does not name" in reason


@pytest.mark.parametrize(
    ("pattern", "subject", "matches"),
    [
        (r"https://github\.com/acme/.*", WORKFLOW, True),
        (r"https://github\.com/acme/", WORKFLOW, False),
        (r"acme/shop", WORKFLOW, False),
        (r"https://github\.com/acme/.*", "https://evil.example/https://github.com/acme/x", False),
        (r"https://github\.com/(acme|beta)/.*", WORKFLOW, True),
        (r"no one|https://github\.com/acme/.*@refs/heads/main", WORKFLOW, True),
        (r"https://github\.com/acme/x|main", WORKFLOW, False),
        (r"^https://github\.com/acme/.*main$", WORKFLOW, True),
        (r"https://github.com/acme/.*main", "https://githubXcom/acme/main", True),
    ],
)
def test_a_regular_expression_must_match_the_whole(
    sigstore: Instance, pattern: str, subject: str, matches: bool
) -> None:
    trusted = policy(sigstore, issuer=GITHUB, subjectRegExp=pattern)
    decision = decide(trusted, DIGEST, [found(sigstore.bundle(PAYLOAD, subject=subject))])
    assert (decision.error is None) is matches


def test_a_regular_expression_that_would_explode_does_not(sigstore: Instance) -> None:
    trusted = policy(sigstore, issuer=GITHUB, subjectRegExp=r"https://(x+x+)+y")
    subject = "https://" + "x" * 2000
    assert "does not name" in refusal(trusted, sigstore.bundle(PAYLOAD, subject=subject))


def test_the_time_of_signing_is_the_logs_and_not_that_of_our_clock(sigstore: Instance) -> None:
    old = sigstore.bundle(PAYLOAD, at=NOW - timedelta(days=200))
    assert decide(policy(sigstore), DIGEST, [found(old)]).error is None


@pytest.mark.parametrize("timestamped", [False, True], ids=["rekor-v1", "rekor-v2"])
@pytest.mark.parametrize(
    "skew",
    [timedelta(minutes=11), timedelta(days=300), timedelta(seconds=-1), timedelta(days=-30)],
    ids=str,
)
def test_a_certificate_that_had_expired_or_was_not_valid_yet_is_refused(
    sigstore: Instance, skew: timedelta, timestamped: bool
) -> None:
    bundle = sigstore.bundle(PAYLOAD, logged_at=NOW + skew, timestamped=timestamped)
    assert "does not hold" in refusal(policy(sigstore), bundle)


def test_authorities_that_had_expired_are_refused() -> None:
    ended = Authority.make(NOW - 2 * YEAR, NOW - YEAR)
    sigstore = Instance.make(ended)
    late = sigstore.bundle(PAYLOAD)
    assert "does not hold" in refusal(policy(sigstore), late)
    in_time = sigstore.bundle(PAYLOAD, at=NOW - timedelta(days=500))
    assert decide(policy(sigstore), DIGEST, [found(in_time)]).error is None


@pytest.mark.parametrize("part", ["certificateAuthorities", "tlogs", "ctlogs"])
def test_what_the_root_trusts_no_longer_is_refused(sigstore: Instance, part: str) -> None:
    root = sigstore.trusted_root()
    entry = root[part][0]
    period = (
        entry["validFor"] if part == "certificateAuthorities" else entry["publicKey"]["validFor"]
    )
    period["end"] = (NOW - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    trusted = parse_policy(
        {
            "metadata": {"name": "p"},
            "spec": {
                "repositories": ["**"],
                "identities": [
                    {
                        "issuer": GITHUB,
                        "subject": WORKFLOW,
                        "trustedRoot": {"json": json.dumps(root)},
                    }
                ],
            },
        }
    )
    assert "at that time" in refusal(trusted, sigstore.bundle(PAYLOAD))
    before = sigstore.bundle(PAYLOAD, at=NOW - timedelta(days=2))
    assert decide(trusted, DIGEST, [found(before)]).error is None


def test_foreign_authorities_and_logs_are_refused(sigstore: Instance) -> None:
    foreign = Instance.make()
    mixed = {
        "authority": Instance(
            foreign.authority, sigstore.ct_key, sigstore.log, sigstore.timestamps
        ),
        "ct log": Instance(sigstore.authority, foreign.ct_key, sigstore.log, sigstore.timestamps),
        "log": Instance(sigstore.authority, sigstore.ct_key, foreign.log, sigstore.timestamps),
    }
    for name, instance in mixed.items():
        assert "does not hold" in refusal(policy(sigstore), instance.bundle(PAYLOAD)), name
    stamped = Instance(sigstore.authority, sigstore.ct_key, sigstore.log, foreign.timestamps)
    bundle = stamped.bundle(PAYLOAD, timestamped=True)
    sigstore.bundle(PAYLOAD, timestamped=True)  # so that its root names a timestamp authority
    assert "does not hold" in refusal(policy(sigstore), bundle)


def test_a_certificate_that_no_ct_log_has_seen_is_refused(sigstore: Instance) -> None:
    key = new_key()
    hidden = sigstore.certificate(key.public_key(), with_sct=False)
    bundle = sigstore.bundle(PAYLOAD, key=key, certificate=hidden)
    assert "does not hold" in refusal(policy(sigstore), bundle)


def test_an_identity_counts_only_under_the_root_it_was_trusted_with(sigstore: Instance) -> None:
    other = Instance.make()
    spec = {
        "repositories": ["**"],
        "identities": [
            {
                "issuer": GITHUB,
                "subject": WORKFLOW,
                "trustedRoot": {"json": json.dumps(sigstore.trusted_root())},
            },
            {
                "issuer": "https://idp.example.com",
                "subject": WORKFLOW,
                "trustedRoot": {"json": json.dumps(other.trusted_root())},
            },
        ],
    }
    trusted = parse_policy({"metadata": {"name": "p"}, "spec": spec})
    assert "does not name" in refusal(trusted, other.bundle(PAYLOAD))
    assert decide(trusted, DIGEST, [found(sigstore.bundle(PAYLOAD))]).error is None


def _entry(bundle: dict[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = bundle["verificationMaterial"]["tlogEntries"][0]
    return entry


def _flip(text: str) -> str:
    data = bytearray(base64.b64decode(text))
    data[0] ^= 1
    return b64(bytes(data))


def _forge(bundle: dict[str, Any], how: str) -> None:
    entry, proof = _entry(bundle), _entry(bundle)["inclusionProof"]
    if how == "hash":
        proof["hashes"][0] = _flip(proof["hashes"][0])
    elif how == "root":
        proof["rootHash"] = _flip(proof["rootHash"])
    elif how == "index":
        proof["logIndex"] = "0"
    elif how == "size":
        proof["treeSize"] = str(int(proof["treeSize"]) * 4)
    elif how == "fewer hashes":
        proof["hashes"].pop()
    elif how == "checkpoint of another log":
        lone = Log()
        lone.add(base64.b64decode(entry["canonicalizedBody"]))
        proof |= {
            "hashes": [],
            "logIndex": "0",
            "treeSize": "1",
            "rootHash": b64(lone.root),
            "checkpoint": {"envelope": lone.checkpoint()},
        }
    elif how == "unsigned checkpoint":
        note = proof["checkpoint"]["envelope"].partition("\n\n")[0]
        proof["checkpoint"]["envelope"] = note + "\n\n"
    elif how == "no checkpoint":
        del proof["checkpoint"]
    elif how == "no proof":
        del entry["inclusionProof"]
    elif how == "no promise":
        del entry["inclusionPromise"]
    elif how == "promise of another time":
        entry["integratedTime"] = str(int(entry["integratedTime"]) + 1)
    elif how == "promise of a stranger":
        promise = sign(new_key(), b"anything")
        entry["inclusionPromise"] = {"signedEntryTimestamp": b64(promise)}
    elif how == "no entry":
        bundle["verificationMaterial"]["tlogEntries"] = []
    elif how == "two entries":
        bundle["verificationMaterial"]["tlogEntries"].append(copy.deepcopy(entry))
    elif how == "entry of another kind":
        entry["kindVersion"] = {"kind": "intoto", "version": "0.0.2"}
    elif how == "body":
        entry["canonicalizedBody"] = b64(b"{}")


@pytest.mark.parametrize(
    "how",
    [
        "hash", "root", "index", "size", "fewer hashes", "checkpoint of another log",
        "unsigned checkpoint", "no checkpoint", "no proof", "no promise",
        "promise of another time", "promise of a stranger", "no entry", "two entries",
        "entry of another kind", "body",
    ],
)  # fmt: skip
def test_a_forged_or_missing_log_entry_is_refused(sigstore: Instance, how: str) -> None:
    bundle = sigstore.bundle(PAYLOAD)
    assert decide(policy(sigstore), DIGEST, [found(bundle)]).error is None
    _forge(bundle, how)
    assert refusal(policy(sigstore), bundle)


def test_a_log_entry_of_another_signature_is_refused(sigstore: Instance) -> None:
    key = new_key()
    certificate = sigstore.certificate(key.public_key())
    bundle = sigstore.bundle(PAYLOAD, key=key, certificate=certificate)
    for payload in (PAYLOAD, build_statement(OTHER, SIGN_PREDICATE, {})):
        other = sigstore.bundle(payload, key=key, certificate=certificate)
        moved = copy.deepcopy(bundle)
        moved["verificationMaterial"]["tlogEntries"] = [_entry(other)]
        assert "does not" in refusal(policy(sigstore), moved)


def test_an_entry_with_more_signatures_than_the_envelope_is_refused(sigstore: Instance) -> None:
    bundle = sigstore.bundle(PAYLOAD)
    body = json.loads(base64.b64decode(_entry(bundle)["canonicalizedBody"]))
    (one,) = body["spec"]["signatures"]
    pair = (one["signature"], one["verifier"])
    twice = dsse_body(PAYLOAD, [pair, pair])
    entry = sigstore.entry(twice, "dsse", "0.0.1")
    promise = sigstore.log.promise(twice, int(entry["logIndex"]), NOW)
    bundle["verificationMaterial"]["tlogEntries"] = [
        entry
        | {
            "integratedTime": str(int(NOW.timestamp())),
            "inclusionPromise": {"signedEntryTimestamp": b64(promise)},
        }
    ]
    assert "do not match" in refusal(policy(sigstore), bundle)


def test_what_another_key_than_the_certificates_signed_is_refused(sigstore: Instance) -> None:
    key = new_key()
    mine = sigstore.certificate(key.public_key())
    assert "does not" in refusal(
        policy(sigstore), sigstore.bundle(PAYLOAD, key=new_key(), certificate=mine)
    )


def test_a_payload_changed_after_signing_is_refused(sigstore: Instance) -> None:
    bundle = sigstore.bundle(build_statement(OTHER, SIGN_PREDICATE, {}))
    bundle["dsseEnvelope"]["payload"] = b64(PAYLOAD)
    assert "does not hold" in refusal(policy(sigstore), bundle)


def test_a_signature_moved_from_another_artifact_or_type_is_refused(sigstore: Instance) -> None:
    moved = sigstore.bundle(build_statement(OTHER, SIGN_PREDICATE, {}))
    assert OTHER in refusal(policy(sigstore), moved)
    for kind in ("https://ocistate.dev/channel/v1", "https://slsa.dev/provenance/v1"):
        other = sigstore.bundle(build_statement(DIGEST, kind, {}))
        assert f"says {kind}" in refusal(policy(sigstore), other)


def test_a_bundle_that_two_parsers_read_differently_is_refused(sigstore: Instance) -> None:
    """sigstore reads protobuf's other field names too; ours must not be led astray by them."""
    good = sigstore.bundle(build_statement(OTHER, SIGN_PREDICATE, {}))
    forged = copy.deepcopy(good["dsseEnvelope"]) | {"payload": b64(PAYLOAD)}
    for bundle in (
        good | {"dsse_envelope": good["dsseEnvelope"], "dsseEnvelope": forged},
        {"dsse_envelope": good["dsseEnvelope"]} | good | {"dsseEnvelope": forged},
        good | {"dsse_envelope": forged},
    ):
        assert refusal(policy(sigstore), bundle)


@pytest.mark.parametrize(
    "names",
    [
        [],
        [x509.UniformResourceIdentifier(WORKFLOW), x509.RFC822Name("evil@example.com")],
        [x509.UniformResourceIdentifier(WORKFLOW), x509.UniformResourceIdentifier(WORKFLOW + "x")],
        [x509.DNSName("github.com")],
    ],
)
def test_a_certificate_must_name_exactly_one_subject(
    sigstore: Instance, names: list[x509.GeneralName]
) -> None:
    assert refusal(policy(sigstore), sigstore.bundle(PAYLOAD, names=names))


def test_one_pattern_is_one_signer_whatever_it_matches(sigstore: Instance) -> None:
    anybody = policy(sigstore, issuer=GITHUB, subjectRegExp=r"https://github\.com/acme/.*")
    identity = anybody.identities[0]
    second = parse_policy(
        {
            "metadata": {"name": "p"},
            "spec": {
                "repositories": ["**"],
                "threshold": 2,
                "identities": [
                    {
                        "name": name,
                        "issuer": GITHUB,
                        **who,
                        "trustedRoot": {"json": identity.root.data.decode()},
                    }
                    for name, who in (
                        ("anybody", {"subjectRegExp": r"https://github\.com/acme/.*"}),
                        ("main", {"subject": WORKFLOW}),
                    )
                ],
            },
        }
    )
    main, branch, another = (
        found(sigstore.bundle(PAYLOAD, subject=WORKFLOW.replace("main", name)))
        for name in ("main", "feature", "another")
    )
    again = found(sigstore.bundle(PAYLOAD))
    assert isinstance(decide(second, DIGEST, [branch, branch]).error, ThresholdNotMet)
    assert isinstance(decide(second, DIGEST, [branch, another]).error, ThresholdNotMet)
    assert isinstance(decide(second, DIGEST, [main, again]).error, ThresholdNotMet)
    assert decide(second, DIGEST, [branch, main]).error is None


def test_a_key_and_an_identity_are_two_signers(sigstore: Instance) -> None:
    alice = make_signer()
    base = policy(sigstore).identities[0]
    spec = {
        "repositories": ["**"],
        "threshold": 2,
        "keys": [{"name": "alice", "pem": alice.public_key.pem}],
        "identities": [
            {
                "name": "ci",
                "issuer": GITHUB,
                "subject": WORKFLOW,
                "trustedRoot": {"json": base.root.data.decode()},
            }
        ],
    }
    both = parse_policy({"metadata": {"name": "p"}, "spec": spec})
    signature = alice.sign(pae("application/vnd.in-toto+json", PAYLOAD))
    by_key = FoundSignature(origin="k", raw=build_bundle(PAYLOAD, signature, "hint"))
    by_identity = found(sigstore.bundle(PAYLOAD))
    assert decide(both, DIGEST, [by_key, by_identity]).signers == ("alice", "ci")
    assert isinstance(decide(both, DIGEST, [by_key]).error, ThresholdNotMet)


def test_a_policy_of_keys_does_not_look_at_certificates(sigstore: Instance) -> None:
    alice = make_signer()
    spec = {"repositories": ["**"], "keys": [{"pem": alice.public_key.pem}]}
    keys = parse_policy({"metadata": {"name": "p"}, "spec": spec})
    assert "keys only" in refusal(keys, sigstore.bundle(PAYLOAD))


@pytest.mark.parametrize(
    "root",
    [
        "{}",
        "junk",
        '{"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=9"}',
        '{"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1"}',
    ],
)
def test_a_root_that_is_none_is_an_error_and_not_a_refusal(sigstore: Instance, root: str) -> None:
    with pytest.raises(ConfigError, match=r"trusted ?[rR]oot"):
        decide(
            policy(sigstore, issuer=GITHUB, subject=WORKFLOW, trustedRoot={"json": root}),
            DIGEST,
            [found(sigstore.bundle(PAYLOAD))],
        )


def test_the_public_root_is_refreshed_once_a_day_and_the_last_one_holds_meanwhile(
    sigstore: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only where it comes from is replaced: what a day, and an outage, do with it is ours."""
    answers: list[Any] = []

    def production(offline: bool = False) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return SimpleNamespace(trusted_root=SimpleNamespace(_inner=answer))

    def root_of(instance: Instance) -> Any:
        return TrustedRoot.from_json(json.dumps(instance.trusted_root()).encode())

    def verified() -> bool:
        return decide(public, DIGEST, [found(bundle)]).error is None

    now = [1000.0]
    monkeypatch.setattr("sigstore.models.ClientTrustConfig.production", production)
    monkeypatch.setattr(keyless, "_roots", {})
    monkeypatch.setattr("ocistate.signing.keyless.time.monotonic", lambda: now[0])
    spec = {"repositories": ["**"], "identities": [{"issuer": GITHUB, "subject": WORKFLOW}]}
    public = parse_policy({"metadata": {"name": "p"}, "spec": spec})
    bundle = sigstore.bundle(PAYLOAD)

    answers.append(TUFError("away"))
    with pytest.raises(Unavailable, match="trusted-root"):
        verified()
    answers.append(root_of(sigstore))
    assert verified()
    now[0] += 3600
    assert verified(), "without asking again"
    now[0] += 86400
    answers.append(TUFError("away"))
    assert verified(), "with the root of before"
    now[0] += 86400
    answers.append(root_of(Instance.make()))
    assert not verified(), "the new root trusts others"
    assert not answers


def test_verifying_by_key_never_imports_sigstore() -> None:
    code = (
        "import sys\n"
        "import ocistate.ops.signing.verify, ocistate.cli.trust.verify, ocistate.agent.factory\n"
        "from ocistate.signing.decide import decide\n"
        "from ocistate.signing.found import FoundSignature\n"
        "from ocistate.signing.keys import generate, load_private_key\n"
        "from ocistate.signing.policy.model import policy_of_flags\n"
        "from ocistate.signing.envelope import *\n"
        "signer = load_private_key(generate(b'')[0], lambda: b'')\n"
        "payload = build_statement('sha256:' + 'ab' * 32, SIGN_PREDICATE, {})\n"
        "raw = build_bundle(payload, signer.sign(pae(PAYLOAD_TYPE, payload)), '')\n"
        "found = FoundSignature(origin='x', raw=raw)\n"
        "policy = policy_of_flags([signer.public_key])\n"
        "assert decide(policy, 'sha256:' + 'ab' * 32, [found]).error is None\n"
        "heavy = {'sigstore', 'pydantic', 'celpy', 're2', 'requests'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
