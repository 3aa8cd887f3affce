"""Several receivers as one `ports.Hooks`.

Rules: they are asked, and told, in the order of the settings. The first refusal stands; a path is the last one's that
names one. A notice is taken when all have taken it: if a later one fails, the earlier ones get it again.
"""

from collections.abc import Sequence
from typing import Protocol

from storage_proxy.core.manifest import Manifest, Notice
from storage_proxy.hooks import documents
from storage_proxy.hooks.documents import Document
from storage_proxy.ports import Asked, Asker, Clock, Entropy, Verdict


class Receiver(Protocol):
    def wants(self, kind: str) -> bool: ...

    async def send(self, document: Document) -> object:
        """Its reply, as parsed JSON; None for an empty one. HookFailed."""
        ...


class Receivers:
    def __init__(self, receivers: Sequence[Receiver], clock: Clock, entropy: Entropy) -> None:
        self._receivers = tuple(receivers)
        self._clock = clock
        self._entropy = entropy

    def wants(self, question: Asked) -> bool:
        return any(receiver.wants(question) for receiver in self._receivers)

    async def ask(self, question: Asked, manifest: Manifest, asker: Asker | None) -> Verdict:
        document = documents.question(question, self._entropy.token(), self._clock.now(), manifest, asker)
        path: str | None = None
        for receiver in self._receivers:
            if receiver.wants(question):
                verdict = documents.verdict(question, await receiver.send(document))
                if verdict.refusal is not None:
                    return verdict
                path = verdict.path or path
        return Verdict(path=path)

    async def tell(self, manifest: Manifest, notice: Notice) -> None:
        # The same each time it is told, whoever tells it: receivers know a repetition by it.
        document = documents.notice(f"{manifest.upload}.{notice.number}", notice, manifest)
        for receiver in self._receivers:
            if receiver.wants(notice.kind):
                await receiver.send(document)
