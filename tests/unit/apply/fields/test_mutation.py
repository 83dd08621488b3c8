"""What admission put in place of what was sent, and what the server only writes in its own way."""

from __future__ import annotations

from typing import Any

import pytest

from ocistate.apply.fields.mutation import MOST_FIELDS, overruled
from tests.support.factories.objects import config_map, deployment, obj


def field_set(value: Any, keys: dict[str, tuple[str, ...]], path: str = "") -> Any:
    """The set of an applied value's fields; ``keys`` are those of lists, by their path."""
    if isinstance(value, dict):
        return {f"f:{k}": field_set(v, keys, f"{path}.{k}") for k, v in value.items()}
    if isinstance(value, list) and path in keys:
        import json

        names = keys[path]
        if not names:
            return {f"v:{json.dumps(each)}": {} for each in value}
        return {
            "k:" + json.dumps({n: each.get(n, "TCP") for n in names}): field_set(each, keys, path)
            for each in value
        }
    return {}


KEYS = {
    ".spec.template.spec.containers": ("name",),
    ".spec.template.spec.containers.env": ("name",),
    ".spec.template.spec.containers.ports": ("containerPort", "protocol"),
    ".spec.ports": ("port", "protocol"),
    ".spec.finalizers": (),
}


def answer(sent: dict[str, Any], stored: dict[str, Any] | None = None) -> dict[str, Any]:
    """What the server answers: what it stored, with our fields in its metadata."""
    fields = field_set({k: v for k, v in sent.items() if k not in ("apiVersion", "kind")}, KEYS)
    entry = {"manager": "ocistate", "operation": "Apply", "fieldsV1": fields}
    base = sent if stored is None else stored
    return {**base, "metadata": {**base["metadata"], "uid": "u", "managedFields": [entry]}}


def spec(**parts: Any) -> dict[str, Any]:
    return obj("Thing", "t", "ex.io/v1", spec=parts)


def test_what_was_stored_as_sent_is_not_overruled() -> None:
    for sent in (config_map("a"), deployment("web"), spec(a=1, b=[{"c": [1, 2]}])):
        assert overruled(sent, answer(sent)) == ()


def test_another_value_and_a_missing_one_are_told_by_their_path() -> None:
    sent = config_map("a", labels={"team": "blue", "tier": "web"})
    stored = config_map("a", "2", labels={"team": "red", "theirs": "x"})
    assert overruled(sent, answer(sent, stored)) == (
        ".metadata.labels.team",
        ".metadata.labels.tier",
        ".data.key",
    )


def test_what_the_server_fills_in_is_no_contest() -> None:
    sent = deployment("web")
    stored = deployment("web", annotations={"added": "x"})
    pod = stored["spec"]["template"]["spec"]
    pod |= {"restartPolicy": "Always", "dnsPolicy": "ClusterFirst"}
    pod["containers"][0]["ports"][0]["protocol"] = "TCP"
    pod["containers"][0]["env"].insert(0, {"name": "INJECTED", "value": "x"})
    pod["containers"].insert(0, {"name": "sidecar", "image": "mesh"})
    stored["status"] = {"replicas": 1}
    assert overruled(sent, answer(sent, stored)) == ()


def test_items_are_found_by_their_keys() -> None:
    sent = deployment("web")
    stored = deployment("web")
    containers = stored["spec"]["template"]["spec"]["containers"]
    containers[0]["image"] = "mirror.example.com/web:1"
    containers[0]["env"][0]["value"] = "2"
    containers.insert(0, {"name": "sidecar", "image": "mesh"})
    base = ".spec.template.spec.containers[0]"
    assert overruled(sent, answer(sent, stored)) == (f"{base}.image", f"{base}.env[0].value")
    containers.pop(1)
    assert overruled(sent, answer(sent, stored)) == (base,)


def test_one_port_with_two_protocols_is_matched_with_either() -> None:
    ports = [{"port": 53, "name": "dns"}, {"port": 53, "protocol": "UDP", "name": "dns-udp"}]
    sent = obj("Service", "dns", spec={"ports": ports})
    stored = obj("Service", "dns", spec={"ports": [ports[1], {**ports[0], "protocol": "TCP"}]})
    assert overruled(sent, answer(sent, stored)) == ()


