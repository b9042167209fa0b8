//! A table as a load sees it: its columns, and what is done about text that does not fit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{FileColumns, SourceFile};
use crate::load::LoadFault;
use crate::redshift::options::TooLong;
use crate::redshift::sql::{self, Compared, Type};
use crate::table::{TableKind, TableSpec};

/// Columns of a reject that do not come from the rejected row as they are.
pub(super) const REJECT_COLUMNS: [&str; 5] = [
    "payload",
    "payload_encoding",
    "reasons",
    "detail",
    "rejected_at",
];

/// A table with the types of its columns.
#[derive(Debug, Clone)]
pub(in crate::redshift) struct RedshiftTable {
    pub(in crate::redshift) spec: TableSpec,
    pub(in crate::redshift) columns: Vec<(String, Type)>,
    /// Columns that it has in the database beside those, in lower case.
    pub(in crate::redshift) beside: Vec<(String, Type)>,
    /// Text columns that are narrower than the widest text, with their bytes in the database.
    pub(in crate::redshift) widths: BTreeMap<String, u32>,
    /// Those of them that cannot be widened: rows with longer values are rejected, or the values
    /// cut.
    pub(in crate::redshift) stuck: BTreeSet<String>,
}

/// What is done about a text that is longer than its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remedy {
    /// The load fails, and the column is widened.
    Widen,
    /// The row is not loaded.
    Reject,
    /// The text is cut.
    Cut,
}

