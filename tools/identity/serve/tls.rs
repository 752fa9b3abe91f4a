//! TLS of the listening side: certificates, clients' certificates, and new ones when files change.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::time::sleep;

use crate::log;

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Where certificates are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Files {
    /// The chain.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Who signs clients' certificates; without, clients need none.
    pub client_ca: Option<PathBuf>,
}

/// TLS as the files say now.
pub(crate) struct Tls {
    files: Files,
    current: Mutex<(Content, Arc<ServerConfig>)>,
}

type Content = Vec<Vec<u8>>;

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// If one cannot be read or used.
    pub(crate) fn new(files: Files) -> Result<Self, String> {
        let content = read(&files)?;
        let config = configure(&content)?;
        Ok(Self {
            files,
            current: Mutex::new((content, config)),
        })
    }

    /// What new connections use.
    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.lock().1)
    }

    /// Follows the files for ever. What cannot be used changes nothing.
    pub(crate) async fn follow(&self) {
        let mut complained = None;
        loop {
            sleep(LOOK).await;
            let content = match read(&self.files) {
                Ok(content) => content,
                Err(error) => {
                    complain(&mut complained, error);
                    continue;
                }
            };
            if content == self.lock().0 {
                continue;
            }
            match configure(&content) {
                Ok(config) => {
                    *self.lock() = (content, config);
                    complained = None;
                    log::info("certificates were read again", &[]);
                }
                Err(error) => complain(&mut complained, error),
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (Content, Arc<ServerConfig>)> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.files.fmt(f)
    }
}

/// Says each thing once.
fn complain(complained: &mut Option<String>, error: String) {
    if complained.as_ref() != Some(&error) {
        log::warn(
            "the certificates' files cannot be used; those in use stay",
            &[("error", &error)],
        );
        *complained = Some(error);
    }
}

fn read(files: &Files) -> Result<Content, String> {
    [
        Some(&files.cert),
        Some(&files.key),
        files.client_ca.as_ref(),
    ]
    .into_iter()
    .flatten()
    .map(|path| {
        std::fs::read(path)
            .map_err(|error| format!("{} cannot be read: {}", path.display(), error.kind()))
    })
    .collect()
}

fn configure(content: &Content) -> Result<Arc<ServerConfig>, String> {
    let (Some(cert), Some(key)) = (content.first(), content.get(1)) else {
        return Err("a certificate and a key are needed".to_owned());
    };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(cert)
        .collect::<Result<_, _>>()
        .map_err(|_| "the certificate is no PEM".to_owned())?;
    if chain.is_empty() {
        return Err("the certificate's file has none".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|_| "the key's file has no private key in PEM".to_owned())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = match content.get(2) {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(ca) {
                let certificate =
                    certificate.map_err(|_| "the clients' authority is no PEM".to_owned())?;
                roots
                    .add(certificate)
                    .map_err(|_| "the clients' authority is no certificate".to_owned())?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|error| format!("the clients' authority: {error}"))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| format!("certificate and key: {error}"))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
