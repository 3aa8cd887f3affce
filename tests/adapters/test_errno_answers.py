import errno
import os

import pytest

from storage_proxy.adapters.errno_answers import STALE_TRIES_MAX, answer, asking, freshly
from storage_proxy.core.errors import ShareFault, ShareFull
from storage_proxy.ports import DirectoryNotEmpty, LinkInTheWay, NameMissing, NameRefused, NameTaken

STORE = {
    errno.ENOENT: NameMissing,
    errno.ENOTDIR: NameMissing,
    errno.ESTALE: NameMissing,
    errno.EEXIST: NameTaken,
    errno.ENOTEMPTY: DirectoryNotEmpty,
    errno.ELOOP: ShareFault,
    errno.EISDIR: ShareFault,
}
TARGET = {
    errno.ENOENT: NameMissing,
    errno.ESTALE: NameMissing,
    errno.EEXIST: NameTaken,
    errno.EISDIR: NameTaken,
    errno.ENOTEMPTY: NameTaken,
    errno.ELOOP: LinkInTheWay,
    errno.ENOTDIR: LinkInTheWay,
    errno.ENXIO: LinkInTheWay,
}
ANYWHERE = {
    errno.ENOSPC: ShareFull,
    errno.EDQUOT: ShareFull,
    errno.EIO: ShareFault,
    errno.EACCES: ShareFault,
    errno.EPERM: ShareFault,
    errno.EROFS: ShareFault,
    errno.ETIMEDOUT: ShareFault,
    errno.EMFILE: ShareFault,
    errno.EXDEV: ShareFault,
    errno.ENAMETOOLONG: ShareFault,
    errno.EINVAL: ShareFault,
}

# What somebody mends without knowing of the upload: tried again.
NO_NAMES = {
    number: kind for number, kind in ANYWHERE.items() if number not in (errno.EXDEV, errno.ENAMETOOLONG, errno.EINVAL)
}


@pytest.mark.parametrize(
    ("number", "of_target", "expected"),
    [
        *((number, False, kind) for number, kind in (STORE | ANYWHERE).items()),
        *((number, True, kind) for number, kind in (TARGET | ANYWHERE).items()),
    ],
)
def test_an_errno_has_one_meaning(number: int, of_target: bool, expected: type[Exception]) -> None:
    assert type(answer(OSError(number, os.strerror(number)), "rename", of_target)) is expected


@pytest.mark.parametrize("number", [errno.EXDEV, errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL])
def test_a_name_that_the_share_never_takes_is_told_from_a_share_in_trouble(number: int) -> None:
    refused = answer(OSError(number, ""), "link", of_target=True, naming=True)
    assert type(refused) is NameRefused
    assert str(refused) == os.strerror(number)
    # Of a sync or a read the same numbers say something else.
    assert type(answer(OSError(number, ""), "sync directory", of_target=True)) is ShareFault


@pytest.mark.parametrize(("number", "expected"), [*TARGET.items(), *NO_NAMES.items()])
def test_where_a_name_is_given_everything_else_means_what_it_means_elsewhere(
    number: int, expected: type[Exception]
) -> None:
    assert type(answer(OSError(number, ""), "link", of_target=True, naming=True)) is expected


@pytest.mark.parametrize(("number", "quota"), [(errno.ENOSPC, False), (errno.EDQUOT, True)])
def test_a_full_share_is_told_from_a_used_up_quota(number: int, quota: bool) -> None:
    full = answer(OSError(number, ""), "write")
    assert isinstance(full, ShareFull)
    assert (full.operation, full.quota) == ("write", quota)


@pytest.mark.parametrize("number", [*STORE, *TARGET, *ANYWHERE])
@pytest.mark.parametrize("of_target", [True, False])
def test_no_sentence_says_where_on_this_machine(number: int, of_target: bool) -> None:
    error = OSError(number, "Trouble", "/mnt/secret/place", None, "/mnt/secret/other")
    assert "/" not in str(answer(error, "rename", of_target)).replace("I/O", "").replace("Input/output", "")


def test_an_error_without_a_number_is_a_fault_of_the_share_too() -> None:
    fault = answer(OSError("odd"), "read")
    assert isinstance(fault, ShareFault)
    assert fault.reason == "OSError"


def test_only_errors_of_the_machine_are_answered() -> None:
    with pytest.raises(ZeroDivisionError), asking("read"):
        raise ZeroDivisionError
    with pytest.raises(NameMissing) as found, asking("read"):
        raise FileNotFoundError(errno.ENOENT, "gone")
    assert isinstance(found.value.__cause__, FileNotFoundError)


class Stale:
    def __init__(self, times: int) -> None:
        self.times = times
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.times:
            raise OSError(errno.ESTALE, "stale")
        return "fresh"


def test_stale_work_is_done_again() -> None:
    assert freshly(Stale(STALE_TRIES_MAX - 1)) == "fresh"


def test_work_that_stays_stale_is_given_up() -> None:
    work = Stale(1000)
    with pytest.raises(OSError, match="stale"):
        freshly(work)
    assert work.calls == STALE_TRIES_MAX
