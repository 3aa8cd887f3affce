"""What is plugged into what, and what goes on beside the requests.

Rules: an application is built inside the process that serves it, after any fork. A volume that cannot be meant (not
there, a link where our directory should be) stops the start with a sentence; one that hangs does not, for the others
have work to do. It is looked at as soon as it answers, and if it cannot be meant the replica ends then.
"""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path

import structlog
from aiohttp import web

from storage_proxy import logs
from storage_proxy.adapters.doctor.start_up import start_up_faults
from storage_proxy.adapters.memory import give_back
from storage_proxy.adapters.metrics import CONTENT_TYPE, Metrics
from storage_proxy.adapters.page_files import read_page
from storage_proxy.adapters.system import SystemClock, SystemEntropy
from storage_proxy.adapters.threads import ThreadWorkers
from storage_proxy.app.hooking import Hooking
from storage_proxy.app.idle_memory import IdleMemory
from storage_proxy.app.listeners import Everybody
from storage_proxy.app.volumes import ages_of, limits_of, open_volumes
from storage_proxy.core.errors import ShareFault, ShareFull, ShareStalled
from storage_proxy.core.target import STAGING
from storage_proxy.hooks.plugins import PluginMissing
from storage_proxy.operations.heartbeat import Heartbeat
from storage_proxy.operations.readiness import Readiness
from storage_proxy.operations.reap import reap_for_ever
from storage_proxy.operations.service import Service, Volume
from storage_proxy.ports import LinkInTheWay, Listener, NameMissing
from storage_proxy.server.access import AccessKeys
from storage_proxy.server.addresses import Addresses
from storage_proxy.server.connections import Runner
from storage_proxy.server.cors import CorsRules
from storage_proxy.server.event_stream import EventStream
from storage_proxy.server.health import HealthRoutes
from storage_proxy.server.ietf_routes import DraftRules, IetfRoutes
from storage_proxy.server.metrics_routes import MetricsRoutes
from storage_proxy.server.operator_routes import OperatorRoutes
from storage_proxy.server.page_routes import Page, PageRoutes
from storage_proxy.server.requests import CONNECTIONS, dress, outermost
from storage_proxy.server.session_routes import SessionRoutes, SessionRules
from storage_proxy.server.token_routes import TokenRoutes, TokenRules
from storage_proxy.server.tus_routes import TusRoutes
from storage_proxy.server.uploading import FilesRules, Uploading
from storage_proxy.settings import Settings

SERVICE = web.AppKey("SERVICE", Service)
REFUSED = web.AppKey("REFUSED", list[str])
"""sentences such as CannotStart's, of what was found only later"""

# At start-up a volume that hangs is not waited for longer: the others have work to do.
START_SECONDS = 5.0

# Between two looks at whether it answers by now.
LATE_SECONDS = 1.0

# aiohttp waits for open requests this long, and once more as long after it has broken off their bodies.
DRAIN_SHARE_OF_REQUESTS = 0.4


class CannotStart(Exception):
    """A sentence for the person who starts the service."""


# ---- what is plugged in ---------------------------------------------------------------------------------------------


def build(settings: Settings, shared: Path | None = None) -> web.Application:
    """One replica's public application; with a manager's listener beside it, where the settings have one.

    `shared`: the directory in which the workers of this replica count together."""
    try:
        hooking = Hooking(settings)
    except PluginMissing as error:
        raise CannotStart(f"hooks.plugins: {error}") from None
    metrics = Metrics(settings.volumes, shared) if settings.metrics_are_served else None
    stream = EventStream({"replica": replica(), "workers": settings.server.workers})
    service = _service(settings, hooking, metrics, stream)
    probers = {name: ThreadWorkers(f"{name}-probe", threads=1) for name in service.volumes}
    readiness = Readiness(service, probers)
    app = web.Application(middlewares=[outermost(service, replica(), _addresses(settings))], handler_args=CONNECTIONS)
    app[SERVICE], app[REFUSED] = service, []
    app.on_response_prepare.append(dress(_cors(settings)))
    app.add_routes(_routes(settings, service, readiness))
    if metrics is not None:
        app.cleanup_ctx.append(partial(_sampling, metrics, service))
        if settings.metrics.public:
            prefixes = sorted({"", settings.server.base_path})
            app.add_routes(
                [route for prefix in prefixes for route in _metrics_routes(settings, metrics).routes(prefix)]
            )
    app.cleanup_ctx.append(partial(_working, settings, service, hooking, readiness))
    app.cleanup_ctx.append(partial(_watching, service, readiness, probers))
    app.cleanup_ctx.append(partial(_giving_back, service))
    if settings.manager.listen is not None:
        app.cleanup_ctx.append(partial(_managing, settings, service, readiness, stream, metrics))
    app.on_shutdown.append(_drain)
    return app