def test_sets_have_no_order_and_lists_may_get_more() -> None:
    sent = spec(finalizers=["a", "b"], args=["x", "y"], rules=[{"verbs": ["get"]}])
    more = spec(finalizers=["b", "c", "a"], args=["w", "x", "y"], rules=[{"verbs": ["get"]}, {}])
    assert overruled(sent, answer(sent, more)) == ()
    other = spec(finalizers=["b"], args=["y", "x", "w"], rules=[{"verbs": ["list"]}])
    assert overruled(sent, answer(sent, other)) == (
        ".spec.finalizers[0]",
        ".spec.args",
        ".spec.rules[0].verbs[0]",
    )


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("1000m", "1"),
        ("0.5", "500m"),
        (2, "2"),
        ("1024Mi", "1Gi"),
        ("1e3", "1k"),
        (".5", "500m"),
        ("8080", 8080),
        (1, 1.0),
        ("60m", "1h0m0s"),
        ("1.5h", "1h30m0s"),
        ("2026-01-01T01:00:00+01:00", "2026-01-01T00:00:00Z"),
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000000Z"),
        ("aGVs\nbG8=\n", "aGVsbG8="),
        ("", "10.96.0.1"),
        (0, 30001),
        (None, "x"),
        ({}, {"a": 1}),
        ([], ["a"]),
    ],
)
def test_the_same_written_otherwise_is_the_same(sent: Any, stored: Any) -> None:
    given = spec(value=sent)
    assert overruled(given, answer(given, spec(value=stored))) == ()


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("1", "2"),
        ("1000m", "2"),
        ("5m", "5h"),
        (3, 4),
        (True, False),
        (False, True),
        (True, "true"),
        ("a", {"b": "c"}),
        ({"a": "b"}, "c"),
        (["a"], "a"),
        ("1e999999999", "2"),
        ("9" * 5000, "8" * 5000),
    ],
)
def test_anything_else_is_another_value(sent: Any, stored: Any) -> None:
    given = spec(value=sent)
    assert overruled(given, answer(given, spec(value=stored))) == (".spec.value",)


def test_a_false_that_is_left_out_is_stored() -> None:
    given = spec(value=False)
    assert overruled(given, answer(given, spec())) == ()


def test_fields_that_the_server_never_gave_us_are_not_told() -> None:
    sent = spec(known="a", pruned="b")
    stored = answer(spec(known="a"))
    assert overruled(sent, stored) == ()
    bare = {**spec(known="x"), "metadata": {"name": "t"}}
    assert overruled(sent, bare) == ()


def test_what_the_server_sorts_before_it_stores_it_is_left_out() -> None:
    sent = obj("Endpoints", "e", subsets=[{"addresses": [{"ip": "10.0.0.2"}]}])
    stored = obj("Endpoints", "e", subsets=[{"addresses": [{"ip": "10.0.0.1"}]}])
    assert overruled(sent, answer(sent, stored)) == ()


def test_of_many_fields_some_are_told_and_never_a_value() -> None:
    sent = obj("Secret", "s", data={f"k{n:02}": "aHVudGVyMg==" for n in range(40)})
    stored = obj("Secret", "s", data={f"k{n:02}": "b3RoZXI=" for n in range(40)})
    told = overruled(sent, answer(sent, stored))
    assert len(told) == MOST_FIELDS
    assert told[0] == ".data.k00"
    assert "aHVudGVyMg" not in repr(told)


def test_long_lists_are_compared_in_time_that_grows_with_them() -> None:
    def given(count: int, protocol: str | None) -> dict[str, Any]:
        ports = [{"port": n} | ({"protocol": protocol} if protocol else {}) for n in range(count)]
        return obj(
            "Service", "s", spec={"ports": ports, "finalizers": [f"f{n}" for n in range(count)]}
        )

    sent, stored = given(20_000, None), given(20_000, "TCP")
    assert overruled(sent, answer(sent, stored)) == ()
    stored["spec"]["ports"][7]["port"] = 70_000
    assert overruled(sent, answer(sent, stored)) == (".spec.ports[7]",)


def test_keys_that_are_no_scalars_are_only_other_keys() -> None:
    def given(name: str) -> dict[str, Any]:
        port = {"port": {"odd": [1]}, "protocol": "TCP", "name": name}
        return obj("Service", "s", spec={"ports": [port]})

    assert overruled(given("a"), answer(given("a"), given("b"))) == (".spec.ports[0].name",)


def test_of_two_items_with_the_same_keys_one_is_enough() -> None:
    sent = deployment("web")
    stored = deployment("web", annotations={"added": "x"})
    env = stored["spec"]["template"]["spec"]["containers"][0]["env"]
    env.insert(0, {"name": "A", "value": "somebody's"})
    assert overruled(sent, answer(sent, stored)) == ()
    env.append({"name": "A", "value": "2"})
    assert overruled(sent, answer(sent, stored)) == ()
    del env[1]
    assert len(overruled(sent, answer(sent, stored))) == 1
