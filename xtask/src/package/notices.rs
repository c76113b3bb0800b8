//! Licences and notices of the crates in the program, which many of them ask to be handed on with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::cmd;
use crate::workspace::Workspace;

const PACKAGE: &str = "auditd-bpf";
const TARGET: &str = "x86_64-unknown-linux-gnu";
/// How names of files with such texts begin.
const TEXTS: [&str; 5] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE"];

/// Each text once, below the crates that it comes with.
pub fn of_crates(workspace: &Workspace) -> Result<String> {
    let metadata = metadata(workspace)?;
    let mut texts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in foreign(&metadata)? {
        let word = |key: &str| package[key].as_str().unwrap_or_default();
        let title = format!("{} {} ({})", word("name"), word("version"), word("license"));
        let directory = Path::new(word("manifest_path")).parent().context("a manifest in no directory")?;
        let of_crate = texts_in(directory)?;
        if of_crate.is_empty() {
            texts.entry("It comes without a text of its licence.\n".to_owned()).or_default().insert(title);
            continue;
        }
        for text in of_crate {
            texts.entry(text).or_default().insert(title.clone());
        }
    }
    ensure!(!texts.is_empty(), "no crate has a licence");
    let mut sections: Vec<_> = texts.into_iter().map(|(text, crates)| (crates, text)).collect();
    sections.sort();
    let mut all = "Crates that auditd-bpf is linked with, and their licences.\n".to_owned();
    for (crates, text) in sections {
        let crates: Vec<_> = crates.iter().map(String::as_str).collect();
        write!(all, "\n{}\n{}\n\n{}\n", "-".repeat(80), crates.join("\n"), text.trim())?;
    }
    Ok(all)
}

fn metadata(workspace: &Workspace) -> Result<Value> {
    let mut metadata = workspace.cargo("metadata");
    metadata.args(["--format-version", "1", "--locked", "--filter-platform", TARGET]);
    serde_json::from_str(&cmd::output(&mut metadata)?).context("cargo metadata is no JSON")
}

/// All that is linked into the program and is not ours.
fn foreign(metadata: &Value) -> Result<Vec<&Value>> {
    let packages: BTreeMap<&str, &Value> = by_id(&metadata["packages"]);
    let linked = linked(&by_id(&metadata["resolve"]["nodes"]), &packages)?;
    let packages = linked.into_iter().filter_map(|id| packages.get(id).copied());
    Ok(packages.filter(|package| !package["source"].is_null()).collect())
}

fn by_id(list: &Value) -> BTreeMap<&str, &Value> {
    let entries = list.as_array().into_iter().flatten();
    entries.filter_map(|entry| Some((entry["id"].as_str()?, entry))).collect()
}

/// All that is linked into the program: neither what builds it nor what tests it.
fn linked<'a>(
    nodes: &BTreeMap<&'a str, &'a Value>,
    packages: &BTreeMap<&'a str, &'a Value>,
) -> Result<BTreeSet<&'a str>> {
    let root = packages.iter().find(|(_, package)| package["name"] == PACKAGE).map(|(id, _)| *id);
    let mut waiting = vec![root.with_context(|| format!("no package {PACKAGE}"))?];
    let mut found = BTreeSet::new();
    while let Some(id) = waiting.pop() {
        if !found.insert(id) {
            continue;
        }
        let uses = nodes.get(id).and_then(|node| node["deps"].as_array()).into_iter().flatten();
        let is_linked = |kind: &Value| kind["kind"].is_null();
        let uses = uses.filter(|used| used["dep_kinds"].as_array().is_some_and(|kinds| kinds.iter().any(is_linked)));
        waiting.extend(uses.filter_map(|used| used["pkg"].as_str()));
    }
    Ok(found)
}

fn texts_in(directory: &Path) -> Result<BTreeSet<String>> {
    let entries = fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let is_text = |path: &Path| {
        let name = path.file_name().map(|name| name.to_string_lossy().to_uppercase()).unwrap_or_default();
        path.is_file() && TEXTS.iter().any(|start| name.starts_with(start))
    };
    let paths = entries.flatten().map(|entry| entry.path()).filter(|path| is_text(path));
    let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    paths.map(|path| Ok(String::from_utf8_lossy(&read(&path)?).replace("\r\n", "\n"))).collect()
}

#[cfg(test)]
mod test {
    use super::*;

    /// cargo-deny asks the same of all crates, where it is installed: this is for whoever only runs the tests.
    #[test]
    fn crates_that_are_linked_come_under_licences_that_deny_toml_allows() {
        let workspace = Workspace::discover().unwrap();
        let deny = fs::read_to_string(workspace.root.join("deny.toml")).unwrap();
        let deny: toml::Table = deny.parse().unwrap();
        let allowed: Vec<&str> =
            deny["licenses"]["allow"].as_array().unwrap().iter().filter_map(toml::Value::as_str).collect();
        let metadata = metadata(&workspace).unwrap();
        let packages = foreign(&metadata).unwrap();
        assert!(packages.len() > 50, "{} crates", packages.len());
        for package in packages {
            let licence = package["license"].as_str().unwrap_or_default();
            let terms = spdx::Expression::parse_mode(licence, spdx::ParseMode::LAX).unwrap();
            let is_allowed =
                |licence: &spdx::LicenseReq| licence.license.id().is_some_and(|id| allowed.contains(&id.name));
            assert!(terms.evaluate(is_allowed), "{}: {licence}", package["name"]);
        }
    }

    #[test]
    fn crates_that_are_linked_have_their_texts_and_others_are_not_named() {
        let text = of_crates(&Workspace::discover().unwrap()).unwrap();
        // Of a crate whose licence asks for it, of one that a dependency brings, and of none for tests, building or other systems.
        assert!(
            text.contains("\nring 0.") && text.contains("\nzstd-sys 2.") && text.contains("\nzlib-rs 0."),
            "{text}"
        );
        for foreign in ["\nproptest ", "\ncc ", "\nclap_mangen ", "\nwindows-sys ", "\nauditd-bpf "] {
            assert!(!text.contains(foreign), "{foreign}");
        }
        assert!(text.contains("Permission to use, copy, modify, and/or distribute"), "{text}");
    }
}
