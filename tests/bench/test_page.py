"""The benchmark's honesty: what is wrong has no figures, what is missed is called so, what people wrote stays."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from bench import page
from bench.connection import Wrong
from bench.content import Content
from bench.figures import THROUGHPUT, Results
from bench.measuring import verify
from bench.servers import SERVERS
from bench.targets import TARGETS
from bench.uploads import Upload

DOCS = Path(__file__).parents[2] / "docs"
MIB = 2**20


def a_round(seconds: float) -> dict[str, Any]:
    return {
        "seconds": seconds, "uploads": 1, "bytes": 2048 * MIB, "requests": 2, "cpu_seconds": 4.0,
        "load_cpu_seconds": 0.1, "written": 2048 * MIB, "idle_memory": 60 * MIB, "peak_memory": 67 * MIB,
        "window_memory": None, "last_byte_to_answer": 0.05, "series": {},
    }  # fmt: skip


def results(ours: float, tusd: float) -> dict[str, Any]:
    """W1 only."""
    return {
        "about": {"date": "2026-11-20", "command": "make bench", "kernel": "Linux"},
        "short": False, "minutes": 1.0, "servers": {}, "missing": {}, "notes": [], "wrong": [], "calls": {},
        "cases": {"W1": {
            "ours": {"rounds": [a_round(ours), a_round(9 * ours), a_round(ours)]},
            "tusd": {"rounds": [a_round(tusd)]},
        }},
    }  # fmt: skip


def test_a_target_is_judged_by_the_median_of_the_rounds() -> None:
    first = TARGETS[0]
    assert first.judge(Results(results(ours=2.0, tusd=2.5)), True).reached is True
    assert first.judge(Results(results(ours=2.5, tusd=2.0)), True).reached is False


def test_what_was_not_measured_is_neither_reached_nor_missed() -> None:
    assert TARGETS[0].judge(Results(results(ours=2.0, tusd=2.5)), False).reached is None


def test_a_server_that_answered_wrong_has_no_figures_however_fast_it_was() -> None:
    told = results(ours=2.0, tusd=2.5)
    told["cases"]["W1"]["ours"]["wrong"] = "PATCH: 500 instead of 204"
    found = Results(told)
    assert found.median("W1", "ours", THROUGHPUT) is None
    assert TARGETS[0].judge(found, True).reached is None
    text, _ = page.made(told, {})
    assert "answered wrong: PATCH: 500 instead of 204" in text


def test_what_people_wrote_stays_when_the_page_is_made_again(tmp_path: Path) -> None:
    page.write(results(ours=2.5, tusd=2.0), tmp_path)
    written = tmp_path / page.PAGE
    said = "<!-- by hand: W1 -->\nHashing is most of it.\n<!-- end -->"
    written.write_text(written.read_text().replace("<!-- by hand: W1 -->\n<!-- end -->", said))
    page.write(results(ours=2.0, tusd=2.5), tmp_path)
    assert said in written.read_text()
    assert "reached: 1024 to 819 MiB/s" in written.read_text()


def test_the_page_in_docs_is_what_its_results_make() -> None:
    kept = DOCS / page.RESULTS
    if not kept.exists():
        pytest.skip("no run of the whole benchmark has been recorded yet")
    told, text = json.loads(kept.read_text()), (DOCS / page.PAGE).read_text()
    made, pictures = page.made(copy.deepcopy(told), dict(page.BY_HAND.findall(text)))
    assert made == text
    assert {name: (DOCS / page.PICTURES / name).read_text() for name in pictures} == pictures


@pytest.mark.parametrize("block", [4096, MIB])
def test_pieces_in_the_wrong_place_are_found(block: int, tmp_path: Path) -> None:
    content, server = Content(), SERVERS["ours"]
    upload = Upload("/files/any", "mixed.bin", 4 * block)
    right = content.read(0, upload.size)
    (tmp_path / upload.name).write_bytes(right)
    verify(server, tmp_path, [upload], hashed=True)
    (tmp_path / upload.name).write_bytes(
        right[:block] + right[2 * block : 3 * block] + right[block : 2 * block] + right[3 * block :]
    )
    with pytest.raises(Wrong, match="other bytes"):
        verify(server, tmp_path, [upload], hashed=True)


def test_a_file_that_is_too_short_or_missing_is_found() -> None:
    with pytest.raises(Wrong, match="not there"):
        verify(SERVERS["tusd"], DOCS, [Upload("/files/nowhere", "any", 10)], hashed=False)
    with pytest.raises(Wrong, match="nothing was uploaded"):
        verify(SERVERS["tusd"], DOCS, [], hashed=False)
