"""The doctor's parts: mount options by tables, probes and races on a real directory, verdicts, cleaning up."""

import errno
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from storage_proxy.adapters.doctor import examination, probes, races, rival, verdicts
from storage_proxy.adapters.doctor.examination import CouldNotLook, Wanted, examine
from storage_proxy.adapters.doctor.findings import Finding, Grade
from storage_proxy.adapters.doctor.mailbox import Mailbox, PartnerLost
from storage_proxy.adapters.doctor.scratch import Scratch
from storage_proxy.adapters.doctor.speeds import Scale
from storage_proxy.adapters.doctor.start_up import start_up_faults
from storage_proxy.adapters.doctor.verdicts import PROMISES, Standing, exit_status, judge
from storage_proxy.adapters.mounts import Mount
from storage_proxy.adapters.posix import PosixFilesystem

SMALL = Wanted(scale=Scale(write_bytes=2 << 20, copy_bytes=8 << 20, syncs=5, seconds=5.0, races=20))


def graded(findings: list[Finding]) -> dict[str, Grade]:
    return {finding.probe: finding.grade for finding in findings}


def nfs(version: str, **options: str) -> Mount:
    return Mount("/mnt", "nfs4" if version.startswith("4") else "nfs", "host:/export", {"vers": version, **options})


# ---- a whole examination --------------------------------------------------------------------------------------------


def test_an_examination_of_a_plain_directory_finds_nothing_bad_and_leaves_nothing(tmp_path: Path) -> None:
    findings = examine(tmp_path, SMALL)
    grades = graded(findings)
    # What the machine's own temporary directory is on is not ours to judge here.
    grades.pop("lasting")
    assert [probe for probe, grade in grades.items() if grade in (Grade.BAD, Grade.FENCED, Grade.UNTRIED)] == []
    assert {probe for promise in PROMISES for probe in promise.rests_on} - verdicts.BETWEEN_HOSTS <= {
        finding.probe for finding in findings
    }
    assert os.listdir(tmp_path) == []


def test_an_examination_leaves_what_was_there_before_as_it_was(tmp_path: Path) -> None:
    (tmp_path / ".uploads" / "3f").mkdir(parents=True)
    (tmp_path / "a file").write_bytes(b"x")
    examine(tmp_path, SMALL)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == [
        ".uploads",
        ".uploads/3f",
        "a file",
    ]


def test_an_interrupted_examination_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(doing: str) -> None:
        if doing == "copy":
            assert os.listdir(tmp_path / ".uploads") != []
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        examine(tmp_path, SMALL, interrupt)
    assert os.listdir(tmp_path) == []


def test_settings_without_syncing_break_the_first_promise(tmp_path: Path) -> None:
    judged = judge(examine(tmp_path, Wanted(sync=False, scale=SMALL.scale)))
    assert judged[0].standing is Standing.NOT_KEPT


def test_a_staging_directory_that_is_a_link_breaks_every_promise_and_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "volume").mkdir()
    (tmp_path / "volume" / ".uploads").symlink_to(tmp_path / "elsewhere")
    judged = judge(examine(tmp_path / "volume", SMALL))
    assert {verdict.standing for verdict in judged} == {Standing.NOT_KEPT}
    assert "symbolic link" in judged[0].because
    assert os.listdir(tmp_path / "elsewhere") == []


@pytest.mark.parametrize("name", ["absent", "file"])
def test_what_is_no_directory_cannot_be_looked_at(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CouldNotLook, match="not a directory"):
        examine(tmp_path / name, SMALL)


def test_a_share_that_does_not_answer_ends_the_examination_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = examination._bounded

    def impatient(work: Callable[[], Any], seconds: float) -> Any:
        return real(work, seconds / 600)

    def hang(scratch: Scratch) -> Finding:
        time.sleep(2)
        raise AssertionError("nobody waits for it")

    monkeypatch.setattr(examination, "_bounded", impatient)
    monkeypatch.setattr(examination, "SMALL", (*examination.SMALL[:3], ("link", hang), *examination.SMALL[4:]))
    findings = examine(tmp_path, SMALL)
    assert findings[-1].probe == "answers"
    assert exit_status(judge(findings)) == 3
    assert "has not answered" in judge(findings)[9].because


def test_a_question_that_fails_is_untried_and_the_others_are_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(scratch: Scratch) -> Finding:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(examination, "SMALL", (("link", fail), *(row for row in examination.SMALL if row[0] != "link")))
    grades = graded(examine(tmp_path, SMALL))
    assert (grades["link"], grades["rename"], grades["answers"]) == (Grade.UNTRIED, Grade.GOOD, Grade.GOOD)


# ---- probes that must be able to fail -------------------------------------------------------------------------------


def failing(number: int) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def no_directory_sync(fd: int) -> None:
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        failing(errno.EINVAL)()


def lying_link(source: str, name: str, **_: Any) -> None:
    with open(source, "rb") as text, open(name, "wb") as copy:
        copy.write(text.read())


