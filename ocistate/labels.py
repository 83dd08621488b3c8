"""The marks ocistate leaves on live objects, and the ones users may put on theirs."""

from __future__ import annotations

import re
from typing import Final

FIELD_MANAGER: Final = "ocistate"

OUR_PREFIX: Final = "ocistate.dev/"
"""Of every label and annotation of ours."""

STACK_LABEL: Final = "ocistate.dev/stack"
"""Whose object this is: the Stack's UID, or another owner id that is legal as a label's value."""

DIGEST_ANNOTATION: Final = "ocistate.dev/digest"
"""What was applied: the marker of `ocistate.apply.desired.prepare.Desired`, an opaque text."""

ADOPTED_ANNOTATION: Final = "ocistate.dev/adopted"
"""On a Namespace or CRD that was there before us: it is never pruned."""

PRUNE_ANNOTATION: Final = "ocistate.dev/prune"
APPLY_ANNOTATION: Final = "ocistate.dev/apply"
WAVE_ANNOTATION: Final = "ocistate.dev/wave"

_LABEL_VALUE: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


def check_owner(owner: str) -> str:
    """Return `owner` when it can be a label's value, else raise ValueError."""
    if not _LABEL_VALUE.fullmatch(owner):
        raise ValueError(
            f"owner id {owner!r} is not legal as a label value: 1 to 63 letters, digits, '-', '_' "
            "or '.', with a letter or digit at both ends"
        )
    return owner
