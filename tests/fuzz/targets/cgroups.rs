//! Lists of cgroups: an id and a UID are of their form, and stand in the text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lightfoot::resource::Container;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let found = Container::parse(&text);
    if let Some(id) = found.id {
        assert!(id.len() == 64 && text.contains(&id));
    }
    if let Some(uid) = found.pod_uid {
        assert!(uid.len() == 36 || uid.len() == 32);
        assert!(text.replace('_', "-").contains(&format!("pod{uid}")));
    }
});
