"""Plug-ins: what their methods are asked, and what becomes of their failures."""

import asyncio
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from storage_proxy.core.errors import HookFailed
from storage_proxy.hooks import plugins
from storage_proxy.hooks.plugins import Plugin, PluginMissing

DOCUMENT = {"Type": "pre-create", "Id": "main.1"}


class Ours:
    def __init__(self) -> None:
        self.thread: threading.Thread | None = None

    async def pre_create(self, document: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"RejectUpload": document["Id"] == "main.1"}

    def post_finish(self, document: Mapping[str, Any]) -> None:
        self.thread = threading.current_thread()

    def pre_finish(self, document: Mapping[str, Any]) -> None:
        raise ValueError("a bug of the operator's own")

    async def pre_terminate(self, document: Mapping[str, Any]) -> None:
        await asyncio.Event().wait()

    post_create = "no method"


def test_the_methods_it_has_are_the_hooks_it_wants() -> None:
    plugin = Plugin("ours", Ours(), 1.0)
    assert [kind for kind in ("pre-create", "post-finish", "post-create", "post-fail") if plugin.wants(kind)] == [
        "pre-create",
        "post-finish",
    ]


async def test_a_coroutine_is_awaited() -> None:
    assert await Plugin("ours", Ours(), 1.0).send(DOCUMENT) == {"RejectUpload": True}


async def test_a_plain_function_runs_in_a_thread() -> None:
    ours = Ours()
    assert await Plugin("ours", ours, 1.0).send({"Type": "post-finish"}) is None
    assert ours.thread is not None
    assert ours.thread is not threading.main_thread()


async def test_what_it_raises_is_no_answer() -> None:
    with pytest.raises(HookFailed, match=r"failed \(ValueError\)"):
        await Plugin("ours", Ours(), 1.0).send({"Type": "pre-finish"})


async def test_it_must_answer_in_time() -> None:
    with pytest.raises(HookFailed, match=r"did not answer in 0.01 s"):
        await Plugin("ours", Ours(), 0.01).send({"Type": "pre-terminate"})


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package as pip would leave it."""
    info = tmp_path / "our_hooks-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: our-hooks\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[storage_proxy.hooks]\nclass = our_hooks:Hooks\nobject = our_hooks:hooks\n")
    (tmp_path / "our_hooks.py").write_text(
        "class Hooks:\n    async def pre_create(self, document):\n        return None\n\nhooks = Hooks()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures("installed")
async def test_installed_ones_are_found_by_name_a_class_as_well_as_an_object() -> None:
    found = plugins.load(("object", "class"), 1.0)
    assert [plugin.wants("pre-create") for plugin in found] == [True, True]
    assert await found[1].send(DOCUMENT) is None


@pytest.mark.usefixtures("installed")
def test_one_that_is_not_installed_is_named_with_those_that_are() -> None:
    with pytest.raises(PluginMissing, match=r"'other'.*\(class, object found\)"):
        plugins.load(("other",), 1.0)
