// Upstream: raw questions to the resolvers of the node, by c-ares: any type, retried, over TCP
// where a datagram was too small.
#pragma once

#include "core/address.hpp"
#include "core/loop.hpp"

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace rooster::dns {

struct UpstreamOptions {
  std::vector<std::string> servers{};  ///< "1.1.1.1", "[::1]:5353"; none: /etc/resolv.conf's
  std::vector<Endpoint> own{};         ///< where we answer ourselves: never asked
  std::chrono::milliseconds try_time{1500};
  int tries = 2;  ///< of each server
};

class Upstream {
 public:
  /// The response's bytes, or why there is none.
  using Answered = std::move_only_function<void(std::string_view response, std::string_view why)>;

  Upstream(Loop& loop, UpstreamOptions options);
  ~Upstream();
  Upstream(const Upstream&) = delete;
  Upstream& operator=(const Upstream&) = delete;

  /// `answered` is called once, perhaps before this returns, unless the Upstream is destroyed
  /// first; it must not ask again from inside.
  void ask(std::string_view query, Answered answered);
  /// Whom it asks: those configured without ourselves and without any in fdaa::/16, which would
  /// only ask us again.
  std::vector<Endpoint> servers() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace rooster::dns
