//! `ssh_config`: reading the user's file, editing it, and rendering the generated ones.

pub mod edit;
pub mod options;
pub mod read;
pub mod render;
pub mod shadow;
pub mod standalone;
