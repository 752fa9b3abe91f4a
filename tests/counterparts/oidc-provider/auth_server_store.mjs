// What ToolHive's auth server keeps in Redis, key by key: sessions, and the client tokens that
// belong to them. What else oidc-provider wants kept stays in this process.

import { randomUUID } from 'node:crypto';

import { createClient } from 'redis';

/** Rows outlive their tokens by so much. */
const GRACE_MS = 30 * 24 * 3600 * 1000;

export class Store {
  /** To the Redis of this configuration; clients may ask for these scopes and audiences. */
  static async connect(config, scopes, audiences) {
    const [host, port] = config.addr.split(':');
    const { username_env_var: user, password_env_var: secret } = config.acl_user_config ?? {};
    const redis = createClient({
      socket: { host, port: Number(port) },
      username: process.env[user] || undefined,
      password: process.env[secret] || undefined,
    });
    redis.on('error', (error) => console.error(error));
    await redis.connect();
    return new Store(redis, config.key_prefix, scopes, audiences);
  }

  constructor(redis, prefix, scopes, audiences) {
    Object.assign(this, { redis, scopes, audiences });
    this.key = (...parts) => prefix + parts.join(':');
  }

  /** The user whom this provider knows under this name. */
  async user(provider, subject) {
    const link = this.key('provider', Buffer.byteLength(provider), provider, subject);
    const now = Math.floor(Date.now() / 1000);
    const known = JSON.parse(await this.redis.get(link));
    const id = known?.user_id ?? randomUUID();
    await this.redis.set(link, JSON.stringify({
      provider_subject: subject, linked_at: known?.linked_at ?? now, last_used_at: now,
      provider_id: provider, user_id: id,
    }));
    if (!known) {
      const user = { id, created_at: now, updated_at: now };
      await this.redis.set(this.key('user', id), JSON.stringify(user));
      await this.redis.sAdd(this.key('user', 'providers', id), link);
    }
    return id;
  }

  /** A provider's row of a session. */
  async putUpstream({ session, user }, provider, row) {
    const key = this.key('upstream', session, provider);
    const index = this.key('upstream', 'idx', session);
    const PX = (row.expires_at || row.session_expires_at) * 1000 - Date.now() + GRACE_MS;
    await this.redis.multi()
      .set(key, JSON.stringify(row), { PX })
      .sAdd(index, key)
      .pExpire(index, PX, 'NX')
      .pExpire(index, PX, 'GT')
      .sAdd(this.key('user', 'upstream', user), key)
      .exec();
  }

  /** The newest TH-JWT of a login, by its signature: those before lead nowhere. */
  async putAccessToken(login, token) {
    const signature = token.split('.')[2];
    const { exp, aud } = JSON.parse(Buffer.from(token.split('.')[1], 'base64url'));
    const all = this.key('reqid', 'access', login.request);
    const before = await this.redis.sMembers(all);
    const EX = Math.max(exp - Math.floor(Date.now() / 1000), 1);
    await this.redis.multi()
      .del([all, ...before.map((old) => this.key('access', old))])
      .set(this.key('access', signature), record(login, aud, exp), { EX })
      .sAdd(all, signature)
      .expire(all, EX)
      .exec();
  }

  /** A client that has registered itself. */
  async putClient(id, { redirect_uris, grant_types, response_types, token_endpoint_auth_method }) {
    const row = {
      id, redirect_uris, grant_types, response_types, scopes: this.scopes, audience: this.audiences,
      public: true, token_endpoint_auth_method, dcr_issued: true,
    };
    await this.redis.set(this.key('client', id), JSON.stringify(row), { PX: GRACE_MS });
  }

  /** Where oidc-provider keeps things. A refresh token is as good as its row. */
  adapter(logins) {
    const store = this;
    const values = new Map();
    return class {
      constructor(model) {
        this.name = (id) => `${model}:${id}`;
        this.isRefreshToken = model === 'RefreshToken';
        this.isClient = model === 'Client';
      }

      async upsert(id, payload, expiresIn) {
        values.set(this.name(id), { ...payload });
        if (this.isClient) {
          await store.putClient(id, payload);
        }
        if (this.isRefreshToken) {
          const login = logins.of(payload.grantId);
          const all = store.key('reqid', 'refresh', login.request);
          const row = record(login, [payload.resource].flat(), payload.exp);
          await store.redis.multi()
            .set(store.key('refresh', id), row, { EX: expiresIn })
            .sAdd(all, id)
            .expire(all, expiresIn)
            .exec();
        }
      }

      async find(id) {
        const gone = this.isRefreshToken && !await store.redis.exists(store.key('refresh', id));
        return gone ? undefined : values.get(this.name(id));
      }

      async findByUid(uid) {
        return [...values.entries()]
          .find(([name, value]) => name.startsWith('Session:') && value.uid === uid)?.[1];
      }

      async consume(id) {
        const value = values.get(this.name(id));
        value.consumed = Math.floor(Date.now() / 1000);
        await this.#drop(id, value);
      }

      async destroy(id) {
        const value = values.get(this.name(id));
        values.delete(this.name(id));
        await this.#drop(id, value);
      }

      async revokeByGrantId(grant) {
        for (const [name, value] of values) {
          if (value.grantId === grant && name.startsWith(this.name(''))) {
            await this.destroy(name.slice(this.name('').length));
          }
        }
      }

      async #drop(id, value) {
        if (this.isRefreshToken && value) {
          const all = store.key('reqid', 'refresh', logins.of(value.grantId).request);
          await store.redis.multi().del(store.key('refresh', id)).sRem(all, id).exec();
        }
      }
    };
  }
}

/** What ToolHive remembers of a client's token that ends then. */
function record({ client, request, scopes, session, user, began, ends, issuer }, audience, end) {
  const at = (seconds) => new Date(seconds * 1000).toISOString();
  return JSON.stringify({
    client_id: client,
    requested_at: at(began),
    requested_scopes: scopes,
    granted_scopes: scopes,
    requested_audience: null,
    granted_audience: audience,
    form: { client_id: [client], grant_type: ['authorization_code'] },
    request_id: request,
    session: {
      JWTClaims: {
        Subject: user, Issuer: issuer, Audience: audience, JTI: '', IssuedAt: at(began),
        NotBefore: '0001-01-01T00:00:00Z', ExpiresAt: at(end), Scope: scopes,
        Extra: { client_id: client, tsid: session }, ScopeField: 0,
      },
      JWTHeader: { extra: {} },
      ExpiresAt: { access_token: at(end), refresh_token: at(ends) },
      Username: '',
      Subject: user,
      UpstreamSessionID: session,
    },
  });
}
