"""An MCP server of the official SDK whose `whoami` tool says which credential reached it.

Answers over SSE with progress notifications ahead of the result, so that a call is a real stream.
It checks nothing: what it would refuse is not what the tests want to see here.
"""

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.transport_security import TransportSecuritySettings

from serving import serve

STEPS = 3

server = MCPServer("echo", log_level="WARNING")


@server.tool()
async def whoami(ctx: Context) -> dict:
    """Every `authorization` header of this call, and what else could carry a credential."""
    for step in range(1, STEPS + 1):
        await ctx.report_progress(step, STEPS)
    headers = ctx.request_context.request.headers
    return {
        "authorization": headers.getlist("authorization"),
        "headers": {name: value for name, value in headers.items() if name != "authorization"},
    }


@server.tool()
async def add(a: int, b: int) -> int:
    """The sum of two numbers."""
    return a + b


if __name__ == "__main__":
    # Clients come through a proxy, under whatever host name the test gives it.
    security = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    serve(server.streamable_http_app(transport_security=security))
