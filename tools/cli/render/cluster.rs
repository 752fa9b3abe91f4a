//! Clusters as Envoy itself describes them.

use super::setup::TokenEndpoint;
use super::template::{block, fill, raw, scalar};
use crate::endpoint::Endpoint;

/// What a cluster is asked in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
    /// What the server chooses when TLS begins (ALPN); HTTP/1.1 without TLS.
    Negotiated,
}

/// A cluster for one endpoint.
pub(super) struct Cluster<'a> {
    pub(super) name: &'a str,
    pub(super) comment: String,
    pub(super) endpoint: &'a Endpoint,
    pub(super) protocol: Protocol,
    pub(super) detects_outliers: bool,
}

impl<'a> Cluster<'a> {
    /// The cluster of an STS.
    pub(super) fn of_sts(sts: &'a TokenEndpoint) -> Self {
        Self {
            name: &sts.cluster,
            comment: format!("The STS of {}.", sts.backends.join(", ")),
            endpoint: &sts.endpoint,
            protocol: Protocol::Http1,
            detects_outliers: true,
        }
    }

    /// As an item of `clusters`.
    pub(super) fn yaml(&self, ca_file: &str) -> String {
        let protocol = match self.protocol {
            Protocol::Http1 => "explicit_http_config: {http_protocol_options: {}}",
            Protocol::Http2 => "explicit_http_config: {http2_protocol_options: {}}",
            Protocol::Negotiated if self.endpoint.tls => "auto_config: {}",
            Protocol::Negotiated => "explicit_http_config: {http_protocol_options: {}}",
        };
        let outlier_detection = if self.detects_outliers {
            include_str!("templates/outlier-detection.yaml")
        } else {
            ""
        };
        fill(
            include_str!("templates/cluster.yaml"),
            &[
                ("comment", raw(&self.comment)),
                ("name", scalar(self.name)),
                ("connect_timeout", raw("2s")),
                ("outlier_detection", block(outlier_detection)),
                ("protocol", block(protocol)),
                ("host", scalar(&self.endpoint.host)),
                ("port", raw(&self.endpoint.port.to_string())),
                ("transport_socket", block(self.transport_socket(ca_file))),
            ],
        )
    }

    fn transport_socket(&self, ca_file: &str) -> String {
        let endpoint = self.endpoint;
        if !endpoint.tls {
            return "# Without TLS: its address is no https URL.\n".to_owned();
        }
        let (sni, san_type) = if endpoint.is_address() {
            (String::new(), "IP_ADDRESS")
        } else {
            (
                format!("sni: {}", crate::emit::scalar(&endpoint.host)),
                "DNS",
            )
        };
        let alpn = match self.protocol {
            Protocol::Http2 => "alpn_protocols: [h2]",
            Protocol::Http1 => "alpn_protocols: [http/1.1]",
            Protocol::Negotiated => "", // auto_config sets it
        };
        fill(
            include_str!("templates/tls.yaml"),
            &[
                ("sni", block(sni)),
                ("alpn", block(alpn)),
                ("ca_file", scalar(ca_file)),
                ("san_type", raw(san_type)),
                ("host", scalar(&endpoint.host)),
            ],
        )
    }
}
