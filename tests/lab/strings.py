"""The strings of the puppets: what a test outside tells the store in a guest to do.

Rules: an act is begun, and awaited when the test wants to know. All that is waited for has a deadline.
"""

import json
import socket
import threading
from concurrent.futures import Future
from itertools import count
from pathlib import Path
from sys import executable
from types import TracebackType
from typing import Any

from tests.lab.guests import Guest

ROOT = Path(__file__).parents[2]
ACT_SECONDS = 240.0
START_SECONDS = 60.0


class Act:
    """One thing a puppet does."""

    def __init__(self, puppet: "Strings", number: int) -> None:
        self._puppet = puppet
        self._number = number
        self.stopped = threading.Event()
        self.ended: Future[Any] = Future()

    def result(self, seconds: float = ACT_SECONDS) -> Any:
        return self.ended.result(seconds)

    def wait_until_stopped(self, seconds: float = 60.0) -> None:
        assert self.stopped.wait(seconds), "it did not come to the step at which it should stop"

    def go_on(self) -> None:
        self._puppet.tell(id=self._number, act="go on")


class Strings:
    """One puppet, in one guest."""

    def __init__(self, guest: Guest, outside: str) -> None:
        self.guest = guest
        self._numbers = count(1)
        self._acts: dict[int, Act] = {}
        with socket.create_server((outside, 0)) as waiting:
            waiting.settimeout(START_SECONDS)
            address = f"{outside}:{waiting.getsockname()[1]}"
            guest.begin([executable, "-m", "tests.lab.puppet", address], log="/run/puppet.log", cwd=str(ROOT))
            try:
                self._lines, _ = waiting.accept()
            except TimeoutError:
                raise AssertionError(f"no puppet: {guest.run(['cat', '/run/puppet.log']).said}") from None
        self._lines.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self) -> "Strings":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lines.shutdown(socket.SHUT_RDWR)
        self._lines.close()

    def begin(self, act: str, **said: object) -> Act:
        number = next(self._numbers)
        begun = self._acts[number] = Act(self, number)
        self.tell(id=number, act=act, **{"with": said})
        return begun

    def do(self, act: str, **said: object) -> Any:
        return self.begin(act, **said).result()

    def tell(self, **message: object) -> None:
        self._lines.sendall(json.dumps(message).encode() + b"\n")

    def _listen(self) -> None:
        try:
            with self._lines.makefile("rb") as told:
                for line in told:
                    self._hear(json.loads(line))
        except OSError:
            pass  # the strings were cut, or the guest is gone
        for act in list(self._acts.values()):
            if not act.ended.done():
                act.ended.set_exception(ConnectionError(f"the puppet in {self.guest.name} is gone"))

    def _hear(self, message: dict[str, Any]) -> None:
        act = self._acts[message["id"]]
        if "stopped" in message:
            act.stopped.set()
        elif "failed" in message:
            act.ended.set_exception(AssertionError(f"in {self.guest.name}: {message['failed']}"))
        else:
            act.ended.set_result(message["done"])
