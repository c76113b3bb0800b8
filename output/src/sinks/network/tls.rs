//! The client's side of TLS: whom to trust, who we are.

use std::io;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::config::TlsConfig;

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM file cannot be read.
    #[error("cannot read {what} from {path}: {source}")]
    Pem {
        /// What was looked for.
        what: &'static str,
        /// The file.
        path: String,
        /// What is wrong.
        source: rustls::pki_types::pem::Error,
    },
    /// No certificate in the file of authorities can be used.
    #[error("{path} has no certificate of an authority")]
    NoAuthority {
        /// The file.
        path: String,
    },
    /// Certificate and key do not fit, or the library cannot use them.
    #[error("the client certificate cannot be used: {0}")]
    Identity(rustls::Error),
    /// Neither a host name nor an address.
    #[error("`{0}` is no name that a certificate could be for")]
    Name(String),
    /// The library.
    #[error(transparent)]
    Library(#[from] rustls::Error),
}

/// Makes sessions.
pub(super) struct Client {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Client {
    /// Reads the files. `host` is the name that is checked where none is configured.
    pub(super) fn new(config: &TlsConfig, host: &str) -> Result<Self, TlsError> {
        let name = config.name.as_deref().unwrap_or(host).to_owned();
        let name = ServerName::try_from(name.clone()).map_err(|_| TlsError::Name(name))?;
        Ok(Self { config: client_config(config)?, name })
    }

    /// Has the server prove who it is.
    pub(super) fn handshake(&self, socket: &mut TcpStream) -> io::Result<Box<ClientConnection>> {
        let session = ClientConnection::new(Arc::clone(&self.config), self.name.clone()).map_err(io::Error::other)?;
        let mut session = Box::new(session);
        while session.is_handshaking() {
            session.complete_io(socket)?;
        }
        Ok(session)
    }
}

/// What the library is told of whom to trust and who we are.
pub(in crate::sinks) fn client_config(config: &TlsConfig) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = builder.with_root_certificates(authorities(&config.ca)?);
    Ok(Arc::new(match (&config.cert, &config.key) {
        (Some(cert), Some(key)) => {
            let key = PrivateKeyDer::from_pem_file(key).map_err(pem_error("the private key", key))?;
            let chain = certificates("the client certificate", cert)?;
            builder.with_client_auth_cert(chain, key).map_err(TlsError::Identity)?
        }
        _ => builder.with_no_client_auth(),
    }))
}

fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    // Some that systems ship are of kinds that no server uses any more.
    let (usable, _) = roots.add_parsable_certificates(certificates("authorities", path)?);
    if usable == 0 { Err(TlsError::NoAuthority { path: path.display().to_string() }) } else { Ok(roots) }
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    all.map_err(pem_error(what, path))
}

fn pem_error(what: &'static str, path: &Path) -> impl FnOnce(rustls::pki_types::pem::Error) -> TlsError {
    move |source| TlsError::Pem { what, path: path.display().to_string(), source }
}
