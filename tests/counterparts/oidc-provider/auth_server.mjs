// ToolHive's auth server in miniature, for machines without Go: `node auth_server.mjs CONFIGURATION`,
// the configuration being JSON: `runConfig`, ToolHive's own. Clients register themselves, and log in
// with PKCE at each upstream in turn; they get a TH-JWT and a refresh token; whatever belongs to
// their session is in Redis as ToolHive keeps it (auth_server_store.mjs). What it prints and its life
// are those of the other counterparts: ../README.md.
//
// Everything that a client sees is done by oidc-provider, but for what ToolHive does that no OpenID
// provider would: nobody is asked for consent, `offline_access` needs no `prompt`, and the JWT is
// ToolHive's.

import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';

import * as jose from 'jose';
import Provider, { errors, interactionPolicy } from 'oidc-provider';

import { Logins } from './auth_server_login.mjs';
import { Store } from './auth_server_store.mjs';

const SCOPES = ['openid', 'profile', 'email', 'offline_access'];
const { runConfig } = JSON.parse(process.argv[2]);
const { issuer, allowed_audiences: audiences } = runConfig;
const lifespan = {
  access: seconds(runConfig.token_lifespans?.access_token_lifespan ?? '1h'),
  refresh: seconds(runConfig.token_lifespans?.refresh_token_lifespan ?? '168h'),
  code: seconds(runConfig.token_lifespans?.auth_code_lifespan ?? '10m'),
};
const store = await Store.connect(runConfig.storage.redis_config, SCOPES, audiences);
const logins = new Logins(runConfig, store, lifespan.refresh);
const { privateKey } = await jose.generateKeyPair('ES256', { extractable: true });
const key = { ...await jose.exportJWK(privateKey), alg: 'ES256', use: 'sig', kid: 'stand-in' };

/** Everybody logs in anew, since a session is of one login, and is asked nothing else. */
const policy = interactionPolicy.base();
policy.remove('consent');
const { Check } = interactionPolicy;
policy.get('login').checks.add(new Check('each_time', 'each login is one of its own', (ctx) => (
  ctx.oidc.result?.login ? Check.NO_NEED_TO_PROMPT : Check.REQUEST_PROMPT
)));

const provider = new Provider(issuer, {
  adapter: store.adapter(logins),
  clientDefaults: {
    grant_types: ['authorization_code', 'refresh_token'],
    id_token_signed_response_alg: 'ES256',
    response_types: ['code'],
    token_endpoint_auth_method: 'none',
  },
  clientAuthMethods: ['none'],
  // Cookies know no ports: these must not be taken for those of an upstream on the same host.
  cookies: {
    keys: [randomBytes(16).toString('hex')],
    names: { interaction: 'as_interaction', resume: 'as_resume', session: 'as_session' },
  },
  extraParams: ['wanted'],
  features: {
    devInteractions: { enabled: false },
    dPoP: { enabled: false },
    pushedAuthorizationRequests: { enabled: false },
    registration: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: (_ctx, _client, several) => several?.[0] ?? audiences[0],
      getResourceServerInfo: (_ctx, resource) => {
        if (!audiences.includes(resource)) {
          throw new errors.InvalidTarget();
        }
        return {
          accessTokenFormat: 'jwt',
          accessTokenTTL: lifespan.access,
          audience: resource,
          jwt: { sign: { alg: 'ES256' } },
          scope: SCOPES.join(' '),
        };
      },
      useGrantedResource: () => true,
    },
    rpInitiatedLogout: { enabled: false },
    userinfo: { enabled: false },
  },
  findAccount: (_ctx, accountId) => ({ accountId, claims: () => ({ sub: accountId }) }),
  formats: { customizers: { jwt: likeToolHives } },
  interactions: { policy, url: (_ctx, { uid }) => `/oauth/login/${uid}` },
  issueRefreshToken: (_ctx, _client, source) => (
    logins.of(source.grantId).scopes.includes('offline_access')
  ),
  jwks: { keys: [key] },
  loadExistingGrant: grant,
  pkce: { required: () => true },
  responseTypes: ['code'],
  rotateRefreshToken: true,
  routes: {
    authorization: '/oauth/authorize',
    jwks: '/.well-known/jwks.json',
    registration: '/oauth/register',
    token: '/oauth/token',
  },
  scopes: SCOPES,
  ttl: {
    AuthorizationCode: lifespan.code,
    Grant: lifespan.refresh,
    IdToken: lifespan.access,
    Interaction: 600,
    RefreshToken: lifespan.refresh,
    Session: lifespan.refresh,
  },
});
provider.on('server_error', (_ctx, error) => console.error(error));
provider.use(async (ctx, next) => {
  if (ctx.path === '/oauth/authorize') {
    // The scopes before anything is taken out of them; and nobody is asked for consent, even if a
    // client would have it so.
    const { prompt: _, ...query } = ctx.query;
    ctx.query = { ...query, wanted: query.scope ?? SCOPES.join(' ') };
  }
  await next();
  const token = ctx.oidc?.route === 'token' && ctx.status === 200 && ctx.body?.access_token;
  if (token) {
    await store.putAccessToken(logins.of(ctx.oidc.entities.AccessToken.grantId), token);
  }
});
const serveProtocol = provider.callback();

