"""Replicas that come back at other addresses, behind a name that stands for all of them: the proxies find them again.

What stands behind the name here only says who it is: no upload is needed to see where a request went.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from tests.end_to_end import proxies
from tests.end_to_end.clients import Client
from tests.end_to_end.names import Names, name_server
from tests.end_to_end.proxies import Kind, Proxy, haproxy_cfg, nginx_conf
from tests.end_to_end.replicas import Port, until

# A machine has all of 127.0.0.0/8, and in production all replicas listen on the same port, too.
OLD, NEW = "127.0.0.2", "127.0.0.3"


@asynccontextmanager
async def serving(address: str, port: int) -> AsyncIterator[None]:
    async def say(_: web.Request) -> web.Response:
        return web.Response(text=address)

    app = web.Application()
    app.router.add_get("/{anything:.*}", say)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, address, port).start()
        yield
    finally:
        await runner.cleanup()


def nginx_that_asks(names: Names, port: int) -> Kind:
    """As the comment in its file says."""
    more = {
        "        keepalive 64; ": "        server 127.0.0.1:1; ",  # nobody is asked there; it may not be empty
        "            proxy_pass http://replicas;\n": "",
        "#   resolver 127.0.0.11 valid": f"resolver {names.address} valid",
        "#   set $replicas replica:8080;": f"set $replicas replica:{port};",
        "#   proxy_pass http://$replicas;": "proxy_pass http://$replicas;",
    }
    return Kind("nginx", nginx_conf, more)


def haproxy_as_it_is(names: Names, port: int) -> Kind:
    more = {
        "parse-resolv-conf ": f"nameserver one {names.address} ",
        " replica:8080 resolvers": f" replica:{port} resolvers",
    }
    return Kind("haproxy", haproxy_cfg, more)


KINDS = {"nginx": nginx_that_asks, "haproxy": haproxy_as_it_is}


@pytest.mark.parametrize("program", KINDS)
async def test_replicas_that_come_back_at_other_addresses_are_found(
    client: Client, tmp_path: Path, program: str
) -> None:
    if (why_not := proxies.missing(program)) is not None:
        pytest.skip(why_not)
    port = Port()

    async def served_by(proxy: Proxy) -> str:
        answer = await client.ask("GET", f"{proxy.url}/")
        return answer.body.decode() if answer.status == 200 else ""

    async with name_server(OLD) as names:
        proxy = Proxy(program, KINDS[program](names, port.number), [], tmp_path)
        try:
            async with serving(OLD, port.number):
                await proxy.start()

                async def old() -> bool:
                    return await served_by(proxy) == OLD

                await until("the old one serves", old)
            async with serving(NEW, port.number):
                names.addresses = (NEW,)

                async def new() -> bool:
                    return await served_by(proxy) == NEW

                await until("the new one serves", new)
        finally:
            proxy.stop()
            port.close()
