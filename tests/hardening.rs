//! What the agent's process is, seen from outside, in `/proc`.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use nix::unistd::{Pid, getsid};

use crate::support::agent::{is_alive, parse_bourne, wait_for_agent_at};
use crate::support::unprivileged::Unprivileged;
use crate::support::{AGENT, APPTOKEN, World, need};

#[test]
fn the_agent_leads_its_own_session_and_has_no_terminal() {
    let w = World::with_agent();
    assert_eq!(getsid(Some(w.pid())), Ok(w.pid()));
    let stat = fs::read_to_string(proc(&w, "stat")).expect("the agent runs");
    let (_, fields) = stat.rsplit_once(") ").expect("pid (name) state ppid pgrp session tty …");
    assert_eq!(fields.split(' ').nth(4), Some("0"), "tty_nr: {stat}");
}

#[test]
fn the_agent_keeps_no_directory_busy() {
    let w = World::with_agent();
    // Only root may look at what is not dumpable.
    if let Ok(directory) = fs::read_link(proc(&w, "cwd")) {
        assert_eq!(directory.to_str(), Some("/"));
    }
}

/// An agent that kept them would keep whoever reads from them waiting, as CI jobs do: the run would never end.
#[test]
fn the_agent_holds_no_descriptor_that_it_inherited() {
    let w = World::new();
    w.shell("bash", "exec 3>&1 4>&2 9>&1 63>&2 200>&1; exec apptoken-agent -s >lines 2>errors").ok();
    let lines = fs::read_to_string(w.path("home/lines")).expect("the shell wrote them");
    let (_, pid) = parse_bourne(&lines).expect("the three lines");
    assert!(is_alive(pid));
}

#[test]
fn its_standard_streams_lead_nowhere() {
    let w = World::with_agent();
    for stream in ["fd/0", "fd/1", "fd/2"] {
        if let Ok(target) = fs::read_link(proc(&w, stream)) {
            assert_eq!(target.to_str(), Some("/dev/null"), "{stream}");
        }
    }
}

#[test]
fn the_agent_dumps_no_core_and_gains_no_privileges() {
    let w = World::with_key();
    assert_hardened(w.pid());
}

#[test]
fn an_agent_in_the_foreground_is_hardened_all_the_same() {
    let w = World::new();
    let socket = w.path("here");
    let agent = w.command(AGENT).arg("-D").arg("-a").arg(&socket).start();
    wait_for_agent_at(&socket);
    assert_hardened(agent.pid());
}

/// The files below `/proc/PID` belong to root when a process is not dumpable, so this must be seen as somebody else.
#[test]
fn no_process_of_the_same_user_can_read_the_agents_memory() {
    let mut w = World::new();
    let Some(user) = Unprivileged::in_world(&mut w, 0o755) else { return };
    let owner_of_memory = |pid: Pid| fs::metadata(format!("/proc/{pid}/mem")).expect("the process runs").uid();

    let (_, agent) = parse_bourne(&user.command(&w, &["apptoken-agent", "-s"]).run().text()).expect("the three lines");
    let status = fs::read_to_string(format!("/proc/{agent}/status")).expect("the agent runs");
    let uid = user.uid;
    assert!(status.contains(&format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}\n")), "it runs as that user: {status}");
    assert_eq!(owner_of_memory(agent), 0);

    // The control: of another program of that user, anyone of that user may read it.
    let other = user.command(&w, &["sh", "-c", "echo ready; exec sleep 60"]).start();
    other.expect_stdout("ready");
    assert_eq!(owner_of_memory(other.pid()), uid.as_raw());
}

/// What `src/build.rs` asks of the linker takes nothing from what keeps an attacker out.
#[test]
fn both_programs_are_loaded_anywhere_and_bound_before_they_run() {
    if !need("readelf") {
        return;
    }
    let w = World::new();
    for program in [APPTOKEN, AGENT] {
        let elf = w.command("readelf").args(["-W", "-h", "-l", "-d"]).arg(program).run().text();
        let has = |words: &[&str]| elf.lines().any(|line| words.iter().all(|word| line.contains(word)));
        assert!(has(&["Type:", "DYN"]), "{program} is position independent:\n{elf}");
        assert!(has(&["(FLAGS)", "BIND_NOW"]), "{program} is bound at its start:\n{elf}");
        assert!(has(&["GNU_RELRO"]), "{program} cannot be bound anew later:\n{elf}");
        assert!(has(&["GNU_STACK", " RW "]), "{program} has no stack that can be run:\n{elf}");
    }
}

fn assert_hardened(pid: Pid) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the agent runs");
    assert!(status.contains("\nNoNewPrivs:\t1\n"), "{status}");
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("the agent runs");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("there is such a limit");
    let numbers: Vec<_> = core.split_whitespace().skip(4).take(2).collect();
    assert_eq!(numbers, ["0", "0"], "{core}");
}

fn proc(w: &World, file: &str) -> PathBuf {
    format!("/proc/{}/{file}", w.pid()).into()
}
