"""The wheel as it is installed, and the image made of it, as far as that can be seen without an engine."""

import ast
import re
import shlex
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from storage_proxy.adapters.page_files import read_page
from tests.end_to_end.clients import Client
from tests.end_to_end.pods import one
from tests.end_to_end.replicas import ROOT
from tests.end_to_end.serving import LISTEN, MANAGER, PROGRAM, serving

PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
KEY = "the-key-of-this-test-and-of-no-other"


def run(*command: str, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# ---- the wheel ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nothing is downloaded: what builds it is here already."""
    home = tmp_path_factory.mktemp("wheel")
    words = ("wheel", "--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", str(home), str(ROOT))
    run(*PIP, *words, cwd=home)
    (made,) = home.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def program(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command in an environment that has only the wheel of us; what it depends on is lent by this one."""
    home = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    words = ("--python", str(python), *PIP[3:], "install", "--no-index", "--no-deps", str(wheel))
    run(sys.executable, "-m", "pip", *words, cwd=home)
    (packages,) = home.glob("lib/python*/site-packages")
    (packages / "lent.pth").write_text(sysconfig.get_path("purelib"))
    found = run(str(python), "-c", "import storage_proxy; print(storage_proxy.__file__)", cwd=home).strip()
    assert Path(found).is_relative_to(home), found
    return home / "bin" / "storage-proxy"


def test_the_wheel_has_all_of_the_package_and_nothing_besides(wheel: Path) -> None:
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    package = ROOT / "storage_proxy"
    files = [path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert inside == {path.relative_to(ROOT).as_posix() for path in files}
    assert "storage_proxy/py.typed" in inside
    assert {"html", "css", "js"} <= {name.rpartition(".")[2] for name in inside if "/operator" in name}


def test_the_installed_command_prints_the_page_of_the_configuration(program: Path, tmp_path: Path) -> None:
    said = run(str(program), "config", "reference", cwd=tmp_path)
    assert said == (ROOT / "docs" / "configuration.md").read_text()


async def test_the_installed_command_serves_files_the_page_and_operators(program: Path, tmp_path: Path) -> None:
    words = ["serve", "--listen", "127.0.0.1:0", "--data", str(tmp_path / "data")]
    variables = {MANAGER: "", "STORAGE_PROXY_MANAGER__SECRET": KEY, "STORAGE_PROXY_SERVER__WORKERS": "2"}
    with serving(words, tmp_path, variables, program=[str(program)], cwd=tmp_path) as served:
        async with Client() as client:
            path = await client.create(served.url, 5, filename="note.txt")
            assert (await client.patch(served.url, path, 0, b"hello")).status == 204
            operators = await client.ask("GET", f"{served.manager_url}/operator/")
            assert (operators.status, b"<!doctype html>" in operators.body.lower()) == (200, True)
            if not read_page():
                pytest.skip("the upload page was not built, so none is inside: it needs npm (`make page`)")
            page = await client.ask("GET", f"{served.url}/", {"Accept": "text/html"})
            assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
            assets = re.findall(rb'(?:src|href)="[./]*(assets/[^"]+)"', page.body)
            assert assets
            for asset in assets:
                answer = await client.ask("GET", f"{served.url}/{asset.decode()}")
                assert (answer.status, answer.body) == (200, read_page()[asset.decode()])
    assert (tmp_path / "data" / "note.txt").read_bytes() == b"hello"


# ---- the image ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Instruction:
    name: str
    words: tuple[str, ...]
    text: str

    @property
    def listed(self) -> list[str]:
        """Of the form that is a list, as in CMD ["a", "b"]."""
        found = ast.literal_eval(self.text[self.text.index("[") :])
        assert isinstance(found, list)
        return found


def instructions() -> list[Instruction]:
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text())
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    pairs = [line.partition(" ") for line in lines]
    return [Instruction(name, tuple(rest.split()), rest) for name, _, rest in pairs]


def last(name: str) -> Instruction:
    return [instruction for instruction in instructions() if instruction.name == name][-1]


def sent_to_the_builder(path: str) -> bool:
    """By .dockerignore: of the patterns that name it, or a folder that it is in, the last one says."""
    sent = True
    for line in (ROOT / ".dockerignore").read_text().split("\n"):
        pattern = line.removeprefix("!")
        if pattern and not pattern.startswith("#"):
            parts = path.split("/")
            above = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
            # `**/` is any number of folders, none included.
            ways = [pattern, pattern.removeprefix("**/")]
            if any(fnmatchcase(name, way) for name in above for way in ways):
                sent = line.startswith("!")
    return sent


@pytest.mark.parametrize(
    "path",
    [
        "storage_proxy/page/index.html",  # the image builds its own
        "web/node_modules/vite/package.json",
        "storage_proxy/core/__pycache__/target.cpython-313.pyc",
        ".git/config",
        "data/somebodys.file",
    ],
)
def test_what_was_built_or_stored_here_does_not_go_into_the_image(path: str) -> None:
    assert not sent_to_the_builder(path)


def test_whatever_the_image_copies_is_there_and_is_sent() -> None:
    stages = [instruction.words[2] for instruction in instructions() if instruction.words[1:2] == ("AS",)]
    for copy in (instruction for instruction in instructions() if instruction.name == "COPY"):
        (*sources, _) = copy.words
        if sources[0].startswith("--from="):
            assert sources[0].removeprefix("--from=") in stages
            continue
        for source in sources:
            assert (ROOT / source).exists(), source
            assert sent_to_the_builder(source), source
    # The page goes from where its project builds it to where the package has it.
    assert "outDir: '../storage_proxy/page'" in (ROOT / "web" / "vite.config.ts").read_text()


def test_the_images_python_and_programs_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    python = [instruction.words[0] for instruction in instructions() if instruction.words[0].startswith("python:")]
    assert len(set(python)) == 1
    [minor] = {re.fullmatch(r"python:3\.(\d+)-slim", name)[1] for name in python}  # type: ignore[index]
    assert 11 <= int(minor) < 14, project["requires-python"]
    assert last("ENTRYPOINT").listed == [*project["scripts"]]


def test_the_images_account_is_a_number_and_that_of_the_pods() -> None:
    user = last("USER").words[0]
    assert user.isdecimal()  # runAsNonRoot can only judge numbers
    assert int(user) == one("Deployment")["spec"]["template"]["spec"]["securityContext"]["runAsUser"]
    assert f"--uid {user} " in (ROOT / "Dockerfile").read_text()


def image(data: Path) -> tuple[list[str], dict[str, str]]:
    """What the container runs, with another directory for its volume, and the variables that are ours."""
    (volume,) = last("VOLUME").words
    variables = dict(pair.split("=", 1) for pair in shlex.split(last("ENV").text))
    ours = {name: value for name, value in variables.items() if name.startswith("STORAGE_PROXY_")}
    return [str(data) if word == volume else word for word in last("CMD").listed], ours


def test_the_images_command_serves_and_its_health_check_asks_the_right_address(tmp_path: Path) -> None:
    words, variables = image(tmp_path)
    (port,) = last("EXPOSE").words
    assert words[words.index("--listen") + 1] == f"0.0.0.0:{port}"
    check: Sequence[str] = ast.literal_eval(last("HEALTHCHECK").text.partition("CMD ")[2])
    (address,) = re.findall(r"http://127\.0\.0\.1:\d+", check[2])
    assert address.endswith(f":{port}")
    with serving(words, tmp_path, {**variables, "STORAGE_PROXY_ACCESS__KEYS": KEY}) as served:
        healthy = [sys.executable, "-c", check[2].replace(address, served.url)]
        assert subprocess.run(healthy, timeout=20, check=False).returncode == 0
        assert '"event": "serving"' in served.said  # STORAGE_PROXY_LOG__FORMAT
    assert subprocess.run(healthy, timeout=20, check=False, capture_output=True).returncode == 1


def test_the_images_command_does_not_start_without_a_key(tmp_path: Path) -> None:
    words, variables = image(tmp_path)
    assert LISTEN not in variables
    done = subprocess.run([*PROGRAM, *words], cwd=ROOT, env=variables, capture_output=True, text=True, timeout=20)
    assert done.returncode == 2
    assert "without a key everybody" in done.stderr
