//! Comparisons of floats, as a warehouse has them: 0 equals -0, and NaN equals NaN and is greater
//! than all others, whatever its sign. Arrow's kernels compare bits.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float32Array, Float64Array};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{DFSchema, Result, ScalarValue, exec_err};
use datafusion_expr::expr::{InList, ScalarFunction};
use datafusion_expr::{
    Between, BinaryExpr, Case, ColumnarValue, Expr, ExprSchemable, Operator, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// Makes the operands of comparisons such that their bits compare as their values do.
pub(crate) fn by_value(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let is_float = |expr: &Expr| {
        Ok::<_, datafusion_common::DataFusionError>(expr.get_type(schema)?.is_floating())
    };
    let is_float_pair = |args: &[Expr]| match args {
        [a, b] => Ok::<_, datafusion_common::DataFusionError>(is_float(a)? && is_float(b)?),
        _ => Ok(false),
    };
    expr.transform_up(|node| {
        Ok(match node {
            Expr::BinaryExpr(BinaryExpr { left, op, right })
                if is_comparison(op) && is_float(&left)? && is_float(&right)? =>
            {
                let (left, right) = binary(*left, op, *right);
                Transformed::yes(Expr::BinaryExpr(BinaryExpr::new(
                    Box::new(left),
                    op,
                    Box::new(right),
                )))
            }
            Expr::Between(Between {
                expr,
                negated,
                low,
                high,
            }) if is_float(&expr)? => {
                let (_, low) = binary(Expr::default(), Operator::GtEq, *low);
                let (_, high) = binary(Expr::default(), Operator::LtEq, *high);
                let expr = if is_known(&low) && is_known(&high) {
                    plain(*expr)
                } else {
                    canonical(*expr)
                };
                let between = Between::new(Box::new(expr), negated, Box::new(low), Box::new(high));
                Transformed::yes(Expr::Between(between))
            }
            Expr::InList(InList {
                expr,
                list,
                negated,
            }) if is_float(&expr)? => {
                let list = list.into_iter().map(canonical).collect();
                Transformed::yes(Expr::InList(InList::new(
                    Box::new(canonical(*expr)),
                    list,
                    negated,
                )))
            }
            Expr::Case(Case {
                expr: Some(expr),
                when_then_expr,
                else_expr,
            }) if is_float(&expr)? => {
                let cases = when_then_expr.into_iter();
                let cases = cases.map(|(when, then)| (Box::new(canonical(*when)), then));
                let expr = Some(Box::new(canonical(*expr)));
                Transformed::yes(Expr::Case(Case::new(expr, cases.collect(), else_expr)))
            }
            Expr::ScalarFunction(ScalarFunction { func, args })
                if func.name() == "nullif" && is_float_pair(&args)? =>
            {
                let [value, other] = <[Expr; 2]>::try_from(args).unwrap_or_default();
                let null = ScalarValue::try_from(&value.get_type(schema)?)?;
                let (left, right) = binary(value.clone(), Operator::Eq, other);
                let equal = BinaryExpr::new(Box::new(left), Operator::Eq, Box::new(right));
                let then = Box::new(Expr::Literal(null, None));
                let cases = vec![(Box::new(Expr::BinaryExpr(equal)), then)];
                Transformed::yes(Expr::Case(Case::new(None, cases, Some(Box::new(value)))))
            }
            node => Transformed::no(node),
        })
    })
    .map(|transformed| transformed.data)
}

fn is_comparison(op: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(
        op,
        Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom
    )
}

/// The two sides of a comparison. A side that is known costs nothing: where it is zero, its sign
/// says on which side of it both zeros are.
fn binary(left: Expr, op: Operator, right: Expr) -> (Expr, Expr) {
    // Whether zero on the right is to be the lesser one.
    let is_below = match op {
        Operator::GtEq | Operator::Lt => Some(true),
        Operator::Gt | Operator::LtEq => Some(false),
        _ => None,
    };
    match (zero(&left), zero(&right), is_below) {
        (_, Some(zero), Some(is_below)) => (plain(left), zero.signed(is_below)),
        (Some(zero), _, Some(is_below)) => (zero.signed(!is_below), plain(right)),
        _ if is_known(&right) && zero(&right).is_none() => (plain(left), right),
        _ if is_known(&left) && zero(&left).is_none() => (left, plain(right)),
        _ => (canonical(left), canonical(right)),
    }
}

#[derive(Clone, Copy)]
enum Zero {
    Single,
    Double,
}

impl Zero {
    fn signed(self, is_negative: bool) -> Expr {
        let value = match self {
            Zero::Single => ScalarValue::Float32(Some(if is_negative { -0.0 } else { 0.0 })),
            Zero::Double => ScalarValue::Float64(Some(if is_negative { -0.0 } else { 0.0 })),
        };
        Expr::Literal(value, None)
    }
}

fn zero(expr: &Expr) -> Option<Zero> {
    match expr {
        Expr::Literal(ScalarValue::Float64(Some(0.0)), _) => Some(Zero::Double),
        Expr::Literal(ScalarValue::Float32(Some(0.0)), _) => Some(Zero::Single),
        _ => None,
    }
}

fn is_known(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(ScalarValue::Float64(value), _) => value.is_none_or(|value| !value.is_nan()),
        Expr::Literal(ScalarValue::Float32(value), _) => value.is_none_or(|value| !value.is_nan()),
        _ => false,
    }
}

