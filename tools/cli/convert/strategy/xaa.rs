//! `xaa`: Cross-App Access, with a client at either of its two servers.

use super::{Builder, Strategy, UsedAs, Value};
use crate::convert::block::Wrongs;

/// The one kind of token that it can begin with.
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";

pub(super) fn cross_app_access(builder: Builder<'_>) -> Result<Strategy, Wrongs> {
    let mut builder = builder
        .required("idpTokenUrl")
        .optional("idpClientId")
        .secret(
            "idpClientSecretRef",
            "idpClientSecretEnv",
            UsedAs::IdpClientSecret,
        );
    if let Some(url) = builder.block.text("idpTokenUrl")
        && !url.starts_with("https://")
    {
        builder
            .block
            .wrong("idpTokenUrl", "must begin with https://".to_owned());
    }
    public_client(&mut builder, &IDP);
    builder = builder
        .required("targetTokenUrl")
        .optional("targetClientId")
        .secret(
            "targetClientSecretRef",
            "targetClientSecretEnv",
            UsedAs::TargetClientSecret,
        );
    public_client(&mut builder, &TARGET);
    builder = builder
        .required("targetAudience")
        .optional("targetResource")
        .list("scopes")
        .optional("subjectProviderName");
    let token_type = builder.block.text("subjectTokenType");
    if token_type.is_some_and(|token_type| token_type != ID_TOKEN) {
        let text = format!("must be {ID_TOKEN}");
        builder.block.wrong("subjectTokenType", text);
    }
    builder = builder.optional("subjectTokenType");
    insecure_target(&mut builder);
    builder.finish("xaa", "xaa")
}

struct Client {
    id: &'static str,
    secret: &'static str,
    method: &'static str,
}

const IDP: Client = Client {
    id: "idpClientId",
    secret: "idpClientSecretRef",
    method: "idpClientAuthMethod",
};

const TARGET: Client = Client {
    id: "targetClientId",
    secret: "targetClientSecretRef",
    method: "targetClientAuthMethod",
};

/// ToolHive sends the id of a client without a secret by itself; the filter wants to hear that it is
/// meant.
fn public_client(builder: &mut Builder<'_>, client: &Client) {
    if builder.block.text(client.id).is_some() && !builder.block.has(client.secret) {
        let none = Value::Text("none".to_owned());
        builder.add(client.method, none, client.id);
    }
}

fn insecure_target(builder: &mut Builder<'_>) {
    if builder.block.is_true("insecureTargetTokenUrl") {
        builder.add(
            "insecureTargetTokenUrl",
            Value::True,
            "insecureTargetTokenUrl",
        );
        let url = builder.block.text("targetTokenUrl");
        if url.is_none_or(|url| url.starts_with("https://")) {
            return;
        }
        let at = builder.block.at("insecureTargetTokenUrl");
        let text = "lets the assertion and the client's secret go to targetTokenUrl without TLS";
        builder.warnings.push((at, text.to_owned()));
    }
}
