// A machine's namespaces: network (made by the hub), mounts and processes. A setup process, forked
// by the keeper, makes them and then, as the keeper's own children:
//   1. init, the first process of the new process namespace: it reaps, and when it ends all end
//   2. the command, whose exit the keeper sees like any other's
// Its reports: born{init}, born{command}, then what child_run.hpp says.
#pragma once

#include "keeper/child_run.hpp"

namespace rooster::keeper {

/// Where a machine is to live.
struct NamespacePlan {
  int user = -1;     ///< user namespace that owns them all; -1: the keeper's own, it is root
  int network = -1;  ///< the machine's
  std::string hosts{}, resolvers{};
  std::string hidden{};  ///< a folder that reads as empty; "": none
};

/// The setup process's work; never returns.
[[noreturn]] void set_up_namespaces(ChildPlan& plan, const NamespacePlan& namespaces);

/// Joins the namespaces of `init` and runs the command there as the keeper's child; never returns.
/// `has_user`: they belong to a user namespace of their own.
[[noreturn]] void join_namespaces(ChildPlan& plan, pid_t init, bool has_user);

/// "" if machines can have namespaces of their own here; else a sentence that says why not. Tries
/// it in a child.
std::string find_namespace_obstacle();

}  // namespace rooster::keeper
