//! Our files on disk: one module a file or kind of file, nothing but that file in each.

pub mod config;
pub mod files;
pub mod index;
pub mod keys;
pub mod paths;
pub mod pushes;
pub mod ssh_config;
