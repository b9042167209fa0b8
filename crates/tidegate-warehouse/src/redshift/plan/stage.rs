//! Files into staging tables, and what is compared with the log there.

use std::collections::BTreeMap;

use super::table::{RedshiftTable, Remedy, forms};
use super::{LoadPlan, Manifest, Request, Role, SourceFile};
use crate::load::LoadFault;
use crate::redshift::options::{TooLong, VARCHAR_MAX};
use crate::redshift::sql::{self, Type};
use crate::table::TableKind;

/// Bytes that a staged text has room for at least, so that staging tables are alike.
const STAGED_BYTES_MIN: u32 = 64;

impl Request<'_> {
    /// Files into a staging table, where text that the table cannot take is cut, if it is to be.
    pub(super) fn stage(
        &self,
        index: usize,
        table: &RedshiftTable,
        files: &[&SourceFile<'_>],
        plan: &mut LoadPlan,
    ) -> Result<(), LoadFault> {
        plan.statements
            .push((Role::Other, create_stage(index, table, files)));
        self.copy(&stage(index), Role::Copied(index), table, files, plan)?;
        let cut = table.narrow(Remedy::Cut, self.options.too_long);
        // Rejects are cut as they are inserted: a statement is saved, and each says so itself.
        if !cut.is_empty() && !table.is_rejects() {
            let name_and_value = |(column, bytes): &(&str, u32)| {
                let name = sql::name(column);
                format!("{name} = {}", sql::cut(&name, *bytes))
            };
            let is_long = |(column, bytes): &(&str, u32)| {
                format!("OCTET_LENGTH({}) > {bytes}", sql::name(column))
            };
            plan.statements.push((
                Role::Cut(index),
                format!(
                    "UPDATE {} SET {} WHERE {}",
                    stage(index),
                    cut.iter()
                        .map(name_and_value)
                        .collect::<Vec<_>>()
                        .join(", "),
                    cut.iter().map(is_long).collect::<Vec<_>>().join(" OR "),
                ),
            ));
        }
        Ok(())
    }

    /// Staged rows whose text does not fit into the rejected table, with the text that is too long
    /// as their payload. Parts of windows have no place there: they are left out.
    pub(super) fn reject(&self, index: usize, table: &RedshiftTable, plan: &mut LoadPlan) {
        let long = table.narrow(Remedy::Reject, self.options.too_long);
        let is_part = matches!(table.spec.kind, TableKind::WindowParts { .. });
        let rejects = self
            .tables
            .iter()
            .find(|rejects| rejects.takes_rows_of(table));
        let (Some(rejects), false, false) = (rejects, long.is_empty(), is_part) else {
            return;
        };
        let of_the_first = |value: &dyn Fn(&str, u32) -> String| {
            let cases: String = long
                .iter()
                .map(|(column, bytes)| {
                    let column = sql::name(column);
                    format!(
                        "WHEN OCTET_LENGTH({column}) > {bytes} THEN {} ",
                        value(&column, *bytes)
                    )
                })
                .collect();
            format!("CASE {cases}END")
        };
        let payload = of_the_first(&|column, _| column.to_owned());
        let detail = of_the_first(&|column, bytes| {
            let before = sql::text(&format!("column {column} has "));
            let after = sql::text(&format!(
                " bytes, and {bytes} in the table {}; the whole event is in the files of the job",
                table.spec.name
            ));
            format!("{before} || CAST(OCTET_LENGTH({column}) AS VARCHAR) || {after}")
        });
        let value = |column: &str, ty: &Type| match column {
            "payload" => payload.clone(),
            "payload_encoding" => sql::text("utf8,column"),
            "reasons" => sql::text("text.too_long"),
            "detail" => detail.clone(),
            "rejected_at" => sql::instant(self.now),
            _ if table.spec.column_type(column).and_then(Type::of).as_ref() == Some(ty) => {
                sql::name(column)
            }
            _ => "NULL".to_owned(),
        };
        let values: Vec<_> = rejects
            .columns
            .iter()
            .map(|(column, ty)| {
                let value = value(column, ty);
                match rejects.widths.get(column) {
                    Some(bytes) => sql::cut(&value, *bytes),
                    None => value,
                }
            })
            .collect();
        let is_long: Vec<_> = long
            .iter()
            .map(|(column, bytes)| format!("OCTET_LENGTH({}) > {bytes}", sql::name(column)))
            .collect();
        plan.statements.push((
            Role::Rejected(index),
            format!(
                "INSERT INTO {} ({}) SELECT {} FROM {} WHERE {}",
                self.qualified(&rejects.spec.name),
                sql::names(rejects.columns.iter().map(|(column, _)| column.as_str())),
                values.join(", "),
                stage(index),
                is_long.join(" OR "),
            ),
        ));
    }

    /// Files into a table: one `COPY` for all that have the same columns.
    pub(super) fn copy(
        &self,
        into: &str,
        role: Role,
        table: &RedshiftTable,
        files: &[&SourceFile<'_>],
        plan: &mut LoadPlan,
    ) -> Result<(), LoadFault> {
        let forms = forms(files.iter().copied());
        for (number, form) in forms.into_iter().enumerate() {
            let columns = &form.names;
            let of_form = files.iter().copied().filter(|file| file.columns == *form);
            let group: Vec<&SourceFile<'_>> = of_form.collect();
            // Columns are mapped by position: what the table does not have would land in another
            // one. What it lacked has been added before.
            let unknown = columns.iter().find(|column| !table.has(column));
            if let (Some(unknown), Some(file)) = (unknown, group.first()) {
                return Err(file.fault(format!(
                    "has the column `{unknown}`, which the table `{}` lacks; start the loader again, with the \
                     configuration that the job has now",
                    table.spec.name
                )));
            }
            let manifest = self.manifest(table, number, &group);
            plan.statements.push((
                role,
                format!(
                    "COPY {into} ({}) FROM {} IAM_ROLE {} FORMAT AS PARQUET MANIFEST STATUPDATE OFF",
                    sql::names(columns.iter().map(String::as_str)),
                    sql::text(&(self.url)(&manifest.path)),
                    match self.options.iam_role.as_str() {
                        "default" => "default".to_owned(),
                        arn => sql::text(arn),
                    },
                ),
            ));
            plan.manifests.push(manifest);
        }
        Ok(())
    }

    fn manifest(
        &self,
        table: &RedshiftTable,
        number: usize,
        files: &[&SourceFile<'_>],
    ) -> Manifest {
        let entries: Vec<_> = files
            .iter()
            .map(|file| {
                serde_json::json!({
                    "url": (self.url)(&file.entry.path),
                    "mandatory": true,
                    "meta": { "content_length": file.entry.bytes },
                })
            })
            .collect();
        let part = if number == 0 {
            String::new()
        } else {
            format!("-{number}")
        };
        Manifest {
            path: format!(
                "manifest/{:020}-{:020}-{}{part}.json",
                self.before.seq + 1,
                self.after.seq,
                table.spec.name,
            ),
            json: serde_json::json!({ "entries": entries }).to_string(),
        }
    }
}

/// Conditions that hold if the staging table has what the log says of its files: as many rows, of
/// the same time, and no text that the table would cut.
///
/// A cluster that reads a file's times as others than were written gives no error, so the least and
/// the greatest are compared. Redshift cuts blanks that are beyond a column's width without a word,
/// so that an insert does not fail for them.
pub(super) fn staged_as_logged(
    index: usize,
    table: &RedshiftTable,
    rows: u64,
    files: &[&SourceFile<'_>],
    too_long: TooLong,
) -> Vec<String> {
    let stage = stage(index);
    let mut checks = vec![format!("(SELECT COUNT(*) FROM {stage}) = {rows}")];
    if let Some((time, least, greatest)) = times(table, files) {
        for (function, at) in [("MIN", least), ("MAX", greatest)] {
            checks.push(format!(
                "(SELECT {function}({}) FROM {stage}) = {}",
                sql::name(time),
                sql::exact_instant(at)
            ));
        }
    }
    for (column, bytes) in &table.widths {
        debug_assert!(*bytes < VARCHAR_MAX, "only narrow columns are kept");
        // What is rejected or cut on its way out is too long here.
        let is_staged_to_fit = match table.remedy(column, too_long) {
            Remedy::Widen => true,
            Remedy::Cut => !table.is_rejects(),
            Remedy::Reject => false,
        };
        if !is_staged_to_fit {
            continue;
        }
        checks.push(format!(
            "(SELECT COALESCE(MAX(OCTET_LENGTH({})), 0) FROM {stage}) <= {bytes}",
            sql::name(column)
        ));
    }
    checks
}

/// A condition that holds if a table that files were copied straight into has as many rows of the
/// files' time as the log says. A cluster that reads a file's times as others has none.
pub(super) fn copied_as_logged(
    target: &str,
    table: &RedshiftTable,
    rows: u64,
    files: &[&SourceFile<'_>],
) -> Option<String> {
    let (time, least, greatest) = times(table, files)?;
    Some(format!(
        "(SELECT COUNT(*) FROM {target} WHERE {} BETWEEN {} AND {}) >= {rows}",
        sql::name(time),
        sql::exact_instant(least),
        sql::exact_instant(greatest),
    ))
}

/// The column with the time of a table's rows, and the least and the greatest that the log says its
/// files have; none if it does not say so of all of them.
fn times<'a>(table: &'a RedshiftTable, files: &[&SourceFile<'_>]) -> Option<(&'a str, i64, i64)> {
    let time = table.spec.time.as_deref()?;
    let ranges: Option<Vec<_>> = files.iter().map(|file| file.entry.event_time).collect();
    let (least, greatest) = ranges?
        .into_iter()
        .reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))?;
    Some((time, least, greatest))
}

/// The statement that makes the staging table of a table, as wide as the files' texts need it; as
/// wide as can be for those of which a file does not say how long they are.
///
/// Redshift keeps temporary tables and what is sorted by their declared widths, without
/// compression.
pub(in crate::redshift) fn create_stage(
    index: usize,
    table: &RedshiftTable,
    files: &[&SourceFile<'_>],
) -> String {
    let longest = longest_of_all(files);
    let bytes = |column: &str| {
        let longest = longest.get(&column.to_lowercase());
        let bytes = longest.map_or(VARCHAR_MAX, |bytes| bytes.next_power_of_two());
        bytes.clamp(STAGED_BYTES_MIN, VARCHAR_MAX)
    };
    let columns = table.columns.iter();
    let definitions: Vec<_> = columns
        .map(|(column, ty)| format!("{} {}", sql::name(column), ty.staged(bytes(column))))
        .collect();
    format!(
        "CREATE TEMP TABLE {} ({})",
        stage(index),
        definitions.join(", ")
    )
}

/// Bytes of the longest text of each column of which all files that have it say how long it is, by
/// its name in lower case.
fn longest_of_all(files: &[&SourceFile<'_>]) -> BTreeMap<String, u32> {
    let mut longest: BTreeMap<String, Option<u32>> = BTreeMap::new();
    for form in forms(files.iter().copied()) {
        for (place, column) in form.names.iter().enumerate() {
            let of_form = files.iter().filter(|file| file.columns == *form);
            let bytes = of_form.map(|file| file.longest_texts.get(place).copied().flatten());
            let both = |a: Option<u32>, b: Option<u32>| a.zip(b).map(|(a, b)| a.max(b));
            let bytes = bytes.reduce(both).flatten();
            longest
                .entry(column.to_lowercase())
                .and_modify(|so_far| *so_far = both(*so_far, bytes))
                .or_insert(bytes);
        }
    }
    let known = longest
        .into_iter()
        .filter_map(|(name, bytes)| Some((name, bytes?)));
    known.collect()
}

/// The staging table of a table.
pub(in crate::redshift) fn stage(index: usize) -> String {
    format!("tidegate_stage_{index}")
}
