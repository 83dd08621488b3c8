"""Connections that others cannot use up, and what was renewed meanwhile is used."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from ocistate.errors import ClusterUnavailable
from ocistate.kube.client import KubeClient
from ocistate.kube.discovery import ApiResource
from ocistate.kube.kubeconfig import find_access
from ocistate.kube.transport import Transport
from testbed.certs import Authority

CONFIG_MAPS = ApiResource(
    group="", version="v1", kind="ConfigMap", plural="configmaps", namespaced=True
)
LIST = b'{"metadata": {"resourceVersion": "1"}, "items": []}'


@asynccontextmanager
async def serving(tls: ssl.SSLContext | None, token: Callable[[], str]) -> AsyncIterator[int]:
    """Answers a list to who has the token; a watch is never answered."""

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                if "watch=true" in head:
                    await reader.read()
                    return
                well = f"Bearer {token()}" in head
                writer.write(b"HTTP/1.1 200 OK\r\n" if well else b"HTTP/1.1 401 No\r\n")
                writer.write(b"Content-Length: %d\r\n\r\n%s" % (len(LIST), LIST))
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(meet, "127.0.0.1", 0, ssl=tls) as server:
        yield server.sockets[0].getsockname()[1]


def kubeconfig(path: Path, server: str, token: str, **cluster: Any) -> Path:
    content = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
        "clusters": [{"name": "c", "cluster": {"server": server, **cluster}}],
        "users": [{"name": "c", "user": {"token": token}}],
    }
    path.write_text(yaml.safe_dump(content))
    return path


def client_of(path: Path, attempts: int = 1) -> KubeClient:
    def find() -> Any:
        return find_access(path)

    return KubeClient(Transport(find(), again=find, attempts=attempts))


def test_any_number_of_watches_keeps_no_request_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ocistate.kube.session.MAX_STREAMS", 3)
    monkeypatch.setattr("ocistate.kube.session._POOL_SECONDS", 0.5)

    async def watch(client: KubeClient) -> None:
        async for _ in client.watch_lines(CONFIG_MAPS, since="1"):
            pass

    async def go() -> None:
        path = tmp_path / "c"
        async with serving(None, lambda: "one") as port:
            kubeconfig(path, f"http://127.0.0.1:{port}", "one")
            await crowd(client_of(path))

    async def crowd(client: KubeClient) -> None:
        async with client:
            watches = [asyncio.create_task(watch(client)) for _ in range(4)]
            done, _ = await asyncio.wait(watches, return_when=asyncio.FIRST_COMPLETED)
            # One too many is told so, instead of waiting for ever.
            with pytest.raises(ClusterUnavailable, match="too many requests"):
                await done.pop()
            async with asyncio.timeout(2):
                assert (await client.list(CONFIG_MAPS)).items == []
            for each in watches:
                each.cancel()
            await asyncio.gather(*watches, return_exceptions=True)

    asyncio.run(go())


def authority(folder: Path) -> tuple[Path, ssl.SSLContext]:
    folder.mkdir()
    made = Authority.make(folder)
    pair = made.issue("server", "CN=server", addresses=["IP:127.0.0.1"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    return made.pair.certificate, context


@pytest.mark.parametrize("inline", [False, True])
def test_a_ca_that_was_renewed_is_read_again(tmp_path: Path, inline: bool) -> None:
    (old, _), (new, tls) = authority(tmp_path / "old"), authority(tmp_path / "new")
    used = tmp_path / "ca.crt"

    async def go() -> None:
        async with serving(tls, lambda: "one") as port:
            path = tmp_path / "kubeconfig"

            def trust(ca: Path) -> None:
                used.write_bytes(ca.read_bytes())
                data = base64.b64encode(ca.read_bytes()).decode()
                said = {"certificate-authority-data": data}
                if not inline:
                    said = {"certificate-authority": str(used)}
                kubeconfig(path, f"https://127.0.0.1:{port}", "one", **said)

            trust(old)
            async with client_of(path) as client:
                for _ in range(2):
                    with pytest.raises(ClusterUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
                        await client.list(CONFIG_MAPS)
                await asyncio.sleep(0.01)
                seconds, why = client.locked_out()
                assert seconds > 0
                assert "not trusted" in why
                trust(new)
                assert (await client.list(CONFIG_MAPS)).items == []
                assert client.locked_out() == (0.0, "")

    asyncio.run(go())


def test_a_token_that_was_renewed_is_read_again(tmp_path: Path) -> None:
    wanted = ["one"]

    async def go() -> None:
        async with serving(None, lambda: wanted[0]) as port:
            server = f"http://127.0.0.1:{port}"
            path = kubeconfig(tmp_path / "c", server, "one")
            async with client_of(path) as client:
                await client.list(CONFIG_MAPS)
                wanted[0] = "two"
                kubeconfig(path, server, "two")
                await client.list(CONFIG_MAPS)

    asyncio.run(go())
