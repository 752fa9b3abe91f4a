// The identity provider's half of Cross-App Access: this server's own ID token becomes an identity
// assertion for a partner's authorization server (draft-ietf-oauth-identity-assertion-authz-grant).

import { randomUUID } from 'node:crypto';

import { errors } from 'oidc-provider';

export const ID_JAG = 'urn:ietf:params:oauth:token-type:id-jag';

const ID_TOKEN = 'urn:ietf:params:oauth:token-type:id_token';
const TYP = 'oauth-id-jag+jwt';
const ASSERTION_TTL = 300;

/**
 * The answer to a request for an identity assertion. The ID token must have been issued to the
 * client that asks. `partners` says of each partner's authorization server which `client` this one
 * is there; its `header`, `claims` and `length` are what tests make wrong, and `plain` is an identity provider
 * that answers with a token of another type.
 */
export async function issueIdJag(ctx, { provider, partners, sign }) {
  const { client, params } = ctx.oidc;
  if (params.subject_token_type !== ID_TOKEN) {
    throw new errors.InvalidRequest('the subject must be an ID token');
  }
  const audience = params.audience;
  const partner = partners[audience];
  if (partner === undefined) {
    throw new errors.InvalidTarget('unknown partner');
  }
  const sub = await subjectOf(params.subject_token, { provider, client });
  const { plain = {}, header = {}, claims = {}, length = 0 } = partner;
  const assertion = await sign(
    { typ: TYP, ...header },
    {
      iss: provider.issuer,
      sub,
      aud: audience,
      client_id: partner.client,
      jti: randomUUID(),
      resource: params.resource,
      scope: params.scope,
      ...claims,
    },
    ASSERTION_TTL,
  );
  return {
    access_token: assertion.padEnd(length, 'x'),
    issued_token_type: ID_JAG,
    token_type: 'N_A',
    expires_in: ASSERTION_TTL,
    ...plain,
  };
}

/** The user of an ID token that this server has issued to `client`, as the provider judges it. */
async function subjectOf(token, { provider, client }) {
  let payload;
  try {
    ({ payload } = await provider.IdToken.validate(token, client));
  } catch (cause) {
    throw new errors.InvalidGrant('the ID token is not one of this client', undefined, { cause });
  }
  // What the provider leaves out where an ID token is a hint.
  if (payload.exp <= Date.now() / 1000) {
    throw new errors.InvalidGrant('the ID token has expired');
  }
  return payload.sub;
}
