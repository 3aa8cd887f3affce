"""Whether cost grows with what has been uploaded: many PATCHes of one upload, and many open uploads."""

import time
from functools import partial

from bench.large import ANY_ORDER
from bench.plan import Load, Plan, at_once, elapsed
from bench.uploads import Client, Upload, fresh_name

BETWEEN = 16
SAMPLE = 20


def chunks(plan: Plan) -> Load:
    """One upload in `count` PATCHes, each timed."""
    client = Client(plan.urls[0], plan.content)
    begun = time.perf_counter()
    upload = client.create(fresh_name("chunks"), plan.count * plan.piece)
    times = [_timed_patch(client, upload, number * plan.piece, plan.piece) for number in range(plan.count)]
    return Load(elapsed(begun), 1 + plan.count, [upload], {"PATCH": times})


def gap(plan: Plan) -> Load:
    """The same in any order, the first piece last: nothing can be put in its place before."""
    client = Client(plan.urls[0], plan.content)
    begun = time.perf_counter()
    upload = client.create(fresh_name("gap"), plan.count * plan.piece, ANY_ORDER)
    times = [_timed_patch(client, upload, number * plan.piece, plan.piece) for number in range(1, plan.count)]
    _timed_patch(client, upload, 0, plan.piece)
    return Load(elapsed(begun), 1 + plan.count, [upload], {"PATCH": times})


def open_uploads(plan: Plan) -> Load:
    """`count` uploads are begun and stay open; the first and the last few are timed, one at a time."""
    clients = [Client(plan.urls[0], plan.content) for _ in range(BETWEEN)]
    times: list[float] = []
    timed: list[Upload] = []

    def begin(client: Client, count: int) -> None:
        for _ in range(count):
            client.patch(client.create(fresh_name("open"), plan.size), 0, plan.size // 2)

    def begin_timed() -> None:
        for _ in range(SAMPLE):
            upload = clients[0].create(fresh_name("open"), plan.size)
            times.append(_timed_patch(clients[0], upload, 0, plan.size // 2))
            timed.append(upload)

    begun = time.perf_counter()
    begin_timed()
    at_once([partial(begin, client, (plan.count - 2 * SAMPLE) // BETWEEN) for client in clients])
    begin_timed()
    seconds = elapsed(begun)
    for upload in timed:
        clients[0].patch(upload, plan.size // 2, plan.size - plan.size // 2)
    return Load(seconds, 2 * plan.count + len(timed), timed, {"PATCH": times})


def _timed_patch(client: Client, upload: Upload, offset: int, length: int) -> float:
    begun = time.perf_counter()
    client.patch(upload, offset, length)
    return elapsed(begun)
