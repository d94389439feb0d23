//! The help, and the commands that `docs/operators.md` and `docs/team.md` show.

use crate::sandbox::{Sandbox, snapshot};
use std::path::Path;

const OPERATORS: &str = include_str!("../../../../docs/operators.md");
const TEAM: &str = include_str!("../../../../docs/team.md");

#[test]
fn session_of_the_operators_page_runs() {
    type_session(&Sandbox::new(), OPERATORS);
}

/// At the end Alice can read, and the key of the laptop that was lost opens nothing.
#[test]
fn session_of_the_team_page_runs() {
    let sandbox = Sandbox::new();
    type_session(&sandbox, TEAM);
    sandbox.run(&["list", "demo/prod"]).expect(0);
    let lost = format!("age:{}", sandbox.path("bob/statectl/key").display());
    let checked = sandbox
        .run(&["check", "--all", "--json", "--encrypter", &lost])
        .expect(5);
    let checked: serde_json::Value = serde_json::from_str(&checked.out).unwrap();
    let stacks = checked["stacks"].as_array().unwrap();
    assert!(
        stacks.len() == 2 && stacks.iter().all(|stack| stack["opened"] == 0),
        "{checked}"
    );
}

/// A page is one session: its commands run one after the other, in the directory of a project.
fn type_session(sandbox: &Sandbox, page: &str) {
    sandbox.write("state.json", &snapshot("prod", "first"));
    let blocks = page.split("```console\n").skip(1);
    let commands: Vec<&str> = blocks
        .flat_map(|block| block.split("```").next().unwrap().lines())
        .filter_map(|line| line.strip_prefix("$ "))
        .collect();
    assert!(commands.len() > 10, "{commands:?}");
    let program = Path::new(env!("CARGO_BIN_EXE_statectl")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let mut shell = std::process::Command::new("sh");
    let environment = sandbox.command(&[]);
    let environment = environment
        .get_envs()
        .filter_map(|(name, value)| Some((name, value?)));
    shell
        .args(["-e", "-u", "-x", "-c", &commands.join("\n")])
        .current_dir(sandbox.path(""))
        .env_clear()
        .envs(environment)
        .env("PATH", path);
    let output = shell.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The commands and options that the page names in its sentences exist.
#[test]
fn commands_that_the_operators_page_names_exist() {
    let sandbox = Sandbox::new();
    let names = command_names(&sandbox);
    let every_help: String = names.iter().map(|name| help_of(&sandbox, name)).collect();
    let mut seen = 0;
    for quoted in OPERATORS.split('`').skip(1).step_by(2) {
        let words: Vec<&str> = quoted.trim_start_matches("statectl ").split(' ').collect();
        let named = |name: &&String| words.join(" ").starts_with(name.as_str());
        let help = match names.iter().find(named) {
            Some(name) => help_of(&sandbox, name),
            None if words[0].starts_with("--") => every_help.clone(),
            None => continue,
        };
        seen += 1;
        for option in words.iter().filter(|word| word.starts_with("--")) {
            assert!(help.contains(option), "{option} of {quoted}");
        }
    }
    assert!(seen > 20, "{seen}");
}

/// The help, the operators page and the crate's documentation list the same exit codes.
#[test]
fn exit_codes_are_documented_alike_in_three_places() {
    let help = Sandbox::new().answer(&["--help"]);
    let codes = help.lines().skip_while(|line| *line != "Exit codes:").skip(1);
    let rows: Vec<String> = codes
        .map_while(|line| line.trim().split_once(' '))
        .map(|(code, meaning)| {
            format!(
                "| {code} | {} |",
                meaning.trim().replace("of `statectl lock`", "of `lock`")
            )
        })
        .collect();
    assert_eq!(rows.len(), 9, "{rows:?}");
    let crate_page = include_str!("../../src/lib.rs").replace("of `statectl lock`", "of `lock`");
    for row in rows {
        assert!(OPERATORS.contains(&row), "{row}");
        assert!(crate_page.contains(&format!("/// {row}")), "{row}");
    }
}

fn help_of(sandbox: &Sandbox, name: &str) -> String {
    let words = name.split(' ').filter(|word| !word.is_empty());
    sandbox.answer(&words.chain(["--help"]).collect::<Vec<_>>())
}

/// Every command that has no commands of its own, such as `key add`.
fn command_names(sandbox: &Sandbox) -> Vec<String> {
    let mut names = Vec::new();
    let mut groups = vec![String::new()];
    while let Some(group) = groups.pop() {
        let help = help_of(sandbox, &group);
        let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
        let below: Vec<String> = commands
            .take_while(|line| !line.is_empty())
            .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
            .filter(|name| !name.is_empty() && *name != "help")
            .map(|name| format!("{group} {name}").trim().to_owned())
            .collect();
        match below.is_empty() {
            true => names.push(group),
            false => groups.extend(below),
        }
    }
    names
}

#[test]
fn help_of_every_command_has_an_example() {
    let sandbox = Sandbox::new();
    let names = command_names(&sandbox);
    assert!(names.len() >= 22, "{names:?}");
    for name in names {
        let help = help_of(&sandbox, &name);
        assert!(help.contains("Example:\n  statectl "), "{help}");
    }
}
