//! What SQS and the SDK answer, as errors of this library.
//!
//! The SDK's errors hold raw responses, and some answers of AWS quote the request with its
//! security token: only codes and chosen texts go on.

use std::error::Error as StdError;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sqs::config::http::HttpResponse;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::types::BatchResultErrorEntry;

use crate::error::{Error, ErrorKind};

/// The error of a request as a whole.
pub(super) fn of_request<E>(action: &'static str, error: &SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    match error {
        SdkError::ServiceError(service) => {
            let (code, message) = (service.err().code(), service.err().message());
            of_code(
                action,
                code.unwrap_or_default(),
                message,
                service.raw().status().as_u16(),
            )
        }
        SdkError::ResponseError(response) => {
            let status = response.raw().status();
            let what = format!("the answer to {action} could not be read: {}", chain(error));
            Error::new(ErrorKind::Unavailable, what).with_code(status.as_u16().to_string())
        }
        SdkError::TimeoutError(_) => timed_out(action),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => timed_out(action),
        _ => match find::<CredentialsError>(error) {
            Some(CredentialsError::ProviderTimedOut(_)) => {
                Error::new(ErrorKind::Timeout, "no credentials came in time")
            }
            Some(_) => Error::new(
                ErrorKind::Unauthenticated,
                format!("there are no credentials for {action}: {}", chain(error)),
            ),
            None => {
                let what = format!("{action} did not reach SQS: {}", chain(error));
                Error::new(ErrorKind::Unavailable, what)
            }
        },
    }
}

/// The error of one entry of a batch.
pub(super) fn of_entry(action: &'static str, entry: &BatchResultErrorEntry) -> Error {
    let status = if entry.sender_fault() { 400 } else { 500 };
    of_code(action, entry.code(), entry.message(), status)
}

/// The same error for another entry of the request that failed.
pub(super) fn copy(error: &Error) -> Error {
    let copy =
        Error::new(error.kind(), error.message().to_owned()).with_retryable(error.retryable());
    let copy = match error.code() {
        Some(code) => copy.with_code(code),
        None => copy,
    };
    match error.field() {
        Some(field) => copy.with_field(field.to_owned()),
        None => copy,
    }
}

pub(super) fn timed_out(action: &'static str) -> Error {
    Error::new(
        ErrorKind::Timeout,
        format!("SQS did not answer to {action} in time"),
    )
}

fn of_code(action: &'static str, code: &str, message: Option<&str>, status: u16) -> Error {
    use ErrorKind::*;
    // `AWS.SimpleQueueService.NonExistentQueue` and `com.amazonaws.sqs#QueueDoesNotExist` are
    // spellings of the same world.
    let name = code.rsplit(['.', '#']).next().unwrap_or_default();
    let kind = match name {
        "QueueDoesNotExist" | "NonExistentQueue" => QueueNotFound,
        "QueueNameExists" | "QueueAlreadyExists" => AlreadyExists,
        "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "SignatureDoesNotMatch"
        | "InvalidSignatureException"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "RequestExpired"
        | "AuthFailure"
        | "NotAuthorized" => Unauthenticated,
        "AccessDenied" | "AccessDeniedException" | "KmsAccessDenied" | "KmsOptInRequired" => {
            PermissionDenied
        }
        "RequestThrottled"
        | "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "TooManyRequests"
        | "TooManyRequestsException"
        | "RequestLimitExceeded"
        | "KmsThrottled"
        | "SlowDown" => Throttled,
        "OverLimit" => Full,
        "ReceiptHandleIsInvalid" | "MessageNotInflight" => InvalidReceipt,
        "InvalidMessageContents" => InvalidMessage,
        "BatchRequestTooLong" => MessageTooLarge,
        "InvalidParameterValue" if message.is_some_and(|m| m.contains("expired")) => InvalidReceipt,
        "InvalidParameterValue" | "MissingParameter" | "InvalidAttributeValue" => InvalidArgument,
        _ => match status {
            401 => Unauthenticated,
            403 => PermissionDenied,
            408 => Timeout,
            429 => Throttled,
            500.. => Unavailable,
            _ => Provider,
        },
    };
    let said = match (kind, message) {
        // AWS quotes the request here, with the token of its session.
        (Unauthenticated, _) | (_, None) => String::new(),
        (_, Some(message)) => format!(": {message}"),
    };
    let what = match kind {
        QueueNotFound => "there is no such queue in this account and region".to_owned(),
        Unauthenticated => format!("the credentials were not accepted for {action}"),
        PermissionDenied => format!("the credentials do not allow sqs:{action}{said}"),
        Throttled => format!("SQS asks to slow down{said}"),
        Full => format!("too many messages of the queue are in flight{said}"),
        _ => format!("SQS refused {action}{said}"),
    };
    let error = Error::new(kind, what);
    if code.is_empty() {
        error.with_code(status.to_string())
    } else {
        error.with_code(code)
    }
}

/// The first error of this type below another one.
fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut error = Some(error);
    while let Some(this) = error {
        if let Some(found) = this.downcast_ref() {
            return Some(found);
        }
        error = this.source();
    }
    None
}

/// The texts of an error and of those below it.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut texts = vec![error.to_string()];
    let mut below = error.source();
    while let Some(error) = below {
        texts.push(error.to_string());
        below = error.source();
    }
    texts.dedup();
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_become_kinds() {
        use ErrorKind::*;
        let cases = [
            (
                "AWS.SimpleQueueService.NonExistentQueue",
                400,
                QueueNotFound,
            ),
            ("com.amazonaws.sqs#QueueDoesNotExist", 400, QueueNotFound),
            ("AccessDenied", 403, PermissionDenied),
            ("ExpiredToken", 403, Unauthenticated),
            ("RequestThrottled", 403, Throttled),
            ("OverLimit", 403, Full),
            ("ReceiptHandleIsInvalid", 404, InvalidReceipt),
            ("InvalidMessageContents", 400, InvalidMessage),
            ("InternalFailure", 500, Unavailable),
            ("", 503, Unavailable),
            ("", 403, PermissionDenied),
            ("KmsDisabled", 400, Provider),
        ];
        for (code, status, kind) in cases {
            let error = of_code("SendMessage", code, Some("text"), status);
            assert_eq!(error.kind(), kind, "{code} {status}");
        }
    }

    #[test]
    fn what_aws_says_of_credentials_is_not_repeated() {
        let said = "The Canonical String was: x-amz-security-token:hunter2";
        let error = of_code("SendMessage", "SignatureDoesNotMatch", Some(said), 403);
        assert!(!format!("{error} {error:?}").contains("hunter2"));
        let said = "User: arn:aws:iam::1:user/x is not authorized to perform: sqs:sendmessage";
        let error = of_code("SendMessage", "AccessDenied", Some(said), 403);
        assert!(error.to_string().contains("sqs:SendMessage"));
    }
}
