"""A client of the crash sweep that sends its content as parts, and joins them."""

from contextlib import suppress
from dataclasses import dataclass, field, replace

from storage_proxy.core.errors import Contended, Refused, Unavailable
from storage_proxy.core.manifest import Manifest, Phase
from storage_proxy.core.target import Target
from storage_proxy.operations.concatenate import concatenate
from storage_proxy.operations.create import Wanted, new_upload_id
from storage_proxy.testing.replicas import VOLUME
from tests.simulation.sweep import Client


@dataclass
class Joiner(Client):
    """`parts` are in the order in which they are joined; one may be there twice."""

    parts: list[Client] = field(default_factory=list)
    wanted: Wanted | None = None
    joined: bool = False
    """a final upload was answered with 201"""

    def divide(self, *lengths: int) -> None:
        """Into parts of these lengths; a length that is 0 is the first part once more."""
        start = 0
        for length in lengths:
            if length == 0:
                self.parts.append(self.parts[0])
                continue
            upload = new_upload_id(self.replica.service, VOLUME)
            self.parts.append(Client(self.replica, upload, self.content[start : start + length]))
            start += length

    async def create(self, wanted: Wanted) -> None:
        self.wanted = wanted
        for part in self._each():
            target = Target(VOLUME, part.upload.key)
            await part.create(replace(wanted, target=target, length=len(part.content), declared=(), partial=True))
        # What the sweep asks before it goes on: there is something to go on with.
        self.created = True

    def _each(self) -> list[Client]:
        return list({part.upload: part for part in self.parts}.values())

    async def join(self) -> None:
        assert self.wanted is not None
        whole = all(part.acknowledged and part.acknowledged[0].end == len(part.content) for part in self.parts)
        uploads = tuple(part.upload for part in self.parts)
        text = "final;" + " ".join(f"/files/{upload}" for upload in uploads)
        wanted = replace(self.wanted, length=None)
        manifest = await concatenate(self.replica.service, self.upload, wanted, text, uploads)
        self.joined = True
        if whole and manifest.phase is Phase.PUBLISHED:
            self._note(manifest)

    async def end_parts(self) -> None:
        """As a client may once its final upload has been answered: the parts are not needed any more."""
        for part in self._each():
            await part.terminate()

    async def go_on(self) -> Manifest:
        for _ in range(40):
            try:
                if not self.joined:
                    await self._complete_parts()
                    # A server gives each creation an id of its own.
                    self.upload = new_upload_id(self.replica.service, VOLUME)
                    await self.join()
                manifest = await self.ask()
            except (Contended, Unavailable):
                continue
            if manifest.phase is Phase.WAITING:
                await self._complete_parts()
            elif manifest.phase in (Phase.PUBLISHED, Phase.FAILED, Phase.TERMINATED, Phase.EXPIRED):
                return manifest
            await self.replica.rest()
        raise AssertionError(f"the final upload does not come to an end: {manifest}")

    async def _complete_parts(self) -> None:
        for part in self._each():
            part.replica = self.replica
            if not part.terminating:
                manifest = await part.go_on()
                assert manifest.phase is Phase.WHOLE, f"a part ended as {manifest.phase}"


async def parts_then_final(client: Client) -> None:
    assert isinstance(client, Joiner)
    for part in client._each():
        await part.send(0, len(part.content), batch=len(part.content))
    await client.join()
    await client.end_parts()


async def parts_in_pieces(client: Client) -> None:
    assert isinstance(client, Joiner)
    first, second = client._each()
    await first.send(0, 50, batch=50)
    await first.send(50, len(first.content) - 50, batch=40)
    await second.send(0, len(second.content), batch=90)
    await client.join()
    await client.ask()


async def final_before_its_parts(client: Client) -> None:
    assert isinstance(client, Joiner)
    first, *others = client._each()
    await first.send(0, len(first.content), batch=len(first.content))
    await client.join()
    await first.terminate()
    for part in others:
        await part.send(0, len(part.content), batch=50)
    await client.replica.rest()
    with suppress(Refused):
        await client.ask()
