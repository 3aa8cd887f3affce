"""Figures out of the results of a run: medians of rounds, by the name of the case and of the server.

Rules: a figure that was not measured is None, and everything made of it too; nothing is ever guessed.
"""

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Round = dict[str, Any]

MIB = 2**20


@dataclass(frozen=True)
class Figure:
    """What is read from a round, and how it is written."""

    title: str
    read: Callable[[Round], float | None]
    form: str = "{:.1f}"


def _series(name: str, what: str) -> Callable[[Round], float | None]:
    return lambda one: one["series"][name][what] * 1000 if name in one["series"] else None


def _each(one: Round) -> float | None:
    """KiB of memory for each upload, above the idle server."""
    seen = one["window_memory"]
    return None if seen is None else (seen - one["idle_memory"]) / one["uploads"] / 1024


def _answered(one: Round) -> float | None:
    seconds = one["last_byte_to_answer"]
    return None if seconds is None else float(seconds) * 1000


THROUGHPUT = Figure("MiB/s", lambda one: one["bytes"] / one["seconds"] / MIB, "{:.0f}")
RATE = Figure("uploads/s", lambda one: one["uploads"] / one["seconds"], "{:.0f}")
CPU_PER_GIB = Figure("CPU s/GiB", lambda one: one["cpu_seconds"] / (one["bytes"] / 2**30), "{:.2f}")
CPU_PER_UPLOAD = Figure("CPU ms/upload", lambda one: one["cpu_seconds"] / one["uploads"] * 1000, "{:.2f}")
PEAK = Figure("peak memory, MiB", lambda one: one["peak_memory"] / MIB, "{:.0f}")
WRITTEN = Figure("written per byte", lambda one: one["written"] / one["bytes"], "{:.2f}")
LOAD = Figure("load generator's CPU", lambda one: one["load_cpu_seconds"] / one["seconds"] * 100, "{:.0f} %")
ANSWERED = Figure("last byte to answer, ms", _answered, "{:.0f}")
EACH = Figure("KiB each", _each, "{:.0f}")
IDLE = Figure("idle, MiB", lambda one: one["idle_memory"] / MIB, "{:.0f}")
HEAD_P99 = Figure("HEAD p99, ms", _series("HEAD", "p99"), "{:.1f}")
HEAD_P50 = Figure("HEAD median, ms", _series("HEAD", "p50"), "{:.1f}")
HEADS = Figure("HEAD answers/s", lambda one: one["series"]["HEAD"]["count"] / one["seconds"], "{:.0f}")
UPLOAD_P50 = Figure("median, ms", _series("upload", "p50"))
UPLOAD_P99 = Figure("p99, ms", _series("upload", "p99"))
EARLY = Figure("first 20, ms", _series("PATCH", "early"), "{:.2f}")
LATE = Figure("last 20, ms", _series("PATCH", "late"), "{:.2f}")


class Results:
    def __init__(self, told: dict[str, Any]) -> None:
        self.told = told

    def servers(self, case: str) -> list[str]:
        return list(self.told["cases"].get(case, {}))

    def rounds(self, case: str, server: str) -> list[Round]:
        found: list[Round] = self.told["cases"].get(case, {}).get(server, {}).get("rounds", [])
        return found

    def trouble(self, case: str, server: str) -> str | None:
        """Why there are no figures."""
        of_server = self.told["cases"].get(case, {}).get(server, {})
        if "wrong" in of_server:
            return f"answered wrong: {of_server['wrong']}"
        reason: str | None = of_server.get("not_offered")
        return reason

    def values(self, case: str, server: str, figure: Figure) -> list[float]:
        if self.trouble(case, server) is not None:
            return []
        return [value for one in self.rounds(case, server) if (value := figure.read(one)) is not None]

    def median(self, case: str, server: str, figure: Figure) -> float | None:
        values = self.values(case, server, figure)
        return statistics.median(values) if values else None

    def text(self, case: str, server: str, figure: Figure) -> str:
        value = self.median(case, server, figure)
        return "-" if value is None else figure.form.format(value)

    def curve(self, case: str, server: str) -> list[float]:
        """Milliseconds."""
        rounds = self.rounds(case, server)
        return [value * 1000 for value in rounds[0]["series"]["PATCH"]["curve"]] if rounds else []
