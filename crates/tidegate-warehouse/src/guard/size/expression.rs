//! How large an expression becomes.

use serde_json::Value;

use super::{ALIAS, ALTERNATIVES, Frame, GROUPED, NESTING, PlanSize, WithNames, lower, text};
use crate::tree::Macro;

/// How often DuckDB plans what BETWEEN compares, and what it costs beside.
const BETWEEN: (u64, u64) = (5, 25);
/// What a lambda or `->` costs. DuckDB plans what is in one twice: `->` could be either, and what a
/// lambda takes from outside is looked for first.
const LAMBDA: u64 = 10;
/// What a function costs that takes a lambda: where one is wrong, DuckDB looks at it twice.
const WITH_LAMBDA: u64 = 250;

/// What an expression is planned as.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Expression {
    pub(super) parts: u64,
    /// Fields nested in its value.
    pub(super) fields: u64,
    /// Whether it stands for one expression a column.
    pub(super) is_each_column: bool,
    pub(super) is_aggregate: bool,
}

impl Expression {
    pub(super) fn add(&mut self, other: Expression) {
        self.parts = self.parts.saturating_add(other.parts);
        self.fields = self.fields.saturating_add(other.fields);
        self.is_each_column |= other.is_each_column;
        self.is_aggregate |= other.is_aggregate;
    }

    /// What it costs where something else stands for it. What is one part is no more than what
    /// stands for it.
    pub(super) fn where_used(self) -> u64 {
        match self.parts {
            0 | 1 => 0,
            parts => ALIAS.saturating_mul(parts),
        }
    }
}

/// What a parameter of a macro stands for, with the queries in it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Argument {
    expression: Expression,
    size: PlanSize,
}

