// Uses protected MCP servers as the official TypeScript SDK does: `node login.mjs CONFIGURATION`.
//
// CONFIGURATION is JSON: `servers`, URLs that are used one after the other, with the tokens of the
// logins before. Where the SDK sends the user to log in, the user agrees at once.
//
// Prints one JSON object: `servers`, for each one `ok`, `tools` or `error`, and `logins`; `requests`,
// every HTTP request that the SDK made, as method, URL without its query, and status.

import { randomUUID } from 'node:crypto';

import { UnauthorizedError } from '@modelcontextprotocol/sdk/client/auth.js';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

const CALLBACK = 'http://localhost:1/callback';
const LOGINS_AT_MOST = 3;
const DEADLINE_MS = 60_000;

const requests = [];

async function watched(url, init) {
  const shown = new URL(url);
  const request = { method: init?.method ?? 'GET', url: shown.origin + shown.pathname };
  requests.push(request);
  const response = await fetch(url, init);
  request.status = response.status;
  return response;
}

/** What the SDK asks an application to keep. */
class Application {
  redirectUrl = CALLBACK;

  clientMetadata = {
    client_name: 'bed',
    redirect_uris: [CALLBACK],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    token_endpoint_auth_method: 'none',
  };

  state() {
    return randomUUID();
  }

  clientInformation() {
    return this.client;
  }

  saveClientInformation(client) {
    this.client = client;
  }

  tokens() {
    return this.saved;
  }

  saveTokens(tokens) {
    this.saved = tokens;
  }

  codeVerifier() {
    return this.verifier;
  }

  saveCodeVerifier(verifier) {
    this.verifier = verifier;
  }

  redirectToAuthorization(url) {
    this.authorization = url;
  }

  /** The code that the user comes back with. */
  async agree() {
    const response = await watched(this.authorization, { redirect: 'manual' });
    this.authorization = undefined;
    return new URL(response.headers.get('location')).searchParams.get('code');
  }
}

async function use(url, application) {
  for (let logins = 0; ; logins += 1) {
    const options = { authProvider: application, fetch: watched };
    const transport = new StreamableHTTPClientTransport(new URL(url), options);
    const client = new Client({ name: 'bed', version: '1' });
    try {
      await client.connect(transport);
      const { tools } = await client.listTools();
      await client.close();
      return { ok: true, logins, tools: tools.map(({ name }) => name).sort() };
    } catch (error) {
      const asked = error instanceof UnauthorizedError && application.authorization;
      if (!asked || logins === LOGINS_AT_MOST) {
        return { ok: false, logins, error: String(error) };
      }
      try {
        await transport.finishAuth(await application.agree());
      } catch (failure) {
        return { ok: false, logins, error: String(failure) };
      }
    }
  }
}

setTimeout(() => process.exit(1), DEADLINE_MS).unref();
const application = new Application();
const servers = [];
for (const url of JSON.parse(process.argv[2]).servers) {
  servers.push(await use(url, application));
}
console.log(JSON.stringify({ servers, requests }));
process.exit(0);
