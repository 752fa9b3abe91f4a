// Logins under way and done, at the upstreams one after the other: ToolHive's side of OAuth as a
// client of others.

import { createHash, randomBytes, randomUUID } from 'node:crypto';

import * as jose from 'jose';

export class Logins {
  /** By the interaction that each is of, by its session, by its grant. */
  #byInteraction = new Map();
  #bySession = new Map();
  #byGrant = new Map();
  /** Who is at an upstream just now, by `state`. */
  #away = new Map();

  constructor(runConfig, store, lifespan) {
    this.upstreams = runConfig.upstreams.map(upstream);
    this.issuer = runConfig.issuer;
    this.store = store;
    this.lifespan = lifespan;
  }

  /** The login of this interaction. */
  begin(interaction, client, scopes) {
    let login = this.#byInteraction.get(interaction);
    if (!login) {
      const began = Math.floor(Date.now() / 1000);
      login = {
        interaction, client, scopes, began, session: identifier(), request: randomUUID(), done: 0,
        ends: began + this.lifespan, issuer: this.issuer,
      };
      this.#byInteraction.set(interaction, login);
      this.#bySession.set(login.session, login);
    }
    return login;
  }

  /** Where the user has to go next, if anywhere. */
  async next(login) {
    const at = this.upstreams[login.done];
    if (!at) {
      return undefined;
    }
    const state = identifier();
    const verifier = randomBytes(32).toString('base64url');
    const nonce = identifier();
    this.#away.set(state, { login, verifier, nonce });
    const url = new URL((await at.endpoints()).authorization);
    for (const [name, value] of Object.entries({
      client_id: at.client,
      code_challenge: createHash('sha256').update(verifier).digest('base64url'),
      code_challenge_method: 'S256',
      nonce,
      redirect_uri: at.redirect,
      response_type: 'code',
      scope: at.scopes.join(' '),
      state,
    })) {
      url.searchParams.set(name, value);
    }
    return url.href;
  }

  /** A user comes back from an upstream; the interaction that goes on. */
  async comeBack(query) {
    const state = query.get('state');
    const { login, verifier, nonce } = this.#away.get(state) ?? {};
    this.#away.delete(state);
    if (!login || !query.has('code')) {
      throw new Error(`nobody is expected back, or ${query.get('error')}`);
    }
    const at = this.upstreams[login.done];
    const tokens = await at.redeem(query.get('code'), verifier);
    const who = await at.subject(tokens, nonce);
    if (login.done === 0) {
      login.user = await this.store.user(at.name, who.subject);
      Object.assign(login, { name: who.name, email: who.email });
    }
    await this.store.putUpstream(login, at.name, {
      provider_id: at.name,
      access_token: tokens.access_token,
      refresh_token: tokens.refresh_token ?? '',
      id_token: at.isOidc ? tokens.id_token : '',
      expires_at: tokens.expires_in ? Math.floor(Date.now() / 1000) + tokens.expires_in : 0,
      session_expires_at: login.ends,
      user_id: login.user,
      upstream_subject: who.subject,
      client_id: login.client,
    });
    login.done += 1;
    return login.interaction;
  }

  /** The login of this session has got this grant. */
  finish(session, grant) {
    this.#byGrant.set(grant, this.#bySession.get(session));
  }

  /** The login of a grant. */
  of(grant) {
    return this.#byGrant.get(grant);
  }
}

function upstream({ name, oidc_config: oidc, oauth2_config: oauth2 }) {
  const config = oidc ?? oauth2;
  const secret = process.env[config.client_secret_env_var] ?? '';
  let known = oauth2 && {
    authorization: oauth2.authorization_endpoint,
    token: oauth2.token_endpoint,
    userinfo: oauth2.userinfo?.endpoint_url,
  };
  const endpoints = async () => {
    if (!known) {
      const found = await json(`${oidc.issuer_url}/.well-known/openid-configuration`);
      known = {
        authorization: found.authorization_endpoint,
        token: found.token_endpoint,
        keys: jose.createRemoteJWKSet(new URL(found.jwks_uri)),
      };
    }
    return known;
  };
  return {
    name,
    client: config.client_id,
    endpoints,
    isOidc: Boolean(oidc),
    redirect: config.redirect_uri,
    scopes: config.scopes ?? ['openid', 'offline_access'],

    async redeem(code, verifier) {
      const body = new URLSearchParams({
        grant_type: 'authorization_code', code, code_verifier: verifier,
        redirect_uri: config.redirect_uri, client_id: config.client_id, client_secret: secret,
      });
      return json((await endpoints()).token, { method: 'POST', body });
    },

    async subject(tokens, nonce) {
      const { keys, userinfo } = await endpoints();
      if (oidc) {
        const { payload } = await jose.jwtVerify(tokens.id_token, keys, {
          issuer: oidc.issuer_url, audience: config.client_id,
        });
        if (payload.nonce !== nonce) {
          throw new Error('an ID token of another login');
        }
        const { name: user, email } = payload;
        return { subject: payload[oidc.subject_claim ?? 'sub'], name: user, email };
      }
      if (!userinfo) {
        return { subject: `tk-${randomBytes(16).toString('hex')}` };
      }
      const authorization = `Bearer ${tokens.access_token}`;
      const found = await json(userinfo, { headers: { authorization } });
      const fields = oauth2.userinfo.field_mapping?.subject_fields ?? ['sub'];
      const field = fields.find((name) => found[name] !== undefined);
      return { subject: String(found[field]), name: found.name, email: found.email };
    },
  };
}

async function json(url, init) {
  const response = await fetch(url, { redirect: 'error', ...init });
  if (!response.ok) {
    throw new Error(`${url} answers ${response.status}`);
  }
  return response.json();
}

/** 26 characters of Base32, as ToolHive names sessions and states. */
function identifier() {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
  return [...randomBytes(26)].map((byte) => alphabet[byte % 32]).join('');
}
