// RFC 8693 as a grant of oidc-provider. Client authentication, parameter rules, resource
// indicators and the making of the JWT are the provider's own; only what the grant means is here.

import * as jose from 'jose';
import { errors } from 'oidc-provider';

export const GRANT_TYPE = 'urn:ietf:params:oauth:grant-type:token-exchange';

const TOKEN_TYPE = 'urn:ietf:params:oauth:token-type:';
const ACCESS_TOKEN = `${TOKEN_TYPE}access_token`;
const JWT = `${TOKEN_TYPE}jwt`;
const SUBJECT_TYPES = new Set([ACCESS_TOKEN, `${TOKEN_TYPE}id_token`, JWT]);
const REQUESTED_TYPES = new Set([ACCESS_TOKEN, JWT]);

const REPEATABLE = ['audience', 'resource'];
const PARAMETERS = [
  'subject_token', 'subject_token_type', 'requested_token_type', 'scope',
  'actor_token', 'actor_token_type', ...REPEATABLE,
];

/**
 * Lets `provider` exchange tokens.
 *
 * `subjects` maps a token to the user it stands for; `issuers` are the parties whose JWTs are
 * taken as subject tokens besides; `resources` names what tokens can be had for.
 */
export function registerTokenExchange(provider, { subjects, issuers, resources }) {
  provider.registerGrantType(GRANT_TYPE, async (ctx) => {
    const { client, params } = ctx.oidc;
    const requestedType = checkedTypes(params);
    const accountId = await subjectOf(params.subject_token, { provider, subjects, issuers });
    if (accountId === undefined) {
      throw new errors.InvalidGrant('subject token is not acceptable');
    }

    const resourceServer = resourceServerFor(provider, params, resources);
    const token = new provider.AccessToken({ accountId, client, gty: 'token_exchange' });
    token.resourceServer = resourceServer;
    token.scope = grantedScope(ctx.oidc.requestParamScopes, resourceServer);
    ctx.oidc.entity('AccessToken', token);

    ctx.body = {
      access_token: await token.save(),
      issued_token_type: requestedType,
      token_type: token.tokenType,
      expires_in: token.expiration,
      ...(token.scope && { scope: token.scope }),
    };
  }, PARAMETERS, REPEATABLE);
}

/** The type to issue. Anything wrong with the types is `invalid_request` (RFC 8693 §2.2.2). */
function checkedTypes(params) {
  if (!params.subject_token || !params.subject_token_type) {
    throw new errors.InvalidRequest('subject_token and subject_token_type are required');
  }
  if (!SUBJECT_TYPES.has(params.subject_token_type)) {
    throw new errors.InvalidRequest('unsupported subject_token_type');
  }
  if (params.actor_token !== undefined || params.actor_token_type !== undefined) {
    throw new errors.InvalidRequest('actor tokens are not supported');
  }
  const requested = params.requested_token_type ?? ACCESS_TOKEN;
  if (!REQUESTED_TYPES.has(requested)) {
    throw new errors.InvalidRequest('unsupported requested_token_type');
  }
  return requested;
}

/** The user a subject token stands for: planted, issued here, or a trusted issuer's JWT. */
async function subjectOf(token, { provider, subjects, issuers }) {
  const planted = subjects.get(token);
  if (planted !== undefined) {
    return planted;
  }
  const own = await provider.AccessToken.find(token);
  if (own !== undefined) {
    return own.accountId;
  }
  for (const { issuer, keys, audience } of issuers) {
    try {
      const { payload } = await jose.jwtVerify(token, keys, { issuer, audience });
      return payload.sub;
    } catch (error) {
      if (!(error instanceof jose.errors.JOSEError)) {
        throw error;
      }
    }
  }
  return undefined;
}

/**
 * The one resource server that `audience` and `resource` name; here both are the same names.
 * oidc-provider makes a token for a single resource server only.
 */
function resourceServerFor(provider, params, resources) {
  const names = new Set([params.audience, params.resource].flat().filter((it) => it !== undefined));
  if (names.size !== 1) {
    throw new errors.InvalidTarget('exactly one audience or resource must be requested');
  }
  const [name] = names;
  const resource = resources[name];
  if (resource === undefined) {
    throw new errors.InvalidTarget('unknown audience or resource');
  }
  return new provider.ResourceServer(name, resource);
}

function grantedScope(requested, resourceServer) {
  for (const scope of requested) {
    if (!resourceServer.scopes.has(scope)) {
      throw new errors.InvalidScope('scope is not available at this resource', scope);
    }
  }
  return [...requested].join(' ') || undefined;
}
