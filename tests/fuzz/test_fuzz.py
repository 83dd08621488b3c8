"""Every parser of untrusted bytes against its corpus, and against what Hypothesis makes of that.

In ./scripts/test this is a fixed number of the same examples each time; scripts/fuzz goes on for
minutes, guided by coverage, and adds what it finds to the corpus.
"""

from __future__ import annotations

import json
import time
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from ocistate.signing.envelope import parse_bundle
from ocistate.signing.keyless import certify
from ocistate.signing.simple import SIGNATURE_ANNOTATION
from tests.fuzz.targets import CORPUS, ROOT, TARGETS, counts, seeds
from tests.support.memory import forget_peak, peak

EXAMPLES: Final = 400
MOST_CPU_SECONDS: Final = 2.0
MOST_GROWTH_KB: Final = 300 * 1024

_WORDS: Final = [
    b'"', b"{", b"}", b"[", b"]", b":", b",", b"\\u0000", b"\\ud800", b"null", b"1e999", b"-0",
    b"\x00", b"\xff", b"\xc3\xa9", b"\x1b[2J", b"..", b"/", b"\\", b"\n", b"---\n", b"&a", b"*a",
    b"<<: ", b"!!binary ", b"9" * 30, b"A" * 300, b"sha256:", b"=", b"\x1f\x8b",
]  # fmt: skip
_VALUES: Final = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["", "\x00", "1h", "a" * 300, "sha256:" + "0" * 64]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)


@st.composite
def cut_up(draw: st.DrawFn, name: str) -> bytes:
    """An input of the corpus, or two, with bytes changed, left out, repeated and put in."""
    data = bytearray(draw(st.sampled_from(seeds(name))))
    for _ in range(draw(st.integers(0, 6))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.sampled_from([1, 1, 2, 4, 16, 256])))
        change = draw(st.integers(0, 4))
        if change == 0:
            data[start:end] = draw(st.binary(max_size=4))
        elif change == 1:
            data[start:start] = draw(st.sampled_from(_WORDS))
        elif change == 2:
            data[start:start] = data[start:end] * draw(st.sampled_from([1, 2, 50]))
        elif change == 3:
            del data[start:end]
        else:
            data[start:] = draw(st.sampled_from(seeds(name)))[start:]
    return bytes(data)


@st.composite
def rebuilt(draw: st.DrawFn, name: str) -> bytes:
    """A JSON input of the corpus, with some of its values and keys others."""
    trees = [tree for tree in map(_tree, seeds(name)) if tree is not None]
    value = json.loads(draw(st.sampled_from(trees))) if trees else draw(_VALUES)
    for _ in range(draw(st.integers(1, 3))):
        value = _changed(draw, value)
    return json.dumps(value).encode()


def _changed(draw: st.DrawFn, value: Any) -> Any:
    if not isinstance(value, dict | list) or not value or draw(st.integers(0, 4)) == 0:
        return draw(_VALUES)
    if isinstance(value, list):
        place = draw(st.integers(0, len(value) - 1))
        return [*value[:place], _changed(draw, value[place]), *value[place + 1 :]]
    key = draw(st.sampled_from(sorted(value)))
    rest = {other: item for other, item in value.items() if other != key}
    if draw(st.integers(0, 4)) == 0:
        return rest
    return {**rest, key: _changed(draw, value[key])}


def _tree(data: bytes) -> bytes | None:
    try:
        return data if isinstance(json.loads(data), dict | list) else None
    except ValueError:
        return None


def test_the_corpus_has_valid_inputs_for_every_target() -> None:
    """Fuzzing around inputs that are refused at the first byte would find nothing."""
    assert {path.name for path in CORPUS.iterdir() if path.is_dir()} == set(TARGETS)
    assert counts("bundle", (CORPUS / "bundle" / "signature.json").read_bytes())
    assert counts("dsse", (CORPUS / "dsse" / "signature.json").read_bytes())
    annotation, _, payload = (CORPUS / "simple" / "payload").read_bytes().partition(b"\n")
    assert counts("simple", payload, {SIGNATURE_ANNOTATION: annotation.decode()})
    for bundle in seeds("keyless")[:2]:
        certify(parse_bundle(bundle), ROOT)


@pytest.mark.parametrize("name", TARGETS)
def test_parsers_raise_only_documented_errors(name: str) -> None:
    target = TARGETS[name]

    @seed(0)
    @settings(
        max_examples=EXAMPLES,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(st.one_of(cut_up(name), rebuilt(name), st.binary(max_size=512)))
    def fuzz(data: bytes) -> None:
        begun = time.thread_time()
        target(data)
        assert time.thread_time() - begun < MOST_CPU_SECONDS

    before = forget_peak()
    for data in seeds(name):
        target(data)
    fuzz()
    assert peak() - before < MOST_GROWTH_KB
