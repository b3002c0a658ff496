// The system calls of the server: those that it makes itself, and those that glibc, OpenSSL, SQLite
// and c-ares make for it. Everything else answers ENOSYS, at which libraries fall back.
#pragma once

#include <span>

namespace rooster::app {

/// By name; one that this architecture doesn't have is passed over.
std::span<const char* const> allowed_calls();

}  // namespace rooster::app
