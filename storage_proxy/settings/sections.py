"""Every key of the settings, one class a table of the TOML file; the text under a key is its documentation.

Rules: frozen; unknown keys are errors; a default is safe for a file that does not mention the key; sizes are bytes and
times are seconds once they are read. What depends on more than one key is in `rules.py`.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from storage_proxy.core.manifest import Order, Policy
from storage_proxy.core.target import Layout
from storage_proxy.settings import rules
from storage_proxy.settings.spellings import (
    DAY,
    GIB,
    HOUR,
    KIB,
    MIB,
    MINUTE,
    TIB,
    Address,
    BasePath,
    Directory,
    Duration,
    Listed,
    Listen,
    Lowered,
    Network,
    Seconds,
    Secret,
    Size,
    SizeOrNothing,
    Subdirectory,
    VolumeName,
)

HookName = Literal[
    "pre-create",
    "pre-finish",
    "pre-terminate",
    "post-create",
    "post-receive",
    "post-finish",
    "post-fail",
    "post-terminate",
    "post-expire",
]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, hide_input_in_errors=True)


class Server(Section):
    """The listener that clients upload to."""

    listen: Listen = Address("127.0.0.1", 8080)
    """Host and port; an IPv6 address stands in brackets. Only an address like 127.0.0.1 may do without a key."""
    workers: int = Field(1, ge=1, le=256)
    """Processes that share the port. One needs no process manager; more are started and restarted by gunicorn."""
    drain_seconds: Seconds = 20.0
    """How long a replica that was told to stop may take to commit what open requests have delivered."""
    event_loop: Literal["uvloop", "asyncio"] = "uvloop"
    """`asyncio` is Python's own loop, slower, for debugging."""
    trusted_proxies: Annotated[tuple[Network, ...], Listed] = ()
    """Networks of load balancers that are believed, and nobody else: X-Forwarded-Prefix, which goes before `base_path`;
    and for hooks and the log whose request they pass on, the last address that is none of theirs in Forwarded or
    X-Forwarded-For (where a request has both and they differ, in neither)."""
    base_path: BasePath = ""
    """The prefix under which a load balancer mounts the service, such as `/storage`."""


class Manager(Section):
    """The listener that clients must not reach: for the manager of existing deployments, for operators, and for
    Prometheus. The manager's API is there when there is a `tokens.secret`."""

    listen: Listen | None = None
    """Host and port; without it there is none of these."""
    secret: Secret | None = None
    """What the manager sends as X-BackendAI-Storage-Auth-Token, and operators are asked for. Needed with `listen`; at
    least 16 characters unless that is a loopback address, for it can be tried out over the network."""


class Metrics(Section):
    """What Prometheus scrapes: `/metrics` on the manager's listener."""

    enabled: bool = True
    """Whether anything is counted at all."""
    key: Secret | None = None
    """What Prometheus sends as `Authorization: Bearer <key>`; without one whoever reaches the listener is answered."""
    public: bool = False
    """Also on `server.listen`, where clients are. Other machines can reach it there, and are asked for `key`."""


class Tokens(Section):
    """Session tokens: signed by the manager API, shown by clients at `/upload`."""

    secret: Secret | None = None
    """Signs and checks the tokens; the same on all replicas, 16 characters at least (32 are better: whoever holds one
    token can try out short secrets in private). Without it there are no sessions."""
    lifetime: Duration = DAY
    """How long a token is valid."""
    outlive: bool = True
    """An expired token keeps working for an upload that it has begun, until that upload ends or expires itself."""


class Access(Section):
    """Who may use plain TUS (`/files`)."""

    keys: Annotated[tuple[Secret, ...], Listed] = ()
    """Any of these is accepted as `Authorization: Bearer <key>`; several, so that they can be changed one by one."""
    open_to_everyone: bool = False
    """Serve without a key although the address can be reached from other machines."""


class Volume(Section):
    """A directory on the share."""

    path: Directory
    """Where it is mounted. Relative paths start where the service was started; `~` is the user's home."""
    layout: Layout = Layout.PLAIN
    """How a folder's id becomes a directory: `plain` is `<path>/<vfid>/...`; `backend-ai` has the quota scope and the
    split folder id of Backend.AI's volumes."""


