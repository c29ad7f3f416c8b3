//! A text from a web server, for a policy that is named by its URL.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::board::without_number;
use crate::trust;

/// For all of it.
const PATIENCE: Duration = Duration::from_secs(10);
const LARGEST: usize = 1 << 20;

/// The content of `url`, with http or https.
///
/// # Errors
/// The cause, in words.
pub(super) async fn text(url: &str) -> Result<String, String> {
    match timeout(PATIENCE, get(url)).await {
        Ok(text) => text.map_err(|cause| without_number(&cause)),
        Err(_) => Err("no answer in time".into()),
    }
}

async fn get(url: &str) -> Result<String, String> {
    let uri: Uri = url.parse().map_err(|_| "this is no URL".to_owned())?;
    let host = uri.host().ok_or("it names no host")?.to_owned();
    let bare = host.trim_matches(['[', ']']).to_owned();
    let secure = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let socket = TcpStream::connect((bare.as_str(), port))
        .await
        .map_err(|error| error.to_string())?;
    if !secure {
        return ask(&uri, socket).await;
    }
    let name = ServerName::try_from(bare).map_err(|error| error.to_string())?;
    let config = trust::public().map_err(|error| error.0)?;
    let tls = TlsConnector::from(config)
        .connect(name, socket)
        .await
        .map_err(|error| error.to_string())?;
    ask(&uri, tls).await
}

async fn ask<T>(uri: &Uri, io: T) -> Result<String, String>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(io))
        .await
        .map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    let host = uri.authority().map_or("", |authority| authority.as_str());
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let request = Request::get(target)
        .header(header::HOST, host)
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let response = sender
        .send_request(request)
        .await
        .map_err(|error| error.to_string())?;
    if !response.status().is_success() {
        return Err(format!("it answered {}", response.status()));
    }
    let body = Limited::new(response.into_body(), LARGEST)
        .collect()
        .await
        .map_err(|error| error.to_string())?;
    String::from_utf8(body.to_bytes().to_vec()).map_err(|_| "this is no text".to_owned())
}
