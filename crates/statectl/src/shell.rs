//! The shells that complete commands of `statectl`: the script that each loads, how the script passes what is typed, and how
//! it takes what is offered.

use clap::ValueEnum;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

/// A script sets this variable to its shell. `statectl` then answers the script and does nothing else.
pub(crate) const VARIABLE: &str = "STATECTL_COMPLETE";

/// A shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    /// For ~/.local/share/bash-completion/completions or ~/.bashrc
    Bash,
    /// For a directory of $fpath, as _statectl, or ~/.zshrc
    Zsh,
    /// For ~/.config/fish/completions
    Fish,
}

/// The words of a command line up to the cursor, without quotes. The last one is completed, and may be empty.
#[derive(Debug, PartialEq)]
pub(crate) struct Typed {
    pub(crate) words: Vec<OsString>,
    /// Whether the last word is in a quotation that is still open.
    is_quoted: bool,
    /// Where Bash begins a new word, apart from white space.
    breaks: String,
}

/// One completion of the last word.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Offer {
    pub(crate) value: String,
    pub(crate) help: Option<String>,
    /// Whether more must follow in the same word.
    pub(crate) is_open: bool,
}

/// Waits for nothing and prints no error. Bash splits words at colons, which revisions contain, so it passes the whole line.
const BASH: &str = r#"_FUNCTION() {
    local offer
    COMPREPLY=()
    while IFS= read -r offer; do
        COMPREPLY+=("$offer")
    done < <(VARIABLE=bash PROGRAM -- "${COMP_LINE:0:COMP_POINT}" "$COMP_WORDBREAKS" 2> /dev/null)
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[/:=] ]]; then
        compopt -o nospace 2> /dev/null
    fi
}
complete -o nosort -F _FUNCTION NAME 2> /dev/null || complete -F _FUNCTION NAME
"#;

