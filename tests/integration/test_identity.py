"""`ocistate sign --identity` as a process, against a Sigstore instance on loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import Done, ocistate
from tests.support.fakes.sigstore.authority import GITHUB, WORKFLOW
from tests.support.fakes.sigstore.services import Services, identity_token

IDENTITY = f"issuer={GITHUB},subject={WORKFLOW}"


@pytest.fixture
def sigstore() -> Iterator[Services]:
    with Services() as services:
        yield services


class Job:
    """A CI job: files, an artifact, and the Sigstore instance to use."""

    def __init__(self, folder: Path, services: Services) -> None:
        self.services = services
        self.manifests = folder / "app.yaml"
        self.manifests.write_text(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app}\ndata: {v: '1'}\n"
        )
        self.reference = f"layout:{folder / 'store'}:v1"
        self.config, self.root = folder / "config.json", folder / "trusted_root.json"
        self.config.write_text(json.dumps(services.trust_config()))
        self.root.write_text(json.dumps(services.instance.trusted_root(services.url)))

    def push(self, *options: str | Path, check: bool = True, token: str | None = None) -> Done:
        return ocistate(
            "push", self.manifests, self.reference, *options, check=check, environ=_job(token)
        )

    def sign(self, *options: str | Path, check: bool = True, token: str | None = None) -> Done:
        return ocistate(
            "sign", self.reference, "--trust-config", self.config, *options, check=check,
            environ=_job(token),
        )  # fmt: skip

    def verify(self, *options: str | Path, identity: str = IDENTITY) -> Done:
        return ocistate(
            "verify", self.reference, "--identity", identity, "--trusted-root", self.root,
            "-o", "json", *options, check=False,
        )  # fmt: skip


def _job(token: str | None) -> dict[str, str]:
    return {"SIGSTORE_ID_TOKEN": token} if token is not None else {}


@pytest.fixture
def job(tmp_path: Path, sigstore: Services) -> Job:
    return Job(tmp_path, sigstore)


def test_a_job_signs_as_itself_and_who_trusts_it_verifies_offline(job: Job) -> None:
    token = identity_token()
    pushed = job.push("--sign", "--identity", "--trust-config", job.config, token=token)
    assert WORKFLOW in pushed.err
    assert token not in pushed.out + pushed.err
    assert job.services.seen == ["/api/v2/signingCert", "/api/v1/log/entries"]

    verified = json.loads(job.verify().out)
    assert verified["verified"] is True
    assert verified["signers"] == [f"{WORKFLOW} of {GITHUB}"]
    assert len(job.services.seen) == 2, "verifying asks no one"

    stranger = job.verify(identity=IDENTITY + "x")
    assert stranger.code == 42
    assert WORKFLOW in stranger.err
    wide = r"issuer=" + GITHUB + r",subject-regexp=https://github\.com/acme/.*"
    assert job.verify(identity=wide).code == 0
    assert job.verify(identity=wide.removesuffix(".*")).code == 42


def test_tokens_come_from_files_and_variables_and_sign_attestations_too(
    job: Job, tmp_path: Path
) -> None:
    job.push()
    mail: dict[str, Any] = {
        "issuer": "https://accounts.google.com",
        "subject": "releaser@acme.example",
    }
    token = tmp_path / "token"
    token.write_text(identity_token(**mail) + "\n")
    facts = json.loads(job.sign("--identity-token", token, "-o", "json").out)
    assert facts["identity"] == f"{mail['subject']} of {mail['issuer']}"
    who = f"issuer={mail['issuer']},subject={mail['subject']}"
    assert job.verify(identity=who).code == 0

    predicate = tmp_path / "tests.json"
    predicate.write_text('{"passed": true}')
    ocistate(
        "attest", job.reference, "--type", "https://example.com/tests", "--predicate", predicate,
        "--identity-token", "env://JOB_TOKEN", "--trust-config", job.config,
        environ={"JOB_TOKEN": identity_token()},
    )  # fmt: skip
    attested = job.verify("--attestation", "https://example.com/tests")
    assert attested.code == 0, attested.err
    assert job.verify(identity=IDENTITY).code == 42, "an attestation is no signature"


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (None, "no identity here"),
        ("junk", "identity token"),
        ({"audience": "kubernetes"}, "identity token"),
        ({"lifetime": -60}, "identity token"),
        ({"secret": "the secret of quite another issuer"}, "refused"),
    ],
    ids=["none", "junk", "audience", "expired", "forged"],
)
def test_without_a_good_token_nothing_is_signed_or_pushed(
    job: Job, made: dict[str, Any] | str | None, reason: str
) -> None:
    token = identity_token(**made) if isinstance(made, dict) else made
    options = ("--sign", "--identity", "--trust-config", job.config)
    if reason == "refused":
        job.push()
        refused = job.sign("--identity", check=False, token=token)
        assert job.verify().code == 41
    else:
        refused = job.push(*options, check=False, token=token)
        assert not Path(job.reference.split(":")[1]).exists()
    assert refused.code == 31
    assert reason in refused.err
    assert not token or token not in refused.err


def test_a_log_whose_clock_is_wrong_makes_no_valid_signature(job: Job) -> None:
    job.push()
    job.services.clock_skew = timedelta(hours=1)
    job.sign("--identity", token=identity_token())
    refused = job.verify()
    assert refused.code == 42
    assert "does not hold" in refused.err


def test_services_out_of_reach_are_named(job: Job) -> None:
    job.push()
    config = json.loads(job.config.read_text())
    for urls in ("caUrls", "rekorTlogUrls"):
        config["signingConfig"][urls][0]["url"] = "http://127.0.0.1:9"
    job.config.write_text(json.dumps(config))
    refused = job.sign("--identity", check=False, token=identity_token())
    assert refused.code == 31
    assert "127.0.0.1:9" in refused.err


def test_wrong_options_are_refused(job: Job) -> None:
    job.push()
    assert job.sign("--key", "some.key", check=False).code == 2
    assert job.push("--identity", check=False).code == 2
    assert job.push("--sign", check=False).code == 2
    assert ocistate("sign", job.reference, check=False).code == 2
    assert job.sign("--identity", "--format", "both", check=False, token=identity_token()).code == 2
    broken = job.config.with_name("broken.json")
    broken.write_text("{}")
    refused = ocistate(
        "sign", job.reference, "--trust-config", broken, check=False,
        environ={"SIGSTORE_ID_TOKEN": identity_token()},
    )  # fmt: skip
    assert refused.code == 4
    for bad in ("subject=x", "issuer=x", "issuer=,subject=x", "x", "issuer=a,subject=b,issuer=c"):
        assert job.verify(identity=bad).code == 4, bad
    assert job.verify(identity="issuer=x,subject-regexp=(").code == 4
