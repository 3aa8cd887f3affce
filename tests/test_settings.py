"""Settings: where they come from, what they refuse, and that no secret is ever in a text made from them."""

import os
import re
import secrets
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from storage_proxy.core.manifest import Order, Policy
from storage_proxy.core.target import Layout
from storage_proxy.settings import Address, Settings, SettingsError, embedded, load, reference
from storage_proxy.settings.sections import Volume

SAMPLES = sorted((Path(__file__).parents[1] / "config").glob("*.toml"))
SECRET = "correct horse battery staple"
MAIN = '[volumes.main]\npath = "/srv/main"\n'


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith("STORAGE_PROXY_")]:
        monkeypatch.delenv(name)


def written(folder: Path, text: str) -> Path:
    file = folder / "settings.toml"
    file.write_text(text)
    return file


def refusal(file: Path | None, **overrides: object) -> str:
    with pytest.raises(SettingsError) as caught:
        load(file, {key.replace("__", "."): value for key, value in overrides.items()})
    return str(caught.value)


# ---- where settings come from ------------------------------------------------------------------------------------


def test_the_embedded_default_serves_one_volume_on_loopback_without_a_key(tmp_path: Path) -> None:
    settings = embedded(tmp_path / "data")
    assert settings.server.listen == Address("127.0.0.1", 8080)
    assert {name: volume.path for name, volume in settings.volumes.items()} == {"main": tmp_path / "data"}
    assert settings.files_volume == "main"
    assert settings.access.keys == ()
    assert settings.manager.listen is None


def test_the_command_line_goes_before_the_environment_before_the_file_before_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path, MAIN + "[storage]\nthreads = 2\n[limits]\nappends_max = 2\n[server]\nworkers = 2")
    monkeypatch.setenv("STORAGE_PROXY_LIMITS__APPENDS_MAX", "3")
    monkeypatch.setenv("STORAGE_PROXY_SERVER__WORKERS", "3")
    settings = load(file, {"server.workers": 4})
    assert settings.server.drain_seconds == 20
    assert settings.storage.threads == 2
    assert settings.limits.appends_max == 3
    assert settings.server.workers == 4


def test_lists_and_volumes_can_be_set_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STORAGE_PROXY_ACCESS__KEYS", f"{SECRET}, another {SECRET}")
    monkeypatch.setenv("STORAGE_PROXY_VOLUMES__BIG__PATH", str(tmp_path))
    monkeypatch.setenv("STORAGE_PROXY_SERVER__TRUSTED_PROXIES", "10.0.0.0/8,fd00::/8")
    settings = embedded()
    assert [key.get_secret_value() for key in settings.access.keys] == [SECRET, f"another {SECRET}"]
    assert list(settings.volumes) == ["big"]
    assert [str(network) for network in settings.server.trusted_proxies] == ["10.0.0.0/8", "fd00::/8"]


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_PROXY_MANAGER__LISTEN", "")
    assert embedded().manager.listen is None


def test_the_variables_that_kubernetes_sets_for_a_service_of_our_name_are_no_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STORAGE_PROXY_PORT", "tcp://10.0.0.1:8080")
    monkeypatch.setenv("STORAGE_PROXY_SERVICE_HOST", "10.0.0.1")
    assert embedded().server.listen.port == 8080


def test_constructing_settings_reads_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_PROXY_SERVER__WORKERS", "7")
    assert Settings(volumes={"main": Volume(path=Path("/srv"))}).server.workers == 1


def test_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert embedded(Path("here")).volumes["main"].path == tmp_path / "here"


@pytest.mark.parametrize("file", SAMPLES, ids=lambda file: str(file.name))
def test_each_sample_file_loads_once_its_secrets_are_ones_own(file: Path, tmp_path: Path) -> None:
    own = tmp_path / file.name
    own.write_text(file.read_text().replace("replace-me", secrets.token_hex(8)))
    assert load(own, {}).volumes