def build_manager(
    settings: Settings, service: Service, readiness: Readiness, stream: EventStream, metrics: Metrics | None = None
) -> web.Application:
    """What managers and operators ask for."""
    assert settings.manager.secret is not None, "the settings see to it"
    secret = settings.manager.secret.get_secret_value()
    app = web.Application(middlewares=[outermost(service, replica(), _addresses(settings))], handler_args=CONNECTIONS)
    app.on_response_prepare.append(dress(None))
    health = HealthRoutes(service, readiness, None)
    app.add_routes([*health.routes(""), web.get("/", health.about)])
    app.add_routes(OperatorRoutes(service, readiness, stream, secret).routes())
    if settings.tokens.secret is not None:
        rules = TokenRules(
            secret=secret,
            token_secret=settings.tokens.secret.get_secret_value(),
            token_seconds=settings.tokens.lifetime,
            order=settings.sessions.order,
            policy=settings.sessions.conflict,
        )
        app.add_routes(TokenRoutes(service, rules).routes())
    if metrics is not None:
        app.add_routes(_metrics_routes(settings, metrics).routes(""))
    return app


def _metrics_routes(settings: Settings, metrics: Metrics) -> MetricsRoutes:
    key = settings.metrics.key
    keys = AccessKeys((key.get_secret_value(),) if key is not None else ())
    return MetricsRoutes(metrics.exposition, CONTENT_TYPE, keys)


def _service(settings: Settings, hooking: Hooking, metrics: Metrics | None, stream: EventStream) -> Service:
    listeners: list[Listener] = [logs.EventLog(**{logs.REPLICA: replica()}), stream]
    if metrics is not None:
        listeners.append(metrics)
    heard = Everybody(*listeners)
    ages, storage = ages_of(settings), settings.storage
    volumes = open_volumes(
        settings, ages, heard, hooking.rules, threads=storage.threads, sync=storage.sync, metrics=metrics
    )
    return Service(volumes, SystemClock(), SystemEntropy(), heard, limits_of(settings), ages, hooking.receivers)


def _cors(settings: Settings) -> CorsRules:
    cors, access = settings.cors, settings.access
    keyless = settings.files.enabled and not access.keys and not access.open_to_everyone
    if keyless and "origins" not in cors.model_fields_set:
        # It listens on loopback only, but a browser there opens pages of everybody (docs/decisions/0026).
        return CorsRules((), this_machine=True, max_age_seconds=cors.max_age)
    return CorsRules(cors.origins, credentials=cors.credentials, max_age_seconds=cors.max_age)


def _addresses(settings: Settings) -> Addresses:
    return Addresses(settings.server.base_path, settings.server.trusted_proxies)


def _routes(settings: Settings, service: Service, readiness: Readiness) -> list[web.RouteDef]:
    server, files, idle = settings.server, settings.files, settings.limits.body_idle_seconds
    addresses = _addresses(settings)
    health = HealthRoutes(service, readiness, f"{server.base_path}/files" if files.enabled else None)
    # With the prefix, and without it for load balancers that strip it.
    prefixes = sorted({"", server.base_path})
    routes = [route for prefix in prefixes for route in health.routes(prefix)]
    page = PageRoutes(_page(settings), health.about)
    routes += [route for prefix in prefixes for route in page.routes(prefix)]
    if files.enabled:
        keys = AccessKeys(tuple(key.get_secret_value() for key in settings.access.keys))
        rules = FilesRules(
            volume=settings.files_volume,
            directory=files.directory,
            order=files.order,
            policy=files.conflict,
            metadata_bytes_max=settings.limits.metadata_bytes_max,
            body_idle_seconds=idle,
            headers_shown=settings.hooks.forward_headers,
        )
        uploading = Uploading(service, rules, addresses)
        draft = IetfRoutes(uploading, DraftRules(files.ietf_draft, files.interim_responses), keys)
        tus = TusRoutes(uploading, keys, draft)
        routes += [route for prefix in prefixes for route in tus.routes(prefix)]
    if settings.tokens.secret is not None:
        rules_of_sessions = SessionRules(
            settings.tokens.secret.get_secret_value(), settings.tokens.outlive, idle, settings.sessions.order
        )
        sessions = SessionRoutes(service, rules_of_sessions, addresses)
        routes += [route for prefix in prefixes for route in sessions.routes(prefix)]
    return routes


def _page(settings: Settings) -> Page | None:
    if not settings.page.enabled or not settings.files.enabled:
        return None
    volumes = (settings.files_volume, *(name for name in settings.volumes if name != settings.files_volume))
    return Page(read_page(), volumes, needs_key=bool(settings.access.keys), linked_seconds=settings.expiry.published)


def replica() -> str:
    return f"{socket.gethostname()}-{os.getpid()}"


# ---- from start to end ----------------------------------------------------------------------------------------------


