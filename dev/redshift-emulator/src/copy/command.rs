//! The COPY command: the options that Parquet files take, and no others.

use sqlparser::tokenizer::Token;

use crate::errors::SqlError;
use crate::sql::reserved::check_name;
use crate::sql::tokens::{
    after_parentheses, is, is_any, name, qualified_name_len, split_commas, starts, string,
    syntax_error, text,
};

/// A COPY that Redshift would start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct CopyCommand {
    /// As PostgreSQL reads it.
    pub(crate) table: String,
    /// The column list, where one was given.
    pub(crate) columns: Option<Vec<String>>,
    /// `s3://bucket/key`: of a manifest, or what the files' addresses begin with.
    pub(crate) from: String,
    pub(crate) manifest: bool,
    pub(crate) fill_record: bool,
    pub(crate) serialize_to_json: bool,
}

/// Options of COPY that files in a columnar format do not take.
const REFUSED: &[&str] = &[
    "ACCEPTANYDATE",
    "BLANKSASNULL",
    "BZIP2",
    "COMPROWS",
    "COMPUPDATE",
    "DATEFORMAT",
    "DELIMITER",
    "EMPTYASNULL",
    "ENCODING",
    "ENCRYPTED",
    "ESCAPE",
    "FIXEDWIDTH",
    "GZIP",
    "IGNOREALLERRORS",
    "IGNOREBLANKLINES",
    "IGNOREHEADER",
    "LZOP",
    "MASTER_SYMMETRIC_KEY",
    "MAXERROR",
    "NOLOAD",
    "NULL",
    "QUOTE",
    "READRATIO",
    "REGION",
    "REMOVEQUOTES",
    "ROUNDEC",
    "SSH",
    "TIMEFORMAT",
    "TRIMBLANKS",
    "TRUNCATECOLUMNS",
    "ZSTD",
];

impl CopyCommand {
    /// `tokens` begin with COPY.
    pub(crate) fn parse(tokens: &[Token]) -> Result<Self, SqlError> {
        let mut command = Self::default();
        let len = qualified_name_len(tokens.get(1..).unwrap_or_default());
        if len == 0 {
            return Err(syntax_error(tokens, 1));
        }
        check_name(tokens.get(1))?;
        command.table = text(tokens.get(1..=len).unwrap_or_default());
        let mut at = 1 + len;
        if tokens.get(at) == Some(&Token::LParen) {
            let end = after_parentheses(tokens, at)?;
            let mut columns = Vec::new();
            for column in split_commas(tokens.get(at + 1..end - 1).unwrap_or_default()) {
                check_name(column.first())?;
                match (column.len(), name(column.first())) {
                    (1, Some(column)) => columns.push(column),
                    _ => return Err(syntax_error(tokens, at + 1)),
                }
            }
            command.columns = Some(columns);
            at = end;
        }
        if !is(tokens.get(at), "FROM") {
            return Err(syntax_error(tokens, at));
        }
        command.from = string(tokens.get(at + 1)).ok_or_else(|| syntax_error(tokens, at + 1))?;
        if !command.from.starts_with("s3://") {
            return Err(SqlError::new(format_args!(
                "The specified S3 prefix '{}' does not begin with s3://",
                command.from
            )));
        }
        at += 2;
        command.options(tokens, at)?;
        Ok(command)
    }

    fn options(&mut self, tokens: &[Token], mut at: usize) -> Result<(), SqlError> {
        let mut authorized = false;
        let mut format = None;
        while let Some(token) = tokens.get(at) {
            let token = Some(token);
            let next = tokens.get(at + 1);
            if is_any(token, &["WITH"]) {
                at += 1;
            } else if is_any(token, &["IAM_ROLE", "CREDENTIALS"]) {
                at += 1 + usize::from(is_any(next, &["AS"]));
                authorization(tokens, at, is(token, "IAM_ROLE"))?;
                authorized = true;
                at += 1;
            } else if is_any(
                token,
                &["ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"],
            ) {
                string(next).ok_or_else(|| syntax_error(tokens, at + 1))?;
                authorized = true;
                at += 2;
            } else if is(token, "FORMAT") {
                at += 1 + usize::from(is(next, "AS"));
                format = Some(format_name(tokens, at)?);
                at += 1;
            } else if is(token, "PARQUET") {
                format = Some("PARQUET");
                at += 1;
            } else if is(token, "MANIFEST") {
                self.manifest = true;
                at += 1;
            } else if is(token, "FILLRECORD") {
                self.fill_record = true;
                at += 1;
            } else if is(token, "SERIALIZETOJSON") {
                self.serialize_to_json = true;
                at += 1;
            } else if is(token, "EXPLICIT_IDS") {
                at += 1;
            } else if is(token, "STATUPDATE") {
                at += 1 + usize::from(is_any(next, &["ON", "OFF", "TRUE", "FALSE"]));
            } else if is(token, "ACCEPTINVCHARS") {
                at += 1 + usize::from(is(next, "AS"));
                at += usize::from(string(tokens.get(at)).is_some());
            } else if is_any(token, &["CSV", "JSON", "AVRO", "ORC", "SHAPEFILE"]) {
                format = Some(format_name(tokens, at)?);
            } else if let Some(option) = name(token)
                && is_any(token, REFUSED)
            {
                return Err(SqlError::new(format_args!(
                    "{} argument is not supported for PARQUET based COPY",
                    option.to_uppercase()
                )));
            } else {
                return Err(syntax_error(tokens, at));
            }
        }
        if format.is_none() {
            return Err(SqlError::lacking("COPY of anything but FORMAT AS PARQUET"));
        }
        if !authorized {
            return Err(SqlError::new(
                "COPY from S3 requires credentials: IAM_ROLE, or ACCESS_KEY_ID and SECRET_ACCESS_KEY",
            ));
        }
        Ok(())
    }
}

fn format_name(tokens: &[Token], at: usize) -> Result<&'static str, SqlError> {
    if is(tokens.get(at), "PARQUET") {
        Ok("PARQUET")
    } else if starts(tokens.get(at..).unwrap_or_default(), &["PARQUET"]) {
        Err(syntax_error(tokens, at))
    } else if let Some(format) = name(tokens.get(at)) {
        Err(SqlError::lacking(format_args!(
            "COPY of {}: it reads PARQUET only",
            format.to_uppercase()
        )))
    } else {
        Err(syntax_error(tokens, at))
    }
}

fn authorization(tokens: &[Token], at: usize, role: bool) -> Result<(), SqlError> {
    if role && is(tokens.get(at), "DEFAULT") {
        return Ok(());
    }
    let value = string(tokens.get(at)).ok_or_else(|| syntax_error(tokens, at))?;
    if !role {
        return Ok(());
    }
    // Roles that one takes after the other stand side by side.
    let good = value == "default"
        || value.split(',').all(|arn| {
            let parts: Vec<&str> = arn.splitn(6, ':').collect();
            matches!(parts.as_slice(), ["arn", partition, "iam", "", account, role]
                if partition.starts_with("aws")
                    && account.len() == 12
                    && account.bytes().all(|b| b.is_ascii_digit())
                    && role.strip_prefix("role/").is_some_and(|name| !name.is_empty()))
        });
    if good {
        Ok(())
    } else {
        Err(SqlError::new(format_args!(
            "Invalid IAM role ARN '{value}'"
        )))
    }
}
