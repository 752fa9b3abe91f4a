// `server-everything`, an MCP server with every feature of the protocol, on a free port of 127.0.0.1.

import { Server } from 'node:net';

// It names no address, and would listen on all of them.
const { listen } = Server.prototype;
Server.prototype.listen = function onLoopback() {
  return listen.call(this, 0, '127.0.0.1', () => {
    const { port } = this.address();
    process.stdout.write(`${JSON.stringify({ port, url: `http://127.0.0.1:${port}/mcp` })}\n`);
  });
};
// Standard output is for the ready line.
console.log = console.error;
process.stdin.resume().on('end', () => process.exit(0));

await import('@modelcontextprotocol/server-everything/dist/transports/streamableHttp.js');
