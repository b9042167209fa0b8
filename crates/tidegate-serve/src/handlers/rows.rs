//! Rows of tables: from the warehouse where it is here, from files otherwise.

use serde_json::{Value, json};

use crate::app::App;
use crate::error::ApiError;
use crate::tiers::cold::Files;
use crate::tiers::sql::objects;
use crate::tiers::warm::limits;

/// Which files have the rows, where there is no warehouse.
pub(crate) type Source<'a> = Files<'a>;

/// Runs a statement of this server's own; says what has served it.
pub(crate) async fn warm_or_cold(
    app: &App,
    sql: String,
    source: &Source<'_>,
    rows_max: usize,
) -> Result<(Vec<Value>, Value), ApiError> {
    if app.tiers.warm.reader.is_some() {
        let answer = app.tiers.warm.query(sql, limits(rows_max)).await?;
        return Ok((objects(&answer), json!("warm")));
    }
    cold(app, sql, source, rows_max).await
}

/// Runs a statement of this server's own over files.
pub(crate) async fn cold(
    app: &App,
    sql: String,
    source: &Source<'_>,
    rows_max: usize,
) -> Result<(Vec<Value>, Value), ApiError> {
    let (answer, _) = app.tiers.cold.query(sql, source, limits(rows_max)).await?;
    Ok((objects(&answer), json!("cold")))
}
