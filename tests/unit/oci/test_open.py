"""Which store a reference opens."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocistate.errors import ConfigError
from ocistate.oci.local.archive import ArchiveStore
from ocistate.oci.local.layout import LayoutStore
from ocistate.oci.mirrors import MirroredStore
from ocistate.oci.open import open_store
from ocistate.oci.options import Mirror, StoreOptions
from ocistate.oci.registry.store import RegistryStore
from ocistate.reach import Reach
from ocistate.reference import parse_reference


@pytest.mark.parametrize(("scheme", "kind"), [("layout", LayoutStore), ("archive", ArchiveStore)])
def test_folders_and_archives(scheme: str, kind: type, tmp_path: Path) -> None:
    reference = parse_reference(f"{scheme}:{tmp_path}/store")
    assert isinstance(open_store(reference), kind)
    with pytest.raises(ConfigError, match="may not be reached from here"):
        open_store(reference, StoreOptions(reach=Reach()))


def test_a_registry_and_its_mirrors() -> None:
    reference = parse_reference("oci://registry.example.com/shop")
    assert isinstance(open_store(reference), RegistryStore)
    mirror = Mirror(reference=parse_reference("oci://mirror.example.com/shop"), insecure=True)
    store = open_store(reference, StoreOptions(), [mirror])
    assert isinstance(store, MirroredStore)
    assert [str(each.reference) for each in store.stores] == [
        str(reference), str(mirror.reference),
    ]  # fmt: skip
    first, second = store.stores
    assert isinstance(first, RegistryStore)
    assert isinstance(second, RegistryStore)
    # With another one to ask, not all patience is spent on each.
    assert first._http.options.attempts == second._http.options.attempts == 2
    assert (first._http.options.insecure, second._http.options.insecure) == (False, True)
