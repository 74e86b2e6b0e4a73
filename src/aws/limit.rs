//! A limit for response bodies. Bodies are collected here, below the SDK, which would collect them whole without a limit
//! and request a body that is too large again. Pages of instances are not collected, but read while they arrive.

use std::sync::{Arc, Mutex, PoisonError};

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::domain::described_instances::{Page, ReadError, Reader};

/// For a page of 1000 instances with 50 long tags each, and then some.
const QUERY_LIMIT: usize = 64 * 1024 * 1024;
/// For all other responses: tokens, credentials, the result of a push.
const LIMIT: usize = 1024 * 1024;

/// What http-body-util says of a body over its limit.
pub(super) const TOO_LARGE: &str = "length limit exceeded";

/// Where the connector puts the page of a response. It is an extension of the request: without one, the body is collected.
#[derive(Debug, Clone, Default)]
pub(super) struct PageSlot(Arc<Mutex<Option<Result<Page, ReadError>>>>);

impl PageSlot {
    pub(super) fn put(&self, page: Result<Page, ReadError>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(page);
    }

    pub(super) fn take(&self) -> Option<Result<Page, ReadError>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A client whose responses are limited.
#[derive(Debug)]
pub(super) struct LimitedClient(pub(super) SharedHttpClient);

#[derive(Debug)]
struct LimitedConnector(SharedHttpConnector);

impl HttpClient for LimitedClient {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(LimitedConnector(self.0.http_connector(settings, components)))
    }
}

impl HttpConnector for LimitedConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let is_query = request.body().bytes().is_some_and(|body| body.starts_with(b"Action=Describe"));
        let limit = if is_query { QUERY_LIMIT } else { LIMIT };
        let slot = request.extension::<PageSlot>().cloned();
        let response = self.0.call(request);
        HttpConnectorFuture::new(async move {
            let mut response = response.await?;
            let body = Limited::new(std::mem::replace(response.body_mut(), SdkBody::taken()), limit);
            let read = match slot.filter(|_| response.status().is_success()) {
                Some(slot) => read_page(body).await.map(|page| {
                    slot.put(page);
                    SdkBody::empty()
                }),
                None => body.collect().await.map(|whole| SdkBody::from(whole.to_bytes())),
            };
            *response.body_mut() = read.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
                // The next attempt would be as long.
                Some(_) => ConnectorError::other(error, None),
                None => ConnectorError::io(error),
            })?;
            Ok(response)
        })
    }
}

/// The page in a body; a body with an error in its XML is not received to its end.
async fn read_page(mut body: Limited<SdkBody>) -> Result<Result<Page, ReadError>, BoxError> {
    let mut reader = Reader::default();
    while let Some(frame) = body.frame().await {
        if let Ok(piece) = frame?.into_data()
            && let Err(error) = reader.read(&piece)
        {
            return Ok(Err(error));
        }
    }
    Ok(reader.finish())
}
