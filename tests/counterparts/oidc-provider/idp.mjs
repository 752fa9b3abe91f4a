// An identity provider on 127.0.0.1 at which one user logs in and agrees to everything:
// `node idp.mjs CONFIGURATION`, the configuration being JSON: `client` (`id`, `secret`,
// `redirect_uri`), `user`, `accessTokenTtl` in seconds, and `rotate`, whether a refresh token serves
// once. What it prints and its life are those of the other counterparts: ../README.md.

import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';

import * as jose from 'jose';
import Provider from 'oidc-provider';

const { client, user = 'alice', accessTokenTtl = 75, rotate = false } = JSON.parse(process.argv[2]);
const counts = {};

const server = createServer();
server.listen(0, '127.0.0.1');
await once(server, 'listening');
const issuer = `http://127.0.0.1:${server.address().port}`;
const { privateKey } = await jose.generateKeyPair('RS256', { extractable: true });
const key = { ...await jose.exportJWK(privateKey), alg: 'RS256', use: 'sig', kid: 'idp' };
const provider = new Provider(issuer, {
  clients: [{
    client_id: client.id,
    client_secret: client.secret,
    redirect_uris: [client.redirect_uri],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    token_endpoint_auth_method: 'client_secret_post',
  }],
  claims: { openid: ['sub'], profile: ['name'], email: ['email'] },
  cookies: { keys: [randomBytes(16).toString('hex')] },
  features: { devInteractions: { enabled: false } },
  findAccount: (_ctx, accountId) => ({
    accountId,
    claims: () => ({ sub: accountId, name: accountId, email: `${accountId}@example.test` }),
  }),
  interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
  issueRefreshToken: () => true,
  jwks: { keys: [key] },
  pkce: { required: () => false },
  rotateRefreshToken: rotate,
  scopes: ['openid', 'offline_access', 'profile', 'email'],
  ttl: {
    AccessToken: accessTokenTtl,
    Grant: 3600,
    IdToken: 3600,
    Interaction: 600,
    RefreshToken: 3600,
    Session: 3600,
  },
});
for (const [event, outcome] of [['grant.success', 'ok'], ['grant.error', 'error']]) {
  provider.on(event, (ctx) => {
    const name = `${ctx.oidc?.params?.grant_type}:${outcome}`;
    counts[name] = (counts[name] ?? 0) + 1;
  });
}
provider.on('server_error', (_ctx, error) => console.error(error));
const serveProtocol = provider.callback();
server.on('request', (req, res) => {
  if (req.url === '/test/stats') {
    res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(counts));
  } else if (req.url.startsWith('/interaction/')) {
    agree(req, res).catch((error) => {
      console.error(error);
      res.writeHead(500).end();
    });
  } else {
    serveProtocol(req, res);
  }
});

// The parent holds the other end: when it is gone, whatever the reason, so is this process.
process.stdin.resume().on('end', () => process.exit(0));
console.log(JSON.stringify({ port: server.address().port, issuer }));

/** The user logs in, and agrees. */
async function agree(req, res) {
  const { prompt, params, session } = await provider.interactionDetails(req, res);
  let result = { login: { accountId: user } };
  if (prompt.name !== 'login') {
    const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
    grant.addOIDCScope(params.scope);
    result = { consent: { grantId: await grant.save() } };
  }
  await provider.interactionFinished(req, res, result, { mergeWithLastSubmission: true });
}
