//! What a load that failed says, and what is done about it before the next try.

use std::collections::BTreeMap;

use super::{RedshiftWarehouse, fault};
use crate::load::{LoadFault, LoadRequest};
use crate::redshift::error::RedshiftError;
use crate::redshift::options::VARCHAR_MAX;
use crate::redshift::plan::{self, LoadPlan, RedshiftTable, Role};
use crate::redshift::schema::SchemaError;
use crate::redshift::{sql, widths};

impl RedshiftWarehouse {
    /// Makes a failed load's error say what an operator needs, and widens columns that were too
    /// narrow.
    pub(super) fn explain(
        &mut self,
        error: &RedshiftError,
        plan: &LoadPlan,
        request: &LoadRequest<'_>,
    ) -> LoadFault {
        let unconfirmed = matches!(error, RedshiftError::Failed { statement: Some(index), .. }
            if *index + 1 == plan.statements.len());
        if error.is_too_long() || unconfirmed {
            match self.widen(plan) {
                Ok(false) => {}
                Ok(true) => {
                    return LoadFault::Warehouse {
                        doing: "insert text that was longer than its column".to_owned(),
                        message:
                            "columns were widened, or rows that do not fit are rejected or cut; the load is tried again"
                                .to_owned(),
                        transient: true,
                    };
                }
                Err(unable) => {
                    tracing::warn!(%unable, "cannot measure the text of a load that failed")
                }
            }
        }
        if unconfirmed && let Some(fault) = self.misread_times(plan, request) {
            return fault;
        }
        let statement = match error {
            RedshiftError::Failed {
                statement: Some(index),
                ..
            } => plan.statements.get(*index),
            _ => None,
        };
        let doing = match statement {
            Some((Role::Copied(index) | Role::CopiedInto(index), _)) => format!(
                "copy files for the table `{}`",
                self.tables[*index].spec.name
            ),
            Some((Role::Cut(index), _)) => {
                format!("cut text for the table `{}`", self.tables[*index].spec.name)
            }
            Some((Role::Rejected(index), _)) => format!(
                "reject rows of the table `{}`",
                self.tables[*index].spec.name
            ),
            Some((Role::Replaced(index), _)) => format!(
                "replace rows of the table `{}`",
                self.tables[*index].spec.name
            ),
            Some((Role::Inserted(index), _)) => {
                format!("insert into the table `{}`", self.tables[*index].spec.name)
            }
            Some((Role::Other, _)) if unconfirmed => {
                "confirm that what was staged is what the commit log says".to_owned()
            }
            Some((Role::Other, sql)) => {
                format!("run `{}`", sql.chars().take(60).collect::<String>())
            }
            None => "load".to_owned(),
        };
        let mut fault = fault(&doing, error);
        if let (
            LoadFault::Warehouse { message, .. },
            Some((Role::Copied(_) | Role::CopiedInto(_), _)),
        ) = (&mut fault, statement)
            && let Some(detail) = self.copy_errors(error)
        {
            message.push_str(&detail);
        }
        fault
    }

    /// Which file and column a `COPY` failed at, where Redshift tells.
    fn copy_errors(&self, error: &RedshiftError) -> Option<String> {
        let RedshiftError::Failed { query_id, .. } = error else {
            return None;
        };
        let rows = self.client.query(&format!(
            "SELECT file_name, column_name, column_type, error_message FROM sys_load_error_detail \
             WHERE query_id = {query_id} ORDER BY start_time DESC LIMIT 3"
        ));
        let rows = rows
            .inspect_err(|error| tracing::debug!(%error, "no details of the failed COPY"))
            .ok()?;
        let lines = rows.into_iter().map(|row| {
            let mut row = row
                .into_iter()
                .map(|value| value.unwrap_or_default().trim().to_owned());
            let mut next = || row.next().unwrap_or_default();
            let (file, column, ty, message) = (next(), next(), next(), next());
            format!("; file {file}, column `{column}` ({ty}): {message}")
        });
        Some(lines.collect())
    }

