"""Floors for what reads a registry: processes that fetch and parse the same bytes, and no more."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from benches.common.measure import Run, measure

# Without the header, a registry answers that there is no such manifest.
_FETCH = """
import gzip, http.client, json, sys

host, repository, *tags = sys.argv[1:]
connection = http.client.HTTPConnection(host)
accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}

def fetch(path):
    connection.request("GET", f"/v2/{repository}/{path}", headers=accept)
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status == 200, body
    return body

"""

_MANIFESTS = """
for tag in sys.stdin.read().split():
    json.loads(fetch(f"manifests/{tag}"))
"""

# A tar file's headers are walked by hand: tarfile makes an object of each.
_CONTENT = """
for tag in tags:
    for layer in json.loads(fetch(f"manifests/{tag}"))["layers"]:
        data = gzip.decompress(fetch(f"blobs/{layer['digest']}"))
        place = 0
        while place < len(data) and data[place]:
            size = int(data[place + 124 : place + 135], 8)
            if data[place + 156 : place + 157] in (b"0", b"\\0"):
                json.loads(data[place + 512 : place + 512 + size])
            place += 512 + (size + 511) // 512 * 512
"""


def manifests(host: str, repository: str, tags: Sequence[str]) -> Run:
    """Over one connection, one manifest after the other, each parsed as JSON."""
    command = [sys.executable, "-c", _FETCH + _MANIFESTS, host, repository]
    return measure(command, stdin="\n".join(tags))


def content(host: str, repository: str, *tags: str) -> Run:
    """Whole artifacts, each of their files parsed as JSON."""
    return measure([sys.executable, "-c", _FETCH + _CONTENT, host, repository, *tags])
