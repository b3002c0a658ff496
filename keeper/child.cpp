#include "keeper/child.hpp"

#include "keeper/process_tree.hpp"

#include <cerrno>
#include <charconv>
#include <system_error>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace rooster::keeper {
namespace {

bool is_own_user(const ChildUser& user, const std::string& own_name) {
  if (!user.is_given()) return true;
  if (user.uid) return *user.uid == ::geteuid();
  uid_t number = 0;
  const char* end = user.user.data() + user.user.size();
  const auto parsed = std::from_chars(user.user.data(), end, number);
  if (parsed.ec == std::errc() && parsed.ptr == end) return number == ::geteuid();
  return user.user == own_name;
}

/// An abstract name of the kernel's choice: no file whose owner or directory could be wrong.
Descriptor make_notify_socket() {
  Descriptor socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const int on = 1;
  if (!socket || ::setsockopt(socket.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0 ||
      ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address),
             sizeof address.sun_family) != 0)
    return {};
  return socket;
}

std::string abstract_name_of(int socket) {
  sockaddr_un address = {};
  socklen_t size = sizeof address;
  if (::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) != 0) return {};
  std::string name = "@";
  name.append(&address.sun_path[1], size - offsetof(sockaddr_un, sun_path) - 1);
  return name;
}

SpawnFailed failed(SpawnStep step, int error) {
  return SpawnFailed{
      .error = error,
      .step = step,
      .text = std::string(to_string(step)) + ": " + std::system_category().message(error)};
}

}  // namespace

UserChange user_change(const ChildUser& user, const std::string& own_name) {
  const bool is_root = ::geteuid() == 0;
  return {.is_possible = is_root || is_own_user(user, own_name),
          .is_needed = is_root && user.is_given()};
}

std::expected<Child, SpawnFailed> start_child(const Spawn& spawn, const ChildContext& context,
                                              ChildPlace* place) {
  if (spawn.argv.empty() || spawn.argv.front().empty())
    return std::unexpected(failed(SpawnStep::Prepare, EINVAL));
  Child child;
  ChildPlan plan;
  plan.argv = spawn.argv;
  plan.environment = spawn.env;
  plan.cwd = spawn.cwd;
  plan.user = {.uid = spawn.uid, .gid = spawn.gid, .user = spawn.user};
  plan.cgroup = context.cgroup;
  plan.descriptors = context.descriptors;
  plan.keeper = ::getpid();
  if (spawn.wants_notify) {
    child.notify = place != nullptr ? std::move(place->notify) : make_notify_socket();
    const std::string name = child.notify ? abstract_name_of(child.notify.get()) : "";
    if (name.empty()) return std::unexpected(failed(SpawnStep::Prepare, errno));
    plan.environment.push_back("NOTIFY_SOCKET=" + name);
  }
  if (context.cgroup.empty() && !context.invocation.empty())
    plan.environment.push_back(std::string(kInvocationVariable) + '=' + context.invocation);
  Descriptor output, report;
  if (!make_pipe(child.output, output, true) || !make_pipe(child.report, report, true))
    return std::unexpected(failed(SpawnStep::Prepare, errno));
  plan.output = output.get();
  plan.report = report.get();
  const UserChange change = user_change(plan.user, context.own_user);
  child.user_applied = change.is_possible;
  plan.changes_user = change.is_needed;
  child.is_born = place == nullptr;
  child.pid = fork_child(plan);
  if (child.pid == 0 && place != nullptr) set_up_namespaces(plan, place->namespaces);
  if (child.pid == 0) run_child(plan);
  if (child.pid < 0) return std::unexpected(failed(SpawnStep::Fork, errno));
  return child;
}

SpawnFailed explain(const ChildReport& failure, const ChildUser& user, const std::string& command,
                    const std::string& cwd) {
  std::string subject;
  if (failure.step == SpawnStep::Exec) subject = ' ' + command;
  if (failure.step == SpawnStep::Directory) subject = ' ' + cwd;
  if (failure.step == SpawnStep::User)
    subject = ' ' + (user.uid ? std::to_string(*user.uid) : user.user);
  const bool no_user = failure.step == SpawnStep::User && failure.error == ESRCH;
  return SpawnFailed{
      .error = failure.error,
      .step = failure.step,
      .text = std::string(to_string(failure.step)) + subject + ": " +
              (no_user ? "no such user" : std::system_category().message(failure.error))};
}

}  // namespace rooster::keeper
