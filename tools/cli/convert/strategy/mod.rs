//! From an admitted spec to a strategy of this filter.

mod endpoint;
mod entra;
mod xaa;

use super::admission::Type;
use super::block::{Block, SecretKey, Wrongs};
use document::get;
use upstream_inject::config::path::Step;
use upstream_inject::config::{Node, Path};

/// A strategy in the making. The names of its variables are not known before all others are.
#[derive(Clone, Debug)]
pub(super) struct Strategy {
    kind: &'static str,
    block: Option<&'static str>,
    /// Where its block stands in the resource.
    at: Path,
    fields: Vec<Field>,
    /// What is legal, but unwise: told where it stands.
    pub(super) warnings: Wrongs,
}

/// A setting of a strategy, and which field of the resource it comes from.
#[derive(Clone, Debug)]
struct Field {
    key: &'static str,
    value: Value,
    from: Path,
}

#[derive(Clone, Debug)]
enum Value {
    Text(String),
    Texts(Vec<String>),
    True,
    Seconds(u16),
    /// A setting that takes the name of an environment variable.
    Variable(Secret),
}

/// What a strategy takes from a Kubernetes Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Secret {
    pub(super) source: SecretKey,
    pub(super) used_as: UsedAs,
}

/// What a secret's value is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum UsedAs {
    /// At the STS.
    ClientSecret,
    /// At the identity provider, the first of two.
    IdpClientSecret,
    /// At the partner's authorization server, the second of two.
    TargetClientSecret,
    /// As it is, as a header's value.
    HeaderValue,
    /// Behind `Bearer `: the Secret holds the token alone, the header needs both.
    BearerToken,
}

/// The strategy of a spec of the type `kind`, whose block is called `name`.
pub(super) fn build(name: &'static str, kind: Type, spec: &Node) -> Result<Strategy, Wrongs> {
    let node = get(spec, name).unwrap_or(&Node::Null);
    let path = Path::root().key("spec").key(name);
    let builder = || Builder::new(Block::new(node, path.clone()));
    match kind {
        Type::UpstreamInject => upstream_inject(builder()),
        Type::TokenExchange => token_exchange(builder()),
        Type::OnBehalfOf => entra::on_behalf_of(builder()),
        Type::CrossAppAccess => xaa::cross_app_access(builder()),
        Type::HeaderInjection => header_injection(builder()),
        Type::BearerToken => bearer_token(builder()),
        Type::Unauthenticated | Type::EmbeddedAuthServer | Type::Unsupported(_) => {
            Ok(Strategy::unauthenticated())
        }
    }
}

fn upstream_inject(builder: Builder<'_>) -> Result<Strategy, Wrongs> {
    builder
        .required("providerName")
        .finish("upstream_inject", "upstreamInject")
}

fn token_exchange(builder: Builder<'_>) -> Result<Strategy, Wrongs> {
    let mut builder = builder
        .required("tokenUrl")
        .optional("clientId")
        .secret("clientSecretRef", "clientSecretEnv", UsedAs::ClientSecret)
        .required("audience")
        .list("scopes");
    let token_type = builder.block.text("subjectTokenType");
    if token_type.is_some_and(|token_type| !is_subject_token_type(token_type)) {
        let text = "must be access_token, id_token or jwt, or one of these behind \
                    urn:ietf:params:oauth:token-type:";
        builder.block.wrong("subjectTokenType", text.to_owned());
    }
    builder = builder
        .optional("subjectTokenType")
        .optional("subjectProviderName")
        .optional("externalTokenHeaderName");
    endpoint::let_through(&mut builder, "tokenUrl", "insecureTokenUrl");
    builder.finish("token_exchange", "tokenExchange")
}

fn is_subject_token_type(token_type: &str) -> bool {
    let short = token_type
        .strip_prefix("urn:ietf:params:oauth:token-type:")
        .unwrap_or(token_type);
    matches!(short, "access_token" | "id_token" | "jwt")
}

fn header_injection(builder: Builder<'_>) -> Result<Strategy, Wrongs> {
    builder
        .required("headerName")
        .required_secret("valueSecretRef", "headerValueEnv", UsedAs::HeaderValue)
        .finish("header_injection", "headerInjection")
}

fn bearer_token(builder: Builder<'_>) -> Result<Strategy, Wrongs> {
    let at = builder.block.at("tokenSecretRef");
    builder
        .fixed("headerName", "Authorization", at)
        .required_secret("tokenSecretRef", "headerValueEnv", UsedAs::BearerToken)
        .finish("header_injection", "headerInjection")
}

/// A strategy while its block is read.
struct Builder<'a> {
    block: Block<'a>,
    fields: Vec<Field>,
    warnings: Wrongs,
}

impl<'a> Builder<'a> {
    fn new(block: Block<'a>) -> Self {
        Self {
            block,
            fields: Vec::new(),
            warnings: Wrongs::new(),
        }
    }

    /// A text that keeps its name and must be there.
    fn required(mut self, key: &'static str) -> Self {
        let text = self.block.required_text(key);
        self.add_text(key, text);
        self
    }

    /// A text that keeps its name.
    fn optional(mut self, key: &'static str) -> Self {
        let text = self.block.text(key);
        self.add_text(key, text);
        self
    }

    /// A list of texts that keeps its name; empty is absent.
    fn list(mut self, key: &'static str) -> Self {
        let texts = self.block.texts(key);
        if !texts.is_empty() {
            let texts = texts.into_iter().map(str::to_owned).collect();
            self.add(key, Value::Texts(texts), key);
        }
        self
    }

    /// A text that follows from the type.
    fn fixed(mut self, key: &'static str, text: &str, from: Path) -> Self {
        self.fields.push(Field {
            key,
            value: Value::Text(text.to_owned()),
            from,
        });
        self
    }