    /// The statements that stage the files of a table, without anything that follows.
    fn staging(&self, plan: &LoadPlan, index: usize, table: &RedshiftTable) -> Vec<String> {
        let target = format!("COPY {} ", self.qualified(&table.spec.name));
        let stage = format!("COPY {} ", plan::stage(index));
        let copies = plan.statements.iter().filter_map(|(role, sql)| match role {
            Role::Copied(of) if *of == index => Some(sql.clone()),
            Role::CopiedInto(of) if *of == index => Some(sql.replacen(&target, &stage, 1)),
            _ => None,
        });
        let create = plan::create_stage(index, table, &[]);
        std::iter::once(create).chain(copies).collect()
    }

    /// Measures the staged text, and widens the columns of the tables that are too narrow. Tells
    /// whether a next try can succeed.
    fn widen(&mut self, plan: &LoadPlan) -> Result<bool, SchemaError> {
        let mut changed = false;
        for (index, filled) in &plan.tables {
            let narrow: Vec<String> = filled.widths.keys().cloned().collect();
            if narrow.is_empty() {
                continue;
            }
            let mut statements = self.staging(plan, *index, filled);
            let table = &mut self.tables[*index];
            let widest: Vec<_> = narrow
                .iter()
                .map(|column| format!("COALESCE(MAX(OCTET_LENGTH({})), 0)", sql::name(column)))
                .collect();
            statements.push(format!(
                "SELECT {} FROM tidegate_stage_{index}",
                widest.join(", ")
            ));
            let rows =
                self.client
                    .transaction_rows(statements)
                    .map_err(|source| SchemaError::Sql {
                        doing: format!("measure the text for the table `{}`", table.spec.name),
                        source,
                    })?;
            let needed: BTreeMap<String, u32> = narrow
                .into_iter()
                .zip(rows.into_iter().next().unwrap_or_default())
                .map(|(column, widest)| {
                    let bytes = widest.and_then(|widest| widest.parse().ok()).unwrap_or(0);
                    (column, bytes)
                })
                .filter(|(_, bytes)| *bytes <= VARCHAR_MAX)
                .collect();
            changed |= widths::widen_to_fit(&self.client, &self.options, table, &needed)?;
        }
        Ok(changed)
    }

    /// The error of a cluster that reads other times from a file than were written, if that is it.
    fn misread_times(&self, plan: &LoadPlan, request: &LoadRequest<'_>) -> Option<LoadFault> {
        for (index, table) in &plan.tables {
            let spec = &table.spec;
            let Some(time) = &spec.time else {
                continue;
            };
            let files = request.records.iter().flat_map(|record| &record.files);
            let ranges: Option<Vec<_>> = files
                .filter(|file| file.rows > 0 && spec.takes(&file.dataset))
                .map(|file| file.event_time)
                .collect();
            let range = ranges
                .into_iter()
                .flatten()
                .reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
            let Some((least, greatest)) = range else {
                continue;
            };
            let mut statements = self.staging(plan, *index, table);
            let text = |function: &str| {
                let column = sql::name(time);
                format!("TO_CHAR({function}({column}), 'YYYY-MM-DD HH24:MI:SS.US')")
            };
            statements.push(format!(
                "SELECT {}, {} FROM tidegate_stage_{index}",
                text("MIN"),
                text("MAX")
            ));
            let rows = self.client.transaction_rows(statements).ok()?;
            let found: Vec<String> = rows.into_iter().flatten().flatten().collect();
            let micros: Vec<_> = found.iter().filter_map(|text| sql::micros(text)).collect();
            if micros != [least, greatest] {
                return Some(LoadFault::Warehouse {
                    doing: format!("load the table `{}`", spec.name),
                    message: format!(
                        "this Redshift reads the times of the files as {}, and they are {} to {}. Nothing was \
                         loaded. Write timestamps = \"int96\" in [redshift], and begin with an empty prefix; please \
                         report it with the version of the cluster",
                        found.join(" to "),
                        sql::instant(least),
                        sql::instant(greatest),
                    ),
                    transient: false,
                });
            }
        }
        None
    }
}
