//! Answers of the API that refuse: a status, a word for programs, and a sentence for people.

#![forbid(unsafe_code)]

use axum::Json;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::bus::BusError;
use crate::store::StoreError;

/// Why a request was refused, or failed.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    sentence: String,
}

impl ApiError {
    pub(super) fn invalid(sentence: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", sentence)
    }

    pub(super) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "show the API's token: Authorization: Bearer …")
    }

    pub(super) fn not_found(sentence: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", sentence)
    }

    pub(super) fn late() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "late", "the request took too long: send all of it at once")
    }

    pub(super) fn wrong_method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "wrong_method", "this path wants another method")
    }

    fn new(status: StatusCode, code: &'static str, sentence: &str) -> Self {
        Self { status, code, sentence: sentence.to_owned() }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = json!({ "error": { "code": self.code, "message": self.sentence } });
        (self.status, Json(body)).into_response()
    }
}

impl From<BytesRejection> for ApiError {
    fn from(rejection: BytesRejection) -> Self {
        match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "a body has at most 1 MiB")
            }
            status => Self::new(status, "invalid", "the body cannot be read"),
        }
    }
}

impl From<PathRejection> for ApiError {
    fn from(_: PathRejection) -> Self {
        Self::invalid("the path is not UTF-8")
    }
}

impl From<QueryRejection> for ApiError {
    fn from(_: QueryRejection) -> Self {
        Self::invalid("the query is not what it has to be: after=NAME, limit=NUMBER")
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        tracing::debug!(%error, "the store failed");
        let sentence = "it is not known whether it was stored: try again, with the same id";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "not_stored", sentence)
    }
}

impl From<BusError> for ApiError {
    fn from(error: BusError) -> Self {
        tracing::debug!(%error, "the bus failed");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "not_sent", "not all nodes were told: try again")
    }
}
