// RFC 8693 as a grant of oidc-provider, also under a grant type of its own, as Auth0's Token Vault
// has one, and with identity assertions for partners as what is issued.

import { errors } from 'oidc-provider';

import { accountOf, issue, resourceServerNamed } from './grants.mjs';
import { ID_JAG, issueIdJag } from './id_jag.mjs';

export const GRANT_TYPE = 'urn:ietf:params:oauth:grant-type:token-exchange';
/** The same form under another name: it names a `connection`, and no audience. */
export const VAULT_GRANT_TYPE = 'urn:example:params:oauth:grant-type:vault';

const TOKEN_TYPE = 'urn:ietf:params:oauth:token-type:';
const ACCESS_TOKEN = `${TOKEN_TYPE}access_token`;
const ID_TOKEN = `${TOKEN_TYPE}id_token`;
const JWT = `${TOKEN_TYPE}jwt`;
const VAULT_TOKEN = 'https://vault.example.com/token-type/connection-token';
const SUBJECT_TYPES = new Set([ACCESS_TOKEN, ID_TOKEN, JWT]);
const REQUESTED_TYPES = new Set([ACCESS_TOKEN, JWT, ID_JAG]);

const REPEATABLE = ['audience', 'resource'];
const PARAMETERS = [
  'subject_token', 'subject_token_type', 'requested_token_type', 'scope',
  'actor_token', 'actor_token_type', ...REPEATABLE,
];

/**
 * Lets `provider` exchange tokens.
 *
 * `subjects` maps a token to the user it stands for; `issuers` are the parties whose JWTs are
 * taken as subject and actor tokens besides; `resources` names what tokens can be had for,
 * `partners` whom identity assertions can be had for, `connections` the resource of each
 * connection. `sign` signs what the provider itself does not make.
 */
export function registerTokenExchange(provider, known) {
  provider.registerGrantType(GRANT_TYPE, async (ctx) => {
    const { params } = ctx.oidc;
    const requestedType = checkedTypes(params, REQUESTED_TYPES, ACCESS_TOKEN);
    if (requestedType === ID_JAG) {
      ctx.body = await issueIdJag(ctx, { provider, ...known });
      return;
    }
    const { accountId, extra } = await parties(params, { provider, ...known });
    const answer = await issue(ctx, provider, {
      accountId,
      extra,
      gty: 'token_exchange',
      resourceServer: resourceServerFor(provider, params, known.resources),
      scopes: ctx.oidc.requestParamScopes,
    });
    ctx.body = { ...answer, issued_token_type: requestedType };
  }, PARAMETERS, REPEATABLE);

  provider.registerGrantType(VAULT_GRANT_TYPE, async (ctx) => {
    const { params } = ctx.oidc;
    const requestedType = checkedTypes(params, new Set([VAULT_TOKEN]), undefined);
    const { accountId } = await parties(params, { provider, ...known });
    const resource = known.connections[params.connection];
    if (resource === undefined) {
      throw new errors.CustomOIDCProviderError('connection_not_linked', 'no such connection');
    }
    const answer = await issue(ctx, provider, {
      accountId,
      gty: 'vault',
      resourceServer: resourceServerNamed(provider, resource, known.resources),
      scopes: ctx.oidc.requestParamScopes,
      extra: { connection: params.connection },
    });
    ctx.body = { ...answer, issued_token_type: requestedType };
  }, [...PARAMETERS, 'connection'], REPEATABLE);
}

/** The type to issue. Anything wrong with the types is `invalid_request` (RFC 8693 §2.2.2). */
function checkedTypes(params, supported, usual) {
  if (!params.subject_token || !params.subject_token_type) {
    throw new errors.InvalidRequest('subject_token and subject_token_type are required');
  }
  if (!SUBJECT_TYPES.has(params.subject_token_type)) {
    throw new errors.InvalidRequest('unsupported subject_token_type');
  }
  if ((params.actor_token === undefined) !== (params.actor_token_type === undefined)) {
    throw new errors.InvalidRequest('actor_token and actor_token_type go together');
  }
  const requested = params.requested_token_type ?? usual;
  if (!supported.has(requested)) {
    throw new errors.InvalidRequest('unsupported requested_token_type');
  }
  return requested;
}

/** Whom the subject token stands for, and who acts for them (RFC 8693 §4.1). */
async function parties(params, known) {
  const accountId = await accountOf(params.subject_token, known);
  if (accountId === undefined) {
    throw new errors.InvalidGrant('subject token is not acceptable');
  }
  if (params.actor_token === undefined) {
    return { accountId };
  }
  const actor = await accountOf(params.actor_token, known);
  if (actor === undefined) {
    throw new errors.InvalidGrant('actor token is not acceptable');
  }
  return { accountId, extra: { act: { sub: actor } } };
}

/** The one resource server that `audience` and `resource` name; here both are the same names. */
function resourceServerFor(provider, params, resources) {
  const names = new Set([params.audience, params.resource].flat().filter((it) => it !== undefined));
  if (names.size !== 1) {
    throw new errors.InvalidTarget('exactly one audience or resource must be requested');
  }
  const [name] = names;
  return resourceServerNamed(provider, name, resources);
}
