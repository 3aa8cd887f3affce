"""What two doctors on two machines find out together: whether locks, links and renames hold *between* them, and how
stale a look-up can be.

Rules: both run the same functions at the same time, one as leader, one as follower; each step of one waits for a letter
of the other, with a deadline. What is looked up is never in a mailbox's directory, or reading the mail would refresh
it. Both report all that either saw.
"""

import time
from dataclasses import dataclass

from storage_proxy.adapters.doctor.findings import Facts, Finding, bad, fenced, good
from storage_proxy.adapters.doctor.mailbox import Letter, Mailbox
from storage_proxy.adapters.doctor.rival import is_whole, text_of
from storage_proxy.adapters.posix import PosixFilesystem
from storage_proxy.ports import LockTimeout, NameMissing, NameTaken, Region

ANSWER_SECONDS = 30.0
LOCK_TURNS = 10
LINK_TURNS = 40
LOOKS = 400
LOOK_SECONDS = 2.0
LOOK_TURNS = 20
# How long a plain look-up is watched until it is fresh.
STALE_SECONDS_MAX = 5.0

PROBES = ("locks between hosts", "links between hosts", "renames between hosts", "look-ups between hosts")


@dataclass
class Duet:
    """One of the two, as its partner's equal but for who leads."""

    mail: Mailbox
    place: str
    """the directory of this duet below `.uploads`: the leader makes it"""
    leads: bool

    @property
    def files(self) -> PosixFilesystem:
        # From `.uploads`, so that a refresh opens this duet's directory by its name, as the service does it.
        return PosixFilesystem(self.mail.scratch.staging)

    def at(self, name: str) -> str:
        return f"{self.place}/{name}"

    def refresh(self) -> None:
        self.files.refresh(self.place)

    def say(self, subject: str, **facts: str | int | float | bool | None) -> None:
        self.mail.post(subject, **facts)

    def hear(self, subject: str) -> Letter:
        return self.mail.expect(subject, ANSWER_SECONDS)

    def meet(self, subject: str) -> Letter:
        """Nobody goes on before both are here."""
        self.say(subject)
        return self.hear(subject)

    def exchange(self, **facts: int | float | bool | str) -> Letter:
        self.say("seen", **facts)
        return self.hear("seen")


# ---- locks ----------------------------------------------------------------------------------------------------------


def locks(duet: Duet) -> Finding:
    """In turn one holds the lock and the other tries it: while it is held it must not be given, then it must."""
    let_in = kept_out = 0
    for turn in range(LOCK_TURNS):
        holds = duet.leads == (turn % 2 == 0)
        if holds:
            with duet.files.lock(duet.at("lock"), Region.MANIFEST, ANSWER_SECONDS / 2):
                duet.meet("held")
                duet.hear("tried")
            duet.say("free")
            continue
        duet.meet("held")
        let_in += _is_given(duet, 0.0)
        duet.say("tried")
        duet.hear("free")
        kept_out += not _is_given(duet, ANSWER_SECONDS / 2)
    theirs = duet.exchange(let_in=let_in, kept_out=kept_out)
    let_in += int(theirs["let_in"] or 0)
    kept_out += int(theirs["kept_out"] or 0)
    facts: Facts = {"turns": LOCK_TURNS, "let_in": let_in, "kept_out": kept_out}
    if let_in:
        return fenced(
            PROBES[0],
            f"Locks do not exclude the other machine: in {let_in} of {LOCK_TURNS} turns both held the same one.",
            "Mount with locks (no nolock, no local_lock); until then only the fence stands between replicas.",
            **facts,
        )
    if kept_out:
        return fenced(
            PROBES[0],
            f"A lock that was given back stayed held for the other machine in {kept_out} of {LOCK_TURNS} turns.",
            "Look at the server's lock service.",
            **facts,
        )
    return good(PROBES[0], f"A lock of one machine excludes the other ({LOCK_TURNS} turns).", **facts)


