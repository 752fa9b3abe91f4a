// Uses protected MCP servers as the official TypeScript SDK does: `node login.mjs CONFIGURATION`.
//
// CONFIGURATION is JSON: `servers`, URLs that are used one after the other, with the tokens of the
// logins before. Where the SDK sends the user to log in, the user's browser goes where it is led, until
// it is back at the application. A `{"pause": FILE}` among the URLs makes that file, and waits until
// somebody takes it away. With `whoami`, the tool of that name is called at each.
//
// Prints one JSON object: `servers`, for each URL `ok`, `tools` or `error`, `logins` and what `whoami`
// answered; `requests`, every HTTP request of SDK and browser, as method, URL without its query, and
// status.

import { randomUUID } from 'node:crypto';
import { existsSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

import { UnauthorizedError } from '@modelcontextprotocol/sdk/client/auth.js';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

const CALLBACK = 'http://localhost:1/callback';
const LOGINS_AT_MOST = 3;
const REDIRECTS_AT_MOST = 20;
const DEADLINE_MS = 100_000;

const requests = [];

async function watched(url, init) {
  const shown = new URL(url);
  const request = { method: init?.method ?? 'GET', url: shown.origin + shown.pathname };
  requests.push(request);
  const response = await fetch(url, init);
  request.status = response.status;
  return response;
}

/** What a browser does that is led from one place to the next: it keeps each place's cookies. */
class Browser {
  cookies = new Map();

  async follow(url) {
    const sent = [...this.cookies.values()]
      .filter(({ origin, path }) => origin === url.origin && url.pathname.startsWith(path))
      .map(({ pair }) => pair)
      .join('; ');
    const response = await watched(url, { redirect: 'manual', headers: { cookie: sent } });
    for (const line of response.headers.getSetCookie()) {
      const [pair, ...attributes] = line.split(';').map((part) => part.trim());
      const path = attributes.find((part) => /^path=/i.test(part))?.slice(5) ?? '/';
      const key = `${url.origin}${path}#${pair.split('=')[0]}`;
      this.cookies.set(key, { origin: url.origin, path, pair });
    }
    return new URL(response.headers.get('location'), url);
  }
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

  /** What the SDK has learnt is of no more use. */
  invalidateCredentials(scope) {
    if (scope === 'all' || scope === 'tokens') this.saved = undefined;
    if (scope === 'all' || scope === 'client') this.client = undefined;
    if (scope === 'all' || scope === 'verifier') this.verifier = undefined;
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
    const browser = new Browser();
    let location = this.authorization;
    this.authorization = undefined;
    for (let hops = 0; hops < REDIRECTS_AT_MOST && !location.href.startsWith(CALLBACK); hops += 1) {
      location = await browser.follow(location);
    }
    return location.searchParams.get('code');
  }
}

async function use(url, application, callsWhoami) {
  for (let logins = 0; ; logins += 1) {
    const options = { authProvider: application, fetch: watched };
    const transport = new StreamableHTTPClientTransport(new URL(url), options);
    const client = new Client({ name: 'bed', version: '1' });
    try {
      await client.connect(transport);
      const { tools } = await client.listTools();
      const visit = { ok: true, logins, tools: tools.map(({ name }) => name).sort() };
      if (callsWhoami) {
        const answer = await client.callTool({ name: 'whoami', arguments: {} });
        visit.whoami = JSON.parse(answer.content[0].text);
      }
      await client.close();
      return visit;
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

async function pause(file) {
  writeFileSync(file, '');
  while (existsSync(file)) {
    await sleep(50);
  }
}

setTimeout(() => process.exit(1), DEADLINE_MS).unref();
const application = new Application();
const servers = [];
const configuration = JSON.parse(process.argv[2]);
for (const url of configuration.servers) {
  if (url.pause !== undefined) {
    await pause(url.pause);
  } else {
    servers.push(await use(url, application, configuration.whoami));
  }
}
console.log(JSON.stringify({ servers, requests }));
process.exit(0);
