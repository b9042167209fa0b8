//! How large a question becomes when DuckDB plans it.
//!
//! DuckDB puts what a name stands for in the place of the name: a short text can become a plan of
//! any size. Planning looks at no interrupt, and goes deeper on the stack with each name that
//! stands for another. So the size is computed beforehand, from the statement as DuckDB has parsed
//! it, and what is too large is refused.
//!
//! The unit is a part: about what a literal costs to plan, which is a quarter of a microsecond and
//! some hundred bytes. The prices were measured with DuckDB 1.5.6; none is meant to be exact.
//!
//! Two things have a bound of their own, because they take time and little memory: putting joined
//! tables in order, and taking apart what the alternatives of OR have in common.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::text;
use crate::tree::Functions;

mod expression;

use expression::{Argument, Expression, equalities};

/// Parts of a statement, at most: it is planned in well under a second.
const PARTS_MAX: u64 = 1_000_000;
/// What the joins and alternatives of a statement cost, at most: two seconds.
const WORK_MAX: u64 = 8_000_000;
/// Names of WITH and subqueries that stand for one another, at most.
const DEPTH_MAX: u32 = 64;

/// Columns that a table of the job is taken to have: which it has is not known here.
const TABLE_COLUMNS: u64 = 32;

/// What a part of an alias costs where the alias is used, and one of an argument where a macro uses
/// it: DuckDB copies and compares it again and again.
const ALIAS: u64 = 200;
/// What tables that are joined cost, times the square of their number.
const JOINED: u64 = 150;
/// What columns that are joined by being equal cost, times the square of their number and the
/// square of the tables': from `a = b` and `b = c` DuckDB derives `a = c`, and weighs each.
const EQUAL: u64 = 1;
/// What the conditions cost that are joined by AND within the alternatives of an OR, times the
/// square of their number: DuckDB compares each with each.
const ALTERNATIVES: u64 = 3;
/// What a column of a query costs.
const COLUMN: u64 = 50;
/// What a field costs that is nested in a column of a query.
const FIELD: u64 = 250;
/// What a set of GROUP BY CUBE, ROLLUP or GROUPING SETS costs.
const GROUPING_SET: u64 = 20;
/// What a query costs that makes one row of many, or that stands for a value.
const GROUPED: u64 = 70;
/// What PIVOT and UNPIVOT cost.
const PIVOTED: u64 = 3_000;
/// What SUMMARIZE costs for each column.
const SUMMARIZED: u64 = 1_200;
/// Columns of its answer.
const SUMMARY_COLUMNS: u64 = 12;
/// What a view of `information_schema` or `pg_catalog` costs.
const DESCRIPTION: u64 = 20_000;

/// Parts of names of functions that put their arguments into fields.
const NESTING: [&str; 5] = ["struct", "row", "map", "zip", "unnest"];

/// Says why a statement is too large to be planned.
pub(crate) fn check(tree: &Value, functions: &Functions) -> Result<(), String> {
    let mut names = WithNames {
        known: Vec::new(),
        functions,
        macros: Vec::new(),
    };
    let mut size = PlanSize::default();
    let nothing = Frame::within(None);
    names.expression(&tree["statements"], &nothing, &mut size);
    if size.depth > DEPTH_MAX {
        return Err(format!(
            "WITH and subqueries stand for one another {} deep, and may {DEPTH_MAX} deep; put some \
             of them into one",
            size.depth
        ));
    }
    let parts = size.parts.saturating_add(size.grouped);
    if parts > PARTS_MAX {
        return Err(format!(
            "the statement is too large to be planned: it becomes {parts} parts, and may \
             have {PARTS_MAX}. A name of WITH, an alias and a field of a struct count what they stand \
             for each time that they are used; use names less often, or ask in several questions"
        ));
    }
    let work = size.work.saturating_add(size.work_again);
    if work > WORK_MAX {
        return Err(format!(
            "the statement has too many joins or alternatives to be planned: they cost {work}, and \
             may cost {WORK_MAX}. Tables and the equalities that join them count with the squares of \
             their numbers, and so do conditions that are joined by AND within an OR; join fewer \
             tables or by fewer columns, use IN in the place of OR, or ask in several questions"
        ));
    }
    Ok(())
}

