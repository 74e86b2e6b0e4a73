//! What happens to messages between the agent and the client, by counts, so that no test depends on time.

/// One direction of a session.
#[derive(Debug, Default)]
pub(super) struct Faults {
    data: u64,
    acknowledgements: u64,
    /// Messages held back, each until so many others have passed.
    held: Vec<(u64, Vec<u8>)>,
}

/// Whether the nth of a kind is due; 0: never.
fn is_nth(count: u64, every: u64) -> bool {
    every > 0 && count.is_multiple_of(every)
}

impl Faults {
    /// What is delivered for a message, in this order.
    pub(super) fn pass(
        &mut self,
        switches: &super::SsmSwitches,
        frame: Vec<u8>,
        is_data: bool,
        is_down: bool,
    ) -> Vec<Vec<u8>> {
        if !is_data {
            self.acknowledgements += 1;
            let is_lost = is_nth(self.acknowledgements, switches.lose_acknowledgements);
            return if is_lost { Vec::new() } else { vec![frame] };
        }
        self.data += 1;
        let mut out = Vec::new();
        // The handshake is lost as well, once there are enough messages.
        if is_nth(self.data, switches.reorder) {
            self.held.push((1, frame));
        } else if is_down && is_nth(self.data, switches.delay) {
            self.held.push((5, frame));
        } else if !is_nth(self.data, switches.lose) {
            if is_nth(self.data, switches.repeat) {
                out.push(frame.clone());
            }
            out.push(frame);
            for (left, _) in &mut self.held {
                *left = left.saturating_sub(1);
            }
            let (due, held): (Vec<_>, Vec<_>) =
                std::mem::take(&mut self.held).into_iter().partition(|(left, _)| *left == 0);
            self.held = held;
            out.extend(due.into_iter().map(|(_, frame)| frame));
        }
        out
    }
}
