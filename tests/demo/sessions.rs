//! The identity service of the demo, with what the users' sessions hold: in a file, or in a Redis.

use bed::scene::Neighbours;
use bed::{IDENTITY_CLIENT, IdentityService, KEY_PREFIX, Redis};
use serde_json::{Map, Value, json};

use crate::cast::Cast;

/// Who signs the users' TH-JWTs.
const ISSUER: &str = "https://vmcp.example.com";
/// The providers of `envoy/demo.yaml`.
const PROVIDERS: [&str; 4] = ["github", "atlassian", "corporate-idp", "entra"];

/// A running service, and the store that it reads, if there is one.
pub struct Sessions {
    pub service: IdentityService,
    _redis: Option<Redis>,
}

impl Sessions {
    /// Sessions in a file.
    pub async fn in_a_file(cast: &Cast, neighbours: &Neighbours) -> Result<Self, String> {
        let mut sessions = Map::new();
        for user in cast.users() {
            let tokens = user.upstream_tokens.iter().map(|(provider, token)| {
                let mut held = json!({"access_token": token});
                if let Some(id_token) = user.id_tokens.get(provider) {
                    held["id_token"] = json!(id_token);
                }
                ((*provider).to_owned(), held)
            });
            sessions.insert(user.session()?, Value::Object(tokens.collect()));
        }
        let sessions = json!({"issuer": ISSUER, "sessions": sessions});
        let jwks = jwks(neighbours);
        let arguments = ["--jwks-url", jwks.as_str()];
        Ok(Self {
            service: IdentityService::with_sessions(&sessions, &arguments, &environment()).await?,
            _redis: None,
        })
    }

    /// Sessions in a Redis, as ToolHive's auth server keeps them.
    pub async fn in_redis(cast: &Cast, neighbours: &Neighbours) -> Result<Self, String> {
        let redis = Redis::start().await?;
        for user in cast.users() {
            let session = user.session()?;
            for (provider, token) in &user.upstream_tokens {
                let row = json!({
                    "provider_id": provider, "access_token": token, "refresh_token": "",
                    "id_token": user.id_tokens.get(provider), "expires_at": 0, "session_expires_at": 0,
                    "user_id": user.name, "upstream_subject": user.name, "client_id": "demo",
                });
                redis.put(&session, &row);
            }
        }
        let upstreams: Vec<Value> = PROVIDERS
            .iter()
            .map(|name| {
                json!({"name": name, "type": "oauth2", "oauth2_config": {
                    "authorization_endpoint": "https://idp.example.com/auth",
                    "token_endpoint": "https://idp.example.com/token", "client_id": "vmcp",
                    "redirect_uri": format!("{ISSUER}/oauth/callback"),
                }})
            })
            .collect();
        let run_config = json!({
            "schema_version": "v0.1.0", "issuer": ISSUER, "upstreams": upstreams,
            "storage": {"type": "redis", "redis_config": {
                "addr": format!("127.0.0.1:{}", redis.port()), "auth_type": "aclUser",
                "acl_user_config": {"password_env_var": "REDIS_PASSWORD"}, "key_prefix": KEY_PREFIX,
            }},
        });
        let jwks = jwks(neighbours);
        let arguments = ["--jwks-url", jwks.as_str()];
        Ok(Self {
            service: IdentityService::start(&run_config, &arguments, &environment()).await?,
            _redis: Some(redis),
        })
    }

    /// The configuration of Envoy, asking this service in place of the stand-in.
    pub fn asked(&self, configuration: &str, neighbours: &Neighbours) -> String {
        let at = |port: u16| format!("port_value: {port}}}");
        configuration.replace(
            &at(neighbours.embedded_as.grpc_address().port()),
            &at(self.service.check_address().port()),
        )
    }
}

fn jwks(neighbours: &Neighbours) -> String {
    format!("http://{}/jwks.json", neighbours.embedded_as.http_address())
}

fn environment() -> Vec<(String, String)> {
    [
        (IDENTITY_CLIENT.0, "nobody asks by exchange"),
        ("REDIS_PASSWORD", ""),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}
