from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocistate.documents.reader import MAX_DEPTH, Budget, Document, read_documents
from ocistate.documents.text import template_marker
from ocistate.errors import InvalidManifest
from tests.support.memory import forget_peak, peak


def documents(text: str | bytes, path: str = "f.yaml") -> list[Document]:
    return list(read_documents(path, text.encode() if isinstance(text, str) else text))


def value_of(text: str, path: str = "f.yaml") -> Any:
    (document,) = documents(text, path)
    return document.value


def scalar(text: str) -> Any:
    return value_of(f"a: {text}")["a"]


def refusal(text: str | bytes, path: str = "f.yaml") -> InvalidManifest:
    with pytest.raises(InvalidManifest) as caught:
        documents(text, path)
    return caught.value


# What sigs.k8s.io/yaml 1.6 (kubectl's reader) made of these, by running it.
KUBECTL: dict[str, Any] = {
    **dict.fromkeys(
        ("y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "true", "True", "TRUE"), True
    ),
    **dict.fromkeys(
        ("n", "N", "no", "No", "NO", "off", "Off", "OFF", "false", "False", "FALSE"), False
    ),
    **dict.fromkeys(["", "~", "null", "Null", "NULL"]),
    "tRue": "tRue",
    "nUll": "nUll",
    "012": 10,
    "0o14": 12,
    "0O14": 12,
    "0_7": 7,
    "-017": -15,
    "-0o17": -15,
    "0777": 511,
    "09": 9,
    "0888": 888,
    "00": 0,
    "0_": 0,
    "-0": 0,
    "0b11": 3,
    "0B11": 3,
    "-0b11": -3,
    "+0b11": 3,
    "0b12": "0b12",
    "0b_": "0b_",
    "0x": "0x",
    "0x_": "0x_",
    "0o": "0o",
    "0x1F": 31,
    "0X1F": 31,
    "-0x1F": -31,
    "+0x1F": 31,
    "0xFFFFFFFFFFFFFFFFFF": "0xFFFFFFFFFFFFFFFFFF",
    "0x1p4": "0x1p4",
    "1_000": 1000,
    "1__0": 10,
    "1_": 1,
    "_1": "_1",
    "1_000.5": 1000.5,
    "+1": 1,
    "++1": "++1",
    "1e3": 1000,
    "1E3": 1000,
    "1e+3": 1000,
    "1.e3": 1000,
    "1e-3": 0.001,
    "1e_3": 1000,
    "1.0": 1,
    "-3.0": -3,
    "5.": 5,
    ".5": 0.5,
    "-.5": -0.5,
    ".5_0": 0.5,
    "1.10": 1.1,
    "1e21": 1e21,
    "1e20": 10**20,
    "1.5e300": 1.5e300,
    "1e999": "1e999",
    "-1e999": "-1e999",
    "9e12345": "9e12345",
    "18446744073709551615": 18446744073709551615,
    "-9223372036854775808": -9223372036854775808,
    "100000000000000000000000": 1e23,
    "1" * 40: 1.1111111111111112e39,
    "1" * 400: "1" * 400,
    "1" * 10_000: "1" * 10_000,
    ".": ".",
    "+": "+",
    "+.": "+.",
    "=": "=",
    "<<": "<<",
    "inf": "inf",
    "NaN": "NaN",
    "1.2.3": "1.2.3",
    "1,000": "1,000",
    "1:30": "1:30",
    "190:20:30.15": "190:20:30.15",
    "12:30:45": "12:30:45",
    "2001-01-01": "2001-01-01",
    "2001-12-14t21:59:43.10-05:00": "2001-12-14t21:59:43.10-05:00",
    "\u0663": "\u0663",
    "'1'": "1",
    '"on"': "on",
    "!!str 1e3": "1e3",
    "!!str y": "y",
    "!!str null": "null",
    "!!str": "",
    '!!int "3"': 3,
    '!!int "0x1F"': 31,
    "!!float 1": 1,
    "!!float 1.5": 1.5,
    '!!bool "yes"': True,
    '!!null ""': None,
    "!!timestamp 2001-01-01": "2001-01-01",
    '"\\x07"': "\a",
    "'x\ty'": "x\ty",
    "\U0001f600": "\U0001f600",
}


@pytest.mark.parametrize("text", KUBECTL, ids=lambda text: repr(text[:30]))
def test_scalars_are_read_as_kubectl_reads_them(text: str) -> None:
    assert json.dumps(scalar(text)) == json.dumps(KUBECTL[text])


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("1", "1"),
        ("-1", "-1"),
        ("012", "10"),
        ("0x1F", "31"),
        ("1e3", "1000"),
        ("1.0", "1"),
        ("1.5", "1.5"),
        ("1e30", "1e+30"),
        ("0.00001", "1e-05"),
        ("true", "true"),
        ("y", "true"),
        ("Off", "false"),
        ("2001-01-01", "2001-01-01"),
        (".inf", ".inf"),
        ("'1'", "1"),
        ('"null"', "null"),
        ("!!str 1", "1"),
        ("? a\n", "a"),
    ],
)
def test_keys_become_text_as_kubectl_makes_them(text: str, key: str) -> None:
    assert value_of(f"{text}: x") == {key: "x"}


