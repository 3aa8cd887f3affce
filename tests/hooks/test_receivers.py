"""Several receivers: in order, the first refusal stands, and all of them take a notice or none has."""

from typing import Any

import pytest

from storage_proxy.core.errors import HookFailed
from storage_proxy.core.manifest import Manifest, Notice, Order, Phase, Policy, UploadId
from storage_proxy.core.target import Target
from storage_proxy.hooks.documents import Document
from storage_proxy.hooks.receivers import Receivers
from storage_proxy.ports import Asked, Verdict
from storage_proxy.testing.system import CountingEntropy, HandClock

MANIFEST = Manifest(UploadId("main", "0" * 32), 1, Phase.OPEN, 10, Order.ANY, Policy.REFUSE, Target("main", "file"))
NOTICE = Notice(3, "post-create", 0.0, 0)


class One:
    def __init__(self, reply: object = None, wants: tuple[str, ...] = ("pre-create", "post-create")) -> None:
        self.reply = reply
        self.got: list[Document] = []
        self._wants = wants

    def wants(self, kind: str) -> bool:
        return kind in self._wants

    async def send(self, document: Document) -> object:
        self.got.append(document)
        if isinstance(self.reply, Exception):
            raise self.reply
        return self.reply


def of(*receivers: One) -> Receivers:
    return Receivers(receivers, HandClock(), CountingEntropy())


async def test_the_first_refusal_stands_and_nobody_is_asked_after_it() -> None:
    first, second, third = One(), One({"RejectUpload": True, "HTTPResponse": {"Body": "no"}}), One()
    assert await of(first, second, third).ask(Asked.CREATION, MANIFEST, None) == Verdict(refusal="no")
    assert [len(one.got) for one in (first, second, third)] == [1, 1, 0]


async def test_the_last_path_stands() -> None:
    replies: list[Any] = [{"ChangeFileInfo": {"Storage": {"Path": path}}} for path in ("a", "b")]
    receivers = of(One(replies[0]), One(replies[1]), One())
    assert await receivers.ask(Asked.CREATION, MANIFEST, None) == Verdict(path="b")


async def test_only_those_who_want_it_get_it() -> None:
    one, other = One(), One(wants=("post-finish",))
    receivers = of(one, other)
    await receivers.tell(MANIFEST, NOTICE)
    await receivers.ask(Asked.CREATION, MANIFEST, None)
    assert (len(one.got), len(other.got)) == (2, 0)
    assert receivers.wants(Asked.CREATION)
    assert not receivers.wants(Asked.PUBLISHING)


async def test_a_notice_bears_the_same_id_each_time_and_a_question_never() -> None:
    one = One()
    receivers = of(one)
    for _ in range(2):
        await receivers.tell(MANIFEST, NOTICE)
        await receivers.ask(Asked.CREATION, MANIFEST, None)
    told, asked, told_again, asked_again = (document["Id"] for document in one.got)
    assert told == told_again == f"main.{'0' * 32}.3"
    assert len({told, asked, asked_again}) == 3


async def test_a_notice_that_one_has_not_taken_is_not_taken() -> None:
    with pytest.raises(HookFailed):
        await of(One(), One(HookFailed(hook="post-create", reason="answered 502"))).tell(MANIFEST, NOTICE)
