//! `builtin_af_unix`: records for who connects to a socket, one at a time, as auditd does.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::{Port, Wrote, wrote};

/// Where readers look for it.
const PATH: &str = "/run/audit/audispd_events";
/// Mode without `args`.
const MODE: u32 = 0o640;

/// See the module's documentation.
pub(super) struct AfUnix {
    path: PathBuf,
    listener: UnixListener,
    client: Option<UnixStream>,
    /// Whether the client that is connected was given part of a record.
    torn: bool,
}

impl AfUnix {
    /// `args`: mode and path, in any order.
    pub(super) fn listen(args: &[String]) -> Result<Self, String> {
        let (mut mode, mut path) = (MODE, PathBuf::from(PATH));
        for arg in args {
            if arg.starts_with('/') {
                path = PathBuf::from(arg);
            } else {
                let octal = u32::from_str_radix(arg, 8).ok().filter(|mode| mode & !0o666 == 0);
                mode = octal.ok_or_else(|| format!("`{arg}` is neither a mode like 0640 nor an absolute path"))?;
            }
        }
        let listener = bind(&path, mode).map_err(|error| format!("cannot listen on {}: {error}", path.display()))?;
        Ok(Self { path, listener, client: None, torn: false })
    }

    /// Takes whoever waits, where nobody is connected. Called at the beginning of events only.
    fn accept(&mut self) {
        if self.client.is_some() {
            return;
        }
        if let Ok((client, _)) = self.listener.accept()
            && client.set_nonblocking(true).is_ok()
        {
            self.client = Some(client);
        }
    }
}

fn bind(path: &Path, mode: u32) -> io::Result<UnixListener> {
    if let Some(directory) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
    }
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(io::Error::other("something other than a socket is there"));
        }
        // Of a daemon before.
        Ok(_) => fs::remove_file(path)?,
        Err(_) => {}
    }
    // Until its mode is set only the owner may connect, as the umask of daemons leaves nobody else to write.
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

impl Port for AfUnix {
    fn write(&mut self, bytes: &[u8]) -> Wrote {
        if !self.torn {
            self.accept();
        }
        let Some(client) = &mut self.client else { return Wrote::Nobody };
        let Some(wrote) = wrote(client.write(bytes)) else {
            self.client = None;
            self.torn = false;
            return Wrote::Again(Instant::now());
        };
        if let Wrote::Bytes(count) = wrote {
            self.torn = count < bytes.len();
        }
        wrote
    }

    fn close(&mut self) {
        self.client = None;
        // It may be gone already.
        let _ = fs::remove_file(&self.path);
    }
}
