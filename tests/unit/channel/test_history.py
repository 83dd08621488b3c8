"""A channel's history: its links, its forks, and how a release in it is found."""

from __future__ import annotations

from typing import Any

import pytest

from ocistate.channel.history import Link, check_link, find_forks, find_previous, find_release
from ocistate.channel.rings import Rollout, parse_rings_text
from tests.support.factories.records import DIGESTS, NOW, SHOP, digest_of, record


def link(sequence: int, **fields: Any) -> Link:
    found = record(sequence, **fields)
    return Link(digest=digest_of(found), record=found)


@pytest.mark.parametrize(
    ("before", "problem"),
    [
        (record(4), ""),
        (record(3), "numbers are missing between"),
        (record(5), "comes after it"),
        (record(6), "comes after it"),
        (record(4, channel="other"), "is a record of the channel other"),
        (record(4, repository="elsewhere"), "of elsewhere"),
    ],
)
def test_a_link_leads_to_the_number_before(before: Any, problem: str) -> None:
    found = check_link(record(5), before)
    assert problem in found if problem else found == ""


def test_a_new_epoch_may_follow_any_number_of_the_one_before() -> None:
    assert check_link(record(1, epoch=2, previous=DIGESTS[1]), record(40)) == ""


def test_a_tag_with_another_record_than_the_chain_is_a_fork() -> None:
    links = [link(2), link(1)]
    tagged = {(1, 2): links[0].digest, (1, 1): DIGESTS[9]}
    (fork,) = find_forks(links, tagged)
    assert fork.number == (1, 1)
    assert (
        str(fork) == f"number 1 is {links[1].digest} in the chain, and its tag holds {DIGESTS[9]}"
    )
    assert find_forks(links, {}) == ()


def test_a_release_is_found_by_number_digest_and_what_it_pins() -> None:
    links = [link(1, epoch=2, previous=DIGESTS[1], subjects={SHOP: DIGESTS[3]}), link(2), link(1)]
    for wanted, place in (("2.1", 0), ("2", 1), (links[2].digest, 2), (DIGESTS[3], 0)):
        assert find_release(links, wanted) is links[place]
    assert find_release(links, "41") is None


def test_the_way_back_leads_to_what_every_cluster_had() -> None:
    rollout = Rollout(
        stable={SHOP: DIGESTS[1]}, rings=parse_rings_text("a=5%,b=100%"), opened_at=NOW
    )
    links = [
        link(4, subjects={SHOP: DIGESTS[4]}),
        link(3, subjects={SHOP: DIGESTS[3]}, rollout=rollout),
        link(2, subjects={SHOP: DIGESTS[4]}),
        link(1, subjects={SHOP: DIGESTS[1]}),
    ]
    assert find_previous(links) is links[3]
    assert find_previous(links[:1]) is None
