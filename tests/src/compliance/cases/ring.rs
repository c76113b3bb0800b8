//! Acts submitted through an io_uring.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use anyhow::{Result, ensure};
use nix::libc;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::acts::{as_user, files};
use crate::compliance::case::Case;
use crate::place::Place;
use crate::sys::{Operation, c_path, through_ring};

pub const CASES: &[Case] = &[
    Case::new(
        "ring_files",
        "-a always,io_uring -S openat,unlinkat,renameat,mkdirat,symlinkat,linkat -F auid={auid} -k {key}",
        changes,
    )
    .prepared(files),
    Case::new("ring_sockets", "-a always,io_uring -S connect -F auid={auid} -k {key}", connects),
    Case::new("ring_of_a_user", "-a always,io_uring -S openat -F auid={auid} -F uid=1000 -k {key}", of_a_user)
        .prepared(files),
    Case::new(
        "ring_never",
        "-a never,io_uring -S openat -F auid={auid}\n-a always,io_uring -S openat,mkdirat -F auid={auid} -k {key}",
        changes,
    )
    .prepared(files),
    // What is submitted is no such call, neither in the task nor in the kernel's worker.
    Case::new(
        "ring_is_no_call",
        "-a always,exit -F arch=b64 -S openat,open,unlinkat,unlink,rename,renameat,mkdirat,connect -F auid={auid} -k {key}",
        changes,
    )
    .prepared(files)
    .silent(),
    Case::new("ring_watched", "-w {dir}/d -p wa -k {key}", changes).prepared(files).silent(),
];

fn changes(place: &Place) -> Result<()> {
    let name = |name: &str| c_path(&place.path(name));
    let create = libc::O_CREAT | libc::O_WRONLY;
    let (new, other, directory) = (name("d/new")?, name("d/other")?, name("d/made")?);
    let (file, absent) = (name("d/f")?, name("d/absent")?);
    let done = through_ring(&[
        Operation::Open(&file, libc::O_RDONLY),
        Operation::Open(&file, libc::O_WRONLY),
        Operation::Open(&new, create),
        Operation::Rename(&new, &other),
        Operation::MakeDirectory(&directory),
        Operation::RemoveDirectory(&directory),
        Operation::Link(&other, &new),
        Operation::Unlink(&new),
        Operation::Symlink(c"nowhere", &new),
        Operation::Unlink(&new),
        Operation::Unlink(&other),
        Operation::Open(&absent, libc::O_RDONLY),
        Operation::Unlink(&absent),
    ])?;
    let (failed, worked) = (&done[11..], &done[..11]);
    ensure!(worked.iter().all(|result| *result >= 0), "operations failed: {done:?}");
    ensure!(failed == [-libc::ENOENT; 2], "operations on what is absent: {failed:?}");
    Ok(())
}

fn connects(_: &Place) -> Result<()> {
    let local = socket(AddressFamily::Unix, SockType::Stream, SockFlag::empty(), None)?;
    let network = socket(AddressFamily::Inet, SockType::Stream, SockFlag::empty(), None)?;
    // struct sockaddr_in: a port of the local host that nobody listens on.
    let port = [2, 0, 0, 9, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    let done = through_ring(&[
        Operation::Connect(local.as_fd(), b"\x01\0/no/such/socket\0"),
        Operation::Connect(network.as_fd(), &port),
    ])?;
    ensure!(done == [-libc::ENOENT, -libc::ECONNREFUSED], "connecting gave {done:?}");
    Ok(())
}

fn of_a_user(place: &Place) -> Result<()> {
    let file = c_path(&place.path("d/f"))?;
    let null = File::open(Path::new("/dev/zero"))?;
    let acts = || {
        through_ring(&[Operation::Open(c"/dev/null", libc::O_RDONLY), Operation::Read(null.as_fd())])?;
        through_ring(&[Operation::Open(&file, libc::O_RDONLY)])?;
        Ok(())
    };
    acts()?;
    as_user(acts)
}
