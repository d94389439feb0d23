//! One test for each rule.

/// Expands to one `#[test]` for each rule of [`Storage`](sdk_state::Storage), named as its function is.
///
/// The first argument is called for each test and returns a fresh [`Medium`](crate::Medium). Exceptions are declared by
/// the rule's id and the reason; a test of a rule that was excepted and is kept fails. Which rules are excepted, and which
/// are skipped for want of a hook, is printed on standard error, although their tests pass. Two uses in one file need a
/// module each.
///
/// ```
/// # use sdk_conformance::{Medium, storage_tests};
/// # use sdk_state::{Error, MemoryStorage, StackId, Storage};
/// # struct Slow;
/// # impl Slow { fn new() -> Self { Self } }
/// # impl Medium for Slow {
/// #     fn open(&self, id: &StackId) -> Result<Box<dyn Storage>, Error> { Ok(Box::new(MemoryStorage::new(id.clone()))) }
/// # }
/// storage_tests!(Slow::new, except "CREATE-05": "objects of this medium have 1 MiB at most");
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! storage_tests {
    ($medium:expr $(, except $id:literal : $reason:literal)* $(,)?) => {
        $crate::__storage_rules! { tests { $medium } { $($id : $reason),* } }
    };
}

/// Expands to one `#[test]` for each rule of [`Backend`](sdk_state::Backend), like [`storage_tests!`].
#[macro_export]
macro_rules! backend_tests {
    ($medium:expr $(, except $id:literal : $reason:literal)* $(,)?) => {
        $crate::__backend_rules! { tests { $medium } { $($id : $reason),* } }
    };
}

/// The two uses of a list of rules. One list, so that neither can lack a rule.
#[doc(hidden)]
#[macro_export]
macro_rules! __expand {
    (tests { $medium:expr } $exceptions:tt [$($module:ident { $($name:ident $id:literal $sentence:literal)* })*]) => {
        $($(
            #[test]
            fn $name() {
                $crate::__test! { $module $name $id $sentence { $medium } $exceptions }
            }
        )*)*

        #[test]
        fn every_exception_is_to_a_rule() {
            $crate::__known! { $exceptions [$($($id)*)*] }
        }
    };
    (table $type:ident $rules:ident [$($module:ident { $($name:ident $id:literal $sentence:literal)* })*]) => {
        /// Every rule, in the order of the documentation.
        pub const $rules: &[$crate::Rule<dyn $type>] = &[$($(
            $crate::Rule { id: $id, sentence: $sentence, check: $module::$name },
        )*)*];
        $(
            #[doc = concat!("The rules of `", stringify!($module), "`.")]
            pub mod $module {
                use super::*;
                $(
                    #[doc = concat!("`", $id, "`: ", $sentence, ".")]
                    ///
                    /// # Errors
                    ///
                    /// How the rule was broken, or which hook of the medium it needs.
                    pub fn $name(medium: std::sync::Arc<dyn $type>) -> Result<(), $crate::Violation> {
                        $crate::rule::run($id, medium, $crate::LIMIT, checks::$module::$name)
                    }
                )*
            }
        )*
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __test {
    (
        $module:ident $name:ident $id:literal $sentence:literal { $medium:expr }
        { $($except:literal : $reason:literal),* }
    ) => {
        let rule = $crate::Rule { id: $id, sentence: $sentence, check: $crate::$module::$name };
        let exceptions: &[$crate::Exception] = &[$($crate::Exception { rule: $except, reason: $reason }),*];
        if let Err(failure) = $crate::try_rule(&rule, std::sync::Arc::new($medium()), exceptions) {
            panic!("{failure}");
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __known {
    ({ $($except:literal : $reason:literal),* } [$($id:literal)*]) => {
        let rules: &[&str] = &[$($id),*];
        let exceptions: &[&str] = &[$($except),*];
        for (position, exception) in exceptions.iter().enumerate() {
            assert!(rules.contains(exception), "there is no rule {exception}");
            let is_first = !exceptions[..position].contains(exception);
            assert!(is_first, "{exception} has two exceptions");
        }
    };
}
