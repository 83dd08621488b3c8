"""The words of a TrustPolicy, as flags say them."""

from __future__ import annotations

import hashlib

import pytest

from ocistate.errors import ConfigError
from ocistate.signing.policy.model import PUBLIC_GOOD, Match, parse_identity, trust_root


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
    assert identity.name == f"{subject} of {issuer}"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is not issuer=…,subject=…"),
        ("issuer=https://i", "is not issuer=…,subject=…"),
        ("issuer=,subject=s", "is not issuer=…,subject=…"),
        ("issuer=a,subject=", "is not issuer=…,subject=…"),
        ("issuer=a,issuer=b,subject=s", "is not issuer=…,subject=…"),
        ("issuer=a,issuer-regexp=b,subject=s", "is not issuer=…,subject=…"),
        ("x,issuer=a,subject=s", "is not issuer=…,subject=…"),
        ("issuer-regexp=(,subject=s", "--identity: '(' is not a regular expression"),
        ("issuer=a,subject-regexp=(?=b)", "is not a regular expression"),
    ],
)
def test_a_flag_that_is_no_identity_is_refused(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_identity(text)
    assert says in caught.value.message


def test_an_expression_must_match_the_whole() -> None:
    match = Match(text="team-[a-z]+", regexp=True)
    assert match("team-a")
    assert not match("team-a1")
    assert not match("a team-a")
    assert not Match(text="team-[a-z]+")("team-a")
    assert Match(text="(").fault == ""
    assert Match(text="(", regexp=True).fault


def test_a_trusted_root_is_known_by_its_media_type_and_told_apart_by_its_digest() -> None:
    data = b'{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}'
    root = trust_root(data, "root.json")
    assert (root.data, root.digest) == (data, hashlib.sha256(data).hexdigest())
    assert root != PUBLIC_GOOD
    for wrong in (b"", b"[]", b"{}", b'{"mediaType":"application/json"}', data + b"x"):
        with pytest.raises(ConfigError, match=r"root.json is not a Sigstore trusted root"):
            trust_root(wrong, "root.json")
