//! The program. Everything is in the library.

use std::process::ExitCode;

/// Most of what a vote allocates one thread takes and another gives back, with which the system's allocator took a seventh to a fifth more
/// CPU for a vote than this one. Only the program chooses one: who embeds the library has their own.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    plaudit::cli::main()
}
