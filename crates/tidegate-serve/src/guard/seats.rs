//! Places for connections: who has one, who has to give it up for the next one, and a few that are
//! kept for health.
//!
//! A connection that has shown no token and asks for nothing is the first to go when places are
//! short; one that is being answered, or has shown a token, stays. So nobody who merely connects
//! keeps the others out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use tidegate_base::lock::lock;
use tokio::sync::Notify;

/// Places that are kept for requests about health.
const KEPT_FOR_HEALTH: usize = 16;
/// Of the places, one of this many is kept for those who have shown a token.
const KEPT_FOR_TOKENS: usize = 8;
/// An address has one of this many places at most, until it shows a token.
const SHARE: usize = 2;

/// All places.
#[derive(Debug)]
pub(super) struct Seats {
    total: usize,
    /// Whether somebody can show a token: if not, all are on this machine, and nobody is preferred.
    has_tokens: bool,
    taken: Mutex<Occupancy>,
}

#[derive(Debug, Default)]
struct Occupancy {
    next: u64,
    connections: HashMap<u64, Occupant>,
}

#[derive(Debug)]
struct Occupant {
    address: IpAddr,
    /// Since when it asks for nothing; none while it is being answered.
    idle_since: Option<Instant>,
    has_token: bool,
    for_health: bool,
    leave: Arc<Notify>,
}

/// The place of one connection, until the last clone is gone.
#[derive(Debug, Clone)]
pub(super) struct Seat(Arc<SeatLease>);

#[derive(Debug)]
struct SeatLease {
    id: u64,
    for_health: bool,
    leave: Arc<Notify>,
    seats: Arc<Seats>,
}

/// A request is being answered.
#[derive(Debug)]
pub(super) struct Busy(Option<Seat>);

impl Seats {
    pub(super) fn new(total: usize, has_tokens: bool) -> Arc<Self> {
        Arc::new(Seats {
            total,
            has_tokens,
            taken: Mutex::default(),
        })
    }

    fn taken(&self) -> MutexGuard<'_, Occupancy> {
        lock(&self.taken)
    }

    /// A place for a new connection: a free one, or that of the connection that has asked for
    /// nothing longest. Where all are being answered, one for health; none if there is not even
    /// that.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Seat> {
        let address = network(address);
        let mut taken = self.taken();
        let seat = |taken: &mut Occupancy, for_health| {
            let (id, leave) = (taken.next, Arc::new(Notify::new()));
            taken.next += 1;
            let connection = Occupant {
                address,
                idle_since: Some(Instant::now()),
                has_token: false,
                for_health,
                leave: Arc::clone(&leave),
            };
            taken.connections.insert(id, connection);
            Some(Seat(Arc::new(SeatLease {
                id,
                for_health,
                leave,
                seats: Arc::clone(self),
            })))
        };
        let others = || taken.connections.values().filter(|other| !other.for_health);
        let unknown = |other: &&Occupant| !other.has_token;
        let of_address = |other: &&Occupant| unknown(other) && other.address == address;
        let (share, for_unknown) = match self.has_tokens {
            true => (
                self.total / SHARE,
                self.total - self.total / KEPT_FOR_TOKENS,
            ),
            false => (self.total, self.total),
        };
        let has_share = others().filter(of_address).count() < share.max(1);
        let is_free =
            others().count() < self.total && others().filter(unknown).count() < for_unknown.max(1);
        if has_share && is_free {
            return seat(&mut taken, false);
        }
        let leaves = |other: &Occupant| {
            !other.for_health && !other.has_token && (has_share || other.address == address)
        };
        if taken.send_away(leaves) {
            return seat(&mut taken, false);
        }
        let for_health = |other: &Occupant| other.for_health;
        let kept = taken.connections.values().filter(|other| for_health(other));
        if kept.count() < KEPT_FOR_HEALTH || taken.send_away(for_health) {
            return seat(&mut taken, true);
        }
        None
    }
}

impl Occupancy {
    /// Sends the connection away that asks for nothing and has done so longest, of those that `may`
    /// go.
    fn send_away(&mut self, may: impl Fn(&Occupant) -> bool) -> bool {
        let idle = self.connections.iter().filter_map(|(id, connection)| {
            let since = connection.idle_since.filter(|_| may(connection))?;
            Some((since, *id))
        });
        let Some((_, id)) = idle.min() else {
            return false;
        };
        if let Some(connection) = self.connections.remove(&id) {
            connection.leave.notify_one();
        }
        true
    }
}

impl Seat {
    /// Whether only requests about health are answered here.
    pub(super) fn is_for_health(&self) -> bool {
        self.0.for_health
    }

    /// The connection has shown a token: it stays.
    pub(super) fn has_token(&self) {
        self.change(|connection| connection.has_token = true);
    }

    /// Notes that a request is being answered, until the result is dropped.
    pub(super) fn busy(&self) -> Busy {
        self.change(|connection| connection.idle_since = None);
        Busy(Some(self.clone()))
    }

    /// Ends when somebody else needs the place.
    pub(super) async fn left(&self) {
        self.0.leave.notified().await;
    }

    fn change(&self, change: impl FnOnce(&mut Occupant)) {
        if let Some(connection) = self.0.seats.taken().connections.get_mut(&self.0.id) {
            change(connection);
        }
    }
}

impl Busy {
    /// The connection has become something else, and will ask for nothing more: it stays as it is.
    pub(super) fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(seat) = &self.0 {
            seat.change(|connection| connection.idle_since = Some(Instant::now()));
        }
    }
}

impl Drop for SeatLease {
    fn drop(&mut self) {
        self.seats.taken().connections.remove(&self.id);
    }
}

/// Whom an address stands for: of IPv6, one has a whole network of 64 bits.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_none() => {
            IpAddr::V6((u128::from(v6) & !u128::from(u64::MAX)).into())
        }
        address => address.to_canonical(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[test]
    fn the_connection_that_is_silent_longest_makes_room() {
        let seats = Seats::new(8, true);
        let silent: Vec<Seat> = (0..4).map(|_| seats.take(address(1)).unwrap()).collect();
        let others: Vec<Seat> = (2..5).map(|n| seats.take(address(n)).unwrap()).collect();
        // The eighth is kept for a token; the first one of all is the longest silent.
        let next = seats.take(address(9)).unwrap();
        assert!(!next.is_for_health());
        assert_eq!(seats.taken().connections.len(), 7);
        assert!(!seats.taken().connections.contains_key(&silent[0].0.id));
        // An address that has its share takes from itself.
        let ours = seats.take(address(1)).unwrap();
        let again = seats.take(address(1)).unwrap();
        assert!(!ours.is_for_health() && !again.is_for_health());
        for other in &others {
            assert!(seats.taken().connections.contains_key(&other.0.id));
        }
    }

    #[test]
    fn who_is_answered_or_has_shown_a_token_stays_and_health_has_places_of_its_own() {
        let seats = Seats::new(2, false);
        let with_token = seats.take(address(1)).unwrap();
        with_token.has_token();
        let answered = seats.take(address(2)).unwrap();
        let busy = answered.busy();
        let kept: Vec<Seat> = (0..KEPT_FOR_HEALTH + 3)
            .map(|_| seats.take(address(3)).unwrap())
            .collect();
        assert!(kept.iter().all(Seat::is_for_health));
        assert_eq!(seats.taken().connections.len(), 2 + KEPT_FOR_HEALTH);
        drop(busy);
        assert!(!seats.take(address(4)).unwrap().is_for_health());
        drop(kept);
        drop(with_token);
        assert!(seats.taken().connections.len() <= 1);
    }
}
