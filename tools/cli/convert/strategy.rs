//! From an admitted spec to a strategy of this filter.

use super::admission::Type;
use super::block::{Block, SecretKey, Wrongs};
use document::get;
use upstream_inject::config::{Node, Path};

/// A backend in the making. The names of its variables are not known before all backends are.
pub(super) struct Strategy {
    kind: &'static str,
    block: Option<(&'static str, Vec<(&'static str, Field)>)>,
}

/// A setting of a strategy.
pub(super) enum Field {
    Text(String),
    Texts(Vec<String>),
    /// A setting that takes the name of an environment variable.
    Variable(Secret),
}

/// What a strategy takes from a Kubernetes Secret.
#[derive(Clone, Debug)]
pub(super) struct Secret {
    pub(super) source: SecretKey,
    pub(super) used_as: UsedAs,
}

/// What a secret's value is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UsedAs {
    /// At the STS.
    ClientSecret,
    /// As it is, as a header's value.
    HeaderValue,
    /// Behind `Bearer `: the Secret holds the token alone, the header needs both.
    BearerToken,
}

/// The strategy of a spec of the type `kind`, whose block is called `name`.
pub(super) fn build(name: &'static str, kind: Type, spec: &Node) -> Result<Strategy, Wrongs> {
    let node = get(spec, name).unwrap_or(&Node::Null);
    let path = Path::root().key("spec").key(name);
    match kind {
        Type::UpstreamInject => upstream_inject(Block::new(node, path)),
        Type::TokenExchange => token_exchange(Block::new(node, path)),
        Type::HeaderInjection => header_injection(Block::new(node, path)),
        Type::BearerToken => bearer_token(Block::new(node, path)),
        Type::Unauthenticated | Type::EmbeddedAuthServer | Type::Unsupported(_) => Ok(Strategy {
            kind: "unauthenticated",
            block: None,
        }),
    }
}

fn upstream_inject(block: Block<'_>) -> Result<Strategy, Wrongs> {
    let mut fields = Vec::new();
    add_text(
        &mut fields,
        "providerName",
        block.required_text("providerName"),
    );
    finish(block, "upstream_inject", "upstreamInject", fields)
}

fn token_exchange(block: Block<'_>) -> Result<Strategy, Wrongs> {
    let mut fields = Vec::new();
    add_text(&mut fields, "tokenUrl", block.required_text("tokenUrl"));
    add_text(&mut fields, "clientId", block.text("clientId"));
    if let Some(source) = block.secret_key("clientSecretRef") {
        let used_as = UsedAs::ClientSecret;
        fields.push((
            "clientSecretEnv",
            Field::Variable(Secret { source, used_as }),
        ));
    }
    add_text(&mut fields, "audience", block.required_text("audience"));
    let scopes = block.texts("scopes");
    if !scopes.is_empty() {
        let scopes = scopes.into_iter().map(str::to_owned).collect();
        fields.push(("scopes", Field::Texts(scopes)));
    }
    let token_type = block.text("subjectTokenType");
    if token_type.is_some_and(|token_type| !is_subject_token_type(token_type)) {
        let text = "must be access_token, id_token or jwt, or one of these behind \
                    urn:ietf:params:oauth:token-type:";
        block.wrong("subjectTokenType", text.to_owned());
    }
    add_text(&mut fields, "subjectTokenType", token_type);
    add_text(
        &mut fields,
        "subjectProviderName",
        block.text("subjectProviderName"),
    );
    let header = block.text("externalTokenHeaderName");
    add_text(&mut fields, "externalTokenHeaderName", header);
    finish(block, "token_exchange", "tokenExchange", fields)
}

fn is_subject_token_type(token_type: &str) -> bool {
    let short = token_type
        .strip_prefix("urn:ietf:params:oauth:token-type:")
        .unwrap_or(token_type);
    matches!(short, "access_token" | "id_token" | "jwt")
}

fn header_injection(block: Block<'_>) -> Result<Strategy, Wrongs> {
    let mut fields = Vec::new();
    add_text(&mut fields, "headerName", block.required_text("headerName"));
    if let Some(source) = block.required_secret_key("valueSecretRef") {
        let used_as = UsedAs::HeaderValue;
        fields.push((
            "headerValueEnv",
            Field::Variable(Secret { source, used_as }),
        ));
    }
    finish(block, "header_injection", "headerInjection", fields)
}

fn bearer_token(block: Block<'_>) -> Result<Strategy, Wrongs> {
    let mut fields = Vec::new();
    add_text(&mut fields, "headerName", Some("Authorization"));
    if let Some(source) = block.required_secret_key("tokenSecretRef") {
        let used_as = UsedAs::BearerToken;
        fields.push((
            "headerValueEnv",
            Field::Variable(Secret { source, used_as }),
        ));
    }
    finish(block, "header_injection", "headerInjection", fields)
}

fn add_text(fields: &mut Vec<(&'static str, Field)>, key: &'static str, text: Option<&str>) {
    if let Some(text) = text {
        fields.push((key, Field::Text(text.to_owned())));
    }
}

fn finish(
    block: Block<'_>,
    kind: &'static str,
    name: &'static str,
    fields: Vec<(&'static str, Field)>,
) -> Result<Strategy, Wrongs> {
    let wrongs = block.finish();
    if wrongs.is_empty() {
        Ok(Strategy {
            kind,
            block: Some((name, fields)),
        })
    } else {
        Err(wrongs)
    }
}

impl Strategy {
    /// What it takes from Kubernetes Secrets.
    pub(super) fn secret(&self) -> Option<&Secret> {
        let (_, fields) = self.block.as_ref()?;
        fields.iter().find_map(|(_, field)| match field {
            Field::Variable(secret) => Some(secret),
            Field::Text(_) | Field::Texts(_) => None,
        })
    }

    /// Whether the request's own token is what is exchanged.
    pub(super) fn is_exchange_of_identity(&self) -> bool {
        self.kind == "token_exchange"
            && self.block.as_ref().is_some_and(|(_, fields)| {
                !fields.iter().any(|(key, _)| *key == "subjectProviderName")
            })
    }

    /// As a backend's entry, with the name of the variable that holds its secret.
    pub(super) fn node(&self, variable: Option<&str>) -> Node {
        let text = |text: &str| Node::String(text.to_owned());
        let mut entries = vec![("type".to_owned(), text(self.kind))];
        if let Some((name, fields)) = &self.block {
            let fields = fields
                .iter()
                .map(|(key, field)| {
                    let value = match field {
                        Field::Text(value) => text(value),
                        Field::Texts(values) => {
                            Node::List(values.iter().map(|value| text(value)).collect())
                        }
                        Field::Variable(_) => text(variable.unwrap_or_default()),
                    };
                    ((*key).to_owned(), value)
                })
                .collect();
            entries.push(((*name).to_owned(), Node::Map(fields)));
        }
        Node::Map(entries)
    }
}
