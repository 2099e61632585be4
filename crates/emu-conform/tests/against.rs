//! Adapters that behave, and adapters that don't. They are shell scripts: whoever speaks the protocol in a few lines of
//! some language does about the same.
#![cfg(unix)]

use std::time::{Duration, Instant};

use emu_conform::against::{Against, Patience};
use emu_conform::{Case, End, Environment, Event, Outcome, Reg, Target, TargetError, compare};

/// An adapter that greets, and answers each case by `body`, where `$n` is the case's number.
fn adapter(body: &str) -> String {
    format!("sh -c 'read h; echo hello 1 modes=user64 state=x87,avx name=fake; while read v n rest; do {body}; done'")
}

fn patience() -> Patience {
    Patience { case: Duration::from_millis(300), start: Duration::from_secs(60), restarts: 2 }
}

fn start(body: &str) -> Against {
    Against::start(&adapter(body), patience()).expect("sh is there")
}

/// ADD EAX, EBX with 5 and 7.
fn case() -> Case {
    let mut case = Case::new(Environment::Flat64, End::Step);
    (case.code, case.row) = (vec![0x01, 0xD8], "add eax,ebx".into());
    for (reg, value) in [(Reg::Rax, 5), (Reg::Rbx, 7), (Reg::Rip, 0x1000_0100), (Reg::Rflags, 0)] {
        case.initial.set(reg, value);
    }
    for (reg, value) in [(Reg::Rax, 12), (Reg::Rip, 0x1000_0102), (Reg::Rflags, 4)] {
        case.last.set(reg, value);
    }
    case
}

const RIGHT: &str = "echo done $n rax=c rip=10000102 flags=6";

fn run(target: &mut Against) -> Result<bool, TargetError> {
    let (case, mut outcome) = (case(), Outcome::default());
    target.run(&case, &mut outcome)?;
    Ok(compare(&case, &outcome).strict())
}

#[test]
fn an_adapter_that_behaves_is_a_cpu() {
    let mut target = start(&format!("echo \"# a remark\"; {RIGHT}"));
    assert_eq!(target.name(), "fake");
    for _ in 0..50 {
        assert_eq!(run(&mut target), Ok(true));
    }
    let mut lazy = start("echo done $n");
    assert_eq!(run(&mut lazy), Ok(false), "what it does not name has kept its value");
    let mut faulting = start("echo fault $n vector=d");
    let mut outcome = Outcome::default();
    faulting.run(&case(), &mut outcome).unwrap();
    assert_eq!(outcome.event, Event::Exception(13));
    let mut choosy = start("echo skip $n reason=not this one");
    assert_eq!(run(&mut choosy), Err(TargetError::Unsupported("not this one".into())));
    let mut sick = start("echo error $n reason=no board");
    assert!(matches!(run(&mut sick), Err(TargetError::Failed(why)) if why.contains("no board")));
}

/// Case 2 goes wrong by `misdeed`, the others go on.
fn survives(misdeed: &str, word: &str) {
    let mut target = start(&format!("case $n in 2) {misdeed};; *) {RIGHT};; esac"));
    assert_eq!(run(&mut target), Ok(true));
    let began = Instant::now();
    let error = run(&mut target).expect_err(misdeed);
    assert!(began.elapsed() < Duration::from_secs(5), "{misdeed}: {:?}", began.elapsed());
    let TargetError::Failed(text) = &error else { panic!("{misdeed}: {error:?}") };
    for part in ["adapter sh: case 2 (add eax,ebx, 01d8)", word] {
        assert!(text.contains(part) && text.lines().count() == 1, "{misdeed}: {text}");
    }
    assert_eq!(run(&mut target), Ok(true), "after {misdeed}");
}

#[test]
fn an_adapter_that_hangs_dies_or_babbles_costs_one_case() {
    survives("exec sleep 60", "no answer within 0.3 s");
    survives("exit 3", "it ended (exit status: 3) instead of an answer");
    survives("kill -9 $$", "signal: 9");
    survives("exec >&-; exec sleep 60", "it closed its output, but runs on");
    survives("echo banana", "\"banana\" is no answer: \"banana\"");
    survives("echo done 3", "it answers case \"3\", not 2");
    survives("echo done $n rax=zz", "\"rax=zz\" is no register or memory with its value");
    survives("head -c 100000 /dev/zero | tr \"\\0\" a; exec sleep 60", "more than 65536 bytes");
    survives("while :; do echo \"# never ends\"; done", "no answer within 0.3 s");
}

#[test]
fn restarts_are_limited() {
    let mut target = start("exit 1");
    for _ in 0..3 {
        assert!(matches!(run(&mut target), Err(TargetError::Failed(_))));
    }
    let error = run(&mut target).unwrap_err();
    assert!(matches!(&error, TargetError::Broken(why) if why.contains("failed again after 2 restarts")), "{error}");
}

#[test]
fn an_adapter_that_does_not_start_is_named() {
    let broken = |command: &str| match Against::start(command, patience()) {
        Err(TargetError::Broken(why)) => why,
        other => panic!("{command}: {other:?}"),
    };
    assert!(broken("/nowhere/adapter").starts_with("adapter /nowhere/adapter: can't be started: "));
    let says = |command: &str, what: &str| {
        let why = broken(command);
        assert!(why.contains(what), "{command}: {why}");
    };
    says("true", "on hello: it ended (exit status: 0)");
    says("echo hello 7 modes=real", "speaks version 7, and emu speaks 1");
    says("echo good morning", "does not begin with hello: \"good morning\"");
    says("", "empty");
}