@pytest.mark.parametrize(
    "file", [file for file in SAMPLES if "replace-me" in file.read_text()], ids=lambda file: file.name
)
def test_nobody_serves_with_a_secret_that_everybody_can_read_in_a_sample(file: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load(file, {})
    assert str(caught.value).count("make your own") == file.read_text().count("replace-me")


def test_there_is_a_sample_for_each_way_to_run() -> None:
    assert [file.stem for file in SAMPLES] == ["development", "production", "session-tokens"]


@pytest.mark.parametrize("file", SAMPLES, ids=lambda file: str(file.name))
def test_each_key_of_a_sample_has_a_comment(file: Path) -> None:
    lines = file.read_text().splitlines()
    bare = [line for line in lines if "=" in line and not line.startswith("#") and "#" not in line]
    assert bare == []


def test_every_key_is_described() -> None:
    def undescribed(model: type[BaseModel], path: str) -> list[str]:
        found = [] if model.__doc__ else [path]
        for name, field in model.model_fields.items():
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                found += undescribed(field.annotation, f"{path}.{name}")
            elif not field.description:
                found.append(f"{path}.{name}")
        return found

    assert undescribed(Settings, "settings") + undescribed(Volume, "volumes.<name>") == []


def test_settings_are_frozen() -> None:
    settings = embedded()
    with pytest.raises(ValidationError):
        settings.server.workers = 2  # type: ignore[misc] # that it is refused is the point
    with pytest.raises(ValidationError):
        settings.server = settings.server  # type: ignore[misc] # as above


# ---- spellings ---------------------------------------------------------------------------------------------------

GOOD = [
    ("limits.upload_bytes_max", 5, 5),
    ("limits.upload_bytes_max", "64MiB", 64 << 20),
    ("limits.upload_bytes_max", "100g", 100 * 10**9),
    ("limits.upload_bytes_max", "1.5 KiB", 1536),
    ("expiry.open", 90, 90.0),
    ("expiry.open", "90s", 90.0),
    ("expiry.open", "5m", 300.0),
    ("expiry.open", "12h", 43200.0),
    ("expiry.open", "7d", 604800.0),
    ("server.listen", "[::1]:80", Address("::1", 80)),
    ("server.listen", "localhost:0", Address("localhost", 0)),
    ("server.base_path", "/storage/", "/storage"),
    ("server.base_path", "/", ""),
    ("files.order", "ANY", Order.ANY),
    ("files.conflict", "refuse", Policy.REFUSE),
    ("files.directory", "in/coming", "in/coming"),
    ("volumes.main.layout", "backend-ai", Layout.BACKEND_AI),
    ("log.level", "DEBUG", "debug"),
]


@pytest.mark.parametrize(("key", "said", "meant"), GOOD, ids=str)
def test_what_is_said_becomes_a_plain_value(key: str, said: object, meant: object) -> None:
    value: object = load(None, {"volumes.main.path": "/srv", key: said})
    for part in key.split("."):
        value = value[part] if isinstance(value, dict) else getattr(value, part)
    assert value == meant


BAD = [
    ("limits.upload_bytes_max", "64MiB a day", "a size such as 64MiB"),
    ("limits.upload_bytes_max", "5 parsecs", "a size such as 64MiB"),
    ("limits.upload_bytes_max", -1, "a size such as 64MiB"),
    ("limits.upload_bytes_max", 0, "more than 0"),
    ("limits.upload_bytes_max", True, "a size such as 64MiB"),
    ("expiry.open", "soon", "a time such as 90s"),
    ("expiry.open", "1 year", "a time such as 90s"),
    ("expiry.open", float("inf"), "a time such as 90s"),
    ("expiry.open", "0", "more than 0"),
    ("server.drain_seconds", float("inf"), "a finite number"),
    ("server.drain_seconds", "long", "a number"),
    ("server.listen", "8080", "host:port, such as 127.0.0.1:8080"),
    ("server.listen", ":8080", "host:port"),
    ("server.listen", "::1:8080", "host:port"),
    ("server.listen", "127.0.0.1:99999", "host:port"),
    ("server.listen", "[1::2::3]:1", "an IPv6 address between the brackets"),
    ("server.workers", "many", "a whole number"),
    ("server.workers", 0, "at least 1"),
    ("server.workers", 1000, "at most 256"),
    ("server.trusted_proxies", ["10.0.0.1/8"], "a network such as 10.0.0.0/8"),
    ("server.trusted_proxies", 7, "a list"),
    ("server.base_path", "storage", "begins with a slash"),
    ("server.base_path", "/a/../b", "without . and .."),
    ("server.event_loop", "trio", "'uvloop' or 'asyncio'"),
    ("files.enabled", "perhaps", "true or false"),
    ("files.order", "random", "'sequential' or 'any'"),
    ("files.directory", "../etc", "a relative path below the volume"),
    ("files.directory", ".uploads/x", "a relative path below the volume"),
    ("files.volume", "other", "one of: main"),
    ("volumes.main.path", 3, "the path of a directory"),
    ("volumes.main.path", "", "the path of a directory"),
    ("volumes.main.layout", "flat", "'plain' or 'backend-ai'"),
    ("volumes.Main", {"path": "/x"}, "a name of 1 to 32"),
    ("log.level", "loud", "'debug', 'info', 'warning' or 'error'"),
]


@pytest.mark.parametrize(("key", "said", "expected"), BAD, ids=str)
def test_a_bad_value_is_answered_by_key_what_was_found_and_what_was_expected(
    key: str, said: object, expected: str
) -> None:
    text = refusal(None, **{"volumes.main.path": "/srv", key: said})
    assert text.startswith(f"command line: {key}")
    assert "found" in text
    assert expected in text


@given(st.text(max_size=40))
def test_no_text_upsets_the_parsers(text: str) -> None:
    for key in ("server.listen", "limits.upload_bytes_max", "expiry.open", "server.trusted_proxies", "files.directory"):
        try:
            load(None, {"volumes.main.path": "/srv", key: text})
        except SettingsError as error:
            assert key in str(error)  # noqa: PT017 # most texts are refused, some are not


@given(st.sampled_from(["127.0.0.1", "0.0.0.0", "::1", "fd00::1", "example.org"]), st.integers(0, 65535))
def test_an_address_is_read_as_it_is_written(host: str, port: int) -> None:
    address = Address(host, port)
    assert (
        load(None, {"volumes.main.path": "/srv", "access.keys": [SECRET], "server.listen": str(address)}).server.listen
        == address
    )


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        *(("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True)),
        *(("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("example.org", False)),
    ],
)
def test_only_addresses_of_this_machine_are_loopback(host: str, loopback: bool) -> None:
    assert Address(host, 1).is_loopback is loopback


# ---- what a refusal says -----------------------------------------------------------------------------------------


def test_all_that_is_wrong_is_said_at_once_with_file_and_key(tmp_path: Path) -> None:
    file = written(tmp_path, '[server]\nlisten = "x"\nworkers = "many"\n[volumes.main]\n')
    assert refusal(file).splitlines() == [
        f'{file}: server.listen: found "x", expected host:port, such as 127.0.0.1:8080, 0.0.0.0:8080 or [::1]:8080',
        f'{file}: server.workers: found "many", expected a whole number',
        f"{file}: volumes.main.path: missing",
    ]


def test_a_bad_variable_is_named_even_if_the_file_says_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_PROXY_SERVER__WORKERS", "many")
    text = refusal(written(tmp_path, MAIN + "[server]\nworkers = 2"))
    assert text.startswith("environment variable STORAGE_PROXY_SERVER__WORKERS: server.workers: ")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("[server]\nworker = 1", "server.worker: unknown key; did you mean workers?"),
        ("[server]\ndrain-seconds = 1", "server.drain-seconds: unknown key; did you mean drain_seconds?"),
        ("[sever]\nworkers = 1", "sever: unknown key; did you mean server?"),
        ("[volumes.b]\npath = '/b'\nlayuot = 1", "volumes.b.layuot: unknown key; did you mean layout?"),
        (
            "[storage]\nzzz = 1",
            "storage.zzz: unknown key; expected one of: sync, accept_faults, check_space, reserve, threads",
        ),
    ],
)
def test_an_unknown_key_is_an_error_with_a_suggestion(tmp_path: Path, text: str, hint: str) -> None:
    assert hint in refusal(written(tmp_path, MAIN + text))


def test_a_key_outside_of_its_table_is_told_where_it_belongs(tmp_path: Path) -> None:
    assert "it belongs in [server] or [manager]" in refusal(written(tmp_path, 'listen = "0.0.0.0:80"\n' + MAIN))


def test_an_unknown_section_in_the_environment_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_PROXY_SEVER__LISTEN", "0.0.0.0:80")
    with pytest.raises(SettingsError, match=r"STORAGE_PROXY_SEVER.*did you mean server"):
        embedded()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(None, "cannot be read: No such file"), (b"\xff\xfe", "is not UTF-8"), (b"[server", "is not TOML: ")],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None, sentence: str) -> None:
    file = tmp_path / "settings.toml"
    if content is not None:
        file.write_bytes(content)
    text = refusal(file)
    assert text.startswith(f"{file}: ")
    assert sentence in text