@pytest.mark.parametrize(
    ("text", "line", "problem", "hint"),
    [
        ("a: .inf", 1, "not a number JSON", "quote"),
        ("a: 1\nb: -.INF", 2, "not a number JSON", "quote"),
        ("a: .nan", 1, "not a number JSON", "quote"),
        ("a: !!int abc", 1, "does not match its tag", ""),
        ("a: !!int 3.5", 1, "does not match its tag", ""),
        ("a: !!int yes", 1, "does not match its tag", ""),
        ("a: !!bool maybe", 1, "does not match its tag", ""),
        ("a: !!float true", 1, "does not match its tag", ""),
        ("a: !!null x", 1, "does not match its tag", ""),
        ("a: !!binary aGVsbG8=", 1, "means nothing to Kubernetes", ""),
        ("a: !!set {b}", 1, "means nothing to Kubernetes", ""),
        ("a: !!python/object:os.system x", 1, "means nothing to Kubernetes", ""),
        ("a: 1\nb: !foo x", 2, "means nothing to Kubernetes", ""),
        ("!foo {a: 1}", 1, "means nothing to Kubernetes", ""),
        ("a: !!map [1]", 1, "means nothing to Kubernetes", ""),
        ("a: !!str [1]", 1, "means nothing to Kubernetes", ""),
        ("? !foo a\n: b", 1, "means nothing to Kubernetes", ""),
        ("a: 1\na: 2", 2, "'a' is there twice", "remove one"),
        ("1: a\n'1': b", 2, "'1' is there twice", "remove one"),
        ("y: a\ntrue: b", 2, "'true' is there twice", "remove one"),
        ("a:\n  b: 1\n  'b': 1", 3, "'b' is there twice", "remove one"),
        ("null: a", 1, "must not be null", "quote"),
        ("~: a", 1, "must not be null", "quote"),
        ("123456789.123: x", 1, "would be rounded", "quote"),
        ("[a]: b", 1, "must be plain text", "quote"),
        ("{a: b}: c", 1, "must be plain text", "quote"),
        ("x: 1\na: {{ x }}", 2, "must be plain text", "render"),
        ("c:\n  <<: 5", 2, "must name a mapping", ""),
        ("c: {<<: [[{a: 1}]]}", 1, "must name a mapping", ""),
        ("b: &b\nc: {<<: *b}", 2, "must name a mapping", ""),
        ("b: &b {x: 1}\nc:\n  x: 9\n  <<: *b", 4, "comes before a '<<'", "first"),
        ("a: &a [*a]", 1, "contains itself", ""),
        ("a: &a {b: *a}", 1, "contains itself", ""),
        ("a: &a {<<: *a}", 1, "contains itself", ""),
        ("a: &a 1\nb: &a [*a]", 2, "contains itself", ""),
        ("x: 1\na: *x", 2, "undefined alias", ""),
        ("a: 'x", 1, "end of stream", ""),
        ("a:\n\tb: 1", 2, "cannot start any token", ""),
        ("a: b: c", 1, "not allowed", ""),
        ("a: 1\n b: 2", 2, "", ""),
        ("a: [1", 2, "", ""),
        ("a: 1\nb: \a", 2, "control characters", ""),
        ("ä: ä\nb: \0", 2, "control characters", ""),
        ("%YAML 2.0\n---\na: 1", 1, "incompatible YAML", ""),
        ('a: "\\ud800"', 1, "invalid Unicode", ""),
        ("x: 1\n{{- if .Values.y }}\nb: 1\n{{- end }}", 2, "", "render it first"),
        ("x: 1\n{% if y %}\nb: 1", 2, "", "render it first"),
    ],
)
def test_what_kubernetes_cannot_read_is_refused_with_its_line(
    text: str, line: int, problem: str, hint: str
) -> None:
    error = refusal(text)
    assert error.location == f"f.yaml:{line}"
    assert problem in error.message
    assert hint in error.hint


