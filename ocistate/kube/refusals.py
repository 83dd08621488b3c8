"""What an API server's refusal of one object means: try again, recreate it, or tell the user."""

from __future__ import annotations

import re
from typing import Final

from ocistate.kube.errors import StatusError

_IMMUTABLE: Final = re.compile(
    r"immutable|may not (be )?change|cannot (be )?change|can not be changed|"
    r"updates to .* (are|is) forbidden|forbidden: (updates|pod updates)|"
    r"cannot be updated|may not be updated|is not allowed to change|not allowed to be changed",
    re.IGNORECASE,
)
_EXCLUSIVE: Final = re.compile(
    r"may not be (specified|set)|may not specify more than|may not have more than|"
    r"(must|can) ?not be (specified|set)|cannot set both|must be nil if|only one of|"
    r"exactly one of|one and only one|not allowed when|should not be set",
    re.IGNORECASE,
)
_PASSING: Final = re.compile(
    r"failed calling webhook|error looking up service account|"
    r"could not find the requested resource|etcdserver|request timed out|"
    r"context deadline exceeded|unable to create new content.*not found|"
    r"quota.*(is being|not yet)|conversion webhook for .* failed|no endpoints available",
    re.IGNORECASE | re.DOTALL,
)


def is_passing(error: StatusError) -> bool:
    """Whether the same request may succeed a moment later.

    That is a lost race, a webhook or a default service account that is still starting, a CRD that
    another API server replica does not serve yet.
    """
    if error.status == 409:
        return not error.conflicts
    if error.status == 429 or error.status in (502, 503, 504):
        return True
    return bool(_PASSING.search(error.message)) and error.status in (403, 404, 500)


def is_closed_namespace(error: StatusError) -> bool:
    """Whether nothing new is taken into a namespace: it is being deleted, or is not there."""
    if error.status == 404:
        return error.message.endswith("not found") and "namespaces" in error.message
    return "NamespaceTerminating" in {cause.reason for cause in error.causes}


def says_immutable(text: str) -> bool:
    """Whether the API server says that a field may never change."""
    return bool(_IMMUTABLE.search(text))


def says_exclusive(text: str) -> bool:
    """Whether the API server says that of several fields only one may be set."""
    return bool(_EXCLUSIVE.search(text))


def is_immutable(error: StatusError) -> bool:
    """Whether the object is refused only because fields of it may never change once set."""
    if error.status not in (403, 422):
        return False
    texts = [cause.message for cause in error.causes] or [error.message]
    return all(map(says_immutable, texts))


def is_exclusive(error: StatusError) -> bool:
    """Whether the object is refused because of fields of which only one may be set."""
    texts = [cause.message for cause in error.causes] or [error.message]
    return error.status == 422 and all(
        says_exclusive(text) or says_immutable(text) for text in texts
    )


def explained(error: StatusError) -> StatusError:
    """The error, with every field it is about and with what to do."""
    if error.conflicts:
        message = (
            f"{error.message.split(': ', 1)[0]}: fields are held by other managers: "
            + ", ".join(f"{cause.field} ({cause.message})" for cause in error.conflicts)
        )
        hint = "apply with force, leave the fields out, or name them under ignore"
    elif is_immutable(error):
        message = error.message
        hint = "to have it deleted and created again, annotate it ocistate.dev/apply: recreate"
    elif is_exclusive(error):
        message = error.message
        hint = (
            "if the manifest is right by itself, what is there is in the way: to have it deleted "
            "and created again, annotate it ocistate.dev/apply: recreate"
        )
    elif "exceeded quota" in error.message:
        message, hint = error.message, "raise the namespace's ResourceQuota, or ask for less"
    elif "admission webhook" in error.message and "denied" in error.message:
        message, hint = error.message, "the cluster's own policy refuses it: change the manifest"
    elif "NamespaceTerminating" in {cause.reason for cause in error.causes}:
        message, hint = error.message, "the namespace is being deleted: it can be applied when gone"
    elif is_closed_namespace(error):
        message, hint = error.message, "add the Namespace to the artifact, or create it"
    else:
        return error
    return StatusError(
        message,
        status=error.status,
        code=error.code,
        hint=hint,
        causes=error.causes,
        retry_after=error.retry_after,
    )
