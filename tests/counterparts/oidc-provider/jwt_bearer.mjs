// RFC 7523 as a grant of oidc-provider: the assertion is a trusted issuer's JWT. With
// `requested_token_use=on_behalf_of` it is Microsoft Entra's on-behalf-of: the scopes name their
// resource, and the answer says nothing of the token's type.

import { errors } from 'oidc-provider';

import { accountOf, issue, resourceServerNamed, verified } from './grants.mjs';

export const GRANT_TYPE = 'urn:ietf:params:oauth:grant-type:jwt-bearer';

const REPEATABLE = ['audience', 'resource'];
const PARAMETERS = ['assertion', 'scope', 'requested_token_use', ...REPEATABLE];

/** Lets `provider` take assertions; with `once`, each of them a single time. */
export function registerJwtBearer(provider, { once, ...known }) {
  provider.registerGrantType(GRANT_TYPE, async (ctx) => {
    const { params } = ctx.oidc;
    if (!params.assertion) {
      throw new errors.InvalidRequest('assertion is required');
    }
    const accountId = await accountOf(params.assertion, { provider, ...known });
    if (accountId === undefined) {
      throw new errors.InvalidGrant('assertion is not acceptable');
    }
    if (once) {
      await refuseReplay(provider, params.assertion, known.issuers);
    }
    const { name, scopes } = params.requested_token_use === undefined
      ? { name: params.audience ?? params.resource, scopes: ctx.oidc.requestParamScopes }
      : onBehalfOf(params, known.resources);
    ctx.body = await issue(ctx, provider, {
      accountId,
      gty: 'jwt_bearer',
      resourceServer: resourceServerNamed(provider, name, known.resources),
      scopes,
    });
  }, PARAMETERS, REPEATABLE);
}

async function refuseReplay(provider, assertion, issuers) {
  const claims = await verified(assertion, issuers);
  const { ReplayDetection } = provider;
  if (claims && !await ReplayDetection.unique(claims.iss, claims.tsid, claims.exp)) {
    throw new errors.InvalidGrant('assertions are taken once');
  }
}

/** `https://graph.example.com/User.Read` is the scope `User.Read` of that resource. */
function onBehalfOf({ scope = '', requested_token_use: use }, resources) {
  if (use !== 'on_behalf_of') {
    throw new errors.InvalidRequest('unsupported requested_token_use');
  }
  const scopes = scope.split(' ');
  const name = Object.keys(resources).find((it) => scopes.every((one) => one.startsWith(`${it}/`)));
  if (name === undefined) {
    throw new errors.InvalidScope('the scopes are not those of one resource', scope);
  }
  const within = scopes.map((one) => one.slice(name.length + 1));
  return { name, scopes: within.filter((one) => one !== '.default') };
}
