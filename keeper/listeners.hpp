// Listeners: the listening sockets, held here so that neither a crash nor an upgrade of the server
// closes a queue.
#pragma once

#include "keeper/protocol.hpp"

#include <expected>
#include <string>
#include <vector>

namespace rooster::keeper {

class Listeners {
 public:
  /// Binds what is missing; the reply holds duplicates of all sockets of that address.
  Reply listen(const Listen& request);
  Reply unlisten(const Unlisten& request);

 private:
  struct Address {
    std::string name, host;
    std::uint16_t port = 0;        // as asked
    std::uint16_t bound_port = 0;  // as got
    Descriptors sockets;
  };
  Address* find(const std::string& name, const std::string& host, std::uint16_t port);

  std::vector<Address> addresses_;
};

}  // namespace rooster::keeper
