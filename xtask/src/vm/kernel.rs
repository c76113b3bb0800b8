//! Stock Debian kernels, fetched through the package mirrors that this machine's apt is configured with.
//!
//! Other suites than the machine's own are needed, so apt gets a private state under `target/guest/apt`: the system's
//! package lists stay as they are, and nothing needs root.

use std::cmp::Ordering;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::apt::Apt;
use crate::cmd;
use crate::workspace::Workspace;

/// Debian's kernel for virtual machines: small, quick to boot, BTF included.
const FLAVOUR: &str = "cloud-amd64";

/// An unpacked kernel in the cache.
#[derive(Clone)]
pub struct Kernel {
    /// Debian's name for it, such as `6.12.117+deb13-cloud-amd64`.
    pub name: String,
    dir: PathBuf,
}

impl Kernel {
    /// The kernel whose version begins with `version`: the newest cached one, else the newest that the mirrors have.
    pub fn find(workspace: &Workspace, version: &str) -> Result<Self> {
        let kernels = workspace.guest().join("kernels");
        fs::create_dir_all(&kernels).with_context(|| format!("cannot create {}", kernels.display()))?;
        // Two commands started at once must not fetch the same kernel into the same place.
        let lock = File::create(kernels.join(".lock")).context("cannot create the kernel cache's lock")?;
        lock.lock().context("cannot lock the kernel cache")?;
        if let Some(cached) = Self::newest_cached(&kernels, version)? {
            return Ok(cached);
        }
        remove_leftovers(&kernels);
        cmd::step(&format!("kernel {version}: downloading and unpacking"), || Self::fetch(workspace, &kernels, version))
    }

    fn newest_cached(kernels: &Path, version: &str) -> Result<Option<Self>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(kernels).context("cannot read the kernel cache")? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if is_version_of(&name, version) {
                names.push(name);
            }
        }
        names.sort_by(|a, b| natural(a, b));
        Ok(names.pop().map(|name| Self { dir: kernels.join(&name), name }))
    }

    fn fetch(workspace: &Workspace, kernels: &Path, version: &str) -> Result<Self> {
        let apt = Apt::open(workspace)?;
        let offered = apt.package_names(&format!("linux-image-{version}"))?;
        let mut names: Vec<_> = offered
            .iter()
            .filter_map(|package| package.strip_prefix("linux-image-"))
            .filter(|name| name.ends_with(FLAVOUR) && !name.ends_with("-unsigned") && is_version_of(name, version))
            .collect();
        names.sort_by(|a, b| natural(b, a));
        ensure!(!names.is_empty(), "the package mirrors offer no {FLAVOUR} kernel {version}");
        let mut reason = None;
        for name in names {
            match Self::fetch_one(&apt, kernels, name) {
                Ok(kernel) => return Ok(kernel),
                // Listed, but its files are no longer offered: the next newest may be.
                Err(error) => reason = Some(error.context(format!("kernel {name}"))),
            }
        }
        Err(reason.unwrap_or_else(|| anyhow::anyhow!("no kernel {version}")))
    }

    fn fetch_one(apt: &Apt, kernels: &Path, name: &str) -> Result<Self> {
        let work = tempfile::tempdir_in(kernels).context("cannot create a directory for the download")?;
        let tree = work.path().join("tree");
        let image = format!("linux-image-{name}");
        apt.unpack(std::slice::from_ref(&image), &tree)?;
        if find_file(&tree, &is_boot_image)?.is_none() {
            // Newer kernels come in several packages, the image package naming the others.
            let parts = apt.dependencies(&image)?;
            let parts: Vec<_> = parts.into_iter().filter(|part| part.ends_with(name)).collect();
            apt.unpack(&parts, &tree)?;
        }
        let unpacked = work.path().join("kernel");
        assemble(&tree, &unpacked, name)?;
        let dir = kernels.join(name);
        fs::rename(&unpacked, &dir).with_context(|| format!("cannot create {}", dir.display()))?;
        Ok(Self { name: name.to_owned(), dir })
    }

    /// The kernel's own directory, for what is derived from it.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The uncompressed ELF image, which QEMU starts directly (PVH): the guest has nothing to decompress.
    pub fn vmlinux(&self) -> PathBuf {
        self.dir.join("vmlinux")
    }

    /// The kernel's default list of security modules, with `bpf` added if it lacks it.
    pub fn lsm_with_bpf(&self) -> Result<String> {
        let config = fs::read_to_string(self.dir.join("config")).context("the kernel's config is not readable")?;
        let lsm = config.lines().find_map(|line| line.strip_prefix("CONFIG_LSM=")).unwrap_or("\"\"");
        Ok(with_bpf(lsm.trim_matches('"')))
    }

    /// Files of the named modules and of those that they need, in load order; built-in ones have none.
    pub fn module_files(&self, modules: &[&str]) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for module in modules {
            let mut modprobe = Command::new(cmd::require("modprobe")?);
            modprobe.arg("-d").arg(&self.dir).args(["-S", &self.name, "--show-depends", module]);
            // A kernel without the module at all is fine: whoever needs it will say so in the guest.
            let shown = cmd::output(&mut modprobe).unwrap_or_default();
            for line in shown.lines() {
                let mut words = line.split_whitespace();
                if let (Some("insmod"), Some(file)) = (words.next(), words.next()) {
                    let file = PathBuf::from(file);
                    if !files.contains(&file) {
                        files.push(file);
                    }
                }
            }
        }
        Ok(files)
    }
}

