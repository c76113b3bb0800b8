//! The daemon and its tools. Rules in, LSM hooks deciding in the kernel, one record per event out.
//!
//! | what | where |
//! |---|---|
//! | command line, and which part does what it asks for | [`cli`] |
//! | `auditd-bpf.toml` | [`config`] |
//! | auditd's `auditd.conf` | [`auditd_conf`] |
//! | rules and settings in force, and what command lines make of them | [`store`] |
//! | the control socket | [`control`] |
//! | connections to it and to the metrics | `connections` |
//! | the program as `auditctl` and as `augenrules` | [`auditctl`], [`augenrules`] |
//! | rule files: order, trust | [`rule_files`] |
//! | users, groups and paths of this machine, for rules | [`host_facts`] |
//! | names for the numbers in records | [`names`] |
//! | can this host do it, and if not, why | [`doctor`] |
//! | where rules are decided, and what that leaves out | [`mode`] |
//! | `auditd-bpf check`, `explain`, `fmt` | [`check`], [`explain`], [`fmt`] |
//! | `auditd-bpf convert`: logs of one format in another | [`convert`] |
//! | `auditd-bpf search`: events of logs, by ausearch's options, and those that come (`tail`) | [`search`] |
//! | `auditd-bpf report`: what logs add up to, by aureport's options | [`report`] |
//! | `auditd-bpf verify`: whether logs are what was written | [`verify`] |
//! | `auditd-bpf status`: what the daemon has seen, written and lost | [`status`] |
//! | the same for Prometheus | [`metrics`] |
//! | the process that starts the daemon anew where something is guarded | [`keeper`] |
//! | the BPF object and the kernel's types | [`kernel`] |
//! | exit statuses | [`exit_code`] |

pub mod auditctl;
pub mod auditd_conf;
pub mod augenrules;
pub mod check;
pub mod cli;
pub mod config;
mod connections;
pub mod control;
pub mod convert;
pub mod daemon;
pub mod decode;
mod delays;
pub mod doctor;
pub mod exclusions;
pub mod exit_code;
pub mod explain;
mod file_watch;
pub mod fmt;
pub mod guard;
pub mod host_facts;
pub mod identity;
pub mod keeper;
pub mod kernel;
mod key_counts;
mod logging;
mod logs;
pub mod metrics;
pub mod mode;
pub mod mounts;
pub mod names;
pub mod release;
pub mod replay;
pub mod report;
pub mod rule_files;
mod rules_watch;
mod safety;
pub mod search;
pub mod status;
pub mod store;
pub mod user_messages;
pub mod verify;
mod version_order;
