"""Many uploads that come slowly, and somebody who asks how far one is while others upload."""

import sys
import threading
import time
from functools import partial

from bench.plan import Load, Plan, at_once, elapsed
from bench.uploads import Client, fresh_name

TICK_BYTES = 16 * 1024
TICK_SECONDS = 1.0
ASKERS = 4
QUESTIONS_PER_SECOND = 200
READY = "ready"


def slowly(plan: Plan) -> Load:
    """`count` uploads at once, each over its own connection, 16 KiB of each a second for `seconds`; what is more than
    that comes before, as fast as it goes. Memory is to be looked at in the second half of the slow time, when what the
    fast beginning needed has had time to go. W7."""
    ticks = round(plan.seconds / TICK_SECONDS)
    bulk = plan.size - ticks * TICK_BYTES
    clients = [Client(plan.urls[0], plan.content) for _ in range(plan.count)]
    begun = time.perf_counter()
    uploads = [client.create(fresh_name("slow"), plan.size) for client in clients]
    for client, upload in zip(clients, uploads, strict=True):
        client.begin_patch(upload, 0, plan.size)
        client.send_part(upload, 0, bulk)
    slow_from = time.monotonic()
    for tick in range(ticks):
        for number, (client, upload) in enumerate(zip(clients, uploads, strict=True)):
            _sleep_until(slow_from + (tick + number / plan.count) * TICK_SECONDS)
            client.send_part(upload, bulk + tick * TICK_BYTES, TICK_BYTES)
    window = (slow_from + plan.seconds / 2, time.monotonic())
    for client, upload in zip(clients, uploads, strict=True):
        client.end_patch(upload, 0, plan.size)
        client.close()
    return Load(elapsed(begun), 2 * plan.count, uploads, window=window)


def asking(plan: Plan) -> Load:
    """HEAD of uploads that nobody writes to, so many times a second, until standard input ends. Time counts from when
    a question was due: one that had to wait for the one before it has waited. Each asker asks for an upload of its
    own, for some servers let nobody look at an upload while somebody else does. W8."""
    clients = [Client(plan.urls[0], plan.content) for _ in range(ASKERS)]
    uploads = [client.create(fresh_name("asked"), plan.size) for client in clients]
    for client, upload in zip(clients, uploads, strict=True):
        client.patch(upload, 0, plan.size // 2)
    over = threading.Event()
    threading.Thread(target=_until_told, args=(over,), daemon=True).start()
    # Whoever has started this waits for the line before there is anything else to do.
    print(READY, flush=True)
    times: list[float] = []
    due_at: list[float] = []
    begun = time.perf_counter()

    def ask(number: int, client: Client) -> None:
        due = time.monotonic() + number / QUESTIONS_PER_SECOND
        while not over.is_set():
            _sleep_until(due)
            client.head(uploads[number]).expect("upload-offset", str(plan.size // 2))
            times.append(time.monotonic() - due)
            due_at.append(due)
            due += ASKERS / QUESTIONS_PER_SECOND

    at_once([partial(ask, number, client) for number, client in enumerate(clients)])
    seconds = elapsed(begun)
    for client, upload in zip(clients, uploads, strict=True):
        client.patch(upload, plan.size // 2, plan.size - plan.size // 2)
    return Load(seconds, len(times) + 3 * ASKERS, uploads, {"HEAD": times, "due": due_at})


def _until_told(over: threading.Event) -> None:
    sys.stdin.read()
    over.set()


def _sleep_until(due: float) -> None:
    if (seconds := due - time.monotonic()) > 0:
        time.sleep(seconds)