def _is_given(duet: Duet, seconds: float) -> bool:
    try:
        duet.files.lock(duet.at("lock"), Region.MANIFEST, seconds).release()
    except LockTimeout:
        return False
    return True


# ---- links ----------------------------------------------------------------------------------------------------------


def links(duet: Duet) -> Finding:
    """Both link a file of their own to one name, at once: each name must have one owner, and both must know whose."""
    me = duet.mail.scratch.token
    files = duet.files
    files.create_durably(duet.at(f"own.{me}"), me.encode())
    wins = wrong = 0
    for turn in range(LINK_TURNS):
        duet.meet("ready")
        try:
            files.link(duet.at(f"own.{me}"), duet.at(f"goal.{turn}"))
            claimed = True
        except NameTaken:
            claimed = False
        duet.refresh()
        mine = files.read(duet.at(f"goal.{turn}")) == me.encode()
        wins += mine or claimed
        wrong += claimed and not mine
    theirs = duet.exchange(wins=wins, wrong=wrong)
    won, wrong = wins + int(theirs["wins"] or 0), wrong + int(theirs["wrong"] or 0)
    facts: Facts = {"turns": LINK_TURNS, "winners": won, "wrong": wrong, "here": wins}
    if won == LINK_TURNS and not wrong:
        return good(PROBES[1], f"Both machines linking one name: one winner in each of {LINK_TURNS} turns.", **facts)
    return bad(
        PROBES[1],
        f"Both machines linking one name: {won} winners in {LINK_TURNS} turns, {wrong} found the other's file.",
        "Use another file system: this one's names are not exclusive between machines.",
        **facts,
    )


# ---- renames --------------------------------------------------------------------------------------------------------


def renames(duet: Duet) -> Finding:
    """The leader replaces a file, the follower reads it: it must always find one whole text."""
    seen = _replace(duet) if duet.leads else _look_at_replaced(duet)
    replaced, looks, torn, missing = (int(seen[name] or 0) for name in ("renames", "looks", "torn", "missing"))
    facts: Facts = {"renames": replaced, "looks": looks, "torn": torn, "missing": missing}
    if torn or missing:
        return bad(
            PROBES[2],
            f"One machine replacing a file: of the other's {looks} looks {torn} were torn, {missing} found nothing.",
            "Use another file system: on this one a rename is not atomic for other machines.",
            **facts,
        )
    return good(
        PROBES[2], f"One machine replaced a file {replaced} times: whole in each of the other's {looks} looks.", **facts
    )


def _replace(duet: Duet) -> Letter:
    files, deadline = duet.files, time.monotonic() + ANSWER_SECONDS
    turn = 0
    while turn == 0 or (not duet.mail.has_come() and time.monotonic() < deadline):
        files.create_durably(duet.at("staged"), text_of("leader", turn))
        files.rename(duet.at("staged"), duet.at("info"))
        if turn == 0:
            duet.meet("first")
        turn += 1
    seen = duet.hear("seen")
    duet.say("replaced", renames=turn)
    return {**seen, "renames": turn}


def _look_at_replaced(duet: Duet) -> Letter:
    duet.meet("first")
    looks = torn = missing = 0
    begun = time.monotonic()
    # For as long as it takes to meet many renames, also where one takes much longer than a look.
    while (seconds := time.monotonic() - begun) < LOOK_SECONDS or (looks < LOOKS and seconds < ANSWER_SECONDS / 2):
        looks += 1
        duet.refresh()
        try:
            torn += not is_whole(duet.files.read(duet.at("info")))
        except NameMissing:
            missing += 1
    duet.say("seen", looks=looks, torn=torn, missing=missing)
    return {"looks": looks, "torn": torn, "missing": missing, "renames": duet.hear("replaced")["renames"]}


# ---- look-ups -------------------------------------------------------------------------------------------------------


