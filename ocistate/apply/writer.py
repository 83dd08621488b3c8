"""Send single objects: create, server-side apply, dry run, or delete and create again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from ocistate.apply.desired.prepare import ApplyMode, DesiredObject, body
from ocistate.apply.fields.migration import has_former_manager, leave_fields, make_room, take_over
from ocistate.apply.fields.mutation import read_answer
from ocistate.apply.live import live_of
from ocistate.apply.options import Options
from ocistate.apply.plan import Action
from ocistate.apply.preview import preview
from ocistate.apply.result import ObjectState, Result, result_of
from ocistate.apply.send import send
from ocistate.backoff import Backoff
from ocistate.errors import ClusterError
from ocistate.kube import codec
from ocistate.kube.client import KubeClient
from ocistate.kube.errors import StatusError
from ocistate.kube.refusals import is_exclusive, is_immutable, is_passing
from ocistate.kube.stages import ApplyStage
from ocistate.objects import ObjectId

IS_THERE: Final = "is there: ocistate.dev/apply is ifnotpresent"
RECREATED: Final = "would be deleted and created again"
_ATTEMPTS: Final = 6
_BACKOFF: Final = Backoff(first=0.2, longest=3.2, spread=2.0)
_PATIENCE: Final = 300.0
"""Seconds that all objects together may spend waiting for another try: a webhook that is down for
thousands of them must not keep the rest waiting for the better part of an hour."""
_GONE_TIMEOUT: Final = 120.0
_POLL: Final = Backoff(first=0.05, longest=1.0, spread=0.0)


class ObjectWriter:
    """Sends the objects of one plan for their ``owner``."""

    def __init__(self, client: KubeClient, owner: str, options: Options) -> None:
        self.client = client
        self.owner = owner
        self.options = options
        self.patience = _PATIENCE
        self.there: set[ObjectId] = set()
        """Namespaces and CRDs that were to be created, and exist without our label."""

    async def write(self, action: Action, wanted: DesiredObject) -> Result:
        """Send one object. Raises ClusterError."""
        adopted = action.live is not None and action.live.adopted
        if action.live is None and wanted.stage <= ApplyStage.DEFINITIONS:
            adopted = await self.client.get(wanted.id, metadata_only=True) is not None
            if adopted:
                self.there.add(wanted.id)
        if wanted.pointers and action.live is not None and not self.options.dry_run:
            await leave_fields(self.client, wanted, _version(wanted))
        obj = body(wanted, self.owner, adopted=adopted)
        if wanted.mode is ApplyMode.IF_NOT_PRESENT and action.live is None:
            return await self._create(action, obj)
        return await self._apply(action, wanted, obj)

    async def _apply(self, action: Action, wanted: DesiredObject, obj: dict[str, Any]) -> Result:
        attempt = 0
        while True:
            attempt += 1
            try:
                if self.options.dry_run:
                    return await self._preview(action, wanted, obj)
                metadata, others = await self._send(wanted, obj)
                if self.options.takeover and has_former_manager(metadata):
                    await take_over(self.client, wanted.id, version=_version(wanted))
                    metadata, others = await self._send(wanted, obj)
                return replace(_written(action, metadata), overruled=others)
            except StatusError as error:
                if wanted.mode is ApplyMode.RECREATE and await self._helps(obj, error):
                    return await self._recreate(action, wanted, obj)
                if attempt == _ATTEMPTS or self.patience <= 0 or not is_passing(error):
                    raise
            await self._pause(attempt)

    async def _send(
        self, wanted: DesiredObject, obj: dict[str, Any]
    ) -> tuple[codec.Metadata, tuple[str, ...]]:
        """The metadata of what the server made of it, and the fields that it stored otherwise."""
        try:
            sent, data = await send(self.client, obj, force=self.options.force)
        except StatusError as error:
            if not self.options.force or not await make_room(
                self.client,
                wanted.id,
                obj,
                error,
                takeover=self.options.takeover,
                version=_version(wanted),
            ):
                raise
            sent, data = await send(self.client, obj)
        return read_answer(sent, data)

    async def _preview(self, action: Action, wanted: DesiredObject, obj: dict[str, Any]) -> Result:
        found = await preview(
            self.client,
            wanted.id,
            obj,
            force=self.options.force,
            takeover=self.options.takeover,
            version=_version(wanted),
            ignored=wanted.pointers,
        )
        state = ObjectState.APPLIED if found.changes else ObjectState.UNCHANGED
        return replace(result_of(action, state), overruled=found.overruled, preview=found)

    async def _create(self, action: Action, obj: dict[str, Any]) -> Result:
        attempt = 0
        while True:
            attempt += 1
            try:
                live = await self.client.create(obj, dry_run=self.options.dry_run)
                return _written(action, codec.decode_as(codec.PARTIAL, codec.encode(live)).metadata)
            except StatusError as error:
                if error.code == "AlreadyExists":
                    return result_of(action, ObjectState.SKIPPED, reason=IS_THERE)
                if attempt == _ATTEMPTS or self.patience <= 0 or not is_passing(error):
                    raise
            await self._pause(attempt)

    async def _helps(self, obj: Mapping[str, Any], error: StatusError) -> bool:
        """Whether an object that was refused would be accepted if there were none yet."""
        if is_immutable(error) or not is_exclusive(error):
            return is_immutable(error)
        # It may be wrong by itself: nothing is deleted for that.
        metadata = {**obj["metadata"], "name": f"{obj['metadata']['name'][:240]}-new"}
        try:
            await self.client.create({**obj, "metadata": metadata}, dry_run=True)
        except StatusError as refusal:
            return refusal.status != 422
        return True

    async def _recreate(self, action: Action, wanted: DesiredObject, obj: dict[str, Any]) -> Result:
        """Delete the object, wait until it is gone, create it again."""
        if self.options.dry_run:
            return result_of(action, ObjectState.APPLIED, reason=RECREATED)
        live = await self.client.get(wanted.id, metadata_only=True)
        if live is not None:
            uid = live["metadata"]["uid"]
            await self.client.delete(wanted.id, uid=uid)
            await self._gone(wanted.id, uid)
        result = await self._apply(action, replace(wanted, mode=ApplyMode.APPLY), obj)
        return replace(result, reason="deleted and created again")

    async def _gone(self, id: ObjectId, uid: str) -> None:
        """Wait until this very object is gone. Raises ClusterError when that takes too long."""
        deadline = self.options.clock() + _GONE_TIMEOUT
        polls = 0
        while True:
            live = await self.client.get(id, metadata_only=True)
            if live is None or live["metadata"]["uid"] != uid:
                return
            if self.options.clock() > deadline:
                held = ", ".join(live["metadata"].get("finalizers") or ()) or "nothing we see"
                raise ClusterError(
                    f"recreate {id}: still there after {_GONE_TIMEOUT:.0f} s, held by {held}",
                    hint="look at the controller that should remove the finalizer",
                )
            polls += 1
            await self.options.sleep(_POLL.delay(polls))

    async def _pause(self, attempt: int) -> None:
        pause = _BACKOFF.delay(attempt, self.options.rng())
        self.patience -= pause
        await self.options.sleep(pause)


def _written(action: Action, metadata: codec.Metadata) -> Result:
    # What the server answers is what it made of all we sent: as intact as it can be, even where
    # an admission webhook changed a part of it.
    live = live_of(metadata)
    if live is not None:
        live = replace(live, intact=True)
    before = action.live
    same = before is not None and before.resource_version == metadata.resourceVersion
    return result_of(action, ObjectState.UNCHANGED if same else ObjectState.APPLIED, live=live)


def _version(wanted: DesiredObject) -> str:
    return wanted.resource.api_version.rpartition("/")[2]
