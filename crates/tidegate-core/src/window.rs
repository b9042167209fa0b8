//! Windowed aggregates: pane sums for each lane, merged into windows when the watermark passes.
//!
//! Time is cut into panes as long as the slide; an event is added to one pane, however many windows
//! it is in. A window is closed once, when its lane's watermark reaches its end. What open windows
//! hold so far is handed out by [`live`].

mod cell;
mod closed;
mod input;
pub mod live;
mod plan;
mod room;
mod state;
pub mod sum;

pub use self::closed::ClosedWindows;
pub use self::input::{WindowEncoder, WindowInput};
pub(crate) use self::plan::micros;
pub use self::plan::{WindowPlan, output_type, sum_rest};
pub use self::room::SumsWithoutRoom;
pub use self::state::WindowState;
