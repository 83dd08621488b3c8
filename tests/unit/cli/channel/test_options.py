"""Options that channel commands share: trust, the chosen artifact, lifetimes, who asks."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ocistate.cli.channel.options import ChannelTrustOptions, actor_here, parse_lifetime
from ocistate.errors import UsageError
from ocistate.reference import parse_reference
from tests.support.environments.shop import Shop, run

REPOSITORY = parse_reference("registry.example.com/shop")


@pytest.mark.parametrize(
    ("text", "lifetime"),
    [
        ("7d", timedelta(days=7)),
        ("12h", timedelta(hours=12)),
        ("30m", timedelta(minutes=30)),
        ("never", timedelta()),
        ("36500d", timedelta(days=36500)),
    ],
)
def test_lifetimes_are_days_hours_or_minutes(text: str, lifetime: timedelta) -> None:
    assert parse_lifetime(text) == lifetime


@pytest.mark.parametrize("text", ["", "7", "0d", "-1d", "1.5h", "7w", "99999d", "1h30m", "٣d"])
def test_other_lifetimes_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--expires"):
        parse_lifetime(text)


def test_the_actor_is_the_one_that_ci_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTOR", "bob")
    assert actor_here() == "bob"
    monkeypatch.delenv("GITHUB_ACTOR")
    monkeypatch.setenv("GITLAB_USER_LOGIN", "carol")
    assert actor_here() == "carol"


def test_without_a_user_there_is_no_actor(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GITHUB_ACTOR", "GITLAB_USER_LOGIN", "BITBUCKET_STEP_TRIGGERER_UUID"):
        monkeypatch.delenv(name, raising=False)

    def unknown() -> str:
        raise KeyError

    monkeypatch.setattr("getpass.getuser", unknown)
    assert actor_here() == ""


def test_a_policy_gives_the_channel_its_keys(shop: Shop) -> None:
    trust = ChannelTrustOptions(policy=shop.policy, keys=())
    channel = trust.channel("prod", parse_reference(shop.store))
    assert [key.name for key in channel.trust.keys] == ["release"]


def test_a_trust_source_is_needed_where_it_is_required(shop: Shop) -> None:
    trust = ChannelTrustOptions(policy=None, keys=())
    assert not trust.is_given
    with pytest.raises(UsageError, match="no trust source given"):
        trust.channel("prod", REPOSITORY)
    assert not trust.channel("prod", REPOSITORY, required=False).trust.keys
    with pytest.raises(UsageError, match="cannot be combined"):
        ChannelTrustOptions(policy=shop.policy, keys=("k",)).channel("prod", REPOSITORY)


@pytest.mark.parametrize(
    "choice",
    [
        (),
        ("--from", "staging", "--tag", "v1"),
        ("--digest", "sha256:" + "0" * 64, "--tag", "v1"),
        ("--tag", "v1", "--from", "staging", "--digest", "sha256:" + "0" * 64),
    ],
)
def test_one_artifact_must_be_chosen(shop: Shop, choice: tuple[str, ...]) -> None:
    ran = run("promote", shop.store, "--to", "prod", *choice, *shop.sign, "--yes", code=2)
    assert "exactly one artifact to promote" in ran.err


def test_the_only_channel_need_not_be_named(shop: Shop) -> None:
    ran = run("log", shop.store, *shop.trust, "--resource", "ConfigMap/app", code=2)
    assert "name one of them: prod, staging" in ran.err
