"""A twin of those who are asked and told: it remembers, answers what a test has put down, and fails at a wish."""

from collections import defaultdict

from storage_proxy.core.errors import HookFailed
from storage_proxy.core.manifest import Manifest, Notice, UploadId
from storage_proxy.ports import Asked, Asker, Verdict


class RecordingHooks:
    """See `ports.Hooks`."""

    def __init__(self, *questions: Asked) -> None:
        self._questions = questions
        self.verdict = Verdict()
        self.failures = 0
        """so many of the next questions and notices get no answer"""
        self.asked: list[tuple[Asked, Manifest, Asker | None]] = []
        self.told: dict[UploadId, list[Notice]] = defaultdict(list)

    def wants(self, question: Asked) -> bool:
        return question in self._questions

    async def ask(self, question: Asked, manifest: Manifest, asker: Asker | None) -> Verdict:
        self._maybe_fail(question)
        self.asked.append((question, manifest, asker))
        return self.verdict

    async def tell(self, manifest: Manifest, notice: Notice) -> None:
        self._maybe_fail(notice.kind)
        self.told[manifest.upload].append(notice)

    def _maybe_fail(self, hook: str) -> None:
        if self.failures > 0:
            self.failures -= 1
            raise HookFailed(hook=hook, reason="answered 502")