/// For a comparison with what is not zero. A column has no NaN but the positive one.
fn plain(expr: Expr) -> Expr {
    match expr {
        Expr::Column(_) => expr,
        expr => canonical(expr),
    }
}

fn canonical(expr: Expr) -> Expr {
    match zero(&expr) {
        Some(zero) => zero.signed(false),
        None if is_known(&expr) => expr,
        None => ScalarUDF::new_from_impl(Canonical::new()).call(vec![expr]),
    }
}

/// Whether a function is there for comparisons only.
pub(crate) fn is_canonical(function: &ScalarUDF) -> bool {
    function.inner().downcast_ref::<Canonical>().is_some()
}

/// One of all floats that are equal; people do not see it by name.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Canonical {
    signature: Signature,
}

impl Canonical {
    fn new() -> Self {
        Canonical {
            signature: Signature::any(1, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for Canonical {
    fn name(&self) -> &'static str {
        "value"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types.first().cloned().unwrap_or(DataType::Null))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.as_slice() {
            [ColumnarValue::Array(floats)] => Ok(ColumnarValue::Array(canonical_floats(floats))),
            [ColumnarValue::Scalar(float)] => {
                let floats = canonical_floats(&float.to_array()?);
                ScalarValue::try_from_array(&floats, 0).map(ColumnarValue::Scalar)
            }
            _ => exec_err!("one float was expected"),
        }
    }
}

/// The same floats, with one kind of NaN, which kernels take for greater than all others; most
/// arrays have none.
pub fn one_nan(array: ArrayRef) -> ArrayRef {
    let has_nan = array
        .as_primitive_opt::<Float64Type>()
        .is_some_and(|floats| {
            let floats = floats.values().iter();
            floats.fold(false, |nan, value| nan | value.is_nan())
        });
    if !has_nan {
        return array;
    }
    let floats = array.as_primitive::<Float64Type>();
    let floats: Float64Array = floats.unary(|value| if value.is_nan() { f64::NAN } else { value });
    Arc::new(floats)
}

/// One of all floats that are equal to this one, in the warehouse's sense.
#[inline]
pub fn canonical_float(value: f64) -> f64 {
    if value.is_nan() {
        f64::NAN
    } else {
        // -0 and 0 make 0; all others stay.
        value + 0.0
    }
}

/// The same floats, those that are equal with the same bits. An array of anything else as it is.
pub fn canonical_floats(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Float64 => {
            let floats: Float64Array = array.as_primitive::<Float64Type>().unary(canonical_float);
            Arc::new(floats)
        }
        DataType::Float32 => {
            let floats: Float32Array = array.as_primitive::<Float32Type>().unary(|value| {
                if value.is_nan() {
                    f32::NAN
                } else {
                    value + 0.0
                }
            });
            Arc::new(floats)
        }
        _ => Arc::clone(array),
    }
}