    /// A reference to a Secret, which becomes the name of a variable.
    fn secret(mut self, key: &'static str, variable: &'static str, used_as: UsedAs) -> Self {
        if let Some(source) = self.block.secret_key(key) {
            self.add(variable, Value::Variable(Secret { source, used_as }), key);
        }
        self
    }

    /// The same, and it must be there.
    fn required_secret(
        mut self,
        key: &'static str,
        variable: &'static str,
        used_as: UsedAs,
    ) -> Self {
        if let Some(source) = self.block.required_secret_key(key) {
            self.add(variable, Value::Variable(Secret { source, used_as }), key);
        }
        self
    }

    fn add_text(&mut self, key: &'static str, text: Option<&str>) {
        if let Some(text) = text {
            self.add(key, Value::Text(text.to_owned()), key);
        }
    }

    /// `key` of the strategy, from the field `from` of the resource.
    fn add(&mut self, key: &'static str, value: Value, from: &'static str) {
        let from = self.block.at(from);
        self.fields.push(Field { key, value, from });
    }

    fn finish(self, kind: &'static str, block: &'static str) -> Result<Strategy, Wrongs> {
        let at = self.block.path().clone();
        let wrongs = self.block.finish();
        if !wrongs.is_empty() {
            return Err(wrongs);
        }
        Ok(Strategy {
            kind,
            block: Some(block),
            at,
            fields: self.fields,
            warnings: self.warnings,
        })
    }
}

impl Strategy {
    /// No credential at all.
    pub(super) fn unauthenticated() -> Self {
        Self {
            kind: "unauthenticated",
            block: None,
            at: Path::root().key("spec"),
            fields: Vec::new(),
            warnings: Wrongs::new(),
        }
    }

    /// A provider's token as it is, because of what stands at `from`.
    pub(super) fn upstream_inject(provider: &str, from: Path) -> Self {
        Self {
            kind: "upstream_inject",
            block: Some("upstreamInject"),
            at: from.clone(),
            fields: vec![Field {
                key: "providerName",
                value: Value::Text(provider.to_owned()),
                from,
            }],
            warnings: Wrongs::new(),
        }
    }

    /// A header of a workload, its value from a Secret.
    pub(super) fn header(name: &str, source: SecretKey, at: Path) -> Self {
        let secret = Secret {
            source,
            used_as: UsedAs::HeaderValue,
        };
        Self {
            kind: "header_injection",
            block: Some("headerInjection"),
            fields: vec![
                Field {
                    key: "headerName",
                    value: Value::Text(name.to_owned()),
                    from: at.key("headerName"),
                },
                Field {
                    key: "headerValueEnv",
                    value: Value::Variable(secret),
                    from: at.key("valueSecretRef"),
                },
            ],
            at,
            warnings: Wrongs::new(),
        }
    }

    /// Whether requests go out without a credential.
    pub(super) fn is_unauthenticated(&self) -> bool {
        self.block.is_none()
    }

    /// What it takes from Kubernetes Secrets.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &Secret> {
        self.fields.iter().filter_map(|field| match &field.value {
            Value::Variable(secret) => Some(secret),
            _ => None,
        })
    }

    /// Whether ToolHive names the subject of this strategy itself, if nobody else does: an exchange
    /// (`token_exchange`, and `xaa`).
    pub(super) fn lacks_subject(&self) -> bool {
        matches!(self.kind, "token_exchange" | "xaa")
            && !self
                .fields
                .iter()
                .any(|field| field.key == "subjectProviderName")
    }

    /// Whether it begins with an ID token: ToolHive does not guess whose.
    pub(super) fn is_cross_app_access(&self) -> bool {
        self.kind == "xaa"
    }

    /// Where its subject would stand.
    pub(super) fn subject_path(&self) -> Path {
        self.at.key("subjectProviderName")
    }

    /// Names the subject.
    pub(super) fn with_subject(mut self, provider: &str) -> Self {
        self.fields.push(Field {
            key: "subjectProviderName",
            value: Value::Text(provider.to_owned()),
            from: self.subject_path(),
        });
        self
    }

    /// As an entry of a configuration, with the names of the variables that hold its secrets.
    pub(super) fn node(&self, variable: impl Fn(&Secret) -> String) -> Node {
        let text = |text: &str| Node::String(text.to_owned());
        let mut entries = vec![("type".to_owned(), text(self.kind))];
        if let Some(name) = self.block {
            let fields = self
                .fields
                .iter()
                .map(|field| {
                    let value = match &field.value {
                        Value::Text(value) => text(value),
                        Value::Texts(values) => {
                            Node::List(values.iter().map(|value| text(value)).collect())
                        }
                        Value::True => Node::Bool(true),
                        Value::Seconds(seconds) => Node::Number(f64::from(*seconds)),
                        Value::Variable(secret) => Node::String(variable(secret)),
                    };
                    (field.key.to_owned(), value)
                })
                .collect();
            entries.push((name.to_owned(), Node::Map(fields)));
        }
        Node::Map(entries)
    }

    /// Where in the resource that stands which a problem of the strategy is about; `steps` begin
    /// below the backend's name.
    pub(super) fn trace(&self, steps: &[Step]) -> Path {
        match steps {
            [Step::Key(_), Step::Key(key), rest @ ..] => {
                let field = self.fields.iter().find(|field| field.key == key);
                let from = field.map_or_else(|| self.at.key(key), |field| field.from.clone());
                match rest {
                    [Step::Index(index), ..] => from.index(*index),
                    _ => from,
                }
            }
            [Step::Key(_)] if self.block.is_some() => self.at.clone(),
            _ => Path::root().key("spec").key("type"),
        }
    }
}
