"""The hooks that the settings name, made from the room of that name."""

from storage_proxy.adapters.system import SystemClock, SystemEntropy
from storage_proxy.core.notices import Noting, Told, nobody
from storage_proxy.hooks import plugins
from storage_proxy.hooks.plugins import Plugin
from storage_proxy.hooks.receivers import Receiver, Receivers
from storage_proxy.hooks.webhooks import Webhook
from storage_proxy.operations.notify import Notifier, Patience
from storage_proxy.operations.service import NoticeRules, Service
from storage_proxy.ports import Asked
from storage_proxy.settings import Settings


class Hooking:
    """Everything about hooks that the rest of the wiring plugs in. PluginMissing."""

    def __init__(self, settings: Settings) -> None:
        hooks = settings.hooks
        self._plugins: list[Plugin] = plugins.load(hooks.plugins, hooks.timeout_seconds)
        self._webhook: Webhook | None = None
        if hooks.url is not None and hooks.secret is not None:
            wanted = frozenset[str](hooks.events)
            secret = hooks.secret.get_secret_value()
            self._webhook = Webhook(hooks.url, secret, wanted, hooks.timeout_seconds, SystemClock())
        self.receivers = Receivers(self._all, SystemClock(), SystemEntropy())
        self.patience = Patience(give_up_seconds=hooks.give_up)

    @property
    def _all(self) -> list[Receiver]:
        return [*self._plugins, *([self._webhook] if self._webhook is not None else [])]

    @property
    def told(self) -> frozenset[Told]:
        return frozenset(kind for kind in Told if any(receiver.wants(kind) for receiver in self._all))

    @property
    def rules(self) -> NoticeRules:
        return NoticeRules(Noting(self.told) if self.told else nobody, self.receivers.wants(Asked.PUBLISHING))

    def notifier(self, service: Service) -> Notifier | None:
        """Listening to the service; None: there is nobody to tell."""
        if not self.told:
            return None
        notifier = Notifier(service, self.receivers, self.told, self.patience)
        service.also_tell(notifier)
        return notifier

    async def close(self) -> None:
        if self._webhook is not None:
            await self._webhook.close()
