"""Large uploads: in one PATCH or in pieces, several at once, one over several connections."""

import queue
import time
from functools import partial

from bench.connection import Answer
from bench.plan import Load, NotOffered, Plan, at_once, elapsed
from bench.uploads import Client, Upload, fresh_name

CONNECTIONS = 4
ANY_ORDER = "Upload-Order: any"


def one(plan: Plan) -> Load:
    """One upload after the other's end, in one PATCH or in pieces: W1, W2, W6."""
    client = Client(plan.urls[0], plan.content)
    begun = time.perf_counter()
    upload = client.create(fresh_name("one"), plan.size)
    answer = client.send(upload, plan.piece)
    seconds = elapsed(begun)
    client.close()
    return Load(seconds, 1 + _patches(plan), [upload], last_byte_to_answer=answer.answered_at - answer.sent_at)


def _patches(plan: Plan) -> int:
    return -(-plan.size // plan.piece) if plan.piece else 1


def several(plan: Plan) -> Load:
    """Some uploads at once, each over a connection of its own: W3."""
    clients = [Client(plan.urls[number % len(plan.urls)], plan.content) for number in range(plan.count)]
    uploads: list[Upload] = []

    def send(client: Client) -> None:
        upload = client.create(fresh_name("several"), plan.size)
        client.send(upload, plan.piece)
        uploads.append(upload)

    begun, from_then = time.perf_counter(), time.monotonic()
    at_once([partial(send, client) for client in clients])
    window = (from_then, time.monotonic())
    return Load(elapsed(begun), plan.count * (1 + _patches(plan)), uploads, window=window)


def any_order(plan: Plan) -> Load:
    """One upload over four connections: each takes the next piece that nobody has taken yet. W5."""
    clients = [Client(plan.urls[number % len(plan.urls)], plan.content) for number in range(CONNECTIONS)]
    offsets: queue.SimpleQueue[int] = queue.SimpleQueue()
    for offset in range(0, plan.size, plan.piece):
        offsets.put(offset)
    answers: list[Answer] = []
    begun = time.perf_counter()
    upload = clients[0].create(fresh_name("spread"), plan.size, ANY_ORDER)

    def send(client: Client) -> None:
        while not offsets.empty():
            try:
                offset = offsets.get_nowait()
            except queue.Empty:
                return
            answers.append(client.patch(upload, offset, min(plan.piece, plan.size - offset)))

    at_once([partial(send, client) for client in clients])
    seconds = elapsed(begun)
    last = max(answers, key=lambda answer: answer.sent_at)
    return Load(seconds, 1 + _patches(plan), [upload], last_byte_to_answer=last.answered_at - last.sent_at)


def concatenated(plan: Plan) -> Load:
    """One upload over four connections, as clients of TUS 1.0 do it: four partial uploads, each a quarter, and a final
    one that joins them. W5."""
    clients = [Client(plan.urls[number % len(plan.urls)], plan.content) for number in range(CONNECTIONS)]
    if "concatenation" not in clients[0].extensions():
        raise NotOffered("it does not announce concatenation")
    quarter = -(-plan.size // CONNECTIONS)
    parts: dict[int, Upload] = {}
    answers: list[Answer] = []

    def send(number: int, client: Client) -> None:
        begin = number * quarter
        name = fresh_name("part")
        part = client.create(name, min(quarter, plan.size - begin), "Upload-Concat: partial", begin=begin)
        answers.append(client.send(part, plan.piece))
        parts[number] = part

    begun = time.perf_counter()
    at_once([partial(send, number, client) for number, client in enumerate(clients)])
    joined = " ".join(parts[number].target for number in range(CONNECTIONS))
    upload = clients[0].create(fresh_name("joined"), None, f"Upload-Concat: final;{joined}")
    upload = Upload(upload.target, upload.name, plan.size)
    # Some servers answer before the file is there; it is when HEAD says so.
    clients[0].wait_for(upload)
    seconds = elapsed(begun)
    last = max(answer.sent_at for answer in answers)
    return Load(seconds, 2 * CONNECTIONS + 2, [upload], last_byte_to_answer=begun + seconds - last)
