//! TLS as libpq's `sslmode` says it: rustls, with ring, and the system's certificates.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore,
    SignatureScheme,
};
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::error::{Error, Result};

/// What the URL says of TLS.
#[derive(Clone, Debug, Default)]
pub(super) struct Tls {
    /// `sslmode`.
    pub(super) mode: Option<String>,
    /// `sslrootcert`: certificates to trust, in PEM.
    pub(super) root: Option<String>,
    /// `sslcert` and `sslkey`: what this side shows, in PEM.
    pub(super) own: Option<(String, String)>,
}

/// How much of the server's certificate is looked at.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Check {
    Nothing,
    Chain,
    ChainAndName,
}

impl Tls {
    /// What tokio-postgres is told, and the connector.
    pub(super) fn connector(&self) -> Result<(SslMode, MakeRustlsConnect)> {
        let rooted = match self.root {
            Some(_) => Check::Chain,
            None => Check::Nothing,
        };
        let (mode, check) = match self.mode.as_deref() {
            Some("disable") => (SslMode::Disable, Check::Nothing),
            None | Some("prefer") => (SslMode::Prefer, Check::Nothing),
            Some("require") => (SslMode::Require, rooted),
            Some("verify-ca") => (SslMode::Require, Check::Chain),
            Some("verify-full") => (SslMode::Require, Check::ChainAndName),
            Some(_) => {
                let what = "must be disable, prefer, require, verify-ca or verify-full";
                return Err(Error::invalid_config("sslmode", what));
            }
        };
        Ok((mode, MakeRustlsConnect::new(self.config(check)?)))
    }

    fn config(&self, check: Check) -> Result<ClientConfig> {
        let provider = Arc::new(ring::default_provider());
        let verifier = Verifier {
            check,
            chain: match check {
                Check::Nothing => None,
                Check::Chain | Check::ChainAndName => Some(self.chain(&provider)?),
            },
            provider: provider.clone(),
        };
        let invalid = |e: TlsError| Error::invalid_config("sslcert", e.to_string());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| Error::invalid_config("sslmode", e.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let Some((certificate, key)) = &self.own else {
            return Ok(config.with_no_client_auth());
        };
        let certificates = certificates("sslcert", certificate)?;
        let key = PrivateKeyDer::from_pem_file(Path::new(key))
            .map_err(|e| Error::invalid_config("sslkey", format!("cannot be read: {e}")))?;
        config
            .with_client_auth_cert(certificates, key)
            .map_err(invalid)
    }

    fn chain(&self, provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>> {
        let trusted = match &self.root {
            Some(path) => certificates("sslrootcert", path)?,
            None => rustls_native_certs::load_native_certs().certs,
        };
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(trusted);
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .build()
            .map_err(|e| Error::invalid_config("sslrootcert", e.to_string()))
    }
}

fn certificates(option: &'static str, path: &str) -> Result<Vec<CertificateDer<'static>>> {
    let failed = |e| Error::invalid_config(option, format!("cannot be read: {e}"));
    let certificates = CertificateDer::pem_file_iter(Path::new(path)).map_err(failed)?;
    certificates
        .collect::<std::result::Result<_, _>>()
        .map_err(failed)
}

/// Looks at a certificate as far as the mode asks. Signatures of the handshake always count.
#[derive(Debug)]
struct Verifier {
    check: Check,
    chain: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, TlsError> {
        let Some(chain) = &self.chain else {
            return Ok(ServerCertVerified::assertion());
        };
        let verified =
            chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        let wrong_name = matches!(
            verified,
            Err(TlsError::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
            ))
        );
        if wrong_name && self.check == Check::Chain {
            return Ok(ServerCertVerified::assertion());
        }
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
