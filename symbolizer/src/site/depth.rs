//! How far the stack pointer has moved since the function's entry, at every instruction.

use crate::decode::{Flow, Instruction, StackChange};
use crate::site::body::{Body, target};
use crate::site::stack_check;

/// The stack pointer's movement before each instruction.
pub(super) struct Depths {
    states: Vec<State>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// No path found yet.
    Unreached,
    /// Follows from the code's own structure, whatever path seems to lead here.
    Fixed(i64),
    /// The same on all paths found.
    Known(i64),
    /// Different on different paths, or changed in a way that is not understood.
    Unknown,
}

impl Depths {
    /// Follows all direct paths. Where only a jump table leads, the depth of its jump holds if all have the same.
    pub(super) fn of(body: &Body<'_>) -> Self {
        let mut depths = Self { states: vec![State::Unreached; body.instructions.len()] };
        let mut work = vec![0];
        depths.set(0, State::Fixed(0));
        // A call that never returns may stand right before the growth code, and seem to lead there.
        if let Some(check) = stack_check::find(body) {
            depths.set(check.growth, State::Fixed(0));
            work.push(check.growth);
        }
        depths.follow(body, work);
        if let Some(State::Known(depth) | State::Fixed(depth)) = depths.at_indirect_jumps(body) {
            for index in 1..body.instructions.len() {
                let starts_block = body.instructions.get(index.wrapping_sub(1)).is_some_and(ends_path);
                if starts_block && depths.get(index) == State::Unreached {
                    depths.set(index, State::Known(depth));
                    depths.follow(body, vec![index]);
                }
            }
        }
        depths
    }

    /// In bytes, 0 or negative in ordinary code; `None` where it is not provable.
    pub(super) fn before(&self, index: usize) -> Option<i64> {
        match self.get(index) {
            State::Fixed(depth) | State::Known(depth) => Some(depth),
            State::Unreached | State::Unknown => None,
        }
    }

    /// Every instruction enters `work` at most three times: its state only ever moves down the list of [`State`].
    fn follow(&mut self, body: &Body<'_>, mut work: Vec<usize>) {
        while let Some(index) = work.pop() {
            let Some(instruction) = body.instructions.get(index) else { continue };
            let behind = match (self.get(index), change(body, index)) {
                (State::Fixed(depth) | State::Known(depth), StackChange::By(bytes)) => {
                    depth.checked_add(bytes).map_or(State::Unknown, State::Known)
                }
                _ => State::Unknown,
            };
            let falls = match instruction.flow {
                Flow::Next | Flow::Branch(_) | Flow::Call(_) => body.falls_to(index),
                Flow::Jump(_) | Flow::Return | Flow::Stop => None,
            };
            let jumps = match instruction.flow {
                Flow::Jump(_) | Flow::Branch(_) => {
                    target(instruction).and_then(|target| body.index_of(target))
                }
                _ => None,
            };
            for next in [falls, jumps].into_iter().flatten() {
                let joined = match (self.get(next), behind) {
                    (State::Unreached, behind) => behind,
                    (State::Known(before), State::Known(now)) if before == now => continue,
                    (State::Fixed(_) | State::Unknown, _) => continue,
                    (State::Known(_), _) => State::Unknown,
                };
                self.set(next, joined);
                work.push(next);
            }
        }
    }

    /// The one depth of all reached indirect jumps.
    fn at_indirect_jumps(&self, body: &Body<'_>) -> Option<State> {
        let jumps = body.instructions.iter().enumerate().filter(|(_, jump)| jump.flow == Flow::Jump(None));
        let mut states = jumps.map(|(index, _)| self.get(index)).filter(|state| *state != State::Unreached);
        let first = states.next()?;
        states.all(|state| state == first).then_some(first)
    }

    fn get(&self, index: usize) -> State {
        self.states.get(index).copied().unwrap_or(State::Unknown)
    }

    fn set(&mut self, index: usize, state: State) {
        if let Some(slot) = self.states.get_mut(index) {
            *slot = state;
        }
    }
}

fn ends_path(instruction: &Instruction<'_>) -> bool {
    matches!(instruction.flow, Flow::Jump(_) | Flow::Return | Flow::Stop)
}

/// How an instruction moves the stack pointer, with what stands before it taken into account.
fn change(body: &Body<'_>, index: usize) -> StackChange {
    let own = body.instructions.get(index).map_or(StackChange::Unknown, Instruction::stack_change);
    if own == StackChange::Unknown { large_frame(body, index).map_or(own, StackChange::By) } else { own }
}

/// arm64 opens a frame of more than 240 bytes with `sub x20, sp, #frame; stp x29, x30, [x20, #-8]; mov sp, x20`.
fn large_frame(body: &Body<'_>, index: usize) -> Option<i64> {
    const MOVE_TO_STACK_POINTER: u32 = 0x9100_029f;
    const STORE_PAIR: u32 = 0xa93f_fa9d;
    let first = index.checked_sub(2)?;
    let [subtract, store, set] = body.instructions.get(first..=index)? else { return None };
    let word = subtract.aarch64()?;
    let adjacent = subtract.end() == store.address && store.end() == set.address;
    let into_x20 = word & 0xff80_03ff == 0xd100_03f4;
    if store.aarch64()? != STORE_PAIR || set.aarch64()? != MOVE_TO_STACK_POINTER || !adjacent || !into_x20 {
        return None;
    }
    if !body.branches_into(store.address..set.end()).is_empty() {
        return None;
    }
    let shift = if word >> 22 & 1 == 1 { 12 } else { 0 };
    Some((i64::from(word >> 10 & 0xfff) << shift).wrapping_neg())
}
