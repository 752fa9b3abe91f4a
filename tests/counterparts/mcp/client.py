"""Uses an MCP server as the official SDK's client does: `python client.py CONFIGURATION`.

CONFIGURATION is JSON: `url`; `token`, the bearer token to present, if any; `headers`, others to
send; `calls`, how often to call `whoami` (1); `mode`, how to begin (`legacy`: the `initialize`
handshake, `auto`: the newer discovery first).

Prints one JSON object. `ok` says whether everything was answered; if so `server`, `protocol`,
`tools`, `whoami` (one result for each call) and `progress` (notifications received) follow.
`refusals` are all HTTP answers from 400 up, with the challenge as the SDK reads it.
"""

import asyncio
import json
import sys

from mcp import Client, MCPError
from mcp.client.auth.utils import (
    extract_field_from_www_auth,
    extract_resource_metadata_from_www_auth,
    extract_scope_from_www_auth,
)
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

DEADLINE_SECONDS = 60


async def main():
    configuration = {"headers": {}, "calls": 1, "mode": "legacy", **json.loads(sys.argv[1])}
    refusals = []
    try:
        result = await asyncio.wait_for(use(configuration, refusals), DEADLINE_SECONDS)
        result = {"ok": True, **result}
    except* (MCPError, TimeoutError) as group:
        result = {"ok": False, "errors": [str(error) for error in leaves(group)]}
    print(json.dumps({**result, "refusals": refusals}))


async def use(configuration, refusals):
    headers = dict(configuration["headers"])
    if configuration.get("token"):
        headers["Authorization"] = f"Bearer {configuration['token']}"
    progress = []

    async def note_refusal(response):
        if response.status_code >= 400:
            refusals.append(await refusal(response))

    async def note_progress(step, total, _message):
        progress.append([step, total])

    async with create_mcp_http_client(headers=headers) as http:
        http.event_hooks["response"].append(note_refusal)
        transport = streamable_http_client(configuration["url"], http_client=http)
        async with Client(transport, mode=configuration["mode"]) as client:
            tools = await client.list_tools()
            answers = []
            for _ in range(configuration["calls"]):
                answer = await client.call_tool("whoami", {}, progress_callback=note_progress)
                answers.append(json.loads(answer.content[0].text))
            return {
                "server": client.server_info.name,
                "protocol": client.protocol_version,
                "tools": sorted(tool.name for tool in tools.tools),
                "whoami": answers,
                "progress": progress,
            }


async def refusal(response):
    body = (await response.aread()).decode(errors="replace")
    return {
        "method": response.request.method,
        "status": response.status_code,
        "www_authenticate": response.headers.get("www-authenticate"),
        "error": extract_field_from_www_auth(response, "error"),
        "resource_metadata": extract_resource_metadata_from_www_auth(response),
        "scope": extract_scope_from_www_auth(response),
        "body": body,
    }


def leaves(group):
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from leaves(error)
        else:
            yield error


if __name__ == "__main__":
    asyncio.run(main())
