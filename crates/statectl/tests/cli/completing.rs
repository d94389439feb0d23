//! What shells offer: in bash, zsh and fish themselves, at a terminal, and what `statectl` tells their scripts.

use crate::sandbox::{Run, Sandbox, everything_in, skip, snapshot};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const PROD: &str = "demo/prod";
/// A shell that has not answered by then never does.
const PATIENCE: Duration = Duration::from_secs(60);

/// An interactive shell at a terminal of its own.
struct Shell {
    child: Child,
    keyboard: File,
    screen: Receiver<Vec<u8>>,
    /// What it has shown and nobody has waited for.
    shown: Vec<u8>,
}

impl Shell {
    /// Starts a shell with the completions of `statectl`, unless it is not installed.
    fn start(sandbox: &Sandbox, arguments: &[&str], setup: &str) -> Option<Self> {
        if let Err(error) = Command::new(arguments[0]).arg("--version").output() {
            skip(&format!("{}: {error}", arguments[0]));
            return None;
        }
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        let name = ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
        let side = || {
            let options = OpenOptions::new().read(true).write(true).open(&name);
            options.unwrap()
        };
        let programs = Path::new(env!("CARGO_BIN_EXE_statectl")).parent().unwrap();
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
        let environment = sandbox.command(&[]);
        let environment = environment
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?)));
        let script = "stty rows 60 cols 160; exec \"$@\"";
        let child = Command::new("setsid")
            .args(["--ctty", "--wait", "sh", "-c", script, "sh"])
            .args(arguments)
            .current_dir(sandbox.path(""))
            .env_clear()
            .envs(environment)
            .env("PATH", path)
            .env("TERM", "xterm")
            .env("LC_ALL", "C.UTF-8")
            .stdin(side())
            .stdout(side())
            .stderr(side())
            .spawn()
            .unwrap();
        let keyboard = File::from(terminal);
        let mut output = keyboard.try_clone().unwrap();
        let (show, screen) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length) = output.read(&mut buffer) {
                if show.send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        let mut shell = Self {
            child,
            keyboard,
            screen,
            shown: Vec::new(),
        };
        shell.run(setup);
        Some(shell)
    }

    fn type_in(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Types a command, with tabs in it, and waits until it has run.
    fn run(&mut self, keys: &str) {
        // What is typed does not read like what is printed.
        self.type_in(&format!("{keys}; echo 'fini''shed'\r"));
        self.wait_for(&["finished"]);
        self.type_in("\u{15}");
    }

    /// The answer of a command whose completions end it.
    fn answer(&mut self, sandbox: &Sandbox, keys: &str) -> String {
        self.run(&format!("{keys} > answer"));
        fs::read_to_string(sandbox.path("answer")).unwrap()
    }

    /// Waits until all of this is on the screen.
    #[track_caller]
    fn wait_for(&mut self, texts: &[&str]) -> String {
        loop {
            let shown = readable(&self.shown);
            if texts.iter().all(|text| shown.contains(text)) {
                self.shown.clear();
                return shown;
            }
            match self.screen.recv_timeout(PATIENCE) {
                Ok(bytes) => self.shown.extend(bytes),
                Err(_) => panic!("{texts:?} is not on the screen:\n{shown}"),
            }
        }
    }

    /// Types the beginning of a command, waits until all of this is offered, and clears the line.
    #[track_caller]
    fn offers(&mut self, keys: &str, texts: &[&str]) -> String {
        self.type_in(&format!("{keys}\t\t"));
        let shown = self.wait_for(texts);
        self.type_in("\u{3}");
        self.run("true");
        shown
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Without the sequences that move the cursor and change colours.
fn readable(screen: &[u8]) -> String {
    let text = String::from_utf8_lossy(screen);
    let mut readable = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\u{1b}' => {
                if characters.next() == Some('[') {
                    characters.by_ref().find(char::is_ascii_alphabetic);
                }
            }
            _ => readable.push(character),
        }
    }
    readable
}

/// With two revisions of demo/prod, and network/prod in another store.
fn stores() -> (Sandbox, [String; 2]) {
    let (sandbox, first) = Sandbox::with_snapshot("first");
    let second = sandbox.push("second", &["--message", "open port 443"]);
    sandbox.write("state.json", &snapshot("dev", "first"));
    sandbox.answer(&["push", "demo/dev", "state.json"]);
    let other = snapshot("prod", "first").replace("\"demo\"", "\"network\"");
    sandbox.write("state.json", &other);
    sandbox.answer(&["push", "network/prod", "state.json", "--root", "other"]);
    (sandbox, [first, second])
}