impl WithNames<'_> {
    /// An expression, or what has some within. The queries in it are added to `size`.
    pub(super) fn expression(
        &mut self,
        node: &Value,
        frame: &Frame<'_>,
        size: &mut PlanSize,
    ) -> Expression {
        let mut sum = Expression::default();
        let members = match node {
            Value::Array(items) => {
                for item in items {
                    sum.add(self.expression(item, frame, size));
                }
                return sum;
            }
            Value::Object(members) => members,
            _ => return sum,
        };
        if members.contains_key("cte_map") {
            let query = self.query(node, frame);
            size.add(query);
            sum.fields = query.fields;
            return sum;
        }
        let class = text(node, "class").unwrap_or_default();
        match class.as_str() {
            "CONSTANT" => {
                sum.parts = 1;
                return sum;
            }
            "COLUMN_REF" => return column(node, frame, size),
            "BETWEEN" => return self.between(node, frame, size),
            "CASE" => return self.case(node, frame, size),
            "LAMBDA" => return self.lambda(node, frame, size),
            "SUBQUERY" => return self.subquery(node, frame, size),
            "FUNCTION" => return self.function(node, frame, size),
            _ => {}
        }
        // An aggregate or a column in a subquery is the subquery's.
        for member in members.values() {
            sum.add(self.expression(member, frame, size));
        }
        match class.as_str() {
            "" => return sum,
            "STAR" => {
                sum.is_each_column = true;
                sum.fields = frame
                    .columns()
                    .saturating_mul(frame.from.fields.saturating_add(1));
            }
            "CONJUNCTION" if lower(node, "type") == "conjunction_or" => {
                let alternatives = alternatives(node);
                let square = alternatives.saturating_mul(alternatives);
                let work = ALTERNATIVES.saturating_mul(square);
                size.work = size.work.saturating_add(work);
            }
            _ => {}
        }
        sum.parts = sum.parts.saturating_add(1);
        sum
    }

    /// An expression that DuckDB plans so often. The queries in it are added to `size` as often.
    fn repeated(
        &mut self,
        node: &Value,
        times: u64,
        frame: &Frame<'_>,
        size: &mut PlanSize,
    ) -> Expression {
        let mut inner = PlanSize::default();
        let mut expression = self.expression(node, frame, &mut inner);
        (0..times).for_each(|_| size.add(inner));
        expression.parts = expression.parts.saturating_mul(times);
        expression
    }

    fn between(&mut self, node: &Value, frame: &Frame<'_>, size: &mut PlanSize) -> Expression {
        let (times, parts) = BETWEEN;
        let mut sum = self.repeated(&node["input"], times, frame, size);
        for member in ["lower", "upper"] {
            sum.add(self.expression(&node[member], frame, size));
        }
        sum.parts = sum.parts.saturating_add(parts);
        sum
    }

    /// The operand of a CASE has been copied for each WHEN.
    fn case(&mut self, node: &Value, frame: &Frame<'_>, size: &mut PlanSize) -> Expression {
        let mut sum = self.expression(&node["else_expr"], frame, size);
        let checks = node["case_checks"]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        let operand = |check: &Value| check["when_expr"]["left"].clone();
        let first = checks.first().map(operand).unwrap_or_default();
        let is_copied = checks.len() > 1 && !first.is_null();
        for check in checks {
            sum.add(self.expression(&check["then_expr"], frame, size));
            let condition = &check["when_expr"];
            if !is_copied || lower(condition, "type") != "compare_equal" {
                sum.add(self.expression(condition, frame, size));
                continue;
            }
            let left = self.expression(&condition["left"], frame, size);
            if condition["left"] == first {
                size.charge(left.where_used());
            }
            sum.add(left);
            sum.add(self.expression(&condition["right"], frame, size));
            sum.parts = sum.parts.saturating_add(1);
        }
        sum.parts = sum.parts.saturating_add(1);
        sum
    }

    fn lambda(&mut self, node: &Value, frame: &Frame<'_>, size: &mut PlanSize) -> Expression {
        let mut sum = self.repeated(&node["lhs"], 2, frame, size);
        sum.add(self.repeated(&node["expr"], 2, frame, size));
        sum.parts = sum.parts.saturating_add(LAMBDA);
        sum
    }

    /// One that stands for a value or for whether there are rows is an aggregate as DuckDB plans
    /// it.
    fn subquery(&mut self, node: &Value, frame: &Frame<'_>, size: &mut PlanSize) -> Expression {
        let mut sum = self.expression(&node["child"], frame, size);
        let mut query = PlanSize::default();
        let inside = self.expression(&node["subquery"], frame, &mut query);
        if ["scalar", "exists"].contains(&&*lower(node, "subquery_type")) {
            query.repeat(query, GROUPED);
        }
        size.add(query);
        sum.fields = sum.fields.saturating_add(inside.fields);
        sum.parts = sum.parts.saturating_add(1);
        sum
    }

    fn function(&mut self, node: &Value, frame: &Frame<'_>, size: &mut PlanSize) -> Expression {
        let name = lower(node, "function_name");
        let functions = self.functions;
        let mut sum = match functions.macros.get_key_value(&name) {
            // Within what a macro stands for, its own name is that of a function.
            Some((name, macros)) if !self.macros.contains(&name.as_str()) => {
                let arguments = self.macro_arguments(node, frame);
                self.macros.push(name);
                let largest = self.largest_call(macros, &arguments, frame);
                self.macros.pop();
                size.add(largest.1);
                largest.0
            }
            _ => self.arguments(node, frame, size),
        };
        let members = node.as_object().into_iter().flatten();
        for (_, member) in members.filter(|(member, _)| *member != "children") {
            sum.add(self.expression(member, frame, size));
        }
        sum.is_aggregate |= functions.aggregates.contains(&name);
        if NESTING.iter().any(|part| name.contains(part)) {
            let children = node["children"].as_array().map_or(0, Vec::len);
            sum.fields = sum.fields.saturating_add(children as u64);
        }
        sum.parts = sum.parts.saturating_add(1);
        sum
    }

    fn arguments(&mut self, node: &Value, frame: &Frame<'_>, size: &mut PlanSize) -> Expression {
        let children = node["children"].as_array().map_or(&[][..], Vec::as_slice);
        let is_lambda = |child: &Value| lower(child, "class") == "lambda";
        let takes_lambda = children.iter().any(is_lambda);
        let mut sum = Expression::default();
        for child in children {
            let times = if takes_lambda && !is_lambda(child) {
                2
            } else {
                1
            };
            sum.add(self.repeated(child, times, frame, size));
        }
        if takes_lambda {
            sum.parts = sum.parts.saturating_add(WITH_LAMBDA);
        }
        sum
    }

    fn macro_arguments(&mut self, node: &Value, frame: &Frame<'_>) -> Vec<(String, Argument)> {
        let children = node["children"].as_array().into_iter().flatten();
        children
            .map(|child| {
                let mut argument = Argument::default();
                argument.expression = self.expression(child, frame, &mut argument.size);
                (lower(child, "alias"), argument)
            })
            .collect()
    }

    /// There may be several macros with a name.
    fn largest_call(
        &mut self,
        macros: &[Macro],
        arguments: &[(String, Argument)],
        frame: &Frame<'_>,
    ) -> (Expression, PlanSize) {
        let calls = macros.iter().map(|one| self.call(one, arguments, frame));
        let parts = |(expression, size): &(Expression, PlanSize)| {
            let planned = size.parts.saturating_add(size.grouped);
            expression.parts.saturating_add(planned)
        };
        calls.max_by_key(parts).unwrap_or_default()
    }

    fn call(
        &mut self,
        called: &Macro,
        arguments: &[(String, Argument)],
        frame: &Frame<'_>,
    ) -> (Expression, PlanSize) {
        let mut inner = Frame::within(Some(frame));
        inner.from = frame.from;
        let is_known = |name: &String| called.parameters.contains(name);
        let mut by_place = arguments.iter().filter(|(name, _)| !is_known(name));
        for parameter in &called.parameters {
            let by_name = arguments.iter().find(|(name, _)| name == parameter);
            if let Some((_, argument)) = by_name.or_else(|| by_place.next()) {
                inner.parameters.insert(parameter, *argument);
            }
        }
        let mut size = PlanSize::default();
        let expression = match called.is_table {
            true => {
                size = self.query(&called.query, &inner);
                Expression::default()
            }
            false => self.expression(&called.query["select_list"][0], &inner, &mut size),
        };
        (expression, size)
    }
}

