"""Where an exception that no one expected ends: at the one object that raised it.

Loops that many objects share must outlive each of them, whatever its content makes our own code do.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from ocistate.errors import InternalError

log = logging.getLogger("ocistate.agent")


def unexpected(what: str, error: Exception) -> InternalError:
    """The error to show on the object, once the log has the whole of it.

    The exception's own text may hold anything, Secrets too: it goes to the log alone.
    """
    log.error("%s failed unexpectedly", what, exc_info=error)
    return InternalError(
        f"{what} failed unexpectedly: {type(error).__name__}",
        hint="this is a bug in ocistate; the agent's log has the details",
    )


@contextmanager
def contained(what: str) -> Iterator[None]:
    """End here whatever is raised inside, for an object among many: it is logged, and passed over.

    Only where nothing but a step for this one object is lost by it.
    """
    try:
        yield
    except Exception as error:
        log.error("%s failed unexpectedly", what, exc_info=error)
