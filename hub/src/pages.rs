//! The pages: a demo of a client, and a dashboard. They are part of the program, and need no other host.

#![forbid(unsafe_code)]

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::get;

/// The pages, for clients of WebSockets at this port of the same host.
pub(crate) fn router<S: Clone + Send + Sync + 'static>(port: u16) -> Router<S> {
    let demo = include_str!("../pages/demo.html").replace("PORT", &port.to_string());
    let page =
        |kind: &'static str, text: &'static str| get(async move || ([(header::CONTENT_TYPE, kind)], text));
    Router::new()
        .route("/", get(async move || ([(header::CONTENT_TYPE, HTML)], demo)))
        .route("/dashboard", page(HTML, include_str!("../pages/dashboard.html")))
        .route("/page.css", page("text/css; charset=utf-8", include_str!("../pages/page.css")))
        .route("/demo.js", page(SCRIPT, include_str!("../pages/demo.js")))
        .route("/dashboard.js", page(SCRIPT, include_str!("../pages/dashboard.js")))
        .layer(map_response(shielded))
}

/// Nothing of other hosts, in no frame of others, and no guessing of types.
async fn shielded(mut response: Response) -> Response {
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    fields.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    fields.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// The address of the WebSockets is typed in by whoever looks.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ws: wss:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
