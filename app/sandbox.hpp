// The server shuts itself in, before its first thread: capabilities, system calls, places to write.
// What needs more is the keeper's to do. Nothing here is undone until the process ends.
#pragma once

#include "config/node_config.hpp"
#include "core/log.hpp"

#include <string>
#include <vector>

namespace rooster::app {

/// What came of it, for the log and for `rooster status`. "" means that it does not hold.
struct SandboxFacts {
  bool is_wanted = true;
  std::string capabilities;             ///< "5 of 41" or "none": what is left
  std::string calls;                    ///< "allow-list of 190"
  std::string files;                    ///< "writes only below ..."
  std::vector<std::string> writable{};  ///< resolved; empty: everywhere
  std::vector<std::string> missing{};   ///< what doesn't hold here, each with its reason
};

/// Shuts the calling thread, and all that it starts from now on, in. Does what this kernel and this
/// environment allow, says what it could not do, and never fails as a whole.
SandboxFacts enter_sandbox(const config::NodeConfig& node);

/// Can this path be written, or made, from inside? (Rights of the file system apart.)
bool may_write(const SandboxFacts& facts, const std::string& path);

/// What holds and what doesn't, a line each.
void report_sandbox(Log& log, const SandboxFacts& facts);

}  // namespace rooster::app
