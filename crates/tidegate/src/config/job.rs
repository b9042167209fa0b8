//! Reads what happens to an event: `[schema]`, `[event-time]`, `[rules]`, `[enrich]`,
//! `[[lookups]]`, `[deduplication]` and `[[windows]]`.

use std::path::PathBuf;
use std::time::Duration;

use tidegate_core::spec::{
    AggregateFunction, AggregateSpec, EventTimeSpec, FieldSpec, FieldType, JobSpec, LookupColumn,
    LookupSpec, NamedExpr, StoredForm, WindowSpec,
};
use tidegate_engine::LookupSource;

use super::diagnostics::Diagnostic;
use super::reader::Section;
use super::tree::{Entry, Value};

const MILLISECOND: Duration = Duration::from_millis(1);

/// Reads everything that happens to an event.
pub fn read(root: &Section<'_>) -> (JobSpec, Vec<LookupSource>) {
    let fields = fields(&root.section("schema"));
    let event_time = event_time(&root.section("event-time"));
    let rules = expressions(&root.section("rules"));
    let enrich = expressions(&root.section("enrich"));
    let deduplication = root.section("deduplication");
    let dedup_key = deduplication.strings("key").unwrap_or_default();
    deduplication.finish();
    let mut lookups = Vec::new();
    let mut files = Vec::new();
    for section in root.sections("lookups") {
        let (lookup, file) = lookup(&section);
        lookups.push(lookup);
        files.push(file);
    }
    let windows = root.sections("windows").iter().map(window).collect();
    (
        JobSpec {
            fields,
            event_time,
            rules,
            enrich,
            lookups,
            dedup_key,
            windows,
            stored: StoredForm::default(),
        },
        files,
    )
}

fn fields(section: &Section<'_>) -> Vec<FieldSpec> {
    if section.entries().is_empty() {
        section.empty(
            "list the fields of an event: [schema], then lines such as amount = \"float64\"",
        );
    }
    section
        .entries()
        .iter()
        .filter_map(|entry| field(section, entry))
        .collect()
}

fn field(section: &Section<'_>, entry: &Entry) -> Option<FieldSpec> {
    let name = entry.key.clone();
    match &entry.node.value {
        Value::Table(table) => {
            let path = format!("schema.{name}");
            let inner = Section::of(section.context(), table, &entry.key_origin, &path);
            if inner.entry("type").is_none() {
                inner.missing("type", "write { type = \"string\", required = true }");
            }
            let ty = inner.from_str::<FieldType>("type");
            let required = inner.boolean("required").unwrap_or(false);
            inner.finish();
            Some(FieldSpec {
                name,
                ty: ty?,
                required,
            })
        }
        _ => Some(FieldSpec {
            name,
            ty: field_type(section, entry)?,
            required: false,
        }),
    }
}

fn field_type(section: &Section<'_>, entry: &Entry) -> Option<FieldType> {
    let context = section.context();
    let Some(text) = context.text(&entry.node) else {
        let diagnostic = section.refuse(entry, "must be the name of a type, as in \"string\"");
        context.report(diagnostic.hint("or a table: { type = \"string\", required = true }"));
        return None;
    };
    match text.parse() {
        Ok(ty) => Some(ty),
        Err(error) => {
            context.report(section.refuse(entry, error));
            None
        }
    }
}

fn event_time(section: &Section<'_>) -> EventTimeSpec {
    let delay = section
        .duration("delay", MILLISECOND)
        .unwrap_or(Duration::from_secs(600));
    let spec = EventTimeSpec {
        field: section.required_string(
            "field",
            "name the field with the event's time: [event-time] field = \"timestamp\"",
        ),
        column: section
            .string("column")
            .unwrap_or_else(|| "event_timestamp".to_owned()),
        delay,
        max_ahead: max_ahead(section, delay),
        idle_after: section
            .duration("idle-after", MILLISECOND)
            .unwrap_or(Duration::from_secs(60)),
    };
    section.finish();
    spec
}

/// The least that `max-ahead` is by default: clocks are wrong by seconds, however short the delay.
const MAX_AHEAD_LEAST: Duration = Duration::from_secs(60);

/// The delay by default: an event that is no further ahead than that leaves the watermark behind
/// the time that it is now, so that it makes no other late that comes at once. `none` is no limit.
fn max_ahead(section: &Section<'_>, delay: Duration) -> Option<Duration> {
    let value = section.parsed("max-ahead", |text| match text {
        "none" => Ok(None),
        _ => super::units::duration(text)
            .map(Some)
            .map_err(|message| format!("{message}; or \"none\" for no limit")),
    });
    value.unwrap_or(Some(delay.max(MAX_AHEAD_LEAST)))
}

fn expressions(section: &Section<'_>) -> Vec<NamedExpr> {
    let mut expressions = Vec::new();
    for entry in section.entries() {
        match section.context().text(&entry.node) {
            Some(sql) => expressions.push(NamedExpr {
                name: entry.key.clone(),
                sql: sql.to_owned(),
            }),
            None => {
                let diagnostic = section.refuse(entry, "must be an SQL expression in quotes");
                section
                    .context()
                    .report(diagnostic.hint("for example amount_in_range = \"amount > 0\""));
            }
        }
    }
    expressions
}

