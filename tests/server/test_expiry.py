"""When an upload expires, over HTTP: with each change anew, or at the time that its creation has told."""

from storage_proxy.operations.reap import reap
from tests.server.proxy import BYTES, TUS, Start, until


async def test_a_time_that_counts_from_the_creation_is_told_by_every_answer_and_is_over_whatever_comes_in(
    start: Start,
) -> None:
    proxy = await start(expiry={"open": 1, "sliding": False})
    volume = proxy.service.volumes["main"]
    created = await proxy.client.post("/files", headers={**TUS, "Upload-Length": "1000000"})
    path, told = created.headers["Location"], {created.headers["Upload-Expires"]}
    sent = 0

    async def over() -> bool:
        """A client that never rests, and a janitor likewise."""
        nonlocal sent
        answer = await proxy.client.patch(path, data=b"x", headers={**BYTES, "Upload-Offset": str(sent)})
        if answer.status == 204:
            sent += 1
            told.add(answer.headers["Upload-Expires"])
        await reap(proxy.service, volume)
        return answer.status == 410

    await until(over)
    assert sent >= 2
    assert told == {created.headers["Upload-Expires"]}
    assert (await proxy.client.head(path, headers=TUS)).status == 410


async def test_a_time_that_slides_is_told_anew_by_each_change(start: Start) -> None:
    proxy = await start(expiry={"open": 7200})
    path = await proxy.create(1000000)
    told: set[str] = set()
    sent = 0

    async def later() -> bool:
        nonlocal sent
        answer = await proxy.patch(path, sent, b"x")
        told.add(answer.headers["Upload-Expires"])
        sent += 1
        return len(told) > 1

    await until(later)
