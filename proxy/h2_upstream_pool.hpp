// H2UpstreamPool: one worker's HTTP/2 connections to machines. Exchanges share them; a further one
// is opened where every open one has as many streams as the app allows.
#pragma once

#include "core/task.hpp"
#include "proxy/connect_machine.hpp"
#include "proxy/h2_upstream_connection.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

namespace rooster::proxy {

class H2UpstreamPool {
 public:
  /// One that has room, the busiest first; if idle, then for less than `max_idle`. nullptr: none.
  H2UpstreamConnectionPtr find(const UpstreamKey& key, TimePoint now, Duration max_idle) const;
  void add(H2UpstreamConnectionPtr connection);
  void remove(const H2UpstreamConnection& connection);
  /// Those of a machine that is being stopped or suspended take no further stream.
  void drop(const machines::MachineLoad& load);
  std::size_t size() const;

  /// A connection that is being opened, and who waits for it instead of opening another.
  struct Dial {
    std::vector<Waiter*> waiters;
    bool is_over = false;
    std::optional<Error> error;
  };
  std::shared_ptr<Dial> find_dial(const UpstreamKey& key) const;
  std::shared_ptr<Dial> begin_dial(const UpstreamKey& key);
  void end_dial(const UpstreamKey& key, std::optional<Error> error);

  /// Streams that the machine's app allowed on the last connection to it.
  std::uint32_t expected_streams(const UpstreamKey& key) const;

 private:
  struct Place {
    std::vector<H2UpstreamConnectionPtr> connections;
    std::shared_ptr<Dial> dial;
    std::uint32_t expected_streams = limits::kUpstreamStreams;
  };
  std::unordered_map<UpstreamKey, Place, UpstreamKeyHash> places_;
};

/// Step 8 for an app of HTTP/2: a shared connection with room, or a new one. Errors: as
/// open_connection().
Task<H2UpstreamConnectionPtr> take_h2_connection(WorkerContext& context, Waiter& waiter,
                                                 const machines::MachineView& machine,
                                                 ConnectWish wish);

}  // namespace rooster::proxy