/// Removes what an interrupted download left; the cache is locked, so nobody works there.
fn remove_leftovers(kernels: &Path) {
    let entries = fs::read_dir(kernels).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(".tmp")) {
        // Should it stay, it only takes space.
        let _ = fs::remove_dir_all(entry.path());
    }
}

/// A kernel module's or kernel image's bytes, uncompressed.
pub fn read_module(file: &Path) -> Result<Vec<u8>> {
    let tool: &[&str] = match file.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => &["xz", "-dc"],
        Some("zst") => &["zstd", "-dcq"],
        _ => return fs::read(file).with_context(|| format!("cannot read {}", file.display())),
    };
    let input = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    let bytes = decompress(tool, input)?;
    ensure!(bytes.starts_with(b"\x7fELF"), "{} holds no kernel module", file.display());
    Ok(bytes)
}

/// From the unpacked packages to the three things that a guest needs.
fn assemble(tree: &Path, kernel: &Path, name: &str) -> Result<()> {
    let boot_image = find_file(tree, &is_boot_image)?.context("the packages hold no kernel image")?;
    let config_name = format!("config-{name}");
    let is_config = |path: &Path| path.ends_with(&config_name) || path.ends_with(format!("{name}/config"));
    let config = find_file(tree, &is_config)?.context("the packages hold no kernel config")?;
    let modules = ["lib/modules", "usr/lib/modules"].map(|dir| tree.join(dir).join(name));
    let modules = modules.into_iter().find(|dir| dir.is_dir()).context("the packages hold no modules")?;
    let own_modules = kernel.join("lib/modules");
    fs::create_dir_all(&own_modules).context("cannot create the module directory")?;
    fs::copy(&config, kernel.join("config")).context("cannot copy the kernel's config")?;
    let image = fs::read(&boot_image).context("cannot read the kernel image")?;
    let vmlinux = uncompressed(&image).with_context(|| format!("cannot unpack {}", boot_image.display()))?;
    fs::write(kernel.join("vmlinux"), vmlinux).context("cannot write the kernel image")?;
    // Last, for newer packages have the config and the image among the modules.
    fs::rename(&modules, own_modules.join(name)).context("cannot move the modules")?;
    cmd::output(Command::new(cmd::require("depmod")?).arg("-b").arg(kernel).arg(name))?;
    Ok(())
}

fn is_boot_image(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz"))
}