@pytest.mark.parametrize(
    ("probe", "patched", "broken", "grade", "sentence"),
    [
        (probes.link_works, "link", failing(errno.EPERM), Grade.BAD, "Hard links are not possible here"),
        (probes.link_works, "link", failing(errno.EOPNOTSUPP), Grade.BAD, "Hard links are not possible here"),
        (probes.link_works, "link", lying_link, Grade.BAD, "replaced a name that was taken"),
        (probes.directories_sync, "fsync", no_directory_sync, Grade.BAD, "cannot be synced"),
        (probes.targets_are_in_reach, "link", failing(errno.EXDEV), Grade.BAD, "different file systems"),
        (probes.targets_are_in_reach, "rename", failing(errno.EACCES), Grade.BAD, "may not be put"),
        (probes.permissions_hold, "fchmod", failing(errno.EPERM), Grade.NOTE, "Modes cannot be changed"),
        (probes.permissions_hold, "geteuid", lambda: 12345, Grade.NOTE, "the server maps users"),
    ],
)
def test_a_probe_sees_what_is_broken(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    probe: Callable[[Scratch], Finding],
    patched: str,
    broken: Callable[..., Any],
    grade: Grade,
    sentence: str,
) -> None:
    with Scratch(tmp_path) as scratch:
        assert probe(scratch).grade is Grade.GOOD
    with Scratch(tmp_path) as scratch:
        with monkeypatch.context() as patch:
            patch.setattr(os, patched, broken)
            finding = probe(scratch)
        assert finding.grade is grade
        assert sentence in finding.sentence


@pytest.mark.parametrize(("mode", "grade"), [(0o700, Grade.GOOD), (0o750, Grade.NOTE), (0o777, Grade.BAD)])
def test_a_staging_directory_that_others_can_write_in_is_bad(tmp_path: Path, mode: int, grade: Grade) -> None:
    with Scratch(tmp_path) as scratch:
        scratch.staging.chmod(mode)
        assert probes.staging_is_ours(scratch).grade is grade


@pytest.mark.parametrize(("ahead", "grade"), [(0.0, Grade.GOOD), (90.0, Grade.NOTE), (-90.0, Grade.NOTE)])
def test_a_clock_that_is_wrong_is_noted_with_its_direction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead: float, grade: Grade
) -> None:
    real = PosixFilesystem.share_time
    monkeypatch.setattr(PosixFilesystem, "share_time", lambda self, path: real(self, path) + ahead)
    with Scratch(tmp_path) as scratch:
        finding = probes.clocks_agree(scratch)
    assert finding.grade is grade
    assert finding.facts["skew"] == pytest.approx(ahead, abs=1)


# ---- races ----------------------------------------------------------------------------------------------------------


def test_a_text_shows_by_itself_whether_it_is_whole() -> None:
    text = rival.text_of("me", 3)
    assert rival.is_whole(text)
    for torn in (b"", text[:-1], text[:2000], b"x" + text[1:], text[:2000] + rival.text_of("me", 4)[2000:]):
        assert not rival.is_whole(torn)


@pytest.mark.parametrize(
    ("answers", "grade"),
    [
        ([{"won": 6, "wrong": 0}, {"won": 4, "wrong": 0}], Grade.GOOD),
        ([{"won": 6, "wrong": 1}, {"won": 5, "wrong": 0}], Grade.BAD),
        ([{"won": 6, "wrong": 0}, {"won": 3, "wrong": 0}], Grade.BAD),
    ],
)
def test_each_turn_of_a_race_has_one_winner(answers: list[dict[str, int]], grade: Grade) -> None:
    assert races._one_winner("link race", "linking", answers, 10).grade is grade


def test_locks_that_lose_an_addition_leave_only_the_fence() -> None:
    answers = [{"added": 5, "timeouts": 0}, {"added": 5, "timeouts": 0}]
    assert races._lock_excludes(answers, 10).grade is Grade.GOOD
    assert races._lock_excludes(answers, 9).grade is Grade.FENCED
    assert races._lock_excludes([{"added": 5, "timeouts": 1}], 5).grade is Grade.UNTRIED


def test_rivals_that_fail_are_heard_of_and_ended(tmp_path: Path) -> None:
    with races.Rivals(tmp_path, 2) as rivals:
        processes = rivals._processes
        with pytest.raises(races.RivalsLost, match="NameMissing"):
            rivals.race("links", 1)  # its directory is not there
    assert [process.poll() is None for process in processes] == [False, False]


# ---- what is left behind --------------------------------------------------------------------------------------------


def test_what_a_killed_doctor_left_is_removed_when_it_is_old_and_nothing_else(tmp_path: Path) -> None:
    staging = tmp_path / ".uploads"
    old, young, other = staging / f"doctor.{'0' * 32}", staging / f"doctor.{'1' * 32}", staging / "doctor.mine"
    for directory in (old, young, other):
        (directory / "link").mkdir(parents=True)
    for directory in (old, other):
        os.utime(directory, (time.time() - 7200, time.time() - 7200))
    with Scratch(tmp_path) as scratch:
        assert scratch.remove_left_behind() == 1
    assert sorted(os.listdir(staging)) == [young.name, other.name]