def test_the_earlier_of_merged_mappings_wins_and_own_keys_win_over_all() -> None:
    text = "b: &b {x: 1}\nd: &d {x: 2, z: 3, w: 4}\nc:\n  <<: [*b, *d]\n  w: 5"
    assert value_of(text)["c"] == {"x": 1, "z": 3, "w": 5}


def test_a_later_merge_wins_over_an_earlier_one_as_in_kubectl() -> None:
    assert value_of("c:\n  <<: {a: 1, b: 1}\n  <<: {b: 2}")["c"] == {"a": 1, "b": 2}


def test_a_quoted_merge_key_is_a_key() -> None:
    assert value_of("c: {'<<': {a: 1}}") == {"c": {"<<": {"a": 1}}}


def test_anchors_and_aliases_are_followed_for_scalars_lists_and_mappings() -> None:
    assert value_of("&k a: &v x\nb: *v\nc: *k\nd: &l [1, 2]\ne: *l") == {
        "a": "x",
        "b": "x",
        "c": "a",
        "d": [1, 2],
        "e": [1, 2],
    }


def test_an_alias_means_the_anchor_that_was_last_before_it() -> None:
    text = (
        "data: {a: &x one, b: *x, c: &x two, d: *x}\n---\n&x e: &y {f: *x}\ng: *y\nh: &y 1\ni: *y"
    )
    first, second = (document.value for document in documents(text))
    assert first["data"] == {"a": "one", "b": "one", "c": "two", "d": "two"}
    assert second == {"e": {"f": "e"}, "g": {"f": "e"}, "h": 1, "i": 1}


def test_an_anchor_of_a_collection_may_be_defined_again_within_another() -> None:
    assert value_of("a: &x {k: 1}\nb: [*x, &x {k: 2}, *x]\n<<: *x") == {
        "a": {"k": 1},
        "b": [{"k": 1}, {"k": 2}, {"k": 2}],
        "k": 2,
    }


def test_an_anchor_ends_with_its_document() -> None:
    assert "undefined alias" in refusal("a: &x 1\n---\nb: *x").message


def test_documents_keep_their_place_when_others_hold_nothing() -> None:
    text = "---\n---\n# only a comment\n---\na: 1\n---\nnull\n---\n~\n...\n---\n\nb: 2\n"
    assert [(d.index, d.line, d.value) for d in documents(text)] == [
        (2, 5, {"a": 1}),
        (5, 13, {"b": 2}),
    ]


@pytest.mark.parametrize("text", ["", "\n\n", "# c\n", "---\n", "---\n...\n---\n", "\ufeff", "~"])
def test_files_without_content_have_no_documents(text: str) -> None:
    assert documents(text) == []