fn complete_in(shell: &mut Shell, stores: &(Sandbox, [String; 2]), shows_help: bool) {
    let (sandbox, [first, second]) = stores;
    // Commands and stacks.
    let answer = shell.answer(sandbox, "statectl curr\tdemo/p\t");
    assert_eq!(answer.trim_end(), second);
    shell.offers("statectl pull demo/", &[PROD, "demo/dev"]);
    let answer = shell.answer(sandbox, "STATECTL_WAIT=1s statectl curr\tdemo/p\t");
    assert_eq!(answer.trim_end(), second);
    // In the store that is typed; a directory is completed too.
    let answer = shell.answer(sandbox, "statectl stacks --root oth\t --json");
    assert!(answer.contains("network/prod"), "{answer}");
    let answer = shell.answer(sandbox, "statectl current --root other netw\t");
    assert!(!answer.is_empty());
    // A revision, across its colons.
    let beginning = &first[..first.len() - 2];
    let answer = shell.answer(sandbox, &format!("statectl pull {PROD} --rev {beginning}\t"));
    assert!(answer.contains("first"), "{answer}");
    let answer = shell.answer(sandbox, &format!("statectl pull {PROD} --rev={beginning}\t"));
    assert!(answer.contains("first"), "{answer}");
    let answer = shell.answer(sandbox, &format!("statectl pull {PROD} --rev '{beginning}\t"));
    assert!(answer.contains("first"), "{answer}");
    let mut texts = vec!["latest", "@-", first, second];
    if shows_help {
        texts.push("open port 443");
    }
    shell.offers(&format!("statectl pull {PROD} --rev "), &texts);
    // Addresses, options, kinds of keys, files.
    let answer = shell.answer(sandbox, &format!("statectl show {PROD} resource.d\t"));
    assert!(answer.contains("resource.database"), "{answer}");
    shell.offers(
        &format!("statectl show {PROD} "),
        &["resource.database", "action.migrate"],
    );
    shell.offers("statectl push --for", &["--force", "--format"]);
    shell.offers(
        "statectl list --encrypter ",
        &["age:", "env-key:", "passphrase", "noop"],
    );
    let answer = shell.answer(
        sandbox,
        &format!("statectl list --encrypter age:config/statectl/k\t{PROD}"),
    );
    assert!(answer.contains("resource.database"), "{answer}");
    shell.run("statectl push network/prod stat\t--root other --message done");
}

#[test]
fn bash_completes_at_a_terminal() {
    let stores = stores();
    let setup = "source <(statectl completions bash)";
    if let Some(mut shell) = Shell::start(&stores.0, &["bash", "--norc", "--noprofile", "-i"], setup) {
        complete_in(&mut shell, &stores, false);
    }
}

#[test]
fn zsh_completes_at_a_terminal() {
    let stores = stores();
    let setup = "autoload -Uz compinit; compinit -u -D; source <(statectl completions zsh)";
    if let Some(mut shell) = Shell::start(&stores.0, &["zsh", "-f", "-i"], setup) {
        complete_in(&mut shell, &stores, true);
    }
}

/// A file of `$fpath` is the function itself, and is run at the first tab.
#[test]
fn zsh_completes_with_a_script_in_fpath() {
    let (sandbox, [_, second]) = stores();
    let setup = "mkdir functions; statectl completions zsh > functions/_statectl; fpath=($PWD/functions $fpath); \
        autoload -Uz compinit; compinit -u -D";
    if let Some(mut shell) = Shell::start(&sandbox, &["zsh", "-f", "-i"], setup) {
        let answer = shell.answer(&sandbox, "statectl curr\tdemo/p\t");
        assert_eq!(answer.trim_end(), second);
    }
}

#[test]
fn fish_completes_at_a_terminal() {
    let stores = stores();
    let setup = "statectl completions fish | source";
    if let Some(mut shell) = Shell::start(&stores.0, &["fish", "--no-config", "--private", "-i"], setup) {
        complete_in(&mut shell, &stores, true);
    }
}

/// What the script of fish is told for the last of these words.
fn offered(command: &mut Command, words: &[&str]) -> Vec<String> {
    command
        .env("STATECTL_COMPLETE", "fish")
        .args(["--", "statectl"])
        .args(words);
    let run = Run::of(command.output().unwrap()).expect(0);
    assert_eq!(run.err, "");
    run.out.lines().map(str::to_owned).collect()
}

/// Without the descriptions.
fn values(offered: &[String]) -> Vec<&str> {
    offered
        .iter()
        .map(|line| line.split('\t').next().unwrap())
        .collect()
}

#[test]
fn completion_changes_nothing_and_needs_no_key() {
    let (sandbox, [_, second]) = stores();
    fs::remove_dir_all(sandbox.path("config")).unwrap();
    let before = everything_in(&sandbox.path(""));
    let of = |words: &[&str]| offered(&mut sandbox.command(&[]), words);
    assert_eq!(values(&of(&["show", PROD, ""]))[0], "--rev");
    assert_eq!(values(&of(&["pull", "demo/p"])), [PROD]);
    assert_eq!(
        values(&of(&["pull", PROD, "--rev", &second[..second.len() - 1]])),
        [second.as_str()]
    );
    assert_eq!(of(&["pull", PROD, "--rev", "nothing"]), [""; 0]);
    let expected = of(&["push", PROD, "--expect", ""]);
    assert_eq!(values(&expected)[..2], ["none", &second]);
    assert_eq!(of(&["pull", "demo/gone", "--rev", ""]), [""; 0]);
    assert_eq!(of(&["pull", "--root", "nowhere", "demo/"]), [""; 0]);
    assert_eq!(of(&["pull", "--backend", "nowhere:x", "demo/"]), [""; 0]);
    assert_eq!(everything_in(&sandbox.path("")), before);
}