/// The end is for both ways to load it: as a file of `$fpath`, which is then the function itself, and in `.zshrc`.
const ZSH: &str = r#"#compdef NAME
_FUNCTION() {
    local offer
    local -a open whole
    for offer in "${(@f)$(VARIABLE=zsh PROGRAM -- "${(@Q)words[1,CURRENT-1]}" "$PREFIX" 2> /dev/null)}"; do
        case $offer in
            (+*) open+=("${offer#+}") ;;
            (-*) whole+=("${offer#-}") ;;
        esac
    done
    (( $#open )) && _describe -V 'to go on' open -S ''
    (( $#whole )) && _describe -V 'values' whole
}
if [[ ${funcstack[1]} == _FUNCTION ]]; then
    _FUNCTION "$@"
else
    compdef _FUNCTION NAME
fi
"#;

const FISH: &str = r"function __FUNCTION
    VARIABLE=fish PROGRAM -- (commandline --current-process --tokenize --cut-at-cursor) \
        (commandline --current-token --cut-at-cursor) 2> /dev/null
end
complete --command NAME --no-files --keep-order --arguments '(__FUNCTION)'
";

impl Shell {
    /// The script for this program, which was called by that name from this directory.
    pub(crate) fn script(self, program: &Path, here: &Path) -> String {
        let name = program.file_name().unwrap_or("statectl".as_ref());
        let name = name.to_string_lossy();
        // A name without a directory is looked for again at each completion.
        let program = match program.components().count() {
            0 | 1 => name.clone().into_owned(),
            _ => here.join(program).to_string_lossy().into_owned(),
        };
        let word = |character: char| match character.is_ascii_alphanumeric() {
            true => character,
            false => '_',
        };
        let script = match self {
            Self::Bash => BASH,
            Self::Zsh => ZSH,
            Self::Fish => FISH,
        };
        script
            .replace("FUNCTION", &name.chars().map(word).collect::<String>())
            .replace("VARIABLE", VARIABLE)
            .replace("NAME", &self.quoted(&name))
            .replace("PROGRAM", &self.quoted(&program))
    }

    fn quoted(self, text: &str) -> String {
        match self {
            Self::Fish => format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'")),
            Self::Bash | Self::Zsh => shlex::try_quote(text).map_or_else(|_| text.into(), Into::into),
        }
    }

    /// What the script passes, which is after the first `--`.
    pub(crate) fn typed(self, arguments: impl Iterator<Item = OsString>) -> Typed {
        let mut arguments = arguments.skip_while(|argument| argument != "--").skip(1);
        match self {
            Self::Bash => {
                let mut text = || {
                    arguments
                        .next()
                        .unwrap_or_default()
                        .to_string_lossy()
                        .into_owned()
                };
                let line = text();
                Typed {
                    breaks: text(),
                    ..Typed::of_line(&line)
                }
            }
            Self::Zsh => Typed {
                words: arguments.collect(),
                is_quoted: false,
                breaks: String::new(),
            },
            // All words but the last one come without quotes.
            Self::Fish => {
                let mut words: Vec<OsString> = arguments.collect();
                if let Some(last) = words.pop() {
                    let mut last = Typed::of_line(&last.to_string_lossy()).words;
                    words.push(last.pop().unwrap_or_default());
                }
                Typed {
                    words,
                    is_quoted: false,
                    breaks: String::new(),
                }
            }
        }
    }

    /// Whether it shows descriptions.
    pub(crate) fn shows_help(self) -> bool {
        self != Self::Bash
    }

    /// The offers as its script reads them, one a line.
    pub(crate) fn reply(self, typed: &Typed, offers: &[Offer]) -> String {
        let line = |offer: &Offer| match self {
            Self::Bash => typed.rest(&offer.value),
            Self::Zsh => {
                let mark = if offer.is_open { '+' } else { '-' };
                let value = offer.value.replace('\\', "\\\\").replace(':', "\\:");
                let help = offer.help.as_ref();
                let help = help.map(|help| format!(":{}", help.replace('\\', "\\\\")));
                Some(format!("{mark}{value}{}", help.unwrap_or_default()))
            }
            Self::Fish => {
                let help = offer.help.as_ref().map(|help| format!("\t{help}"));
                Some(format!("{}{}", offer.value, help.unwrap_or_default()))
            }
        };
        offers.iter().filter_map(line).map(|line| line + "\n").collect()
    }
}

impl Typed {
    /// Splits a line as a shell does, and an open quotation or escape at its end too.
    fn of_line(line: &str) -> Self {
        // Without it, an empty last word would be no word.
        const END: char = '\u{1}';
        for (closing, is_quoted) in [("", false), ("'", true), ("\"", true)] {
            let Some(mut words) = shlex::split(&format!("{line}{END}{closing}")) else {
                continue;
            };
            if let Some(last) = words.last_mut() {
                last.pop();
            }
            return Self {
                words: words.into_iter().map(OsString::from).collect(),
                is_quoted,
                breaks: String::new(),
            };
        }
        Self {
            words: Vec::new(),
            is_quoted: false,
            breaks: String::new(),
        }
    }

    /// The word to complete.
    pub(crate) fn last(&self) -> String {
        let last = self.words.last().cloned().unwrap_or_default();
        String::from_utf8_lossy(&last.into_vec()).into_owned()
    }

    /// What Bash replaces its last word with: it has only the part of ours after the last break.
    fn rest(&self, value: &str) -> Option<String> {
        let typed = self.last();
        let is_break = |character: char| ":=@".contains(character) && self.breaks.contains(character);
        // Nothing breaks a word in a quotation, which may begin after `--option=`.
        let start = match self.is_quoted {
            true if typed.starts_with("--") => typed.find('=').filter(|_| self.breaks.contains('=')),
            true => None,
            false => typed.rfind(is_break),
        };
        value.strip_prefix(&typed)?;
        let rest = &value[start.map_or(0, |start| start + 1)..];
        Some(match self.is_quoted {
            true => rest.into(),
            false => rest.chars().fold(String::new(), escaped),
        })
    }
}

/// Adds a character to an unquoted word of Bash.
fn escaped(mut word: String, character: char) -> String {
    if r##" \'"`$&;|<>()[]{}*?!#^"##.contains(character) {
        word.push('\\');
    }
    word.push(character);
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offers(values: &[&str]) -> Vec<Offer> {
        let offer = |value: &&str| Offer {
            value: (*value).into(),
            help: Some("a: b".into()),
            is_open: value.ends_with('-'),
        };
        values.iter().map(offer).collect()
    }

    fn typed(shell: Shell, arguments: &[&str]) -> Typed {
        let arguments = ["statectl", "--"].iter().chain(arguments);
        shell.typed(arguments.map(OsString::from))
    }

    #[test]
    fn line_of_bash_is_split_up_to_the_cursor() {
        for (line, words, is_quoted) in [
            ("statectl pu", &["statectl", "pu"][..], false),
            ("statectl pull ", &["statectl", "pull", ""], false),
            ("statectl pull 'demo/p", &["statectl", "pull", "demo/p"], true),
            (
                "statectl --root \"a b\" p",
                &["statectl", "--root", "a b", "p"],
                false,
            ),
            ("statectl --root \"a b", &["statectl", "--root", "a b"], true),
            (
                "statectl show demo/prod a\\ ",
                &["statectl", "show", "demo/prod", "a "],
                false,
            ),
        ] {
            let typed = typed(Shell::Bash, &[line, ":="]);
            assert_eq!(typed.words, words, "{line}");
            assert_eq!(typed.is_quoted, is_quoted, "{line}");
        }
    }

    /// Bash replaces what follows the last colon, and would repeat the part before it.
    #[test]
    fn bash_is_offered_what_follows_its_last_break() {
        for (line, value, reply) in [
            (
                "statectl show s --rev 2026-07-10T1",
                "2026-07-10T12:00:00Z",
                "2026-07-10T12:00:00Z\n",
            ),
            (
                "statectl show s --rev 2026-07-10T12:0",
                "2026-07-10T12:00:00Z",
                "00:00Z\n",
            ),
            (
                "statectl show s --rev=2026-07-10T12:0",
                "--rev=2026-07-10T12:00:00Z",
                "00:00Z\n",
            ),
            (
                "statectl show s --rev=20",
                "--rev=2026-07-10T12:00:00Z",
                "2026-07-10T12:00:00Z\n",
            ),
            (
                "statectl show s --rev '2026-07-10T12:0",
                "2026-07-10T12:00:00Z",
                "2026-07-10T12:00:00Z\n",
            ),
            ("statectl show s --rev @", "@-", "-\n"),
            ("statectl show s a", "a[\"b c\"]", "a\\[\\\"b\\ c\\\"\\]\n"),
            ("statectl show s 'a", "a[\"b c\"]", "a[\"b c\"]\n"),
            ("statectl show s b", "another", ""),
        ] {
            let typed = typed(Shell::Bash, &[line, " \t\n\"'@><=;|&(:"]);
            assert_eq!(Shell::Bash.reply(&typed, &offers(&[value])), reply, "{line}");
        }
        let typed = typed(Shell::Bash, &["statectl show s --rev 2026-07-10T12:0", " \t\n"]);
        let reply = Shell::Bash.reply(&typed, &offers(&["2026-07-10T12:00:00Z"]));
        assert_eq!(reply, "2026-07-10T12:00:00Z\n");
    }

    #[test]
    fn zsh_and_fish_are_offered_descriptions() {
        let offers = offers(&["12:00", "x-"]);
        let zsh = typed(Shell::Zsh, &["statectl", ""]);
        assert_eq!(Shell::Zsh.reply(&zsh, &offers), "-12\\:00:a: b\n+x-:a: b\n");
        let fish = typed(Shell::Fish, &["statectl", "'demo/p"]);
        assert_eq!(fish.words, ["statectl", "demo/p"]);
        assert_eq!(Shell::Fish.reply(&fish, &offers), "12:00\ta: b\nx-\ta: b\n");
    }

    #[test]
    fn script_calls_the_program_by_its_name_or_path() {
        let here = Path::new("/home/alice");
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = shell.script("state-ctl".as_ref(), here);
            assert!(script.contains("_state_ctl"), "{script}");
            assert!(!script.contains("/home"), "{script}");
            for name in ["FUNCTION", "VARIABLE", "PROGRAM", " NAME"] {
                assert!(!script.contains(name), "{script}");
            }
            let script = shell.script("./my bin/ctl".as_ref(), here);
            assert!(script.contains("'/home/alice/./my bin/ctl'"), "{script}");
        }
    }
}
