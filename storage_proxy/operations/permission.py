"""Ask those who are to be asked before something is done.

Rules: nobody asked, everything allowed. A refusal holds for the request that was asked for; no answer refuses it for
now (`ports.Hooks`). What is asked about has not been done, and nothing of it is on the share.
"""

from storage_proxy.core.errors import HookRefused
from storage_proxy.core.manifest import Manifest
from storage_proxy.operations.service import Service
from storage_proxy.ports import Asked, Asker, Verdict


async def require_permission(service: Service, question: Asked, manifest: Manifest, asker: Asker | None) -> Verdict:
    """HookRefused, HookFailed."""
    if not service.hooks.wants(question):
        return Verdict()
    verdict = await service.hooks.ask(question, manifest, asker)
    if verdict.refusal is not None:
        raise HookRefused(hook=question, message=verdict.refusal)
    return verdict
