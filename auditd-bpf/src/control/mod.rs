//! The control socket: how `auditctl` and `augenrules` talk to the daemon. docs/control.md describes it for others.
//!
//! | what | where |
//! |---|---|
//! | requests and responses, as both sides read and write them | [`protocol`] |
//! | the daemon's side: accepts, checks who asks, hands requests to the main loop | [`server`] |
//! | the other side | [`client`] |

pub mod client;
pub mod protocol;
pub mod server;

/// Where the socket is when nothing else is said.
pub const DEFAULT_SOCKET: &str = "/run/auditd-bpf/control.sock";

/// Environment variable that names another socket for `auditctl` and `augenrules`.
pub const SOCKET_VARIABLE: &str = "AUDITD_BPF_SOCKET";
