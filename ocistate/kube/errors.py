"""The API server's error answers: a ``Status`` object becomes an error that names what to do."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ocistate.errors import ApiError

UNKNOWN_KIND: Final = "UnknownKind"
"""``code`` of the error for a kind that the cluster does not serve."""

_HINTS: Final = {
    401: "the credentials are missing, wrong or expired: look at the kubeconfig's user",
    403: "grant the right to the user or service account that is named, or apply as another one",
}
_LONGEST_PAUSE: Final = 3600
_MESSAGE_LIMIT: Final = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One detail of a refusal: the field it is about (may be empty), and what is wrong with it."""

    field: str
    reason: str
    message: str


class StatusError(ApiError):
    """An ``ApiError`` that keeps the ``Status``'s causes and how long the server said to wait.

    ``retry_after`` is in seconds, None when the server named no time.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str = "",
        hint: str = "",
        causes: Sequence[Cause] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, status=status, code=code, hint=hint)
        self.causes = tuple(causes)
        self.retry_after = retry_after

    @property
    def gone(self) -> bool:
        """Whether a resourceVersion or continue token is too old: list again."""
        return self.status == 410

    @property
    def conflicts(self) -> tuple[Cause, ...]:
        """The fields that other managers hold, when a server-side apply without force failed."""
        return tuple(cause for cause in self.causes if cause.reason == "FieldManagerConflict")


def status_error(
    status: int, body: Any, *, doing: str, secret: bool = False, retry_after: float | None = None
) -> StatusError:
    """Make the error for an answer.

    ``body`` is the decoded answer (anything), ``doing`` names the request without its body ("apply
    ConfigMap/shop/web"). With ``secret`` the server's words are stripped of values they may quote.
    """
    body = body if isinstance(body, Mapping) else {}
    details = body.get("details")
    details = details if isinstance(details, Mapping) else {}
    causes = [
        Cause(
            field=str(cause.get("field") or ""),
            reason=str(cause.get("reason") or ""),
            message=_words(cause.get("message"), secret),
        )
        for cause in details.get("causes") or ()
        if isinstance(cause, Mapping)
    ]
    if retry_after is None:
        retry_after = details.get("retryAfterSeconds")
    words = _words(body.get("message"), secret) or f"HTTP status {status}"
    return StatusError(
        f"{doing}: {words}",
        status=status,
        code=str(body.get("reason") or ""),
        hint=_HINTS.get(status, ""),
        causes=causes,
        retry_after=_pause(retry_after),
    )


def _pause(seconds: Any) -> float | None:
    """The seconds that a server asks to be left alone for, None for what makes no sense."""
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        return None
    return float(min(seconds, _LONGEST_PAUSE)) if seconds > 0 else None  # NaN is not, either


def _words(value: Any, secret: bool) -> str:
    text = value.strip() if isinstance(value, str) else ""
    if secret:
        verdict = _VERDICT.search(text)
        told = f": {verdict[1]}" if verdict else ""
        text, hidden = _QUOTED_VALUE.subn(r"\1(hidden)", text)
        text += told if hidden else ""
    return text if len(text) <= _MESSAGE_LIMIT else text[:_MESSAGE_LIMIT] + " …"


# What it says of a value, after the value. Only whole sentences of its own are let through: in
# what it quotes, and how, anything may stand.
_VERDICT: Final = re.compile(r": (field is immutable(?: when `immutable` is set)?)\]?$")

# How the API server quotes a value it does not like: `got &value.valueUnstructured{Value:…}`,
# `Invalid value: "…"`, `unable to decode "…"`, `unmarshal … into`, `parsing "…"`. What follows may
# hold more of it in any escaping, so everything to the end goes.
_QUOTED_VALUE: Final = re.compile(
    r"(got |value: |decode |unmarshal |parsing |found in |error occurred in )\S.*", re.I | re.S
)
