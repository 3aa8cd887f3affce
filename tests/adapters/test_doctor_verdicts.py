"""What mount options mean, and which promises rest on what was found: tables, without a directory."""

import pytest

from storage_proxy.adapters.doctor import mount_options, verdicts
from storage_proxy.adapters.doctor.findings import Finding, Grade, bad, good
from storage_proxy.adapters.doctor.verdicts import PROMISES, Standing, exit_status, judge
from storage_proxy.adapters.mounts import Mount


def graded(findings: list[Finding]) -> dict[str, Grade]:
    return {finding.probe: finding.grade for finding in findings}


def nfs(version: str, **options: str) -> Mount:
    return Mount("/mnt", "nfs4" if version.startswith("4") else "nfs", "host:/export", {"vers": version, **options})


# ---- mount options --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mount", "not_good"),
    [
        (nfs("4.2", hard="", local_lock="none"), {}),
        (nfs("4.1", lookupcache="positive"), {}),
        (nfs("4.2", local_lock="flock"), {}),
        (nfs("3", lookupcache="none"), {"mount": "note"}),
        (nfs("3"), {"mount": "note", "look-up options": "bad"}),
        (nfs("3", lookupcache="positive"), {"mount": "note", "look-up options": "bad"}),
        (nfs("2"), {"mount": "bad", "look-up options": "bad"}),
        (nfs("4.2", nocto=""), {"look-up options": "bad"}),
        (nfs("4.2", softreval=""), {"look-up options": "bad"}),
        (nfs("4.2", nolock=""), {"lock options": "fenced"}),
        (nfs("4.2", local_lock="all"), {"lock options": "fenced"}),
        (nfs("4.2", local_lock="posix"), {"lock options": "fenced"}),
        (nfs("4.2", soft=""), {"error options": "bad"}),
        (nfs("4.2", softerr=""), {"error options": "bad"}),
        (nfs("4.2", ro=""), {"mount": "bad"}),
        (Mount("/m", "tmpfs", "tmpfs"), {"mount": "note", "lasting": "bad"}),
        (Mount("/m", "overlay", "overlay"), {"mount": "note", "lasting": "note"}),
        (Mount("/m", "xfs", "/dev/sdb", {"soft": ""}), {"mount": "note"}),
        (Mount("/m", "lustre", "mgs:/fs", {"localflock": ""}), {"lock options": "fenced"}),
        (Mount("/m", "cifs", "//h/s", {"nobrl": ""}), {"lock options": "fenced"}),
        (Mount("/m", "fuse.sshfs", "h:/"), {}),
    ],
    ids=lambda value: (
        f"{value.kind},{','.join(map('='.join, value.options.items()))}" if hasattr(value, "kind") else ""
    ),
)
def test_what_a_mount_option_means(mount: Mount, not_good: dict[str, str]) -> None:
    findings = mount_options.judge(mount)
    assert {probe: str(grade) for probe, grade in graded(findings).items() if grade is not Grade.GOOD} == not_good
    assert [finding for finding in findings if finding.grade in (Grade.BAD, Grade.FENCED) and not finding.do] == []


def test_file_systems_mounted_inside_a_volume_are_named() -> None:
    findings = mount_options.judge(nfs("4.2"), [Mount("/mnt/b", "ext4", "x"), Mount("/mnt/a", "ext4", "y")])
    assert graded(findings)["mounts inside"] is Grade.BAD
    assert "/mnt/a, /mnt/b" in findings[-1].sentence


# ---- verdicts -------------------------------------------------------------------------------------------------------

ALL_GOOD = [
    good(probe, "") for probe in {*verdicts._ALL, *(probe for promise in PROMISES for probe in promise.rests_on)}
]


def with_one(probe: str, grade: Grade) -> list[Finding]:
    return [Finding(probe, grade, "A reason.", "Do this.") if held.probe == probe else held for held in ALL_GOOD]


def test_all_ten_promises_are_kept_when_everything_is_good() -> None:
    judged = judge(ALL_GOOD)
    assert [verdict.promise.number for verdict in judged] == list(range(1, 11))
    assert {verdict.standing for verdict in judged} == {Standing.KEPT}
    assert exit_status(judged) == 0


@pytest.mark.parametrize(
    ("probe", "grade", "promises", "standing"),
    [
        ("lasting", Grade.BAD, {1, 2, 6}, Standing.NOT_KEPT),
        ("syncing", Grade.BAD, {1, 2, 6}, Standing.NOT_KEPT),
        ("link", Grade.BAD, {2, 3, 4, 5, 9}, Standing.NOT_KEPT),
        ("links between hosts", Grade.BAD, {2, 3, 4, 5, 9}, Standing.NOT_KEPT),
        ("lock options", Grade.FENCED, {2, 3, 4, 9}, Standing.FENCED),
        ("locks between hosts", Grade.FENCED, {2, 3, 4, 9}, Standing.FENCED),
        ("locks between hosts", Grade.UNTRIED, {2, 3, 4, 9}, Standing.UNKNOWN),
        ("look-up options", Grade.BAD, {2, 4, 6, 9}, Standing.NOT_KEPT),
        ("one file system", Grade.BAD, {5, 6, 8}, Standing.NOT_KEPT),
        ("error options", Grade.BAD, {1, 2, 3, 4, 5, 6, 7, 9}, Standing.NOT_KEPT),
        ("staging", Grade.BAD, {3}, Standing.NOT_KEPT),
        ("access", Grade.BAD, set(range(1, 11)), Standing.NOT_KEPT),
        ("answers", Grade.UNTRIED, set(range(1, 11)), Standing.UNKNOWN),
        ("link", Grade.NOTE, set(), Standing.KEPT),
    ],
)
def test_which_promises_rest_on_a_probe(probe: str, grade: Grade, promises: set[int], standing: Standing) -> None:
    judged = judge(with_one(probe, grade))
    assert {verdict.promise.number for verdict in judged if verdict.standing is not Standing.KEPT} == promises
    for verdict in judged:
        if verdict.standing is not Standing.KEPT:
            assert (verdict.standing, verdict.because, verdict.do) == (standing, "A reason.", "Do this.")


def test_locks_that_do_not_exclude_are_no_longer_made_harmless_where_links_do_not_work() -> None:
    findings = with_one("lock options", Grade.FENCED)
    judged = judge([bad("link", "No links.", "Do.") if held.probe == "link" else held for held in findings])
    assert judged[3].standing is Standing.NOT_KEPT
    assert str(judged[3]) == "not kept, because no links. Do."


def test_a_probe_that_never_ran_leaves_its_promises_unknown_unless_it_needs_a_partner() -> None:
    without_link = [held for held in ALL_GOOD if held.probe != "link"]
    judged = judge(without_link)
    unknown = {verdict.promise.number for verdict in judged if verdict.standing is Standing.UNKNOWN}
    assert (unknown, exit_status(judged)) == ({2, 3, 4, 5, 9}, 3)
    alone = [held for held in ALL_GOOD if held.probe not in verdicts.BETWEEN_HOSTS]
    assert exit_status(judge(alone)) == 0


def test_something_not_kept_goes_before_something_not_known() -> None:
    findings = [bad("link", "x", "y"), *(held for held in ALL_GOOD if held.probe not in ("link", "lock"))]
    assert exit_status(judge(findings)) == 1
