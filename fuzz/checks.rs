//! What must hold for any input. The fuzz targets look for one for which it does not; the tests of `rules` run the corpus.

use rules::{
    Command, Dialect, Listing, Loader, NoHost, Parsed, Plan, RuleSet, Severity, Source, parse, print, refusal,
};

fn read(text: &[u8]) -> Parsed {
    parse(&[Source { name: None, text: text.to_vec() }], &NoHost)
}

/// A rule file: read, told about, listed, written back, formatted, planned.
pub fn rule_file(text: &[u8]) {
    let parsed = read(text);
    for diagnostic in &parsed.diagnostics {
        let shown = diagnostic.to_string();
        assert!(!shown.chars().any(|character| character.is_control() && character != '\n'));
    }
    for dialect in [Dialect::V3, Dialect::V4] {
        for interpret in [false, true] {
            assert!(parsed.ruleset.list(&Listing { dialect, interpret, key: None }).ends_with(b"\n"));
        }
    }
    for rule in parsed.ruleset.rules() {
        let back = read(&print::canonical(rule));
        assert!(back.ruleset.rules().any(|back| back.is_same_as(rule)));
        assert!(refusal::obstacles(rule).is_empty() || !rule.action.refuses());
    }
    let formatted = rules::format(text);
    assert_eq!(rules::format(&formatted), formatted);
    let after = read(&formatted);
    assert_eq!(parsed.ruleset.len(), after.ruleset.len());
    assert!(parsed.ruleset.rules().zip(after.ruleset.rules()).all(|(one, other)| one.is_same_as(other)));
    let _ = Plan::compile(&parsed.ruleset);
}

/// Arguments of auditctl, separated by NUL bytes: what is right asks for something, what is wrong says why.
pub fn command_line(arguments: &[u8]) {
    let words: Vec<Vec<u8>> = arguments.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
    let (line, commands, diagnostics) = Loader::new(&NoHost).command_line(&words);
    let failed = diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
    assert!(!failed || commands.is_empty());
    for diagnostic in &diagnostics {
        assert!(diagnostic.column() > 0 && diagnostic.span.start <= line.text.len());
        let _ = diagnostic.to_string();
    }
    let mut ruleset = RuleSet::default();
    for command in commands {
        let _ = command.notice(Dialect::V4);
        let appends = matches!(command, Command::Append(_));
        // Only a rule to delete can be absent from an empty set.
        assert!(ruleset.apply(command.clone(), &line).is_ok() || !appends);
        if appends {
            assert!(ruleset.apply(command, &line).is_err());
        }
    }
    let _ = ruleset.list_text(Dialect::V4);
}
