"""The whole examination of one directory, in order: the mount's options, small questions, races, figures, a partner.

Rules: everything that asks the share runs in a thread that can be left behind, so that a hung mount ends in a sentence
and not in a hung doctor; what cannot be asked is `untried` and the rest goes on. After a stall nothing more is asked.
"""

import errno
import os
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from storage_proxy.adapters.doctor import mount_options, probes, races, speeds
from storage_proxy.adapters.doctor.findings import Finding, Grade, bad, good, note, untried
from storage_proxy.adapters.doctor.mailbox import Mailbox
from storage_proxy.adapters.doctor.partner import examine_together
from storage_proxy.adapters.doctor.scratch import STAGING_IN_THE_WAY, Scratch
from storage_proxy.adapters.doctor.speeds import Scale
from storage_proxy.adapters.mounts import mount_of, mounts_below
from storage_proxy.core.errors import StorageProxyError
from storage_proxy.core.target import STAGING

T = TypeVar("T")

# What no answer within means that the mount hangs; a race or a measurement has this on top of its own bound.
STALL_SECONDS = 60.0
# The examination with a partner, once it is found: four questions, each with its own deadlines.
TOGETHER_SECONDS = 180.0

Tell = Callable[[str], None]


class CouldNotLook(Exception):
    """A sentence: the directory is not there, may not be written to, or does not answer."""


@dataclass(frozen=True, slots=True)
class Wanted:
    sync: bool = True
    """what the service's settings say"""
    partner_seconds: float | None = None
    """wait so long for a doctor on another machine; None: ask for none"""
    scale: Scale = Scale()  # noqa: RUF009 - frozen, so one for all


def examine(root: Path, wanted: Wanted, tell: Tell = lambda doing: None) -> list[Finding]:
    """`tell` hears what is being looked at. CouldNotLook."""
    root = _bounded(partial(_existing, root), STALL_SECONDS)
    findings = [*_bounded(partial(_mount_findings, root), STALL_SECONDS), _syncing(wanted.sync)]
    scratch = Scratch(root)
    try:
        findings.append(_bounded(partial(_entered, scratch), STALL_SECONDS))
        for doing, seconds, ask in _questions(scratch, wanted) if findings[-1].grade is Grade.GOOD else ():
            tell(doing)
            findings += _asked(doing, ask, seconds)
            if findings[-1].probe == "answers":
                return findings
    finally:
        # Bounded as well, and done by a thread that Ctrl-C does not reach.
        _bounded(partial(scratch.__exit__, None, None, None), STALL_SECONDS)
    return [*findings, good("answers", "Every question was answered in time.")]


def _entered(scratch: Scratch) -> Finding:
    try:
        scratch.__enter__()
    except OSError as error:
        if error.errno == errno.ENOTDIR:
            return bad("access", STAGING_IN_THE_WAY, "Move it away.")
        reason = os.strerror(error.errno or 0)
        raise CouldNotLook(f"Nothing can be made in {STAGING} ({reason}).") from None
    return good("access", "There is a place for the service's own files.")


def _questions(scratch: Scratch, wanted: Wanted) -> Iterator[tuple[str, float, Callable[[], list[Finding]]]]:
    """What is asked, how long it may take, and who asks it."""

    def small(probe: Callable[[Scratch], Finding]) -> Callable[[], list[Finding]]:
        return lambda: [probe(scratch)]

    def measured(probe: Callable[[Scratch, Scale], Finding]) -> Callable[[], list[Finding]]:
        return lambda: [probe(scratch, wanted.scale)]

    yield "left behind", STALL_SECONDS, lambda: _left_behind(scratch)
    for name, probe in SMALL:
        yield name, STALL_SECONDS, small(probe)
    yield "link race", 5 * races.RACE_SECONDS_MAX, lambda: races.race_all(scratch, wanted.scale.races)
    for name, measurement in MEASURED:
        yield name, STALL_SECONDS + 10 * wanted.scale.seconds, measured(measurement)
    seconds = wanted.partner_seconds
    if seconds is not None:
        yield "partner", seconds + TOGETHER_SECONDS, lambda: _with_partner(scratch, seconds)


SMALL: tuple[tuple[str, Callable[[Scratch], Finding]], ...] = (
    ("staging", probes.staging_is_ours),
    ("permissions", probes.permissions_hold),
    ("one file system", probes.targets_are_in_reach),
    ("link", probes.link_works),
    ("exclusive create", probes.exclusive_works),
    ("rename", probes.rename_works),
    ("lock", probes.lock_is_given),
    ("directory sync", probes.directories_sync),
    ("letter case", probes.names_tell_case),
    ("clock", probes.clocks_agree),
    ("space", probes.space_is_left),
)
MEASURED: tuple[tuple[str, Callable[[Scratch, Scale], Finding]], ...] = (
    ("sync latency", speeds.sync_latency),
    ("throughput", speeds.throughput),
    ("copy", speeds.copying),
)


def _asked(doing: str, ask: Callable[[], list[Finding]], seconds: float) -> list[Finding]:
    try:
        return _bounded(ask, seconds)
    except CouldNotLook as stall:
        return [untried(doing, str(stall)), untried("answers", str(stall), "Look at the server and the network.")]
    except (OSError, StorageProxyError) as error:
        return [untried(doing, f"Could not be looked at: {error}")]
    except Exception as error:  # a share can answer anything; the other questions are worth asking
        return [untried(doing, f"Could not be looked at: {type(error).__name__} {error}".rstrip())]


def _existing(root: Path) -> Path:
    found = root.resolve()
    if not found.is_dir():
        raise CouldNotLook("It is not a directory; mount or create it.")
    return found


def _mount_findings(root: Path) -> list[Finding]:
    mount = mount_of(root)
    if mount is None:
        return [untried("mount", "The kernel's table of mounts does not show what this directory is on.")]
    return mount_options.judge(mount, mounts_below(root))


def _syncing(sync: bool) -> Finding:
    if sync:
        return good("syncing", "The settings sync what is acknowledged.")
    return bad("syncing", "The settings say [storage] sync = false: nothing is synced.", "Take that line out.")


def _left_behind(scratch: Scratch) -> list[Finding]:
    removed = scratch.remove_left_behind()
    return [note("left behind", f"What {removed} killed doctor(s) had left was removed.")] if removed else []


def _with_partner(scratch: Scratch, seconds: float) -> list[Finding]:
    mail = Mailbox(scratch)
    try:
        findings = examine_together(mail, seconds)
    finally:
        mail.close()
    # Whoever asks for a partner wants to know of no other.
    if findings[0].grade is Grade.UNTRIED:
        findings += [untried(probe, findings[0].sentence, findings[0].do) for probe in ("locks between hosts",)]
    return findings


def _bounded(work: Callable[[], T], seconds: float) -> T:
    """In a thread that can be left behind: a call to a hung mount cannot be stopped."""
    answers: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()

    def act() -> None:
        try:
            answers.put((work(), None))
        except BaseException as error:
            answers.put((None, error))

    threading.Thread(target=act, daemon=True).start()
    try:
        result, error = answers.get(timeout=seconds)
    except queue.Empty:
        raise CouldNotLook(f"The share has not answered for {seconds:.0f} s.") from None
    if error is not None:
        raise error
    return result  # type: ignore[return-value] # None only where T is
