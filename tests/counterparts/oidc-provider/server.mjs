// An STS on 127.0.0.1 for tests: `node server.mjs [CONFIGURATION]`, the configuration being JSON.
// What it prints, its control endpoints and its life are described in ../README.md.

import { once } from 'node:events';
import { createServer } from 'node:http';
import { json } from 'node:stream/consumers';

import * as jose from 'jose';
import Provider, { errors } from 'oidc-provider';

import { GRANT_TYPE, registerTokenExchange } from './token_exchange.mjs';

const configuration = {
  accessTokenTtl: 300,
  clients: [],
  resources: {},
  ...JSON.parse(process.argv[2] ?? '{}'),
};
const subjects = new Map();
const issuers = [];
const requests = [];

const server = createServer();
server.listen(0, '127.0.0.1');
await once(server, 'listening');
const issuer = `http://127.0.0.1:${server.address().port}`;
const provider = await newProvider();
const serveProtocol = provider.callback();
server.on('request', (req, res) => {
  if (req.url.startsWith('/test/')) {
    serveControl(req, res).catch((error) => answer(res, 500, { error: String(error) }));
  } else {
    serveProtocol(req, res);
  }
});

// The parent holds the other end: when it is gone, whatever the reason, so is this process.
process.stdin.resume().on('end', () => process.exit(0));
console.log(JSON.stringify({
  port: server.address().port,
  issuer,
  token_endpoint: `${issuer}/token`,
  jwks_uri: `${issuer}/jwks`,
}));

async function newProvider() {
  const resources = Object.fromEntries(Object.entries(configuration.resources).map(
    ([name, { scope = '' }]) => [name, {
      audience: name,
      scope,
      accessTokenFormat: 'jwt',
      accessTokenTTL: configuration.accessTokenTtl,
      jwt: { sign: { alg: 'RS256' } },
    }],
  ));
  const made = new Provider(issuer, {
    clients: configuration.clients.map(registration),
    clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'none'],
    features: {
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo(_ctx, name) {
          if (resources[name] === undefined) throw new errors.InvalidTarget();
          return resources[name];
        },
      },
    },
    findAccount: (_ctx, accountId) => ({ accountId, claims: () => ({ sub: accountId }) }),
    jwks: { keys: [await signingKey()] },
    scopes: [...new Set(Object.values(resources).flatMap(({ scope }) => scope.split(' ')))],
    ttl: { AccessToken: configuration.accessTokenTtl },
  });
  registerTokenExchange(made, { subjects, issuers, resources });
  made.on('grant.success', (ctx) => record(ctx, 200));
  made.on('grant.error', (ctx, error) => record(ctx, error.statusCode, error.error));
  made.on('server_error', (_ctx, error) => console.error(error));
  return made;
}

function registration({ id, secret, method = 'client_secret_basic' }) {
  return {
    client_id: id,
    client_secret: secret,
    token_endpoint_auth_method: method,
    grant_types: [GRANT_TYPE],
    redirect_uris: [],
    response_types: [],
  };
}

async function signingKey() {
  const { privateKey } = await jose.generateKeyPair('RS256', { extractable: true });
  return { ...await jose.exportJWK(privateKey), alg: 'RS256', use: 'sig', kid: 'sts' };
}

/** Notes one token request: what the provider made of it, but no token and no secret. */
function record(ctx, status, error) {
  const params = ctx.oidc?.params ?? {};
  const noted = ['audience', 'resource', 'scope', 'subject_token_type', 'requested_token_type'];
  requests.push({
    status,
    error,
    client_id: ctx.oidc?.client?.clientId,
    client_auth: clientAuth(ctx.headers, params),
    account: ctx.oidc?.entities?.AccessToken?.accountId,
    ...Object.fromEntries(noted.map((name) => [name, params[name]])),
  });
}

function clientAuth(headers, params) {
  if (headers.authorization !== undefined) return 'client_secret_basic';
  return params.client_secret === undefined ? 'none' : 'client_secret_post';
}

async function serveControl(req, res) {
  switch (`${req.method} ${req.url}`) {
    case 'GET /test/stats':
      return answer(res, 200, { token_requests: requests.length, requests });
    case 'POST /test/subjects':
      return answer(res, 200, await plant(await json(req)));
    case 'POST /test/issuers': {
      const { issuer: name, jwks, audience } = await json(req);
      issuers.push({ issuer: name, keys: jose.createLocalJWKSet(jwks), audience });
      return answer(res, 200, {});
    }
    default:
      return answer(res, 404, { error: 'no such control endpoint' });
  }
}

/** Makes a subject token of `sub` known: the given one, or a new access token of this server. */
async function plant({ sub, token, client: id = configuration.clients[0].id }) {
  if (token !== undefined) {
    subjects.set(token, sub);
    return { token };
  }
  const client = await provider.Client.find(id);
  return { token: await new provider.AccessToken({ accountId: sub, client, gty: 'test' }).save() };
}

function answer(res, status, body) {
  res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}