class Files(Section):
    """Plain TUS at `/files`."""

    enabled: bool = True
    """Whether there is plain TUS at all; a deployment that only knows sessions turns it off."""
    volume: VolumeName | None = None
    """The volume for uploads that name none; by default the first one."""
    directory: Subdirectory = ""
    """The directory below the volume in which plain uploads appear; by default the volume itself."""
    order: Annotated[Order, Lowered] = Order.SEQUENTIAL
    """`sequential` as TUS has it; `any` takes chunks at any offset, also from a client that did not ask for it."""
    conflict: Annotated[Policy, Lowered] = Policy.KEEP_BOTH
    """When the name is taken: `keep-both` numbers the new file, `replace` replaces, `refuse` fails the upload."""
    ietf_draft: bool = True
    """Whether Resumable Uploads for HTTP is spoken at `/files`, too, by clients that name its version."""
    interim_responses: Annotated[Literal["direct", "always", "never"], Lowered] = "direct"
    """When those clients are sent 104 (Upload Resumption Supported): `direct`, where no header tells of a proxy on the
    way, for some take it for the answer (nginx 1.22 with `proxy_http_version 1.1`); `always`, behind one that passes
    it on (HAProxy); or `never`."""


class Page(Section):
    """The upload page at `/`, for browsers; it uploads by plain TUS."""

    enabled: bool = True
    """Whether there is one. It needs `files.enabled`, and to have been built (`make page`)."""


class Sessions(Section):
    """Uploads by session token at `/upload`."""

    order: Annotated[Order, Lowered] = Order.ANY
    """As in [files]."""
    conflict: Annotated[Policy, Lowered] = Policy.REPLACE
    """As in [files]."""


class Limits(Section):
    """What one client, or one upload, may ask of the service."""

    upload_bytes_max: Size = 10 * TIB
    """The longest upload that may be created."""
    appends_max: int = Field(1024, ge=1)
    """Request bodies that one worker receives at the same time; further ones are told to come again."""
    undurable_bytes_max: Size = GIB
    """Bytes that one worker may have received and not yet committed; beyond it commits come before more bytes."""
    body_idle_seconds: Seconds = 30.0
    """A body from which nothing has come for so long is ended; what it has delivered is kept."""
    metadata_bytes_max: Size = 8 * KIB
    """The longest Upload-Metadata."""
    closer_wait_seconds: Seconds = 20.0
    """How long the request with the last byte waits for the file to be published before it is answered."""
    lock_wait_seconds: Seconds = 10.0
    """How long a request waits for another replica's change of the same upload before it answers 423."""
    share_stall_seconds: Seconds = 30.0
    """A call to the share that takes longer counts as hung; the request is answered, the volume is called unready."""


class Checkpoints(Section):
    """How often the bytes of a long request are made durable, so that a crash costs no more than this."""

    bytes: Size = 64 * MIB
    """After so many bytes."""
    seconds: Seconds = 5.0
    """Or after so long, when any have come."""


class Expiry(Section):
    """When what nobody can need any more is deleted."""

    open: Duration = 7 * DAY
    """An unfinished upload, and a part that waits to be joined, after its last change. Clients see it as
    Upload-Expires."""
    sliding: bool = True
    """Whether each change gives an upload this time anew; if not, it counts from the creation, whatever comes in."""
    joined: Duration = HOUR
    """A part, after a file that it was joined into has been published. Until then it can be joined into others, too."""
    published: Duration = DAY
    """The record of a published upload; the file itself stays."""
    ended: Duration = DAY
    """The record that an upload was terminated or has expired, by which its URL answers 410."""
    orphans: Duration = HOUR
    """Files of uploads whose writer has vanished."""
    sweep_every: Duration = 5 * MINUTE
    """How often each replica looks for these."""