# ---- two doctors ----------------------------------------------------------------------------------------------------

DOCTOR = """
import sys
from pathlib import Path
from storage_proxy.adapters.doctor.mailbox import Mailbox
from storage_proxy.adapters.doctor.partner import examine_together
from storage_proxy.adapters.doctor.scratch import Scratch
with Scratch(Path(sys.argv[1])) as scratch:
    for finding in examine_together(Mailbox(scratch), 60):
        print(finding.grade, finding.probe)
"""


def test_two_doctors_find_each_other_through_the_share_and_leave_nothing(tmp_path: Path) -> None:
    words = [sys.executable, "-c", DOCTOR, str(tmp_path)]
    both = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=100)[0].splitlines() for process in both]
    assert (
        said
        == [
            [
                "note partner",  # that it runs on this very machine
                "good locks between hosts",
                "good links between hosts",
                "good renames between hosts",
                "good look-ups between hosts",
            ]
        ]
        * 2
    )
    assert os.listdir(tmp_path) == []


def test_what_a_dead_doctor_has_said_leads_nobody_astray(tmp_path: Path) -> None:
    dead = tmp_path / ".uploads" / f"doctor.{'0' * 32}"
    dead.mkdir(parents=True)
    (dead / "mail.jsonl").write_text('{"subject": "hello", "host": "h", "boot": "b"}\n')
    with Scratch(tmp_path) as scratch:
        assert Mailbox(scratch).find(0.3) is None


def test_half_a_letter_is_not_read(tmp_path: Path) -> None:
    with Scratch(tmp_path) as scratch:
        mail = Mailbox(scratch)
        mail.partner = scratch.token  # writes to itself
        assert mail.expect("hello", 0)["process"] == os.getpid()
        with open(scratch.path / "mail.jsonl", "ab") as file:
            file.write(b'{"subject": "ne')
            file.flush()
            with pytest.raises(PartnerLost, match="no answer"):
                mail.expect("next", 0)
            file.write(b'xt"}\n')
            file.flush()
        assert mail.expect("next", 0) == {"subject": "next"}
        mail.close()


def test_a_partner_that_has_gone_is_not_waited_for(tmp_path: Path) -> None:
    with Scratch(tmp_path) as scratch:
        mail = Mailbox(scratch)
        mail.partner = "f" * 32
        begun = time.monotonic()
        with pytest.raises(PartnerLost, match="gone"):
            mail.expect("anything", 60)
        assert time.monotonic() - begun < 30
        mail.close()


# ---- start-up -------------------------------------------------------------------------------------------------------


def test_nothing_speaks_against_a_plain_directory_and_its_staging_stays(tmp_path: Path) -> None:
    assert start_up_faults(tmp_path) == []
    assert os.listdir(tmp_path) == [".uploads"]
    assert (tmp_path / ".uploads").stat().st_mode & 0o777 == 0o700
    assert os.listdir(tmp_path / ".uploads") == []


@pytest.mark.parametrize(
    ("patched", "broken", "said"),
    [
        ({"link": failing(errno.EPERM)}, None, "Hard links are not possible here"),
        ({"fsync": no_directory_sync}, None, "A directory cannot be synced here"),
        ({"link": failing(errno.EXDEV)}, None, "different file systems"),
        ({"mkdir": failing(errno.EACCES)}, None, "Let the service's user write there"),
        ({}, ".uploads is a link", "Move it away."),
        ({}, "absent", "is not a directory; mount or create it."),
    ],
)
def test_a_fatal_fault_stops_a_start_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patched: Mapping[str, Any], broken: str | None, said: str
) -> None:
    root = tmp_path / "absent" if broken == "absent" else tmp_path
    if broken == ".uploads is a link":
        (tmp_path / ".uploads").symlink_to("/tmp")
    for name, function in patched.items():
        monkeypatch.setattr(os, name, function)
    assert any(said in fault for fault in start_up_faults(root))


def test_local_locks_stop_a_start_only_where_there_are_no_links_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage_proxy.adapters.doctor.start_up.mount_of", lambda root: nfs("4.2", nolock=""))
    assert start_up_faults(tmp_path) == []
    monkeypatch.setattr(os, "link", failing(errno.EPERM))
    assert [fault for fault in start_up_faults(tmp_path) if "Mounted with nolock" in fault] != []


def test_a_full_share_stops_no_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PosixFilesystem, "create_durably", failing(errno.ENOSPC))
    assert start_up_faults(tmp_path) == []
    monkeypatch.undo()
    monkeypatch.setattr(os, "mkdir", failing(errno.EDQUOT))
    assert start_up_faults(tmp_path / ".") == []
