// What the grants registered with oidc-provider have in common: whom a token stands for, and how an
// access token is made. Client authentication, parameter rules, resource indicators and the making
// of the JWT are the provider's own; only what a grant means is in the files beside this one.

import * as jose from 'jose';
import { errors } from 'oidc-provider';

/** The user a token stands for: planted, issued here, or a trusted issuer's JWT. */
export async function accountOf(token, { provider, subjects, issuers }) {
  const planted = subjects.get(token);
  if (planted !== undefined) {
    return planted;
  }
  const own = await provider.AccessToken.find(token);
  if (own !== undefined) {
    return own.accountId;
  }
  return (await verified(token, issuers))?.sub;
}

/** The claims of a trusted issuer's JWT; `undefined` if it is none. */
export async function verified(token, issuers) {
  for (const { issuer, keys, audience } of issuers) {
    try {
      return (await jose.jwtVerify(token, keys, { issuer, audience })).payload;
    } catch (error) {
      if (!(error instanceof jose.errors.JOSEError)) {
        throw error;
      }
    }
  }
  return undefined;
}

/** An access token for a resource with these scopes; `extra` goes into its claims. */
export async function issue(ctx, provider, { accountId, gty, resourceServer, scopes, extra }) {
  const token = new provider.AccessToken({ accountId, client: ctx.oidc.client, gty, extra });
  token.resourceServer = resourceServer;
  token.scope = grantedScope(scopes, resourceServer);
  ctx.oidc.entity('AccessToken', token);
  return {
    access_token: await token.save(),
    token_type: token.tokenType,
    expires_in: token.expiration,
    ...(token.scope && { scope: token.scope }),
  };
}

/** The resource server of that name. oidc-provider makes a token for a single one only. */
export function resourceServerNamed(provider, name, resources) {
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
