//! Names of headers, as the programs compare them.

use lightfoot_probes_abi::limits::{HEADER_NAME, WANTED_NAMES};
use lightfoot_probes_abi::{WantedHeaders, process::NAME_WORDS};

/// What is asked of a process: headers whose values are shown, and others that are only read, as Go spells their names. What is longer
/// than a name may be, and more than there may be, is left out: the configuration has been checked.
pub fn wanted_headers<'a>(shown: &[String], read: impl IntoIterator<Item = &'a str>) -> WantedHeaders {
    let read = read.into_iter().filter(|name| shown.iter().all(|shown| shown != name));
    let names = shown.iter().map(|name| (name.as_str(), true)).chain(read.map(|name| (name, false)));
    let mut wanted = WantedHeaders::default();
    let fitting = names.filter(|(name, _)| (1..=HEADER_NAME).contains(&name.len()));
    for (index, (place, (name, is_shown))) in
        wanted.names.iter_mut().zip(fitting.take(WANTED_NAMES)).enumerate()
    {
        wanted.lengths |= 1 << name.len();
        wanted.shown |= u64::from(is_shown) << index;
        *place = words(name);
    }
    wanted
}

/// A name with zeros behind it, as it lies in memory.
fn words(name: &str) -> [u64; NAME_WORDS] {
    let mut words = [0; NAME_WORDS];
    for (word, bytes) in words.iter_mut().zip(name.as_bytes().chunks(8)) {
        let mut all = [0; 8];
        for (to, from) in all.iter_mut().zip(bytes) {
            *to = *from;
        }
        *word = u64::from_ne_bytes(all);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lie_as_in_memory_and_each_is_there_once() {
        let shown = ["X-Request-Id".to_owned(), "Forwarded".to_owned()];
        let wanted = wanted_headers(&shown, ["Forwarded", "X-Forwarded-For"]);
        assert_eq!(wanted.lengths, 1 << 12 | 1 << 9 | 1 << 15);
        assert_eq!(wanted.shown, 0b11);
        let name = |index: usize| wanted.names[index].map(u64::to_ne_bytes).concat();
        let padded = |name: &str| {
            let mut bytes = name.as_bytes().to_vec();
            bytes.resize(64, 0);
            bytes
        };
        assert_eq!([name(0), name(1), name(2)], ["X-Request-Id", "Forwarded", "X-Forwarded-For"].map(padded));
        assert_eq!(name(3), [0; 64]);
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let names: Vec<_> = (0..=WANTED_NAMES).map(|number| format!("X-{number}")).collect();
        let wanted = wanted_headers(&names, ["Forwarded"]);
        assert_eq!(wanted.names[WANTED_NAMES - 1], words(&names[WANTED_NAMES - 1]));
        assert_eq!((wanted.lengths, wanted.shown), (1 << 3, (1 << WANTED_NAMES) - 1));
        let (long, longest) = ("X".repeat(HEADER_NAME + 1), "X".repeat(HEADER_NAME));
        assert_eq!(wanted_headers(&[long, String::new()], []), WantedHeaders::default());
        assert_eq!(wanted_headers(&[longest], []).lengths, 1 << HEADER_NAME);
    }
}
