"""One of several processes that race on one directory: `python -m storage_proxy.adapters.doctor.rival DIRECTORY NAME`.

Rules: it does one line of standard input at a time (`<race> <turns> <begin>`), answers each with one line of JSON, and
ends with its input, so that it never outlives the doctor. Turns begin at the same ticks of the machine's clock in every
rival, or they would hardly ever meet.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from storage_proxy.adapters.posix import PosixFilesystem
from storage_proxy.ports import LockTimeout, NameMissing, NameTaken, Region

TICK_SECONDS = 0.001
LOCK_SECONDS = 20.0
TEXT_BYTES = 4096

Answer = dict[str, int]


def text_of(author: str, turn: int) -> bytes:
    """A text that shows by itself whether it is whole."""
    line = f"{author} {turn}\n".encode()
    return (line * (TEXT_BYTES // len(line) + 1))[: TEXT_BYTES - 1] + b"."


def is_whole(text: bytes) -> bool:
    author, _, turn = text.partition(b"\n")[0].decode(errors="replace").partition(" ")
    return turn.isdigit() and text == text_of(author, int(turn))


@dataclass(frozen=True, slots=True)
class Race:
    path: str
    me: str
    turns: int
    begin: float

    @property
    def files(self) -> PosixFilesystem:
        return PosixFilesystem(self.path)

    def ticks(self) -> Iterator[int]:
        for turn in range(self.turns):
            if (ahead := self.begin + turn * TICK_SECONDS - time.monotonic()) > 0:
                time.sleep(ahead)
            yield turn


def links(race: Race) -> Answer:
    """Everybody links a file of his own to the same name; `won` counts the turns that this one believes to be his."""
    files, me = race.files, race.me.encode()
    files.create_durably(f"own.{race.me}", me)
    return _won(race, lambda turn: files.link(f"own.{race.me}", f"goal.{turn}"), "goal")


def exclusives(race: Race) -> Answer:
    """Everybody creates the same name."""
    files = race.files
    return _won(race, lambda turn: files.create_durably(f"only.{turn}", race.me.encode()), "only")


def _won(race: Race, attempt: Callable[[int], None], name: str) -> Answer:
    won = wrong = 0
    for turn in race.ticks():
        try:
            attempt(turn)
            claimed = True
        except NameTaken:
            claimed = False
        # Over NFS a repeated call whose first answer was lost says "taken" although it has succeeded.
        mine = race.files.read(f"{name}.{turn}") == race.me.encode()
        won += mine or claimed
        wrong += claimed and not mine
    return {"won": won, "wrong": wrong}


def renames(race: Race) -> Answer:
    """Everybody replaces the same file and looks: there must always be one whole text."""
    files, torn, missing = race.files, 0, 0
    for turn in race.ticks():
        files.create_durably(f"staged.{race.me}", text_of(race.me, turn))
        files.rename(f"staged.{race.me}", "info")
        try:
            torn += not is_whole(files.read("info"))
        except NameMissing:
            missing += 1
    return {"torn": torn, "missing": missing}


def locks(race: Race) -> Answer:
    """Everybody adds to one number, by reading and writing it under the lock: additions that meet are lost."""
    files, added, timeouts = race.files, 0, 0
    for _ in range(race.turns):
        try:
            held = files.lock("lock", Region.MANIFEST, LOCK_SECONDS)
        except LockTimeout:
            timeouts += 1
            break
        with held:
            number = int(files.read("number"))
            fd = os.open(f"{race.path}/number", os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.pwrite(fd, b"%020d" % (number + 1), 0)
            finally:
                os.close(fd)
            added += 1
    return {"added": added, "timeouts": timeouts}


RACES: dict[str, Callable[[Race], Answer]] = {
    "links": links,
    "exclusives": exclusives,
    "renames": renames,
    "locks": locks,
}


def main() -> None:
    directory, me = sys.argv[1:]
    print("ready", flush=True)
    for line in sys.stdin:
        kind, turns, begin = line.split()
        try:
            answer: dict[str, int | str] = dict(RACES[kind](Race(f"{directory}/{kind}", me, int(turns), float(begin))))
        except Exception as error:  # whatever it was, the doctor has to hear of it
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
