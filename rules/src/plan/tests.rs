use auditd_bpf_common::plan_rows::Row;
use auditd_bpf_common::wire::verdict;
use proptest::prelude::*;
use tables::{Arch, Field, FilterList, Op, syscalls};

use super::{Plan, contains};
use crate::{NoHost, Source, parse};

fn compile(text: &str) -> Result<Plan, Vec<String>> {
    let parsed = parse(&[Source { name: Some("test.rules".into()), text: text.as_bytes().to_vec() }], &NoHost);
    let (ruleset, _) = parsed.into_loadable().expect("the rules parse");
    Plan::compile(&ruleset).map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

fn plan(text: &str) -> Plan {
    compile(text).expect("the rules compile")
}

fn names(plan: &Plan, arch: Arch) -> Vec<&'static str> {
    plan.syscalls.keys().filter(|call| call.0 == arch).filter_map(|call| syscalls::name(arch, call.1)).collect()
}

#[test]
fn a_watch_attaches_to_the_calls_of_its_perm_on_both_abis() {
    let plan = plan("-w /etc/passwd -p x -k k\n");
    assert_eq!(names(&plan, Arch::B64), ["execve", "execveat"]);
    assert_eq!(names(&plan, Arch::B32), ["execve", "execveat"]);
    let hooks = ["bprm_check_security", "bprm_creds_from_file", "get_vfs_caps_from_disk", "may_open"];
    assert_eq!(plan.hooks.iter().copied().collect::<Vec<_>>(), hooks);
    assert!(!contains(&plan.no_object, 0));
}

#[test]
fn perm_narrows_named_calls_and_opens_are_left_to_their_access() {
    let plan = plan("-a always,exit -F arch=b64 -S unlink,openat,chmod -F path=/a -F perm=w\n");
    assert_eq!(names(&plan, Arch::B64), ["unlink", "openat"]);
    assert!(names(&plan, Arch::B32).is_empty());
    let allowed: Vec<usize> = (0..8).filter(|access| contains(&plan.perms[*access], 0)).collect();
    assert_eq!(allowed, [2, 3, 6, 7]);
}

#[test]
fn a_path_without_perm_or_call_means_every_call_on_files() {
    let plan = plan("-a always,exit -F dir=/srv\n");
    let b64 = names(&plan, Arch::B64);
    assert!(b64.contains(&"openat") && b64.contains(&"execve") && b64.contains(&"renameat2"));
    assert!(
        b64.contains(&"connect") && b64.contains(&"access"),
        "a local socket is a file, and so is what is looked up"
    );
    assert!(!b64.contains(&"socket") && !b64.contains(&"getpid"));
}

#[test]
fn rules_about_failures_need_no_hook_behind_the_checks() {
    let plan = plan("-a always,exit -F arch=b64 -S openat -F exit=-EACCES -k k\n");
    assert_eq!(plan.hooks.iter().copied().collect::<Vec<_>>(), ["may_open"]);
    assert!(!contains(&plan.success, 0));
    let both = self::plan(
        "-a always,exit -F arch=b64 -S openat -F success=0 -k a\n-a always,exit -F arch=b64 -S openat -F success=1 -k b\n",
    );
    assert!(both.hooks.contains("file_open"));
    assert!(!contains(&both.success, 0) && contains(&both.success, 1));
}

#[test]
fn what_cannot_be_done_is_pointed_at_and_nothing_is_compiled() {
    for (rule, part) in [
        ("-a always,exit -F arch=b64 -S open -F subj_type=a_t", "subj_type=a_t"),
        ("-a always,exit -F arch=b64 -S open -F obj_user=a_u", "obj_user=a_u"),
    ] {
        let errors = compile(&format!("-w /etc/passwd -p w\n{rule}\n")).expect_err(rule);
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].starts_with("test.rules:2:"), "{}", errors[0]);
        let caret = errors[0].lines().find(|line| line.trim_start_matches([' ', '|']).starts_with('^'));
        let width = caret.map_or(0, |line| line.matches(['^', '~']).count());
        assert_eq!(width, part.len(), "{}", errors[0]);
    }
}