@pytest.mark.parametrize("text", ["\ufeffa: 1", "a: 1\r\n", "---\r\na: 1\r\n...\r\n", "a:\t1"])
def test_byte_order_marks_and_foreign_line_ends_change_nothing(text: str) -> None:
    assert value_of(text) == {"a": 1}


@pytest.mark.parametrize("value", ["- 1", "just text", "5", "''", "false"])
def test_documents_that_are_no_mapping_are_given_out_for_the_caller_to_refuse(value: str) -> None:
    assert len(documents(value)) == 1


def test_what_is_not_utf8_is_refused_with_its_line() -> None:
    error = refusal("a: 1\nb: ü\n".encode("latin-1"))
    assert error.location == "f.yaml:2"
    assert "UTF-8" in error.hint
    assert "UTF-16" in refusal("a: 1".encode("utf-16") + b"x").message
    assert refusal("a: 1".encode("utf-16-le")).location == "f.yaml:1"
    assert refusal(b'{\n"a": "\xff"}', "f.json").location == "f.json:2"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_utf16_with_a_byte_order_mark_is_read(encoding: str, ends: str) -> None:
    mark = "" if encoding == "utf-16" else "\ufeff"
    text = (mark + "a: ü\n---\nb: '\U0001f600'\n").replace("\n", ends)
    found = documents(text.encode(encoding))
    assert [(d.index, d.line, d.value) for d in found] == [
        (0, 1, {"a": "ü"}),
        (1, 3, {"b": "\U0001f600"}),
    ]
    assert documents((mark + '{"a": 1}').encode(encoding), "f.json")[0].value == {"a": 1}


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\n---\n\ufeffa: 1\n",
        "a: 1\n\ufeff---\na: 1\n",
        "\ufeff# c\na: 1\n---\n# c\n\n\ufeffa: 1\n",
        "a: 1\r\n---\r\n\r\n\ufeffa: 1\r\n",
        "a: 1\n...\n\ufeff---\na: 1\n",
        "a: 1\n\ufeff# of the next file\n---\na: 1\n",
    ],
)
def test_each_document_may_begin_with_a_byte_order_mark(text: str) -> None:
    assert [document.value for document in documents(text)] == [{"a": 1}, {"a": 1}]


def test_a_byte_order_mark_within_a_document_is_content() -> None:
    assert value_of("a: |\n  x\n  \ufeffy\nb: '\ufeff'") == {"a": "x\n\ufeffy\n", "b": "\ufeff"}


@pytest.mark.parametrize("path", ["f.json", "f.yaml"])
@pytest.mark.parametrize(
    "between", ["", "\n", " \r\n ", "\n---\n", "\n---\r\n\n"], ids=lambda text: repr(text)
)
def test_json_objects_may_follow_one_another(path: str, between: str) -> None:
    text = between.join(['{"a": 1}', '{"b": [{}, {}]}', '{\n"c": "}{"}'])
    found = documents(text + "\n", path)
    assert [document.value for document in found] == [{"a": 1}, {"b": [{}, {}]}, {"c": "}{"}]
    assert [document.index for document in found] == [0, 1, 2]
    assert [document.line for document in found] == [1 + n * between.count("\n") for n in range(3)]