/// What a query or a relation is planned as.
#[derive(Debug, Clone, Copy, Default)]
struct PlanSize {
    parts: u64,
    /// What is added for queries that make one row of many: DuckDB plans all that is within such a
    /// query twice.
    grouped: u64,
    /// What joins and alternatives cost.
    work: u64,
    /// What of that is added because a query that makes one row of many is within another such.
    work_again: u64,
    /// Whether a query that makes one row of many is within.
    is_grouped: bool,
    /// Tables that are joined with those around it.
    joined: u64,
    /// Equalities between columns that join these tables.
    equal: u64,
    /// What `work` has already for joining them.
    joins: u64,
    columns: u64,
    /// Fields nested in the column that has most of them.
    fields: u64,
    /// How many queries stand for one another.
    depth: u32,
}

impl PlanSize {
    const TABLE: PlanSize = PlanSize {
        parts: 400,
        grouped: 0,
        work: 0,
        work_again: 0,
        is_grouped: false,
        joined: 1,
        equal: 0,
        joins: 0,
        columns: TABLE_COLUMNS,
        fields: 0,
        depth: 0,
    };

    fn add(&mut self, other: PlanSize) {
        self.parts = self.parts.saturating_add(other.parts);
        self.grouped = self.grouped.saturating_add(other.grouped);
        self.joined = self.joined.saturating_add(other.joined);
        self.work = self.work.saturating_add(other.work);
        self.work_again = self.work_again.saturating_add(other.work_again);
        self.is_grouped |= other.is_grouped;
        self.equal = self.equal.saturating_add(other.equal);
        self.joins = self.joins.saturating_add(other.joins);
        self.columns = self.columns.saturating_add(other.columns);
        self.fields = self.fields.max(other.fields);
        self.depth = self.depth.max(other.depth);
    }

    fn all_fields(self) -> u64 {
        self.columns.saturating_mul(self.fields.saturating_add(1))
    }

    fn charge(&mut self, parts: u64) {
        self.parts = self.parts.saturating_add(parts);
    }

    /// Charges for joining its tables, as far as that has not been done.
    fn charge_joins(&mut self) {
        let square = |n: u64| n.saturating_mul(n);
        let tables = square(self.joined);
        let columns = match self.equal {
            0 => 0,
            equal => square(equal.saturating_add(1)),
        };
        let each = JOINED.saturating_add(EQUAL.saturating_mul(columns));
        let joins = match self.joined {
            0 | 1 => 0,
            _ => tables.saturating_mul(each),
        };
        self.work = self.work.saturating_add(joins.saturating_sub(self.joins));
        self.joins = self.joins.max(joins);
    }

    /// Of a query that makes one row of many, or stands for a value: DuckDB plans twice what is
    /// within one that is within it.
    fn repeat(&mut self, within: PlanSize, parts: u64) {
        self.grouped = self.grouped.saturating_mul(2).saturating_add(parts);
        if within.is_grouped {
            let again = within.work_again.saturating_mul(2);
            self.work_again = again.saturating_add(within.work);
        }
        self.is_grouped = true;
    }

    /// Of a query that makes one row of many: it is repeated, and DuckDB does not put its tables in
    /// order together with those around it.
    fn group(&mut self, within: PlanSize, parts: u64) {
        self.repeat(within, parts);
        self.joined = 1;
        self.equal = 0;
        self.joins = 0;
    }
}

/// What the expressions of a query can name.
struct Frame<'a> {
    outer: Option<&'a Frame<'a>>,
    from: PlanSize,
    /// Names of relations: as a column, each is a struct of all of its columns.
    relations: HashSet<String>,
    aliases: HashMap<String, Expression>,
    /// What the parameters of a macro stand for.
    parameters: HashMap<&'a str, Argument>,
}

impl<'a> Frame<'a> {
    fn within(outer: Option<&'a Frame<'a>>) -> Self {
        Frame {
            outer,
            from: PlanSize::default(),
            relations: HashSet::new(),
            aliases: HashMap::new(),
            parameters: HashMap::new(),
        }
    }

    /// Fields of a column, at most.
    fn fields(&self, name: &str) -> u64 {
        let here = match self.relations.contains(name) {
            true => self.from.all_fields(),
            false => self.from.fields,
        };
        here.max(self.outer.map_or(0, |outer| outer.fields(name)))
    }

    fn parameter(&self, name: &str) -> Option<Argument> {
        let outer = || self.outer.and_then(|outer| outer.parameter(name));
        self.parameters.get(name).copied().or_else(outer)
    }

    fn columns(&self) -> u64 {
        let outer = self.outer.map_or(0, Frame::columns);
        self.from.columns.max(outer).max(1)
    }
}

