"""Options that ``install`` and ``agent`` share."""

from __future__ import annotations

import pytest

from ocistate.cli.setup.options import ReachOptions, cluster_of
from ocistate.errors import OcistateError, UsageError


def test_a_cluster_has_a_name_and_labels() -> None:
    cluster = cluster_of("east", ("tier=canary", "region=eu"))
    assert cluster is not None
    assert (cluster.name, cluster.labels) == ("east", {"tier": "canary", "region": "eu"})
    assert cluster_of("", ()) is None


@pytest.mark.parametrize(
    ("name", "labels", "said"),
    [
        ("", ("a=b",), "--cluster"),
        ("east", ("a",), "'='"),
        ("east", ("a=1", "a=2"), "given twice"),
        ("east", ("a b=1",), "--cluster-label"),
        ("East Coast", (), "East Coast"),
    ],
)
def test_wrong_names_and_labels_are_refused(name: str, labels: tuple[str, ...], said: str) -> None:
    with pytest.raises(OcistateError, match=said):
        cluster_of(name, labels)


def test_allowed_hosts_are_the_agents_arguments_too() -> None:
    reach = ReachOptions(allow=("*.example.com", "10.0.0.0/8"), deny_private=True)
    assert reach.arguments() == [
        "--allow-hosts=*.example.com",
        "--allow-hosts=10.0.0.0/8",
        "--deny-private",
    ]
    assert reach.is_given
    assert reach.reach().deny_private
    assert not ReachOptions(allow=(), deny_private=False).is_given


def test_what_is_no_host_is_refused() -> None:
    with pytest.raises((UsageError, OcistateError), match="a b"):
        ReachOptions(allow=("a b",), deny_private=False).reach()
