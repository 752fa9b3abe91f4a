"""Uses protected MCP servers as the official Python SDK does: `python login.py CONFIGURATION`.

CONFIGURATION is JSON: `servers`, URLs that are used one after the other, with the tokens of the
logins before. Where the SDK sends the user to log in, the user's browser goes where it is led, until
it is back at the application. A `{"pause": FILE}` among the URLs makes that file, and waits until
somebody takes it away. With `whoami`, the tool of that name is called at each.

Prints one JSON object: `servers`, for each URL `ok`, `tools` or `error`, `logins` and what `whoami`
answered; `requests`, every HTTP request of SDK and browser, as method, URL without its query, and status.
"""

import asyncio
import json
import sys
from pathlib import Path
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx2
from mcp import Client
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider, TokenStorage
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.auth import OAuthClientMetadata

CALLBACK = "http://localhost:1/callback"
LOGINS_AT_MOST = 3
REDIRECTS_AT_MOST = 20
DEADLINE_SECONDS = 60


class TooManyLogins(Exception):
    """The user would not agree again and again."""


class Storage(TokenStorage):
    """What the SDK asks an application to keep."""

    def __init__(self):
        self.tokens = None
        self.client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client_info):
        self.client = client_info


async def main():
    storage, requests, servers = Storage(), [], []
    configuration = json.loads(sys.argv[1])
    for url in configuration["servers"]:
        if isinstance(url, dict):
            await asyncio.wait_for(pause(Path(url["pause"])), DEADLINE_SECONDS)
            continue
        logins = []
        try:
            using = use(url, storage, requests, logins, configuration.get("whoami", False))
            result = {"ok": True, **await asyncio.wait_for(using, DEADLINE_SECONDS)}
        except BaseException as error:  # Whatever it is, it is what came of it.
            result = {"ok": False, "error": " | ".join(str(leaf) for leaf in leaves(error))}
        servers.append({**result, "logins": len(logins)})
    print(json.dumps({"servers": servers, "requests": requests}))


async def pause(file):
    file.touch()
    while file.exists():
        await asyncio.sleep(0.05)


async def use(url, storage, requests, logins, calls_whoami):
    async def note(response):
        shown = response.request.url
        path = f"{shown.scheme}://{shown.netloc.decode()}{shown.path}"
        request = {"method": response.request.method, "url": path, "status": response.status_code}
        requests.append(request)

    async def agree(authorization):
        if len(logins) == LOGINS_AT_MOST:
            raise TooManyLogins
        async with httpx2.AsyncClient() as browser:
            location = authorization
            for _ in range(REDIRECTS_AT_MOST):
                response = await browser.get(location)
                await note(response)
                location = urljoin(location, response.headers["location"])
                if location.startswith(CALLBACK):
                    break
            query = parse_qs(urlsplit(location).query)
        logins.append({name: values[0] for name, values in query.items()})

    async def come_back():
        answer = logins[-1]
        return AuthorizationCodeResult(
            code=answer["code"], state=answer["state"], iss=answer.get("iss")
        )

    metadata = OAuthClientMetadata(
        client_name="bed",
        redirect_uris=[CALLBACK],
        grant_types=["authorization_code", "refresh_token"],
        response_types=["code"],
        token_endpoint_auth_method="none",
    )
    provider = OAuthClientProvider(url, metadata, storage, agree, come_back)
    async with create_mcp_http_client(auth=provider) as http:
        http.event_hooks["response"].append(note)
        async with Client(streamable_http_client(url, http_client=http), mode="legacy") as client:
            tools = sorted(tool.name for tool in (await client.list_tools()).tools)
            if not calls_whoami:
                return {"tools": tools}
            answer = await client.call_tool("whoami", {})
            return {"tools": tools, "whoami": json.loads(answer.content[0].text)}


def leaves(error):
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


if __name__ == "__main__":
    asyncio.run(main())
