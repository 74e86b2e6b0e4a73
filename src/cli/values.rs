//! Parsers of single values on the command line. The error text completes the sentence `OPTION VALUE: …`.

use serde::de::DeserializeOwned;
use serde::de::value::StrDeserializer;

use crate::domain::source::{KeyType, LISTED_STATES, Route};
use crate::domain::{connection_options, duration, ids, policy};

pub(super) fn key_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it as KEY=VALUE".to_owned()),
    }
}

pub(super) fn account(text: &str) -> Result<String, String> {
    ids::is_account(text).then(|| text.to_owned()).ok_or_else(|| "an account id has 12 digits".to_owned())
}

/// A state in which an instance can be listed.
pub(super) fn state(text: &str) -> Result<String, String> {
    let states = LISTED_STATES.join(", ");
    let text = text.to_ascii_lowercase();
    LISTED_STATES.contains(&text.as_str()).then_some(text).ok_or_else(|| format!("write one of {states}"))
}

pub(super) fn network(text: &str) -> Result<String, String> {
    policy::is_network(text)
        .then(|| text.to_owned())
        .ok_or_else(|| "write a network such as 198.51.100.0/24".to_owned())
}

pub(super) fn endpoint(text: &str) -> Result<String, String> {
    policy::is_endpoint(text).then(|| text.to_owned()).ok_or_else(|| "write it as vpce-0abc12def34567890".to_owned())
}

/// One of the words that the config file accepts for the same setting.
pub(super) fn word<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    T::deserialize(StrDeserializer::<serde::de::value::Error>::new(text)).map_err(|error| {
        // serde names the variants: "unknown variant `x`, expected one of `a`, `b`".
        let text = error.to_string();
        text.split_once("expected ").map_or_else(String::new, |(_, words)| format!("write {}", words.replace('`', "")))
    })
}

/// A key type that this build can generate.
pub(super) fn key_type(text: &str) -> Result<KeyType, String> {
    let key_type = word::<KeyType>(text)?;
    key_type.refused().map_or(Ok(key_type), |why| Err(why.to_owned()))
}

pub(super) fn route(text: &str) -> Result<Route, String> {
    Route::parse(text)
}

/// The `maxTunnelDuration` in seconds.
pub(super) fn tunnel_duration(text: &str) -> Result<u16, String> {
    connection_options::parse_tunnel_duration(text).ok_or_else(|| "write a time from 1s to 1h, such as 30m".to_owned())
}

/// Seconds from `90`, `10m`, `1h30m`.
pub(super) fn age(text: &str) -> Result<u64, String> {
    duration::seconds(text).ok_or_else(|| "write it as 90s, 10m or 1h".to_owned())
}
