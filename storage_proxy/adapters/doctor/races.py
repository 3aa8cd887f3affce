"""Races between processes on this machine: locks, links, exclusive creation, renames.

Rules: a race that nobody could lose proves nothing, so each says how many turns were run. The rivals are real
processes (`rival.py`); they are killed when the doctor leaves, for whatever reason.
"""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType

import storage_proxy
from storage_proxy.adapters.doctor.findings import Facts, Finding, bad, fenced, good, untried
from storage_proxy.adapters.doctor.scratch import Scratch

RIVALS = 4
RACE_SECONDS_MAX = 40.0
_AHEAD_SECONDS = 0.02


class RivalsLost(Exception):
    """They did not start, or ended, or did not answer in time."""


class Rivals:
    def __init__(self, directory: Path, number: int = RIVALS) -> None:
        self._directory = directory
        self._number = number
        self._processes: list[subprocess.Popen[str]] = []

    def __enter__(self) -> "Rivals":
        home = str(Path(storage_proxy.__path__[0]).parent)
        paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
        words = [sys.executable, "-m", "storage_proxy.adapters.doctor.rival", str(self._directory)]
        try:
            for number in range(self._number):
                self._processes.append(
                    subprocess.Popen(  # noqa: S603 - this very interpreter, with words of our own
                        [*words, f"rival-{number}"],
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        text=True,
                        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
                        # Ctrl-C is for the doctor, who ends us.
                        start_new_session=True,
                    )
                )
            self._answers()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def race(self, kind: str, turns: int) -> list[dict[str, int]]:
        begin = time.monotonic() + _AHEAD_SECONDS
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(f"{kind} {turns} {begin}\n")
            process.stdin.flush()
        answers = [json.loads(line) for line in self._answers()]
        failed = next((answer["error"] for answer in answers if "error" in answer), None)
        if failed is not None:
            raise RivalsLost(failed)
        return answers

    def _answers(self) -> list[str]:
        # A read from a pipe has no deadline; the end of the process ends it.
        timer = threading.Timer(RACE_SECONDS_MAX, self._kill)
        timer.start()
        try:
            lines = [process.stdout.readline() for process in self._processes if process.stdout is not None]
        finally:
            timer.cancel()
        if not all(lines):
            raise RivalsLost(f"a process ended, or did not answer within {RACE_SECONDS_MAX:.0f} s")
        return lines

    def _kill(self) -> None:
        for process in self._processes:
            process.kill()

    def _end(self) -> None:
        self._kill()
        for process in self._processes:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    try:
                        pipe.close()
                    except BrokenPipeError:
                        # It had ended before it read its last line.
                        pass
            process.wait()


def race_all(scratch: Scratch, turns: int) -> list[Finding]:
    place = scratch.path / scratch.fresh("races")
    for kind in ("links", "exclusives", "renames", "locks"):
        (place / kind).mkdir(mode=0o700)
    (place / "locks" / "number").write_bytes(b"%020d" % 0)
    try:
        with Rivals(place) as rivals:
            return [
                _one_winner("link race", "linking one name", rivals.race("links", turns), turns),
                _one_winner("create race", "creating one name", rivals.race("exclusives", turns), turns),
                _always_whole(rivals.race("renames", turns), turns),
                _lock_excludes(rivals.race("locks", turns), int((place / "locks" / "number").read_bytes())),
            ]
    except RivalsLost as lost:
        return [
            untried(race, f"The processes that should race did not get through: {lost}.")
            for race in ("link race", "create race", "rename race", "lock race")
        ]


def _one_winner(probe: str, what: str, answers: list[dict[str, int]], turns: int) -> Finding:
    won, wrong = sum(answer["won"] for answer in answers), sum(answer["wrong"] for answer in answers)
    facts: Facts = {"processes": len(answers), "turns": turns, "winners": won, "wrong": wrong}
    if won == turns and not wrong:
        return good(probe, f"{len(answers)} processes {what}: one winner in each of {turns} turns.", **facts)
    return bad(
        probe,
        f"{len(answers)} processes {what}: {won} winners in {turns} turns, {wrong} of them found another's file.",
        "Use another file system: this one's names are not exclusive.",
        **facts,
    )


def _always_whole(answers: list[dict[str, int]], turns: int) -> Finding:
    torn, missing = sum(answer["torn"] for answer in answers), sum(answer["missing"] for answer in answers)
    renames = len(answers) * turns
    facts: Facts = {"processes": len(answers), "renames": renames, "torn": torn, "missing": missing}
    if not torn and not missing:
        return good(
            "rename race", f"{len(answers)} processes replacing one file: whole after each of {renames}.", **facts
        )
    return bad(
        "rename race",
        f"{len(answers)} processes replacing one file: of {renames} looks {torn} were torn, {missing} found nothing.",
        "Use another file system: on this one a rename is not atomic.",
        **facts,
    )


def _lock_excludes(answers: list[dict[str, int]], number: int) -> Finding:
    added = sum(answer["added"] for answer in answers)
    facts: Facts = {"processes": len(answers), "turns": added, "lost": added - number}
    if any(answer["timeouts"] for answer in answers):
        return untried("lock race", "A lock was not handed on in time; nothing can be said.", **facts)
    if added == number:
        return good("lock race", f"Locks exclude {len(answers)} processes of this machine ({added} turns).", **facts)
    return fenced(
        "lock race",
        f"Locks do not even exclude processes of this machine: {added - number} of {added} turns overlapped.",
        "Mount with locks; until then only the fence stands between replicas.",
        **facts,
    )
