//! Attacks by a user or host that can plant files, send bytes or choose names.
//!
//! Elsewhere: names in tags, and shells (`hostile`), endpoints and gateways that break their protocols
//! (`domain::session_manager`, `routes`), files that others could have written (`store::trusted`).

mod floods;
mod links;
mod names;
mod secrets;
