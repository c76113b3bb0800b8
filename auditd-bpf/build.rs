//! Embeds the BPF object that `cargo xtask build-ebpf` leaves under the target directory. Of the one beside it, which unit tests
//! put on trial, it tells where it lies: nothing else needs it.

use std::{env, fs, path::PathBuf};

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    println!("cargo:rerun-if-env-changed=AUDITD_BPF_OBJECT");
    let object = env::var_os("AUDITD_BPF_OBJECT").map_or_else(|| default_object(&out), PathBuf::from);
    println!("cargo:rerun-if-changed={}", object.display());
    if let Err(error) = fs::copy(&object, out.join("auditd-bpf.o")) {
        println!(
            "cargo:error=the BPF object {} is missing ({error}); make it with: cargo xtask build",
            object.display()
        );
        std::process::exit(1);
    }
    println!("cargo:rustc-env=TRIAL_OBJECT={}", object.with_file_name("auditd-bpf-trial.o").display());
}

/// `<target>/ebpf/auditd-bpf.o`, where `<target>` is the workspace's: OUT_DIR may lie elsewhere (CARGO_TARGET_DIR), then the
/// object is looked for there.
fn default_object(out: &std::path::Path) -> PathBuf {
    let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let beside_out = out.ancestors().find(|dir| dir.join("ebpf/auditd-bpf.o").exists()).map(PathBuf::from);
    beside_out.unwrap_or_else(|| workspace.join("target")).join("ebpf/auditd-bpf.o")
}
