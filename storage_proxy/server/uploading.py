"""Creating and appending, as every protocol at /files does it: from what a request wants to the operations.

Rules: nothing is read from a header here but for the body's own sake; which field says what is the protocol's to know.
"""

from dataclasses import dataclass

import structlog
from aiohttp import web

from storage_proxy.core.errors import PublishFailed, Refused, StorageProxyError, TargetNotAllowed
from storage_proxy.core.manifest import Manifest, Order, Phase, Policy, Repeat, UploadId
from storage_proxy.core.target import Target
from storage_proxy.operations.append import Appended, append
from storage_proxy.operations.create import Wanted, new_upload_id
from storage_proxy.operations.reception import Append
from storage_proxy.operations.repeat import create_once
from storage_proxy.operations.service import Service
from storage_proxy.operations.terminate import terminate
from storage_proxy.server.addresses import Addresses
from storage_proxy.server.askers import asker_of
from storage_proxy.server.bodies import RequestBody
from storage_proxy.wire import digests
from storage_proxy.wire.fields import malformed
from storage_proxy.wire.metadata import UPLOAD_METADATA, Fields, metadata_text, parse_metadata

# What clients call the name, the most telling first; Uppy sends the text "null" for a file outside any folder.
NAME_KEYS = ("relativePath", "filename", "name")
NOT_A_NAME = ("", "null")

COLLECTION = "/files"


@dataclass(frozen=True, slots=True)
class FilesRules:
    volume: str
    """for uploads that name none"""
    directory: str
    """below the volume"""
    order: Order
    policy: Policy
    metadata_bytes_max: int
    body_idle_seconds: float
    headers_shown: tuple[str, ...] = ()
    """to hooks"""


@dataclass(frozen=True, slots=True)
class Created:
    manifest: Manifest
    found: bool
    """by its Idempotency-Key: it was created before"""

    @property
    def begun(self) -> bool:
        """Bytes that come with the request come once more, and are not read: where to go on is in the answer."""
        return self.found and (self.manifest.prefix > 0 or self.manifest.phase is not Phase.OPEN)


class Uploading:
    def __init__(self, service: Service, rules: FilesRules, addresses: Addresses) -> None:
        self.service = service
        self.rules = rules
        self._addresses = addresses

    async def create(
        self,
        request: web.Request,
        metadata: str,
        length: int | None,
        order: Order,
        *,
        partial: bool = False,
        repeat: Repeat | None,
    ) -> Created:
        """`metadata`: Upload-Metadata as it came, or as it would have come."""
        upload = self.new(metadata, self.rules.volume)
        wanted = self.wanted(request, upload, metadata, length, order, partial=partial, repeat=repeat)
        manifest = await create_once(self.service, upload, wanted)
        return Created(manifest, found=bound(manifest.upload) != upload)

    def new(self, metadata: str, volume: str) -> UploadId:
        """On the volume that the metadata names, or else on this one."""
        if len(metadata) > self.rules.metadata_bytes_max:
            raise malformed(UPLOAD_METADATA, metadata, f"at most {self.rules.metadata_bytes_max} bytes")
        told = metadata_text(parse_metadata(metadata), "volume")
        if told and told not in self.service.volumes:
            raise TargetNotAllowed(path=told[:100], reason="there is no such volume")
        return bound(new_upload_id(self.service, told or volume))

    def wanted(
        self,
        request: web.Request,
        upload: UploadId,
        metadata: str,
        length: int | None,
        order: Order,
        *,
        partial: bool = False,
        repeat: Repeat | None = None,
    ) -> Wanted:
        return Wanted(
            # A part is not published: nobody's name for it can be wrong.
            target=Target(upload.volume, upload.key) if partial else self._target(parse_metadata(metadata), upload),
            length=length,
            order=order,
            policy=self.rules.policy,
            metadata=metadata,
            asker=asker_of(request, self._addresses, self.rules.headers_shown),
            # Clients that send the file's digest with every request mean the file, not this part of it.
            declared=() if partial else digests.declared(request.headers, metadata),
            partial=partial,
            repeat=repeat,
        )

    def location(self, request: web.Request, upload: UploadId) -> dict[str, str]:
        path = f"{COLLECTION}/{upload}"
        headers = {"Location": self._addresses.location(request.headers, request.remote, path)}
        # RFC 9530 4: which digests were taken up, for one that is not known was ignored.
        return headers | digests.render_wanted() if digests.REPR_DIGEST in request.headers else headers

    def collections(self, request: web.Request) -> frozenset[str]:
        """The paths under which the client of this request may know where uploads are."""
        return self._addresses.spellings(request.headers, request.remote, COLLECTION)

    async def append(self, request: web.Request, upload: UploadId, wanted: Append) -> Appended:
        async with RequestBody(request, self.service.draining, self.rules.body_idle_seconds) as body:
            return await append(self.service, upload, wanted, body)

    async def first_bytes(
        self, request: web.Request, upload: UploadId, wanted: Append, *, kept: bool = False
    ) -> Appended:
        """Those that came with the creation. A client that is refused never learns where its upload was, or forgets;
        unless it is `kept`, to be found by its Idempotency-Key."""
        try:
            return await self.append(request, upload, wanted)
        except PublishFailed:
            raise  # all its bytes came, and are kept for the operator
        except Refused:
            if not kept:
                await self.forget(upload)
            raise

    async def terminate(self, request: web.Request, upload: UploadId) -> None:
        await terminate(self.service, upload, asker_of(request, self._addresses, self.rules.headers_shown))

    async def forget(self, upload: UploadId) -> None:
        try:
            await terminate(self.service, upload)
        except StorageProxyError:
            return  # then it expires

    def _target(self, fields: Fields, upload: UploadId) -> Target:
        names = (metadata_text(fields, key) for key in NAME_KEYS)
        name = next((name for name in names if name not in NOT_A_NAME), upload.key)
        # Only the settings' part is joined: a slash at the client's end of the seam is an absolute path, and refused.
        directory = self.rules.directory.strip("/")
        return Target(upload.volume, f"{directory}/{name}" if directory else name)


def named(request: web.Request) -> UploadId:
    return bound(UploadId.parse(request.match_info["upload"]))


def bound(upload: UploadId) -> UploadId:
    """From now on every log line of this request bears it."""
    structlog.contextvars.bind_contextvars(upload=str(upload))
    return upload
