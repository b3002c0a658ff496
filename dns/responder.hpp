// Responder: one query's bytes and where they came from -> one reply's bytes. What the servers for
// datagrams and streams have in common.
#pragma once

#include "dns/answer.hpp"
#include "dns/directory.hpp"
#include "dns/recursor.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>

namespace rooster::dns {

/// The network of whoever asks from this address; nullopt: no one we answer.
using NetworkOf = std::function<std::optional<NetworkId>(const IpAddress& source)>;

struct ServerCounts {
  std::uint64_t queries = 0;
  std::uint64_t malformed = 0;
  std::uint64_t refused = 0;    ///< sources of no network
  std::uint64_t truncated = 0;  ///< answers too large for a datagram
  std::uint64_t sessions = 0;   ///< TCP connections taken
};

class Responder {
 public:
  /// `recursor` null: other names are refused.
  Responder(const Directory& directory, Recursor* recursor, NetworkOf network_of,
            AnswerOptions options)
      : directory_(directory),
        recursor_(recursor),
        network_of_(std::move(network_of)),
        options_(std::move(options)) {}

  enum class Next : std::uint8_t {
    Send,     ///< `size` bytes of `out`
    Silence,  ///< no reply may be given
    Wait,     ///< recurse() it
  };
  struct Outcome {
    Next next;
    std::size_t size = 0;
  };
  /// `out`: kMaxMessageBytes for a stream, kMaxUdpBytes for a datagram.
  Outcome respond(const IpAddress& source, std::string_view message, Carrier carrier,
                  std::span<char> out);
  /// For what respond() says Wait of; gives the reply's size. The arguments belong to the awaiting
  /// coroutine.
  Task<std::size_t> recurse(const IpAddress& source, std::string_view message, Carrier carrier,
                            std::span<char> out, Waiter& waiter);

  ServerCounts& counts() { return counts_; }

 private:
  const Directory& directory_;
  Recursor* recursor_;
  NetworkOf network_of_;
  AnswerOptions options_;
  ServerCounts counts_;
};

}  // namespace rooster::dns
