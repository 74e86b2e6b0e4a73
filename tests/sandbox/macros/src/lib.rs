//! The attribute of tests that need network namespaces.

use proc_macro::TokenStream;

/// Ignores a test on a machine without network namespaces, so that it is reported as ignored. Never under `CI`, where
/// such a test fails.
///
/// It stands above `#[test]`.
#[proc_macro_attribute]
pub fn needs_namespaces(_arguments: TokenStream, test: TokenStream) -> TokenStream {
    let attribute = if cfg!(no_namespaces) { "#[ignore = \"needs network namespaces\"]" } else { "" };
    let mut tokens: TokenStream = attribute.parse().unwrap_or_default();
    tokens.extend(test);
    tokens
}
