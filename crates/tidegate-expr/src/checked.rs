//! Arithmetic of whole numbers and decimals that has no room for its result: an error, and never
//! another number.
//!
//! DataFusion's own operators wrap around, or leave a decimal with more digits than its type has.
//! They are replaced before anything is folded, since constants are computed with them too.

use arrow::array::{Array, ArrayRef, AsArray, Datum, Decimal128Array};
use arrow::compute::kernels::numeric;
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{DataType, Decimal128Type, Int64Type};
use arrow::error::ArrowError;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{DFSchema, Result, ScalarValue, exec_err, plan_err};
use datafusion_expr::type_coercion::binary::BinaryTypeCoercer;
use datafusion_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, Operator, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};

/// Replaces operators of an expression whose types are known and fit.
pub(crate) fn checked(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    expr.transform_up(|node| {
        let (operation, operands) = match &node {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => match Operation::of(*op) {
                Some(operation) => (
                    operation,
                    vec![left.as_ref().clone(), right.as_ref().clone()],
                ),
                None => return Ok(Transformed::no(node)),
            },
            Expr::Negative(operand) => (Operation::Negate, vec![operand.as_ref().clone()]),
            _ => return Ok(Transformed::no(node)),
        };
        // Two dates have a whole number of days between them, for example.
        let mut all_exact = is_exact(&node.get_type(schema)?);
        for operand in &operands {
            all_exact &= is_exact(&operand.get_type(schema)?);
        }
        if !all_exact {
            return Ok(Transformed::no(node));
        }
        let function = ScalarUDF::new_from_impl(Checked::new(operation));
        Ok(Transformed::yes(function.call(operands)))
    })
    .map(|transformed| transformed.data)
}

/// Whether a function stands for an operator.
pub(crate) fn is_operator(function: &ScalarUDF) -> bool {
    function.inner().downcast_ref::<Checked>().is_some()
}

/// Whether values of a type have an end that arithmetic can go beyond. Floats become infinite, and
/// what has to do with times is checked already.
fn is_exact(ty: &DataType) -> bool {
    ty.is_integer() || matches!(ty, DataType::Decimal128(..))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
    ShiftLeft,
    Negate,
}

impl Operation {
    fn of(operator: Operator) -> Option<Self> {
        Some(match operator {
            Operator::Plus => Operation::Add,
            Operator::Minus => Operation::Subtract,
            Operator::Multiply => Operation::Multiply,
            Operator::Divide => Operation::Divide,
            Operator::BitwiseShiftLeft => Operation::ShiftLeft,
            _ => return None,
        })
    }

    fn operator(self) -> Operator {
        match self {
            Operation::Add => Operator::Plus,
            Operation::Subtract | Operation::Negate => Operator::Minus,
            Operation::Multiply => Operator::Multiply,
            Operation::Divide => Operator::Divide,
            Operation::ShiftLeft => Operator::BitwiseShiftLeft,
        }
    }

    fn run(self, left: &dyn Datum, right: &dyn Datum) -> std::result::Result<ArrayRef, ArrowError> {
        match self {
            Operation::Add => numeric::add(left, right),
            Operation::Subtract => numeric::sub(left, right),
            Operation::Multiply => numeric::mul(left, right),
            Operation::Divide => numeric::div(left, right),
            Operation::ShiftLeft => shift_left(left, right),
            Operation::Negate => numeric::neg(left.get().0),
        }
    }
}

/// One operator as a function; people do not see it by name.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    operation: Operation,
    signature: Signature,
}

impl Checked {
    fn new(operation: Operation) -> Self {
        let operands = if operation == Operation::Negate { 1 } else { 2 };
        Checked {
            operation,
            signature: Signature::any(operands, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &'static str {
        match self.operation {
            Operation::Add => "+",
            Operation::Subtract => "-",
            Operation::Multiply => "*",
            Operation::Divide => "/",
            Operation::ShiftLeft => "<<",
            Operation::Negate => "negate",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [only] => Ok(only.clone()),
            [left, right] => {
                BinaryTypeCoercer::new(left, &self.operation.operator(), right).get_result_type()
            }
            _ => plan_err!("`{}` takes one or two values", self.name()),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        use ColumnarValue::{Array, Scalar};
        let run = |left: &dyn Datum, right: &dyn Datum| -> Result<ArrayRef> {
            let values = self.operation.run(left, right)?;
            check_digits(&values)?;
            Ok(values)
        };
        match args.args.as_slice() {
            [Array(left), Array(right)] => run(left, right).map(Array),
            [Scalar(left), Array(right)] => run(&left.to_scalar()?, right).map(Array),
            [Array(left), Scalar(right)] => run(left, &right.to_scalar()?).map(Array),
            [Scalar(left), Scalar(right)] => {
                let value = run(&left.to_scalar()?, &right.to_scalar()?)?;
                ScalarValue::try_from_array(&value, 0).map(Scalar)
            }
            [Array(only)] => run(only, only).map(Array),
            [Scalar(only)] => {
                let only = only.to_scalar()?;
                let value = run(&only, &only)?;
                ScalarValue::try_from_array(&value, 0).map(Scalar)
            }
            _ => exec_err!("`{}` takes one or two values", self.name()),
        }
    }
}

/// Arrow's kernel drops the bits that have no room, and takes the distance modulo the width.
fn shift_left(left: &dyn Datum, right: &dyn Datum) -> std::result::Result<ArrayRef, ArrowError> {
    let ((left, left_is_one), (right, right_is_one)) = (left.get(), right.get());
    let wide = cast(left, &DataType::Decimal128(38, 0))?;
    let distances = cast(right, &DataType::Int64)?;
    let (values, distances) = (
        wide.as_primitive::<Decimal128Type>(),
        distances.as_primitive::<Int64Type>(),
    );
    let rows = if left_is_one { right.len() } else { left.len() };
    let shifted = (0..rows).map(|row| {
        let (a, b) = (
            if left_is_one { 0 } else { row },
            if right_is_one { 0 } else { row },
        );
        if values.is_null(a) || distances.is_null(b) {
            return Ok(None);
        }
        let (value, distance) = (values.value(a), distances.value(b));
        // Beyond 63 there is no room in any type, unless it is zero.
        match distance {
            0..64 => Ok(Some(value << distance)),
            64.. if value == 0 => Ok(Some(0)),
            _ => Err(ArrowError::ArithmeticOverflow(format!(
                "{value} << {distance} has no room"
            ))),
        }
    });
    let shifted: Decimal128Array = shifted.collect::<std::result::Result<_, _>>()?;
    let strict = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    let shifted = shifted.with_precision_and_scale(38, 0)?;
    cast_with_options(&shifted, left.data_type(), &strict)
}

/// Arrow looks whether a decimal has room in 128 bits, which is a digit more than its type has.
fn check_digits(values: &ArrayRef) -> Result<()> {
    if let DataType::Decimal128(precision, _) = values.data_type() {
        let decimals = values.as_primitive::<Decimal128Type>();
        decimals.validate_decimal_precision(*precision)?;
    }
    Ok(())
}