#[test]
fn rules_that_refuse_name_their_hooks_and_every_way_to_the_act() {
    let plan = plan("-a deny,exit -F arch=b64 -S unlink,openat -F dir=/a -F errno=EACCES\n-w /b -p w\n");
    let refusal = plan.rules[0].refusal.expect("it refuses");
    assert_eq!((refusal.verdict, refusal.errno), (verdict::DENY, 13));
    assert!(plan.rules[1].refusal.is_none());
    let call = |name| &plan.syscalls[&(Arch::B64, syscalls::number(Arch::B64, name).expect("a call"))];
    assert_eq!(call("unlink").refusing, ["path_unlink"]);
    assert_eq!(call("openat").refusing, ["file_open", "path_mknod", "path_truncate", "file_truncate"]);
    assert!(call("rename").refusing.is_empty(), "only the watch names it");
    // Through an io_uring as well.
    assert_eq!(plan.rules[0].operations, [18]);
    assert!(plan.refuses_in("file_open") && !plan.refuses_in("path_rename"));
}

#[test]
fn opens_upon_a_task_pass_the_hook_that_is_shown_it() {
    let of_task = "-a deny,exit -F arch=b64 -S openat,kill -F obj_pid=7 -F perm=w\n";
    let of_file = "-a deny,exit -F arch=b64 -S openat -F path=/a -F perm=w\n";
    let hook = "ptrace_access_check";
    // Whichever comes last.
    for (text, expected) in [
        (of_task.to_owned(), true),
        (of_file.to_owned(), false),
        (of_task.to_owned() + of_file, true),
        (of_file.to_owned() + of_task, true),
    ] {
        let plan = plan(&text);
        let openat = &plan.syscalls[&(Arch::B64, syscalls::number(Arch::B64, "openat").expect("a call"))];
        assert_eq!((openat.refusing.contains(&hook), openat.hooks.contains(&hook)), (expected, expected), "{text}");
        assert!(openat.refusing.contains(&"file_open"), "{text}");
    }
}

#[test]
fn refusing_to_execute_a_file_is_refusing_to_map_it() {
    let names_maps = |text| names(&plan(text), Arch::B64).contains(&"mmap");
    assert!(names_maps("-w /a -p x --action deny\n"));
    assert!(!names_maps("-w /a -p x\n") && !names_maps("-w /a -p w --action deny\n"));
    assert!(!names_maps("-a deny,exit -F perm=x -F uid=7\n"), "else he could run nothing");
    assert_eq!(
        plan("-w /a -p x --action deny\n").refusing.into_iter().collect::<Vec<_>>(),
        ["file_mprotect", "mmap_file"]
    );
}

#[test]
fn refusing_to_open_a_file_is_refusing_to_open_it_by_handle() {
    let by_handle = |text| names(&plan(text), Arch::B64).contains(&"open_by_handle_at");
    for rule in ["-w /a -p r --action deny\n", "-w /a -p w --action deny\n", "-a kill,exit -F dir=/a -F perm=rx\n"] {
        assert!(by_handle(rule), "{rule}");
    }
    for rule in ["-w /a -p r\n", "-w /a -p a --action deny\n", "-a deny,exit -F arch=b64 -S openat -F path=/a\n"] {
        assert!(!by_handle(rule), "{rule}");
    }
}

#[test]
fn a_dry_run_only_tells_and_results_are_known_too_late() {
    let plan = plan("-w /a -p w --action kill --dry-run\n-a never,exit -F arch=b64 -S unlink -F success=0\n");
    assert_eq!(plan.rules[0].refusal.map(|refusal| refusal.verdict), Some(verdict::WOULD_DENY));
    assert!(contains(&plan.before, 0) && !contains(&plan.before, 1));
}

#[test]
fn more_rules_than_the_kernel_side_holds_are_refused() {
    let rules: String = (0..1025).map(|n| format!("-w /etc/file{n} -p w\n")).collect();
    assert!(compile(&rules).expect_err("too many")[0].contains("at most 1024"));
}

const OPS: [Op; 6] = [Op::Equal, Op::NotEqual, Op::Less, Op::LessOrEqual, Op::Greater, Op::GreaterOrEqual];

/// Values that sit on edges and near each other.
fn value() -> impl Strategy<Value = u32> {
    prop_oneof![0u32..6, Just(1000), Just(u32::MAX), Just(u32::MAX - 1), any::<u32>()]
}

proptest! {
    /// The oracle: each rule's tests, one by one, as the kernel's `audit_comparator` does.
    #[test]
    fn intervals_agree_with_the_tests_one_by_one(
        rules in prop::collection::vec(prop::collection::vec((0usize..6, value()), 0..3), 1..70),
        probes in prop::collection::vec(value(), 1..20),
    ) {
        let text: String = rules.iter().enumerate().map(|(n, tests)| {
            let tests: String = tests.iter().map(|(op, value)| format!(" -F a0{}{value}", OPS[*op].symbol())).collect();
            format!("-a always,exit -F arch=b64 -S unlink{tests} -k key{n}\n")
        }).collect();
        let plan = plan(&text);
        let field = super::intervals::ordered_field(Field::A0).expect("a0 is ordered");
        for probe in probes {
            let row = plan.intervals.get(&field).map(|intervals| {
                intervals.iter().rev().find(|(start, _)| *start <= probe).expect("the first starts at 0").1
            });
            for (index, tests) in rules.iter().enumerate() {
                let expected = tests.iter().all(|(op, against)| OPS[*op].holds(probe, *against));
                prop_assert_eq!(row.as_ref().is_none_or(|row| contains(row, index)), expected, "rule {} at {}", index, probe);
            }
        }
    }
}

