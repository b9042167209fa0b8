//! What both warehouses do alike: each of these tests runs against both. What is true of one of
//! them alone is tested beside this module.

mod columns;
mod failures;
mod keys;
mod latest;
mod ledger;
mod maintenance;
mod place;
mod random;
mod random_windows;
mod reports;
mod streams;
mod sums;
mod tables;
mod windows;

pub(crate) use place::{Place, World};

/// Makes tests of functions that take a `&Place`: one for each warehouse.
macro_rules! on_each_warehouse {
    ($($name:ident,)*) => {
        mod on_duckdb {$(
            #[test]
            fn $name() {
                super::$name(&crate::contract::Place::duckdb());
            }
        )*}
        mod on_redshift {$(
            #[test]
            fn $name() {
                if let Some(redshift) = crate::contract::Place::redshift() {
                    super::$name(&redshift);
                }
            }
        )*}
    };
}
pub(crate) use on_each_warehouse;
