"""The order of things: groups one after the other, in each group round by round, in each round server by server."""

import dataclasses
import itertools
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.calls import share_calls, system_calls
from bench.connection import Wrong
from bench.disks import CannotMount, mounted
from bench.measuring import Measured, measure
from bench.memory import Filler
from bench.plan import NotOffered
from bench.servers import Server
from bench.works import COUNTED, COUNTED_SERVERS, GIB, MEMORY_FILLED, Case

DISK_SIZE = 20 * GIB
SHORT_DISK_SIZE = GIB
# Only these are drawn as curves.
CURVES = ("growth",)


class Run:
    """One run of the benchmark; `wrong` are the servers that answered wrong, each with its sentence."""

    def __init__(
        self, home: Path, servers: Sequence[Server], missing: dict[str, str], *, short: bool, rounds: int
    ) -> None:
        self._home, self._short, self._rounds = home, short, rounds
        self._filler = None if short else Filler(home)
        self._servers = {server.name: server for server in servers if server.name not in missing}
        self._missing = missing
        self._found: dict[str, dict[str, Any]] = {}
        self._notes: list[str] = []
        self.wrong: list[str] = []

    def everything(self, cases: Sequence[Case], *, calls: bool) -> dict[str, Any]:
        begun = time.monotonic()
        for (_, disk), together in itertools.groupby(cases, lambda case: (case.group, case.disk)):
            self._group(list(together), disk)
        counted = self._count() if calls else {}
        if self._filler is not None:
            self._filler.forget()
        return {
            "short": self._short,
            "minutes": round((time.monotonic() - begun) / 60, 1),
            "servers": {
                server.name: {"version": server.version, "settings": server.settings, "synced": server.synced}
                for server in self._servers.values()
            },
            "missing": self._missing,
            "notes": self._notes,
            "wrong": self.wrong,
            "cases": self._found,
            "calls": counted,
        }

    def _group(self, cases: Sequence[Case], disk: str | None) -> None:
        with ExitStack() as stack:
            home = self._home / "store"
            home.mkdir(exist_ok=True)
            if disk is not None:
                try:
                    size = SHORT_DISK_SIZE if self._short else DISK_SIZE
                    home = stack.enter_context(mounted(disk, size, self._home))
                except CannotMount as reason:
                    self._notes.append(f"{disk}: not measured, {reason}")
                    print(self._notes[-1])
                    return
            for number in range(self._rounds):
                for case in cases:
                    if number < (case.rounds or self._rounds):
                        self._round(case, home, first=number == 0)

    def _round(self, case: Case, home: Path, *, first: bool) -> None:
        for name in case.servers:
            if (server := self._servers.get(name)) is None:
                continue
            found = self._found.setdefault(case.id, {}).setdefault(name, {"rounds": []})
            options = case.short if self._short and case.short else case.options
            try:
                filler = self._filler if case.group in MEMORY_FILLED else None
                measured = measure(case.load, server, home, options, hashed=first, beside=case.beside, filler=filler)
            except NotOffered as reason:
                found["not_offered"] = str(reason)
                continue
            except (Wrong, RuntimeError, OSError) as error:
                found["wrong"] = str(error)
                self.wrong.append(f"{case.id}, {name}: {error}")
                print(f"{case.id:36} {name:28} WRONG: {error}", flush=True)
                continue
            found["rounds"].append(_kept(measured, curve=case.group in CURVES))
            print(f"{case.id:36} {name:28} {line(measured)}", flush=True)

    def _count(self) -> dict[str, Any]:
        counted: dict[str, Any] = {}
        home = self._home / "store"
        home.mkdir(exist_ok=True)
        for title, load, options in COUNTED:
            for name in COUNTED_SERVERS:
                if (server := self._servers.get(name)) is None:
                    continue
                try:
                    counted.setdefault(title, {})[name] = system_calls(server, load, options, home)
                    if name == "ours":
                        counted[title]["ours, calls of the share"] = share_calls(server, load, options, home)
                except Wrong as error:
                    self.wrong.append(f"calls of {title}, {name}: {error}")
                print(f"counted: {title}, {name}", flush=True)
        return counted


def _kept(measured: Measured, *, curve: bool) -> dict[str, Any]:
    kept: dict[str, Any] = rounded(dataclasses.asdict(measured))
    for series in kept["series"].values():
        if not curve:
            del series["curve"]
    return kept


def rounded(value: Any) -> Any:
    """Five digits are more than any of this is worth."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {name: rounded(one) for name, one in value.items()}
    if isinstance(value, list):
        return [rounded(one) for one in value]
    return value


def line(measured: Measured) -> str:
    """What a person wants to see while it runs."""
    said = [
        f"{measured.throughput:7.1f} MiB/s {measured.rate:7.1f} uploads/s",
        f"CPU {measured.cpu_per_gib:7.2f} s/GiB {measured.cpu_seconds / measured.uploads * 1000:8.2f} ms/upload",
        f"{measured.peak_memory / 2**20:4.0f} MiB",
        f"load's CPU {measured.load_cpu_seconds / measured.seconds:4.0%}",
    ]
    if measured.last_byte_to_answer is not None:
        said.append(f"last byte to answer {measured.last_byte_to_answer * 1000:.0f} ms")
    if measured.window_memory is not None and not measured.series:
        said.append(f"{(measured.window_memory - measured.idle_memory) / measured.uploads / 1024:.0f} KiB each")
    said += [f"{name} p99 {one['p99'] * 1000:.1f} ms" for name, one in measured.series.items()]
    return ", ".join(said)