class Storage(Section):
    """How the share is used."""

    sync: bool = True
    """Whether what is acknowledged outlives a loss of power. Turn it off only to measure or to test."""
    accept_faults: bool = False
    """Serve a volume although the check at start-up finds that it cannot keep a promise; the log then says which."""
    check_space: bool = True
    """Refuse at its creation an upload that cannot fit into what is free and not yet promised to open uploads."""
    reserve: SizeOrNothing = 0
    """What new uploads must leave free, for other users of the share."""
    threads: int = Field(16, ge=1, le=1024)
    """Calls to one volume that one worker has under way at the same time."""


class Hooks(Section):
    """Who is asked before something is done, and told afterwards (docs/hooks.md)."""

    url: str | None = None
    """Where a webhook is reached, `http://` or `https://`; without it there is none."""
    secret: Secret | None = None
    """Signs what the webhook gets; at least 16 characters, or `whsec_` and base64 as Standard Webhooks have it. Needed
    with `url`."""
    events: Annotated[tuple[HookName, ...], Listed] = (
        "post-create",
        "post-finish",
        "post-fail",
        "post-terminate",
        "post-expire",
    )
    """What the webhook is asked and told: these, `post-receive` (after each commit), and the questions `pre-create`,
    `pre-finish` and `pre-terminate`: while they get no answer, what is asked about is not done."""
    plugins: Annotated[tuple[str, ...], Listed] = ()
    """Entry points of the group `storage_proxy.hooks` in installed packages; they get what they have methods for."""
    timeout_seconds: Seconds = 5.0
    """How long a hook may take to answer."""
    give_up: Duration = 3 * DAY
    """A notice that nobody has taken for so long is dropped, and the log says so."""
    forward_headers: Annotated[tuple[str, ...], Listed] = ()
    """Headers of the client's request that a question shows to its receiver, such as `X-User`."""


class Cors(Section):
    """Which web pages may upload from a browser."""

    origins: Annotated[tuple[str, ...], Listed] = ("*",)
    """Origins such as `https://app.example.org`; `*` for all; none at all turns CORS off. Where none are named and
    plain TUS needs no key, only pages of this machine may upload (`http://localhost:5173`, `127.0.0.1`, `[::1]`)."""
    credentials: bool = False
    """Whether browsers may send cookies along; needs the origins by name."""
    max_age: Duration = DAY
    """How long a browser may remember the answer to its preflight question."""


class Log(Section):
    """Log lines on standard error."""

    format: Annotated[Literal["auto", "json", "console"], Lowered] = "auto"
    """`json` for machines, `console` for people; `auto` is `console` on a terminal."""
    level: Annotated[Literal["debug", "info", "warning", "error"], Lowered] = "info"
    """The least important lines that are written."""


class Settings(BaseSettings):
    """The whole of it. `load` and `embedded` make one; constructing one directly reads no environment."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
        env_prefix="STORAGE_PROXY_",
        env_nested_delimiter="__",
        env_ignore_empty=True,  # compose files write `X: ${X:-}` for "not set"
        enable_decoding=False,  # lists are text with commas, not JSON
    )

    server: Server = Server()
    manager: Manager = Manager()
    metrics: Metrics = Metrics()
    tokens: Tokens = Tokens()
    access: Access = Access()
    volumes: dict[VolumeName, Volume]
    """One table for each directory on the share: `[volumes.<name>]`."""
    files: Files = Files()
    page: Page = Page()
    sessions: Sessions = Sessions()
    limits: Limits = Limits()
    checkpoints: Checkpoints = Checkpoints()
    expiry: Expiry = Expiry()
    storage: Storage = Storage()
    hooks: Hooks = Hooks()
    cors: Cors = Cors()
    log: Log = Log()

    @model_validator(mode="after")
    def _together(self) -> Self:
        rules.check(self)
        return self

    @property
    def files_volume(self) -> str:
        """Where a plain upload goes that names no volume."""
        return self.files.volume or next(iter(self.volumes))

    @property
    def metrics_are_served(self) -> bool:
        """Where nobody can ask for them, nothing is counted."""
        return self.metrics.enabled and (self.metrics.public or self.manager.listen is not None)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # `loading.py` asks the sources one by one, to be able to say which of them a bad value came from.
        return (init_settings,)