impl RedshiftTable {
    pub(super) fn compared<'a>(&self, name: &'a str) -> Compared<'a> {
        let ty = self.spec.column_type(name).and_then(Type::of);
        Compared {
            name,
            nullable: !self.spec.is_required(name),
            text: ty == Some(Type::Text),
            some_value: ty.map_or("0", |ty| ty.some_value()),
        }
    }

    /// Bytes of the longest text that files bring to each of its narrow columns, as far as they say
    /// it.
    pub(in crate::redshift) fn longest_texts(
        &self,
        files: &[SourceFile<'_>],
    ) -> BTreeMap<String, u32> {
        let of_column = |column: &String| {
            let files = files
                .iter()
                .filter(|file| self.spec.takes(&file.entry.dataset));
            let longest = files.filter_map(|file| file.longest_text(column)).max()?;
            Some((column.clone(), longest))
        };
        self.widths.keys().filter_map(of_column).collect()
    }

    /// The table as these files fill it: with those of its columns in the database that any of them
    /// has. What is taken out of the configuration stays there, and files from before have it.
    pub(super) fn with_columns_of(&self, files: &[&SourceFile<'_>]) -> RedshiftTable {
        let mut table = self.clone();
        let forms = forms(files.iter().copied());
        let is_in_files = |column: &String| {
            let mut columns = forms.iter().flat_map(|form| &form.names);
            columns.any(|known| same_name(known, column))
        };
        let more = self.beside.iter();
        let more = more.filter(|(column, _)| is_in_files(column));
        table.columns.extend(more.cloned());
        let columns = &table.columns;
        table
            .widths
            .retain(|column, _| columns.iter().any(|(known, _)| known == column));
        table
    }

    /// Columns that files have and neither the configuration nor the database knows, in lower case:
    /// they were taken out of the configuration before anything with them was loaded.
    ///
    /// `since` is when this loader looked at the configuration: what was written later can be of a
    /// newer one.
    ///
    /// # Errors
    /// If a file is of a newer configuration, or nothing tells what such a column is.
    pub(in crate::redshift) fn lacking(
        &self,
        files: &[SourceFile<'_>],
        written_at: &dyn Fn(u64) -> i64,
        since: i64,
    ) -> Result<BTreeMap<String, Type>, LoadFault> {
        let mut lacking = BTreeMap::new();
        let taken = |file: &&SourceFile<'_>| self.spec.takes(&file.entry.dataset);
        for form in forms(files.iter().filter(taken)) {
            let unknown = form.names.iter().zip(&form.types);
            for (column, ty) in unknown.filter(|(column, _)| !self.has(column)) {
                let of_form = files
                    .iter()
                    .filter(taken)
                    .filter(|file| file.columns == *form);
                for file in of_form {
                    let table = &self.spec.name;
                    if written_at(file.seq) > since {
                        return Err(file.fault(format!(
                            "has the column `{column}`, which the table `{table}` lacks, and was written after this \
                             loader started: start it again, with the configuration that the job has now"
                        )));
                    }
                    let Some(ty) = ty else {
                        return Err(file.fault(format!(
                            "has the column `{column}`, which the table `{table}` lacks, of a type that Redshift has \
                             no column for: it was not written by a job for Redshift; begin with an empty prefix"
                        )));
                    };
                    lacking.insert(column.to_lowercase(), ty.clone());
                }
            }
        }
        Ok(lacking)
    }

    /// Whether the configuration or the database has a column of this name.
    pub(super) fn has(&self, column: &str) -> bool {
        let mut known = self.columns.iter().chain(&self.beside);
        known.any(|(known, _)| same_name(known, column))
    }

    /// Whether it takes the rejects of the job.
    pub(in crate::redshift) fn is_rejects(&self) -> bool {
        self.spec.takes("rejected")
    }

    /// What is done about text that is longer than a column. What makes a row the one that it is,
    /// its key and its order, is never cut, and nor is a part of a window, since it could become
    /// another group's. A reject has nowhere else to go.
    pub(super) fn remedy(&self, column: &str, too_long: TooLong) -> Remedy {
        let is_order = match &self.spec.kind {
            TableKind::Upsert { order, .. } => {
                order.iter().any(|it| it.eq_ignore_ascii_case(column))
            }
            _ => false,
        };
        let is_key = self
            .spec
            .key()
            .is_some_and(|key| key.iter().any(|it| it.eq_ignore_ascii_case(column)));
        let is_part = matches!(self.spec.kind, TableKind::WindowParts { .. });
        match too_long {
            _ if !self.stuck.contains(column) => Remedy::Widen,
            _ if self.is_rejects() => Remedy::Cut,
            TooLong::Cut if !is_key && !is_order && !is_part => Remedy::Cut,
            _ => Remedy::Reject,
        }
    }

    /// The narrow columns with this remedy, and their bytes.
    pub(super) fn narrow(&self, remedy: Remedy, too_long: TooLong) -> Vec<(&str, u32)> {
        let columns = self.widths.iter();
        columns
            .filter(|(column, _)| self.remedy(column, too_long) == remedy)
            .map(|(column, bytes)| (column.as_str(), *bytes))
            .collect()
    }

    /// A condition that holds for staged rows that are loaded, with the columns as those of `of`;
    /// none if all of them are.
    pub(super) fn fitting(&self, of: &str, too_long: TooLong) -> Option<String> {
        let fits: Vec<_> = self
            .narrow(Remedy::Reject, too_long)
            .into_iter()
            .map(|(column, bytes)| {
                format!(
                    "COALESCE(OCTET_LENGTH({of}.{}), 0) <= {bytes}",
                    sql::name(column)
                )
            })
            .collect();
        (!fits.is_empty()).then(|| fits.join(" AND "))
    }

    /// Whether rows of other tables that do not fit can go into it, as rejects.
    pub(super) fn takes_rows_of(&self, other: &RedshiftTable) -> bool {
        let has = |column: &str| self.columns.iter().any(|(known, _)| known == column);
        let is_known = |column: &String| {
            REJECT_COLUMNS.contains(&column.as_str()) || other.spec.column_type(column).is_some()
        };
        self.is_rejects()
            && REJECT_COLUMNS.iter().all(|column| has(column))
            && self.spec.required.iter().all(is_known)
    }

    /// A column of a staged reject, cut where it has to be; its encoding then ends with `,cut`, as
    /// that of one does that was cut when it was written.
    pub(super) fn rejected_value(&self, column: &str, too_long: TooLong) -> String {
        let name = sql::name(column);
        let cut = self.narrow(Remedy::Cut, too_long);
        let bytes = |column: &str| {
            cut.iter()
                .find(|(known, _)| *known == column)
                .map(|it| it.1)
        };
        let value = match bytes("payload") {
            // One that was cut when it was written says so already.
            Some(bytes) if column == "payload_encoding" => format!(
                "CASE WHEN OCTET_LENGTH({}) > {bytes} AND {name} NOT LIKE '%,cut' THEN {name} || ',cut' ELSE {name} END",
                sql::name("payload")
            ),
            _ => name,
        };
        bytes(column).map_or(value.clone(), |bytes| sql::cut(&value, bytes))
    }

    /// Whether files are copied straight into it: nothing has to be done to their rows. Those that
    /// are compared with the log are staged; but rejects are few, and compared in their table.
    pub(super) fn takes_files_as_they_are(&self) -> bool {
        self.spec.kind == TableKind::Append
            && (self.spec.time.is_none() || self.is_rejects())
            && self.widths.is_empty()
            && self.columns.iter().all(|(_, ty)| *ty != Type::Super)
    }
}

/// Whether two names are one to Redshift, which folds them to lower case.
pub(super) fn same_name(a: &str, b: &str) -> bool {
    let is_ascii = a.is_ascii() && b.is_ascii();
    a.eq_ignore_ascii_case(b) || (!is_ascii && a.to_lowercase() == b.to_lowercase())
}

/// The forms that files have, each once.
pub(super) fn forms<'f>(
    files: impl IntoIterator<Item = &'f SourceFile<'f>>,
) -> Vec<&'f Arc<FileColumns>> {
    let mut forms: Vec<&Arc<FileColumns>> = Vec::new();
    for file in files {
        if !forms.contains(&&file.columns) {
            forms.push(&file.columns);
        }
    }
    forms
}