const server = createServer((req, res) => {
  serve(req, res).catch((error) => {
    console.error(error);
    res.writeHead(500).end();
  });
});
server.listen(0, '127.0.0.1');
await once(server, 'listening');
// The parent holds the other end: when it is gone, whatever the reason, so is this process.
process.stdin.resume().on('end', () => process.exit(0));
console.log(JSON.stringify({ port: server.address().port, issuer }));

async function serve(req, res) {
  // All that is announced is below the issuer, whatever the request calls it.
  req.headers.host = new URL(issuer).host;
  const url = new URL(req.url, issuer);
  if (url.pathname.startsWith('/oauth/login/')) {
    await login(req, res);
  } else if (url.pathname === '/oauth/callback') {
    redirect(res, `/oauth/login/${await logins.comeBack(url.searchParams)}`);
  } else {
    if (url.pathname.startsWith('/.well-known/oauth-authorization-server')) {
      req.url = '/.well-known/openid-configuration';
    }
    await serveProtocol(req, res);
  }
}

/** To the next upstream, or back to the client. */
async function login(req, res) {
  const { uid, params } = await provider.interactionDetails(req, res);
  const under = logins.begin(uid, params.client_id, params.wanted.split(' '));
  const next = await logins.next(under);
  if (next) {
    redirect(res, next);
  } else {
    const result = { login: { accountId: under.user }, session: under.session };
    await provider.interactionFinished(req, res, result);
  }
}

function redirect(res, location) {
  res.writeHead(302, { location, 'cache-control': 'no-store' }).end();
}

/** What the login is good for: nobody is asked again. */
async function grant(ctx) {
  const { client, params, result, session } = ctx.oidc;
  const found = new provider.Grant({ accountId: session.accountId, clientId: client.clientId });
  found.addOIDCScope(SCOPES.join(' '));
  for (const resource of [params.resource ?? audiences[0]].flat()) {
    found.addResourceScope(resource, SCOPES.join(' '));
  }
  const id = await found.save();
  logins.finish(result.session, id);
  return found;
}

/** The claims that ToolHive's tokens have; `iat` stays that of the login. */
function likeToolHives(_ctx, token, jwt) {
  const { session, scopes, began, name, email } = logins.of(token.grantId);
  jwt.header = { typ: 'JWT' };
  delete jwt.payload.scope;
  Object.assign(jwt.payload, {
    aud: [jwt.payload.aud].flat(), iat: began, scp: scopes, tsid: session, name, email,
  });
}

/** A Go duration of hours, minutes and seconds. */
function seconds(text) {
  const units = { h: 3600, m: 60, s: 1 };
  const parts = text.matchAll(/(\d+)([hms])/g);
  return [...parts].reduce((sum, [, number, unit]) => sum + Number(number) * units[unit], 0);
}
