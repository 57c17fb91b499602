//! Bounds, wake-ups and what is held.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use std::task::Wake;

use super::*;

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Wakes {
    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

fn frame(bytes: usize) -> Framed {
    let framed = Framed::binary(&vec![0; bytes - 2]);
    assert_eq!(framed.len(), bytes);
    framed
}

#[test]
fn full_is_answered_at_the_bound_and_nothing_is_queued() {
    let outbox = Outbox::new(100);
    assert_eq!(outbox.push(frame(60)), Push::Accepted);
    assert_eq!(outbox.push(frame(40)), Push::Accepted);
    assert!(outbox.is_full());
    assert_eq!(outbox.push(frame(2)), Push::Full);
    assert_eq!(outbox.bytes(), 100);
}

#[test]
fn control_is_accepted_over_the_bound() {
    let outbox = Outbox::new(100);
    assert_eq!(outbox.push(frame(100)), Push::Accepted);
    assert_eq!(outbox.push_control(frame(100)), Push::Accepted);
    assert_eq!(outbox.bytes(), 200);
}

#[test]
fn empty_outbox_accepts_a_frame_over_the_bound() {
    let outbox = Outbox::new(10);
    assert_eq!(outbox.push(frame(100)), Push::Accepted);
    assert_eq!(outbox.push(frame(2)), Push::Full);
}

#[test]
fn bytes_count_until_they_are_written() {
    let outbox = Outbox::new(100);
    let mut egress = Egress::default();
    outbox.push(frame(80));
    outbox.begin(&mut egress);
    assert_eq!(outbox.push(frame(30)), Push::Full);
    assert!(
        !outbox.written(20, &mut egress),
        "60 bytes are over the half"
    );
    assert!(outbox.written(10, &mut egress), "50 bytes are the half");
    assert!(!outbox.written(10, &mut egress), "reported once");
    assert_eq!(outbox.push(frame(30)), Push::Accepted);
}

/// Meets a stream that takes nothing more.
fn block(egress: &mut Egress) {
    let (mut ours, _peer) = tokio::io::duplex(1);
    let mut context = std::task::Context::from_waker(Waker::noop());
    assert!(egress.poll_write(&mut ours, &mut context).is_ready());
    egress.advance(1);
    assert!(egress.poll_write(&mut ours, &mut context).is_pending());
}

#[test]
fn sleeping_owner_is_woken_once_and_an_awake_one_never() {
    let outbox = Outbox::new(1000);
    let mut egress = Egress::default();
    let wakes = Arc::new(Wakes::default());
    let owner = Waker::from(Arc::clone(&wakes));
    outbox.begin(&mut egress);
    assert!(outbox.sleep(&owner, &egress));
    outbox.push(frame(10));
    outbox.push(frame(10));
    assert_eq!(wakes.count(), 1);
    outbox.begin(&mut egress);
    outbox.push(frame(10));
    outbox.wake();
    assert_eq!(wakes.count(), 1, "it looks again by itself");
    assert!(!outbox.sleep(&owner, &egress), "there is something to do");
    assert!(outbox.begin(&mut egress));
    assert_eq!(outbox.capacity(), 0, "all of it is handed over");
    outbox.written(30, &mut egress);
    assert!(outbox.sleep(&owner, &egress));
    outbox.push(frame(10));
    assert_eq!(wakes.count(), 2);
}

#[test]
fn owner_whose_socket_is_blocked_is_not_woken_for_more_frames() {
    let outbox = Outbox::new(1000);
    let mut egress = Egress::default();
    let wakes = Arc::new(Wakes::default());
    let owner = Waker::from(Arc::clone(&wakes));
    outbox.push(frame(10));
    outbox.begin(&mut egress);
    block(&mut egress);
    assert!(outbox.sleep(&owner, &egress));
    outbox.push(frame(10));
    assert_eq!(wakes.count(), 0);
    outbox.begin(&mut egress);
    assert_eq!(outbox.bytes(), 20);
    assert!(outbox.sleep(&owner, &egress), "the frame waits here");
    outbox.wake();
    assert_eq!(wakes.count(), 1, "anything else is news");
}

#[test]
fn wake_is_reported_once_for_many_calls() {
    let outbox = Outbox::new(1000);
    let mut egress = Egress::default();
    let wakes = Arc::new(Wakes::default());
    let owner = Waker::from(Arc::clone(&wakes));
    assert!(!outbox.begin(&mut egress));
    assert!(outbox.sleep(&owner, &egress));
    outbox.wake();
    outbox.wake();
    assert_eq!(wakes.count(), 1);
    assert!(outbox.begin(&mut egress));
    assert!(!outbox.begin(&mut egress));
}

#[test]
fn closed_outbox_refuses_and_holds_nothing() {
    let outbox = Outbox::new(1000);
    outbox.push(frame(10));
    outbox.close();
    assert_eq!((outbox.bytes(), outbox.capacity()), (0, 0));
    assert_eq!(outbox.push(frame(10)), Push::Closed);
    assert_eq!(outbox.push_control(frame(10)), Push::Closed);
    assert!(outbox.is_closed());
}
