// keeper.state: who runs, written as it changes, so that the next keeper can kill what a killed one
// left behind. Its lock keeps two keepers off one data directory.
#pragma once

#include "core/descriptor.hpp"

#include <cstdint>
#include <expected>
#include <map>
#include <string>

#include <sys/types.h>

namespace rooster::keeper {

/// One process that a keeper has started.
struct Record {
  pid_t pid = 0;
  std::uint64_t start_time = 0;
  std::string invocation;  ///< "" where the machine has a cgroup
};

/// What keeper.state says.
struct StateText {
  std::string boot_id;
  std::string cgroup;  ///< the keeper's base; "" = none
  std::map<pid_t, Record> alive;
};

/// Reads a keeper.state; lines that make no sense, such as a cut last one, are passed over.
StateText parse_state(const std::string& text);

class StateFile {
 public:
  /// Takes the lock, making the directory if need be, and kills what the file's last owner left.
  /// The error is a sentence for the operator.
  static std::expected<StateFile, std::string> open(const std::string& data_dir);

  /// Where it lies: absolute, without links.
  const std::string& folder() const { return folder_; }
  /// How many processes open() has killed.
  std::size_t swept() const { return swept_; }

  /// Starts the file anew for a keeper whose cgroups lie below `cgroup`.
  void begin(const std::string& cgroup);
  void add(Record record);
  void remove(pid_t pid);
  /// Nothing is left running: the next start has nothing to sweep.
  void clear();

 private:
  void append(const std::string& line);
  void rewrite();

  Descriptor file_;
  std::string folder_;
  StateText state_;
  std::size_t size_ = 0;
  std::size_t swept_ = 0;
};

/// SIGKILL to everything that `state` names and that still runs; waits at most two seconds for the
/// end.
std::size_t sweep(const StateText& state);

}  // namespace rooster::keeper
