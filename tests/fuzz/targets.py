"""The parsers of untrusted bytes, each with what must hold whatever it is given.

A target may raise nothing: what its parser is documented to raise is caught here, and anything else
is a bug, as are a broken property, a second of CPU or memory without end. ``corpus/NAME`` holds the
inputs that fuzzing starts from: good ones, and what found a bug. The signed ones are signed by the
key whose public half is ``corpus/key.pub``, or under ``corpus/trusted_root.json``, for the digest
DIGEST.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2

from ocistate.api.stack import parse_stack
from ocistate.artifact.inventory import parse_inventory
from ocistate.artifact.manifests import read_resources
from ocistate.artifact.unpack import Limits, decompress, safe_path, untar
from ocistate.canonical import canonical_json, digest_of, parse_json
from ocistate.cel import EvaluationError, cel_value, check_syntax, is_true
from ocistate.channel.approval import parse_approval
from ocistate.channel.pipeline import parse_pipeline
from ocistate.channel.report import _parse as _parse_report
from ocistate.channel.rings import parse_rings, parse_rings_text, read_rollout
from ocistate.channel.trust import ChannelTrust, verify_record
from ocistate.documents.fields import parse_duration
from ocistate.errors import (
    ArtifactError,
    ConfigError,
    InvalidManifest,
    InvalidRecord,
    InvalidReference,
    InvalidReport,
    InvalidSignature,
    KeyFileError,
    OcistateError,
    ProtocolError,
    StoreError,
)
from ocistate.kube.kubeconfig import access_from_text
from ocistate.oci.local.archive import ArchiveStore
from ocistate.oci.model import parse_index, parse_manifest
from ocistate.oci.registry.challenges import check_realm, parse_challenges
from ocistate.oci.registry.credentials import find_credentials
from ocistate.oci.registry.links import check_link
from ocistate.reference import parse_reference
from ocistate.signing.claims import read_claims
from ocistate.signing.decide import decide
from ocistate.signing.envelope import parse_bundle, parse_statement
from ocistate.signing.found import FoundSignature, SignatureFormat
from ocistate.signing.keyless import certify
from ocistate.signing.keys import load_private_key, load_public_key
from ocistate.signing.policy.model import TrustedKey, policy_of_flags, trust_root
from ocistate.signing.policy.parse import parse_policy
from ocistate.signing.simple import SIGNATURE_ANNOTATION

CORPUS: Final = Path(__file__).parent / "corpus"
DIGEST: Final = "sha256:" + "ab" * 32
REPOSITORY: Final = "registry.example.com/shop"

_KEY: Final = load_public_key((CORPUS / "key.pub").read_bytes())
_POLICY: Final = policy_of_flags([_KEY], allow_legacy=True)
_CHANNEL: Final = ChannelTrust(keys=(TrustedKey(name="channel", key=_KEY),))
ROOT: Final = trust_root((CORPUS / "trusted_root.json").read_bytes(), "corpus")
# In memory where there is such a place: a file is written for each input.
_SCRATCH: Final = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108
_SMALL: Final = Limits(files=64, total_bytes=1 << 20, file_bytes=1 << 18)
_NOW: Final = datetime(2026, 11, 24, 20, tzinfo=UTC)


def fuzz_json(data: bytes) -> None:
    """What is read can be written, and is read again as the same."""
    try:
        value = parse_json(data)
    except ValueError:
        return
    assert parse_json(canonical_json(value)) == value


def fuzz_manifest(data: bytes) -> None:
    """A manifest and an index keep their bytes."""
    for parse in (parse_manifest, parse_index):
        with suppress(ProtocolError):
            assert parse(data).raw == data


def fuzz_bundle(data: bytes) -> None:
    """Nothing counts but what the key signed, of this digest."""
    _signature("bundle", data)
    with suppress(InvalidSignature):
        parse_statement(parse_bundle(data).payload)


def fuzz_keyless(data: bytes) -> None:
    """No one is named but whom the private root of the corpus certified, for what was signed."""
    try:
        bundle = parse_bundle(data)
        certified = certify(bundle, ROOT)
    except InvalidSignature:
        return
    assert certified.issuer == "https://token.actions.githubusercontent.com"
    assert parse_statement(bundle.payload).digests == (DIGEST,)


def fuzz_dsse(data: bytes) -> None:
    """The same for bare envelopes."""
    _signature("dsse", data)
    with suppress(InvalidSignature):
        parse_statement(data)


def fuzz_simple(data: bytes) -> None:
    """The same for simple signing: the annotation, a line feed, the payload."""
    annotation, _, payload = data.partition(b"\n")
    _signature("simple", payload, {SIGNATURE_ANNOTATION: annotation.decode("latin-1")})


def counts(
    format_: SignatureFormat, data: bytes, annotations: dict[str, str] | None = None
) -> bool:
    """Whether it is a signature by the corpus's key."""
    found = FoundSignature(origin="fuzz", format=format_, raw=data, annotations=annotations or {})
    return decide(_POLICY, DIGEST, [found]).error is None


