// Resolver: names to addresses by c-ares, one per loop, with a cache that keeps the last good
// answer.
#pragma once

#include "core/address.hpp"
#include "core/loop.hpp"
#include "core/task.hpp"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace rooster::net {

struct ResolverOptions {
  std::string servers;  ///< "127.0.0.1:5353,..."; "": those of /etc/resolv.conf
  std::chrono::milliseconds try_time{2000};
  int tries = 2;
  Duration min_life = std::chrono::seconds(5);  ///< an answer's life is its TTL, within these
  Duration max_life = std::chrono::minutes(5);
  std::size_t max_names = 4096;   ///< cached; the answer unused for longest goes
  std::size_t max_lookups = 256;  ///< at a time
};

/// A name's addresses (IPv4 and IPv6 in the order they came) and until when they hold.
struct Resolved {
  std::vector<IpAddress> addresses;
  TimePoint fresh_until;
  bool stale = false;  ///< the last good answer: the name could not be resolved again
};

class Resolver {
 public:
  explicit Resolver(Loop& loop, ResolverOptions options = {});
  /// No resolve() may be waiting.
  ~Resolver();
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  /// From the cache while fresh, else by a lookup (A and AAAA); several that ask for a name share
  /// one. An IP address is its own answer. When a lookup fails, the last good answer is given as
  /// stale. Errors: UpstreamUnresolved, also at the deadline; the interruption's fault.
  /// Reached::No.
  Task<Resolved> resolve(std::string name, Waiter& waiter, TimePoint deadline);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace rooster::net