/// Names that WITH has given, and what each stands for.
struct WithNames<'a> {
    known: Vec<(String, PlanSize)>,
    functions: &'a Functions,
    /// Macros of which the bodies are being looked at.
    macros: Vec<&'a str>,
}

impl WithNames<'_> {
    fn query(&mut self, node: &Value, outer: &Frame<'_>) -> PlanSize {
        let outside = self.known.len();
        for entry in node["cte_map"]["map"].as_array().into_iter().flatten() {
            let name = lower(entry, "key");
            let size = self.query(&entry["value"]["query"]["node"], outer);
            self.known.push((name, size));
        }
        let mut size = match text(node, "type").as_deref() {
            Some("SELECT_NODE") => self.select(node, outer),
            _ => self.set_operation(node, outer),
        };
        self.known.truncate(outside);
        size.depth += 1;
        size.charge(COLUMN.saturating_mul(size.columns));
        size.charge(FIELD.saturating_mul(size.fields));
        size
    }

    /// UNION and the like, and WITH RECURSIVE.
    fn set_operation(&mut self, node: &Value, outer: &Frame<'_>) -> PlanSize {
        let left = self.query(&node["left"], outer);
        if let Some(name) = text(node, "cte_name") {
            let itself = PlanSize {
                columns: left.columns,
                fields: left.fields,
                depth: left.depth,
                ..PlanSize::TABLE
            };
            self.known.push((name.to_lowercase(), itself));
        }
        let right = self.query(&node["right"], outer);
        let mut size = left;
        size.add(right);
        size.joined = left.joined.max(right.joined);
        size.equal = left.equal.max(right.equal);
        size.joins = left.joins.max(right.joins);
        size.columns = left.columns.max(right.columns);
        size.fields = left.fields.saturating_add(right.fields);
        let mut frame = Frame::within(Some(outer));
        frame.from = size;
        // JSON's own nesting bounds that of `left` and `right`; they do not count as depth.
        size.depth = size.depth.saturating_sub(1);
        let modifiers = self.expression(&node["modifiers"], &frame, &mut size);
        size.charge(modifiers.parts);
        size
    }

    fn select(&mut self, node: &Value, outer: &Frame<'_>) -> PlanSize {
        let mut frame = Frame::within(Some(outer));
        let mut size = self.relation(&node["from_table"], &mut frame);
        size.equal = size.equal.saturating_add(equalities(&node["where_clause"]));
        let from = size;
        let (mut columns, mut fields) = (0u64, 0u64);
        let mut is_aggregate =
            text(node, "aggregate_handling").as_deref() == Some("FORCE_AGGREGATES");
        let mut inner = PlanSize::default();
        let mut selected = Vec::new();
        for item in node["select_list"].as_array().into_iter().flatten() {
            let is_star = text(item, "class").as_deref() == Some("STAR");
            let mut expression = self.expression(item, &frame, &mut inner);
            if expression.is_each_column {
                let each = frame.columns();
                expression.parts = expression.parts.saturating_mul(each);
                columns = columns.saturating_add(each);
            } else {
                columns = columns.saturating_add(1);
            }
            fields = fields.max(match is_star {
                true => frame.from.fields,
                false => expression.fields,
            });
            inner.charge(expression.parts);
            is_aggregate |= expression.is_aggregate;
            let alias = lower(item, "alias");
            if !alias.is_empty() {
                frame.aliases.insert(alias, expression);
            }
            selected.push(expression);
        }
        inner.charge(by_place(node, &selected));
        for member in [
            "where_clause",
            "group_expressions",
            "having",
            "qualify",
            "modifiers",
        ] {
            let expression = self.expression(&node[member], &frame, &mut inner);
            inner.charge(match expression.is_each_column {
                true => expression.parts.saturating_mul(frame.columns()),
                false => expression.parts,
            });
        }
        let sets = node["group_sets"].as_array().map_or(0, Vec::len) as u64;
        let written = inner.parts;
        inner.charge(GROUPING_SET.saturating_mul(sets));
        size.add(inner);
        size.charge_joins();
        let within = if inner.is_grouped { size } else { from };
        if is_aggregate || sets > 0 || !node["having"].is_null() {
            size.group(within, GROUPED.saturating_add(written));
        }
        size.columns = columns;
        size.fields = fields;
        size
    }

    /// A relation of FROM; the frame knows its columns from here on.
    fn relation(&mut self, node: &Value, frame: &mut Frame<'_>) -> PlanSize {
        let kind = text(node, "type").unwrap_or_default();
        let size = match kind.as_str() {
            "JOIN" => {
                let mut size = self.relation(&node["left"], frame);
                size.add(self.relation(&node["right"], frame));
                let mut inner = PlanSize::default();
                let condition = self.expression(&node["condition"], frame, &mut inner);
                inner.charge(condition.parts);
                let using = match text(node, "ref_type").as_deref() {
                    Some("NATURAL") => TABLE_COLUMNS,
                    _ => node["using_columns"].as_array().map_or(0, Vec::len) as u64,
                };
                inner.charge(using);
                inner.equal = inner.equal.saturating_add(using);
                inner.equal = inner.equal.saturating_add(equalities(&node["condition"]));
                size.add(inner);
                return size;
            }
            "BASE_TABLE" => self.table(node),
            "SUBQUERY" => self.query(&node["subquery"]["node"], frame),
            "EMPTY" | "EMPTY_FROM" => PlanSize {
                joined: 0,
                columns: 0,
                ..PlanSize::TABLE
            },
            "PIVOT" => self.pivot(node, frame),
            "SHOW_REF" if !node["query"].is_null() => {
                let mut size = self.query(&node["query"], frame);
                if lower(node, "show_type") == "summary" {
                    let within = size;
                    size.group(within, SUMMARIZED.saturating_mul(size.columns));
                }
                size.columns = SUMMARY_COLUMNS;
                size.fields = 0;
                size
            }
            // VALUES, functions, DESCRIBE.
            _ => {
                let mut size = PlanSize::TABLE;
                let inside = self.expression(node, frame, &mut size);
                size.charge(inside.parts);
                size.fields = size.fields.max(inside.fields);
                size.joined = 1;
                size.equal = 0;
                size.joins = 0;
                size
            }
        };
        let alias = lower(node, "alias");
        let name = match alias.is_empty() {
            true => lower(node, "table_name"),
            false => alias,
        };
        if !name.is_empty() {
            frame.relations.insert(name);
        }
        frame.from.add(size);
        size
    }

    fn table(&self, node: &Value) -> PlanSize {
        let name = lower(node, "table_name");
        let is_bare = lower(node, "schema_name").is_empty();
        let known = self.known.iter().rev().find(|(known, _)| *known == name);
        match known {
            Some((_, size)) if is_bare => *size,
            _ => {
                let mut size = PlanSize::TABLE;
                if ["information_schema", "pg_catalog"].contains(&&*lower(node, "schema_name")) {
                    size.charge(DESCRIPTION);
                }
                size
            }
        }
    }

    fn pivot(&mut self, node: &Value, frame: &mut Frame<'_>) -> PlanSize {
        let mut size = self.relation(&node["source"], frame);
        let pivots = node["pivots"].as_array().into_iter().flatten();
        let values = pivots.fold(1u64, |product, pivot| {
            let entries = pivot["entries"].as_array().map_or(1, Vec::len);
            product.saturating_mul(entries as u64)
        });
        let aggregates = node["aggregates"].as_array().map_or(1, Vec::len) as u64;
        let made = values.saturating_mul(aggregates.max(1));
        let mut inner = PlanSize::default();
        for member in ["aggregates", "pivots"] {
            let parts = self.expression(&node[member], frame, &mut inner).parts;
            inner.charge(parts.saturating_mul(values));
        }
        let within = size;
        size.add(inner);
        size.charge_joins();
        size.charge(COLUMN.saturating_mul(made));
        size.group(within, PIVOTED.saturating_add(made));
        size.columns = size.columns.saturating_add(made);
        size
    }
}

/// What it costs that GROUP BY, ORDER BY and DISTINCT ON name what is selected by its place.
fn by_place(query: &Value, selected: &[Expression]) -> u64 {
    let each = |list: &'static str| {
        let modifiers = query["modifiers"].as_array().into_iter().flatten();
        modifiers.flat_map(move |modifier| modifier[list].as_array().into_iter().flatten())
    };
    let grouped = query["group_expressions"].as_array().into_iter().flatten();
    let ordered = each("orders").map(|order| &order["expression"]);
    let places = grouped
        .chain(ordered)
        .chain(each("distinct_on_targets"))
        .filter_map(|item| item["value"]["value"].as_u64()?.checked_sub(1))
        .filter_map(|place| selected.get(usize::try_from(place).ok()?));
    places.fold(0, |sum, expression| {
        sum.saturating_add(expression.where_used())
    })
}

fn lower(node: &Value, member: &str) -> String {
    text(node, member).unwrap_or_default().to_lowercase()
}

#[cfg(test)]
mod tests;
