//! Embeds the BPF object that `cargo xtask build-ebpf` leaves under the target directory. Of the one beside it, which unit tests
//! put on trial, it tells where it lies: nothing else needs it.

use std::{env, fs, path::PathBuf};

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    println!("cargo:rerun-if-env-changed=AUDITD_BPF_OBJECT");
    let object = env::var_os("AUDITD_BPF_OBJECT").map_or_else(|| default_object(&out), PathBuf::from);
    println!("cargo:rerun-if-changed={}", object.display());
    let embedded = fs::read(&object).and_then(|bytes| {
        fs::write(out.join("lsm-names.in"), format!("{:?}", lsm_names(&bytes)))?;
        fs::write(out.join("auditd-bpf.o"), bytes)
    });
    if let Err(error) = embedded {
        println!(
            "cargo:error=the BPF object {} is missing ({error}); make it with: cargo xtask build",
            object.display()
        );
        std::process::exit(1);
    }
    println!("cargo:rustc-env=TRIAL_OBJECT={}", object.with_file_name("auditd-bpf-trial.o").display());
}

/// Where the names of sections of LSM programs stand, in the table of sections and in the type information.
fn lsm_names(object: &[u8]) -> Vec<usize> {
    let is_name = |name: &[u8]| {
        let end = name.iter().position(|byte| !matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
        end.is_some_and(|end| end > 0 && name[end] == 0)
    };
    let starts = object.windows(4).enumerate().filter(|(_, bytes)| *bytes == b"lsm/").map(|found| found.0);
    starts.filter(|start| is_name(&object[start + 4..])).collect()
}

/// `<target>/ebpf/auditd-bpf.o`, where `<target>` is the workspace's: OUT_DIR may lie elsewhere (CARGO_TARGET_DIR), then the
/// object is looked for there.
fn default_object(out: &std::path::Path) -> PathBuf {
    let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let beside_out = out.ancestors().find(|dir| dir.join("ebpf/auditd-bpf.o").exists()).map(PathBuf::from);
    beside_out.unwrap_or_else(|| workspace.join("target")).join("ebpf/auditd-bpf.o")
}
