//! `obo`: Microsoft Entra's on-behalf-of grant. The resource names a tenant; the strategy calls its
//! token endpoint.

use super::{Builder, Strategy, UsedAs, Value};
use crate::convert::block::Wrongs;
use crate::convert::resource::is_label;

/// Where tenants are, unless an authority is named.
const AUTHORITY: &str = "https://login.microsoftonline.com";

pub(super) fn on_behalf_of(builder: Builder<'_>) -> Result<Strategy, Wrongs> {
    let mut builder = builder;
    token_url(&mut builder);
    builder = builder.required("clientId").required_secret(
        "clientSecretRef",
        "clientSecretEnv",
        UsedAs::ClientSecret,
    );
    target(&mut builder);
    let provider = builder.block.text("subjectTokenProviderName");
    if provider.is_some_and(|provider| provider.len() > 63 || !is_label(provider)) {
        let text = "must be up to 63 lower-case letters, digits and, within, -";
        builder
            .block
            .wrong("subjectTokenProviderName", text.to_owned());
    }
    builder = builder.optional("subjectTokenProviderName");
    cache_skew(&mut builder);
    builder.finish("obo", "obo")
}

/// `<authority>/<tenantId>/oauth2/v2.0/token`.
fn token_url(builder: &mut Builder<'_>) {
    let authority = builder.block.text("authority").unwrap_or(AUTHORITY);
    if !is_authority(authority) {
        let text = "must be an https URL without user, query, fragment or a slash at its end";
        builder.block.wrong("authority", text.to_owned());
    }
    let Some(tenant) = builder.block.required_text("tenantId") else {
        return;
    };
    if !is_tenant(tenant) {
        let text = "must be the tenant's GUID or one of its verified domains \
                    (contoso.onmicrosoft.com); common, organizations and consumers are none";
        builder.block.wrong("tenantId", text.to_owned());
    }
    let url = format!("{authority}/{tenant}/oauth2/v2.0/token");
    builder.add("tokenUrl", Value::Text(url), "tenantId");
}

/// Scopes go before an audience, as in ToolHive.
fn target(builder: &mut Builder<'_>) {
    let scopes = builder.block.texts("scopes");
    let audience = builder.block.text("audience");
    if scopes.len() > 20 {
        builder
            .block
            .wrong("scopes", "must be at most 20".to_owned());
    }
    if scopes
        .iter()
        .any(|scope| scope.is_empty() || scope.len() > 256)
    {
        let text = "must be of 1 to 256 characters each";
        builder.block.wrong("scopes", text.to_owned());
    }
    match audience {
        _ if !scopes.is_empty() => {
            let scopes = scopes.into_iter().map(str::to_owned).collect();
            builder.add("scopes", Value::Texts(scopes), "scopes");
        }
        // The strategy's audience is an application; this is its scope already.
        Some(scope) if scope.ends_with("/.default") => {
            let scopes = Value::Texts(vec![scope.to_owned()]);
            builder.add("scopes", scopes, "audience");
        }
        Some(_) => builder.add_text("audience", audience),
        None => {
            let text = "is required, or audience: what the token is for";
            builder.block.wrong("scopes", text.to_owned());
        }
    }
}

fn cache_skew(builder: &mut Builder<'_>) {
    let Some(text) = builder.block.text("cacheSkew") else {
        return;
    };
    match seconds(text) {
        Some(seconds) if seconds <= 600 => {
            builder.add("cacheSkewSeconds", Value::Seconds(seconds), "cacheSkew");
        }
        _ => {
            let text = "must be a duration of Go, 0s to 10m (30s)";
            builder.block.wrong("cacheSkew", text.to_owned());
        }
    }
}

fn is_authority(url: &str) -> bool {
    url.strip_prefix("https://").is_some_and(|rest| {
        !rest.is_empty()
            && !rest.ends_with('/')
            && !rest.contains(['?', '#', '@'])
            && !rest.contains(char::is_whitespace)
    })
}

/// A GUID, or a domain name.
fn is_tenant(tenant: &str) -> bool {
    let parts: Vec<_> = tenant.split('-').map(str::len).collect();
    let is_guid = parts == [8, 4, 4, 4, 12]
        && tenant
            .bytes()
            .all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
    let lower = tenant.to_ascii_lowercase();
    let labels: Vec<_> = lower.split('.').collect();
    let is_domain = labels.len() > 1
        && labels
            .iter()
            .all(|label| label.len() <= 63 && is_label(label))
        && labels.last().is_some_and(|last| {
            last.len() > 1 && last.bytes().all(|byte| byte.is_ascii_lowercase())
        });
    tenant.len() <= 253 && (is_guid || is_domain)
}

/// A duration as Go writes it (`1m30s`), in whole seconds: rounded up, so that no token is used
/// longer than was asked for.
fn seconds(text: &str) -> Option<u16> {
    const UNITS: [(&str, f64); 6] = [
        ("ms", 0.001),
        ("us", 0.000_001),
        ("ns", 0.000_000_001),
        ("h", 3600.0),
        ("m", 60.0),
        ("s", 1.0),
    ];
    if text == "0" {
        return Some(0);
    }
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest
            .find(|character: char| !character.is_ascii_digit() && character != '.')
            .unwrap_or(rest.len());
        let number: f64 = rest.get(..digits)?.parse().ok()?;
        let unit = rest.get(digits..)?;
        let (word, factor) = UNITS.iter().find(|(word, _)| unit.starts_with(word))?;
        rest = unit.strip_prefix(word)?;
        total = number.mul_add(*factor, total);
    }
    let whole = total.ceil();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // in range, whole
    (!text.is_empty() && (0.0..=f64::from(u16::MAX)).contains(&whole)).then_some(whole as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, expected) in [
            ("30s", Some(30)),
            ("1m30s", Some(90)),
            ("1.5m", Some(90)),
            ("10m0s", Some(600)),
            ("250ms", Some(1)),
            ("0s", Some(0)),
            ("0", Some(0)),
            ("-5s", None),
            ("30", None),
            ("s", None),
            ("1x", None),
            ("", None),
            ("99h", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }

    #[test]
    fn a_tenant_is_a_guid_or_a_domain() {
        for (tenant, expected) in [
            ("11111111-2222-3333-4444-555555555555", true),
            ("contoso.onmicrosoft.com", true),
            ("common", false),
            ("a/b.com", false),
            ("contoso.com/", false),
            ("contoso.c0m", false),
            ("-a.com", false),
        ] {
            assert_eq!(is_tenant(tenant), expected, "{tenant}");
        }
    }
}
