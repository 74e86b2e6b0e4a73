//! The pages of DescribeInstances, read by our own reader while they arrive, through the SDK's extension points: an
//! interceptor puts a [`PageSlot`] into the HTTP request; the connector (`limit`) finds it there, reads the body of a
//! successful response into it and empties the response; and the interceptor replaces the SDK's deserializer, which has
//! nothing to read then. Signing, retries, timeouts and errors of AWS are left to the SDK.

#[cfg(test)]
mod tests;

use aws_sdk_ec2::operation::describe_instances::builders::DescribeInstancesFluentBuilder;
use aws_sdk_ec2::operation::describe_instances::{DescribeInstancesError, DescribeInstancesOutput};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeDeserializationInterceptorContextMut, BeforeTransmitInterceptorContextMut, Error as ErasedError, Output,
};
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::orchestrator::{HttpResponse, OrchestratorError};
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::client::ser_de::{DeserializeResponse, SharedResponseDeserializer};
use aws_smithy_types::config_bag::ConfigBag;

use crate::aws::limit::PageSlot;
use crate::domain::described_instances::Page;

/// Sends the request and reads its page. An error in the XML is a service error without a code, as with the SDK's parser.
pub(super) async fn send(
    request: DescribeInstancesFluentBuilder,
) -> Result<Page, SdkError<DescribeInstancesError, HttpResponse>> {
    let slot = PageSlot::default();
    request.customize().interceptor(ReadPage(slot.clone())).send().await?;
    // Without a page, the deserializer has returned an error.
    Ok(slot.take().and_then(Result::ok).unwrap_or_default())
}

#[derive(Debug)]
struct ReadPage(PageSlot);

#[dyn_dispatch_hint]
impl Intercept for ReadPage {
    fn name(&self) -> &'static str {
        "ReadPage"
    }

    /// Of each attempt, since a retry starts with a request without extensions.
    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        context.request_mut().add_extension(self.0.clone());
        Ok(())
    }

    /// Other responses go to the SDK's deserializer. One of them does not follow a successful one, for which the
    /// deserializer was replaced: that one is not retried, with or without an error in the XML.
    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if context.response().status().is_success() {
            let deserializer = SharedResponseDeserializer::new(ReadAlready(self.0.clone()));
            config.interceptor_state().store_put(deserializer);
        }
        Ok(())
    }
}

/// The deserializer of a response that the connector has read.
#[derive(Debug)]
struct ReadAlready(PageSlot);

impl DeserializeResponse for ReadAlready {
    fn deserialize_streaming_with_config(
        &self,
        _: &mut HttpResponse,
        _: &ConfigBag,
    ) -> Option<Result<Output, OrchestratorError<ErasedError>>> {
        let unreadable = |error: BoxError| {
            let error = DescribeInstancesError::unhandled(error);
            Some(Err(OrchestratorError::operation(ErasedError::erase(error))))
        };
        match self.0.take() {
            Some(Ok(page)) => {
                self.0.put(Ok(page));
                Some(Ok(Output::erase(DescribeInstancesOutput::builder().build())))
            }
            Some(Err(error)) => unreadable(error.into()),
            None => unreadable("the body of the response was not read".into()),
        }
    }
}
