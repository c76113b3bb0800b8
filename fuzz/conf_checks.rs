//! What must hold for any auditd.conf. The fuzz target looks for one for which it does not; a test of `auditd-bpf` runs the corpus.

use auditd_bpf::auditd_conf::parse;

/// An auditd.conf: read or refused, and then something can be told of it.
pub fn auditd_conf(text: &[u8]) {
    match parse(text) {
        Ok(conf) => {
            // Comments change nothing, and neither do line ends at the end.
            let commented = [b"# comment\n\n", text, b"\n"].concat();
            let mut again = parse(&commented).expect("it was right before");
            again.skipped.iter_mut().for_each(|line| *line -= 2);
            assert_eq!(again, conf);
            assert!(conf.num_logs <= 999 && conf.log_file.is_absolute());
            let _ = conf.notices();
        }
        Err(mistake) => {
            assert!(!mistake.message.is_empty() && !mistake.message.chars().any(char::is_control));
            let lines = text.split(|byte| *byte == b'\n').count();
            assert!(mistake.line.is_none_or(|line| (1..=lines).contains(&line)));
        }
    }
}