#[test]
fn completion_reads_the_store_that_is_named() {
    let (sandbox, _) = stores();
    let of = |variable: &str, value: &str, words: &[&str]| {
        offered(sandbox.command(&[]).env(variable, value), words)
    };
    assert_eq!(of("STATECTL_ROOT", "other", &["pull", "n"]), ["network/prod"]);
    assert_eq!(
        of("STATECTL_BACKEND", "local:other", &["pull", "n"]),
        ["network/prod"]
    );
    assert_eq!(
        of("STATECTL_ROOT", "nowhere", &["--root", "other", "pull", "n"]),
        ["network/prod"]
    );
    assert_eq!(
        of(
            "HOME",
            sandbox.path("").to_str().unwrap(),
            &["--root", "~/other", "pull", "n"]
        ),
        ["network/prod"]
    );
    let key = &sandbox.key("new-key");
    assert_eq!(of("STATECTL_ENCRYPTER", key, &["show", PROD, "res"]), [""; 0]);
    let key = &format!("age:{}", sandbox.default_key().display());
    let shown = of("STATECTL_ENCRYPTER", key, &["show", PROD, "res"]);
    assert_eq!(shown, ["resource.database\taws.database"]);
}

/// A key that a person or a program must be asked for is none at the tab key.
#[test]
fn completion_asks_neither_people_nor_programs() {
    use std::os::unix::fs::PermissionsExt as _;

    let (sandbox, _) = stores();
    let program = sandbox.path("program");
    fs::write(&program, "#!/bin/sh\ntouch asked\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    for key in ["passphrase", "command:./program"] {
        let mut command = sandbox.command(&[]);
        command.env("STATECTL_PASSPHRASE_COMMAND", "./program");
        let addresses = offered(&mut command, &["--encrypter", key, "show", PROD, "res"]);
        assert_eq!(addresses, [""; 0], "{key}");
    }
    assert!(!sandbox.path("asked").exists());
    // Another key that is given beside them opens.
    let key = format!("age:{}", sandbox.default_key().display());
    let words = [
        "--encrypter",
        "passphrase",
        "--also-open",
        &key,
        "show",
        PROD,
        "res",
    ];
    assert_eq!(offered(&mut sandbox.command(&[]), &words).len(), 1);
}

#[test]
fn completion_offers_recipients_after_the_stack() {
    let (sandbox, _) = stores();
    let of = |words: &[&str]| offered(&mut sandbox.command(&[]), words);
    assert_eq!(values(&of(&["key", "remove", "demo/p"])), [PROD]);
    let recipients = of(&["key", "remove", PROD, ""]);
    let (identity, _) = recipients[0].split_once('\t').unwrap();
    let listed = sandbox.answer(&["key", "list", PROD]);
    assert!(listed.contains(identity), "{listed}");
    assert!(values(&of(&["key", "add", PROD, ""])).contains(&"env-key:"));
    let variables = of(&["key", "add", PROD, "env-key:US"]);
    assert_eq!(variables, ["env-key:USER"]);
}

/// What is in the trash can be restored, and nothing else be done with it.
#[test]
fn completion_tells_stacks_from_the_trash() {
    let (sandbox, _) = stores();
    sandbox.answer(&["pin", PROD, "@"]);
    sandbox.answer(&["stack", "rm", "demo/dev", "--force", "--yes"]);
    let of = |words: &[&str]| offered(&mut sandbox.command(&[]), words);
    assert_eq!(of(&["pull", ""]), [PROD]);
    let trashed = of(&["stack", "restore", ""]);
    assert!(trashed[0].starts_with("demo/dev.trash-"), "{trashed:?}");
    assert_eq!(trashed.len(), 1);
    assert_eq!(of(&["restore", ""]), [PROD]);
}

/// Many names are offered by their beginnings.
#[test]
fn completion_is_bounded() {
    let sandbox = Sandbox::new();
    for number in 0..500 {
        let stack = format!(".unobin/state/demo/stack-{number}/snapshots");
        fs::create_dir_all(sandbox.path(&stack)).unwrap();
    }
    let of = |words: &[&str]| offered(&mut sandbox.command(&[]), words);
    let stacks = of(&["pull", ""]);
    assert!(stacks.len() <= 200, "{}", stacks.len());
    let stacks = of(&["pull", "demo/stack-49"]);
    assert_eq!(stacks.len(), 11, "{stacks:?}");
}

/// A program with other backends has another name.
#[test]
fn script_registers_the_program_that_printed_it() {
    let sandbox = Sandbox::new();
    let program = sandbox.path("statectl-other");
    fs::copy(env!("CARGO_BIN_EXE_statectl"), &program).unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let output = Command::new(&program)
            .args(["completions", shell])
            .output()
            .unwrap();
        let script = Run::of(output).expect(0).out;
        assert!(script.contains(program.to_str().unwrap()), "{script}");
        assert!(script.contains("_statectl_other"), "{script}");
    }
}
