// The command line: `rooster serve` and the operator's commands, which speak to a node's admin
// socket.
#pragma once

#include "core/log.hpp"

#include <functional>
#include <iosfwd>
#include <string>

namespace rooster::cli {

struct ServeOptions {
  std::string config_file;  ///< absolute
  LogFormat log_format = LogFormat::Human;
  LogLevel log_level = LogLevel::Info;
};

/// What the command line can't do by itself; app/ gives it.
struct Commands {
  std::function<int(const ServeOptions&)> serve;  ///< returns the exit status
};

/// Where a command writes.
struct Console {
  std::ostream& out;
  std::ostream& err;
  bool has_colour = false;
};

/// Exit status: 0 done, 1 failed, 2 wrong usage.
int run_cli(int argc, const char* const* argv, const Commands& commands, const Console& console);
/// The same on standard output and error; colour only on a terminal and without NO_COLOR.
int run_cli(int argc, char** argv, const Commands& commands);

}  // namespace rooster::cli
