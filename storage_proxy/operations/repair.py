"""Mend what `verify` finds and what can be mended.

Rules: nothing is done to an upload that has damage: it is neither finished (its file would be wrong) nor swept (what is
left over may be what a person needs). Nothing expires and nothing is buried here: that is for the janitor, who knows
the service's settings. So the volume's `sweeping` must be one whose ages, but for orphans, never come
(`nothing_ends`). Each step is one that running replicas do as well, so it is safe beside them.
"""

import math
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial

from storage_proxy.core import transitions
from storage_proxy.core.errors import NotYetPublished, StorageProxyError
from storage_proxy.core.manifest import Phase, UploadId
from storage_proxy.operations.finish import UNFINISHED, carry_on
from storage_proxy.operations.service import Service, Volume
from storage_proxy.operations.verify import Discovery, Look, Report, Severity, Tell
from storage_proxy.store.inspection import Inspected, Inspection
from storage_proxy.store.sweeping import Ages


def nothing_ends(ages: Ages) -> Ages:
    """The same age for orphans; uploads and their markers are kept."""
    # `sliding`: else an upload ends at the time that its manifest tells, whatever the ages are.
    return replace(ages, open=math.inf, published=math.inf, ended=math.inf, joined=math.inf, sliding=True)


async def repair(
    service: Service,
    volume: Volume,
    orphan_seconds: float,
    *,
    only: UploadId | None = None,
    retry: bool = False,
    tell: Tell | None = None,
) -> Report:
    """As `verify`, and mend what can be mended; the report says what was done, and what is left."""
    look = Look(service, volume, orphan_seconds)
    now = await volume.run(volume.sweeping.share_time)
    for upload in await look.uploads(only):
        if tell is not None:
            tell(upload)
        looked = await look.at(upload)
        if not looked.damaged and looked.inspected is not None:
            deeds = [deed async for deed in _mended(service, volume, upload, looked.inspected, now, retry)]
            look.report.deeds += deeds
            if deeds:
                looked = await look.at(upload, counted=False)
        look.note(looked.discoveries)
    if only is None:
        look.note(await look.at_strange_names())
    return look.report


async def _mended(
    service: Service, volume: Volume, upload: UploadId, inspected: Inspected, now: float, retry: bool
) -> AsyncIterator[Discovery]:
    phase = inspected.manifest.phase if inspected.manifest is not None else None
    if phase is Phase.FAILED and retry:
        transition = partial(transitions.retry, stamp=service.stamp())
        phase = (await volume.run(partial(volume.manifests.change, upload.key, transition))).after.phase
        yield Discovery(upload, "retried", Severity.NOTE, "It had failed, and was tried again.")
    if phase in UNFINISHED:
        yield await _finished(service, upload)
    try:
        tended = await volume.run(partial(volume.sweeping.tend, upload.key, now, service.stamp()))
    except StorageProxyError as error:
        yield Discovery(upload, "not-swept", Severity.NOTE, str(error))
        return
    if inspected.manifest is None and await volume.run(partial(_is_gone, volume, upload)):
        yield Discovery(upload, "swept", Severity.NOTE, "A directory that never became an upload was removed.")
    elif tended.swept:
        count = len(tended.swept)
        yield Discovery(upload, "swept", Severity.NOTE, f"{count} file(s) nobody can need were removed.", tended.swept)


def _is_gone(volume: Volume, upload: UploadId) -> bool:
    return Inspection(volume.filesystem, volume.manifests).inspect(upload.key) is None


async def _finished(service: Service, upload: UploadId) -> Discovery:
    try:
        manifest = await carry_on(service, upload)
    except NotYetPublished:
        return Discovery(upload, "busy", Severity.NOTE, "Another replica is assembling it.")
    except StorageProxyError as error:
        return Discovery(upload, "not-finished", Severity.NOTE, f"It could not be finished: {error}")
    if manifest.phase is Phase.PUBLISHED and manifest.publication is not None:
        return Discovery(upload, "published", Severity.NOTE, f"It was published as {manifest.publication.path!r}.")
    return Discovery(upload, "not-finished", Severity.NOTE, f"It is {manifest.phase}: {manifest.reason}.")