# ---- what does not go together -----------------------------------------------------------------------------------

TOGETHER = [
    ({"server.listen": "0.0.0.0:80"}, "access.keys", "access.open_to_everyone = true"),
    ({"access.keys": [SECRET], "access.open_to_everyone": True}, "access.open_to_everyone", "remove one"),
    ({"manager.listen": "127.0.0.1:1"}, "manager.secret", "needed"),
    ({"server.listen": "0.0.0.0:80", "metrics.public": True}, "metrics.key", "everybody who reaches 0.0.0.0:80"),
    ({"server.listen": "0.0.0.0:80", "metrics.public": True, "metrics.key": "s"}, "metrics.key", "at least 16"),
    (
        {"manager.listen": "127.0.0.1:8080", "manager.secret": "s", "tokens.secret": "s"},
        "manager.listen",
        "a port of its own",
    ),
    (
        {"manager.listen": "10.0.0.1:1", "manager.secret": "short", "tokens.secret": "short"},
        "manager.secret",
        "at least 16",
    ),
    ({"server.listen": "0.0.0.0:80", "access.keys": [SECRET, "short"]}, "access.keys[1]", "at least 16"),
    (
        {"server.listen": "0.0.0.0:80", "files.enabled": False, "tokens.secret": "short"},
        "tokens.secret",
        "at least 16",
    ),
    ({"access.keys": ["replace-me"]}, "access.keys[0]", "make your own"),
    ({"volumes.other.path": "/srv"}, "volumes.other.path", "the same path"),
    ({"checkpoints.bytes": "2GiB"}, "checkpoints.bytes", "undurable_bytes_max"),
    ({"cors.credentials": True}, "cors.credentials", "name the origins"),
]


