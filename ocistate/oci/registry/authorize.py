"""Find what lets us into one registry: credentials when it asks for them, tokens for each scope."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2 as httpx

from ocistate.canonical import parse_json
from ocistate.errors import ProtocolError
from ocistate.oci.registry.answers import read_body, unavailable
from ocistate.oci.registry.challenges import (
    Challenge,
    RegistryAccess,
    check_realm,
    parse_challenges,
    refused,
)

_MAX_TOKEN_BODY: Final = 256 * 1024


@dataclass(slots=True)
class Authorizer:
    """Answers what one registry, at the URL ``base``, asks for.

    ``client`` gives the HTTP client for a URL. What was learned is kept in ``access``. Unless
    credentials are given there, they are looked for when they are asked for, in ``docker_config``
    where that is given.
    """

    host: str
    base: str
    client: Callable[[str], httpx.AsyncClient]
    clock: Callable[[], float]
    access: RegistryAccess
    repository: str = ""
    docker_config: bytes | None = field(default=None, repr=False)

    def take(self, headers: list[str]) -> bool:
        """Take note of what the ``WWW-Authenticate`` of a 401 asks for; False: nothing we know."""
        challenges = parse_challenges(headers)
        known = next((c for c in challenges if c.scheme in ("bearer", "basic")), None)
        if known is None:
            return False
        self.access.challenge = known
        return True

    async def header(self, scope: str, doing: str) -> str | None:
        """The ``Authorization`` that the registry is known to ask for; None: none, or we have none.

        Raises Unauthorized, Unavailable, ProtocolError.
        """
        access = self.access
        challenge = access.challenge
        if challenge is None:
            return None
        async with access.asking:
            if access.must_look(self.clock()):
                from ocistate.oci.registry.credentials import find_credentials

                # A credential helper is another program, and may take its time.
                credentials = await asyncio.to_thread(
                    find_credentials, self.host, self.docker_config, repository=self.repository
                )
                access.keep(credentials, self.clock())
            if challenge.scheme == "basic":
                return access.credentials.basic if access.credentials else None
            key = _token_key(challenge, scope)
            token = access.tokens.get(key, self.clock())
            if token is None:
                answer = await self._ask_token_server(key, doing)
                token = access.tokens.put(key, answer, self.clock())
            return f"Bearer {token}"

    async def _ask_token_server(self, key: tuple[str, str, str], doing: str) -> Any:
        """Distribution token spec: GET with Basic, or POST with a refresh token (OAuth2)."""
        realm = check_realm(key[0], self.base)
        client = self.client(realm)
        parameters: dict[str, Any] = {"service": key[1], "client_id": "ocistate"}
        credentials = self.access.credentials
        headers = {"Accept": "application/json"}
        if credentials is not None and credentials.identity_token:
            form = parameters | {
                "scope": key[2],
                "grant_type": "refresh_token",
                "refresh_token": credentials.identity_token,
            }
            request = client.build_request("POST", realm, data=form, headers=headers)
        else:
            if credentials is not None:
                headers["Authorization"] = credentials.basic
            parameters["scope"] = key[2].split()
            request = client.build_request("GET", realm, params=parameters, headers=headers)
        response = await client.send(request, stream=True)
        try:
            if response.status_code in (400, 401, 403):
                self.access.forget_open_access()
                raise refused(self.host, credentials is not None, doing)
            if response.status_code != 200:
                why = f"its token server answered {response.status_code}"
                raise unavailable(self.host, doing, why)
            body = await read_body(response, _MAX_TOKEN_BODY, "its token")
        finally:
            await response.aclose()
        try:
            return parse_json(body)
        except ValueError:
            raise ProtocolError(f"{self.host}'s token server did not answer JSON") from None


def _token_key(challenge: Challenge, scope: str) -> tuple[str, str, str]:
    # The scope is the one we need, whatever the registry says it wants.
    parameters = challenge.parameters
    return (parameters.get("realm", ""), parameters.get("service", ""), scope)
