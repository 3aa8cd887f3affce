"""What the documents say is what the code does, where a test can tell."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
from prometheus_client.metrics import MetricWrapperBase

from storage_proxy.adapters.metrics import Metrics
from storage_proxy.core import errors
from storage_proxy.core.manifest import Manifest, Order, Phase, Policy, UploadId
from storage_proxy.core.target import Target
from storage_proxy.server.problems import PROBLEMS
from storage_proxy.settings import reference
from storage_proxy.store import info_json, layout

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


@pytest.mark.parametrize("leaf", PROBLEMS, ids=lambda leaf: leaf.__name__)
def test_the_page_of_errors_has_each_with_its_status_facts_and_pause(leaf: type[errors.StorageProxyError]) -> None:
    row = PROBLEMS[leaf]
    facts = ", ".join(f"`{field.name}`" for field in dataclasses.fields(leaf)) or "-"
    star = "*" if issubclass(leaf, errors.Contended | errors.Unavailable) else ""
    line = f"| {row.status}{star} | `{row.slug}` | {row.title} | {facts} | {row.retry_after or '-'} |"
    assert line in (DOCS / "errors.md").read_text().splitlines()


def test_the_page_of_errors_has_no_others() -> None:
    slugs = re.findall(r"^\| \d+\*? \| `([a-z-]+)`", (DOCS / "errors.md").read_text(), re.MULTILINE)
    assert sorted(slugs) == sorted(row.slug for row in PROBLEMS.values())


def test_the_page_of_the_disk_format_describes_each_field() -> None:
    upload = UploadId("main", "0" * 32)
    target = Target("main", "file")
    manifest = Manifest(upload, 1, Phase.OPEN, 1, Order.ANY, Policy.REFUSE, target)
    fields = json.loads(info_json.render(manifest, layout.staged_name("0" * 32)))
    described = re.findall(r"^\| (`.*?`) \|", (DOCS / "disk-format.md").read_text(), re.MULTILINE)
    named = {name for cell in described for name in re.findall(r"`(\w+)`", cell)}
    more = re.findall(r"^\| `created_at`, `changed_at`", (DOCS / "disk-format.md").read_text(), re.MULTILINE)
    # What is left out where there is nothing to say is described, too.
    assert set(fields) | info_json.SCHEMA_2 <= named | ({"created_at", "changed_at"} if more else set())


def test_the_page_of_the_configuration_is_the_one_that_the_settings_make() -> None:
    made = reference.render()
    assert (DOCS / "configuration.md").read_text() == made, "storage-proxy config reference > docs/configuration.md"


def test_every_test_that_the_promises_name_is_there() -> None:
    text = (DOCS / "promises.md").read_text() + (DOCS / "crash-table.md").read_text()
    for name in re.findall(r"`(?:tests/)?([a-z_]+/test_\w+)\.py", text):
        assert (ROOT / "tests" / f"{name}.py").is_file(), name
    for file, test in re.findall(r"`(?:tests/)?([a-z_]+/test_\w+\.py)::(\w+)`", text):
        assert f"def {test}(" in (ROOT / "tests" / file).read_text(), f"{file}::{test}"


def pages() -> list[Path]:
    rooms = [DOCS, *(ROOT / name for name in ("bench", "config", "deploy", "storage_proxy", "tests"))]
    found = [ROOT / "README.md", *(page for room in rooms for page in room.rglob("*.md"))]
    return sorted(page for page in found if "node_modules" not in page.parts)


def test_the_rooms_of_the_table_are_there() -> None:
    named = re.findall(r"^\| .+\? \| `([^`]+)`", (DOCS / "ARCHITECTURE.md").read_text(), re.MULTILINE)
    assert len(named) > 5
    assert [room for room in named if not any((top / room).exists() for top in (ROOT / "storage_proxy", ROOT))] == []


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_no_link_leads_nowhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in link:
            assert (page.parent / link).exists(), link


def test_the_page_of_metrics_has_each_with_its_kind_labels_and_meaning() -> None:
    rows = re.findall(
        r"^\| `(storage_proxy_\w+)` \| (\w+) \| (.+?) \| (.+?) \|", (DOCS / "metrics.md").read_text(), re.M
    )
    described = {name: (kind, set(re.findall(r"`(\w+)`", labels)), meaning) for name, kind, labels, meaning in rows}
    assert described == {
        f"{metric._name}_total" if metric._type == "counter" else metric._name: (
            metric._type,
            set(metric._labelnames),
            metric._documentation,
        )
        for metric in vars(Metrics(())).values()
        if isinstance(metric, MetricWrapperBase)
    } | {
        f"{metric._name}_total": (metric._type, set(metric._labelnames), metric._documentation)
        for metric in Metrics(())._per_volume.values()
    }
