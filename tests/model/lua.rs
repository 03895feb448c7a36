//! Runs the scripts as Redis does: in Lua 5.1, with `KEYS`, `ARGV` and `redis`, on the model's Redis.

use std::cell::RefCell;
use std::rc::Rc;

use mlua::prelude::{LuaGcIncParams, LuaGcMode};
use mlua::{Function, Lua, MultiValue, Table, Value};

use crate::redis::{Reply, Server};

/// One interpreter, and the server that its scripts run on.
pub struct Interpreter {
    lua: Lua,
    server: Rc<RefCell<Server>>,
}

/// A script that an interpreter has read.
pub struct Script(Function);

/// What a script is given in `ARGV`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Arg {
    Text(Vec<u8>),
    Number(i64),
}

impl From<&str> for Arg {
    fn from(text: &str) -> Arg {
        Arg::Text(text.as_bytes().to_vec())
    }
}

/// `redis.call` raises an error as the table that `redis.pcall` returns, so it is made of that. What travels packed in
/// `ARGV[1]` is given unpacked.
const LIBRARY: &str = "
redis.call = function(...)
  local reply = redis.pcall(...)
  if type(reply) == 'table' and reply.err then
    error(reply)
  end
  return reply
end
redis.error_reply = function(text) return {err = text} end
redis.acl_check_cmd = function() return true end
cmsgpack = {unpack = function(list) return list end}
";

impl Interpreter {
    pub fn new() -> Interpreter {
        let lua = Lua::new();
        // A run leaves little behind: it is collected when it has become ten times what there was.
        lua.gc_set_mode(LuaGcMode::Incremental(LuaGcIncParams::default().pause(1_000)));
        let server = Rc::new(RefCell::new(Server::default()));
        let redis = lua.create_table().expect("a table");
        let of_calls = Rc::clone(&server);
        let call = lua.create_function(move |lua, args: MultiValue| {
            let reply = match words(&args) {
                Some(words) => of_calls.borrow_mut().call(&words),
                None => Reply::error("ERR Lua redis lib command arguments must be strings or integers"),
            };
            to_lua(lua, reply)
        });
        redis.set("pcall", call.expect("a function")).expect("a table takes a field");
        lua.globals().set("redis", redis).expect("a table takes a field");
        lua.load(LIBRARY).exec().expect("the library is sound");
        Interpreter { lua, server }
    }

    /// Reads a script.
    pub fn load(&self, text: &str) -> Script {
        // Redis reads a first line that says how the script is to be run.
        let code = if text.starts_with("#!") { text.split_once('\n').map_or("", |(_, code)| code) } else { text };
        // An error that is a table would not come out of Lua as one.
        let protected = "local run = ...; return function() local ok, row = pcall(run)
            if not ok and type(row) ~= 'table' then return {err = 'ERR ' .. tostring(row)} end return row end";
        let function = self.lua.load(code).set_name("@user_script").into_function().expect("a script of Lua 5.1");
        Script(self.lua.load(protected).call(function).expect("a function"))
    }

    /// Runs a script that was read here on a server, which is changed.
    pub fn run(&self, script: &Script, keys: &[Vec<u8>], args: &[Arg], server: &mut Server) -> Reply {
        std::mem::swap(server, &mut self.server.borrow_mut());
        self.server.borrow_mut().begin_script();
        let reply = self.run_here(script, keys, args).unwrap_or_else(|error| raised(&error));
        std::mem::swap(server, &mut self.server.borrow_mut());
        reply
    }

    fn run_here(&self, script: &Script, keys: &[Vec<u8>], args: &[Arg]) -> mlua::Result<Reply> {
        let globals = self.lua.globals();
        let keys = keys.iter().map(|key| self.lua.create_string(key)).collect::<mlua::Result<Vec<_>>>()?;
        globals.set("KEYS", self.lua.create_sequence_from(keys)?)?;
        let arg = |arg: &Arg| match arg {
            Arg::Text(text) => self.lua.create_string(text).map(Value::String),
            Arg::Number(number) => Ok(Value::Number(*number as f64)),
        };
        let args = self.lua.create_sequence_from(args.iter().map(arg).collect::<mlua::Result<Vec<_>>>()?)?;
        globals.set("ARGV", self.lua.create_sequence_from([args])?)?;
        from_lua(&script.0.call(())?)
    }
}

fn raised(error: &mlua::Error) -> Reply {
    Reply::Error(format!("ERR {error}"))
}

/// The words of a command; `None` where one is neither a text nor a number.
fn words(args: &MultiValue) -> Option<Vec<Vec<u8>>> {
    let word = |value: &Value| match value {
        Value::String(text) => Some(text.as_bytes().to_vec()),
        Value::Integer(number) => Some(number.to_string().into_bytes()),
        Value::Number(number) if number.fract() == 0.0 && number.abs() < 1e17 => {
            Some(format!("{number:.0}").into_bytes())
        }
        Value::Number(number) => Some(number.to_string().into_bytes()),
        _ => None,
    };
    args.iter().map(word).collect()
}

fn to_lua(lua: &Lua, reply: Reply) -> mlua::Result<Value> {
    let field = |name: &str, text: String| -> mlua::Result<Value> {
        let table = lua.create_table()?;
        table.set(name, text)?;
        Ok(Value::Table(table))
    };
    match reply {
        Reply::Nil => Ok(Value::Boolean(false)),
        Reply::Integer(number) => Ok(Value::Number(number as f64)),
        Reply::Bulk(text) => lua.create_string(text).map(Value::String),
        Reply::Status(text) => field("ok", text),
        Reply::Error(text) => field("err", text),
        Reply::Array(rows) => {
            let rows = rows.into_iter().map(|row| to_lua(lua, row)).collect::<mlua::Result<Vec<_>>>()?;
            lua.create_sequence_from(rows).map(Value::Table)
        }
    }
}

fn from_lua(value: &Value) -> mlua::Result<Reply> {
    Ok(match value {
        Value::String(text) => Reply::bulk(&*text.as_bytes()),
        Value::Integer(number) => Reply::Integer(*number),
        // Redis cuts off what stands behind the point.
        Value::Number(number) => Reply::Integer(*number as i64),
        Value::Boolean(true) => Reply::Integer(1),
        Value::Table(table) => of_table(table)?,
        _ => Reply::Nil,
    })
}

fn of_table(table: &Table) -> mlua::Result<Reply> {
    if let Value::String(text) = table.raw_get::<Value>("err")? {
        return Ok(Reply::Error(text.to_string_lossy()));
    }
    if let Value::String(text) = table.raw_get::<Value>("ok")? {
        return Ok(Reply::Status(text.to_string_lossy()));
    }
    let mut rows = Vec::new();
    loop {
        match table.raw_get::<Value>(rows.len() + 1)? {
            Value::Nil => return Ok(Reply::Array(rows)),
            row => rows.push(from_lua(&row)?),
        }
    }
}
