"""What may not stand together in one set of settings.

Rules: each rule is one function that yields (key, sentence); the sentence says what is wrong and what to do. A rule
never repeats a secret. All rules are asked, so that a person mends a file in one go.
"""

import re
from base64 import b64decode
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from pydantic import SecretStr
from pydantic_core import PydanticCustomError

if TYPE_CHECKING:  # the sections call the rules
    from storage_proxy.settings.sections import Settings

TOGETHER = "together"
"""The type of the one error that carries all the rules' complaints, as `problems`."""

SECRET_LENGTH_MIN = 16

SAMPLE = "replace-me"
"""How the secrets of the sample files begin."""

STANDARD_SECRET = "whsec_"  # noqa: S105 # how Standard Webhooks spell a secret in base64, and no secret

_WEB_ADDRESS = re.compile(r"https?://[^/\s]+")

_MAKE_ONE = 'python3 -c "import secrets; print(secrets.token_urlsafe(32))" prints a good one'

Complaints = Iterator[tuple[str, str]]


def check(settings: "Settings") -> None:
    problems = [problem for rule in _RULES for problem in rule(settings)]
    if problems:
        raise PydanticCustomError(TOGETHER, "these settings do not go together", {"problems": problems})


def _some_volume(settings: "Settings") -> Complaints:
    if not settings.volumes:
        yield "volumes", 'no volume is named; add [volumes.main] with path = "/where/the/share/is/mounted"'


def _volumes_apart(settings: "Settings") -> Complaints:
    seen: dict[object, str] = {}
    for name, volume in settings.volumes.items():
        if volume.path in seen:
            yield f"volumes.{name}.path", f"volume {seen[volume.path]!r} has the same path; an upload has one home only"
        seen.setdefault(volume.path, name)


def _files_volume_exists(settings: "Settings") -> Complaints:
    if settings.files.volume is not None and settings.files.volume not in settings.volumes:
        yield "files.volume", f"found {settings.files.volume!r}, expected one of: {', '.join(settings.volumes)}"


def _not_open_by_accident(settings: "Settings") -> Complaints:
    access, listen = settings.access, settings.server.listen
    if access.keys and access.open_to_everyone:
        yield "access.open_to_everyone", "there are access.keys as well; remove one of the two"
    if settings.files.enabled and not access.keys and not access.open_to_everyone and not listen.is_loopback:
        yield (
            "access.keys",
            f"without a key everybody who reaches {listen} could upload, so the service does not start. "
            f"Set access.keys ({_MAKE_ONE}), or listen on 127.0.0.1, or turn plain TUS off by files.enabled = false, "
            "or, if that is what you want, set access.open_to_everyone = true",
        )


def _manager_complete(settings: "Settings") -> Complaints:
    manager = settings.manager
    if manager.listen is None:
        return
    if manager.secret is None:
        yield "manager.secret", f"needed, because manager.listen is set ({_MAKE_ONE})"
    if manager.listen == settings.server.listen and manager.listen.port != 0:
        yield "manager.listen", f"found {manager.listen}, as in server.listen; the manager API has a port of its own"


def _metrics_not_open_by_accident(settings: "Settings") -> Complaints:
    metrics, listen = settings.metrics, settings.server.listen
    if metrics.enabled and metrics.public and metrics.key is None and not listen.is_loopback:
        yield (
            "metrics.key",
            f"needed, because metrics.public shows them to everybody who reaches {listen} ({_MAKE_ONE})",
        )


def _secrets_are_secret(settings: "Settings") -> Complaints:
    for key, secret, exposed in _secrets(settings):
        if secret.get_secret_value().startswith(SAMPLE):
            yield key, f"is the one of the sample files, which everybody can read; make your own ({_MAKE_ONE})"
        elif exposed and len(secret) < SECRET_LENGTH_MIN:
            # On loopback anything will do; elsewhere short ones can be found by trying.
            yield key, f"expected at least {SECRET_LENGTH_MIN} characters, because other machines can try ({_MAKE_ONE})"


def _secrets(settings: "Settings") -> Iterator[tuple[str, SecretStr, bool]]:
    """Each with its key, and whether other machines can try it."""
    server, manager = settings.server.listen, settings.manager.listen
    for index, secret in enumerate(settings.access.keys):
        yield f"access.keys[{index}]", secret, not server.is_loopback
    if settings.hooks.secret is not None:
        yield "hooks.secret", settings.hooks.secret, True
    if settings.tokens.secret is not None:
        yield "tokens.secret", settings.tokens.secret, not server.is_loopback
    if manager is not None and settings.manager.secret is not None:
        yield "manager.secret", settings.manager.secret, not manager.is_loopback
    if settings.metrics.key is not None:
        reached = (settings.metrics.public and not server.is_loopback, manager is not None and not manager.is_loopback)
        yield "metrics.key", settings.metrics.key, any(reached)


def _webhook_complete(settings: "Settings") -> Complaints:
    hooks = settings.hooks
    if hooks.url is not None and not _WEB_ADDRESS.match(hooks.url):
        yield "hooks.url", "expected an address such as https://hooks.example.org/uploads"
    if hooks.url is not None and hooks.secret is None:
        yield "hooks.secret", f"needed, because hooks.url is set: it signs what is sent ({_MAKE_ONE})"
    if hooks.secret is not None and hooks.secret.get_secret_value().startswith(STANDARD_SECRET):
        try:
            b64decode(hooks.secret.get_secret_value().removeprefix(STANDARD_SECRET), validate=True)
        except ValueError:
            yield "hooks.secret", f"expected base64 behind {STANDARD_SECRET}"


def _checkpoints_fit(settings: "Settings") -> Complaints:
    if settings.checkpoints.bytes > settings.limits.undurable_bytes_max:
        yield "checkpoints.bytes", "more than limits.undurable_bytes_max: a checkpoint would never be reached"


def _cors_possible(settings: "Settings") -> Complaints:
    if settings.cors.credentials and "*" in settings.cors.origins:
        yield "cors.credentials", "browsers refuse credentials for every origin (*); name the origins in cors.origins"


_RULES: tuple[Callable[["Settings"], Complaints], ...] = (
    _some_volume,
    _volumes_apart,
    _files_volume_exists,
    _not_open_by_accident,
    _manager_complete,
    _metrics_not_open_by_accident,
    _secrets_are_secret,
    _webhook_complete,
    _checkpoints_fit,
    _cors_possible,
)
