//! `auditd-bpf`: see the library.

fn main() -> std::process::ExitCode {
    auditd_bpf::cli::main()
}
