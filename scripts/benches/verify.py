"""Verifying a key-signed artifact, beside cosign and beside one bare check of a signature."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benches.common.measure import Figures, against, below, measure, median, ocistate, waited
from ocistate.oci import open_store
from ocistate.ops.signing.gather import gather_signatures
from ocistate.ops.signing.verify import verify_artifact
from ocistate.reference import parse_reference
from ocistate.signing.envelope import parse_bundle
from ocistate.signing.keys import PublicKey, load_public_key
from ocistate.signing.policy.model import policy_of_flags
from testbed.registries import ReferrersRegistry
from testbed.tools import ensure

_SIGSTORE = """
import sys
from ocistate.cli.main import main
code = main(sys.argv[1:])
raise SystemExit(code or sum(name.partition(".")[0] == "sigstore" for name in sys.modules))
"""


def run(size: int | None = None) -> Figures:
    """``size`` is how often each is done, 30 times by default."""
    times = size or 30
    with tempfile.TemporaryDirectory() as name, ReferrersRegistry() as registry:
        root = Path(name)
        (root / "m.yaml").write_text("apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n")
        environ = {"OCISTATE_PASSWORD": ""}
        measure(ocistate("keygen", str(root / "k")), environ=environ)
        sign = ("--sign", "--key", str(root / "k.key"))
        places = {"layout": f"layout:{root}/store:v1", "registry": f"{registry.host}/bench:v1"}
        for place in places.values():
            measure(ocistate("push", str(root / "m.yaml"), place, *sign), environ=environ)
        key = load_public_key((root / "k.pub").read_bytes())
        warm, bare = asyncio.run(_warm(places["layout"], key, times))
        public = ("--key", str(root / "k.pub"))
        return {
            "verify, CPU (floor: parsing the same bytes, one check)": against(
                warm, bare, unit="ms", most=10
            ),
            **_processes(places["registry"], public, times),
            "modules of sigstore imported": below(
                _sigstore(places["registry"], *public), unit="modules", most=0
            ),
        }


async def _warm(reference: str, key: PublicKey, times: int) -> tuple[float, float]:
    """CPU milliseconds of this process: of a whole verification; of reading and parsing the same
    bytes, and its one ECDSA check."""
    parsed = parse_reference(reference)
    policies = (policy_of_flags([key]),)
    async with open_store(parsed) as store:
        digest = (await store.resolve("v1")).digest
        (found,) = await gather_signatures(store, digest)
        bundle = parse_bundle(found.raw)
        manifest = await store.fetch_manifest(digest)
        whole, bare = [], []
        for _ in range(times):
            begun = time.process_time()
            verified = await verify_artifact(store, digest, policies)
            whole.append((time.process_time() - begun) * 1000)
            assert verified.satisfied
            begun = time.process_time()
            for text in (manifest.raw, found.raw):
                json.loads(text)
            assert key.verify(bundle.signature, bundle.signed)
            bare.append((time.process_time() - begun) * 1000)
    return median(whole), median(bare)


def _processes(reference: str, public: tuple[str, str], times: int) -> Figures:
    cosign = [str(ensure("cosign")["cosign"]), "verify", *public, reference]
    cosign += ["--insecure-ignore-tlog=true", "--allow-http-registry"]
    ours, theirs = [], []
    for _ in range(times):
        ours.append(measure(ocistate("verify", reference, *public)))
        theirs.append(measure(cosign))

    return {
        "ocistate verify beside cosign verify": waited(
            median([run.wall * 1000 for run in ours]),
            floor=median([run.wall * 1000 for run in theirs]),
            unit="ms",
            most=400,
        ),
        "ocistate verify, memory": below(
            median([run.megabytes for run in ours]),
            unit="MB",
            most=80,
        ),
    }


def _sigstore(reference: str, *public: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", _SIGSTORE, "verify", reference, *public],
        capture_output=True,
        check=False,
    )
    assert b"Verified" in done.stderr, done.stderr
    return done.returncode
