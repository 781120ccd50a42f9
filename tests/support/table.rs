//! What the tables of requirements share: their rows, and a test for each part.

use taut::proto::Role;

/// One requirement.
pub(crate) struct Row<Id> {
    /// Its name or number in the list of requirements. Several rows may share one.
    pub(crate) id: Id,
    /// Of the RFC.
    pub(crate) section: &'static str,
    /// Whom it binds: the check runs once for each.
    pub(crate) who: &'static [Role],
    /// In the words of the RFC, in quotes, or in short.
    pub(crate) requirement: &'static str,
    pub(crate) check: fn(Role),
}

pub(crate) const CLIENT: &[Role] = &[Role::Client];
pub(crate) const SERVER: &[Role] = &[Role::Server];
pub(crate) const BOTH: &[Role] = &[Role::Client, Role::Server];

/// One test for each part of the table, and the table. Whoever uses it says how to `run` rows of its `Row`.
macro_rules! table {
    ($($sentence:ident: $rows:path,)*) => {
        const TABLE: &[&[Row]] = &[$($rows),*];
        $(
            #[test]
            fn $sentence() {
                run($rows);
            }
        )*
    };
}

pub(crate) use table;
