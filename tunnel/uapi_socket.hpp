// UapiSocket: the unix socket by which plain `wg show` and `wg set` find a device that lives in a
// process (https://www.wireguard.com/xplatform/).
#pragma once

#include "tunnel/device_loop.hpp"
#include "tunnel/uapi.hpp"

#include <functional>
#include <memory>
#include <string>

namespace rooster::tunnel {

struct UapiOptions {
  std::string path;  ///< "/var/run/wireguard/rooster0.sock"
  UapiPolicy policy = UapiPolicy::All;
  /// What a permitted set=1 does; returns 0 or an errno. Unset: it is done to the Device alone.
  std::move_only_function<int(const UapiRequest&)> apply{};
};

/// Where `wg` looks for the socket of `interface`.
std::string uapi_path(const std::string& interface);

class UapiSocket {
 public:
  /// Serves on `device`'s loop from now on. Errors: Internal, where the folder is missing, another
  /// process has the socket, or this one may not; nothing but `wg` misses it then.
  static Result<std::unique_ptr<UapiSocket>> create(DeviceLoop& device, UapiOptions options);
  /// After stop() has called back.
  ~UapiSocket();
  /// Removes the socket and ends its connections.
  void stop(std::move_only_function<void()> done);

 private:
  UapiSocket(DeviceLoop& device, UapiOptions options, Descriptor listener);
  Task<> accept();
  Task<> serve(Descriptor connection);
  std::string answer(const std::string& text);

  DeviceLoop& device_;
  UapiOptions options_;
  TaskGroup group_;
  Pollable listener_;
  std::size_t open_ = 0;
};

}  // namespace rooster::tunnel
