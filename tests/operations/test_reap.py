"""A round of the janitor: one upload in trouble is told of, and the others are tended all the same."""

from collections.abc import Callable

import pytest

from storage_proxy.core.errors import (
    ManifestUnreadable,
    ShareFault,
    ShareStalled,
    StorageProxyError,
    UploadBusy,
    UploadNotFound,
)
from storage_proxy.core.events import CarryOnFailed, Event, UploadExpired, VolumeSurveyed
from storage_proxy.core.manifest import Order, Policy, UploadId
from storage_proxy.core.target import Target
from storage_proxy.operations.create import Wanted, create, new_upload_id
from storage_proxy.operations.reap import reap
from storage_proxy.testing.filesystem import SimulatedShare
from storage_proxy.testing.replicas import AGES, VOLUME, Replica

TROUBLE: list[Callable[[], StorageProxyError]] = [
    lambda: ShareFault(operation="read", reason="Input/output error"),
    lambda: UploadBusy(),
    lambda: UploadNotFound(upload="main.x"),
    lambda: ManifestUnreadable(upload="main.x", reason="it is not JSON"),
]


class Bench:
    """Three uploads that are overdue; the first of them is sick."""

    def __init__(self) -> None:
        self.share = SimulatedShare()
        self.replica = Replica(self.share, "one")
        self.sick: str | None = None
        self.error: StorageProxyError | None = None
        self.share.before_call = self.fail

    async def fill(self) -> list[UploadId]:
        made = []
        for number in range(3):
            upload = new_upload_id(self.replica.service, VOLUME)
            wanted = Wanted(Target(VOLUME, f"file {number}"), 10, Order.ANY, Policy.KEEP_BOTH)
            await create(self.replica.service, upload, wanted)
            made.append(upload)
        self.share.now += AGES.open + 1
        found = [UploadId(VOLUME, key) for key in list(self.replica.volume.sweeping.keys())]
        assert sorted(found, key=str) == sorted(made, key=str)
        return found

    def fail(self, replica: str, operation: str, paths: tuple[str, ...]) -> None:
        if self.error is not None and self.sick is not None and any(self.sick in path for path in paths):
            raise self.error

    def told(self, kind: type[Event]) -> list[UploadId]:
        return [fact.upload for fact in self.replica.listener.events if isinstance(fact, kind)]


@pytest.mark.parametrize("error", TROUBLE, ids=lambda error: type(error()).__name__)
async def test_one_sick_upload_keeps_the_janitor_from_no_other(error: Callable[[], StorageProxyError]) -> None:
    bench = Bench()
    first, *others = await bench.fill()
    bench.sick, bench.error = first.key, error()
    assert await reap(bench.replica.service, bench.replica.volume)
    assert bench.told(UploadExpired) == others
    (failed,) = [fact for fact in bench.replica.listener.events if isinstance(fact, CarryOnFailed)]
    assert (failed.upload, failed.error, failed.fault) == (first, str(error()), type(error()).__name__)
    assert [fact.phases for fact in bench.replica.listener.events if isinstance(fact, VolumeSurveyed)] == [
        (("expired", 2),)
    ]


async def test_a_volume_that_does_not_answer_ends_the_round() -> None:
    """Each of the others would only be waited for as long."""
    bench = Bench()
    first, *_ = await bench.fill()
    bench.sick, bench.error = first.key, ShareStalled(volume=VOLUME, seconds=30.0)
    with pytest.raises(ShareStalled):
        await reap(bench.replica.service, bench.replica.volume)
    assert bench.told(UploadExpired) == []
