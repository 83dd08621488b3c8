"""Webhooks of registries: what was pushed, if the sender knows the secret. Pure functions.

A webhook is never believed beyond "look now": it names a repository, and the Stacks that follow it
ask the registry themselves. The host it names is not compared, since a registry often knows itself
by another name than the agent does, and a look too many costs one request.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from ocistate.canonical import parse_json
from ocistate.errors import InputError, Unauthorized

WebhookHeaders = Mapping[str, str]
"""By lower-case name."""

MAX_BODY: Final = 256 * 1024


def pushed_repositories(
    provider: str, headers: WebhookHeaders, body: bytes, secret: bytes
) -> set[str]:
    """The repositories, without their host, that an authentic webhook says were pushed to.

    Raises Unauthorized before anything of the body is read as more than bytes, LookupError for a
    provider that is not known, and InputError for a body that is not what the provider sends.
    """
    authentic, read = _PROVIDERS[provider]
    if not secret or not authentic(headers, body, secret):
        raise Unauthorized(
            f"the webhook {provider!r} is not signed with the agent's secret",
            hint="give the sender the secret that the agent has in OCISTATE_WEBHOOK_SECRET",
        )
    try:
        payload = parse_json(body)
        return {name.strip("/").lower() for name in read(headers, payload)} - {""}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"the webhook's body is not what {provider} sends: {type(error).__name__}: {error}"
        ) from None


def _token(headers: WebhookHeaders, body: bytes, secret: bytes) -> bool:
    """The secret itself in ``Authorization``, alone or after ``Bearer``."""
    given = headers.get("authorization", "")
    scheme, _, rest = given.partition(" ")
    token = rest.strip() if scheme.lower() == "bearer" else given.strip()
    return hmac.compare_digest(token.encode(), secret)


def _signed(header: str) -> Callable[[WebhookHeaders, bytes, bytes], bool]:
    """``sha256=HEX``, an HMAC over the body."""

    def check(headers: WebhookHeaders, body: bytes, secret: bytes) -> bool:
        expected = "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()
        return hmac.compare_digest(headers.get(header, "").encode(), expected.encode())

    return check


def _distribution(headers: WebhookHeaders, payload: Any) -> Iterator[str]:
    """https://distribution.github.io/distribution/about/notifications/"""
    for event in payload["events"]:
        # Pulls are notified too, our own among them: they must not make us pull again.
        target = event["target"]
        kind = target.get("mediaType", "")
        if event["action"] == "push" and ("manifest" in kind or "index" in kind):
            yield target["repository"]


def _harbor(headers: WebhookHeaders, payload: Any) -> Iterator[str]:
    """https://goharbor.io/docs/main/working-with-projects/project-configuration/configure-webhooks/

    In Harbor's own form and as CloudEvents.
    """
    if payload["type"] in ("PUSH_ARTIFACT", "harbor.artifact.pushed"):
        data = payload["event_data"] if "event_data" in payload else payload["data"]
        yield data["repository"]["repo_full_name"]


def _github(headers: WebhookHeaders, payload: Any) -> Iterator[str]:
    """https://docs.github.com/en/webhooks/webhook-events-and-payloads#package"""
    if headers.get("x-github-event") not in ("package", "registry_package"):
        return
    package = payload.get("package") or payload["registry_package"]
    if str(package["package_type"]).lower() in ("container", "docker"):
        owner = package.get("owner") or payload["repository"]["owner"]
        yield f"{owner['login']}/{package['name']}"


def _generic(headers: WebhookHeaders, payload: Any) -> Iterator[str]:
    """``{"repository": "HOST/NAME"}``, with or without scheme, host, tag and digest."""
    name = payload["repository"].removeprefix("oci://").partition("@")[0]
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        name = rest
    yield name.partition(":")[0]


_PROVIDERS: Final[dict[str, tuple[Callable[[WebhookHeaders, bytes, bytes], bool], Any]]] = {
    "distribution": (_token, _distribution),
    "harbor": (_token, _harbor),
    "github": (_signed("x-hub-signature-256"), _github),
    "generic": (_signed("x-signature"), _generic),
}

PROVIDERS: Final = tuple(_PROVIDERS)
