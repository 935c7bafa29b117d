//! Certificate and key.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::error::Fault;

/// With what the server shows who it is.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Server")]
pub struct TlsSettings {
    /// Chain of certificates (PEM), read again on SIGHUP; default: no TLS
    #[arg(long, value_name = "FILE", env = "PLAUDIT_TLS_CERT")]
    pub tls_cert: Option<PathBuf>,
    /// Key of the certificate (PEM), likewise
    #[arg(long, value_name = "FILE", env = "PLAUDIT_TLS_KEY")]
    pub tls_key: Option<PathBuf>,
}

impl TlsSettings {
    /// Certificate and key, if TLS is on.
    pub fn pair(&self) -> Result<Option<(&Path, &Path)>, Fault> {
        match (&self.tls_cert, &self.tls_key) {
            (Some(cert), Some(key)) => Ok(Some((cert, key))),
            (None, None) => Ok(None),
            (Some(_), None) => Err(Fault::Setting("--tls-cert is given, and no --tls-key to it".into())),
            (None, Some(_)) => Err(Fault::Setting("--tls-key is given, and no --tls-cert to it".into())),
        }
    }
}
