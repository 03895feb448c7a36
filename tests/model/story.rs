//! A trace, told so that it can be followed.

use std::fmt::Write;

use crate::properties::{self, Violation};
use crate::world::{Action, Engine, Held, World};

/// Plays a trace from the beginning of a world, and tells it.
pub fn tell(engine: &Engine, begin: &World, trace: &[Action]) -> (String, Option<Violation>) {
    let (mut world, mut story) = (begin.clone(), String::new());
    for action in trace {
        let before = world.clone();
        world.apply(engine, *action);
        let leases = world.leases(engine);
        let told = |held: &Held| format!("{} {} until {} ms", held.mode.label(), held.token, held.until_ms);
        let mut lease = leases.iter().map(told).collect::<Vec<_>>().join(", ");
        if leases.is_empty() {
            lease.push_str("free");
        }
        let step = step(&before, *action);
        writeln!(story, "{:>6} ms  {step:<72} key: {lease}", world.now_ms).expect("memory takes all that is written");
    }
    let violation = properties::broken(&world, engine);
    if let Some(Violation { property, how }) = &violation {
        writeln!(story, "broken: {property}: {how}").expect("memory takes all that is written");
    }
    (story, violation)
}

fn step(world: &World, action: Action) -> String {
    let client = |at: usize| format!("{} (client {at})", world.clients[at].owner);
    let sidecar = |at: usize| world.sidecars[at].name;
    match action {
        Action::Begin(at) => {
            let wish = world.clients[at].wish();
            format!("{} asks for the key, {:?}, waits {:?}", client(at), wish.mode, wish.wait_ms)
        }
        Action::Release(at) => format!("{} releases", client(at)),
        Action::Renew(at) => format!("{} renews", client(at)),
        Action::HangUp(at) => format!("{} hangs up", client(at)),
        Action::Run(at) => format!("Redis runs {} of {}", world.sent_first(at), sidecar(at)),
        Action::Answer(at) => format!("{} gets an answer: {}", sidecar(at), world.answer_first(at)),
        Action::Hear(at) => format!("{} hears: {}", sidecar(at), world.message_first(at)),
        Action::Break(at) => format!("the connection of {} breaks", sidecar(at)),
        Action::RunLate(at) => format!("Redis runs late, from a connection that broke: {}", world.late_first(at)),
        Action::Stall(at) => format!("what {} sent is held up", sidecar(at)),
        Action::Resume(at) => format!("what {} sent goes on", sidecar(at)),
        Action::Deafen(at) => format!("{} loses its subscription", sidecar(at)),
        Action::Listen(at) => format!("{} listens again", sidecar(at)),
        Action::Lose => "Redis loses its data".to_owned(),
        Action::RunShort(at) => {
            format!("Redis runs {} of {}, too few replicas have it", world.sent_first(at), sidecar(at))
        }
        Action::RunBatch(at) => {
            format!("Redis runs {} of {}, and what follows it, in one call", world.sent_first(at), sidecar(at))
        }
        Action::FailOver(lacking) => format!("Redis fails over to a replica without the last {lacking} writes"),
        Action::SetBack => "Redis's clock is set back".to_owned(),
        Action::Fill => "Redis has no memory left".to_owned(),
        Action::Empty => "Redis has memory again".to_owned(),
        Action::Force => "the key is force-released".to_owned(),
        Action::Crash(at) => format!("{} crashes", sidecar(at)),
        Action::Freeze(at) => format!("{} freezes", sidecar(at)),
        Action::Thaw(at) => format!("{} goes on", sidecar(at)),
        Action::Drain(at) => format!("{} is being stopped", sidecar(at)),
        Action::Pass => "time passes".to_owned(),
    }
}