async def _working(
    settings: Settings, service: Service, hooking: Hooking, readiness: Readiness, app: web.Application
) -> AsyncIterator[None]:
    """The volumes are there, the janitor goes round, and what happens is told."""
    notifier = hooking.notifier(service)
    volumes = service.volumes.values()
    late = await asyncio.gather(*(_prepare_soon(settings, readiness, each, app[REFUSED]) for each in volumes))
    janitor = asyncio.create_task(reap_for_ever(service, settings.expiry.sweep_every))
    janitor.add_done_callback(_tell_of_a_dead_janitor)
    yield
    for task in (janitor, *late):
        if task is not None:
            task.cancel()
    seconds = settings.server.drain_seconds * (1 - 2 * DRAIN_SHARE_OF_REQUESTS)
    # Half of it for each: what the first publishes is told by the second.
    await service.settle(seconds / 2)
    if notifier is not None:
        await notifier.settle(seconds / 2)
    await hooking.close()
    for volume in service.volumes.values():
        assert isinstance(volume.workers, ThreadWorkers), "made above"
        volume.workers.close()


async def _sampling(metrics: Metrics, service: Service, app: web.Application) -> AsyncIterator[None]:
    sampler = asyncio.create_task(metrics.sample_for_ever(service))
    yield
    sampler.cancel()
    # What happened since the last time; other workers go on telling it.
    metrics.sample(service)


async def _giving_back(service: Service, app: web.Application) -> AsyncIterator[None]:
    giving = asyncio.create_task(IdleMemory(service, give_back).look_for_ever())
    yield
    giving.cancel()


async def _watching(
    service: Service, readiness: Readiness, probers: Mapping[str, ThreadWorkers], app: web.Application
) -> AsyncIterator[None]:
    """What is known of the volumes is known before the first request, and then kept up; and others see this replica."""
    await readiness.ask()
    beat = Heartbeat(service, replica(), version("storage-proxy"))
    tasks = [asyncio.create_task(each) for each in (readiness.ask_for_ever(), beat.beat_for_ever())]
    yield
    for task in tasks:
        task.cancel()
    await beat.end()
    for prober in probers.values():
        prober.close()


async def _managing(
    settings: Settings,
    service: Service,
    readiness: Readiness,
    stream: EventStream,
    metrics: Metrics | None,
    app: web.Application,
) -> AsyncIterator[None]:
    listen = settings.manager.listen
    assert listen is not None, "asked before"
    runner = runner_of(build_manager(settings, service, readiness, stream, metrics), settings)
    await runner.setup()
    # Each worker opens the port for itself; the kernel shares the connections out.
    site = web.TCPSite(runner, listen.host, listen.port, reuse_port=settings.server.workers > 1)
    await site.start()
    yield
    await runner.cleanup()


async def _prepare_soon(
    settings: Settings, readiness: Readiness, volume: Volume, refused: list[str]
) -> "asyncio.Task[None] | None":
    try:
        await _prepare(settings, volume)
    except ShareStalled as error:
        # The others are served; this one by itself as soon as it answers. /health/ready tells.
        structlog.get_logger().warning("volume_hangs", volume=volume.name, detail=str(error))
        return asyncio.create_task(_prepare_late(settings, readiness, volume, refused))
    return None


async def _prepare_late(settings: Settings, readiness: Readiness, volume: Volume, refused: list[str]) -> None:
    while True:
        await asyncio.sleep(LATE_SECONDS)
        # Not asked by threads of its own while it hangs: each look would hold one more.
        if readiness.reason(volume) is not None:
            continue
        try:
            return await _prepare(settings, volume)
        except ShareStalled:
            continue
        except CannotStart as error:
            structlog.get_logger().error("volume_refused", volume=volume.name, detail=str(error))
            # What would have stopped the start ends the replica, in good order.
            refused.append(str(error))
            return os.kill(os.getpid(), signal.SIGTERM)


async def _prepare(settings: Settings, volume: Volume) -> None:
    """CannotStart, ShareStalled."""
    path = settings.volumes[volume.name].path
    try:
        await volume.workers.run(volume.manifests.prepare, START_SECONDS)
        faults = await volume.workers.run(partial(start_up_faults, path), START_SECONDS)
    except NameMissing:
        raise CannotStart(f"volumes.{volume.name}.path: there is no directory {path}; mount or create it.") from None
    except LinkInTheWay:
        raise CannotStart(
            f"volumes.{volume.name}.path: {path / STAGING} is not a directory of this service's own (a symbolic link "
            "is none); move it away."
        ) from None
    except (ShareFault, ShareFull) as error:
        raise CannotStart(f"volumes.{volume.name}.path: {path} cannot be used: {error}") from None
    if faults and not settings.storage.accept_faults:
        raise CannotStart(
            f"volumes.{volume.name}.path: {path} cannot keep what is promised. {' '.join(faults)} "
            f"`storage-proxy doctor {path}` tells more; storage.accept_faults = true serves it all the same."
        )
    for fault in faults:
        structlog.get_logger().warning("fault_accepted", volume=volume.name, detail=fault)


def _tell_of_a_dead_janitor(janitor: "asyncio.Task[None]") -> None:
    if not janitor.cancelled() and (error := janitor.exception()) is not None:
        structlog.get_logger().error("janitor_died", exc_info=error)


async def _drain(app: web.Application) -> None:
    app[SERVICE].draining.set()


def runner_of(app: web.Application, settings: Settings) -> Runner:
    return Runner(app, handle_signals=False, shutdown_timeout=settings.server.drain_seconds * DRAIN_SHARE_OF_REQUESTS)
