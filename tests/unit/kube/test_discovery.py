"""Where the API server keeps an object: no name leads elsewhere."""

from __future__ import annotations

import pytest

from ocistate.errors import ClusterError
from ocistate.kube.discovery import ApiResource

SECRETS = ApiResource(group="", version="v1", kind="Secret", plural="secrets", namespaced=True)


def test_names_are_quoted() -> None:
    assert SECRETS.path("team", "a/b") == "/api/v1/namespaces/team/secrets/a%2Fb"


@pytest.mark.parametrize("part", [".", ".."])
def test_a_name_of_dots_leads_nowhere(part: str) -> None:
    with pytest.raises(ClusterError, match="is no name"):
        SECRETS.path("team", part)
    with pytest.raises(ClusterError, match="is no name"):
        SECRETS.path(part, "a")
