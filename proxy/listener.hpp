// Listener: accepts clients on one listening socket and starts a session for each.
#pragma once

#include "core/address.hpp"
#include "core/loop.hpp"
#include "proxy/sides.hpp"

#include <cstddef>
#include <cstdint>
#include <unordered_map>

namespace rooster::proxy {

struct WorkerContext;

/// How many connections each source has on this worker: per IPv4 address, per IPv6 /64.
class SourceLimit {
 public:
  explicit SourceLimit(std::size_t max_each) : max_each_(max_each) {}
  /// False: the source has too many already.
  bool enter(const IpAddress& source);
  void leave(const IpAddress& source);

 private:
  static std::uint64_t key(const IpAddress& source);
  std::size_t max_each_;
  std::unordered_map<std::uint64_t, std::uint32_t> counts_;
};

/// A client that speaks HTTP, with TLS first where `facts` say so: a session for it, which gives
/// back what facts count.
void start_http(WorkerContext& context, Descriptor fd, const ClientFacts& facts);

class Listener {
 public:
  struct Options {
    bool tls = false;
    std::uint16_t external_port = 80;  ///< what the services call it
    std::uint16_t local_port = 80;
    bool is_service = false;  ///< a port that only services asked for: `tls` says nothing
  };
  /// `fd` is a non-blocking listening socket that the keeper holds too. accept_loop() runs in
  /// `group`.
  Listener(WorkerContext& context, TaskGroup& group, SourceLimit& sources, Descriptor fd,
           Options options);

  /// Accepts until stop(). At the client cap it stops polling (the backlog holds) and idle clients
  /// make room, who is idle longest first.
  Task<> accept_loop();
  void stop();
  const Options& options() const { return options_; }

 private:
  Task<> wait_for_place();
  bool shed_idle();
  void accept_rest();
  bool admit(Descriptor fd, const sockaddr_storage& from);
  void refuse_without_descriptor();

  WorkerContext& context_;
  SourceLimit& sources_;
  Pollable pollable_;
  Options options_;
  Waiter waiter_;
  Descriptor spare_;  ///< given up to accept and close one client when descriptors have run out
  bool stopped_ = false;
};

}  // namespace rooster::proxy