def look_ups(duet: Duet) -> Finding:
    """One changes, the other looks, with and without a refresh; then the other way round."""
    seen: dict[str, int | float] = {}
    for leader_looks in (False, True):
        if duet.leads == leader_looks:
            seen = _look(duet)
        else:
            _change(duet)
        duet.meet("turned")
    theirs = duet.exchange(**seen)
    both = {name: max(value, float(theirs[name] or 0)) for name, value in seen.items()}
    plain, refreshed, absent = int(both["stale"]), int(both["stale_refreshed"]), int(both["absent_refreshed"])
    facts: Facts = {
        "turns": LOOK_TURNS,
        **{f"here_{name}": value for name, value in seen.items()},
        **{f"there_{name}": theirs[name] for name in seen},
    }
    if refreshed or absent:
        return bad(
            PROBES[3],
            f"Even after a refresh a look-up was stale in {refreshed} of {LOOK_TURNS} turns, and a new file absent in "
            f"{absent}: another machine's change can stay unseen.",
            "Mount with lookupcache=none (NFS 3), or with vers=4.2.",
            **facts,
        )
    if plain or both["absent"]:
        seconds = both["stale_seconds"]
        lasted = f"more than {STALE_SECONDS_MAX:.0f} s" if seconds > STALE_SECONDS_MAX else f"up to {seconds:.1f} s"
        return good(
            PROBES[3],
            f"Without a refresh a changed file was seen old in up to {plain} of {LOOK_TURNS} turns and a new one "
            f"absent in {int(both['absent'])}, for {lasted}; after the refresh that the service does, never.",
            **facts,
        )
    return good(PROBES[3], f"No look-up was stale in {LOOK_TURNS} turns, with or without a refresh.", **facts)


def _change(duet: Duet) -> None:
    files = duet.files
    files.create_durably(duet.at("staged"), b"0")
    files.rename(duet.at("staged"), duet.at("info"))
    duet.meet("prepared")
    for turn in range(1, LOOK_TURNS + 2):
        duet.hear("looked")
        files.create_durably(duet.at("staged"), b"%d" % turn)
        files.rename(duet.at("staged"), duet.at("info"))
        files.create_durably(duet.at(f"new.{turn}"), b"")
        duet.say("changed")
    duet.hear("enough")
    for name in files.list(duet.place):
        files.remove(duet.at(name))


def _look(duet: Duet) -> dict[str, int | float]:
    duet.meet("prepared")
    seen: dict[str, int | float] = dict.fromkeys(("stale", "stale_refreshed", "absent", "absent_refreshed"), 0)
    for turn in range(1, LOOK_TURNS + 1):
        _remember(duet, turn)
        seen["stale"] += not _is_at(duet, turn)
        seen["absent"] += not _is_there(duet, turn)
        duet.refresh()
        seen["stale_refreshed"] += not _is_at(duet, turn)
        seen["absent_refreshed"] += not _is_there(duet, turn)
    _remember(duet, LOOK_TURNS + 1)
    begun = time.monotonic()
    seen["stale_seconds"] = 0.0
    # The absent name first: a look at it refreshes nothing, and it is what stays in a cache for longest.
    while not (_is_there(duet, LOOK_TURNS + 1) and _is_at(duet, LOOK_TURNS + 1)):
        seen["stale_seconds"] = round(time.monotonic() - begun, 2)
        if seen["stale_seconds"] > STALE_SECONDS_MAX:
            break
        time.sleep(0.02)
    duet.say("enough")
    return seen


def _remember(duet: Duet, turn: int) -> None:
    """Let this machine's cache learn what is there now, and what is not, and then let the other change it."""
    _is_at(duet, turn)
    _is_there(duet, turn)
    duet.say("looked")
    duet.hear("changed")


def _is_at(duet: Duet, turn: int) -> bool:
    try:
        return duet.files.read(duet.at("info")) == b"%d" % turn
    except NameMissing:
        return False


def _is_there(duet: Duet, turn: int) -> bool:
    try:
        duet.files.read(duet.at(f"new.{turn}"))
    except NameMissing:
        return False
    return True