def _signature(
    format_: SignatureFormat, data: bytes, annotations: dict[str, str] | None = None
) -> None:
    found = FoundSignature(origin="fuzz", format=format_, raw=data, annotations=annotations or {})
    claims = read_claims(found, DIGEST)
    assert (claims.predicate_type + claims.key + claims.identity + claims.created).isprintable()
    for attestation in ("", claims.predicate_type):
        decision = decide(_POLICY, DIGEST, [found], attestation=attestation)
        (verdict,) = decision.verdicts
        assert verdict.counts == (verdict.statement is not None)
        if verdict.statement is not None:
            # Only the payloads of the corpus are signed: whatever else changed, not what is said.
            assert verdict.statement.digests == (DIGEST,)
            assert verdict.statement.predicate in ({}, {"passed": 7})


def fuzz_record(data: bytes) -> None:
    """A channel's record is followed only as it was signed."""
    try:
        trusted = verify_record(
            data, DIGEST, channel="prod", repository=REPOSITORY, trust=_CHANNEL, now=_NOW
        )
    except OcistateError:
        return
    assert trusted.record.sequence == 7
    assert dict(trusted.record.subjects) == {REPOSITORY: DIGEST}


def fuzz_key(data: bytes) -> None:
    """Key files, public and private."""
    with suppress(KeyFileError):
        load_public_key(data).verify(b"signature", b"data")
    with suppress(KeyFileError):
        signer = load_private_key(data, lambda: b"")
        assert signer.public_key.verify(signer.sign(b"data"), b"data")


def fuzz_tar(data: bytes) -> None:
    """A layer's paths stay within the folder; a gzip stream does not grow without end."""
    with suppress(ArtifactError):
        data = decompress(data, _SMALL.total_bytes)
    with suppress(ArtifactError):
        for path in untar(data, limits=_SMALL, skip_links=True):
            assert safe_path(path) == path
            assert not path.startswith("/")
            assert ".." not in path.split("/")


def fuzz_archive(data: bytes) -> None:
    """A store in one file: what is handed out is what its digest says."""

    async def read(path: Path) -> None:
        async with ArchiveStore(parse_reference(f"archive:{path}")) as store:
            for tag in await store.tags():
                with suppress(StoreError):
                    manifest = await store.fetch_manifest(tag)
                    assert digest_of(manifest.raw) == manifest.descriptor.digest
                    await store.referrers(manifest.descriptor.digest)

    with tempfile.NamedTemporaryFile(dir=_SCRATCH, suffix=".tar") as file:
        file.write(data)
        file.flush()
        with suppress(StoreError, ArtifactError):
            asyncio.run(read(Path(file.name)))


def fuzz_config(data: bytes) -> None:
    """An artifact's inventory."""
    with suppress(ArtifactError):
        inventory = parse_inventory(data)
        assert all(entry.path.isprintable() for entry in inventory.resources)


