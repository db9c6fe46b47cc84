//! TLS settings for connections to clusters and for listeners.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};

use crate::config::model::{DownstreamTls, TrustedRoots, UpstreamTls};

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Makes the TLS settings for connections to a cluster. `alpn` is the protocol to offer, or empty.
///
/// # Errors
/// The trusted certificates cannot be read.
pub(crate) fn client(tls: &UpstreamTls, alpn: &str) -> Result<Arc<ClientConfig>> {
    let verifier: Arc<dyn ServerCertVerifier> = match &tls.roots {
        TrustedRoots::Anyone => Arc::new(Verifier { chain: None, checks_name: false }),
        TrustedRoots::System => chain_verifier(system_roots()?, tls)?,
        TrustedRoots::Pem(pem) => {
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(pem) {
                roots.add(certificate.context("trusted_ca is not PEM")?).context("trusted_ca")?;
            }
            chain_verifier(roots, tls)?
        }
    };
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.enable_sni = tls.sni.is_some() || tls.auto_sni;
    config.alpn_protocols =
        [alpn].iter().filter(|name| !name.is_empty()).map(|name| name.as_bytes().to_vec()).collect();
    Ok(Arc::new(config))
}

/// Returns the root certificates of the system, or Mozilla's if the system has none.
fn system_roots() -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if added == 0 {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    Ok(roots)
}

fn chain_verifier(roots: RootCertStore, tls: &UpstreamTls) -> Result<Arc<dyn ServerCertVerifier>> {
    if roots.is_empty() {
        bail!("trusted_ca contains no certificate");
    }
    let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build()?;
    Ok(Arc::new(Verifier { chain: Some(chain), checks_name: tls.auto_san_validation }))
}

/// Checks certificates like Envoy: the name only if the configuration says so, and the chain only if it gives roots.
#[derive(Debug)]
struct Verifier {
    chain: Option<Arc<WebPkiServerVerifier>>,
    checks_name: bool,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp, now) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.checks_name => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

/// Makes the TLS settings of a listener.
///
/// # Errors
/// The certificate or the key cannot be read, or the key does not belong to the certificate.
pub(crate) fn server(tls: &DownstreamTls) -> Result<Arc<ServerConfig>> {
    let chain = CertificateDer::pem_slice_iter(&tls.certificate_chain)
        .collect::<Result<Vec<_>, _>>()
        .context("certificate_chain is not PEM")?;
    let key = PrivateKeyDer::from_pem_slice(&tls.private_key.0).context("private_key is not PEM")?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = tls.alpn.iter().map(|name| name.clone().into_bytes()).collect();
    Ok(Arc::new(config))
}