def test_json_files_are_read_as_json() -> None:
    text = '{"a": "\\ud83d\\ude00", "b": 1.0, "c": 1e3, "d": [0.5, {"e": -2.0}], "f": "\\/"}'
    want = {"a": "\U0001f600", "b": 1, "c": 1000, "d": [0.5, {"e": -2}], "f": "/"}
    assert json.dumps(value_of(text, "f.json")) == json.dumps(want)
    assert value_of("\ufeff" + text, "f.json") == want


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("", 1, "not valid JSON"),
        ("{'a': 1}", 1, "not valid JSON"),
        ('{"a": 1,\n"a": 2}', 1, "duplicate key"),
        ('{"ä": "äääääää",\n\n"b": }', 3, "not valid JSON"),
        ('{"a": NaN}', 1, "NaN"),
        ('{"a": 1}\n{"a": 2, "a": 3}', 1, "duplicate key"),
        ('{"a": 1}\nx', 2, "not valid JSON"),
        ('{"a": ' + "1" * 5000 + "}", 1, "not valid JSON"),
        ('{"a": 1e999}', 1, "too large"),
        ("[" * 100_000, 1, "nested too deeply"),
        ("[" * 500 + "]" * 500, 1, "nested too deeply"),
        ('{"a":' * 500 + "1" + "}" * 500, 1, "nested too deeply"),
    ],
)
def test_broken_json_is_refused_with_its_line(text: str, line: int, problem: str) -> None:
    error = refusal(text, "f.json")
    assert error.location == f"f.json:{line}"
    assert problem in error.message


