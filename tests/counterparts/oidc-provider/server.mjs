// An STS on 127.0.0.1 for tests: `node server.mjs [CONFIGURATION]`, the configuration being JSON.
// What it prints, its control endpoints and its life are described in ../README.md.

import { once } from 'node:events';
import { createServer } from 'node:http';
import { json } from 'node:stream/consumers';

import * as jose from 'jose';
import Provider, { errors } from 'oidc-provider';

import { GRANT_TYPE as JWT_BEARER, registerJwtBearer } from './jwt_bearer.mjs';
import { GRANT_TYPE, VAULT_GRANT_TYPE, registerTokenExchange } from './token_exchange.mjs';

const configuration = {
  accessTokenTtl: 300,
  assertionsOnce: false,
  clients: [],
  connections: {},
  partners: {},
  resources: {},
  ...JSON.parse(process.argv[2] ?? '{}'),
};
const subjects = new Map();
const issuers = [];
const requests = [];
const signingKey = await newKey('RS256', 'sts');
const clientKeys = await newClientKeys();

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
  client_keys: clientKeys,
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
    clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none'],
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
    extraTokenClaims: (_ctx, token) => token.extra,
    findAccount: (_ctx, accountId) => ({ accountId, claims: () => ({ sub: accountId }) }),
    jwks: { keys: [signingKey] },
    scopes: [...new Set(Object.values(resources).flatMap(({ scope }) => scope.split(' ')))],
    ttl: { AccessToken: configuration.accessTokenTtl, IdToken: 3600 },
  });
  const { assertionsOnce: once, connections, partners } = configuration;
  const known = { subjects, issuers, resources, connections, partners, sign };
  registerTokenExchange(made, known);
  registerJwtBearer(made, { once, ...known });
  made.on('grant.success', (ctx) => record(ctx, 200));
  made.on('grant.error', (ctx, error) => record(ctx, error.statusCode, error.error));
  made.on('server_error', (_ctx, error) => console.error(error));
  return made;
}

function registration({ id, secret, method = 'client_secret_basic' }) {
  return {
    client_id: id,
    client_secret: secret,
    jwks: clientKeys[id]?.jwks,
    token_endpoint_auth_method: method,
    grant_types: [GRANT_TYPE, VAULT_GRANT_TYPE, JWT_BEARER],
    redirect_uris: [],
    response_types: [],
  };
}

async function newKey(alg, kid) {
  const { privateKey } = await jose.generateKeyPair(alg, { extractable: true });
  return { ...await jose.exportJWK(privateKey), alg, use: 'sig', kid };
}

/** For each client that signs, its private key in PEM and the key set that it is registered with. */
async function newClientKeys() {
  const keys = {};
  for (const { id, method, alg = 'RS256' } of configuration.clients) {
    if (method !== 'private_key_jwt') continue;
    const { privateKey, publicKey } = await jose.generateKeyPair(alg, { extractable: true });
    const jwk = { ...await jose.exportJWK(publicKey), alg, use: 'sig', kid: `key of ${id}` };
    keys[id] = { pem: await jose.exportPKCS8(privateKey), jwks: { keys: [jwk] } };
  }
  return keys;
}

/** Signs what the provider does not make itself, with its key. */
async function sign(header, claims, ttl) {
  return new jose.SignJWT(claims)
    .setProtectedHeader({ alg: signingKey.alg, kid: signingKey.kid, ...header })
    .setIssuedAt()
    .setExpirationTime(`${ttl}s`)
    .sign(await jose.importJWK(signingKey));
}

/** Notes one token request: what the provider made of it, but no token and no secret. */
function record(ctx, status, error) {
  const params = ctx.oidc?.params ?? {};
  const noted = [
    'grant_type', 'audience', 'resource', 'scope', 'subject_token_type', 'requested_token_type',
    'actor_token_type', 'requested_token_use', 'connection',
  ];
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
  if (params.client_assertion !== undefined) return 'private_key_jwt';
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

/** Makes a subject token of `sub` known: the given one, or a new access or ID token of this server. */
async function plant({ sub, token, kind = 'access_token', client: id = configuration.clients[0].id }) {
  if (token !== undefined) {
    subjects.set(token, sub);
    return { token };
  }
  const client = await provider.Client.find(id);
  if (kind === 'id_token') {
    const idToken = new provider.IdToken({ sub }, { client });
    idToken.scope = 'openid';
    return { token: await idToken.issue({ use: 'idtoken' }) };
  }
  return { token: await new provider.AccessToken({ accountId: sub, client, gty: 'test' }).save() };
}

function answer(res, status, body) {
  res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}