/// A column, or an alias of the same SELECT.
fn column(node: &Value, frame: &Frame<'_>, size: &mut PlanSize) -> Expression {
    let names = node["column_names"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let name = names.first().and_then(Value::as_str).unwrap_or_default();
    let name = name.to_lowercase();
    if let Some(argument) = frame.parameter(&name) {
        size.add(argument.size);
        size.charge(argument.expression.where_used());
        return argument.expression;
    }
    // Of a longer name, the first part says which relation it is of.
    let whole = if names.len() == 1 { name.as_str() } else { "" };
    let alias = frame.aliases.get(&name).copied().unwrap_or_default();
    size.charge(alias.where_used());
    Expression {
        parts: alias.parts.saturating_add(1),
        fields: alias.fields.max(frame.fields(whole)),
        ..Expression::default()
    }
}

/// How many conditions the alternatives of an OR have that are joined by AND.
fn alternatives(node: &Value) -> u64 {
    let children = || node["children"].as_array().into_iter().flatten();
    let of = |child: &Value| match lower(child, "type").as_str() {
        "conjunction_or" => alternatives(child),
        "conjunction_and" => child["children"].as_array().map_or(0, Vec::len) as u64,
        _ => 0,
    };
    children().map(of).sum()
}

/// How many equalities a condition has in which neither side is a constant. Those of the queries in
/// it are theirs.
pub(super) fn equalities(node: &Value) -> u64 {
    let members = match node {
        Value::Array(items) => return items.iter().map(equalities).sum(),
        Value::Object(members) if members.contains_key("cte_map") => return 0,
        Value::Object(members) => members,
        _ => return 0,
    };
    let within: u64 = members.values().map(equalities).sum();
    let is_constant = |side: &str| lower(&node[side], "class") == "constant";
    let kind = lower(node, "type");
    let is_equality = ["compare_equal", "compare_not_distinct_from"].contains(&kind.as_str());
    within + u64::from(is_equality && !is_constant("left") && !is_constant("right"))
}