@pytest.mark.parametrize(("said", "key", "sentence"), TOGETHER, ids=str)
def test_what_does_not_go_together_is_refused_with_what_to_do(said: dict[str, object], key: str, sentence: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(None, {"volumes.main.path": "/srv", **said})
    assert [problem for problem in caught.value.problems if problem.key == key and sentence in problem.sentence]


@pytest.mark.parametrize(
    "said",
    [
        {"server.listen": "0.0.0.0:80", "access.open_to_everyone": True},
        {"server.listen": "0.0.0.0:80", "access.keys": [SECRET]},
        {"server.listen": "0.0.0.0:80", "files.enabled": False, "tokens.secret": SECRET},
        {"server.listen": "[::1]:80", "access.keys": ["short"]},
        {"manager.listen": "127.0.0.1:1", "manager.secret": "short", "tokens.secret": "short"},
        {"manager.listen": "127.0.0.1:1", "manager.secret": "short"},
        {"metrics.public": True, "metrics.key": "short"},
        {"cors.credentials": True, "cors.origins": ["https://a.example"]},
    ],
    ids=str,
)
def test_what_goes_together_is_taken(said: dict[str, object]) -> None:
    assert load(None, {"volumes.main.path": "/srv", **said})


def test_without_a_volume_it_is_said_how_to_name_one(tmp_path: Path) -> None:
    assert "add [volumes.main]" in refusal(written(tmp_path, ""))


# ---- secrets -----------------------------------------------------------------------------------------------------


def test_no_text_made_of_settings_holds_a_secret() -> None:
    said = {"access.keys": [SECRET], "tokens.secret": SECRET, "manager.secret": SECRET, "manager.listen": "[::1]:1"}
    settings = load(None, {"volumes.main.path": "/srv", **said})
    texts = (
        repr(settings),
        str(settings),
        str(settings.model_dump()),
        settings.model_dump_json(),
        f"{settings.access}",
    )
    assert [text for text in texts if SECRET in text] == []
    assert settings.tokens.secret is not None
    assert settings.tokens.secret.get_secret_value() == SECRET


@pytest.mark.parametrize("text", ["[tokens]\nsecret = 271828", "[access]\nkeys = [271828]", "[access]\nkeys = 271828"])
def test_a_secret_of_the_wrong_type_is_not_repeated_either(tmp_path: Path, text: str) -> None:
    assert "271828" not in refusal(written(tmp_path, MAIN + text))


@pytest.mark.parametrize(
    "text",
    [
        f'[tokens]\nsecret = ["{SECRET}"]',
        f'[access]\nkeys = [["{SECRET}"], 3]',
        f'[access]\nkeys = {{a = "{SECRET}"}}',
        f'[manager]\nsecrett = "{SECRET}"',
        f'[manager]\nlisten = "0.0.0.0:1"\nsecret = "{SECRET[:8]}"\n[tokens]\nsecret = "{SECRET[:8]}"',
        f'tokens = "{SECRET}"',
        f'secret = "{SECRET}"',
        f'[tokens.secret]\nvalue = "{SECRET}"',
        f'[tokens]\nsecret = "{SECRET}',
    ],
)
def test_no_error_holds_a_secret_not_even_a_misplaced_one(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(written(tmp_path, text + "\n[volumes.main]\npath = '/srv'"), {})
    assert SECRET[:8] not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


# ---- the page for people --------------------------------------------------------------------------------------------


def test_each_default_of_the_reference_can_be_copied_into_a_file(tmp_path: Path) -> None:
    lines, table = ['[volumes.main]\npath = "/srv"'], ""
    for line in reference.render().splitlines():
        if line.startswith("## "):
            table = line[4:-1] if line.endswith("]") and "<" not in line else ""
            lines += [f"[{table}]"] if table else []
        elif table and (row := re.match(r"\| `(\w+)` \| .*? \| `(.*?)` \|", line)) is not None:
            # Sizes and times are texts in TOML.
            value = f'"{row[2]}"' if re.fullmatch(r"\d+[A-Za-z]+", row[2]) else row[2]
            lines.append(f"{row[1]} = {value}")
    copied = tmp_path / "copied.toml"
    copied.write_text("\n".join(lines))
    assert load(copied, {}) == load(None, {"volumes.main.path": "/srv"})
    assert len(lines) > 40


def test_the_reference_says_what_may_stand_there() -> None:
    page = reference.render()
    for row in (
        "| `listen` | host:port | none |",
        "| `keys` | a list of secrets | `[]` |",
        "| `trusted_proxies` | a list of networks | `[]` |",
        "| `path` | a path | must be said |",
        "| `bytes` | a size: `64MiB`, `100GB` | `64MiB` |",
        "| `threads` | a number, 1 or more, 1024 at most | `16` |",
    ):
        assert row in page
