"""Two doctors on two machines: find each other, ask the four questions of `duets.py` together, leave together.

Rules: a partner that is lost ends the questions, for its next letter would belong to another one.
"""

from collections.abc import Callable

from storage_proxy.adapters.doctor.duets import ANSWER_SECONDS, PROBES, Duet, links, locks, look_ups, renames
from storage_proxy.adapters.doctor.findings import Facts, Finding, good, note, untried
from storage_proxy.adapters.doctor.mailbox import Letter, Mailbox, PartnerLost, boot_id
from storage_proxy.core.errors import ShareFault
from storage_proxy.ports import LockTimeout, NameMissing


def examine_together(mail: Mailbox, seconds: float) -> list[Finding]:
    """Wait so long for a doctor on another machine, then ask each question with it."""
    hello = mail.find(seconds)
    if hello is None:
        return [
            untried(
                "partner",
                f"No other doctor came within {seconds:.0f} s.",
                "Run `storage-proxy doctor --with-partner` on two machines at the same time.",
            )
        ]
    leader = mail.scratch.token if mail.leads else mail.partner
    findings = [_who(hello)]
    for probe, duet in zip(PROBES, (locks, links, renames, look_ups), strict=True):
        place = f"doctor.{leader}/together.{duet.__name__}"
        try:
            findings.append(_play(Duet(mail, place, mail.leads), duet))
        except (PartnerLost, NameMissing, LockTimeout, ShareFault, OSError) as lost:
            findings.append(untried(probe, f"The other doctor was lost: {lost or type(lost).__name__}."))
            break
    else:
        _leave_together(mail)
    return findings


def _play(duet: Duet, part: Callable[[Duet], Finding]) -> Finding:
    if duet.leads:
        (duet.mail.scratch.staging / duet.place).mkdir(mode=0o700)
    duet.meet(part.__name__)
    return part(duet)


def _leave_together(mail: Mailbox) -> None:
    """The leader's directory must not go while the other still works in it."""
    mail.post("done")
    try:
        mail.expect("done", ANSWER_SECONDS)
    except PartnerLost:
        # It has all it needs, or has gone.
        return


def _who(hello: Letter) -> Finding:
    facts: Facts = {"host": hello["host"], "same_kernel": hello["boot"] == boot_id()}
    if facts["same_kernel"]:
        return note(
            "partner",
            "The other doctor runs on this very machine: nothing is learned about other machines.",
            "Run it on another machine (not only in another container).",
            **facts,
        )
    return good("partner", f"A doctor on {hello['host']} was met.", **facts)
