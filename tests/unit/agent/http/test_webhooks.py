"""Webhooks: only from those who know the secret, and only what was pushed."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest

from ocistate.agent.http.webhooks import pushed_repositories
from ocistate.errors import InputError, Unauthorized

SECRET = b"open sesame"


def signature(body: bytes, secret: bytes = SECRET) -> str:
    return "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()


def ask(provider: str, payload: Any, headers: dict[str, str] | None = None) -> set[str]:
    body = json.dumps(payload).encode()
    known = {
        "authorization": f"Bearer {SECRET.decode()}",
        "x-hub-signature-256": signature(body),
        "x-signature": signature(body),
    }
    return pushed_repositories(provider, known | (headers or {}), body, SECRET)


def event(action: str = "push", kind: str = "application/vnd.oci.image.manifest.v1+json") -> Any:
    return {"action": action, "target": {"mediaType": kind, "repository": "shop/web", "tag": "x"}}


def test_distribution_tells_of_manifests_pushed_and_of_nothing_else() -> None:
    assert ask("distribution", {"events": [event(), event("pull")]}) == {"shop/web"}
    assert ask("distribution", {"events": [event("pull"), event("delete")]}) == set()
    assert ask("distribution", {"events": [event(kind="application/octet-stream")]}) == set()


@pytest.mark.parametrize(
    "payload",
    [
        {"type": "PUSH_ARTIFACT", "event_data": {"repository": {"repo_full_name": "Shop/web"}}},
        {
            "specversion": "1.0",
            "type": "harbor.artifact.pushed",
            "data": {"repository": {"repo_full_name": "shop/web"}},
        },
    ],
)
def test_harbor_in_both_of_its_forms(payload: Any) -> None:
    plain = {"authorization": SECRET.decode()}
    assert ask("harbor", payload, plain) == {"shop/web"}
    assert ask("harbor", payload | {"type": "SCANNING_COMPLETED"}, plain) == set()


def test_github_packages() -> None:
    package = {"name": "web", "package_type": "CONTAINER", "owner": {"login": "Shop"}}
    for name in ("package", "registry_package"):
        payload = {"action": "published", name: package}
        assert ask("github", payload, {"x-github-event": name}) == {"shop/web"}
    npm = {"package": package | {"package_type": "npm"}}
    assert ask("github", npm, {"x-github-event": "package"}) == set()
    assert ask("github", {"zen": "Keep it simple."}, {"x-github-event": "ping"}) == set()


@pytest.mark.parametrize(
    "name",
    [
        "shop/web",
        "oci://ghcr.io/shop/web:v1",
        "127.0.0.1:5000/shop/web@sha256:00",
        "localhost/shop/web",
    ],
)
def test_generic_takes_any_way_to_write_a_repository(name: str) -> None:
    assert ask("generic", {"repository": name}) == {"shop/web"}


@pytest.mark.parametrize("provider", ["distribution", "harbor", "github", "generic"])
def test_who_does_not_know_the_secret_is_refused_before_the_body_is_read(provider: str) -> None:
    body = b"\xff not json"
    wrong = signature(body, b"another")
    for headers in (
        {},
        {"authorization": "Bearer", "x-hub-signature-256": "sha256=", "x-signature": ""},
        {"authorization": "Bearer x", "x-hub-signature-256": wrong, "x-signature": wrong},
        {"authorization": "Bearer é", "x-hub-signature-256": "é", "x-signature": "é"},
    ):
        with pytest.raises(Unauthorized):
            pushed_repositories(provider, headers, body, SECRET)
    empty = {"authorization": "", "x-signature": signature(body, b"")}
    with pytest.raises(Unauthorized):
        pushed_repositories(provider, empty, body, b"")


@pytest.mark.parametrize("provider", ["distribution", "harbor", "github", "generic"])
@pytest.mark.parametrize("payload", [None, [], {}, {"events": 5}, {"repository": 5, "type": []}])
def test_an_authentic_body_of_another_shape_is_an_error_that_says_so(
    provider: str, payload: Any
) -> None:
    if provider == "harbor" and payload == {"repository": 5, "type": []}:
        assert ask(provider, payload) == set()
        return
    with pytest.raises(InputError, match=provider):
        ask(provider, payload, {"x-github-event": "package"})
