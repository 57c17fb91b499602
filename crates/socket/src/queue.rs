//! Frames in order. The first one stands in the queue itself: one frame at a time, which is what
//! most connections ever have, costs no allocation.

use std::collections::VecDeque;

use sparkway_frame::Framed;

/// A queue of frames that holds no memory when it is empty.
#[derive(Default)]
pub(crate) struct FrameQueue {
    /// Empty only when the queue is.
    first: Option<Framed>,
    /// Boxed: hardly any connection has one at a time.
    #[expect(
        clippy::box_collection,
        reason = "three words less in every connection that has none"
    )]
    rest: Option<Box<VecDeque<Framed>>>,
}

impl FrameQueue {
    pub(crate) const fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(crate) fn len(&self) -> usize {
        let rest = self.rest.as_ref().map_or(0, |rest| rest.len());
        usize::from(self.first.is_some()) + rest
    }

    pub(crate) const fn front(&self) -> Option<&Framed> {
        self.first.as_ref()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Framed> {
        self.first
            .iter()
            .chain(self.rest.iter().flat_map(|rest| rest.iter()))
    }

    pub(crate) fn push_back(&mut self, frame: Framed) {
        if self.first.is_none() {
            self.first = Some(frame);
        } else {
            self.rest.get_or_insert_default().push_back(frame);
        }
    }

    pub(crate) fn push_front(&mut self, frame: Framed) {
        if let Some(second) = self.first.replace(frame) {
            self.rest.get_or_insert_default().push_front(second);
        }
    }

    pub(crate) fn pop_front(&mut self) -> Option<Framed> {
        let popped = self.first.take();
        if let Some(rest) = &mut self.rest {
            self.first = rest.pop_front();
            if rest.is_empty() {
                self.rest = None;
            }
        }
        popped
    }

    /// Takes over all of `later`, behind what is here.
    pub(crate) fn append(&mut self, mut later: Self) {
        if self.is_empty() {
            *self = later;
            return;
        }
        while let Some(frame) = later.pop_front() {
            self.push_back(frame);
        }
    }

    /// Drops everything behind the first frame.
    pub(crate) fn keep_first(&mut self) {
        self.rest = None;
    }

    /// Slots that memory is held for.
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.rest.as_ref().map_or(0, |rest| rest.capacity())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(number: u8) -> Framed {
        Framed::binary(&[number])
    }

    fn numbers(queue: &FrameQueue) -> Vec<u8> {
        queue.iter().map(|frame| frame.as_bytes()[2]).collect()
    }

    #[test]
    fn frames_come_out_in_order_wherever_they_were_put_in() {
        let mut queue = FrameQueue::default();
        for number in 2..5 {
            queue.push_back(frame(number));
        }
        queue.push_front(frame(1));
        let mut later = FrameQueue::default();
        later.push_back(frame(5));
        later.push_back(frame(6));
        queue.append(later);
        assert_eq!((queue.len(), numbers(&queue)), (6, vec![1, 2, 3, 4, 5, 6]));
        for number in 1..=6 {
            assert_eq!(queue.front().unwrap().as_bytes()[2], number);
            assert_eq!(queue.pop_front().unwrap().as_bytes()[2], number);
        }
        assert!(queue.is_empty() && queue.pop_front().is_none());
    }

    #[test]
    fn one_frame_and_an_emptied_queue_hold_no_memory() {
        let mut queue = FrameQueue::default();
        queue.push_back(frame(1));
        assert_eq!(queue.capacity(), 0);
        queue.push_back(frame(2));
        assert!(queue.capacity() > 0);
        queue.pop_front();
        assert_eq!((queue.capacity(), queue.len()), (0, 1));
        queue.push_back(frame(3));
        queue.keep_first();
        assert_eq!((queue.capacity(), numbers(&queue)), (0, vec![2]));
    }
}
