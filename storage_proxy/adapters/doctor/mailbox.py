"""How two doctors on two machines talk, with nothing between them but the share they doubt.

Rules: one file for each direction, `mail.jsonl` in each doctor's own directory, written by its owner only and only
ever added to, so that neither a stale name nor a torn line can be misread: what is opened anew shows at least what was
synced before (close-to-open), and a line counts once its end is there. They find each other by listing `.uploads`.

    hello       I am here (host, kernel, process)
    invite      let us two (to a doctor whose token is greater)
    accept      yes (to the first that has invited)
    begin       agreed; what follows is the examination
"""

import json
import os
import platform
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from storage_proxy.adapters.doctor.scratch import Scratch

MAIL = "mail.jsonl"
PAUSE_SECONDS = 0.002
SEEK_PAUSE_SECONDS = 0.1
# How long an accepted invitation may take to be followed by `begin`.
AGREEMENT_SECONDS = 5.0

_DOCTOR = re.compile(r"doctor\.([0-9a-f]{32})")

Value = str | int | float | bool | None
Letter = Mapping[str, Value]


class PartnerLost(Exception):
    """It has not answered in time."""


def boot_id() -> str:
    """Which kernel this is: two containers of one machine share it, and with it the cache of one mount."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return platform.node()


class Mailbox:
    """Our own letters, and a partner's."""

    def __init__(self, scratch: Scratch) -> None:
        self.scratch = scratch
        self.partner: str | None = None
        self._read = 0
        self._fd = os.open(scratch.path / MAIL, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self.post("hello", host=platform.node(), boot=boot_id(), process=os.getpid(), made=scratch.made_staging)

    def close(self) -> None:
        os.close(self._fd)

    def post(self, subject: str, **facts: Value) -> None:
        os.write(self._fd, json.dumps({"subject": subject, **facts}).encode() + b"\n")
        os.fsync(self._fd)

    def letters(self, token: str) -> list[Letter]:
        """All of a doctor's letters so far; none if it has gone."""
        try:
            text = (self.scratch.staging / f"doctor.{token}" / MAIL).read_bytes()
        except OSError:
            return []
        # Without what comes after the last end of a line: it may still be on its way.
        return [json.loads(line) for line in text.split(b"\n")[:-1] if line]

    def expect(self, subject: str, seconds: float) -> Letter:
        """The partner's next letter, which must have this subject."""
        assert self.partner is not None, "found before"
        deadline = time.monotonic() + seconds
        while len(letters := self.letters(self.partner)) <= self._read:
            if not letters:
                raise PartnerLost("it has gone")
            if time.monotonic() > deadline:
                raise PartnerLost(f"no answer to {subject!r} within {seconds:.0f} s")
            time.sleep(PAUSE_SECONDS)
        letter = letters[self._read]
        self._read += 1
        if letter["subject"] != subject:
            raise PartnerLost(f"it said {letter['subject']!r} instead of {subject!r}")
        return letter

    def has_come(self) -> bool:
        """Whether the next letter is there; `expect` reads it."""
        assert self.partner is not None, "found before"
        return len(self.letters(self.partner)) > self._read

    # ---- finding each other ------------------------------------------------------------------------------------

    def find(self, seconds: float) -> Letter | None:
        """The hello of the doctor we have agreed with; None: nobody else was there in time."""
        deadline = time.monotonic() + seconds
        invited: set[str] = set()
        refused: set[str] = set()
        while time.monotonic() < deadline:
            for token, letters in self._others():
                if token > self.scratch.token:
                    if token not in invited:
                        invited.add(token)
                        self.post("invite", to=token)
                    if _says(letters, "accept", self.scratch.token):
                        self.post("begin", to=token)
                        return self._agreed(token)
                elif token not in refused and _says(letters, "invite", self.scratch.token):
                    refused.add(token)
                    self.post("accept", to=token)
                    if self._begins(token):
                        return self._agreed(token)
            time.sleep(SEEK_PAUSE_SECONDS)
        return None

    @property
    def leads(self) -> bool:
        assert self.partner is not None, "found before"
        return self.scratch.token < self.partner

    def _others(self) -> Iterator[tuple[str, list[Letter]]]:
        for name in sorted(os.listdir(self.scratch.staging)):
            found = _DOCTOR.fullmatch(name)
            if found and found[1] != self.scratch.token and (letters := self.letters(found[1])):
                yield found[1], letters

    def _begins(self, token: str) -> bool:
        deadline = time.monotonic() + AGREEMENT_SECONDS
        while time.monotonic() < deadline:
            if _says(self.letters(token), "begin", self.scratch.token):
                return True
            time.sleep(PAUSE_SECONDS)
        return False

    def _agreed(self, token: str) -> Letter:
        self.partner = token
        letters = self.letters(token)
        # Whichever of the two leaves last removes what one of them has made.
        self.scratch.made_staging = self.scratch.made_staging or bool(letters[0]["made"])
        # What comes after the agreement is the examination.
        agreed = "begin" if token < self.scratch.token else "accept"
        self._read = 1 + next(n for n, letter in enumerate(letters) if _is(letter, agreed, self.scratch.token))
        return letters[0]


def _says(letters: list[Letter], subject: str, to: str) -> bool:
    return any(_is(letter, subject, to) for letter in letters)


def _is(letter: Letter, subject: str, to: str) -> bool:
    return letter["subject"] == subject and letter.get("to") == to
