//! The table of commands, and their help.

use core::fmt::Write;

use super::{Answer, Context, info, motion, search, show};

/// Which command it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Step,
    Back,
    Next,
    Continue,
    Reverse,
    Goto,
    Tick,
    Break,
    Watch,
    ReadWatch,
    AnyWatch,
    Delete,
    List,
    Registers,
    Memory,
    Disassemble,
    Set,
    Why,
    When,
    Find,
    Trace,
    Info,
    Screen,
    Screenshot,
    Type,
    Hash,
    Physical,
    Help,
    Quit,
}

/// A command.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) name: &'static str,
    /// Other names, with spaces between them.
    pub(super) short: &'static str,
    pub(super) verb: Verb,
    usage: &'static str,
    help: &'static str,
    /// Whether gdb's `monitor` has it.
    pub(super) monitor: bool,
}

const fn command(
    name: &'static str,
    short: &'static str,
    verb: Verb,
    usage: &'static str,
    help: &'static str,
) -> Command {
    let stops =
        matches!(verb, Verb::Break | Verb::Watch | Verb::ReadWatch | Verb::AnyWatch | Verb::Delete | Verb::List);
    let runs = matches!(verb, Verb::Step | Verb::Back | Verb::Next | Verb::Continue | Verb::Reverse);
    let monitor = !stops && !runs && !matches!(verb, Verb::Quit | Verb::Set | Verb::When);
    Command { name, short, verb, usage, help, monitor }
}

/// All commands, in the order of the help.
pub(super) const COMMANDS: [Command; 29] = [
    command("step", "s si", Verb::Step, "[UNIT] [N]", "forward; UNIT is instruction, block, call or interrupt"),
    command("back", "b bs rsi", Verb::Back, "[UNIT] [N]", "the same backwards; back call goes to who called"),
    command("next", "n", Verb::Next, "", "one instruction; over a call, an interrupt or a whole REP"),
    command("continue", "c", Verb::Continue, "[TICK]", "run to a breakpoint, a watchpoint, the tick or the end"),
    command("reverse", "rc r", Verb::Reverse, "", "run backwards to a breakpoint, a watchpoint or the start"),
    command("goto", "g", Verb::Goto, "TICK|start|end|+N|-N", "go to a tick, whatever lies between"),
    command("tick", "t", Verb::Tick, "", "where the machine stands, and why"),
    command("break", "bp", Verb::Break, "ADDR", "stop before the instruction there"),
    command("watch", "w", Verb::Watch, "PLACE[+N]", "stop at writes of N bytes (1)"),
    command("rwatch", "rw", Verb::ReadWatch, "PLACE[+N]", "stop at reads"),
    command("awatch", "aw", Verb::AnyWatch, "PLACE[+N]", "stop at both"),
    command(
        "delete",
        "d",
        Verb::Delete,
        "ADDR|NUMBER|all",
        "delete the breakpoint there, or the watchpoint of the number",
    ),
    command("list", "l", Verb::List, "", "breakpoints and watchpoints"),
    command("registers", "regs", Verb::Registers, "[all|NAME]", "registers; a * marks what the last move has changed"),
    command("memory", "x m", Verb::Memory, "[PLACE] [N]", "N bytes of memory (64); without a place, those that follow"),
    command("disassemble", "u", Verb::Disassemble, "[ADDR] [N]", "N instructions (8), from the next one on"),
    command(
        "set",
        "",
        Verb::Set,
        "REGISTER|PLACE VALUE",
        "change a register or bytes; of a live run, whose past ends there",
    ),
    command("why", "", Verb::Why, "PLACE[+N] [TIMES]", "who wrote this last, and the times before; the machine stays"),
    command("when", "", Verb::When, "PLACE[+N] VALUE", "go back to the write that made it VALUE"),
    command("find", "f", Verb::Find, "VALUE[+N]|\"TEXT\"", "where RAM holds a value of N bytes (4), or a text"),
    command("trace", "", Verb::Trace, "[N]", "the last N steps (16)"),
    command(
        "info",
        "i",
        Verb::Info,
        "tlb [ADDR]|pic|interrupts|cpu|cpus|devices|parts|memory OFFSET LEN",
        "what the machine is doing; hashes of its parts and of its memory",
    ),
    command("screen", "", Verb::Screen, "", "the text on the screen"),
    command("screenshot", "", Verb::Screenshot, "FILE", "write the screen as PNG"),
    command("type", "", Verb::Type, "KEYS", "type on the keyboard of a live run, as emu run --type does"),
    command("hash", "", Verb::Hash, "", "the hash of the whole state"),
    command("phys", "", Verb::Physical, "on|off", "gdb's addresses of memory are physical ones"),
    command("help", "h ?", Verb::Help, "[COMMAND]", "this"),
    command("quit", "q", Verb::Quit, "", "end"),
];

const PLACES: &str = "\
PLACE is a linear address: a number (0x for hexadecimal), a register, SEG:OFFSET (f000:fff0, ds:si, both hexadecimal),
or several of them with + and -; phys:NUMBER is a physical address. +N is the number of bytes, as in 0x500+4.
An empty line repeats the last command. A line that begins with # is a comment.
";

impl Command {
    pub(super) fn run(&self, cx: &mut Context<'_>, words: &[&str]) -> Answer {
        match self.verb {
            Verb::Step => motion::step(cx, words),
            Verb::Back => motion::back(cx, words),
            Verb::Next => motion::next(cx),
            Verb::Continue => motion::go(cx, words),
            Verb::Reverse => motion::reverse(cx),
            Verb::Goto => motion::goto(cx, words),
            Verb::Tick => Ok(show::status(cx)),
            Verb::Break => show::add_break(cx, words),
            Verb::Watch => show::add_watch(cx, words, crate::Access::Write),
            Verb::ReadWatch => show::add_watch(cx, words, crate::Access::Read),
            Verb::AnyWatch => show::add_watch(cx, words, crate::Access::Any),
            Verb::Delete => show::delete(cx, words),
            Verb::List => Ok(show::list(cx)),
            Verb::Registers => show::registers(cx, words),
            Verb::Memory => show::memory(cx, words),
            Verb::Disassemble => show::disassemble(cx, words),
            Verb::Set => show::set(cx, words),
            Verb::Why => search::why(cx, words),
            Verb::When => search::when(cx, words),
            Verb::Find => search::find(cx, words),
            Verb::Trace => search::trace(cx, words),
            Verb::Info => info::info(cx, words),
            Verb::Screen => Ok(cx.session.machine().screen_text() + "\n"),
            Verb::Screenshot => info::screenshot(cx, words),
            Verb::Type => info::type_keys(cx, words),
            Verb::Hash => Ok(format!("tick {} state {}\n", cx.session.now().0, cx.session.system().hash())),
            Verb::Physical => info::physical(cx, words),
            Verb::Help => help(words, false),
            Verb::Quit => Ok(String::new()),
        }
    }
}

/// The help: of everything, or of one command.
pub(super) fn help(words: &[&str], monitor: bool) -> Answer {
    let one = match words.first() {
        Some(name) => Some(super::find(name).ok_or_else(|| format!("no command `{name}`"))?),
        None => None,
    };
    let mut text = String::new();
    for c in COMMANDS.iter().filter(|c| one.is_none_or(|o| o.name == c.name) && (c.monitor || !monitor)) {
        let name = if c.short.is_empty() { c.name.to_owned() } else { format!("{} ({})", c.name, c.short) };
        let _ = writeln!(text, "{:<20} {:<24} {}", name, c.usage, c.help);
    }
    Ok(text + PLACES)
}
