// cgroup2 without controllers: what it gives the keeper is membership that no fork escapes, kill
// and freeze.
#pragma once

#include <string>
#include <string_view>

namespace rooster::keeper {

/// The keeper's own directory of machine cgroups.
class Cgroups {
 public:
  Cgroups() = default;  ///< none: every machine goes without
  /// Finds a writable cgroup2 and makes a directory in it that is this keeper's alone; is_usable()
  /// says whether. Forks once, to see whether a process may enter it.
  static Cgroups find();

  bool is_usable() const { return !base_.empty(); }
  const std::string& base() const { return base_; }
  /// A new cgroup whose name begins with `name`; "" if it can't be made.
  std::string make(std::string_view name);
  /// Removes the keeper's directory, if nothing lives in it.
  void remove_base();

 private:
  std::string base_;
  unsigned long serial_ = 0;
};

/// SIGKILL to all of it and below, frozen or not.
void kill_cgroup(const std::string& cgroup);
/// False with errno if the kernel refuses.
bool freeze_cgroup(const std::string& cgroup, bool frozen);
/// All of it stands still.
bool is_cgroup_frozen(const std::string& cgroup);
/// A process lives in it or below.
bool is_cgroup_populated(const std::string& cgroup);
/// The kernel killed a process of it for want of memory.
bool has_cgroup_run_out_of_memory(const std::string& cgroup);
/// Removes it and what is below; false while something lives there.
bool remove_cgroup(const std::string& cgroup);

}  // namespace rooster::keeper