#[test]
fn operations_of_rings_are_named_by_their_list_and_by_watches() {
    let operations = |rule: &str| {
        let plan = plan(rule);
        let names = plan.operations.keys().filter_map(|number| tables::io_uring_op_name(u32::from(*number)));
        (names.collect::<Vec<_>>(), plan.syscalls.len())
    };
    assert_eq!(operations("-a always,io_uring -S openat,read -F uid=0\n"), (vec!["openat", "read"], 0));
    let (all, _) = operations("-a always,io_uring -F uid=0\n");
    assert!(all.contains(&"connect") && !all.contains(&"read"), "{all:?}");
    let (watched, _) = operations("-w /etc/passwd -p wa\n");
    assert!(
        watched.contains(&"openat") && watched.contains(&"renameat") && !watched.contains(&"connect"),
        "{watched:?}"
    );
    // What is submitted is no such call.
    assert_eq!(operations("-a always,exit -F arch=b64 -S openat -F path=/a\n").0, [""; 0]);
    assert_eq!(operations("-a always,exit -F arch=b32 -F path=/a -F perm=w\n").0, [""; 0]);
    assert_eq!(operations("-a always,exit -S all -F uid=0\n").0, [""; 0]);
}

#[test]
fn a_rule_about_operations_decides_before_a_watch() {
    let plan = plan("-w /a -p w\n-a never,io_uring -S openat\n");
    assert!(contains(&plan.operations[&18].rules, 0) && contains(&plan.operations[&18].rules, 1));
    assert!(contains(&plan.never, 0) && !contains(&plan.never, 1));
}

#[test]
fn look_ups_are_watched_only_for_who_needs_them() {
    let sees = |rule: &str| plan(rule).hooks.contains("path_lookupat");
    assert!(sees("-a always,exit -F arch=b64 -S access,chdir -k k\n"));
    assert!(sees("-a always,exit -F arch=b64 -S openat -F path=/a\n"), "O_PATH");
    assert!(sees("-w /a -p r\n"), "O_PATH reads");
    for rule in [
        "-w /a -p wxa\n",
        "-a always,exit -F arch=b64 -S openat,chmod,unlink,setxattr -k k\n",
        "-a always,exit -F arch=b64 -S openat -F path=/a -F success=0\n",
        "-a always,exit -F arch=b64 -S mount,umount2,execve,kill,bind,connect,sendto -k k\n",
    ] {
        assert!(!sees(rule), "{rule}");
    }
}

#[test]
fn a_task_that_is_recorded_is_told_by_the_mark_that_it_came_with() {
    let text = "-a never,exit -F arch=b64 -S unlink\n-a always,task -F auid=7\n-a never,task -F uid=0\n";
    let plan = plan(text);
    let lists: Vec<_> = plan.rules.iter().map(|planned| (planned.rule.list, planned.number)).collect();
    let task = FilterList::Task;
    assert_eq!(lists, [(task, 1), (task, 2), (task, 1), (FilterList::Exit, 1)]);
    let [came, _, recorded, _] = &plan.rules[..] else { panic!("{lists:?}") };
    assert!(came.marks.is_some() && came.marks == recorded.marked && recorded.text == came.text, "{recorded:?}");
    // Asked of tasks that come: the first two. Of calls: the third alone, whatever call, and not before it is made.
    let rules_of = |row: &Row| (0..4).filter(|rule| contains(row, *rule)).collect::<Vec<_>>();
    assert_eq!(rules_of(&plan.tasks), [0, 1]);
    let unlink = (Arch::B64, syscalls::number(Arch::B64, "unlink").expect("a call"));
    assert_eq!(rules_of(&plan.syscalls[&unlink].rules), [2, 3]);
    assert_eq!(rules_of(&plan.syscalls[&(Arch::B32, 1)].rules), [2]);
    assert!(plan.all_calls && !contains(&plan.before, 2));
    let reloaded = compile(&format!("{text}-w /etc/shadow -p wa\n")).expect("the rules compile");
    assert_eq!(reloaded.rules[2].marked, recorded.marked);
}
