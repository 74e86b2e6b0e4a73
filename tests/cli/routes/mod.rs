//! Connections over each route, with the real ssh and what runs it.

mod session_manager;
