"""Real parts to build and test against: a Kubernetes control plane, registries, a Docker engine.

    from testbed.controlplane import ControlPlane
    from testbed.registries import Distribution

    with ControlPlane() as cluster, Distribution() as registry:
        print(cluster.kubeconfig, registry.host)

Nothing here is a mock and nothing is downloaded as a binary: the servers and the other people's
clients are built from source by Go, once, into a cache folder (see `testbed.tools`). Everything
listens on 127.0.0.1 and ends with the process that started it. Only the standard library is
needed, so that the test bed works before anything is installed.
"""

from __future__ import annotations


class TestbedError(Exception):
    """A part of the test bed could not be built or started; the message says what to do."""

    __test__ = False  # the name begins with "Test", but pytest must not collect it


__all__ = ["TestbedError"]
