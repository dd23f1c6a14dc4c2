//! A virtual machine, from the start to its end.

use std::error::Error;
use std::fmt;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{fs, thread};

use lightfoot_tests::kernels::Row;

use crate::guest;
use crate::trials::{Boot, Machine};

/// How long one may take, trials included, before it is given up.
const PATIENCE: Duration = Duration::from_mins(40);
/// How long one may say nothing. It is given up then as well: all trials speak once a minute or two, and some faults of the emulator
/// leave a machine that does nothing more.
const SILENCE: Duration = Duration::from_mins(10);
/// What a virtual machine has to work with, in megabytes.
const MEMORY: u64 = 768;
/// QEMU runs each processor on a thread of its own. A kernel that patches its text (`smp_text_poke_batch_process`) has one meet the
/// breakpoint that another has just taken away, which is the emulator's fault: seen before the first process ran, too. And once, beside
/// another emulator, one fell over the instruction behind a `cmpxchg16b`, with the low half of an address in its flags. It is started anew
/// then, and where a trial has not come to an end of its own, so often at most.
const FAULTS: [&str; 2] = ["Oops: int3", "Oops: double fault"];
const TRIES: u32 = 3;

/// What came of it.
pub(crate) struct Ended {
    /// Each trial's name and exit code, if it came to an end.
    codes: Vec<(String, Option<i32>)>,
    /// What the kernel calls itself.
    release: String,
    /// The ways to place probes that work, as `lightfoot doctor` says it.
    methods: Vec<String>,
    took: Duration,
}

/// What is needed and not installed here.
pub(crate) fn missing() -> Option<&'static str> {
    let is_missing = |name: &&str| Command::new(name).arg("--version").output().is_err();
    ["qemu-system-x86_64", "qemu-system-aarch64", "cpio"].into_iter().find(is_missing)
}

/// Starts a kernel, shows what its console says, and waits for its end.
pub(crate) fn run(boot: &Boot) -> Result<Ended, Box<dyn Error>> {
    let kernel = guest::kernel(boot)?;
    let folder = tempfile::tempdir()?;
    let files = folder.path().join("initramfs");
    guest::write(boot, &kernel, &files)?;
    let release = fs::read_to_string(kernel.join("release"))?.trim().to_owned();
    // The archive lies in memory until all of it is unpacked into memory.
    let megabytes = MEMORY + 2 * (fs::metadata(&files)?.len() >> 20);
    let mut command = emulator(boot, megabytes);
    command.arg("-kernel").arg(kernel.join("vmlinuz")).arg("-initrd").arg(&files);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut tries = 0;
    loop {
        let (ended, has_fault) = run_once(&mut command, boot, &release)?;
        tries += 1;
        let is_whole = ended.codes.iter().all(|(_, code)| code.is_some());
        if (!has_fault && is_whole) || tries == TRIES {
            return Ok(ended);
        }
        println!("vm: the emulator had {boot} fail; once more");
    }
}

/// Whether one of [`FAULTS`] was met is told, too.
fn run_once(command: &mut Command, boot: &Boot, release: &str) -> Result<(Ended, bool), Box<dyn Error>> {
    let started = Instant::now();
    let mut emulator = Emulator(command.spawn()?);
    let console = emulator.0.stdout.take().ok_or("QEMU has no output")?;
    let (send, lines) = mpsc::sync_channel(1024);
    thread::spawn(move || {
        for line in BufReader::new(console).split(b'\n').map_while(Result::ok) {
            if send.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
                break;
            }
        }
    });
    let mut has_fault = false;
    let mut methods = Vec::new();
    let mut codes: Vec<_> = boot.trials.iter().map(|trial| (trial.to_string(), None)).collect();
    while let Ok(line) = lines.recv_timeout(SILENCE.min(PATIENCE.saturating_sub(started.elapsed()))) {
        println!("[{:4}] {line}", started.elapsed().as_secs());
        has_fault |= FAULTS.iter().any(|fault| line.contains(fault));
        if let Some((rest, _)) =
            line.split_once(": programs and ring buffer load, a probe is placed, its hits")
        {
            // The check's name and some blanks are before it.
            methods.push(rest.rsplit("  ").next().unwrap_or_default().trim().to_owned());
        }
        let Some((name, code)) = line.strip_prefix("VM ended ").and_then(|rest| rest.split_once(' ')) else {
            continue;
        };
        if let Some(entry) = codes.iter_mut().find(|(known, end)| known == name && end.is_none()) {
            entry.1 = code.parse().ok();
        }
    }
    Ok((Ended { codes, release: release.to_owned(), methods, took: started.elapsed() }, has_fault))
}

/// Ends with its owner.
struct Emulator(Child);

impl Drop for Emulator {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn emulator(boot: &Boot, megabytes: u64) -> Command {
    let (name, machine, processor, console) = match boot.machine {
        // Five levels of page tables are slow to emulate.
        Machine::X86_64 => ("qemu-system-x86_64", "pc", "max,la57=off", "ttyS0"),
        Machine::Aarch64 => ("qemu-system-aarch64", "virt", "cortex-a72", "ttyAMA0"),
    };
    let mut command = Command::new("nice");
    command.args([
        "-n",
        "10",
        name,
        "-M",
        machine,
        "-cpu",
        processor,
        "-accel",
        "tcg,thread=multi",
        "-smp",
        "2",
    ]);
    command.args(["-m", &megabytes.to_string(), "-nodefaults", "-no-user-config", "-display", "none"]);
    command.args(["-serial", "stdio", "-monitor", "none", "-no-reboot"]);
    let parameters = format!("console={console} panic=-1 quiet mitigations=off {}", boot.parameters);
    command.args(["-append", parameters.trim_end()]);
    command
}

impl Ended {
    /// What is to be known of it.
    pub(crate) fn row(self, boot: &Boot) -> Row {
        let methods = self.methods;
        let succeeded = |name: &str, code| match (name, code) {
            // Something is lost where uprobe_multi is missing; nothing can be watched where there is no way.
            ("doctor", Some(0 | 4)) => methods == boot.methods && !methods.is_empty(),
            ("doctor", Some(3)) => methods.is_empty() && boot.methods.is_empty(),
            (_, code) => code == Some(0),
        };
        let trials = self.codes.iter().map(|(name, code)| (name.clone(), succeeded(name, *code))).collect();
        Row {
            machine: boot.machine.name().to_owned(),
            version: boot.version.clone(),
            parameters: boot.parameters.clone(),
            release: self.release,
            method: methods.first().cloned().unwrap_or_default(),
            trials,
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {} s:", self.release, self.took.as_secs())?;
        for (name, code) in &self.codes {
            match code {
                Some(code) => write!(f, " {name} {code}")?,
                None => write!(f, " {name} did not end")?,
            }
        }
        Ok(())
    }
}
