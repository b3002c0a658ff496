// StartSpec: all that a driver needs to start one machine, as a value. Built purely from the app's
// config.
#pragma once

#include "config/app_config.hpp"
#include "core/address.hpp"
#include "core/ids.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace rooster::machines {

struct StartSpec {
  MachineId machine{};
  std::string app{};
  std::vector<std::string> argv{};
  std::vector<std::string> env{};  ///< "KEY=value", nothing else is inherited
  std::string directory{};
  std::string user{};
  std::map<std::uint16_t, std::uint16_t> ports{};  ///< internal port -> the port it is to listen on
  int kill_signal = 2;
  std::chrono::milliseconds kill_timeout{5000};
  bool wants_notify = false;
  IpAddress private_address{};  ///< set: in namespaces of its own, with this address
  std::string fingerprint{};    ///< what the keeper stores with it: parse_stored_start() reads it
};

/// Who the machine is, for its environment.
struct MachineIdentity {
  MachineId id{};
  std::string region{};
  std::string group{};
  IpAddress private_address{};  ///< unset: it shares the host's network
};

/// `ports` says where each internal port of its services is to listen; the first service's is
/// $PORT.
StartSpec make_start_spec(const config::AppConfig& config, const MachineIdentity& identity,
                          const std::map<std::uint16_t, std::uint16_t>& ports);

/// Does the group's command say $PORT, ${PORT} or {port}, so that it can be told where to listen?
bool takes_port(const config::AppConfig& config, std::string_view group);

/// The internal port whose listener says that a machine of `group` is up: its first TCP service's;
/// 0: none.
std::uint16_t readiness_port(const config::AppConfig& config, std::string_view group);

/// The services that `group` carries, in the file's order.
std::vector<const config::Service*> services_of(const config::AppConfig& config,
                                                std::string_view group);

/// Changes with everything that a running machine can't take over: command, environment, directory,
/// user, ports.
std::string start_fingerprint(const config::AppConfig& config, std::string_view group);

/// What the keeper stores with a machine, so that a successor of this server knows it again.
struct StoredStart {
  std::string fingerprint{};
  std::map<std::uint16_t, std::uint16_t> ports{};
};
std::string store_start(const StoredStart& start);
/// Ports that are not understood are left out.
StoredStart parse_stored_start(std::string_view text);

/// "SIGINT" -> 2; 0 for an unknown name.
int signal_number(std::string_view name);

}  // namespace rooster::machines
