use std::process::ExitCode;

fn main() -> ExitCode {
    portero::banctl::main(std::env::args_os())
}
