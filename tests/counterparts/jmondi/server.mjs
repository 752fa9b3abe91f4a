// An STS on 127.0.0.1 for tests: `node server.mjs [CONFIGURATION]`, the configuration being JSON.
// Its answers leave out `issued_token_type`, which RFC 8693 §2.2.1 requires.
// What it prints, its control endpoints and its life are described in ../README.md.

import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { json, text } from 'node:stream/consumers';

import {
  AuthorizationServer, DateInterval, OAuthException, OAuthRequest,
} from '@jmondi/oauth2-server';
import { handleVanillaError } from '@jmondi/oauth2-server/vanilla';

const GRANT_TYPE = 'urn:ietf:params:oauth:grant-type:token-exchange';

const configuration = {
  accessTokenTtl: 300,
  clients: [],
  resources: {},
  ...JSON.parse(process.argv[2] ?? '{}'),
};
const subjects = new Map();
const requests = [];

const authorizationServer = newAuthorizationServer();
const server = createServer((req, res) => {
  serve(req, res).catch((error) => answer(res, 500, { error: String(error) }));
});
server.listen(0, '127.0.0.1');
await once(server, 'listening');

// The parent holds the other end: when it is gone, whatever the reason, so is this process.
process.stdin.resume().on('end', () => process.exit(0));
const issuer = `http://127.0.0.1:${server.address().port}`;
console.log(JSON.stringify({
  port: server.address().port,
  issuer,
  token_endpoint: `${issuer}/token`,
}));

function newAuthorizationServer() {
  const made = new AuthorizationServer(
    clientRepository(),
    tokenRepository(),
    scopeRepository(),
    randomUUID(),
    { issuer: 'https://sts.example.com' },
  );
  made.enableGrantType(
    { grant: GRANT_TYPE, processTokenExchange: exchange },
    new DateInterval(`${configuration.accessTokenTtl}s`),
  );
  return made;
}

async function exchange({ subjectToken, audience }) {
  const id = subjects.get(subjectToken);
  if (id === undefined) {
    throw OAuthException.invalidGrant('subject token is not acceptable');
  }
  if (audience !== undefined && configuration.resources[audience] === undefined) {
    throw OAuthException.accessDenied('unknown audience');
  }
  return { id };
}

function clientRepository() {
  return {
    async getByIdentifier(id) {
      const client = configuration.clients.find((it) => it.id === id);
      return client && {
        ...client, name: id, redirectUris: [], allowedGrants: [GRANT_TYPE], scopes: [],
      };
    },
    async isClientValid(_grantType, client, secret) {
      return client.secret === undefined || client.secret === secret;
    },
  };
}

function tokenRepository() {
  return {
    async issueToken(client, scopes, user) {
      return { accessToken: randomUUID(), accessTokenExpiresAt: new Date(), client, scopes, user };
    },
    async persist() {},
  };
}

function scopeRepository() {
  const known = new Set(
    Object.values(configuration.resources).flatMap(({ scope = '' }) => scope.split(' ')),
  );
  return {
    async getAllByIdentifiers(names) {
      return names.filter((name) => known.has(name)).map((name) => ({ name }));
    },
    async finalize(scopes) {
      return scopes;
    },
  };
}

async function serve(req, res) {
  switch (`${req.method} ${req.url}`) {
    case 'POST /token': {
      const body = Object.fromEntries(new URLSearchParams(await text(req)));
      const response = await respond(new OAuthRequest({ headers: req.headers, body }));
      requests.push({ status: response.status, error: response.body.error });
      return answer(res, response.status, response.body, response.headers);
    }
    case 'GET /test/stats':
      return answer(res, 200, { token_requests: requests.length, requests });
    case 'POST /test/subjects': {
      const { sub, token = randomUUID() } = await json(req);
      subjects.set(token, sub);
      return answer(res, 200, { token });
    }
    default:
      return answer(res, 404, { error: 'no such endpoint' });
  }
}

async function respond(request) {
  try {
    return await authorizationServer.respondToAccessTokenRequest(request);
  } catch (error) {
    return handleVanillaError(error);
  }
}

function answer(res, status, body, headers = {}) {
  res.writeHead(status, { 'content-type': 'application/json', ...headers });
  res.end(JSON.stringify(body));
}
