use super::*;

fn auditctl(arguments: &[&str]) -> (u8, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let arguments: Vec<OsString> = arguments.iter().map(Into::into).collect();
    let status = run(&arguments, &mut out, &mut err).unwrap();
    (status, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

#[test]
fn usage_names_every_option() {
    let (status, out, _) = auditctl(&[]);
    assert_eq!(status, 1);
    assert!(out.starts_with("usage: auditctl [options]\n"));
    for option in ["-a ", "-A ", "-h, --help ", "--backlog_wait_time ", "--signal "] {
        assert!(out.contains(&format!("    {option}")), "{option} is not in:\n{out}");
    }
    assert_eq!(auditctl(&["--help"]).0, 0);
}

#[test]
fn others_than_root_are_told_so() {
    if is_root() {
        return;
    }
    for arguments in [&["-l"][..], &["-v"], &["-R", "/x"], &["--nonsense"]] {
        assert_eq!(auditctl(arguments), (4, String::new(), "You must be root to run this program.\n".to_owned()));
    }
}

#[test]
fn mistakes_need_no_daemon_and_end_with_255() {
    if !is_root() {
        return;
    }
    for (arguments, message) in [
        (&["-a", "always,exit", "-F", "uid"][..], "-F missing operation for uid"),
        (&["-w", "etc"], "The path must start with '/'"),
        (&["-e", "3"], "Enable must be 0, 1, or 2 was 3"),
        (&["-D", "-k"], "Wrong number of options for Delete all request"),
        (&["-l", "x"], "Only -k or -i options are allowed"),
        (&["-S", "open"], "Error - no list specified"),
        (&["-m", "a\u{1}"], "Illegal character in audit event"),
        (&["-R", "a", "b"], "parameter passed without an option given"),
    ] {
        let (status, _, err) = auditctl(arguments);
        assert_eq!(status, 255, "{arguments:?}: {err}");
        assert_eq!(err.lines().next(), Some(message), "{arguments:?}");
        assert_eq!(err.lines().last(), Some(BAD_PARAMETERS), "{arguments:?}");
    }
    let (status, _, err) = auditctl(&["--signal", "boo"]);
    assert_eq!((status, err.as_str()), (1, "boo is an unsupported signal\n"));
}

#[test]
fn rule_files_that_are_not_to_be_trusted_are_not_read() {
    use std::os::unix::fs::PermissionsExt;
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.rules");
    let name = file.to_str().unwrap();
    let (status, _, err) = auditctl(&["-R", name]);
    assert_eq!((status, err), (1, format!("audit rules file {name} doesn't exist\n")));
    std::fs::write(&file, "-D\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
    let (status, _, err) = auditctl(&["-R", name]);
    assert_eq!(status, 1);
    assert!(err.starts_with(&format!("Error - {name} is world writable")), "{err}");
}

#[test]
fn lines_keep_their_numbers_and_blank_ones_are_left_out() {
    let source = Source { name: None, text: b"# c\n-D\n\n  -b 1 \n".to_vec() };
    let numbers: Vec<_> = lines(&source).into_iter().map(|line| (line.number, line.text.0)).collect();
    assert_eq!(numbers, [(2, b"-D".to_vec()), (4, b"  -b 1 ".to_vec())]);
}