def fuzz_yaml(data: bytes) -> None:
    """Manifests, as they are read from artifacts of others."""
    with suppress(InvalidManifest):
        for resource in read_resources("fuzz.yaml", data):
            canonical_json(resource.object)


def fuzz_reference(data: bytes) -> None:
    """A reference means the same when it is printed and read again."""
    try:
        reference = parse_reference(data.decode("latin-1"))
    except InvalidReference:
        return
    again = parse_reference(str(reference))
    assert (again.base, again.target) == (reference.base, reference.target)


def fuzz_policy(data: bytes) -> None:
    """Policies of any JSON."""
    with suppress(ConfigError):
        parse_policy(_object(data), read=lambda material: b"")


def fuzz_stack(data: bytes) -> None:
    """Stacks of any JSON."""
    with suppress(ConfigError):
        parse_stack(_object(data))


def fuzz_kubeconfig(data: bytes) -> None:
    """A kubeconfig from a tenant's Secret: no file and no program of this machine is named."""
    with suppress(ConfigError):
        access = access_from_text(data.decode("latin-1"))
        assert access.plugin is None


def fuzz_pullsecret(data: bytes) -> None:
    """Credentials of a pull Secret can be sent."""
    with suppress(ConfigError):
        found = find_credentials("registry.example.com", data, repository="shop/web")
        assert found is None or found.identity_token or found.basic.isascii()


def fuzz_report(data: bytes) -> None:
    """What a cluster's report says, without its signature."""
    with suppress(InvalidReport, InvalidSignature):
        report = _parse_report(data)
        assert report.silent_at > report.at >= report.since


def fuzz_approval(data: bytes) -> None:
    """What an approver says is said again the same."""
    with suppress(ValueError):
        approval = parse_approval(_object(data))
        assert parse_approval(approval.predicate()) == approval


def fuzz_plan(data: bytes) -> None:
    """How artifacts go from channel to channel and from ring to ring."""
    value = _object(data)
    with suppress(ConfigError):
        parse_pipeline(value, read=lambda material: b"")
    with suppress(ConfigError):
        parse_rings(value)
    with suppress(ConfigError):
        parse_rings_text(data.decode("latin-1"))
    with suppress(InvalidRecord):
        read_rollout(value, _NOW)


def fuzz_duration(data: bytes) -> None:
    """A duration can be added to a time."""
    seconds = parse_duration(data.decode("latin-1"))
    if seconds is not None:
        assert seconds >= 0
        assert _NOW + timedelta(seconds=seconds) >= _NOW


def fuzz_cel(data: bytes) -> None:
    """An expression on an object is true, false, or can't be evaluated; and so is a hostile one."""
    expression, _, text = data.partition(b"\n")
    if check_syntax(expression.decode("latin-1")):
        return
    with suppress(EvaluationError):
        variables = {"object": cel_value(_object(text))}
        is_true(expression.decode("latin-1"), variables, steps=2_000)


def fuzz_link(data: bytes) -> None:
    """Where a registry leads: our HTTP client goes to the very host that was looked at."""
    base = "https://registry.example.com/v2/shop/blobs/uploads/"
    with suppress(ProtocolError):
        target = check_link(base, data.decode("latin-1"), "registry.example.com")
        ours, theirs = urlsplit(target), httpx2.URL(target)
        assert ours.hostname == theirs.host.lower()
        assert ours.port in (theirs.port, {"http": 80, "https": 443}[theirs.scheme])


def fuzz_challenge(data: bytes) -> None:
    """What a registry answers instead of a token."""
    for challenge in parse_challenges([data.decode("latin-1")]):
        with suppress(ProtocolError):
            check_realm(challenge.parameters.get("realm", ""), "https://registry.example.com")


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {"spec": value}


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    name.removeprefix("fuzz_"): target
    for name, target in list(globals().items())
    if name.startswith("fuzz_")
}
"""By name; each has a folder of the corpus."""


def seeds(name: str) -> list[bytes]:
    """The inputs that a target starts from, in a fixed order."""
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]
