"""Every example of the pages for people is run by a test, or says here why it is none."""

from pathlib import Path

import pytest

from tests.examples import blocks

ROOT = Path(__file__).parents[1]

PICTURE = "no command: a picture in letters"
OUTPUT = "no command: what one has printed; "  # and the test that its words are those of the code still
MEASURED = "a measurement, by a command that takes long: "  # and what runs that command

FIRST_STEPS = "end_to_end/test_first_steps.py::"
IOS = "end_to_end/test_ietf_draft.py::"
PAGES_OF = "end_to_end/test_documentation.py::"
HOOKS = "end_to_end/test_documentation_of_hooks.py::"
OPERATING = "end_to_end/test_documentation_of_operating.py::"

# Page -> the first line of each block -> the test that runs it.
EXAMPLES = {
    "README.md": {
        "make run      # serves": PAGES_OF + "test_make_run_serves_and_prints_three_commands",
        "at=$(curl -sD-": FIRST_STEPS + "test_the_shell_lines_of_the_readme_do_what_they_say_when_they_are_pasted",
        'import { Upload } from "tus-js-client";': PAGES_OF
        + "test_the_example_of_the_readme_uploads_a_file_from_a_page",
        "curl -I": FIRST_STEPS + "test_the_shell_lines_of_the_readme_do_what_they_say_when_they_are_pasted",
        "storage-proxy serve": "end_to_end/test_deployment.py::"
        "test_the_sample_for_production_serves_clients_and_operators",
    },
    "docs/ARCHITECTURE.md": {"__main__ > cli > app >": PICTURE},
    "docs/clients.md": {
        'import { Upload } from "tus-js-client";': PAGES_OF
        + "test_the_example_of_tus_js_client_goes_on_with_what_an_earlier_page_has_begun",
        "from tusclient.client import TusClient": PAGES_OF + "test_the_example_of_tuspy_uploads_a_file",
        "endpoint=http://127.0.0.1:8080/files": PAGES_OF
        + "test_the_script_that_goes_on_until_all_is_there_goes_on_after_a_lost_connection",
        "import Foundation": IOS + "test_what_the_page_says_for_ios_is_what_is_sent_here",
        "import TUSKit": IOS + "test_what_the_page_says_for_tuskit_is_where_uploads_are_created",
        "at=$(curl -sSD- -o/dev/null -X POST http://127.0.0.1:8080/files": PAGES_OF
        + "test_two_halves_in_the_wrong_order_become_the_file",
    },
    "docs/conformance.md": {
        "pip install ./tests/conformance": "conformance/test_package.py::"
        "test_the_command_that_is_installed_judges_a_server",
    },
    "docs/disk-format.md": {"<volume>/.uploads/": PICTURE},
    "docs/doctor.md": {
        "storage-proxy doctor /mnt/share": OPERATING + "test_two_doctors_find_each_other_in_the_share",
        "good  mount": OUTPUT + OPERATING + "test_what_the_doctor_is_shown_to_print_is_what_it_can_print",
        "fenced  locks between hosts": OUTPUT
        + OPERATING
        + "test_what_the_doctor_is_shown_to_print_is_what_it_can_print",
        "storage-proxy verify": OPERATING + "test_the_usage_of_verify_and_repair_is_that_of_the_commands",
    },
    "docs/getting-started.md": {
        "make run": PAGES_OF + "test_make_run_serves_and_prints_three_commands",
        "head -c 3000000": PAGES_OF + "test_getting_started_does_what_it_says",
        "curl -sI": PAGES_OF + "test_getting_started_does_what_it_says",
        ".venv/bin/storage-proxy serve --data ./data": PAGES_OF
        + "test_a_second_process_on_the_same_directory_goes_on_with_the_uploads_of_the_first",
    },
    "docs/hooks.md": {
        "[hooks]": HOOKS + "test_what_is_sent_is_what_the_page_shows",
        "{": HOOKS + "test_what_is_sent_is_what_the_page_shows",
        "expected = hmac.new": HOOKS + "test_the_lines_that_check_a_signature_accept_what_is_sent_and_nothing_else",
        '{"RejectUpload"': HOOKS + "test_a_reply_that_refuses_reaches_the_client",
        "[project.entry-points": HOOKS + "test_a_plug_in_that_is_installed_is_asked_and_told",
        "class Hooks:": HOOKS + "test_a_plug_in_that_is_installed_is_asked_and_told",
    },
    "docs/ietf-draft.md": {"curl -T movie.mp4": IOS + "test_the_example_of_the_page_does_what_it_says"},
    "docs/nfs.md": {
        "# /etc/exports": OPERATING + "test_the_line_of_exports_syncs",
        "# /etc/fstab": OPERATING + "test_the_line_of_fstab_is_one_that_the_doctor_has_nothing_against",
    },
    "docs/operating.md": {
        "scrape_configs:": OPERATING + "test_prometheus_takes_the_lines_by_which_it_finds_the_replicas",
        "storage-proxy uploads list": OPERATING + "test_the_commands_for_uploads_find_the_one_that_is_looked_for",
    },
    "docs/reliability.md": {"make lab LAB_SEED=20261120": MEASURED + "by hand; `.ci/run` runs a part of it"},
    "docs/troubleshooting.md": {
        "storage-proxy verify": OPERATING + "test_verify_and_repair_run_as_the_page_on_trouble_has_them"
    },
}


def pages() -> list[Path]:
    return sorted([ROOT / "README.md", ROOT / "deploy" / "README.md", *(ROOT / "docs").glob("*.md")])


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_each_example_of_a_page_has_its_test(page: Path) -> None:
    known = EXAMPLES.get(page.relative_to(ROOT).as_posix(), {})
    found = [[name for name in known if block.first.startswith(name)] for block in blocks(page)]
    firsts = [block.first for block in blocks(page)]
    # The longest name that fits is the block's; "{" is the whole first line of one, and begins another.
    names = [
        max(fitting, key=len) if fitting else f"no test is named for: {first}"
        for fitting, first in zip(found, firsts, strict=True)
    ]
    assert sorted(names) == sorted(known)


def test_every_page_with_an_example_is_walked() -> None:
    assert {page.relative_to(ROOT).as_posix() for page in pages() if any(blocks(page))} == set(EXAMPLES)


@pytest.mark.parametrize(
    ("page", "test"), sorted({(page, test) for page, tests in EXAMPLES.items() for test in tests.values()})
)
def test_each_test_that_is_named_is_there_and_knows_the_page(page: str, test: str) -> None:
    if test == PICTURE or test.startswith(MEASURED):
        return
    file, _, function = test.removeprefix(OUTPUT).partition("::")
    text = (ROOT / "tests" / file).read_text()
    assert f"def {function}(" in text
    assert page.rpartition("/")[2] in text or file.startswith("conformance/")