def test_json_in_a_yaml_file_is_yaml() -> None:
    assert value_of('{"a": {"b": [1, "x"]}}') == {"a": {"b": [1, "x"]}}


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? ", "[{a: "])
def test_bottomless_nesting_is_refused_before_it_overflows_the_stack(opening: str) -> None:
    # In a process of its own: what is tested against is a segmentation fault.
    code = (
        "import sys, threading\n"
        "from ocistate.documents.reader import read_documents\n"
        "from ocistate.errors import InvalidManifest\n"
        "def read():\n"
        "    try: list(read_documents('f.yaml', sys.stdin.buffer.read()))\n"
        "    except InvalidManifest as error: print(error.message)\n"
        "thread = threading.Thread(target=read); thread.start(); thread.join()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=(opening * 200_000).encode(),
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    what = "a key must be" if opening == "? " else "nested more than"
    assert done.stdout.decode().startswith(f"f.yaml:1: {what}")


def test_nesting_up_to_the_bound_is_read() -> None:
    deep = MAX_DEPTH - 1
    assert value_of("a: " + "[" * deep + "]" * deep)
    assert "nested more" in refusal("a: " + "[" * (deep + 2) + "]" * (deep + 2)).message
    assert value_of("[" * deep + "]" * deep, "f.json")


def test_aliases_that_multiply_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert "aliases multiply" in refusal("\n".join(lines)).message


def test_aliases_that_multiply_one_long_text_are_refused() -> None:
    text = "a: &a " + "x" * 100_000 + "\nb: [" + "*a," * 10_000 + "]"
    assert "aliases multiply" in refusal(text).message


def test_merges_that_multiply_are_refused() -> None:
    lines = ["a0: &a0 {k: [x, x, x, x, x, x, x, x, x, x]}"]
    for n in range(1, 12):
        keys = ", ".join(f"k{i}: {{<<: *a{n - 1}}}" for i in range(10))
        lines.append(f"a{n}: &a{n} {{{keys}}}")
    assert "aliases multiply" in refusal("\n".join(lines)).message


def test_a_large_honest_file_is_not_taken_for_a_bomb() -> None:
    text = "base: &b {a: 1, b: 2, c: 3}\nitems:\n" + "- <<: *b\n  d: 4\n" * 5000
    assert len(value_of(text)["items"]) == 5000


def read_all(files: list[bytes], budget: Budget, path: str = "f.yaml") -> None:
    """Every document of every file, none of them kept."""
    for data in files:
        for _ in read_documents(path, data, budget):
            pass


def bomb(levels: int) -> bytes:
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join(lines).encode()


def nested_lists() -> bytes:
    """Lists in lists of one object: each item would be a resource."""
    lines = ["apiVersion: v1", "kind: List", "items:", "- &a0 {kind: A}"]
    for n in range(1, 40):
        lines.append(f"- &a{n} {{kind: List, items: [{', '.join([f'*a{n - 1}'] * 12)}]}}")
    return "\n".join(lines).encode()


@pytest.mark.parametrize(
    "files",
    [
        [bomb(12)],
        [nested_lists()],
        [bomb(6)] * 40,
        [b"a: &a '" + b"x" * 100 + b"'\nb: [" + b"*a," * 150 + b"]\n"] * 20_000,
        [b"".join(b"%%TAG !%d! x\n" % n for n in range(30_000)) + b"---\na: 1"],
        [b"".join(b"%%TAG !%d! x\n" % n for n in range(200)) + b"---\na: 1\n"] * 300,
        [b"%TAG ! x\n---\n" * 30_000],
        [b"a: " + b"9" * 5_000_000 + b"\nb: !!int '" + b"9" * 5_000 + b"'"],
    ],
    ids=["bomb", "lists", "many bombs", "repeats", "tags", "tags of files", "tags again", "digits"],
)
def test_one_budget_bounds_what_all_files_cost(files: list[bytes]) -> None:
    budget = Budget()
    before, begun = forget_peak(), time.thread_time()
    with pytest.raises(InvalidManifest):
        read_all(files, budget)
    assert time.thread_time() - begun < 10
    assert peak() - before < 150 * 1024


def test_what_one_document_holds_is_bounded_and_what_all_hold() -> None:
    for text, path in (("[" + "[]," * 1000 + "]", "f.yaml"), ("[" + "[]," * 999 + "[]]", "f.json")):
        assert len(list(read_documents(path, text.encode(), Budget(document=70_000)))) == 1
        with pytest.raises(InvalidManifest, match="more values than"):
            list(read_documents(path, text.encode(), Budget(document=30_000)))
        budget = Budget(weight=200_000)
        with pytest.raises(InvalidManifest, match="more values than"):
            read_all([text.encode()] * 4, budget, path)


@pytest.mark.parametrize("text", ["{{ x }}", "a {% b", "<% c", "${{ d }}"])
def test_template_markers_are_known(text: str) -> None:
    assert template_marker(text)


@pytest.mark.parametrize("text", ["{}", "{ {", "${HOME}", "100%", "a < b", "}}"])
def test_plain_texts_are_no_template_markers(text: str) -> None:
    assert not template_marker(text)


scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(-1e15, 1e15)
texts = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=20)
objects = st.recursive(
    scalars | texts,
    lambda children: st.lists(children, max_size=4) | st.dictionaries(texts, children, max_size=4),
    max_leaves=15,
)


@settings(max_examples=200)
@given(st.dictionaries(texts, objects, min_size=1, max_size=4))
def test_json_is_read_the_same_from_both_kinds_of_files(value: dict[str, Any]) -> None:
    text = json.dumps(value, ensure_ascii=False)
    assert value_of(text, "f.json") == value
    assert json.dumps(value_of(text, "f.json")) == json.dumps(value_of(text, "f.yaml"))


words = ("<<: ", "!!int ", "!x ", ">-\n", "---\n", "...\n", "%YAML 1.1\n", "0x", "1e9", ": ", "- ")
tokens = st.sampled_from([*words, *"a\n &*[]{},'\"#?_"])
marks = st.sampled_from(list("|.~-+9\\\t\r\0é\ufeff\u2028\u0085"))


def read_or_refused(path: str, data: bytes) -> InvalidManifest | None:
    try:
        for document in read_documents(path, data):
            json.dumps(document.value, allow_nan=False)
    except InvalidManifest as error:
        return error
    return None


@settings(max_examples=400)
@given(st.lists(tokens | marks, max_size=40).map("".join) | st.text(max_size=60))
def test_any_text_is_read_or_refused_with_a_line(text: str) -> None:
    for path in ("f.yaml", "f.json"):
        error = read_or_refused(path, text.encode("utf-8", "surrogatepass"))
        assert error is None or re.fullmatch(re.escape(path) + ":[1-9][0-9]*", error.location)


@settings(max_examples=200)
@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    error = read_or_refused("f.yaml", data)
    assert error is None or error.location.startswith("f.yaml:")