fn lookup(section: &Section<'_>) -> (LookupSpec, LookupSource) {
    let name = section.required_string("name", "each of [[lookups]] has a name");
    let path = section.required_string("path", "name the CSV file: path = \"merchants.csv\"");
    let on = section.required_string("on", "name the column of the event: on = \"merchant\"");
    let key = section.string("key").unwrap_or_else(|| on.clone());
    let columns = lookup_columns(&section.section("columns"));
    let reload_every = section
        .duration("reload-every", Duration::from_millis(100))
        .unwrap_or(Duration::from_secs(60));
    section.finish();
    let file = LookupSource {
        name: name.clone(),
        path: PathBuf::from(path),
        reload_every,
    };
    (
        LookupSpec {
            name,
            on,
            key,
            columns,
        },
        file,
    )
}

fn lookup_columns(section: &Section<'_>) -> Vec<LookupColumn> {
    if section.entries().is_empty() {
        section.empty("name the columns that are taken over: columns = { tier = \"string\" }");
    }
    let mut columns = Vec::new();
    for entry in section.entries() {
        let name = entry.key.clone();
        let column = match &entry.node.value {
            Value::Table(table) => {
                let inner = Section::of(section.context(), table, &entry.key_origin, &name);
                let from = inner.string("from").unwrap_or_else(|| name.clone());
                if inner.entry("type").is_none() {
                    inner.missing("type", "write { from = \"tier\", type = \"string\" }");
                }
                let ty = inner.from_str::<FieldType>("type");
                inner.finish();
                ty.map(|ty| LookupColumn { from, name, ty })
            }
            _ => field_type(section, entry).map(|ty| LookupColumn {
                from: name.clone(),
                name,
                ty,
            }),
        };
        columns.extend(column);
    }
    columns
}

fn window(section: &Section<'_>) -> WindowSpec {
    let name = section.required_string(
        "name",
        "each of [[windows]] has a name, which becomes its table's",
    );
    if section.entry("size").is_none() {
        section.missing("size", "write size = \"1m\"");
    }
    let size = section
        .duration("size", MILLISECOND)
        .unwrap_or(Duration::from_secs(60));
    let slide = section.duration("slide", MILLISECOND).unwrap_or(size);
    let group_by = section.strings("group-by").unwrap_or_default();
    let aggregates = section.section("aggregates");
    if aggregates.entries().is_empty() {
        aggregates.empty("say what is computed, as in [windows.aggregates] n = \"count(*)\"");
    }
    let aggregates = aggregates
        .entries()
        .iter()
        .filter_map(|entry| aggregate(section, entry))
        .collect();
    section.finish();
    WindowSpec {
        name,
        size,
        slide,
        group_by,
        aggregates,
    }
}

fn aggregate(section: &Section<'_>, entry: &Entry) -> Option<AggregateSpec> {
    let text = section.context().text(&entry.node).unwrap_or("");
    match parse_aggregate(text) {
        Some((function, input)) => Some(AggregateSpec {
            name: entry.key.clone(),
            function,
            input,
        }),
        None => {
            let message = format!(
                "`windows.aggregates.{}`: `{text}` is not an aggregate of the form function(expression)",
                entry.key
            );
            let hint = "write count(*), or count, sum, avg, min or max of an expression, as in sum(amount * 100)";
            section
                .context()
                .report(Diagnostic::error(entry.node.origin.clone(), message).hint(hint));
            None
        }
    }
}

/// `sum(amount)` is a function and an expression; what surrounds them is not accepted.
fn parse_aggregate(text: &str) -> Option<(AggregateFunction, Option<String>)> {
    let (name, rest) = text.trim().split_once('(')?;
    let input = rest.strip_suffix(')')?.trim();
    let function = match name.trim().to_ascii_lowercase().as_str() {
        "count" => AggregateFunction::Count,
        "sum" => AggregateFunction::Sum,
        "avg" => AggregateFunction::Avg,
        "min" => AggregateFunction::Min,
        "max" => AggregateFunction::Max,
        _ => return None,
    };
    if input == "*" {
        return (function == AggregateFunction::Count).then_some((function, None));
    }
    (!input.is_empty() && is_balanced(input)).then(|| (function, Some(input.to_owned())))
}

/// Whether no parenthesis closes that was not opened: `a) + sum(b` is two aggregates. Text in
/// quotes does not count.
fn is_balanced(sql: &str) -> bool {
    let mut depth = 0_i32;
    let mut quote = None;
    for c in sql.chars() {
        match (quote, c) {
            (Some(q), _) if c == q => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '(') => depth += 1,
            (None, ')') => depth -= 1,
            _ => {}
        }
        if depth < 0 {
            return false;
        }
    }
    depth == 0 && quote.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aggregates_are_a_function_of_an_expression() {
        let sum = |input: &str| Some((AggregateFunction::Sum, Some(input.to_owned())));
        assert_eq!(
            parse_aggregate("count(*)"),
            Some((AggregateFunction::Count, None))
        );
        assert_eq!(parse_aggregate("SUM( amount )"), sum("amount"));
        assert_eq!(
            parse_aggregate("sum(abs(a) * (b + 1))"),
            sum("abs(a) * (b + 1)")
        );
        assert_eq!(parse_aggregate("sum(length(')'))"), sum("length(')')"));
        for wrong in [
            "",
            "count",
            "sum(*)",
            "sum()",
            "sum(a) + sum(b)",
            "median(a)",
            "sum(a",
        ] {
            assert_eq!(parse_aggregate(wrong), None, "{wrong}");
        }
    }
}
