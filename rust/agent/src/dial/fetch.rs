//! Small documents over HTTP that an agent needs for itself, by the same way as the edge: name
//! resolution, interface and proxy included.

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Dialer, host_port, tls};

// === impl Dialer ===

impl Dialer {
    /// The body at an `http://` or `https://` URL; a redirect is an error.
    ///
    /// # Errors
    /// A sentence.
    pub(crate) async fn fetch(&self, url: &str, largest: usize) -> Result<Bytes, String> {
        let uri: Uri = url.parse().map_err(|_| "this is no URL".to_owned())?;
        let host = uri.host().ok_or("the URL names no host")?;
        let host = host.trim_matches(['[', ']']);
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err("the URL begins with neither http:// nor https://".into()),
        };
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let address = host_port(host, port);
        let place = uri.authority().map_or("", http::uri::Authority::as_str);
        let mut request = Request::get(uri.path_and_query().map_or("/", |path| path.as_str()))
            .header(header::HOST, place)
            .header(
                header::USER_AGENT,
                concat!("portway/", env!("CARGO_PKG_VERSION")),
            );
        let told = |error: super::DialError| error.to_string();
        if !secure
            && let Some(proxy) = self.proxy_for(host, port)
            && proxy.passes_requests()
        {
            // Plain requests are what an HTTP proxy is for; CONNECT is often kept to port 443.
            request = proxy.signed(request.uri(url));
            let request = request
                .body(Empty::new())
                .map_err(|error| error.to_string())?;
            let road = self.to_proxy(proxy).await.map_err(told)?;
            return get(road, request, largest).await;
        }
        let request = request
            .body(Empty::new())
            .map_err(|error| error.to_string())?;
        if !secure {
            let plain = |road| std::future::ready(Ok(road)).boxed();
            let road = self.open(&address, host, port, plain).await;
            return get(road.map_err(told)?, request, largest).await;
        }
        let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
        let config = self.tls_of_others()?;
        let secure = |road| tls(&address, &name, &config, road).boxed();
        let road = self.open(&address, host, port, secure).await;
        get(road.map_err(told)?, request, largest).await
    }
}

async fn get(
    road: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Empty<Bytes>>,
    largest: usize,
) -> Result<Bytes, String> {
    let told = |error: hyper::Error| super::proxy::told(&error);
    let (mut sender, connection) = http1::handshake(TokioIo::new(road)).await.map_err(told)?;
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(told)?;
        if !answer.status().is_success() {
            return Err(format!("the answer is {}", answer.status()));
        }
        let body = Limited::new(answer.into_body(), largest).collect().await;
        let body = body.map_err(|_| format!("it ended early, or has more than {largest} bytes"))?;
        Ok(body.to_bytes())
    };
    tokio::pin!(exchange, connection);
    tokio::select! {
        biased;
        body = &mut exchange => body,
        _ = &mut connection => exchange.await,
    }
}
