"""A FastMCP server that admits only tokens made for it: `python jwt_server.py CONFIGURATION`.

CONFIGURATION is JSON: `jwks_uri`, `issuer` and `audience` of the tokens it takes, and optionally
`required_scopes`. Its `whoami` tool returns the claims of the token it verified.
"""

import json
import sys

from fastmcp import Context, FastMCP
from fastmcp.server.auth.providers.jwt import JWTVerifier
from fastmcp.server.dependencies import get_access_token

from serving import serve

STEPS = 3

server = FastMCP("jwt")


@server.tool
async def whoami(ctx: Context) -> dict:
    """The claims of the verified token."""
    for step in range(1, STEPS + 1):
        await ctx.report_progress(step, STEPS)
    token = get_access_token()
    return {"claims": token.claims, "scopes": token.scopes}


if __name__ == "__main__":
    server.auth = JWTVerifier(**json.loads(sys.argv[1]))
    serve(server.http_app(path="/mcp", host_origin_protection=False))
