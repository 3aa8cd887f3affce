"""Crash and fault at every call of every scenario: the promises hold whatever dies, whenever. See `sweep.py`."""

import hashlib
from collections.abc import Callable

import pytest

from storage_proxy.core.errors import StorageProxyError
from storage_proxy.core.manifest import SHA_256, SHA_512, Digest, Order, Phase, Policy, UploadId
from storage_proxy.ports import BodyBroken
from storage_proxy.testing.replicas import Replica
from tests.simulation.joiner import Joiner, final_before_its_parts, parts_in_pieces, parts_then_final
from tests.simulation.sweep import CONTENT, FAULTS, OLD, Client, Fault, Scenario, count_calls, sweep_one

LENGTH = len(CONTENT)


async def one_append(client: Client) -> None:
    await client.send(0, LENGTH, batch=LENGTH)


async def at_hand(client: Client) -> None:
    await client.send(0, LENGTH, batch=LENGTH, at_hand=True)


async def pieces_at_hand(client: Client) -> None:
    await client.send(0, 100, at_hand=True)
    await client.send(100, 100, at_hand=True)
    await client.send(200, 100, at_hand=True)


async def checkpoints_in_one_append(client: Client) -> None:
    await client.send(0, LENGTH, batch=40)


async def in_pieces(client: Client) -> None:
    await client.send(0, 100, batch=100)
    await client.send(100, 100, batch=100)
    await client.send(200, 100, batch=100)


async def broken_and_resumed(client: Client) -> None:
    await client.send(0, 130, batch=65, ending=BodyBroken())
    manifest = await client.ask()
    await client.send(manifest.prefix, LENGTH - manifest.prefix)


async def out_of_order(client: Client) -> None:
    await client.send(200, 100, batch=100)
    await client.send(0, 100, batch=100)
    await client.send(100, 100, batch=100)


async def overlapping(client: Client) -> None:
    await client.send(50, 150, batch=150)
    await client.send(50, 150, batch=150)
    await client.send(0, 120, batch=40)
    await client.send(150, 150, batch=150)


async def deferred(client: Client) -> None:
    await client.send(0, 200, batch=200)
    await client.send(200, 100, batch=100, declare=LENGTH)


async def deferred_to_an_empty_end(client: Client) -> None:
    await client.send(0, LENGTH, batch=LENGTH)
    await client.send(LENGTH, 0, declare=LENGTH)


async def nothing(client: Client) -> None:
    assert client.content == b""


async def terminated(client: Client) -> None:
    await client.send(0, 150, batch=75)
    await client.terminate()


async def refused_at_the_end(client: Client) -> None:
    try:
        await client.send(0, LENGTH, batch=LENGTH)
    except StorageProxyError:
        await client.ask()


def joiner(*lengths: int) -> Callable[[Replica, UploadId, bytes], Client]:
    def make(replica: Replica, upload: UploadId, content: bytes) -> Client:
        client = Joiner(replica, upload, content)
        client.divide(*lengths)
        return client

    return make


# A part whose final upload's replica died before it told the part so stays for as long as others.
PARTS_AGE = 8 * 86400


async def refused_in_pieces(client: Client) -> None:
    await client.send(100, 200, batch=70)
    try:
        await client.send(0, 100, batch=100)
    except StorageProxyError:
        await client.ask()


RIGHT_256 = (Digest(SHA_256, hashlib.sha256(CONTENT).hexdigest()),)
RIGHT_512 = (Digest(SHA_512, hashlib.sha512(CONTENT).hexdigest()),)
WRONG_256 = (Digest(SHA_256, hashlib.sha256(OLD).hexdigest()),)
WRONG_512 = (*RIGHT_256, Digest(SHA_512, hashlib.sha512(OLD).hexdigest()))

SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("one append", one_append),
        Scenario("at hand", at_hand),
        Scenario("at hand, replacing", at_hand, policy=Policy.REPLACE, standing=OLD),
        Scenario("pieces at hand", pieces_at_hand),
        Scenario("checkpoints in one append", checkpoints_in_one_append),
        Scenario("in pieces", in_pieces),
        Scenario("broken and resumed", broken_and_resumed),
        Scenario("out of order", out_of_order, order=Order.ANY),
        Scenario("overlapping", overlapping, order=Order.ANY),
        Scenario("deferred length", deferred, length=None),
        Scenario("deferred to an empty end", deferred_to_an_empty_end, length=None),
        Scenario("no byte at all", nothing, length=0, content=b""),
        Scenario("terminated", terminated, ends=(Phase.TERMINATED, Phase.PUBLISHED)),
        Scenario("replacing", in_pieces, policy=Policy.REPLACE, standing=OLD),
        Scenario("keeping both", one_append, policy=Policy.KEEP_BOTH, standing=OLD),
        Scenario("joined", parts_then_final, client=joiner(120, 180), settles_after=PARTS_AGE),
        Scenario("joined from pieces", parts_in_pieces, client=joiner(120, 180), settles_after=PARTS_AGE),
        Scenario("joined before", final_before_its_parts, client=joiner(120, 180), settles_after=PARTS_AGE),
        Scenario(
            "joined with one part twice",
            parts_then_final,
            client=joiner(100, 50, 0),
            content=CONTENT[:150] + CONTENT[:100],
            settles_after=PARTS_AGE,
        ),
        Scenario("refusing", refused_at_the_end, policy=Policy.REFUSE, standing=OLD, ends=(Phase.FAILED,)),
        Scenario("a right digest of one piece", one_append, declared=RIGHT_256),
        Scenario("a right digest of pieces", in_pieces, declared=RIGHT_256),
        Scenario("right digests of any order", out_of_order, order=Order.ANY, declared=RIGHT_256 + RIGHT_512),
        Scenario(
            "a right digest of what is joined",
            parts_then_final,
            client=joiner(120, 180),
            settles_after=PARTS_AGE,
            declared=RIGHT_256,
        ),
        Scenario("a wrong digest of one piece", refused_at_the_end, declared=WRONG_256, ends=(Phase.FAILED,)),
        Scenario(
            "a wrong digest of pieces", refused_in_pieces, order=Order.ANY, declared=WRONG_512, ends=(Phase.FAILED,)
        ),
    )
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
@pytest.mark.parametrize("name", SCENARIOS)
def test_every_promise_holds_whatever_strikes_at_whichever_call(name: str, fault: Fault) -> None:
    scenario = SCENARIOS[name]
    calls, ended = count_calls(scenario)
    struck = sum(sweep_one(scenario, fault, at) for at in range(1, calls + 1))
    assert struck == (calls if fault.before else ended), "a fault was planted and did not fire"
