// What `rooster proxy` says, and how it keeps from saying it too often. Pure.
#pragma once

#include "cli/proxy_mapping.hpp"
#include "core/error.hpp"
#include "core/time.hpp"
#include "net/connect_call.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace rooster::cli {

/// "Proxying localhost:5432 to remote [db.internal]:5432", as flyctl writes it.
std::string proxying_line(const ProxyMapping& mapping, std::uint16_t bound_port);
/// "localhost:5432", or the socket's path.
std::string local_place(const ProxyMapping& mapping, std::uint16_t bound_port);
/// "connection to db.internal:5432 failed: <why>".
std::string failed_line(const net::ConnectTarget& remote, const net::ConnectRefusal& why);
std::string failed_line(const net::ConnectTarget& remote, const Error& why);
/// "connection to db.internal:5432 lost: <why>"; `why` "": the app or its machine reset it.
std::string lost_line(const net::ConnectTarget& remote, std::string_view why);
/// "3h12m", "45s".
std::string duration_text(std::chrono::seconds duration);

/// Who holds a port.
struct PortHolder {
  int pid = 0;  ///< 0: not to be seen by this user
  std::string command;
};
/// "port 5432 is taken by postgres (pid 77); stop it, or choose another: 15432:5432".
std::string port_taken_text(std::string_view address, const ProxyMapping& mapping,
                            const PortHolder& holder);

/// Does this refusal mean that the target does not exist at all, so that trying again is vain?
bool is_for_good(const net::ConnectRefusal& refusal);

/// Lines that come again and again are said once, then counted.
class RepeatedLines {
 public:
  static constexpr auto kWindow = std::chrono::seconds(10);

  /// The lines to print for it now: itself if it is new, none while it repeats.
  std::vector<std::string> add(std::string line, TimePoint now);
  /// The counted lines whose window is over: "<line> (37 more times in 10s)".
  std::vector<std::string> due(TimePoint now);
  /// All counted ones, at the end.
  std::vector<std::string> rest();

 private:
  struct Entry {
    std::string line;
    TimePoint since;
    std::uint64_t more = 0;
  };
  static constexpr std::size_t kMost = 32;
  static std::string counted(const Entry& entry);
  std::vector<Entry> entries_;
};

/// Notices that the machine slept: looked at each second, a longer gap is a sleep (or a stop).
class SleepWatch {
 public:
  static constexpr auto kGap = std::chrono::seconds(10);
  /// How long it slept since the last look; nullopt: it did not.
  std::optional<std::chrono::seconds> look(std::chrono::milliseconds boot_time);

 private:
  std::optional<std::chrono::milliseconds> last_;
};

}  // namespace rooster::cli
