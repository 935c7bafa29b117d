//! TLS: certificate and key from files, read at the start and again when they have changed on the disk. Names rustls.
//!
//! Who connects is served by the pair that was read last; connections that are open keep theirs. A pair that can't be read
//! leaves the one before in force. Never: asks for a client's certificate, or logs anything of a key.

use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;

use crate::error::Fault;

const HTTP_2: &[u8] = b"h2";
const HTTP_1: &[u8] = b"http/1.1";

/// The pair in force. Clones share it.
#[derive(Clone)]
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    now: Arc<ArcSwap<ServerConfig>>,
}

impl Tls {
    /// Reads a chain of certificates, the server's own first, and its key, all PEM. [`Fault::Setting`] says what is wrong
    /// with them.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, Fault> {
        let now = Arc::new(ArcSwap::from_pointee(read(certificate, key)?));
        Ok(Self { certificate: certificate.to_owned(), key: key.to_owned(), now })
    }

    /// Reads both files again.
    pub fn reload(&self) -> Result<(), Fault> {
        self.now.store(Arc::new(read(&self.certificate, &self.key)?));
        Ok(())
    }

    /// Shakes hands, and says whether the client chose HTTP/2.
    pub(super) async fn accept(
        &self,
        tcp: TcpStream,
        within: Duration,
    ) -> Result<(TlsStream<TcpStream>, bool), String> {
        let handshake = TlsAcceptor::from(self.now.load_full()).accept(tcp);
        let shaken = tokio::time::timeout(within, handshake).await.map_err(|_| "the handshake took too long")?;
        let stream = shaken.map_err(|why| why.to_string())?;
        let chose = stream.get_ref().1.alpn_protocol() == Some(HTTP_2);
        Ok((stream, chose))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tls({})", self.certificate.display())
    }
}

fn read(certificate: &Path, key: &Path) -> Result<ServerConfig, Fault> {
    let wrong = |path: &Path, why: &dyn fmt::Display| Fault::Setting(format!("{}: {why}", path.display()));
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|why| wrong(certificate, &why))?;
    if chain.is_empty() {
        return Err(wrong(certificate, &"there is no certificate in it"));
    }
    // What the reader of a key says of it never quotes it.
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|why| wrong(key, &why))?;
    if std::fs::metadata(key).is_ok_and(|meta| meta.permissions().mode() & 0o007 != 0) {
        tracing::warn!("everyone can read {}: chmod 600 it", key.display());
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|why| wrong(certificate, &why))?.with_no_client_auth();
    let mut config = config.with_single_cert(chain, secret).map_err(|why| wrong(certificate, &why))?;
    config.alpn_protocols = vec![HTTP_2.to_vec(), HTTP_1.to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_no_pair_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let pair = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (one, other) = (pair(), pair());
        std::fs::write(at("cert"), one.cert.pem()).unwrap();
        std::fs::write(at("key"), one.signing_key.serialize_pem()).unwrap();
        std::fs::write(at("other"), other.signing_key.serialize_pem()).unwrap();
        std::fs::write(at("empty"), "").unwrap();
        let tls = Tls::load(&at("cert"), &at("key")).unwrap();
        for (cert, key, named) in [
            ("none", "key", "none"),
            ("cert", "none", "none"),
            ("empty", "key", "empty"),
            ("cert", "empty", "empty"),
            ("key", "key", "key"),
            ("cert", "other", "cert"),
        ] {
            let why = Tls::load(&at(cert), &at(key)).unwrap_err().to_string();
            assert!(why.contains(at(named).to_str().unwrap()), "{cert}, {key}: {why}");
            assert!(!why.contains("PRIVATE"), "{why}");
        }
        let before = tls.now.load_full();
        std::fs::write(at("key"), "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").unwrap();
        tls.reload().unwrap_err();
        assert!(Arc::ptr_eq(&before, &tls.now.load_full()), "the pair before stays in force");
    }
}
