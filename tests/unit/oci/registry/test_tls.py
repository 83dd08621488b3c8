"""TLS settings of a registry: given by name, or found in its folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocistate.errors import ConfigError
from ocistate.oci.options import ClientCertificate, StoreOptions
from ocistate.oci.registry.tls import Trust, find_trust

HOST = "registry.example.com:5000"
PAIR = ClientCertificate(certificate=b"certificate", key=b"key")


def folder(home: Path) -> Path:
    path = home / ".config/containers/certs.d" / HOST
    path.mkdir(parents=True)
    return path


def test_without_settings_the_system_decides(tmp_path: Path) -> None:
    trust = find_trust(HOST, StoreOptions(), {"HOME": str(tmp_path)})
    assert trust == Trust()
    assert not trust.is_given


def test_a_named_ca_replaces_the_system_and_the_folder(tmp_path: Path) -> None:
    (folder(tmp_path) / "other.crt").write_bytes(b"")
    trust = find_trust(HOST, StoreOptions(ca_data=b"pem"), {"HOME": str(tmp_path)})
    assert (trust.instead, trust.ca_data, trust.ca_files) == (True, b"pem", ())


def test_a_client_certificate_alone_keeps_the_system_cas() -> None:
    trust = find_trust(HOST, StoreOptions(client_certificate=PAIR), {})
    assert (trust.instead, trust.certificate, trust.is_given) == (False, PAIR, True)


def test_the_folder_of_a_registry_adds_cas_and_a_client_certificate(tmp_path: Path) -> None:
    here = folder(tmp_path)
    for name, data in (("ca.crt", b"ca"), ("client.cert", b"certificate"), ("client.key", b"key")):
        (here / name).write_bytes(data)
    trust = find_trust(HOST, StoreOptions(), {"HOME": str(tmp_path)})
    assert (trust.ca_files, trust.certificate, trust.instead) == ((here / "ca.crt",), PAIR, False)


def test_a_folder_without_anything_of_use_is_as_none(tmp_path: Path) -> None:
    (folder(tmp_path) / "README").write_bytes(b"")
    assert not find_trust(HOST, StoreOptions(), {"HOME": str(tmp_path)}).is_given


def test_a_client_certificate_without_its_key_is_an_error(tmp_path: Path) -> None:
    (folder(tmp_path) / "client.cert").write_bytes(b"certificate")
    with pytest.raises(ConfigError, match="has no key beside it"):
        find_trust(HOST, StoreOptions(), {"HOME": str(tmp_path)})


def test_another_ca_file_is_another_trust(tmp_path: Path) -> None:
    path = tmp_path / "ca.crt"
    path.write_bytes(b"one")
    trust = Trust(ca_files=(path,))
    before = trust.mark
    assert trust.mark == before
    path.unlink()
    assert trust.mark != before


def test_a_ca_that_is_no_pem_is_an_error() -> None:
    with pytest.raises(ConfigError, match="the registry's CA cannot be used"):
        Trust(ca_data=b"\xff", instead=True).context(ours=True)


def test_a_client_certificate_that_cannot_be_used_is_an_error() -> None:
    with pytest.raises(ConfigError, match="the client certificate cannot be used"):
        Trust(certificate=PAIR, instead=True).context(ours=True)


def test_others_never_see_the_client_certificate() -> None:
    Trust(certificate=PAIR).context(ours=False)  # loading it would fail


def test_keys_are_not_shown() -> None:
    assert repr(PAIR) == "ClientCertificate(certificate=b'certificate')"