fn find_file(dir: &Path, wanted: &dyn Fn(&Path) -> bool) -> Result<Option<PathBuf>> {
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let entry = entry?;
        let path = entry.path();
        let kind = entry.file_type()?;
        if kind.is_file() && wanted(&path) {
            return Ok(Some(path));
        }
        if kind.is_dir()
            && let Some(found) = find_file(&path, wanted)?
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The ELF image inside a bzImage (x86 boot protocol 2.08 and later: the setup header says where it lies).
fn uncompressed(image: &[u8]) -> Result<Vec<u8>> {
    let word = |at: usize| image.get(at..at + 4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize);
    let (offset, length) = (word(0x248), word(0x24c));
    let (Some(setup_sectors), Some(offset), Some(length)) = (image.get(0x1f1), offset, length) else {
        bail!("too short for a bzImage");
    };
    let setup_sectors = if *setup_sectors == 0 { 4 } else { usize::from(*setup_sectors) };
    let start = (setup_sectors + 1) * 512 + offset;
    let payload = image.get(start..start + length).context("the payload lies beyond the end")?;
    let tool: &[&str] = match payload {
        [0x28, 0xb5, 0x2f, 0xfd, ..] => &["zstd", "-dcq"],
        [0xfd, 0x37, 0x7a, 0x58, ..] => &["xz", "-dc"],
        [0x02, 0x21, 0x4c, 0x18, ..] => &["lz4", "-dcq"],
        [0x1f, 0x8b, ..] => &["gzip", "-dc"],
        _ => bail!("unknown compression"),
    };
    let mut file = tempfile::tempfile().context("cannot create a temporary file")?;
    file.write_all(payload).context("cannot write a temporary file")?;
    std::io::Seek::rewind(&mut file).context("cannot rewind a temporary file")?;
    let bytes = decompress(tool, file)?;
    ensure!(bytes.starts_with(b"\x7fELF"), "{} made no ELF image of it", tool[0]);
    Ok(bytes)
}

/// What a decompressor makes of a file. Its exit status says nothing: a size word follows a kernel's compressed data,
/// and each tool complains about it after the fact; callers look at the bytes.
fn decompress(tool: &[&str], input: File) -> Result<Vec<u8>> {
    let mut child = Command::new(cmd::require(tool[0])?)
        .args(&tool[1..])
        .stdin(Stdio::from(input))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot run {}", tool[0]))?;
    let mut bytes = Vec::new();
    if let Some(mut output) = child.stdout.take() {
        output.read_to_end(&mut bytes).with_context(|| format!("cannot read from {}", tool[0]))?;
    }
    child.wait().with_context(|| format!("cannot wait for {}", tool[0]))?;
    Ok(bytes)
}

fn with_bpf(lsm: &str) -> String {
    if lsm.is_empty() {
        return "lockdown,yama,integrity,apparmor,bpf".to_owned();
    }
    if lsm.split(',').any(|name| name == "bpf") { lsm.to_owned() } else { format!("{lsm},bpf") }
}

/// Whether `name` is `version` or a version below it: 6.1 has 6.1.0-56 but not 6.12.
fn is_version_of(name: &str, version: &str) -> bool {
    name.strip_prefix(version).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '+', '-']))
}

/// Orders version strings as people do: runs of digits by value, all else by character.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let (head_a, rest_a) = chunk(a);
        let (head_b, rest_b) = chunk(b);
        let order = match (head_a.parse::<u64>(), head_b.parse::<u64>()) {
            (Ok(number_a), Ok(number_b)) => number_a.cmp(&number_b),
            _ => head_a.cmp(head_b),
        };
        if order != Ordering::Equal || head_a.is_empty() {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
}

fn chunk(text: &str) -> (&str, &str) {
    let digits = text.starts_with(|c: char| c.is_ascii_digit());
    let end = text.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn versions_are_ordered_by_number() {
        let mut names = ["6.12.9+deb13", "6.12.117+deb13", "6.12.117+deb12", "6.1.0-56"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["6.1.0-56", "6.12.9+deb13", "6.12.117+deb12", "6.12.117+deb13"]);
    }

    #[test]
    fn a_prefix_ends_at_a_version_boundary() {
        assert!(is_version_of("6.1.0-56-cloud-amd64", "6.1"));
        assert!(is_version_of("6.12.117+deb13-cloud-amd64", "6.12.117"));
        assert!(!is_version_of("6.12.117+deb13-cloud-amd64", "6.1"));
    }

    #[test]
    fn bpf_joins_the_security_modules_once() {
        assert_eq!(with_bpf("lockdown,yama"), "lockdown,yama,bpf");
        assert_eq!(with_bpf("lockdown,bpf"), "lockdown,bpf");
    }

    #[test]
    fn kernel_image_is_unpacked_in_spite_of_its_size_word() {
        let dir = tempfile::tempdir().unwrap();
        let elf = dir.path().join("elf");
        fs::write(&elf, [b"\x7fELF".as_slice(), &[7; 5000]].concat()).unwrap();
        let mut payload = Command::new("gzip").arg("-c").arg(&elf).output().unwrap().stdout;
        payload.extend(5004_u32.to_le_bytes());
        let mut image = vec![0; 1024 + 16];
        image[0x1f1] = 1;
        image[0x248..0x24c].copy_from_slice(&16_u32.to_le_bytes());
        image[0x24c..0x250].copy_from_slice(&u32::try_from(payload.len()).unwrap().to_le_bytes());
        image.extend(&payload);
        assert_eq!(uncompressed(&image).unwrap(), fs::read(&elf).unwrap());
        assert!(uncompressed(&image[..1050]).is_err());
    }
}
