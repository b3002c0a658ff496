// ServerProcess: the one server that the keeper has at a time, and the keeper's end of their
// channel.
#pragma once

#include "core/descriptor.hpp"

#include <cstdint>
#include <string>
#include <vector>

#include <sys/resource.h>
#include <sys/types.h>

namespace rooster::keeper {

struct ServerProcess {
  pid_t pid = 0;  ///< 0 = none
  Descriptor channel;
  bool is_ready = false;
  bool keeps_machines = false;

  bool is_running() const { return pid > 0; }
};

/// Forks and executes the server. It gets the channel's other end by number in kChannelVariable, a
/// process group of its own (Ctrl-C must reach it once, through the keeper), and dies with the
/// keeper. pid 0: fork or socket failed.
ServerProcess start_server(const std::string& path, const std::vector<std::string>& argv,
                           const rlimit& descriptors);

}  // namespace rooster::keeper
