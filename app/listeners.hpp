// Listeners: the public listening sockets, asked from the keeper, which holds them too.
#pragma once

#include "app/worker.hpp"
#include "config/node_config.hpp"
#include "core/address.hpp"
#include "core/error.hpp"
#include "keeper/client.hpp"
#include "proxy/listener.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace rooster::app {

/// Does a socket bound to `host` ("": every address of this host) get what is sent to `to`?
bool is_reached_by(const std::string& host, const IpAddress& to);

class Listeners {
 public:
  /// Control's; `keeper` outlives it.
  Listeners(keeper::Client& keeper, std::size_t workers) : keeper_(keeper), workers_(workers) {}

  /// Asks for all of [listen], before the workers run. Errors: Internal, saying which address could
  /// not be had and what to write.
  Result<> bind(const config::NodeConfig& node);
  /// The sockets bound, by worker. Where a predecessor had more workers the first ones accept from
  /// the rest as well. Once.
  std::vector<std::vector<ListenSocket>> take_sockets();
  /// The keeper lets go of its copies: the workers then close the last ones once they have accepted
  /// what is queued.
  void release();

  /// Would a connection to `to` come back to us?
  bool is_own(const Endpoint& to) const;
  /// "https *:443", in the order of the configuration.
  std::vector<std::string> texts() const;
  /// Where https is served; 443 where it is not.
  std::uint16_t https_port() const;

 private:
  struct Bound {
    std::string text;
    config::ListenAddress address;
    proxy::Listener::Options options;
    std::vector<Descriptor> sockets;
  };
  Result<> bind_one(const std::string& kind, const config::ListenAddress& address,
                    std::uint16_t external_port, const std::string& file);

  keeper::Client& keeper_;
  const std::size_t workers_;
  std::vector<Bound> bound_;
};

}  // namespace rooster::app
